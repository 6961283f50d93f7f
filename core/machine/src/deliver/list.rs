//! Lists of terminals of this instance, and of their users.

use std::collections::BTreeSet;

use crate::delivery::{Addressees, Outcomes};
use crate::follow::Followers;
use crate::id::{ConnectionId, FollowerKey, UserId};
use crate::message::{Action, ListOrder, Listed};
use crate::terminals::Terminals;
use crate::vocabulary::terminal::{Age, LifeStage, Terminal};

/// Lists greeted terminals, or their users. What no list can be of is an empty one.
pub(super) fn of(
    terminals: &Terminals,
    follow: &Followers,
    to: &Addressees,
    order: &ListOrder,
    limit: u32,
) -> Outcomes {
    let limit = limit.min(Action::LIST_MAX) as usize;
    if let ListOrder::Followers { user } = order {
        return followers(terminals, follow, user, limit);
    }
    if let (ListOrder::Users { after }, Addressees::Everyone) = (order, to) {
        return users(terminals, after.as_ref(), limit);
    }
    if let (ListOrder::Members, Addressees::Members { topics, .. }) = (order, to) {
        let members: usize = topics.iter().map(|topic| terminals.members(topic)).sum();
        if members > limit {
            return Outcomes::Listed(members as u64, Vec::new());
        }
    }
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
                (Some(terminal.id), terminal.key.user().clone())
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
                (None, user.clone())
            }
            ListOrder::Members => {
                all += 1;
                (None, terminal.key.user().clone())
            }
            ListOrder::Followers { .. } => return,
        };
        if first.len() < limit || first.last().is_some_and(|last| listed < *last) {
            first.insert(listed);
            if first.len() > limit {
                first.pop_last();
            }
        }
    });
    let listed = first.into_iter().map(|(connection, user)| Listed {
        connection,
        user,
        follows: None,
    });
    Outcomes::Listed(all, listed.collect())
}

/// Lists users with a greeted terminal.
fn users(terminals: &Terminals, after: Option<&UserId>, limit: usize) -> Outcomes {
    let listed = terminals.online(after).take(limit).map(|user| Listed {
        connection: None,
        user: user.clone(),
        follows: None,
    });
    Outcomes::Listed(terminals.users_online() as u64, listed.collect())
}

/// Lists the terminals of a user that follow its log.
fn followers(terminals: &Terminals, follow: &Followers, user: &UserId, limit: usize) -> Outcomes {
    let Some(log) = follow.find(&user.clone().into()) else {
        return Outcomes::Listed(0, Vec::new());
    };
    let stand = |connection| {
        Some(Listed {
            connection: Some(terminals.get(connection)?.id),
            user: user.clone(),
            follows: Some(follow.stand(FollowerKey { connection, log })?),
        })
    };
    let mut listed: Vec<_> = follow.of_log(log).filter_map(stand).collect();
    let all = listed.len() as u64;
    listed.sort_unstable_by(|one, next| one.name().cmp(&next.name()));
    listed.truncate(limit);
    Outcomes::Listed(all, listed)
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
        Addressees::Keys(_) | Addressees::Record { .. } | Addressees::Session(_) => {}
    }
}
