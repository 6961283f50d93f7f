//! The logs of a directory in memory: what the scripts of Redis do, with the same answers.

use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use super::expiring::{Expires, Expiring};
use super::hooks;
use crate::base::flaws::Flaws;
use crate::channel::Channel;
use crate::directory::log::{
    ChannelRows, Content, LogOperation, LogPart, LogReply, LogStart, Logged, Place, Record,
    Retention, no_offsets,
};
use crate::directory::{DirectorySettings, OperationError};
use crate::id::PushId;
use crate::position::{Nonce, Position};
use crate::time::Instant;

/// The logs of all channels.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    kept: Expiring<KeptLog, Channel>,
    /// How long pushes are remembered after the last one.
    repeat_memory: Duration,
    /// When a log ends to which somebody has written.
    used: Duration,
    /// When the log of a user ends to which nobody has written.
    unused: Duration,
    /// The same of the log of a topic.
    unused_topic: Duration,
    flaws: Flaws,
}

/// One log. What of it has expired is dropped before it is looked at.
#[derive(Clone, Debug)]
struct KeptLog {
    expires: Instant,
    head: Position,
    /// What was before the oldest record when there was one.
    base: Position,
    records: VecDeque<Record>,
    records_expire: Instant,
    /// Of the content of the records.
    bytes: usize,
    /// The ids of pushes that are remembered, the newest last.
    pushes: VecDeque<PushId>,
    pushes_expire: Instant,
}

/// What stands of a log that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StandingParts {
    pub(super) records: bool,
    pub(super) pushes: bool,
}

/// The answer of a log.
type LogResult = Result<LogReply, OperationError>;

impl Expires for KeptLog {
    fn expires(&self) -> Instant {
        self.expires
    }

    fn drop_expired(&mut self, now: Instant) {
        if self.records_expire <= now {
            self.records.clear();
        }
        if self.pushes_expire <= now {
            self.pushes.clear();
        }
    }
}

impl Logs {
    pub(super) const fn new(settings: &DirectorySettings) -> Self {
        Self {
            kept: Expiring::new(),
            repeat_memory: settings.repeat_memory,
            used: settings.used_log,
            unused: settings.unused_log,
            unused_topic: settings.unused_topic_log,
            flaws: Flaws::NONE,
        }
    }

    #[cfg(feature = "flaws")]
    pub(super) fn with_flaws(self, flaws: Flaws) -> Self {
        Self { flaws, ..self }
    }

    /// Executes an operation of a log. These are the rows of what it belongs to.
    pub(super) fn execute(
        &mut self,
        now: Instant,
        channel: &Channel,
        operation: &LogOperation,
        rows: impl FnOnce() -> ChannelRows,
    ) -> LogResult {
        match operation {
            LogOperation::Append {
                push,
                content,
                nonce,
                retention,
            } => {
                let logged = self.append(now, channel, (*push, content), *nonce, *retention)?;
                Ok(LogReply::Appended {
                    logged,
                    rows: rows(),
                    malformed: 0,
                })
            }
            LogOperation::Read {
                start,
                records,
                bytes,
                nonce,
            } => self.read(now, channel, start, (*records, *bytes), *nonce),
            // Nobody has a copy of what is in memory.
            LogOperation::Confirm { position, push } => Ok(LogReply::Confirmed {
                known: self.has_had(now, channel, *position, *push),
                replicas: 0,
            }),
            LogOperation::Head => Ok(LogReply::Head(self.head(now, channel))),
            LogOperation::Delete { nonce } => Ok(self.delete(now, channel, *nonce)),
        }
    }

    /// The last position of a log, if there is one.
    pub(super) fn head(&self, now: Instant, channel: &Channel) -> Option<Position> {
        self.kept.get(now, channel).map(|log| log.head)
    }

    /// All that is kept of a log, if there is one.
    pub(super) fn kept(&self, now: Instant, channel: &Channel) -> Option<LogPart> {
        let mut log = self.kept.get(now, channel)?.clone();
        log.drop_expired(now);
        let all = (u32::MAX, u32::MAX);
        Some(log.part(&LogStart::Last(u32::MAX), all))
    }

    /// A log ends before its time. Returns whether there was one.
    pub(super) fn evict(&mut self, now: Instant, channel: &Channel) -> bool {
        let evicted = self.kept.remove(channel);
        evicted.is_some_and(|log| log.expires > now)
    }

    /// The logs that have not ended, and what there is of each.
    pub(super) fn standing(&self, now: Instant) -> impl Iterator<Item = (&Channel, StandingParts)> {
        self.kept.standing(now).map(move |(channel, log)| {
            let standing = StandingParts {
                records: log.records_expire > now && !log.records.is_empty(),
                pushes: log.pushes_expire > now && !log.pushes.is_empty(),
            };
            (channel, standing)
        })
    }

    /// Whether two directories have the same log.
    pub(super) fn same(&self, other: &Self, now: Instant, channel: &Channel) -> bool {
        let seen = |logs: &Self| {
            let log = logs.kept.get(now, channel)?;
            Some((log.expires, log.head, log.base))
        };
        seen(self) == seen(other)
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    pub(super) fn drop_expired(&mut self, now: Instant) {
        self.kept.drop_expired(now);
    }

    /// Hashes what decides future answers, with offsets relative to the moment, which they follow.
    pub(super) fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let micros = micros(now);
        self.kept.fingerprint(now, hasher, |log, hasher| {
            let mut position = |position: Position| {
                position.offset().wrapping_sub(micros).hash(hasher);
                position.tag().hash(hasher);
            };
            position(log.head);
            position(log.base);
            let records_stand = log.records_expire > now;
            let records = log.records.iter().filter(|_| records_stand);
            for record in records {
                record.position.offset().wrapping_sub(micros).hash(hasher);
                (record.position.tag(), record.push, &record.content).hash(hasher);
            }
            log.records_expire.since(now).hash(hasher);
            if log.pushes_expire > now {
                log.pushes.hash(hasher);
            }
            log.pushes_expire.since(now).hash(hasher);
        });
    }

    fn append(
        &mut self,
        now: Instant,
        channel: &Channel,
        (push, content): (PushId, &Content),
        nonce: Nonce,
        retention: Retention,
    ) -> Result<Logged, OperationError> {
        self.kept.sweep(now);
        let (repeat_memory, used, flaws) = (self.repeat_memory, self.used, self.flaws);
        let log = match self.kept.get_mut(now, channel) {
            Some(log) => log,
            None => {
                let begun = KeptLog::beginning(now, nonce, self.unused).ok_or_else(refusal)?;
                // Nothing is written if the record cannot be added.
                behind(flaws, begun.head, now, nonce)?;
                self.kept.entry(channel).or_insert(begun)
            }
        };
        log.drop_expired(now);
        if let Some(repeated) = log.repeated(flaws, push) {
            return Ok(repeated);
        }
        let before = log.head;
        let position = behind(flaws, before, now, nonce)?;
        if log.records.is_empty() {
            log.base = before;
            log.bytes = 0;
        }
        log.bytes += content.bytes.len();
        log.head = position;
        log.records.push_back(Record {
            position,
            push,
            content: content.clone(),
        });
        log.trim(flaws, now, retention);
        log.pushes.push_back(push);
        while log.pushes.len() as u64 > retention.pushes() {
            log.pushes.pop_front();
        }
        log.expires = now + used;
        log.records_expire = now + retention.age;
        log.pushes_expire = now + repeat_memory;
        Ok(Logged::New(Place { position, before }))
    }

    fn read(
        &mut self,
        now: Instant,
        channel: &Channel,
        start: &LogStart,
        limits: (u32, u32),
        nonce: Nonce,
    ) -> LogResult {
        self.kept.sweep(now);
        let unused = match channel {
            Channel::User(_) => self.unused,
            Channel::Topic(_) => self.unused_topic,
        };
        let (used, flaws) = (self.used, self.flaws);
        let log = match self.kept.get_mut(now, channel) {
            Some(log) => log,
            None => {
                let begun = KeptLog::beginning(now, nonce, unused).ok_or_else(refusal)?;
                if !hooks::begins_when_read(flaws) {
                    return Ok(LogReply::Part(begun.part(start, limits)));
                }
                self.kept.entry(channel).or_insert(begun)
            }
        };
        log.drop_expired(now);
        let span = if log.head == log.base { unused } else { used };
        if log.expires.since(now) * 2 < span {
            log.expires = now + span;
        }
        Ok(LogReply::Part(log.part(start, limits)))
    }

    /// Whether a record stands there, or has given way to others.
    fn has_had(
        &mut self,
        now: Instant,
        channel: &Channel,
        position: Position,
        push: PushId,
    ) -> bool {
        let (used, flaws) = (self.used, self.flaws);
        let Some(log) = self.kept.get_mut(now, channel) else {
            return false;
        };
        log.drop_expired(now);
        log.expires = now + used;
        match log.repeated(flaws, push) {
            Some(Logged::Repeated(place)) => place.position == position,
            Some(Logged::Expired) => true,
            Some(Logged::New(_)) | None => false,
        }
    }

    fn delete(&mut self, now: Instant, channel: &Channel, nonce: Nonce) -> LogReply {
        let (used, flaws) = (self.used, self.flaws);
        let Some(log) = self.kept.get_mut(now, channel) else {
            return LogReply::Deleted { records: 0 };
        };
        log.drop_expired(now);
        let records = u32::try_from(log.records.len()).unwrap_or(u32::MAX);
        if records == 0 {
            return LogReply::Deleted { records };
        }
        match behind(flaws, log.head, now, nonce) {
            Ok(head) => {
                (log.head, log.base) = (head, head);
                log.records.clear();
                if !hooks::remembers_what_is_deleted(flaws) {
                    log.pushes.clear();
                }
                log.expires = now + used;
            }
            Err(_) => {
                self.kept.remove(channel);
            }
        }
        LogReply::Deleted { records }
    }
}

impl KeptLog {
    /// A log without records. `None` if the clock is beyond the last offset.
    fn beginning(now: Instant, nonce: Nonce, unused: Duration) -> Option<Self> {
        let head = Position::new(micros(now), nonce.get())?;
        Some(Self {
            expires: now + unused,
            head,
            base: head,
            records: VecDeque::new(),
            records_expire: now,
            bytes: 0,
            pushes: VecDeque::new(),
            pushes_expire: now,
        })
    }

    /// What became of a push that is remembered.
    fn repeated(&self, flaws: Flaws, push: PushId) -> Option<Logged> {
        if !hooks::remembers_pushes(flaws) {
            return None;
        }
        let distance = self.pushes.iter().rev().position(|id| *id == push)?;
        // The record at the same distance from the end, if that is still its own.
        let at = self.records.len().checked_sub(distance + 1);
        let record = at.and_then(|at| self.records.get(at));
        Some(match (at, record) {
            (Some(at), Some(record)) if record.push == push => Logged::Repeated(Place {
                position: record.position,
                before: self.before(at),
            }),
            (Some(_), Some(_)) | (_, None) | (None, Some(_))
                if !hooks::remembers_what_is_trimmed(flaws) =>
            {
                return None;
            }
            (Some(_), Some(_)) | (_, None) | (None, Some(_)) => Logged::Expired,
        })
    }

    /// The position before the record at an index, or before the end.
    fn before(&self, index: usize) -> Position {
        let before = index.checked_sub(1).and_then(|at| self.records.get(at));
        before.map_or(self.base, |record| record.position)
    }

    /// The oldest records give way to the newest, which stays.
    fn trim(&mut self, flaws: Flaws, now: Instant, retention: Retention) {
        while self.records.len() > 1 {
            let oldest = &self.records[0];
            let most = retention.records() as usize;
            let over = hooks::are_too_many(flaws, self.records.len(), most)
                || self.bytes > retention.bytes as usize
                || is_older(now, oldest.position, retention);
            if !over {
                return;
            }
            self.bytes -= oldest.content.bytes.len();
            self.base = hooks::base_once_trimmed(flaws, self.base, oldest.position);
            self.records.pop_front();
        }
    }

    fn part(&self, start: &LogStart, (limit, bytes_limit): (u32, u32)) -> LogPart {
        let base = if self.records.is_empty() {
            self.head
        } else {
            self.base
        };
        let begins = match start {
            LogStart::Last(records) => {
                let first = self.records.len().saturating_sub(*records as usize);
                let after = if first == self.records.len() {
                    self.head
                } else {
                    self.before(first)
                };
                Some((first, after))
            }
            LogStart::After(positions) => positions
                .iter()
                .take(LogOperation::POSITIONS)
                .find_map(|position| Some((self.index_behind(*position, base)?, *position))),
            LogStart::Behind(offset) => {
                let position = self.known_at(*offset, base);
                position.and_then(|position| Some((self.index_behind(position, base)?, position)))
            }
        };
        let (first, after) = begins.map_or((self.records.len(), None), |(first, after)| {
            (first, Some(after))
        });
        let mut bytes = 0;
        let records = self.records.iter().skip(first).take(limit as usize);
        let records = records.enumerate().take_while(|(index, record)| {
            bytes += record.content.bytes.len();
            *index == 0 || bytes <= bytes_limit as usize
        });
        LogPart {
            head: self.head,
            base,
            after,
            records: records.map(|(_, record)| record.clone()).collect(),
        }
    }

    /// The position of this offset, if one is known.
    fn known_at(&self, offset: u64, base: Position) -> Option<Position> {
        let mut known = [self.head, base].into_iter();
        let known = known.find(|position| position.offset() == offset);
        known.or_else(|| {
            let of = |record: &Record| record.position.offset();
            let index = self.records.binary_search_by_key(&offset, of).ok()?;
            Some(self.records[index].position)
        })
    }

    /// The index behind a position, if it is known. Offsets rise within a log; but that a record is the
    /// one that was meant is a matter of equality.
    fn index_behind(&self, position: Position, base: Position) -> Option<usize> {
        if position == self.head {
            return Some(self.records.len());
        }
        if position == base {
            return Some(0);
        }
        let offset = |record: &Record| record.position.offset();
        let found = self
            .records
            .binary_search_by_key(&position.offset(), offset);
        let index = found.ok()?;
        (self.records[index].position == position).then_some(index + 1)
    }
}

/// A clock in which offsets are told.
const fn micros(now: Instant) -> u64 {
    now.as_nanos() / 1_000
}

fn is_older(now: Instant, position: Position, retention: Retention) -> bool {
    // A record of a clock that was ahead is of no age.
    let age = micros(now).checked_sub(position.offset());
    age.is_some_and(|age| age >= retention.age_micros())
}

fn behind(
    flaws: Flaws,
    last: Position,
    now: Instant,
    nonce: Nonce,
) -> Result<Position, OperationError> {
    hooks::position_behind(flaws, last, micros(now), nonce).ok_or_else(refusal)
}

fn refusal() -> OperationError {
    OperationError::Refused(no_offsets!().to_owned())
}
