//! Why a push was lost, or a row is not as it should be: the causal chain in words, from the push to the fault that
//! dropped it, or to "no excuse".
//!
//! A schedule is run once more beside a recorder (`history`), which watches what checkers are told of and takes
//! down what happened to each push, row and lease. A chain goes through that, step by step, until one is missing;
//! the excuse ledger says what lay there.

mod chain;
mod history;
mod names;
mod push;
mod row;
mod words;

use std::fmt;

use crate::report::Violation;
use crate::schedule::Schedule;
use crate::trial::Trial;

use chain::Chain;
use history::{History, HistoryRecorder};
use names::pushes_of;

/// Losses that are explained, at most: they are often of one cause.
const MOST: usize = 8;

/// Why a schedule violates an invariant, or loses pushes.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What was violated, if anything.
    pub violation: Option<Violation>,
    chains: Vec<Chain>,
    /// Losses beyond those that are explained.
    more: usize,
}

/// What is to be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// A push, by its number, and the session that it was to reach.
    Loss { push: usize, session: usize },
    /// All that became of a push.
    Push(usize),
    /// What became of a session and its row.
    Session(usize),
}

/// Runs a schedule, and explains what it violates; if it violates nothing, what it loses.
///
/// # Panics
///
/// If the schedule cannot be run: see [`Schedule::validate`].
pub fn explain(trial: &Trial, schedule: &Schedule) -> Explanation {
    let (recorder, recorded) = HistoryRecorder::new(pushes_of(schedule));
    let trial = trial.clone().with_checker(Box::new(recorder));
    let report = trial.run(schedule);
    let history = recorded.try_recv().unwrap_or_default();
    let violation = report.violation.or(report.expected);
    let mut subjects = match &violation {
        Some(violation) => subjects(&history, &violation.what),
        None => losses(&history),
    };
    let more = subjects.len().saturating_sub(MOST);
    subjects.truncate(MOST);
    let chains = subjects.into_iter().map(|subject| match subject {
        Subject::Loss { push, session } => push::lost(&history, push, session),
        Subject::Push(push) => push::all(&history, push),
        Subject::Session(session) => row::of(&history, session),
    });
    Explanation {
        violation,
        chains: chains.collect(),
        more,
    }
}

/// What a checker speaks of. One that names nothing that was lost speaks of all that is.
fn subjects(history: &History, what: &str) -> Vec<Subject> {
    let push = number_behind(what, "push ").filter(|push| *push < history.pushes.len());
    let session = number_behind(what, "session Some(").or_else(|| number_behind(what, "session "));
    let session = session.filter(|session| *session < history.sessions.len());
    match (push, session) {
        (Some(push), Some(session)) if history.is_lost(push, session) => {
            vec![Subject::Loss { push, session }]
        }
        (Some(push), Some(session)) => vec![Subject::Push(push), Subject::Session(session)],
        (Some(push), None) => {
            let lost = losses(history).into_iter();
            let of_it = |subject: &Subject| matches!(subject, Subject::Loss { push: of, .. } if *of == push);
            let lost: Vec<_> = lost.filter(of_it).collect();
            match lost.is_empty() {
                true => vec![Subject::Push(push)],
                false => lost,
            }
        }
        (None, Some(session)) => vec![Subject::Session(session)],
        (None, None) => match losses(history) {
            lost if lost.is_empty() => (0..history.sessions.len()).map(Subject::Session).collect(),
            lost => lost,
        },
    }
}

/// Checkers call pushes and sessions by their numbers.
fn number_behind(text: &str, word: &str) -> Option<usize> {
    let (_, behind) = text.split_once(word)?;
    let digits = behind.split(|next: char| !next.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Pushes that were due to somebody and have not come.
fn losses(history: &History) -> Vec<Subject> {
    let due = history.due();
    due.filter(|(push, session)| history.is_lost(*push, *session))
        .map(|(push, session)| Subject::Loss { push, session })
        .collect()
}

impl Explanation {
    /// Whether something is explained by no entry of the ledger.
    pub fn has_no_excuse(&self) -> bool {
        self.chains.iter().any(Chain::has_no_excuse)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.violation {
            Some(violation) => writeln!(f, "violated: {violation}")?,
            None if self.chains.is_empty() => {
                return writeln!(f, "nothing was violated, and nothing lost");
            }
            None => writeln!(f, "nothing was violated; what was lost is explained:")?,
        }
        for chain in &self.chains {
            writeln!(f)?;
            chain.write(
                f,
                self.violation.as_ref().map(|violation| violation.checker),
            )?;
        }
        match self.more {
            0 => Ok(()),
            more => writeln!(f, "\n{more} more are not explained here"),
        }
    }
}
