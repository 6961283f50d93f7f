//! The topics of which the terminals of users are to be members.

use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use super::expiring::{Expires, Expiring};
use crate::directory::{DirectorySettings, Keeping, Reply};
use crate::id::TopicId;
use crate::key::Key;
use crate::time::Instant;

/// The topics of users.
#[derive(Clone, Debug)]
pub(super) struct UserTopics {
    users: Expiring<KeptTopics>,
    expiry: Duration,
}

#[derive(Clone, Debug)]
struct KeptTopics {
    expires: Instant,
    /// In their order, never empty.
    topics: Vec<TopicId>,
}

impl Expires for KeptTopics {
    fn expires(&self) -> Instant {
        self.expires
    }

    /// They expire together.
    fn drop_expired(&mut self, _: Instant) {}
}

impl UserTopics {
    pub(super) const fn new(settings: &DirectorySettings) -> Self {
        Self {
            users: Expiring::new(),
            expiry: settings.used_log,
        }
    }

    pub(super) fn keep(
        &mut self,
        now: Instant,
        key: &Key,
        topic: &TopicId,
        keeping: Keeping,
    ) -> Reply {
        self.users.sweep(now);
        match keeping {
            Keeping::Kept { most } => self.add(now, key, topic, most),
            Keeping::Dropped => {
                if let Some(kept) = self.users.get_mut(now, key) {
                    kept.topics.retain(|other| other != topic);
                    if kept.topics.is_empty() {
                        self.users.remove(key);
                    }
                }
                Reply::TopicKept(true)
            }
        }
    }

    fn add(&mut self, now: Instant, key: &Key, topic: &TopicId, most: u32) -> Reply {
        let expires = now + self.expiry;
        let topics = self.users.get_mut(now, key).map(|kept| &mut kept.topics);
        let Some(topics) = topics else {
            let topics = vec![topic.clone()];
            self.users
                .entry(key)
                .or_insert(KeptTopics { expires, topics });
            return Reply::TopicKept(true);
        };
        if let Err(at) = topics.binary_search(topic) {
            if topics.len() >= most as usize {
                return Reply::TopicKept(false);
            }
            topics.insert(at, topic.clone());
        }
        self.prolong(now, key);
        Reply::TopicKept(true)
    }

    /// What the row of a terminal of this user is answered with.
    pub(super) fn of_registered(&mut self, now: Instant, key: &Key) -> Reply {
        self.prolong(now, key);
        match self.users.get(now, key) {
            Some(kept) => Reply::RegisteredWith(kept.topics.clone()),
            None => Reply::Registered,
        }
    }

    fn prolong(&mut self, now: Instant, key: &Key) {
        let expires = now + self.expiry;
        if let Some(kept) = self.users.get_mut(now, key) {
            kept.expires = expires;
        }
    }

    /// Those that have not expired, in the order of users and topics.
    pub(super) fn standing(&self, now: Instant) -> impl Iterator<Item = (&Key, &[TopicId])> {
        (self.users.standing(now)).map(|(key, kept)| (key, kept.topics.as_slice()))
    }

    /// Loses the topics of one user. Returns whether there were any.
    pub(super) fn evict(&mut self, now: Instant, key: &Key) -> bool {
        let evicted = self.users.remove(key);
        evicted.is_some_and(|kept| kept.expires > now)
    }

    pub(super) fn clear(&mut self) {
        self.users.clear();
    }

    pub(super) fn drop_expired(&mut self, now: Instant) {
        self.users.drop_expired(now);
    }

    pub(super) fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.users
            .fingerprint(now, hasher, |kept, hasher| kept.topics.hash(hasher));
    }
}
