//! The checks: whether the head of each log is where its followers stand.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::followed::FollowedLog;
use super::{EACH_READS, Followers, hooks};
use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::channel::Channel;
use crate::config::Config;
use crate::context::Context;
use crate::directory::Operation;
use crate::directory::log::LogOperation;
use crate::id::{FollowerKey, LogKey};
use crate::membership::Membership;
use crate::position::Position;
use crate::time::Instant;
use crate::vocabulary::purpose::{FollowPurpose, HeadAsked};
use crate::vocabulary::timer::FollowTimer;

/// The time between two steps.
const STEP: Duration = Config::SETTLE_STEP;
/// Heads read in one step when all are to be checked at once: the rest of a round trip is for rows. It is more if a round
/// would not be over in its time otherwise, which is above 300,000 logs.
const AT_ONCE: usize = 256;

/// Slots passed in one step, at most: those of logs that are not followed any more are empty.
const PASSED: usize = 1 << 14;

/// A walk over all logs that are followed here, in the order of their slots, round and round.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    /// The slot that comes next.
    next: u32,
    /// Rounds that have begun.
    round: u64,
    /// What the steps have added up to, less the logs checked: in parts of a log.
    owed: u128,
    /// All logs are to be checked at once: those that are left.
    urgent: Option<Lap>,
    step: Alarm,
    /// When all are to be checked once more.
    again: Alarm,
    /// Until when there may be publishers that have not learned that they were in doubt.
    doubted_until: Instant,
}

/// A walk over all logs that were there when it began: once around, and back to where that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lap {
    /// It goes on to the last slot of all, and then to this one.
    First { until: u32 },
    /// It ends at this slot.
    Second { until: u32 },
}

impl Checks {
    pub(super) const fn new() -> Self {
        Self {
            next: 0,
            round: 1,
            owed: 0,
            urgent: None,
            step: Alarm::UNSET,
            again: Alarm::UNSET,
            doubted_until: Instant::START,
        }
    }
}

impl Followers {
    /// Deliveries may have missed followers here: all logs are checked, paced, and once more when the last
    /// publisher has learned that it was in doubt.
    pub(crate) fn check_all(&mut self, cx: &mut Context<'_>) {
        self.begin_lap();
        self.expect_step(cx);
        let again = cx.now.mono + cx.config.lease + Config::DEADLINE_MAX;
        self.checks.doubted_until = again;
        cx.set(&mut self.checks.again, again, FollowTimer::Recheck);
    }

    /// A record of these logs was not delivered to their followers here.
    pub(crate) fn check_logs<'a>(
        &mut self,
        cx: &mut Context<'_>,
        channels: impl IntoIterator<Item = &'a Channel>,
    ) {
        for channel in channels {
            cx.stats.log_missed += 1;
            if let Some(log) = self.logs.find(channel) {
                self.catch_up(cx, log);
            }
        }
    }

    fn begin_lap(&mut self) {
        let until = self.checks.next;
        self.checks.urgent = Some(Lap::First { until });
    }

    pub(super) fn recheck_due(&mut self, cx: &mut Context<'_>) {
        if self.checks.again.rings(cx.now.mono) {
            self.begin_lap();
            self.expect_step(cx);
            let until = self.checks.doubted_until;
            if until > cx.now.mono {
                cx.set(&mut self.checks.again, until, FollowTimer::Recheck);
            }
        }
    }

    /// The alarms of this wing.
    pub(crate) const fn alarms(&self) -> [Alarm; 4] {
        let Self {
            replays,
            checks,
            release,
            ..
        } = self;
        [checks.step, checks.again, *release, replays.alarm()]
    }

    /// Sees to it that the next step comes, if any log is followed.
    pub(super) fn expect_step(&mut self, cx: &mut Context<'_>) {
        if self.logs.len() > 0 && !self.checks.step.is_set() {
            cx.set(
                &mut self.checks.step,
                cx.now.mono + STEP,
                FollowTimer::Check,
            );
        }
    }

    /// Checks as many logs as are due.
    pub(super) fn check_due(&mut self, cx: &mut Context<'_>, membership: &mut Membership) {
        if !self.checks.step.rings(cx.now.mono) {
            return;
        }
        self.expect_step(cx);
        if !membership.is_linked() {
            // The first read on the next link does it.
            return;
        }
        let period = cx.config.log_check.as_nanos();
        // Reading a log prolongs its life, which comparing its head does not.
        let rounds = |life: Duration| {
            let rounds = life.as_nanos() / 4 / period;
            u64::try_from(rounds).unwrap_or(1).max(1)
        };
        let usual = rounds(cx.config.unused_log_expiry.min(cx.config.log_expiry));
        let unwritten = rounds(cx.config.unused_topic_log_expiry());
        if hooks::checks_now_and_then(cx.flaws) {
            self.checks.owed += self.logs.len() as u128 * STEP.as_nanos();
        }
        if self.logs.len() == 0 {
            self.checks.urgent = None;
            return;
        }
        let at_once = at_once(self.logs.len(), period);
        let (mut checked, mut passed) = (0, 0);
        while checked < at_once && passed < PASSED.max(at_once) {
            let is_urgent = self.checks.urgent.is_some();
            if !is_urgent && self.checks.owed < period {
                break;
            }
            passed += 1;
            let Some(log) = self.next_to_check() else {
                continue;
            };
            checked += 1;
            self.checks.owed = self.checks.owed.saturating_sub(period);
            if !is_urgent {
                self.rest(cx, log);
            }
            let rounds = match self.unwritten.contains(&log) {
                true => unwritten,
                false => usual,
            };
            if self.checks.round.is_multiple_of(rounds) {
                self.read_one_at_least(cx, log);
            } else {
                let asked = match is_urgent {
                    true => HeadAsked::InDoubt,
                    false => HeadAsked::ByTurn,
                };
                self.ask_head(membership, log, asked);
            }
        }
        // What a step cannot do is not owed for ever.
        self.checks.owed = self.checks.owed.min(period * at_once as u128);
    }

    /// Once a round, what followers were sent before is forgotten.
    fn rest(&mut self, cx: &Context<'_>, log: LogKey) {
        let followed = self.logs.get(log);
        for connection in followed.into_iter().flat_map(FollowedLog::followers) {
            if let Some(follower) = self.followers.get_mut(FollowerKey { connection, log }) {
                follower.rest(cx.now.mono);
            }
        }
    }

    /// Reads a log for all its followers, or for those who lack its head if they are many.
    fn catch_up(&mut self, cx: &Context<'_>, log: LogKey) {
        if self.crew(log) > EACH_READS {
            self.comparing.insert(log);
            return;
        }
        for connection in self.of_log(log).collect::<Vec<_>>() {
            self.check(cx, FollowerKey { connection, log });
        }
    }

    /// As [`catch_up`](Self::catch_up), and the log is read in any case, which prolongs its life.
    fn read_one_at_least(&mut self, cx: &Context<'_>, log: LogKey) {
        self.catch_up(cx, log);
        let first = self.of_log(log).next();
        if let Some(connection) = first {
            self.check(cx, FollowerKey { connection, log });
        }
    }

    /// Asks for the head of a log, to compare it with where its followers stand.
    pub(super) fn ask_head(&self, membership: &mut Membership, log: LogKey, asked: HeadAsked) {
        if let Some(followed) = self.logs.get(log) {
            let operation = Operation::Log {
                channel: followed.channel.clone(),
                operation: LogOperation::Head,
            };
            membership.ask(operation, FollowPurpose::Head { log, asked });
        }
    }

    /// Passes a slot, or the end of all of them. Returns the log that is there, if one is.
    fn next_to_check(&mut self) -> Option<LogKey> {
        let Checks {
            next,
            urgent,
            round,
            ..
        } = &mut self.checks;
        let slot = *next;
        let log = if let Some(log) = self.logs.in_slot(slot) {
            *next += 1;
            log
        } else {
            *next = 0;
            *round += 1;
            if let Some(Lap::First { until }) = *urgent {
                *urgent = Some(Lap::Second { until });
            }
            None
        };
        if *urgent == Some(Lap::Second { until: *next }) {
            *urgent = None;
        }
        log
    }

    /// The head of a log has come. None: there is no log, and whoever stood somewhere in it has lost it.
    pub(super) fn head_read(&mut self, cx: &mut Context<'_>, log: LogKey, head: Option<Position>) {
        let Some(followed) = self.logs.get(log) else {
            return;
        };
        let stands_elsewhere = |key: &FollowerKey| {
            (self.followers.get(*key)).is_some_and(|f| hooks::misses(cx.flaws, f.at(), head))
        };
        let followers = (followed.followers()).map(|connection| FollowerKey { connection, log });
        let missed: Vec<_> = followers.filter(stands_elsewhere).collect();
        cx.stats.log_checks += 1;
        for follower in missed {
            if self.check(cx, follower) {
                cx.stats.log_check_misses += 1;
            }
        }
    }
}

/// Heads read in one step, at most, of so many logs that are checked once in a period, in nanoseconds.
fn at_once(logs: usize, period: u128) -> usize {
    let due = usize::try_from(logs as u128 * STEP.as_nanos() / period);
    AT_ONCE.max(due.unwrap_or(usize::MAX).saturating_add(1))
}

impl Fingerprint for Checks {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.doubted_until.fingerprint(now, hasher);
        self.next.hash(hasher);
        self.round.hash(hasher);
        self.owed.hash(hasher);
        self.urgent.hash(hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_over_in_its_time_however_many_logs_there_are() {
        let period = Duration::from_secs(60);
        let steps = (period.as_nanos() / STEP.as_nanos()) as usize;
        for logs in [0, 1, 255, 300_000, 400_000, 10_000_000] {
            assert!(at_once(logs, period.as_nanos()) * steps >= logs, "{logs}");
        }
    }
}
