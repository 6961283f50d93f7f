//! Reading the log for followers: so many at a time, first come first served, and what the answers mean.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use super::followed::FollowedLog;
use super::follower::{Follower, Grant, Mode, Reading, Stand, Waits};
use super::{Followers, hooks};
use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::config::Config;
use crate::context::Context;
use crate::directory::log::{LogOperation, LogPart, LogReply, LogStart, Place, Record};
use crate::directory::{Operation, Reply};
use crate::frame::{Attached, LogNews, Pushed, Recovery};
use crate::id::{FollowerKey, LogKey};
use crate::membership::Membership;
use crate::membership::trips::{Conclusion, Unknown};
use crate::message::Outcome;
use crate::position::{Nonce, Position};
use crate::stats::GapReason;
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::delivery::ChainedRecord;
use crate::vocabulary::purpose::{FollowPurpose, HeadAsked, ReadId};
use crate::vocabulary::timer::FollowTimer;

/// Records that one read returns, at most.
const READ_RECORDS: u32 = 20;
/// Bytes of their content, at most.
const READ_BYTES: u32 = 64 << 10;

/// How long a log in doubt whose head the directory has not told is left alone.
const HEAD_PAUSE: Duration = Duration::from_secs(1);

/// The reads under way, and those that wait.
#[derive(Clone, Debug)]
pub(super) struct Replays {
    under_way: usize,
    /// The last read that was asked for. They are counted together: a terminal that follows a log anew may get the
    /// name of the follower that it was, and must not take an answer to that one's reads.
    last: ReadId,
    /// Reads under way, at most.
    limit: usize,
    /// Followers that wait for a place or for a link, by the reads that they wait for.
    waiting: BTreeMap<ReadId, FollowerKey>,
    /// Followers whose logs could not be read, by when they are read again, and the reads that failed.
    paused: BTreeMap<(Instant, ReadId), FollowerKey>,
    /// When that is, by these reads.
    resumes: BTreeMap<ReadId, Instant>,
    /// Logs in doubt whose heads could not be compared, by when that is tried again.
    heads: BTreeSet<(Instant, LogKey)>,
    /// When that is, by log: each has one try ahead, however often it was asked for.
    heads_at: BTreeMap<LogKey, Instant>,
    pause: Alarm,
}

impl Replays {
    pub(super) const fn new(config: &Config) -> Self {
        Self {
            under_way: 0,
            last: ReadId::FIRST,
            limit: config.log_replays,
            waiting: BTreeMap::new(),
            paused: BTreeMap::new(),
            resumes: BTreeMap::new(),
            heads: BTreeSet::new(),
            heads_at: BTreeMap::new(),
            pause: Alarm::UNSET,
        }
    }

    pub(super) const fn alarm(&self) -> Alarm {
        self.pause
    }

    /// A name for the next read.
    const fn name(&mut self) -> ReadId {
        self.last = self.last.next();
        self.last
    }

    /// How many reads were named since.
    pub(super) const fn reads_since(&self, read: ReadId) -> u32 {
        self.last.since(read)
    }

    /// The follower that has waited for the longest time, and its read.
    fn take_first(&mut self) -> Option<(ReadId, FollowerKey)> {
        // Names begin anew behind the highest one.
        let after = self.last.next();
        let first = self.waiting.range(after..).next();
        let (&read, _) = first.or_else(|| self.waiting.first_key_value())?;
        self.waiting.remove_entry(&read)
    }

    fn is_due(&self) -> bool {
        !self.waiting.is_empty() && self.under_way < self.limit
    }

    /// A follower that waits for this read has ended.
    pub(super) fn forget(&mut self, read: ReadId, waits: Waits) {
        match waits {
            Waits::Turn => {
                self.waiting.remove(&read);
            }
            Waits::Later => {
                let until = self.resumes.remove(&read);
                until.and_then(|until| self.paused.remove(&(until, read)));
            }
            Waits::Room => {}
        }
    }

    pub(super) const fn under_way(&self) -> usize {
        self.under_way
    }

    /// The head of a log in doubt is asked for again then, unless that is to happen before.
    fn expect_head(&mut self, log: LogKey, until: Instant) -> Instant {
        let until = *self.heads_at.entry(log).or_insert(until);
        self.heads.insert((until, log));
        until
    }

    /// The first log whose head is to be asked for again, if that is due.
    fn take_head(&mut self, now: Instant) -> Option<LogKey> {
        let &(until, log) = self.heads.first().filter(|(until, _)| *until <= now)?;
        self.heads.remove(&(until, log));
        self.heads_at.remove(&log);
        Some(log)
    }

    /// Nobody follows a log any more.
    pub(super) fn forget_head(&mut self, log: LogKey) {
        if let Some(until) = self.heads_at.remove(&log) {
            self.heads.remove(&(until, log));
        }
    }

    /// Reads under way, followers that wait for one, and logs whose heads do.
    pub(super) fn len(&self) -> usize {
        self.under_way + self.waiting.len() + self.paused.len() + self.heads.len()
    }
}

impl Followers {
    /// Whether something can be asked of the directory.
    pub(crate) fn is_due(&self) -> bool {
        self.replays.is_due() || !self.comparing.is_empty()
    }

    /// Asks for as many reads as may be under way, behind what was asked in this turn.
    pub(crate) fn end_turn(&mut self, cx: &mut Context<'_>, membership: &mut Membership) {
        if !membership.is_linked() {
            return;
        }
        while self.replays.is_due()
            && let Some((read, key)) = self.replays.take_first()
        {
            let Some(follower) = self.followers.get(key) else {
                continue;
            };
            let start = match &follower.stand {
                Stand::Asked { asked, .. } => asked.start(),
                Stand::At { at, .. } => LogStart::After(vec![*at]),
            };
            self.ask(cx, membership, key, (read, Reading::Next), start);
        }
        for log in std::mem::take(&mut self.comparing) {
            self.ask_head(membership, log, HeadAsked::InDoubt);
        }
    }

    /// What comes after the position of a follower is to be read, as soon as there are a link and a place.
    pub(super) fn read(&mut self, key: FollowerKey) {
        if let Some(follower) = self.followers.get_mut(key) {
            follower.read = self.replays.name();
            follower.mode = Mode::Behind(Waits::Turn);
            self.replays.waiting.insert(follower.read, key);
        }
    }

    fn ask(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: FollowerKey,
        (read, reading): (ReadId, Reading),
        start: LogStart,
    ) {
        let (Some(follower), Some(followed)) =
            (self.followers.get_mut(key), self.logs.get(key.log))
        else {
            return;
        };
        let channel = followed.channel.clone();
        self.replays.under_way += 1;
        follower.begins(read, reading);
        cx.stats.log_reads += 1;
        let operation = Operation::Log {
            channel,
            operation: LogOperation::Read {
                start,
                records: READ_RECORDS,
                bytes: READ_BYTES,
                nonce: Nonce::new(cx.random.positions.next_u32()),
            },
        };
        membership.ask(operation, FollowPurpose::Read { key, read });
    }

    /// An operation of this wing has ended.
    pub(crate) fn operation_ended(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        terminals: &mut Terminals,
        purpose: FollowPurpose,
        conclusion: Conclusion,
    ) {
        let (reply, lost) = match conclusion {
            Conclusion::Answered { reply, .. } => (Some(reply), false),
            Conclusion::Refused(_) | Conclusion::Unknown(Unknown::TimedOut) => (None, false),
            Conclusion::Unknown(Unknown::LinkLost) => (None, true),
        };
        match purpose {
            FollowPurpose::Read { key, read } => {
                self.replays.under_way -= 1;
                // An answer to an earlier connection, or for an earlier position, says nothing.
                if let Some(reading) = self.reading(key, read) {
                    self.read_ended(cx, membership, terminals, (key, reading), (reply, lost));
                }
                self.turn_is_over(terminals, key.connection);
            }
            FollowPurpose::Head { log, asked } => match (reply, asked) {
                (Some(Reply::Log(LogReply::Head(head))), _) => self.head_read(cx, log, head),
                (_, HeadAsked::ByTurn) => {}
                (_, HeadAsked::InDoubt) if lost => {
                    self.comparing.insert(log);
                }
                (_, HeadAsked::InDoubt) => {
                    if self.logs.get(log).is_some() {
                        let until = (self.replays).expect_head(log, cx.now.mono + HEAD_PAUSE);
                        cx.set(&mut self.replays.pause, until, FollowTimer::Pause);
                    }
                }
            },
        }
    }

    /// A read has ended, with an answer, or without one because the link was lost or for another reason.
    fn read_ended(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        terminals: &mut Terminals,
        (key, reading): (FollowerKey, Reading),
        (reply, lost): (Option<Reply>, bool),
    ) {
        if let Some(Reply::Log(LogReply::Part(answer))) = reply {
            if let Some(follower) = self.followers.get_mut(key) {
                follower.was_read();
            }
            self.note_whether_written(key.log, &answer);
            self.read_answered(cx, membership, terminals, (key, reading), answer);
        } else if lost {
            if hooks::repeats_a_lost_read(cx.flaws) {
                self.read(key);
            }
        } else {
            self.pause(cx, key);
        }
    }

    /// The directory has told of a log whether there was ever a record in it.
    fn note_whether_written(&mut self, log: LogKey, answer: &LogPart) {
        let is_topic = |followed: &FollowedLog| followed.channel.topic().is_some();
        if answer.head == answer.base && self.logs.get(log).is_some_and(is_topic) {
            self.unwritten.insert(log);
        } else {
            self.unwritten.remove(&log);
        }
    }

    /// A follower's log could not be read, and is read again later. The others are read meanwhile.
    fn pause(&mut self, cx: &mut Context<'_>, key: FollowerKey) {
        if let Some(follower) = self.followers.get_mut(key) {
            cx.stats.log_reads_failed += 1;
            let until = cx.now.mono + follower.pauses();
            let read = follower.read;
            self.replays.paused.insert((until, read), key);
            self.replays.resumes.insert(read, until);
            cx.set(&mut self.replays.pause, until, FollowTimer::Pause);
        }
    }

    /// Some have waited for long enough.
    pub(super) fn pauses_due(&mut self, cx: &mut Context<'_>) {
        if !self.replays.pause.rings(cx.now.mono) {
            return;
        }
        while let Some(log) = self.replays.take_head(cx.now.mono) {
            self.comparing.insert(log);
        }
        if let Some(&(until, _)) = self.replays.heads.first() {
            cx.set(&mut self.replays.pause, until, FollowTimer::Pause);
        }
        while let Some(first) = self.replays.paused.first_entry() {
            let &(until, read) = first.key();
            if until > cx.now.mono {
                cx.set(&mut self.replays.pause, until, FollowTimer::Pause);
                return;
            }
            let key = first.remove();
            self.replays.resumes.remove(&read);
            self.read(key);
        }
    }

    /// What is being read for a follower by this read.
    fn reading(&self, key: FollowerKey, read: ReadId) -> Option<Reading> {
        let follower = self.followers.get(key)?;
        match follower.mode {
            Mode::Reading { reading, .. } if follower.read == read => Some(reading),
            Mode::Reading { .. } | Mode::Live | Mode::Behind(_) => None,
        }
    }

    fn read_answered(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        terminals: &mut Terminals,
        (key, reading): (FollowerKey, Reading),
        answer: LogPart,
    ) {
        let found = hooks::found(cx.flaws, &answer);
        let lost = found.and_then(|after| self.lost_at_once(cx, key, after, &answer));
        let LogPart {
            head,
            base,
            records,
            ..
        } = answer;
        match (found, reading) {
            (Some(_), _) if let Some((behind, reason)) = lost => {
                self.begin_behind(cx, terminals, key, behind, reason);
            }
            (Some(after), _) => {
                if self.stand_at(cx, terminals, key, after) {
                    self.replay(cx, terminals, key, records, head);
                }
            }
            (None, Reading::Next) => self.step_back(cx, membership, terminals, key, base),
            (None, Reading::StepBack) => self.fall_into_gap(cx, terminals, key, base),
        }
    }

    /// The log knows one of the positions that were asked for: the follower stands there. Returns whether there was
    /// room to tell it, if it has to be told.
    fn stand_at(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: FollowerKey,
        found: Position,
    ) -> bool {
        let Some((follower, followed)) = self.of(key) else {
            return false;
        };
        match &follower.stand {
            Stand::At { at, .. } if *at == found => {}
            Stand::At { .. } => {
                let back = LogNews::Back(found);
                if (terminals.say(key.connection, &followed.channel, back)).is_err() {
                    follower.mode = Mode::Behind(Waits::Room);
                    return false;
                }
                cx.stats.log_steps_back += 1;
                follower.steps_back(found);
            }
            Stand::Asked { asked, came_behind } => {
                let is_reached = terminals.is_reached_by(key.connection, &followed.channel);
                let (recovery, grant) = match (asked.resumes(), is_reached) {
                    (true, _) => (Recovery::Resumed, Grant::Brought),
                    (false, true) => (Recovery::Anew, Grant::Begun),
                    (false, false) => (Recovery::Anew, Grant::Told),
                };
                // Records have come that the read has not told it of. That they stand earlier in the log the offsets say,
                // unless a failover came between.
                let earlier = came_behind
                    .filter(|before| !asked.resumes() && before.offset() < found.offset());
                let position = earlier.unwrap_or(found);
                follower.is_given(position, grant);
                let start = Attached { position, recovery };
                terminals.attached(cx, key.connection, &followed.channel, start);
                if earlier.is_some() {
                    self.read(key);
                    return false;
                }
            }
        }
        true
    }

    /// The last of the records right behind the offset that a follower has brought that can never be told, if there are
    /// any. A terminal that keeps offsets alone does not come past them otherwise: where its protocol has no word for a
    /// gap it is closed by one, and returns with the offset before it.
    fn lost_at_once(
        &self,
        cx: &mut Context<'_>,
        key: FollowerKey,
        after: Position,
        answer: &LogPart,
    ) -> Option<(Position, GapReason)> {
        match &self.followers.get(key)?.stand {
            Stand::Asked { asked, .. } if asked.behind.is_some() => {}
            Stand::Asked { .. } | Stand::At { .. } => return None,
        }
        if answer.records.is_empty() && after != answer.head {
            cx.stats.malformed_entries += 1;
            return Some((answer.head, GapReason::Malformed));
        }
        let untold = answer.records.iter().map_while(|record| {
            let reason = match record.content.clone().payload() {
                None => GapReason::Malformed,
                Some(payload) if payload.len() > cx.config.queue_bytes => GapReason::TooLarge,
                Some(_) => return None,
            };
            Some((record.position, reason))
        });
        let untold: Vec<_> = untold.collect();
        let malformed = untold
            .iter()
            .filter(|(_, reason)| *reason == GapReason::Malformed);
        cx.stats.malformed_entries += malformed.count() as u64;
        untold.last().copied()
    }

    /// Something is missing of what a follower asked for: it begins behind that.
    fn begin_behind(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: FollowerKey,
        position: Position,
        reason: GapReason,
    ) {
        cx.stats.log_gaps.count(reason);
        let start = Attached {
            position,
            recovery: Recovery::Lost,
        };
        if let Some((follower, followed)) = self.of(key) {
            follower.is_given(position, Grant::Told);
            terminals.attached(cx, key.connection, &followed.channel, start);
        }
        self.read(key);
    }

    /// The log does not know where a follower stands: it may know where the follower stood before.
    fn step_back(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        terminals: &mut Terminals,
        key: FollowerKey,
        base: Position,
    ) {
        let Some(follower) = self.followers.get(key) else {
            return;
        };
        let before = follower.stood_at();
        if before.is_empty() {
            self.fall_into_gap(cx, terminals, key, base);
        } else {
            let start = LogStart::After(before);
            let read = self.replays.name();
            self.ask(cx, membership, key, (read, Reading::StepBack), start);
        }
    }

    /// Something is missing. The follower goes on from the base of the log, with all that is kept.
    fn fall_into_gap(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: FollowerKey,
        base: Position,
    ) {
        let Some(follower) = self.followers.get(key) else {
            return;
        };
        match &follower.stand {
            Stand::Asked { .. } => {
                self.begin_behind(cx, terminals, key, base, GapReason::Expired);
            }
            Stand::At { .. } => {
                if self.skip(cx, terminals, key, base, GapReason::Lost) {
                    self.read(key);
                }
            }
        }
    }

    /// Puts what was read into a follower's queue.
    fn replay(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: FollowerKey,
        records: Vec<Record>,
        head: Position,
    ) {
        cx.stats.log_replayed += records.len() as u64;
        cx.stats.log_replays += u64::from(!records.is_empty());
        let stood = self.followers.get(key).and_then(Follower::at);
        for record in records {
            let Some((follower, followed)) = self.of(key) else {
                return;
            };
            let Some(before) = follower.at() else { return };
            let Some(payload) = record.content.payload() else {
                cx.stats.malformed_entries += 1;
                let reason = GapReason::Malformed;
                if !self.skip(cx, terminals, key, record.position, reason) {
                    return;
                }
                continue;
            };
            let position = record.position;
            let record = ChainedRecord {
                place: Place { position, before },
                pushed: Pushed::record(record.push, followed.channel.clone(), position, payload),
            };
            match self.put(cx, terminals, key, &record, None) {
                // One that can never fit was told as a gap.
                Ok(()) | Err(Outcome::TooLarge) => {}
                Err(_) => return,
            }
        }
        let Some(follower) = self.followers.get_mut(key) else {
            return;
        };
        let Mode::Reading { again, .. } = follower.mode else {
            return;
        };
        if follower.at() != Some(head) {
            if follower.at() != stood {
                // There is more than one read returns. What was read is written first.
                follower.mode = Mode::Behind(Waits::Room);
                return;
            }
            // What stands there is no record: nobody comes past it by reading.
            cx.stats.malformed_entries += 1;
            if !self.skip(cx, terminals, key, head, GapReason::Malformed) {
                return;
            }
        }
        if let Some(follower) = self.followers.get_mut(key) {
            follower.mode = Mode::Live;
            self.lagging.remove(&key);
        }
        self.go_on(cx, terminals, key);
        // What is held back and does not fit is read when it is given up.
        if again {
            self.check(cx, key);
        }
    }
}

impl Fingerprint for Replays {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.under_way.fingerprint(now, hasher);
        self.waiting.hash(hasher);
        for ((until, read), key) in &self.paused {
            until.fingerprint(now, hasher);
            (read, key).hash(hasher);
        }
        for (until, log) in &self.heads {
            until.fingerprint(now, hasher);
            log.hash(hasher);
        }
    }
}
