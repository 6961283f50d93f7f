//! What somebody else's server has told the clients of sequences, as it is kept.

use std::fmt::Write as _;

use super::player::Noted;
use super::sequence::Sequence;

/// The one that is kept. `.ci/transcript` records it.
pub const TRANSCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/centrifugo/transcript.txt");

/// A sequence, and what its clients were told in each step.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What was done.
    pub sequence: Sequence,
    /// What they were told.
    pub steps: Vec<Noted>,
}

/// Writes a transcript: a line for each sequence, of its seed, what is known of its steps, and what was told in each.
pub fn write(about: &str, all: &[Recorded]) -> String {
    let mut text = format!("# {about}\n");
    for Recorded { sequence, steps } in all {
        let steps: Vec<_> = steps.iter().map(|noted| noted.join(", ")).collect();
        let _ = writeln!(
            text,
            "{} {} {}",
            sequence.seed,
            sequence.digest(),
            steps.join(" | ")
        );
    }
    text
}

/// Reads one.
///
/// # Panics
///
/// If it is none, or of other sequences than follow from its seeds.
pub fn read(text: &str) -> Vec<Recorded> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(recorded).collect()
}

fn recorded(line: &str) -> Recorded {
    let mut parts = line.splitn(3, ' ');
    let mut part = || parts.next().unwrap_or_default();
    let sequence = Sequence::of(part().parse().expect("a seed"));
    let (digest, steps) = (part(), part());
    let seed = sequence.seed;
    assert_eq!(
        sequence.digest(),
        digest,
        "sequence {seed} is not the one that was recorded: record it anew"
    );
    let steps = steps.split(" | ").map(|step| {
        let notes = step.split(", ").filter(|note| !note.is_empty());
        notes.map(str::to_owned).collect()
    });
    let steps: Vec<Noted> = steps.collect();
    assert_eq!(
        steps.len(),
        sequence.steps.len(),
        "steps of sequence {seed}"
    );
    Recorded { sequence, steps }
}
