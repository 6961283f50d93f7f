//! Lists of terminals of this instance, and of their users.

use std::collections::BTreeSet;

use crate::delivery::{Addressees, Outcomes};
use crate::follow::Followers;
use crate::id::{ConnectionId, ConnectionKey, FollowerKey, TopicId, UserId};
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
    if let (ListOrder::Connections { after }, Addressees::Members { topics, .. }) = (order, to)
        && let [topic] = &topics[..]
    {
        return members(terminals, topic, *after, limit);
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

/// Lists members of a topic. They are greeted.
fn members(
    terminals: &Terminals,
    topic: &TopicId,
    after: Option<ConnectionId>,
    limit: usize,
) -> Outcomes {
    let listed = terminals.members_behind(topic, after);
    let listed = listed.take(limit).filter_map(|(connection, key)| {
        Some(Listed {
            connection: Some(connection),
            user: look_at(terminals, key)?.key.user().clone(),
            follows: None,
        })
    });
    Outcomes::Listed(terminals.members(topic) as u64, listed.collect())
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
        let greeted = look_at(terminals, key).filter(|found| found.life == LifeStage::Live);
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

/// A list looks at a terminal.
fn look_at(terminals: &Terminals, key: ConnectionKey) -> Option<Terminal<'_>> {
    #[cfg(test)]
    tests::LOOKED_AT.set(tests::LOOKED_AT.get() + 1);
    terminals.get(key)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use crate::config::Config;
    use crate::event::{Event, Handshake};
    use crate::id::{TopicId, UserId};
    use crate::message::{Action, Audience, ListOrder, Push};
    use crate::testing::cluster::{Cluster, frame};
    use crate::topic::TopicRights;

    thread_local! {
        /// Terminals that lists have looked at.
        pub(super) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    /// A topic may have a million of them.
    #[test]
    fn a_page_of_members_looks_at_those_that_it_lists() {
        const MEMBERS: usize = 200;
        let topic = TopicId::new("news").expect("a topic");
        let mut cluster = Cluster::new(&Config::default(), 1);
        for number in 0..MEMBERS {
            let rights = TopicRights::of_claim(["news"]).expect("a claim");
            let handshake = Handshake {
                topics: Some(rights.into()),
                ..Handshake::new(UserId::new(&format!("user{number}")).expect("a user"))
            };
            let connection = cluster.accept(0, handshake).expect("taken");
            cluster.event(0, Event::Opened { connection });
        }
        let mut after = None;
        let mut listed = Vec::new();
        for id in 0..4 {
            let to = Audience::Topics {
                topics: vec![topic.clone()],
                except: None,
            };
            let push = Push {
                action: Action::List {
                    order: ListOrder::Connections { after },
                    limit: 50,
                },
                ..frame(to, "", id)
            };
            LOOKED_AT.set(0);
            let call = cluster.call_push(0, push);
            assert_eq!(LOOKED_AT.get(), 50);
            let receipt = cluster.receipt(call);
            assert_eq!(receipt.counts.written, MEMBERS as u64);
            after = receipt.listed.last().and_then(|last| last.connection);
            listed.extend(receipt.listed.iter().filter_map(|one| one.connection));
        }
        listed.dedup();
        assert_eq!(listed.len(), MEMBERS);
        assert!(listed.is_sorted());
    }
}
