//! One link: how far it is, and what is to be said on it.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::config::Config;
use crate::id::InstanceId;
use crate::peers::round_trip::RoundTripTime;
use crate::peers::wire::{self, Message, Role, Transcript};
use crate::stats::Tables;
use crate::time::Instant;
use crate::vocabulary::service::Service;

/// A link to another instance, or to a stranger that may be one.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Which end this instance is.
    role: Role,
    pub(super) stage: LinkStage,
    /// The instance that is expected there, or that has proven to be there.
    pub(super) peer: Option<InstanceId>,
    /// A batch is with the driver.
    pub(super) writing: bool,
    /// What is to be said on this link and no other.
    answers: VecDeque<Message>,
    answer_bytes: usize,
    pub(super) heard: Instant,
    /// What its peer said last of the directory.
    pub(super) said: Service,
    /// The longer of the times between two heartbeats that its ends have.
    pub(super) heartbeat: Duration,
    pub(super) round_trip: RoundTripTime,
    /// When it next needs attention.
    pub(super) due: Instant,
    /// Links are numbered in the order in which they began.
    pub(super) number: u64,
    /// The number of the last link that had begun when this one was confirmed.
    pub(super) crossed: u64,
}

/// How far a link is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LinkStage {
    /// The driver is connecting it.
    Dialled,
    /// Our Hello has left; theirs must prove the secret.
    Greeting { nonce: [u8; 16] },
    /// Their Hello must come.
    Accepted,
    /// Our Hello has proven us; they must prove themselves.
    Proving { transcript: Transcript },
    /// The acceptor has proven itself and our proof has left. It may still drop this link for one
    /// that it dialled itself.
    Proven,
    /// Both have proven themselves and the link serves both.
    Open,
}

impl LinkStage {
    /// What the state is called in tables for people.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Dialled => "dialled",
            Self::Greeting { .. } => "greeting",
            Self::Accepted => "accepted",
            Self::Proving { .. } => "proving",
            Self::Proven => "proven",
            Self::Open => "open",
        }
    }
}

impl LinkStage {
    /// Whether batches may leave.
    pub(super) const fn carries(&self) -> bool {
        match self {
            Self::Proven | Self::Open => true,
            Self::Dialled | Self::Greeting { .. } | Self::Accepted | Self::Proving { .. } => false,
        }
    }
}

impl Link {
    /// A link that this instance dials.
    pub(super) const fn dialled(to: InstanceId, now: Instant, due: Instant) -> Self {
        Self::new(Role::Dialler, LinkStage::Dialled, Some(to), now, due)
    }

    /// A link that somebody opened, who may be anybody.
    pub(super) const fn accepted(now: Instant, due: Instant) -> Self {
        Self::new(Role::Acceptor, LinkStage::Accepted, None, now, due)
    }

    const fn new(
        role: Role,
        stage: LinkStage,
        peer: Option<InstanceId>,
        now: Instant,
        due: Instant,
    ) -> Self {
        Self {
            role,
            stage,
            peer,
            writing: false,
            answers: VecDeque::new(),
            answer_bytes: 0,
            heard: now,
            said: Service::Full,
            heartbeat: Duration::ZERO,
            round_trip: RoundTripTime::new(now),
            due,
            number: 0,
            crossed: 0,
        }
    }

    /// Whether this link, at the lower id, stays when the peer's own has proven itself. One that is
    /// confirmed stays if the peer's had begun before: they crossed. If it began later, the peer has
    /// lost this one. One that has not reached the peer may never do so.
    pub(super) const fn outlives(&self, other: &Self) -> bool {
        match self.stage {
            LinkStage::Dialled | LinkStage::Accepted | LinkStage::Proving { .. } => false,
            LinkStage::Greeting { .. } | LinkStage::Proven => true,
            LinkStage::Open => other.number <= self.crossed,
        }
    }

    /// Whether nothing has come over it for too long.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        (self.heard + self.heartbeat * Config::SILENT_HEARTBEATS).has_come(now)
    }

    /// Adds something to be said. Returns whether there was room for it: a queue that is empty takes
    /// any answer, since a large one would never leave otherwise.
    pub(super) fn say(&mut self, message: Message, limit: usize) -> bool {
        let size = wire::encoded_size_hint(&message);
        if self.answer_bytes + size > limit && !self.answers.is_empty() {
            return false;
        }
        self.answer_bytes += size;
        self.answers.push_back(message);
        true
    }

    /// Counts what is to be said.
    pub(super) fn count(&self, tables: &mut Tables) {
        tables.answers += self.answers.len();
        tables.answer_bytes += self.answer_bytes;
    }

    /// What is to be said next.
    pub(super) fn first_answer(&self) -> Option<&Message> {
        self.answers.front()
    }

    /// What was to be said next has been said.
    pub(super) fn forget_answer(&mut self) {
        if let Some(message) = self.answers.pop_front() {
            self.answer_bytes -= wire::encoded_size_hint(&message);
        }
    }
}

impl Fingerprint for Link {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        (self.role, &self.stage, self.peer, self.writing).hash(hasher);
        self.answers.fingerprint(now, hasher);
        self.heard.fingerprint(now, hasher);
        self.said.hash(hasher);
        self.heartbeat.hash(hasher);
        self.round_trip.fingerprint(now, hasher);
        self.due.fingerprint(now, hasher);
        (self.number, self.crossed).hash(hasher);
    }
}
