//! The followers of this instance, by their terminals.

use std::hash::Hasher;

use super::follower::Follower;
use crate::base::fingerprint::Fingerprint;
use crate::base::slots::BesideFew;
use crate::channel::Channel;
use crate::id::{ConnectionKey, FollowerKey};
use crate::time::Instant;

/// A terminal follows the log of its user, or the logs of topics, or both. Most follow one of the former, or none: what
/// is kept for those who follow topics costs the others nothing.
#[derive(Clone, Debug)]
pub(super) struct FollowerTable {
    of_users: BesideFew<ConnectionKey, Follower>,
    /// Those of each terminal in the order of their logs.
    of_topics: BesideFew<ConnectionKey, Vec<Follower>>,
    /// How many those are.
    topics: usize,
}

impl FollowerTable {
    pub(super) const fn new() -> Self {
        Self {
            of_users: BesideFew::new(),
            of_topics: BesideFew::new(),
            topics: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.of_users.len() + self.topics
    }

    pub(super) fn get(&self, key: FollowerKey) -> Option<&Follower> {
        let of_user = self.of_users.get(key.connection);
        if let Some(follower) = of_user.filter(|follower| follower.log == key.log) {
            return Some(follower);
        }
        let of_topics = self.of_topics.get(key.connection)?;
        let at = of_topics.binary_search_by_key(&key.log, |follower| follower.log);
        of_topics.get(at.ok()?)
    }

    pub(super) fn get_mut(&mut self, key: FollowerKey) -> Option<&mut Follower> {
        let of_user = self.of_users.get_mut(key.connection);
        if let Some(follower) = of_user.filter(|follower| follower.log == key.log) {
            return Some(follower);
        }
        let of_topics = self.of_topics.get_mut(key.connection)?;
        let at = of_topics.binary_search_by_key(&key.log, |follower| follower.log);
        of_topics.get_mut(at.ok()?)
    }

    /// A terminal follows the log of a channel, which it did not.
    pub(super) fn insert(
        &mut self,
        connection: ConnectionKey,
        channel: &Channel,
        follower: Follower,
    ) {
        match channel {
            Channel::User(_) => self.of_users.insert(connection, follower),
            Channel::Topic(_) => {
                self.topics += 1;
                match self.of_topics.get_mut(connection) {
                    Some(of_topics) => {
                        let at = of_topics.partition_point(|other| other.log < follower.log);
                        of_topics.insert(at, follower);
                    }
                    None => self.of_topics.insert(connection, vec![follower]),
                }
            }
        }
    }

    pub(super) fn remove(&mut self, key: FollowerKey) -> Option<Follower> {
        let is_of_user =
            (self.of_users.get(key.connection)).is_some_and(|follower| follower.log == key.log);
        if is_of_user {
            return self.of_users.remove(key.connection);
        }
        let of_topics = self.of_topics.get_mut(key.connection)?;
        let at = of_topics.binary_search_by_key(&key.log, |follower| follower.log);
        let removed = of_topics.remove(at.ok()?);
        self.topics -= 1;
        if of_topics.is_empty() {
            self.of_topics.remove(key.connection);
        }
        Some(removed)
    }

    /// The one terminal that follows the log of its user.
    pub(super) fn of_user(&self, connection: ConnectionKey) -> Option<FollowerKey> {
        let log = self.of_users.get(connection)?.log;
        Some(FollowerKey { connection, log })
    }

    /// All of one terminal.
    pub(super) fn of(&self, connection: ConnectionKey) -> impl Iterator<Item = &Follower> {
        let of_topics = self.of_topics.get(connection).into_iter().flatten();
        self.of_users.get(connection).into_iter().chain(of_topics)
    }
}

impl Fingerprint for FollowerTable {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.of_users.fingerprint(now, hasher);
        self.of_topics.fingerprint(now, hasher);
    }
}
