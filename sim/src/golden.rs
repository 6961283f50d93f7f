//! Traces that are kept in files: whatever changes what happens in a schedule is noticed, and the
//! first entry that differs is named.
//!
//! # Examples
//!
//! ```
//! use switchboard_sim::golden::Golden;
//! use switchboard_sim::schedule::Schedule;
//!
//! let schedule = "switchboard-sim 1  seed 7  instances 1  lease 10s\n1s client c1 connects i1 as ann";
//! let schedule = Schedule::parse(schedule)?;
//! let kept = Golden::of(&schedule).to_string();
//! assert_eq!(Golden::parse(&kept)?.difference(&Golden::of(&schedule)), None);
//!
//! let other = Schedule { seed: 8, ..schedule };
//! let difference = Golden::parse(&kept)?.difference(&Golden::of(&other)).expect("other noise");
//! println!("{difference}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use crate::report::Violation;
use crate::schedule::Schedule;
use crate::trace::VERSION;
use crate::world::World;

/// The trace of a schedule, as it is kept in a file: a line of what it is, then a line for each
/// entry with its time, the end of the hash up to it, and what it was, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Golden {
    version: u64,
    hash: u64,
    lines: Vec<Line>,
}

/// An entry of a trace: something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, from the start of the schedule, in nanoseconds.
    pub nanos: u64,
    /// The last 16 bits of the hash of the trace up to and with this entry.
    pub hash: u16,
    /// What it was. It does not count: a type or a field may get another name. What is kept is its
    /// beginning.
    pub text: String,
}

/// Where two traces part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The file was written in another form.
    Version {
        /// That of the file.
        kept: u64,
    },
    /// An entry differs.
    Entry {
        /// Its number, from 1.
        number: usize,
        /// As it was kept; `None` if the trace had ended.
        kept: Option<Line>,
        /// As it is; `None` if the trace has ended.
        found: Option<Line>,
    },
}

/// A text that is not a kept trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not one of a kept trace: `switchboard-sim golden --write` writes it anew")]
pub struct NotGolden {
    /// The line, from 1.
    pub line: usize,
}

impl Golden {
    /// Runs a schedule.
    ///
    /// # Panics
    ///
    /// If the schedule cannot be run: see [`Schedule::validate`].
    pub fn of(schedule: &Schedule) -> Self {
        Self::judged(schedule).0
    }

    /// Runs a schedule, and says what did not hold in it: the trace ends there, and should not be kept.
    ///
    /// # Panics
    ///
    /// If the schedule cannot be run: see [`Schedule::validate`].
    pub fn judged(schedule: &Schedule) -> (Self, Option<Violation>) {
        let mut world = World::new(schedule.clone());
        world.keep_trace();
        let report = world.run();
        let lines = world.kept_trace().iter().map(|entry| Line {
            nanos: u64::try_from(entry.at.as_nanos()).unwrap_or(u64::MAX),
            hash: entry.hash as u16,
            text: entry.text.clone(),
        });
        let golden = Self {
            version: VERSION,
            hash: report.hash,
            lines: lines.collect(),
        };
        (golden, report.violation)
    }

    /// The hash of the whole trace.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The entries of the trace, in their order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Reads what was kept.
    ///
    /// # Errors
    ///
    /// Names the line that is not one of a kept trace.
    pub fn parse(text: &str) -> Result<Self, NotGolden> {
        let mut lines = text.lines();
        let (version, hash) = (lines.next().and_then(head)).ok_or(NotGolden { line: 1 })?;
        let lines = lines.enumerate();
        let lines = lines.map(|(index, text)| line(text).ok_or(NotGolden { line: index + 2 }));
        Ok(Self {
            version,
            hash,
            lines: lines.collect::<Result<_, _>>()?,
        })
    }

    /// The first entry in which what was found differs from what was kept.
    pub fn difference(&self, found: &Self) -> Option<Difference> {
        if self.version != found.version {
            let kept = self.version;
            return Some(Difference::Version { kept });
        }
        if self.hash == found.hash {
            return None;
        }
        let longest = self.lines.len().max(found.lines.len());
        let same = |line: Option<&Line>| line.map(|line| (line.nanos, line.hash));
        // The last entry holds the end of the whole hash: if nothing else differs, it does.
        let number = (0..longest)
            .find(|index| same(self.lines.get(*index)) != same(found.lines.get(*index)))
            .unwrap_or(longest.saturating_sub(1));
        Some(Difference::Entry {
            number: number + 1,
            kept: self.lines.get(number).cloned(),
            found: found.lines.get(number).cloned(),
        })
    }
}

const HEAD: &str = "switchboard-sim trace ";

fn head(line: &str) -> Option<(u64, u64)> {
    let (version, hash) = line.strip_prefix(HEAD)?.split_once("  hash ")?;
    Some((version.parse().ok()?, u64::from_str_radix(hash, 16).ok()?))
}

fn line(text: &str) -> Option<Line> {
    let (time, rest) = text.split_once(' ')?;
    let (hash, text) = rest.split_once(' ')?;
    let (seconds, nanos) = time.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    Some(Line {
        nanos: seconds.checked_mul(1_000_000_000)? + nanos.parse::<u64>().ok()?,
        hash: u16::from_str_radix(hash, 16).ok()?,
        text: text.to_owned(),
    })
}

impl fmt::Display for Golden {
    /// As [`Golden::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}{}  hash {:016x}", self.version, self.hash)?;
        for line in &self.lines {
            writeln!(f, "{}{}", Stamp(line), beginning(&line.text))?;
        }
        Ok(())
    }
}

/// What stands before the text of an entry.
struct Stamp<'a>(&'a Line);

impl fmt::Display for Stamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { nanos, hash, .. } = self.0;
        let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        write!(f, "{seconds}.{nanos:09} {hash:04x} ")
    }
}

impl fmt::Display for Line {
    /// With all of its text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Stamp(self), self.text)
    }
}

/// Of a text of an entry so many bytes are kept, at most: it is for people.
const KEPT: usize = 80;

/// What is kept of a text.
fn beginning(text: &str) -> &str {
    text[..text.floor_char_boundary(KEPT)].trim_end()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |line: &Option<Line>| match line {
            Some(line) => line.to_string(),
            None => "the trace has ended".to_owned(),
        };
        match self {
            Self::Version { kept } => {
                write!(
                    f,
                    "it was kept in form {kept} of the trace, and this is form {VERSION}"
                )
            }
            Self::Entry {
                number,
                kept,
                found,
            } => {
                // A text whose beginning is the same may have gone on in another way.
                let cut = match (kept, found) {
                    (Some(kept), Some(found)) if kept.text != found.text => {
                        kept.text == beginning(&found.text)
                    }
                    _ => false,
                };
                let note = if cut {
                    " (only this beginning of the text is kept: the end may differ)"
                } else {
                    ""
                };
                let (kept, found) = (side(kept), side(found));
                write!(
                    f,
                    "entry {number} is the first that differs\n  kept  {kept}{note}\n  found {found}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: &str = "\
switchboard-sim 1  seed 7  instances 2  lease 10s
1s  client c1 connects i1 as ann
2s  push i2 ann m1
";

    #[test]
    fn what_is_printed_is_what_was_read() {
        let golden = golden(SCHEDULE);
        assert!(golden.lines().len() > 20);
        let read = Golden::parse(&golden.to_string()).unwrap();
        assert_eq!(read.difference(&golden), None);
        assert_eq!(read.to_string(), golden.to_string());
    }

    #[test]
    fn what_was_found_is_told_in_full_beside_the_beginning_that_was_kept() {
        let found = golden(SCHEDULE);
        let mut kept = Golden::parse(&found.to_string()).unwrap();
        let long = |line: &Line| line.text.len() > 2 * KEPT;
        let number = found.lines.iter().position(long).unwrap();
        kept.lines[number].hash ^= 1;
        kept.hash ^= 1;
        let text = kept.difference(&found).unwrap().to_string();
        assert!(text.contains(&found.lines[number].text), "{text}");
        assert!(
            text.contains("only this beginning of the text is kept"),
            "{text}"
        );
    }

    #[test]
    fn a_schedule_that_violates_something_is_told() {
        let schedule = Schedule::parse(&format!("{SCHEDULE}3s expect at-rest")).unwrap();
        let (_, violation) = Golden::judged(&schedule);
        assert_eq!(violation.unwrap().checker, "empty-at-rest");
        assert_eq!(Golden::judged(&Schedule::parse(SCHEDULE).unwrap()).1, None);
    }

    #[test]
    fn the_first_entry_that_differs_is_named() {
        let other = SCHEDULE.replace("m1", "m2");
        let (kept, found) = (golden(SCHEDULE), golden(&other));
        let Some(Difference::Entry {
            number,
            kept: was,
            found: is,
        }) = kept.difference(&found)
        else {
            panic!("another push gives another trace");
        };
        assert_eq!(kept.lines()[..number - 1], found.lines()[..number - 1]);
        assert_eq!(was.unwrap().text, "push i2 ann m1");
        assert_eq!(is.unwrap().text, "push i2 ann m2");
    }

    #[test]
    fn a_trace_that_ends_earlier_differs() {
        let kept = golden(SCHEDULE);
        let found = golden(&SCHEDULE.replace("2s  push i2 ann m1\n", ""));
        let difference = kept.difference(&found).unwrap();
        assert!(
            difference.to_string().contains("push i2 ann m1"),
            "{difference}"
        );
        assert_eq!(kept.difference(&kept.clone()), None);
    }

    #[test]
    fn another_name_of_something_is_no_difference() {
        let kept = golden(SCHEDULE);
        let mut renamed = kept.clone();
        renamed.lines[0].text = "another".to_owned();
        assert_eq!(kept.difference(&renamed), None);
    }

    #[test]
    fn an_error_names_its_line() {
        assert_eq!(Golden::parse("").unwrap_err().line, 1);
        let text = golden(SCHEDULE).to_string().replacen("\n0.", "\nx", 1);
        assert_eq!(Golden::parse(&text).unwrap_err().line, 2);
    }

    fn golden(schedule: &str) -> Golden {
        Golden::of(&Schedule::parse(schedule).unwrap())
    }
}
