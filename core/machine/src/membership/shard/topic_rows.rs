//! The rows of topics, and whom they make known as members.
//!
//! The row of a topic says that this instance has members of it. It is written when the first one joins,
//! and removed when the last one has left; unlike that of a connection it may be wanted again while it
//! is being removed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound;

use super::Shard;
use super::rows::{KnownRow, RowState};
use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::config::Config;
use crate::context::Context;
use crate::id::{Epoch, TopicId};
use crate::membership::hooks;
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::terminal::RowOf;
use crate::vocabulary::timer::MembershipTimer;

/// How many members of topics are told in one step that the directory knows of them, at most: as many as a small topic
/// has.
const TOLD_IN_STEP: usize = 128;

/// What is known of the rows of topics.
#[derive(Clone, Debug)]
pub(super) struct KnownTopicRows {
    known: BTreeMap<TopicId, KnownTopicRow>,
    /// The last topic that the sweep has come to in its round.
    pub(super) swept: Option<TopicId>,
    /// Topics with members that are told in the next steps that the directory knows of them.
    telling: BTreeSet<TopicId>,
    tell: Alarm,
}

/// What is known of a topic's row.
#[derive(Clone, Copy, Debug)]
struct KnownTopicRow {
    row: KnownRow,
    /// The epoch under which it was last asked to be written: its removal compares it.
    asked: Epoch,
}

impl KnownTopicRow {
    fn new() -> Self {
        Self {
            row: KnownRow::default(),
            asked: Epoch::ZERO,
        }
    }
}

impl KnownTopicRows {
    pub(super) const fn new() -> Self {
        Self {
            known: BTreeMap::new(),
            swept: None,
            telling: BTreeSet::new(),
            tell: Alarm::UNSET,
        }
    }

    pub(super) fn row(&self, topic: &TopicId) -> KnownRow {
        let known = self.known.get(topic);
        known.map_or_else(KnownRow::default, |known| known.row)
    }

    pub(super) fn row_mut(&mut self, topic: &TopicId) -> &mut KnownRow {
        &mut self.known_mut(topic).row
    }

    fn known_mut(&mut self, topic: &TopicId) -> &mut KnownTopicRow {
        let known = self.known.entry(topic.clone());
        known.or_insert_with(KnownTopicRow::new)
    }

    /// A row is asked to be written.
    pub(super) fn asked(&mut self, topic: &TopicId, epoch: Epoch) {
        self.known_mut(topic).asked = epoch;
    }

    /// The epoch under which a row was last asked to be written.
    pub(super) fn last_asked(&self, topic: &TopicId) -> Epoch {
        let known = self.known.get(topic);
        known.map_or(Epoch::ZERO, |known| known.asked)
    }

    /// The topics of which anything is known, in their order, behind this one.
    pub(super) fn next(&self, after: Option<&TopicId>) -> Option<&TopicId> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut topics = self.known.range::<TopicId, _>((after, Bound::Unbounded));
        topics.next().map(|(topic, _)| topic)
    }

    /// What is known of each, for people.
    pub(super) fn states(&self) -> impl Iterator<Item = (&TopicId, &'static str)> {
        (self.known.iter()).map(|(topic, known)| (topic, known.row.state.name()))
    }

    /// Topics of which anything is known.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// There is no row of a topic, and none is wanted.
    pub(super) fn forget(&mut self, topic: &TopicId) {
        self.known.remove(topic);
    }

    pub(super) const fn alarm(&self) -> Alarm {
        self.tell
    }
}

impl Shard {
    /// A terminal has joined a topic: it is told as soon as the directory knows of the topic.
    pub(in crate::membership) fn topic_joined(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        topic: &TopicId,
    ) {
        let of = RowOf::Topic(topic.clone());
        if !hooks::join_waits_for_row(cx.flaws) {
            self.tell_members(cx, terminals, topic);
        }
        match self.rows.state(&of) {
            RowState::Absent => self.write_row(cx, terminals, &of),
            RowState::Written { epoch } if self.lease.held_epoch_at(cx.now.mono) == Some(epoch) => {
                self.tell_members(cx, terminals, topic);
            }
            // The lease is lost, or is taken for lost and may yet be held: whether the row stands is asked, unless a
            // settling comes to it before.
            RowState::Written { .. } => self.row_due(cx, of),
            // What is under way comes first, or a settling does.
            RowState::Due | RowState::Writing { .. } | RowState::Removing => {}
        }
    }

    /// The directory knows that this instance has members of a topic: those that wait for it are told, some at once and
    /// others in further steps.
    pub(super) fn tell_members(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        topic: &TopicId,
    ) {
        let topics = &mut self.rows.topics;
        if topics.telling.contains(topic) {
            return;
        }
        if terminals.topic_reachable(cx, topic, TOLD_IN_STEP) {
            topics.telling.insert(topic.clone());
            let at = cx.now.mono + Config::BROADCAST_STEP;
            cx.set(&mut topics.tell, at, MembershipTimer::Tell);
        }
    }

    /// Tells further members of the first of the topics that have some. If its row does not stand any more, they are
    /// told when it is written again.
    pub(in crate::membership) fn tell_due(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
    ) {
        let topics = &mut self.rows.topics;
        if !topics.tell.rings(cx.now.mono) {
            return;
        }
        let Some(topic) = topics.telling.pop_first() else {
            return;
        };
        if !topics.telling.is_empty() {
            let at = cx.now.mono + Config::BROADCAST_STEP;
            cx.set(&mut topics.tell, at, MembershipTimer::Tell);
        }
        if let RowState::Written { epoch } = topics.row(&topic).state {
            if self.lease.held_epoch_at(cx.now.mono) == Some(epoch) {
                self.tell_members(cx, terminals, &topic);
            } else {
                // It is lost, or is taken for lost and may yet be held: whether the row stands is asked.
                self.row_due(cx, RowOf::Topic(topic));
            }
        }
    }
}

impl Fingerprint for KnownTopicRows {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        for (topic, KnownTopicRow { row, asked }) in &self.known {
            topic.fingerprint(now, hasher);
            row.fingerprint(now, hasher);
            asked.fingerprint(now, hasher);
        }
        (&self.swept, &self.telling).hash(hasher);
    }
}
