//! What many runs have come by: events in each state of a part, and faults in each phase of what is under way.
//!
//! `coverage.txt` says what the states and events are, which of their cells nothing can come by, and why.

mod watch;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::checker::Checker;
use crate::trial::Trial;

pub use watch::CoverageWatch;

/// The file that is kept.
const KEPT: &str = include_str!("../../coverage.txt");

/// A cell: the table, the state and the event.
pub type Cell = (&'static str, &'static str, Cow<'static, str>);

/// Each cell that was come by.
pub type Cells = BTreeMap<Cell, Occurrences>;

/// How a cell was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrences {
    /// How often it was come by, over all runs that are added up.
    pub times: u64,
    /// After so much of a world's time at the earliest.
    pub first: Duration,
}

/// Adds what was come by elsewhere.
pub fn add(cells: &mut Cells, other: Cells) {
    for (cell, met) in other {
        let sum = cells.entry(cell).or_insert(Occurrences { times: 0, ..met });
        sum.times += met.times;
        sum.first = sum.first.min(met.first);
    }
}

/// Where worlds say at their end what they have come by.
#[derive(Debug)]
pub struct Counted {
    said: Sender<Cells>,
    heard: Receiver<Cells>,
}

impl Default for Counted {
    fn default() -> Self {
        let (said, heard) = channel();
        Self { said, heard }
    }
}

impl Counted {
    /// All that was counted since the last time.
    pub fn take(&self) -> Cells {
        let mut all = Cells::new();
        for cells in self.heard.try_iter() {
            add(&mut all, cells);
        }
        all
    }

    /// Runs schedules with nobody else watching.
    pub fn trial(&self) -> Trial {
        let watch: Box<dyn Checker> = Box::new(CoverageWatch::new(self.said.clone()));
        Trial::watched_by(vec![watch])
    }
}

/// One table of what can be come by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageTable {
    name: String,
    states: Vec<String>,
    events: Vec<String>,
    exempt: Vec<Exempt>,
}

/// Cells of which it is not asked that they be come by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exempt {
    demand: Demand,
    states: Vec<String>,
    events: Vec<String>,
}

/// What is asked of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// It is come by.
    Always,
    /// It can be come by, and that is too rare to be asked for.
    Rare,
    /// It can be come by, and nobody in these worlds does what that takes.
    Missing,
    /// Nothing can come by it.
    Never,
}

/// The tables of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageTables(Vec<CoverageTable>);

/// Why a file is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct TablesError {
    line: usize,
    what: &'static str,
}

impl CoverageTables {
    /// Those that are kept.
    ///
    /// # Panics
    ///
    /// If the kept file cannot be read, which a test checks.
    pub fn kept() -> Self {
        Self::parse(KEPT).unwrap_or_else(|error| panic!("coverage.txt: {error}"))
    }

    /// Reads a file: `table NAME`, and under it `states ...`, `events ...` and for cells that are not asked for
    /// `never STATES x EVENTS: REASON`, `missing ...` or `rare ...`, where `*` is all of them. What comes first counts.
    ///
    /// # Errors
    ///
    /// Names the first line that is none of these.
    pub fn parse(text: &str) -> Result<Self, TablesError> {
        let mut tables: Vec<CoverageTable> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let error = |what| TablesError {
                line: index + 1,
                what,
            };
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if line.trim().is_empty() || word.starts_with('#') {
                continue;
            }
            if word == "table" {
                tables.push(CoverageTable {
                    name: rest.to_owned(),
                    states: Vec::new(),
                    events: Vec::new(),
                    exempt: Vec::new(),
                });
                continue;
            }
            let table = tables.last_mut().ok_or(error("no table has begun"))?;
            match word {
                "states" => table.states.extend(words(rest)),
                "events" => table.events.extend(words(rest)),
                _ => {
                    let demand = Demand::named(word).ok_or(error(
                        "it is no `table`, `states`, `events`, `never`, `missing` or `rare`",
                    ))?;
                    let exempt = table.exempt(demand, rest).map_err(error)?;
                    table.exempt.push(exempt);
                }
            }
        }
        Ok(Self(tables))
    }

    /// Cells that should have been come by and were not, and those that were although nothing can come by them.
    pub fn wrong(&self, cells: &Cells) -> Vec<String> {
        let mut wrong = Vec::new();
        for table in &self.0 {
            for state in &table.states {
                for event in &table.events {
                    let times = table.times(cells, state, event);
                    let name = format!("{}: {state} x {event}", table.name);
                    match (table.demand(state, event), times) {
                        (Demand::Always, 0) => wrong.push(format!("{name} was never come by")),
                        (Demand::Never | Demand::Missing, 1..) => {
                            wrong.push(format!("{name} was come by {times} times, and cannot be"));
                        }
                        (Demand::Always, 1..)
                        | (Demand::Rare, _)
                        | (Demand::Never | Demand::Missing, 0) => {}
                    }
                }
            }
        }
        let unknown = cells.keys().filter(|(table, state, event)| {
            let listed = self.0.iter().find(|one| one.name == *table);
            !listed.is_some_and(|one| {
                one.states.iter().any(|it| it == state) && one.events.iter().any(|it| it == event)
            })
        });
        wrong.extend(
            unknown
                .map(|(table, state, event)| format!("{table}: {state} x {event} is in no table")),
        );
        wrong
    }

    /// The tables with what was counted: a line for each event, a column for each state. `-` is what nothing can come by,
    /// `?` what nobody does here.
    pub fn shown(&self, cells: &Cells) -> String {
        let mut text = String::new();
        for table in &self.0 {
            table.show(cells, &mut text).expect("a text has room");
        }
        text
    }
}

impl Demand {
    fn named(word: &str) -> Option<Self> {
        match word {
            "never" => Some(Self::Never),
            "missing" => Some(Self::Missing),
            "rare" => Some(Self::Rare),
            _ => None,
        }
    }
}

impl CoverageTable {
    fn times(&self, cells: &Cells, state: &str, event: &str) -> u64 {
        let found = cells
            .iter()
            .find(|((table, one, what), _)| *table == self.name && *one == state && what == event);
        found.map_or(0, |(_, met)| met.times)
    }

    fn exempt(&self, demand: Demand, text: &str) -> Result<Exempt, &'static str> {
        let (cells, reason) = text.split_once(": ").ok_or("there is no reason")?;
        let (states, events) = cells.split_once(" x ").ok_or("there is no ` x `")?;
        if reason.trim().is_empty() {
            return Err("there is no reason");
        }
        let of = |text: &str, all: &[String]| match text.trim() {
            "*" => Ok(all.to_vec()),
            some => {
                let some: Vec<_> = words(some).collect();
                let known = some.iter().all(|one| all.contains(one));
                known
                    .then_some(some)
                    .ok_or("it names what is not in the table")
            }
        };
        Ok(Exempt {
            demand,
            states: of(states, &self.states)?,
            events: of(events, &self.events)?,
        })
    }

    fn demand(&self, state: &String, event: &String) -> Demand {
        let exempt = (self.exempt.iter())
            .find(|exempt| exempt.states.contains(state) && exempt.events.contains(event));
        exempt.map_or(Demand::Always, |exempt| exempt.demand)
    }

    fn show(&self, cells: &Cells, text: &mut String) -> fmt::Result {
        let first = self.events.iter().map(String::len).max().unwrap_or(0);
        let first = first.max(self.name.len());
        write!(text, "{:first$}", self.name)?;
        for state in &self.states {
            write!(text, "  {state:>8}")?;
        }
        writeln!(text)?;
        for event in &self.events {
            write!(text, "{event:first$}")?;
            for state in &self.states {
                let width = state.len().max(8);
                let times = self.times(cells, state, event);
                match (self.demand(state, event), times) {
                    (Demand::Never, 0) => write!(text, "  {:>width$}", "-")?,
                    (Demand::Missing, 0) => write!(text, "  {:>width$}", "?")?,
                    (Demand::Always | Demand::Rare | Demand::Never | Demand::Missing, _) => {
                        write!(text, "  {times:>width$}")?
                    }
                }
            }
            writeln!(text)?;
        }
        writeln!(text)
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a door\ntable door\nstates open shut\nevents opens shuts\n\
                        never open x opens: it is open\n";

    const MET: Occurrences = Occurrences {
        times: 3,
        first: Duration::ZERO,
    };

    fn cells(of: &[(&'static str, &str)]) -> Cells {
        let cells = of
            .iter()
            .map(|(state, event)| (("door", *state, (*event).to_owned().into()), MET));
        cells.collect()
    }

    #[test]
    fn a_cell_that_was_not_come_by_is_named() {
        let tables = CoverageTables::parse(TEXT).unwrap();
        let all = [("open", "shuts"), ("shut", "opens"), ("shut", "shuts")];
        assert_eq!(tables.wrong(&cells(&all)), Vec::<String>::new());
        let wrong = tables.wrong(&cells(&all[1..]));
        assert_eq!(wrong, ["door: open x shuts was never come by"]);
    }

    #[test]
    fn a_cell_that_nothing_can_come_by_and_one_of_no_table_are_named() {
        let tables = CoverageTables::parse(TEXT).unwrap();
        let all = [
            ("open", "shuts"),
            ("shut", "opens"),
            ("shut", "shuts"),
            ("open", "opens"),
            ("ajar", "opens"),
        ];
        assert_eq!(
            tables.wrong(&cells(&all)),
            [
                "door: open x opens was come by 3 times, and cannot be",
                "door: ajar x opens is in no table"
            ]
        );
    }

    #[test]
    fn a_cell_without_a_reason_is_no_exception() {
        let text = TEXT.replace("it is open", " ");
        assert_eq!(CoverageTables::parse(&text).unwrap_err().line, 5);
        assert!(CoverageTables::parse("table door\nstates a\nevents b\nnever c x b: no").is_err());
    }

    #[test]
    fn the_tables_that_are_kept_can_be_read() {
        assert!(CoverageTables::kept().0.len() > 3);
    }
}
