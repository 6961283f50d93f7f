//! The logs that terminals of this instance follow: each record in its order, once, or an honest gap.
//!
//! A durable push is a *record* in the log of its user, or of its topic, in the directory. A *follower* is a terminal that
//! asked for the log. What it is told of is always the successor of what it holds: its position `at`. A
//! record that comes over a link is only a hint that comes early: the log is the buffer, and whatever a
//! hint leaves open is read.
//!
//! # A follower's modes
//!
//! | mode | a record whose predecessor is `at` | another record | left by |
//! |---|---|---|---|
//! | `Live` | into the queue | held back; 50 ms later, or without room for it, it is read | no room in the queue; a check that finds another head |
//! | `Reading` | held back, or read once more | the same | the answer |
//! | `Behind` | dropped | dropped | room in the queue, a directory link and a free place among the replays |
//!
//! Positions are compared for equality alone. A position that the log does not know is not behind or before
//! anything: it was trimmed, or its history was lost in a failover. Then the follower *steps back* to a
//! position that it was sent earlier on this connection and that the log does know, or takes the *gap* and
//! goes on from the base of the log, with all that is kept.
//!
//! # What is checked
//!
//! A follower misses a record if the publisher could not find it: its row was lost, the link broke, the
//! append was executed after it was given up. A publisher that knows which records it could not deliver
//! names their logs to the instance as soon as there is a link
//! ([`MissedLogs`](crate::vocabulary::missed::MissedLogs)). Beyond that the head of the log is compared
//! whenever one of these may have happened, behind each writing of the row, and once a minute in any case.

mod check;
mod followed;
mod follower;
mod hooks;
mod replay;
mod sent;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::base::rng::SeededHash;
use crate::channel::Channel;
use crate::command::Command;
use crate::config::Config;
use crate::context::Context;
use crate::event::{Follow, Notice};
use crate::frame::LogNews;
use crate::id::{ConnectionKey, FollowerKey, LogKey, TopicId};
use crate::membership::Membership;
use crate::message::{FollowerStand, Outcome};
use crate::position::Position;
use crate::stats::{GapReason, Gauges, Level, Tables};
use crate::terminals::{NoRoom, Terminals};
use crate::time::Instant;
use crate::vocabulary::delivery::{ChainedRecord, Ticket};
use crate::vocabulary::timer::FollowTimer;

use check::Checks;
use followed::{FollowedLog, FollowedLogs};
use follower::{Follower, Grant, Mode, Waits};
use replay::Replays;
use table::FollowerTable;

/// How long a record is held back for its predecessor before the log is read.
const HOLD: Duration = Duration::from_millis(50);

/// Followers of a log that each read it when they may have missed something, at most. Where there are more the head of the
/// log is compared first, with where all of them stand.
const EACH_READS: usize = 8;

/// The followers of this instance, and what those of one log share, by its channel.
#[derive(Clone, Debug)]
pub(crate) struct Followers {
    followers: FollowerTable,
    logs: FollowedLogs,
    /// Since when the log is read for a follower, or is to be: for people.
    lagging: BTreeMap<FollowerKey, Instant>,
    /// Logs whose heads are to be compared at the end of the turn, behind what was asked in it.
    comparing: BTreeSet<LogKey>,
    replays: Replays,
    /// Logs of topics that had no record when they were read last: the directory forgets these soon.
    unwritten: BTreeSet<LogKey>,
    checks: Checks,
    /// Logs with records held back, in the order of the moment at which these are given up.
    holding: VecDeque<(Instant, LogKey)>,
    release: Alarm,
}

/// Whether a follower confirms a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// It has confirmed the record.
    Given,
    /// It was sent the record on this connection, or will be.
    Awaited,
    /// It was not, and will not be: it has brought the record, or begins behind it, or has forgotten it.
    Never,
}

impl Followers {
    pub(crate) fn new(config: &Config, hash: &SeededHash) -> Self {
        Self {
            followers: FollowerTable::new(),
            logs: FollowedLogs::new(hash),
            lagging: BTreeMap::new(),
            comparing: BTreeSet::new(),
            replays: Replays::new(config),
            unwritten: BTreeSet::new(),
            checks: Checks::new(),
            holding: VecDeque::new(),
            release: Alarm::UNSET,
        }
    }

    /// The log of a channel, if any terminal follows it.
    pub(crate) fn find(&self, channel: &Channel) -> Option<LogKey> {
        self.logs.find(channel)
    }

    /// Whether a terminal follows a log.
    pub(crate) fn has(&self, key: FollowerKey) -> bool {
        self.followers.get(key).is_some()
    }

    /// The terminals that follow a log.
    pub(crate) fn of_log(&self, log: LogKey) -> impl Iterator<Item = ConnectionKey> {
        let followed = self.logs.get(log).into_iter();
        followed.flat_map(FollowedLog::followers)
    }

    /// How many they are.
    pub(crate) fn crew(&self, log: LogKey) -> usize {
        self.logs.get(log).map_or(0, FollowedLog::crew)
    }

    /// Where a follower stands.
    pub(crate) fn stand(&self, key: FollowerKey) -> Option<FollowerStand> {
        self.followers.get(key).map(Follower::told_of)
    }

    /// A terminal that asked for its log is open, or a member of a topic has asked for the topic's, and the row is asked for
    /// or written. The read comes behind that, so that a record is either in its answer or finds the row. Returns the
    /// deliveries that have waited for confirmations if it has followed the log before, and begins anew.
    pub(crate) fn attach(
        &mut self,
        cx: &mut Context<'_>,
        connection: ConnectionKey,
        channel: &Channel,
        asked: Follow,
    ) -> Vec<Ticket> {
        let waited = self.left(connection, channel);
        let log = self.logs.join(channel.clone(), connection);
        (self.followers).insert(connection, channel, Follower::new(log, asked));
        self.expect_step(cx);
        let key = FollowerKey { connection, log };
        self.lags(cx, key);
        self.read(key);
        waited
    }

    /// A terminal follows a log no longer, if it has. Returns the deliveries that have waited for its confirmations.
    pub(crate) fn left(&mut self, connection: ConnectionKey, channel: &Channel) -> Vec<Ticket> {
        let Some(log) = self.logs.find(channel) else {
            return Vec::new();
        };
        let waited = self.detach(FollowerKey { connection, log });
        // It may have had the turn.
        self.has_room(connection);
        waited
    }

    /// A terminal's presence has ended. Returns the deliveries that have waited for its confirmations.
    pub(crate) fn ended(&mut self, connection: ConnectionKey) -> Vec<Ticket> {
        let logs: Vec<_> = self.followers.of(connection).map(|f| f.log).collect();
        let of_each =
            (logs.into_iter()).flat_map(|log| self.detach(FollowerKey { connection, log }));
        of_each.collect()
    }

    fn detach(&mut self, key: FollowerKey) -> Vec<Ticket> {
        let Some(follower) = self.followers.remove(key) else {
            return Vec::new();
        };
        if let Mode::Behind(waits) = follower.mode {
            self.replays.forget(follower.read, waits);
        }
        self.lagging.remove(&key);
        self.logs.leave(key.log, key.connection);
        if self.crew(key.log) == 0 {
            self.unwritten.remove(&key.log);
            self.replays.forget_head(key.log);
        }
        follower.into_waiting().collect()
    }

    /// Whether a follower is sent what stands behind this position, and may never have been sent the record there: it
    /// was a member already, and was told where it begins while the record was on its way.
    pub(crate) fn begins_behind(&self, key: FollowerKey, position: Position) -> bool {
        let follower = self.followers.get(key);
        follower.is_some_and(|follower| follower.begins_behind(position))
    }

    /// A record comes for a follower, by a delivery. The ticket will be told what becomes of it.
    ///
    /// # Errors
    ///
    /// What became of it, if the ticket will not be told.
    pub(crate) fn record(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: FollowerKey,
        record: &ChainedRecord,
        ticket: Ticket,
    ) -> Result<(), Outcome> {
        let Some(follower) = self.followers.get_mut(key) else {
            cx.bug("a record for a terminal that does not follow");
            return Err(Outcome::Gone);
        };
        follower.comes_behind(record.place.before);
        if follower.is_past(record.place.position) {
            cx.stats.log_repeats += 1;
            return if follower.holds(record.place.position) {
                terminals.await_record(key.connection, record.place.position, ticket)
            } else {
                Err(Outcome::Kept)
            };
        }
        if hooks::is_taken_for_known(cx.flaws, follower.at(), record.place) {
            return Err(Outcome::Written);
        }
        if !hooks::waits_for_its_turn(cx.flaws, follower.mode) {
            return self.put(cx, terminals, key, record, Some(ticket));
        }
        match follower.mode {
            Mode::Live if follower.at() == Some(record.place.before) => {
                let offered = self.put(cx, terminals, key, record, Some(ticket));
                if offered.is_ok() {
                    self.go_on(cx, terminals, key);
                }
                offered
            }
            Mode::Live | Mode::Reading { .. } => {
                self.hold(cx, key, record);
                Err(Outcome::Kept)
            }
            Mode::Behind(_) => Err(Outcome::Kept),
        }
    }

    /// A delivery would wait until a follower has confirmed a record. Unless that is over, its ticket will be told.
    pub(crate) fn await_confirmation(
        &mut self,
        cx: &Context<'_>,
        key: FollowerKey,
        position: Position,
        ticket: Ticket,
        until: Instant,
    ) -> Confirmation {
        let Some(follower) = self.followers.get_mut(key) else {
            return Confirmation::Never;
        };
        if follower.has_confirmed(position) {
            return Confirmation::Given;
        }
        if !follower.may_confirm(position) {
            return Confirmation::Never;
        }
        follower.is_waited_for(cx.now.mono, position, ticket, until);
        Confirmation::Awaited
    }

    /// A terminal confirms a record, and all that it was sent before. Returns the deliveries that have waited for
    /// that. What it was not sent on this connection, and what is forgotten, counts for nothing.
    pub(crate) fn acked(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        (connection, topic): (ConnectionKey, Option<TopicId>),
        position: Position,
    ) -> Vec<Ticket> {
        let terminal = terminals.get(connection);
        let key = match &topic {
            None => self.followers.of_user(connection),
            Some(topic) => {
                let log = self.logs.find(&topic.clone().into());
                log.map(|log| FollowerKey { connection, log })
            }
        };
        let follower = key.and_then(|key| self.followers.get_mut(key));
        let confirmed = follower.and_then(|follower| follower.confirms(cx.flaws, position));
        let (Some(confirmed), Some(terminal)) = (confirmed, terminal) else {
            cx.stats.log_acks_dropped += 1;
            return Vec::new();
        };
        cx.stats.log_acked += confirmed.records;
        cx.out.push(Command::Notify(Box::new(Notice::Acked {
            connection,
            id: terminal.id,
            user: terminal.key.user().clone(),
            position,
            topic,
        })));
        confirmed.tickets
    }

    /// The row of a topic is asked to be written: its head is compared behind that, unless all who follow its log read it
    /// anyway.
    pub(crate) fn topic_row_asked(&mut self, topic: TopicId) {
        let Some(log) = self.logs.find(&topic.into()) else {
            return;
        };
        let is_behind = |connection| {
            let follower = self.followers.get(FollowerKey { connection, log });
            follower.is_some_and(|follower| follower.is_behind())
        };
        if !self.of_log(log).all(is_behind) {
            self.comparing.insert(log);
        }
    }

    /// Deliveries of records of a log are not made here: its head is compared.
    pub(crate) fn compare(&mut self, channel: &Channel) {
        self.comparing.extend(self.logs.find(channel));
    }

    /// There is room in the queue of a terminal that follows logs: the one is read that was not for the longest time. The
    /// next has its turn when it is known what there was in this one, so that a terminal that is slow takes one
    /// place among the replays, however many logs it follows.
    pub(crate) fn has_room(&mut self, connection: ConnectionKey) {
        let mut first = None;
        for follower in self.followers.of(connection) {
            match follower.mode {
                Mode::Reading { .. } | Mode::Behind(Waits::Turn) => return,
                Mode::Behind(Waits::Room) => {
                    let since = self.replays.reads_since(follower.read);
                    first = first.max(Some((since, follower.log)));
                }
                Mode::Live | Mode::Behind(Waits::Later) => {}
            }
        }
        if let Some((_, log)) = first {
            self.read(FollowerKey { connection, log });
        }
    }

    /// A log was read for a terminal, or is read for it no longer: another one of its logs has its turn, unless that comes
    /// with the next frames that are written.
    fn turn_is_over(&mut self, terminals: &Terminals, connection: ConnectionKey) {
        if terminals.has_nothing_to_write(connection) {
            self.has_room(connection);
        }
    }

    /// The row of a terminal is asked to be written: what comes after its position in the log of its user is read behind
    /// that.
    pub(crate) fn row_asked(&mut self, cx: &Context<'_>, connection: ConnectionKey) {
        if let Some(key) = self.followers.of_user(connection) {
            self.check(cx, key);
        }
    }

    /// A follower may have been missed: what comes after its position is read, once more if it is being read.
    /// Returns whether it is read because of this.
    fn check(&mut self, cx: &Context<'_>, key: FollowerKey) -> bool {
        let Some(follower) = self.followers.get_mut(key) else {
            return false;
        };
        match &mut follower.mode {
            Mode::Live => {
                self.lags(cx, key);
                self.read(key);
                true
            }
            Mode::Reading { again, .. } => {
                *again = true;
                false
            }
            Mode::Behind(_) => false,
        }
    }

    /// Does what is due.
    pub(crate) fn timer_due(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        timer: FollowTimer,
    ) {
        match timer {
            FollowTimer::Check => self.check_due(cx, membership),
            FollowTimer::Recheck => self.recheck_due(cx),
            FollowTimer::Release => self.release_due(cx),
            FollowTimer::Pause => self.pauses_due(cx),
        }
    }

    /// Writes down what there is to see of them.
    pub(crate) fn gauge(&self, now: Instant, gauges: &mut Gauges) {
        gauges.followers = self.followers.len();
        gauges.followers_reading = self.replays.len();
        // They are few, or are about to be.
        let first = self.lagging.values().min();
        gauges.follower_lag = first.map_or(Duration::ZERO, |since| now.since(*since));
    }

    /// How full its tables are.
    pub(crate) fn levels(&self, config: &Config) -> [Level; 1] {
        [Level {
            setting: "log_replays",
            used: self.replays.under_way(),
            limit: config.log_replays,
        }]
    }

    /// Writes down how many entries its tables have.
    pub(crate) fn count(&self, tables: &mut Tables) {
        tables.followers = self.followers.len();
        tables.channels = self.logs.len();
        tables.held = self.logs.held();
        tables.held_bytes = self.logs.held_bytes();
        tables.reads = self.replays.len();
    }

    /// Nothing of a follower is left.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.followers.len() == 0
            && self.logs.len() == 0
            && self.lagging.is_empty()
            && self.comparing.is_empty()
            && self.unwritten.is_empty()
            && self.replays.len() == 0
    }

    fn of(&mut self, key: FollowerKey) -> Option<(&mut Follower, &mut FollowedLog)> {
        let follower = self.followers.get_mut(key)?;
        let followed = self.logs.get_mut(key.log)?;
        Some((follower, followed))
    }

    /// Puts a record into the queue of a follower, which holds its predecessor.
    ///
    /// # Errors
    ///
    /// What became of it, if there was no room. The follower is behind then, or stands behind the record.
    fn put(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: FollowerKey,
        record: &ChainedRecord,
        ticket: Option<Ticket>,
    ) -> Result<(), Outcome> {
        let Some(follower) = self.followers.get_mut(key) else {
            return Err(Outcome::Gone);
        };
        let position = record.place.position;
        let ticket = ticket.or_else(|| follower.waiting_for(position));
        match terminals.offer_record(cx, key.connection, &record.pushed, ticket) {
            Ok(()) => {
                follower.is_sent(position);
                Ok(())
            }
            Err(NoRoom::Yet) => {
                cx.stats.log_fell_behind += 1;
                if !hooks::stays_without_room(cx.flaws) {
                    follower.is_sent(record.place.position);
                }
                if hooks::falls_behind(cx.flaws) {
                    follower.mode = Mode::Behind(Waits::Room);
                    self.lags(cx, key);
                }
                Err(Outcome::Kept)
            }
            Err(NoRoom::Ever) => {
                if self.skip(cx, terminals, key, position, GapReason::TooLarge) {
                    let follower = self.followers.get_mut(key);
                    let waited = follower.map_or_else(Vec::new, |f| f.take_waiting_for(position));
                    terminals.tell(key.connection, waited, Outcome::TooLarge);
                    Err(Outcome::TooLarge)
                } else {
                    Err(Outcome::Kept)
                }
            }
        }
    }

    /// Something cannot be told: it is missing, and the follower stands behind it. Returns whether there was room to
    /// say so. If not, it is behind.
    fn skip(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: FollowerKey,
        position: Position,
        reason: GapReason,
    ) -> bool {
        let Some((follower, followed)) = self.of(key) else {
            return false;
        };
        let gap = LogNews::Gap(position);
        if (terminals.say(key.connection, &followed.channel, gap)).is_err() {
            follower.mode = Mode::Behind(Waits::Room);
            self.lags(cx, key);
            return false;
        }
        cx.stats.log_gaps.count(reason);
        follower.is_given(position, Grant::Told);
        true
    }

    /// The log is to be read for a follower.
    fn lags(&mut self, cx: &Context<'_>, key: FollowerKey) {
        self.lagging.entry(key).or_insert(cx.now.mono);
    }

    /// Puts what is held back and follows what a follower holds into its queue.
    fn go_on(&mut self, cx: &mut Context<'_>, terminals: &mut Terminals, key: FollowerKey) {
        while let Some((follower, followed)) = self.of(key)
            && follower.mode == Mode::Live
            && let Some(record) = follower.at().and_then(|at| followed.successor(at)).cloned()
        {
            // Whoever waited for it was told that it is kept.
            let _kept = self.put(cx, terminals, key, &record, None);
        }
    }

    /// Whether a record is held back that a follower does not hold.
    fn lacks_held(&mut self, key: FollowerKey) -> bool {
        let Some((follower, followed)) = self.of(key) else {
            return false;
        };
        (followed.held()).any(|record| !follower.is_past(record.place.position))
    }

    /// Holds a record back for a moment. Without room for it, it is read.
    fn hold(&mut self, cx: &mut Context<'_>, key: FollowerKey, record: &ChainedRecord) {
        let Some((_, followed)) = self.of(key) else {
            return;
        };
        let first = !followed.holds_any();
        if !followed.hold(record, key.connection) {
            self.check(cx, key);
            return;
        }
        if first {
            let until = cx.now.mono + HOLD;
            self.holding.push_back((until, key.log));
            cx.set(&mut self.release, until, FollowTimer::Release);
        }
    }

    /// Gives up what was held back for long enough. Whoever lacks it reads it.
    fn release_due(&mut self, cx: &mut Context<'_>) {
        if !self.release.rings(cx.now.mono) {
            return;
        }
        while let Some((until, _)) = self.holding.front() {
            if *until > cx.now.mono {
                cx.set(&mut self.release, *until, FollowTimer::Release);
                return;
            }
            let Some((_, log)) = self.holding.pop_front() else {
                return;
            };
            let Some(followed) = self.logs.get(log) else {
                continue;
            };
            for connection in followed.lacking().collect::<Vec<_>>() {
                let key = FollowerKey { connection, log };
                if hooks::reads_what_was_held(cx.flaws) && self.lacks_held(key) {
                    self.check(cx, key);
                }
            }
            if let Some(followed) = self.logs.get_mut(log) {
                followed.release();
            }
        }
    }
}

impl Fingerprint for Followers {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.followers.fingerprint(now, hasher);
        self.logs.fingerprint(now, hasher);
        if !self.comparing.is_empty() {
            self.comparing.hash(hasher);
        }
        self.replays.fingerprint(now, hasher);
        self.unwritten.hash(hasher);
        self.checks.fingerprint(now, hasher);
        self.holding.fingerprint(now, hasher);
    }
}
