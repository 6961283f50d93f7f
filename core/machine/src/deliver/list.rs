//! Lists of terminals of this instance, and of their users.

use std::collections::BTreeSet;

use crate::delivery::{Addressees, Outcomes};
use crate::id::ConnectionId;
use crate::message::{Action, ListOrder, Listed};
use crate::terminals::Terminals;
use crate::vocabulary::terminal::{Age, LifeStage, Terminal};

/// Lists greeted terminals, or their users. What no list can be of is an empty one.
pub(super) fn of(
    terminals: &Terminals,
    to: &Addressees,
    order: &ListOrder,
    limit: u32,
) -> Outcomes {
    let limit = limit.min(Action::LIST_MAX) as usize;
    let mut all = 0;
    let mut first = BTreeSet::new();
    let mut users = BTreeSet::new();
    visit(terminals, to, |terminal| {
        let listed = match order {
            ListOrder::Connections { after } => {
                all += 1;
                if after.is_some_and(|after| terminal.id <= after) {
                    return;
                }
                Listed {
                    connection: Some(terminal.id),
                    user: terminal.key.user().clone(),
                }
            }
            ListOrder::Users { after } => {
                let user = terminal.key.user();
                if !users.insert(user.clone()) {
                    return;
                }
                all += 1;
                if after.as_ref().is_some_and(|after| user <= after) {
                    return;
                }
                Listed {
                    connection: None,
                    user: user.clone(),
                }
            }
        };
        if first.len() < limit || first.last().is_some_and(|last| listed < *last) {
            first.insert(listed);
            if first.len() > limit {
                first.pop_last();
            }
        }
    });
    Outcomes::Listed(all, first.into_iter().collect())
}

/// Comes to each greeted terminal once.
fn visit(terminals: &Terminals, to: &Addressees, mut to_do: impl FnMut(Terminal<'_>)) {
    // Members of several topics are met several times.
    let repeats = matches!(to, Addressees::Members { topics, .. } if topics.len() > 1);
    let mut seen: BTreeSet<ConnectionId> = BTreeSet::new();
    let mut visit = |key| {
        let greeted = terminals
            .get(key)
            .filter(|found| found.life == LifeStage::Live);
        if let Some(terminal) = greeted
            && (!repeats || seen.insert(terminal.id))
        {
            to_do(terminal);
        }
    };
    match to {
        Addressees::Everyone => {
            let mut age = Age::YOUNGEST;
            while let Some((next, key)) = terminals.next_older(age) {
                age = next;
                visit(key);
            }
        }
        Addressees::Members { topics, .. } => {
            for topic in topics {
                let mut age = Age::YOUNGEST;
                while let Some((next, key)) = terminals.next_older_member(topic, age) {
                    age = next;
                    visit(key);
                }
            }
        }
        Addressees::Keys(_) => {}
    }
}
