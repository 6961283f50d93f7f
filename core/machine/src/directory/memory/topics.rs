//! Which instances have members of which topics.

use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use super::expiring::{Expires, Expiring};
use super::hooks;
use crate::base::flaws::Flaws;
use crate::directory::{DirectorySettings, Reply};
use crate::id::{Epoch, InstanceId, TopicId};
use crate::time::Instant;

/// The instances with members, by topic.
#[derive(Clone, Debug)]
pub(super) struct TopicTable {
    topics: Expiring<KeptTopicRows, TopicId>,
    expiry: Duration,
}

#[derive(Clone, Debug)]
struct KeptTopicRows {
    /// When all of them expire.
    expires: Instant,
    /// In the order of their ids, never empty.
    rows: Vec<(InstanceId, Epoch)>,
}

impl Expires for KeptTopicRows {
    fn expires(&self) -> Instant {
        self.expires
    }

    /// They expire together.
    fn drop_expired(&mut self, _: Instant) {}
}

impl TopicTable {
    pub(super) const fn new(settings: &DirectorySettings) -> Self {
        Self {
            topics: Expiring::new(),
            expiry: settings.row_expiry,
        }
    }

    pub(super) fn enter(
        &mut self,
        now: Instant,
        topic: &TopicId,
        instance: InstanceId,
        epoch: Epoch,
    ) -> Reply {
        self.topics.sweep(now);
        let expires = now + self.expiry;
        let kept = self.topics.entry(topic).or_insert_with(|| KeptTopicRows {
            expires,
            rows: Vec::with_capacity(1),
        });
        if kept.expires <= now {
            kept.rows.clear();
        }
        match kept.rows.binary_search_by_key(&instance, |(id, _)| *id) {
            Ok(at) => {
                let standing = &mut kept.rows[at].1;
                if standing.is_counted() && *standing > epoch {
                    return Reply::Superseded;
                }
                *standing = epoch;
            }
            Err(at) => kept.rows.insert(at, (instance, epoch)),
        }
        kept.expires = expires;
        Reply::Registered
    }

    pub(super) fn leave(
        &mut self,
        flaws: Flaws,
        now: Instant,
        topic: &TopicId,
        instance: InstanceId,
        epoch: Epoch,
    ) -> Reply {
        let Some(kept) = self.topics.get_mut(now, topic) else {
            return Reply::Removed(false);
        };
        let Ok(at) = kept.rows.binary_search_by_key(&instance, |(id, _)| *id) else {
            return Reply::Removed(false);
        };
        if !hooks::is_what_was_said(flaws, kept.rows[at].1, epoch) {
            return Reply::Removed(false);
        }
        kept.rows.remove(at);
        if kept.rows.is_empty() {
            self.topics.remove(topic);
        }
        Reply::Removed(true)
    }

    /// Those that have not expired.
    pub(super) fn of(&self, now: Instant, topic: &TopicId) -> Vec<(InstanceId, Epoch)> {
        let kept = self.topics.get(now, topic);
        kept.map(|kept| kept.rows.clone()).unwrap_or_default()
    }

    /// All that have not expired, in the order of topics and instances.
    pub(super) fn rows(&self, now: Instant) -> impl Iterator<Item = (&TopicId, InstanceId, Epoch)> {
        (self.topics.standing(now)).flat_map(|(topic, kept)| {
            (kept.rows.iter()).map(move |(instance, epoch)| (topic, *instance, *epoch))
        })
    }

    /// The topics of which anything stands there.
    pub(super) fn standing(&self, now: Instant) -> impl Iterator<Item = &TopicId> {
        self.topics.standing(now).map(|(topic, _)| topic)
    }

    /// Loses what is said of one topic. Returns whether anything was.
    pub(super) fn evict(&mut self, now: Instant, topic: &TopicId) -> bool {
        let evicted = self.topics.remove(topic);
        evicted.is_some_and(|kept| kept.expires > now)
    }

    pub(super) fn clear(&mut self) {
        self.topics.clear();
    }

    pub(super) fn drop_expired(&mut self, now: Instant) {
        self.topics.drop_expired(now);
    }

    pub(super) fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.topics
            .fingerprint(now, hasher, |kept, hasher| kept.rows.hash(hasher));
    }
}
