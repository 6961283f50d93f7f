//! `lease-times`: the lease is renewed, the others' leases are read and round trips are given up neither too
//! soon nor too late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::command::Log;
use switchboard_core::config::Config;
use switchboard_core::directory::{Lease, LeaseState, Operation, Reply};
use switchboard_core::frame::Outgoing;
use switchboard_core::id::{CallId, ConnectionKey, Epoch, OpId, TopicId};
use switchboard_core::time::Instant;
use switchboard_core::topic::TopicWish;

use super::allowance::{concerns, recovery};
use super::lateness::{SLACK, is_late, running, stood_still};
use super::own_lease::{OwnLease, StepOutcome};
use crate::boundary::{Intake, LeaseStep, Output, TripOutline};
use crate::checker::{Checker, Watch};
use crate::ledger::{FaultKind, Part, Scope};
use crate::observed::{Change, Executed, Life, Observed, Quiescence, Topic};

/// How much earlier or later than it seems a reading is due after one that has waited: each time its timer
/// fires a little late.
const UNSURE: Duration = SLACK.saturating_mul(4);

/// What is decided is given to a terminal that reads so soon: behind what is being written.
const WRITTEN: Duration = Duration::from_millis(100);

/// While an instance has a link to the directory it reads the leases once in their interval, and in between
/// only for a call, or for those who watch the members of a topic, and never twice at a time; it renews its own
/// in time, and without a change no sooner; it takes an answer that comes in time and no other; and what was
/// refused it tries again when it is time. It is ready for terminals once it has had a lease, unless it sends
/// its own away; and when it ends its lease is given back, if it can be, and it waits for no more. It
/// tells terminals that they are members while it holds a lease. That its rows are back, or that one is missing, its lease
/// says at once. It claims no lease that it holds, and renews none that it can know not to stand there.
#[derive(Clone, Debug, Default)]
pub struct LeaseTimes {
    terms: BTreeMap<usize, Terms>,
    /// Sessions that were told that they are members of a topic.
    members: BTreeSet<(usize, TopicId)>,
}

/// A reading of the leases that no call needed.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// When it was asked for.
    at: Instant,
    /// It may have been due so long before that, and waited: the next one is counted from when it was.
    unsure: Duration,
}

/// How far an instance is with the directory.
#[derive(Clone, Debug, Default)]
struct Terms {
    /// Since when there is a link.
    linked: Option<Instant>,
    /// When the leases were last read although no call needed that.
    viewed: Option<Reading>,
    /// Round trips under way, and when they were asked.
    trips: BTreeMap<OpId, Instant>,
    /// When the last one was answered.
    idle: Option<Instant>,
    /// So many were under way then that others waited.
    crowded: Option<Instant>,
    lease: OwnLease,
    /// Calls that may need to know who lives, and when the last one was answered: for what it looked up
    /// that may be asked a little later.
    calls: BTreeMap<CallId, ()>,
    answered: Option<Instant>,
    /// No terminal is closed for a drain before this moment, and the last one by the other.
    drain: Option<(Instant, Instant)>,
    connections: BTreeMap<ConnectionKey, ()>,
    /// A terminal watches the members of a topic, which are read again and again: no call, and as good as one.
    watched: bool,
    /// It has had a lease.
    has_held: bool,
    /// It has said that its lease is lost since that was granted.
    lost: bool,
    /// When it last lost its lease, or the link.
    ended: Option<Instant>,
    /// The epoch of its last claim.
    epoch: Option<Epoch>,
    /// What its last claim or renewal has left in the directory.
    written: Option<Lease>,
    /// Since it last claimed, the directory has told it that something else stands there.
    displaced: bool,
    /// Since when it knows that its lease is gone.
    gone: Option<Instant>,
    /// Since when its lease is to say something else: all rows are back, or this terminal lacks its own.
    news: Option<(Instant, Option<ConnectionKey>)>,
    /// It sends its terminals away: it was ordered to end, or is cut off.
    sends_away: (bool, bool),
}

impl Checker for LeaseTimes {
    fn name(&self) -> &'static str {
        "lease-times"
    }

    fn topics(&self) -> &'static [Topic] {
        &[
            Topic::Boundary,
            Topic::Lives,
            Topic::Time,
            Topic::Words,
            Topic::Log,
            Topic::Directory,
        ]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Started(life) => {
                self.terms.insert(life.host, Terms::default());
            }
            Observed::Gone(life) => {
                self.terms.remove(&life.host);
            }
            Observed::Took { life, intake } => {
                if let Some(terms) = self.terms.get_mut(&life.host) {
                    terms.take_in(watch, *life, *intake);
                }
            }
            Observed::Gave { life, output } => {
                if let Some(terms) = self.terms.get_mut(&life.host) {
                    terms.give(watch, *life, output);
                }
            }
            Observed::Wished {
                session,
                wish: TopicWish::Watch(_) | TopicWish::WatchAsMember(_),
            } => {
                let life = watch.scene().sessions()[*session].life();
                if let Some(terms) = life.and_then(|life| self.terms.get_mut(&life.host)) {
                    terms.watched = true;
                }
            }
            Observed::Logged { life, log } => {
                if let Some(terms) = self.terms.get_mut(&life.host) {
                    match **log {
                        Log::LeaseLost { .. } => {
                            terms.lost = true;
                            terms.ended = Some(watch.now());
                            terms.news = None;
                        }
                        Log::Settled { .. } => terms.news = Some((watch.now(), None)),
                        Log::Isolated => terms.sends_away.1 = true,
                        Log::Rejoined => terms.sends_away.1 = false,
                        _ => {}
                    }
                }
            }
            Observed::Given { session, outgoing } => self.given(watch, *session, outgoing),
            Observed::Executed(executed) => {
                if watch.scene().lives(executed.life)
                    && let Some(terms) = self.terms.get_mut(&executed.life.host)
                {
                    terms.executed(watch, executed);
                }
            }
            Observed::Tick => self.look(watch),
            _ => {}
        }
    }

    fn at_quiescence(&mut self, _: Quiescence, watch: &mut Watch<'_>) {
        self.look(watch);
        for (host, terms) in &self.terms {
            let runs = watch.scene().host(*host).is_some_and(|host| host.runs());
            let lacks = |lease: &Lease| lease.state == LeaseState::Settling;
            if runs && terms.written.as_ref().is_some_and(lacks) {
                let host = host + 1;
                watch.violated(format!("i{host} still says that rows are missing"));
            }
        }
    }
}

impl LeaseTimes {
    /// A terminal is told something: that it has become a member while its instance holds a lease.
    fn given(&mut self, watch: &mut Watch<'_>, session: usize, outgoing: &Outgoing) {
        match outgoing {
            Outgoing::Joined {
                topic,
                degraded,
                log,
            } => {
                let is_new = self.members.insert((session, topic.clone()));
                // Who follows its log is told when that was read.
                let has_become = is_new && !degraded && log.is_none();
                let this = &watch.scene().sessions()[session];
                let (now, host) = (watch.now(), this.life().map_or(0, |life| life.host));
                let lately = now.before(Duration::from_secs(1));
                // What waits for a terminal, or for its instance, was decided long ago.
                let slow = watch.excuse(lately, now, |excuse| {
                    excuse.kind == FaultKind::SlowReader && excuse.scope == Scope::Session(session)
                });
                let waits = slow.is_some() || stood_still(watch, host, lately, now);
                let terms = self.terms.get(&host).filter(|_| has_become && !waits);
                let Some(terms) = terms else {
                    return;
                };
                match terms.holds(watch) {
                    true => watch.held(),
                    false => watch.violated(format!(
                        "session {session} is told that it is a member by an instance that holds no lease"
                    )),
                }
            }
            Outgoing::Left(topic) => {
                self.members.remove(&(session, topic.clone()));
            }
            _ => {}
        }
    }

    fn look(&self, watch: &mut Watch<'_>) {
        for (host, terms) in &self.terms {
            if let Some(what) = terms.overdue(watch, *host) {
                watch.violated(format!("i{} {what}", host + 1));
            }
            let running = watch.scene().host(*host).filter(|host| host.runs());
            let Some(is_ready) = running.map(|host| host.is_ready()) else {
                continue;
            };
            if is_ready == terms.is_ready() {
                watch.held();
            } else {
                let host = host + 1;
                watch.violated(format!(
                    "i{host} says of itself that it is ready: {is_ready}"
                ));
            }
        }
    }
}

impl Terms {
    fn take_in(&mut self, watch: &mut Watch<'_>, life: Life, intake: Intake) {
        let now = watch.now();
        match intake {
            Intake::DirectoryUp => {
                *self = Self {
                    linked: Some(now),
                    viewed: None,
                    trips: BTreeMap::new(),
                    lease: OwnLease::default(),
                    news: None,
                    gone: None,
                    ..std::mem::take(self)
                };
            }
            Intake::DirectoryDown => {
                self.linked = None;
                self.ended = Some(now);
                self.trips.clear();
            }
            Intake::TripAnswered {
                op,
                in_time,
                lost,
                granted,
                released,
                vanished,
                refused,
            } => {
                let lasts = watch.scene().config().lease;
                let done = granted || released;
                self.lease
                    .answered(now, lasts, op, in_time && !lost, done, refused);
                if vanished && in_time && !lost && self.knows_of_lease(op) {
                    self.gone = self.gone.or(Some(now));
                }
                if self.lease.granted.is_some_and(|(_, at)| at == now) {
                    self.has_held = true;
                    self.lost = false;
                }
                self.trip_answered(watch, life, op, in_time);
                // The row may be there by that.
                self.news = self.news.filter(|(_, lacking)| lacking.is_none());
                if lost && in_time {
                    self.linked = None;
                    self.trips.clear();
                }
            }
            Intake::Call { call, .. } => {
                self.calls.insert(call, ());
            }
            Intake::Drain { delay, spread } => {
                self.sends_away.0 = true;
                let ends = now + delay + spread;
                let sooner = self.drain.is_none_or(|(_, former)| ends < former);
                if sooner && !self.releases(now) {
                    self.drain = Some((now + delay, ends));
                }
            }
            Intake::Accepted { connection, .. } => {
                self.connections.insert(connection, ());
            }
            Intake::Closed(connection) => self.ends(connection),
            Intake::LinkAccepted(_)
            | Intake::Opened(_)
            | Intake::Authenticated { .. }
            | Intake::Refreshed { .. }
            | Intake::Relayed
            | Intake::Heard(_)
            | Intake::Written(_)
            | Intake::Probed { .. }
            | Intake::LinkUp(_)
            | Intake::LinkReceived { .. }
            | Intake::LinkWritten(_)
            | Intake::LinkDown { .. } => {}
        }
    }

    fn trip_answered(&mut self, watch: &mut Watch<'_>, life: Life, op: OpId, in_time: bool) {
        let now = watch.now();
        let Some(asked) = self.trips.remove(&op) else {
            return;
        };
        self.idle = Some(now);
        let due = asked + watch.scene().config().directory_timeout;
        let host = life.host + 1;
        if !in_time && now < due {
            watch.violated(format!("i{host} has given up {op:?} before its time"));
        } else if in_time && is_late(watch, life.host, due) {
            watch.violated(format!("i{host} still waits for {op:?}"));
        } else {
            watch.held();
        }
    }

    fn give(&mut self, watch: &mut Watch<'_>, life: Life, output: &Output) {
        match output {
            Output::Trip(trip) => {
                let judged = self.ask(watch, life.host, trip);
                self.note(watch, life.host, trip);
                match judged {
                    None => watch.held(),
                    Some(what) => watch.violated(format!("i{} {what}", life.host + 1)),
                }
            }
            Output::Answer { call, .. } => {
                self.calls.remove(call);
                self.answered = Some(watch.now());
            }
            Output::Forget(connection) => {
                self.connections.remove(connection);
            }
            // The link is as good as gone.
            Output::DirectoryReset => {
                self.linked = None;
                self.ended = Some(watch.now());
            }
            Output::Drained => match self.left_behind(watch, life.host) {
                None => watch.held(),
                Some(what) => watch.violated(format!("i{} {what}", life.host + 1)),
            },
            Output::Hello {
                connection,
                degraded: true,
            } => {
                let says_so = |lease: &Lease| lease.state == LeaseState::Settling;
                if !self.written.as_ref().is_none_or(says_so) {
                    self.news = self.news.or(Some((watch.now(), Some(*connection))));
                }
            }
            Output::Close { connection, .. } | Output::Abort(connection) => self.ends(*connection),
            Output::Hello {
                degraded: false, ..
            }
            | Output::Send(_)
            | Output::Flush(_)
            | Output::Ping(_)
            | Output::Probe(_)
            | Output::Connected(_)
            | Output::Noticed(_)
            | Output::Disconnected(_)
            | Output::Dial { .. }
            | Output::LinkWrite { .. }
            | Output::LinkProven(_)
            | Output::LinkClose(_)
            | Output::Log
            | Output::Hear => {}
        }
    }

    /// The directory has done something for it.
    fn executed(&mut self, watch: &mut Watch<'_>, executed: &Executed) {
        match (&executed.operation, &executed.outcome) {
            (Operation::Claim { lease, .. }, Ok(Reply::Claimed { .. }))
            | (Operation::Renew { lease, .. }, Ok(Reply::Renewed)) => {
                // What was asked on an earlier link may come late.
                if Some(lease.epoch) == self.epoch {
                    self.written = Some(lease.clone());
                } else {
                    self.displaced = true;
                }
            }
            (Operation::Renew { expected, .. }, Ok(Reply::Lost)) => {
                let Change::Lease {
                    before: Some(before),
                    ..
                } = &executed.change
                else {
                    return;
                };
                // What was asked on an earlier link is of an earlier epoch.
                let stands = before.remaining.is_some() && before.lease.epoch == expected.epoch;
                if stands && self.written.as_ref() == Some(&before.lease) {
                    let host = executed.life.host + 1;
                    watch.violated(format!("i{host} renews another lease than it has written"));
                }
            }
            (Operation::ReadLease { .. }, Ok(Reply::Lease(seen))) if *seen != self.written => {
                self.displaced = true;
            }
            _ => {}
        }
    }

    /// A terminal ends: it lacks nothing.
    fn ends(&mut self, connection: ConnectionKey) {
        self.news = (self.news).filter(|(_, lacking)| *lacking != Some(connection));
    }

    /// Whether a round trip was asked when the lease had been granted that is held at this moment.
    fn knows_of_lease(&self, op: OpId) -> bool {
        let (Some(asked), Some((_, answered))) = (self.trips.get(&op), self.lease.granted) else {
            return false;
        };
        let holds = self.lease.step.is_some_and(|last| match last.step {
            LeaseStep::Claim(_) => last.outcome == StepOutcome::Granted,
            LeaseStep::Renew { .. } => true,
            LeaseStep::Release => false,
        });
        *asked >= answered && holds
    }

    /// Whether it claims a lease although it holds one.
    fn claims_needlessly(&self) -> bool {
        let Some(last) = self.lease.step else {
            return false;
        };
        match (last.step, last.outcome) {
            (LeaseStep::Claim(_), StepOutcome::Granted) => !self.displaced,
            (LeaseStep::Claim(_), _) | (_, StepOutcome::Lost) => false,
            (LeaseStep::Renew { .. } | LeaseStep::Release, _) => !self.displaced,
        }
    }

    /// Whether it holds a lease by its own count, or has until a moment ago.
    fn holds(&self, watch: &Watch<'_>) -> bool {
        let (now, lasts) = (watch.now(), watch.scene().config().lease);
        let granted = self
            .lease
            .granted
            .filter(|_| self.linked.is_some() && !self.lost);
        granted.is_some_and(|(asked, _)| now < asked + lasts + WRITTEN)
            || self.ended.is_some_and(|ended| now < ended + WRITTEN)
    }

    /// Whether it takes terminals.
    const fn is_ready(&self) -> bool {
        let (ordered, isolated) = self.sends_away;
        self.has_held && !ordered && !isolated
    }

    /// What is wrong with the lease when its instance has ended, or with how long it has waited for that.
    fn left_behind(&self, watch: &Watch<'_>, host: usize) -> Option<&'static str> {
        let (_, answered) = self.lease.granted?;
        let step = self.lease.step?;
        if self.linked.is_none() || self.lost || self.is_crowded(watch, watch.now()) {
            return None;
        }
        match (step.step, step.outcome) {
            // It waits once more at each step of its drain.
            (LeaseStep::Release, StepOutcome::Granted) => {
                let idle = (self.idle).map_or(answered, |idle| idle.max(answered));
                let due = idle + Config::DRAIN_STEP * 2;
                let waits = self.trips.is_empty() && is_late(watch, host, due);
                waits.then_some("waits for more than its lease when it ends")
            }
            (LeaseStep::Claim(_) | LeaseStep::Renew { .. }, StepOutcome::Granted) => {
                // It may have come when nothing was waited for any more.
                (answered < watch.now()).then_some("ends and has not given its lease back")
            }
            _ => None,
        }
    }

    /// What is wrong with the time of a round trip.
    fn ask(&self, watch: &Watch<'_>, host: usize, trip: &TripOutline) -> Option<&'static str> {
        let config = watch.scene().config();
        let now = watch.now();
        // One that waited for a round trip when its instance stood still leaves beside what is asked for then.
        let stood_still = watch.excuse(now.before(config.directory_timeout), now, |excuse| {
            excuse.kind.part() == Part::Process && excuse.scope == Scope::Instance(host)
        });
        let since = stood_still.map_or(now, |pause| pause.from);
        let waited = (self.crowded).is_some_and(|at| since <= at + config.directory_timeout);
        if trip.views > 1 && !waited {
            return Some("reads the leases twice at a time");
        }
        if trip.views > 0
            && let Some(viewed) = self.viewed
            // A reading that had to wait for a round trip puts off none.
            && self.crowded.is_none_or(|at| at + config.directory_timeout < viewed.at)
            && self.calls.is_empty()
            && !self.watched
            && self
                .answered
                .is_none_or(|at| at + config.directory_timeout * 2 < now)
            && now + viewed.unsure < viewed.at + config.view_interval
        {
            return Some("reads the leases too often");
        }
        if trip.lease.is_some_and(|(_, step)| step.claims()) && self.claims_needlessly() {
            return Some("claims a lease that it holds");
        }
        if let (Some((_, step)), Some(last)) = (trip.lease, self.lease.step) {
            let from = match (step, last.outcome) {
                (LeaseStep::Renew { unchanged: true }, StepOutcome::Granted) => {
                    last.at + config.lease_renewal
                }
                (LeaseStep::Renew { .. }, StepOutcome::Refused(at)) => at + Config::DIRECTORY_RETRY,
                (LeaseStep::Claim(_), StepOutcome::Refused(at))
                    if matches!(last.step, LeaseStep::Claim(_)) =>
                {
                    at + Config::DIRECTORY_RETRY
                }
                _ => now,
            };
            if now < from {
                return Some("renews its lease too soon");
            }
        }
        self.overdue(watch, host)
    }

    fn note(&mut self, watch: &Watch<'_>, host: usize, trip: &TripOutline) {
        let now = watch.now();
        let given_up = now.before(watch.scene().config().directory_timeout);
        self.trips.insert(trip.op, now);
        let under_way = self.trips.values().filter(|asked| **asked > given_up);
        if under_way.count() >= Config::TRIPS_IN_FLIGHT {
            self.crowded = Some(now);
        }
        if self.trips.len() > Config::TRIPS_IN_FLIGHT * 8 {
            self.trips.retain(|_, asked| *asked > given_up);
        }
        if trip.views > 0 {
            self.viewed = Some(self.regular(watch, host, now));
        }
        if let Some((_, step)) = trip.lease {
            self.news = None;
            if let LeaseStep::Claim(epoch) = step {
                self.epoch = Some(epoch);
                self.displaced = false;
                self.gone = None;
            }
        }
        self.lease.ask(now, trip);
    }

    /// The last regular reading, if one leaves at this moment: what is read for a call in between puts off none,
    /// and nor does one that had to wait for round trips. What is due while the process stands still is due
    /// when it goes on.
    fn regular(&self, watch: &Watch<'_>, host: usize, now: Instant) -> Reading {
        let exact = |at| Reading {
            at,
            unsure: Duration::ZERO,
        };
        let Some(viewed) = self.viewed else {
            return exact(now);
        };
        let interval = watch.scene().config().view_interval;
        let next = viewed.at + interval;
        let crowded = self.is_crowded(watch, next);
        let may_wait = if crowded { UNSURE } else { Duration::ZERO };
        if now + viewed.unsure + may_wait < next {
            return viewed;
        }
        let intervals = now.since(viewed.at).as_nanos() / interval.as_nanos();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX).max(1);
        let due = running(watch, host, viewed.at + interval * intervals);
        if now < due {
            // It may be for a call, and the regular one be still to come.
            let waited = if crowded {
                viewed.unsure
            } else {
                Duration::ZERO
            };
            return Reading {
                at: due,
                unsure: waited + due.since(now),
            };
        }
        if !crowded || now == due {
            return exact(now);
        }
        // It may have waited for a moment, or its timer fired late, and so did those of others that wait.
        let at = now.min(due + UNSURE.max(SLACK * intervals));
        Reading {
            at,
            unsure: viewed.unsure + at.since(due),
        }
    }

    /// What should have been asked by now.
    fn overdue(&self, watch: &Watch<'_>, host: usize) -> Option<&'static str> {
        let config = watch.scene().config();
        let now = watch.now();
        let linked = self.linked?;
        let next_view = (self.viewed).map_or(linked, |viewed| viewed.at + config.view_interval);
        if !self.is_crowded(watch, next_view) && is_late(watch, host, next_view) {
            return Some("has not read the leases in time");
        }
        if self.releases(now) {
            return None;
        }
        let Some(step) = self.lease.step else {
            let late = !self.is_crowded(watch, linked) && is_late(watch, host, linked);
            return late.then_some("has not claimed a lease in time");
        };
        if let Some(gone) = self.gone
            && !self.is_crowded(watch, gone)
            && is_late(watch, host, gone)
        {
            return Some("does not claim anew although its lease is gone");
        }
        if let (Some((since, _)), StepOutcome::Granted) = (self.news, step.outcome) {
            let due = (self.lease.granted).map_or(since, |(_, answered)| since.max(answered));
            if !self.is_crowded(watch, since) && is_late(watch, host, due) {
                return Some("does not say in its lease what there is to say");
            }
        }
        let next = match (step.step, step.outcome) {
            (LeaseStep::Release, _) => return None,
            (_, StepOutcome::Granted) => step.at + config.lease_renewal,
            // It is claimed anew at once.
            (_, StepOutcome::Lost) => step.at + config.directory_timeout,
            (_, StepOutcome::Refused(at)) => at + Config::DIRECTORY_RETRY,
            // The lease is read first, to see what became of it, which may fail as well.
            (_, StepOutcome::Asked | StepOutcome::Unknown) => {
                let lately = step.at.before(recovery(config));
                let shaken = watch.excuse(lately, now, |excuse| {
                    excuse.kind.part() == Part::Directory && concerns(excuse, host)
                });
                if shaken.is_some() {
                    return None;
                }
                step.at + config.directory_timeout * 2 + SLACK * 2
            }
        };
        let late = !self.is_crowded(watch, step.at) && is_late(watch, host, next);
        late.then_some("has not renewed its lease in time")
    }

    /// Whether what was to be asked at a moment may have waited for round trips under way.
    fn is_crowded(&self, watch: &Watch<'_>, due: Instant) -> bool {
        let timeout = watch.scene().config().directory_timeout;
        self.crowded.is_some_and(|at| at + timeout >= due)
    }

    /// Whether it may be giving its lease back, because it ends.
    fn releases(&self, now: Instant) -> bool {
        (self.drain)
            .is_some_and(|(from, ends)| now >= ends || (now >= from && self.connections.is_empty()))
    }
}
