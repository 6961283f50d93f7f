//! A lane's content: its parts in their order, how far each is, and what it serves.
//!
//! Nothing here looks beyond the lane; what is asked and sent for it stands in the module above.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::targets::Targets;
use crate::base::few::Few;
use crate::base::fingerprint::Fingerprint;
use crate::config::Config;
use crate::context::Context;
use crate::directory::Row;
use crate::directory::log::{Logged, Place, Retention};
use crate::id::{ConnectionId, DeliveryId, InstanceId, PushKey};
use crate::key::Key;
use crate::message::{Durable, InLog, Outcome};
use crate::publish::route::Selection;
use crate::time::Instant;

/// A part's number in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::publish) struct Sequence(u64);

impl Sequence {
    pub(in crate::publish) const fn new(number: u64) -> Self {
        Self(number)
    }

    pub(in crate::publish) const fn get(self) -> u64 {
        self.0
    }
}

/// Which part of which lane: the name by which answers find it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::publish) struct PartId {
    /// The key in whose lane it stands.
    pub(in crate::publish) key: Key,
    pub(in crate::publish) sequence: Sequence,
}

/// Parts of a lane, ended or not, for each that may be open: an append that the directory does not answer keeps those
/// behind it until its deadline, and does not count for them.
const ENDED_PER_OPEN: usize = 4;

/// The pushes for one key.
#[derive(Clone, Debug)]
pub(in crate::publish) struct Lane {
    pub(super) parts: VecDeque<Part>,
    /// The number of the first part.
    pub(super) first: u64,
    /// The number of the first part whose terminals at this instance were not served.
    unserved: u64,
    /// Parts that have ended and stay until those before them have.
    ended: usize,
    pub(super) lookup: Lookup,
}

/// How far the lookup of a lane's rows is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Lookup {
    /// None is under way.
    #[default]
    None,
    /// It was asked for in this turn. Until that turn ends others can join it.
    Asked { turn: u64 },
    /// Its rows name instances that the view does not know; a fresh view decides.
    Unjudged { rows: Vec<(ConnectionId, Row)> },
}

/// What one push is to one key.
#[derive(Clone, Debug)]
pub(in crate::publish) struct Part {
    pub(super) push: PushKey,
    pub(super) selection: Selection,
    pub(super) started: Instant,
    pub(super) stage: PartStage,
    pub(super) round: Round,
    /// Deliveries without an answer.
    pub(super) unanswered: usize,
    /// Instances that were asked by key: which terminals they served is known when they answer.
    pub(super) asked: Vec<InstanceId>,
    pub(super) targets: Targets,
    pub(super) degraded: bool,
    /// What it is to the log of its key.
    pub(super) record: PartRecord,
}

/// What a part is to the log of its key, or a push to a topic to that of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::publish) enum PartRecord {
    /// Nothing: it is a plain push.
    Plain,
    /// It is to be a record, and the directory has not answered.
    Wanted {
        /// What the log keeps with it.
        retention: Retention,
        /// It was asked before, and that may be executed yet.
        doubtful: bool,
    },
    /// The part is a record at this place of the log.
    At(Place),
    /// The answer was another one.
    Not(InLog),
}

impl PartRecord {
    /// It is to be a record, of which nothing is known.
    pub(in crate::publish) fn wanted(config: &Config, durable: Durable) -> Self {
        Self::Wanted {
            retention: (durable.retention).unwrap_or_else(|| config.retention()),
            doubtful: false,
        }
    }

    /// The log has answered the append of so many bytes, which began then.
    pub(in crate::publish) fn answered(
        cx: &mut Context<'_>,
        logged: Logged,
        since: Instant,
        bytes: u64,
    ) -> Self {
        match logged {
            Logged::New(place) => {
                cx.stats.appended += 1;
                cx.stats.append_times.count(cx.now.mono.since(since));
                cx.stats.appended_bytes += bytes;
                Self::At(place)
            }
            Logged::Repeated(place) => {
                cx.stats.append_repeats += 1;
                Self::At(place)
            }
            Logged::Expired => {
                cx.stats.append_repeats += 1;
                Self::Not(InLog::Expired)
            }
        }
    }

    /// How long the log keeps it, if it is to be a record.
    pub(in crate::publish) const fn age(self) -> Option<Duration> {
        match self {
            Self::Wanted { retention, .. } => Some(retention.age),
            Self::Plain | Self::At(_) | Self::Not(_) => None,
        }
    }

    /// Where the record stands.
    pub(in crate::publish) const fn place(self) -> Option<Place> {
        match self {
            Self::At(place) => Some(place),
            Self::Plain | Self::Wanted { .. } | Self::Not(_) => None,
        }
    }

    /// What the receipt says of it, if it is not plain.
    pub(in crate::publish) const fn in_log(self) -> Option<InLog> {
        match self {
            Self::Plain => None,
            Self::Wanted { .. } => Some(InLog::Unknown),
            Self::At(place) => Some(InLog::At(place.position)),
            Self::Not(in_log) => Some(in_log),
        }
    }
}

/// How far a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PartStage {
    /// The lookup of an earlier part is under way.
    Waiting,
    /// The part's own lookup is under way.
    LookingUp,
    /// Its record is being appended, and its rows come with the answer. No other part waits for it: the order
    /// of records is that of the log.
    Appending,
    /// All deliveries that its rows call for have left.
    Routed,
    /// Its outcomes are in the receipt.
    Ended,
}

impl PartStage {
    /// Whether it waits for rows.
    pub(super) const fn is_unrouted(self) -> bool {
        match self {
            Self::Waiting | Self::LookingUp | Self::Appending => true,
            Self::Routed | Self::Ended => false,
        }
    }
}

/// Which lookup a part is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Round {
    /// The one that all parts begin with.
    First,
    /// The second and last, because a terminal had gone and may just have moved.
    Second,
}

/// One terminal of a part.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Target {
    pub(super) connection: ConnectionId,
    /// The delivery that serves it.
    pub(super) delivery: DeliveryId,
    /// The row that named it.
    pub(super) row: Option<Row>,
    pub(super) outcome: Option<Outcome>,
}

impl Part {
    pub(in crate::publish) fn new(
        push: PushKey,
        selection: Selection,
        record: PartRecord,
        started: Instant,
    ) -> Self {
        Self {
            push,
            selection,
            started,
            stage: PartStage::Waiting,
            round: Round::First,
            unanswered: 0,
            asked: Vec::new(),
            targets: Targets::new(),
            degraded: false,
            record,
        }
    }

    /// Whether deliveries of it have left that its rows call for.
    const fn is_routed(&self) -> bool {
        match self.stage {
            PartStage::Routed | PartStage::Ended => true,
            PartStage::Waiting | PartStage::LookingUp | PartStage::Appending => match self.round {
                Round::First => false,
                Round::Second => true,
            },
        }
    }
}

impl Lane {
    pub(super) const fn new() -> Self {
        Self {
            parts: VecDeque::new(),
            first: 0,
            unserved: 0,
            ended: 0,
            lookup: Lookup::None,
        }
    }

    /// It begins, and its first part has this number.
    pub(super) fn begin(&mut self, first: u64) {
        self.first = first;
        self.unserved = first;
        self.ended = 0;
        self.lookup = Lookup::None;
    }

    /// The number after those that were given.
    pub(in crate::publish) fn next(&self) -> u64 {
        self.first + self.parts.len() as u64
    }

    /// Adds a part.
    pub(in crate::publish) fn push(&mut self, part: Part) -> Sequence {
        let sequence = Sequence(self.next());
        self.parts.push_back(part);
        sequence
    }

    /// Parts that have not ended.
    pub(in crate::publish) fn open(&self) -> usize {
        self.parts.len() - self.ended
    }

    /// Whether no part can be added: so many have not ended, or several times as many stay behind one that has not.
    pub(in crate::publish) fn is_full(&self, limit: usize) -> bool {
        self.open() >= limit || self.parts.len() >= limit.saturating_mul(ENDED_PER_OPEN)
    }

    /// A part has ended.
    pub(super) fn end(&mut self, sequence: Sequence) {
        if let Some(part) = self.get_mut(sequence)
            && part.stage != PartStage::Ended
        {
            part.stage = PartStage::Ended;
            self.ended += 1;
        }
    }

    /// Forgets the parts that have ended, up to the first that has not.
    pub(super) fn forget_ended(&mut self) {
        while (self.parts.front()).is_some_and(|part| part.stage == PartStage::Ended) {
            self.parts.pop_front();
            self.first += 1;
            self.ended -= 1;
        }
    }

    pub(super) fn get_mut(&mut self, sequence: Sequence) -> Option<&mut Part> {
        let index = sequence.0.checked_sub(self.first)?;
        self.parts.get_mut(usize::try_from(index).ok()?)
    }

    pub(super) fn get(&self, sequence: Sequence) -> Option<&Part> {
        let index = sequence.0.checked_sub(self.first)?;
        self.parts.get(usize::try_from(index).ok()?)
    }

    /// The next part whose terminals at this instance can be served, which it counts as served. They
    /// need no lookup, and do not wait for that of an earlier part; but what the second lookup of one
    /// finds here is served first.
    pub(super) fn serve_next(&mut self) -> Option<Sequence> {
        let next = self.unserved.max(self.first);
        let before = usize::try_from(next - self.first).ok()?;
        let owes = |part: &Part| part.round == Round::Second && part.stage.is_unrouted();
        if before >= self.parts.len() || self.parts.iter().take(before).any(owes) {
            return None;
        }
        self.unserved = next + 1;
        Some(Sequence(next))
    }

    /// The parts up to this one that have not been routed, in order.
    pub(super) fn unrouted_up_to(&self, sequence: Sequence) -> Few<Sequence, 4> {
        (self.first..=sequence.0)
            .zip(&self.parts)
            .filter(|(_, part)| part.stage.is_unrouted() && part.stage != PartStage::Appending)
            .map(|(number, _)| Sequence(number))
            .collect()
    }

    pub(super) fn at_stage(&self, stage: PartStage) -> Few<Sequence, 4> {
        (self.first..)
            .zip(&self.parts)
            .filter(|(_, part)| part.stage == stage)
            .map(|(number, _)| Sequence(number))
            .collect()
    }

    /// Since when the parts that are being looked up must not miss anybody.
    pub(super) fn asked_since(&self, now: Instant) -> Instant {
        (self.parts.iter())
            .filter(|part| part.stage == PartStage::LookingUp)
            .map(|part| part.started)
            .min()
            .unwrap_or(now)
    }

    /// What later parts have served of an instance, or may have: which terminals an instance
    /// serves that was asked by key is known when it answers.
    pub(super) fn served_later(
        &self,
        sequence: Sequence,
        instance: InstanceId,
        here: InstanceId,
    ) -> ServedLater<'_> {
        if (self.later(sequence)).any(|part| part.asked.contains(&instance)) {
            return ServedLater::Anybody;
        }
        // A part that is not routed yet has served local terminals alone.
        let may_have = |part: &&Part| instance == here || part.is_routed();
        let parts = self.later(sequence).filter(may_have);
        ServedLater::By(parts.filter(|part| !part.targets.is_empty()).collect())
    }

    /// Whether deliveries of a later part have left.
    pub(super) fn routed_later(&self, sequence: Sequence) -> bool {
        self.later(sequence).any(Part::is_routed)
    }

    /// The parts that must not be overtaken: later ones, but for records, which have the order of the log.
    fn later(&self, sequence: Sequence) -> impl Iterator<Item = &Part> {
        let later = (sequence.0 + 1).saturating_sub(self.first) as usize;
        let is_plain = |part: &&Part| part.record == PartRecord::Plain;
        self.parts.iter().skip(later).filter(is_plain)
    }
}

/// The terminals that later parts have served at one instance.
pub(super) enum ServedLater<'a> {
    /// That is not known: it may be anybody.
    Anybody,
    /// The targets of these parts.
    By(Vec<&'a Part>),
}

impl ServedLater<'_> {
    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        match self {
            Self::Anybody => true,
            Self::By(parts) => parts.iter().any(|part| part.targets.has(connection)),
        }
    }
}

impl Fingerprint for Lane {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        hasher.write_usize(self.parts.len());
        for part in &self.parts {
            part.push.fingerprint(now, hasher);
            part.selection.hash(hasher);
            part.started.fingerprint(now, hasher);
            (part.stage, part.round, part.unanswered, part.degraded).hash(hasher);
            part.targets.hash(hasher);
            part.asked.hash(hasher);
            part.record.hash(hasher);
        }
        self.first.fingerprint(now, hasher);
        self.unserved.max(self.first).fingerprint(now, hasher);
        self.lookup.hash(hasher);
    }
}
