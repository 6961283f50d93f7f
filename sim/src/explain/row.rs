//! What became of a session, and of its row.

use switchboard_core::directory::Operation;
use switchboard_core::time::Instant;

use super::chain::{Chain, Place};
use super::history::{Happened, History, HistoryStep};
use super::words::{instance, operation, session as session_in_words};
use crate::ledger::{Part, Scope};
use crate::observed::Executed;

/// What became of a session and its row, up to the end.
pub(super) fn of(history: &History, session: usize) -> Chain {
    let whom = session_in_words(history, session);
    let mut chain = Chain::new(format!("{whom} (session {session})"));
    story(history, session, None, &mut chain);
    let Some(end) = history.end else {
        return chain;
    };
    let since = last_change(history, session, end).or_else(|| accepted_at(history, session));
    let life = history.sessions[session].life;
    let here = life.map(|life| Scope::Instance(life.host));
    let (is_open, has_row) = (is_open(history, session), has_row(history, session));
    let what = match (is_open, has_row) {
        (true, false) => format!(
            "{whom} is there and has no row: {}",
            why_missing(history, session, end)
        ),
        (false, true) => format!("{whom} is gone and has a row"),
        (true, true) => format!("{whom} is there and has a row"),
        (false, false) => format!("{whom} is gone, and so is its row"),
    };
    let at = life.map_or_else(|| "nobody".to_owned(), instance);
    let place = Place {
        what: format!("the directory, of {at}, or of {whom}, since then"),
        parts: vec![Part::Directory, Part::Process, Part::Life, Part::Terminal],
        scopes: [Scope::All, Scope::Session(session)]
            .into_iter()
            .chain(here)
            .collect(),
        from: since.unwrap_or(end),
        until: end,
    };
    chain.stops(history, what, place);
    chain
}

/// The steps of a session and its row, up to a moment.
pub(super) fn story(history: &History, session: usize, until: Option<Instant>, chain: &mut Chain) {
    for HistoryStep { at, what } in &history.steps {
        if until.is_some_and(|until| *at > until) {
            return;
        }
        if let Some(words) = in_words(history, session, what) {
            chain.step_once(*at, words);
        }
    }
}

fn in_words(history: &History, session: usize, what: &Happened) -> Option<String> {
    let whom = || session_in_words(history, session);
    Some(match what {
        Happened::Accepted { session: of } if *of == session => {
            let life = history.sessions[session].life?;
            format!("{} accepts {}", instance(life), whom())
        }
        Happened::Greeted {
            session: of,
            degraded,
        } if *of == session => {
            let how = if *degraded { ", as degraded" } else { "" };
            format!("{} is greeted{how}", whom())
        }
        Happened::Ended { session: of } if *of == session => format!("{} ends", whom()),
        Happened::Closing { session: of, code } if *of == session => match code {
            Some(code) => format!("{} is told to end: {}", whom(), code.reason()),
            None => format!("{} is given up", whom()),
        },
        Happened::RowRefused {
            session: of,
            life,
            why,
        } if *of == session => {
            format!(
                "{} is refused the row of {}: {why}",
                instance(*life),
                whom()
            )
        }
        Happened::RowChanged {
            session: of,
            before,
            after,
            by,
        } if *of == session => {
            let change = match (before, after) {
                (None, Some(_)) => "is written",
                (Some(_), None) => "is gone",
                (Some(_), Some(_)) => "is another one",
                (None, None) => return None,
            };
            let by_whom = by.as_ref().map(|by| {
                let words = operation(history, &by.operation);
                (
                    is_of(history, session, by),
                    format!("{} {words}", instance(by.life)),
                )
            });
            match by_whom {
                Some((true, who_does_what)) => who_does_what,
                Some((false, who_does_what)) => {
                    format!("the row of {} {change}: {who_does_what}", whom())
                }
                None => format!("the row of {} {change}, and nobody asked for that", whom()),
            }
        }
        Happened::Gone(life) if Some(*life) == history.sessions[session].life => {
            format!("{} is gone", instance(*life))
        }
        _ => return None,
    })
}

/// When the row of a session was changed last, before a moment.
pub(super) fn last_change(history: &History, session: usize, until: Instant) -> Option<Instant> {
    let steps = history.steps.iter().take_while(|step| step.at <= until);
    let changes = steps.filter(
        |step| matches!(&step.what, Happened::RowChanged { session: of, .. } if *of == session),
    );
    changes.last().map(|step| step.at)
}

pub(super) fn accepted_at(history: &History, session: usize) -> Option<Instant> {
    history.steps.iter().find_map(|step| match step.what {
        Happened::Accepted { session: of } if of == session => Some(step.at),
        _ => None,
    })
}

/// Why a session has no row at a moment.
pub(super) fn why_missing(history: &History, session: usize, until: Instant) -> String {
    let steps = history.steps.iter().take_while(|step| step.at <= until);
    let last = steps.filter_map(|step| match &step.what {
        Happened::RowChanged {
            session: of,
            after,
            by,
            ..
        } if *of == session => Some((after, by)),
        _ => None,
    });
    match last.last() {
        None => "it was never written".to_owned(),
        Some((Some(_), _)) => "it was written, and is there".to_owned(),
        Some((None, None)) => "it went, and nobody asked for that".to_owned(),
        Some((None, Some(by))) => {
            let words = operation(history, &by.operation);
            let by_whom = instance(by.life);
            match is_of(history, session, by) {
                true => format!("it went when {by_whom} {words}"),
                false => format!("it went when {by_whom} {words}, which is another row"),
            }
        }
    }
}

/// Whether an operation names the row of a session.
fn is_of(history: &History, session: usize, executed: &Executed) -> bool {
    match &executed.operation {
        Operation::Register { connection, .. }
        | Operation::Unregister { connection, .. }
        | Operation::RemoveRow { connection, .. } => {
            history.session_of(*connection) == Some(session)
        }
        Operation::Lookup { .. }
        | Operation::View
        | Operation::Claim { .. }
        | Operation::Renew { .. }
        | Operation::Release { .. }
        | Operation::ReadLease { .. }
        | Operation::EnterTopic { .. }
        | Operation::LeaveTopic { .. }
        | Operation::KeepTopic { .. }
        | Operation::LookupTopic { .. }
        | Operation::Log { .. } => false,
    }
}

fn is_open(history: &History, session: usize) -> bool {
    let ended =
        |step: &HistoryStep| matches!(step.what, Happened::Ended { session: of } if of == session);
    accepted_at(history, session).is_some() && !history.steps.iter().any(ended)
}

fn has_row(history: &History, session: usize) -> bool {
    let last = history
        .steps
        .iter()
        .rev()
        .find_map(|step| match &step.what {
            Happened::RowChanged {
                session: of, after, ..
            } if *of == session => Some(after.is_some()),
            _ => None,
        });
    last.unwrap_or(false)
}
