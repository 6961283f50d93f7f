//! What terminals are told of a push.

use std::time::Duration;

use super::pair;
use crate::frame::{Outgoing, Pushed};
use crate::id::UserId;
use crate::key::Key;
use crate::message::Audience;

/// A protocol that names the push, or the channel it came by, needs both at each terminal, and encodes what
/// terminals share once.
#[test]
fn terminals_of_a_key_share_what_is_known_of_a_push() {
    let mut cluster = pair();
    let ann = [0, 1, 1].map(|instance| cluster.connect(instance, "ann").1);
    let bob = cluster.connect(1, "bob").1;
    let users = ["ann", "bob"].map(|name| UserId::new(name).expect("a user"));
    cluster.push(0, Audience::Users(users.to_vec()), "users", 7);
    cluster.push(0, Audience::Everyone, "everyone", 8);
    cluster.pass(Duration::from_secs(1));
    let told = |connection| -> Vec<Pushed> {
        (cluster.received[&connection].iter())
            .filter_map(|outgoing| match outgoing {
                Outgoing::Pushed(pushed) => Some(pushed.clone()),
                Outgoing::Hello { .. }
                | Outgoing::Log(_)
                | Outgoing::Record(_)
                | Outgoing::Gap(_)
                | Outgoing::Back(_)
                | Outgoing::Joined { .. }
                | Outgoing::Left(_)
                | Outgoing::NotJoined(..)
                | Outgoing::NotWatched(..)
                | Outgoing::Presence(_)
                | Outgoing::TopicLog(..)
                | Outgoing::Received(_) => None,
            })
            .collect()
    };
    for (connection, user) in [(ann[0], 0), (ann[1], 0), (ann[2], 0), (bob, 1)] {
        let known: Vec<_> = (told(connection).iter())
            .map(|pushed| (pushed.push().uuid().as_u128(), pushed.key().cloned()))
            .collect();
        let key = Key::from(users[user].clone());
        assert_eq!(known, [(7, Some(key)), (8, None)]);
    }
    let shares = |one, other| -> Vec<bool> {
        (told(one).iter().zip(&told(other)))
            .map(|(one, other)| one.identity() == other.identity())
            .collect()
    };
    assert_eq!(shares(ann[1], ann[2]), [true, true]);
    assert_eq!(shares(ann[1], bob), [false, true]);
}
