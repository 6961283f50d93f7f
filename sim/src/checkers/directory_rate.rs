//! `directory-rate`: rows are written again at the pace that the settings name, neither faster nor slower.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::command::Log;
use switchboard_core::config::Config;
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, OpId, TopicId};
use switchboard_core::time::Instant;

use super::allowance::{concerns, may_be_closing};
use super::head_checks::HeadChecks;
use super::lateness::{SLACK, stood_still};
use super::missing_rows::MissingRows;
use super::own_lease::{OwnLease, StepOutcome};
use crate::boundary::{CallKind, Intake, LeaseStep, Output, TripOutline};
use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{Life, Observed, Quiescence, Topic};
use crate::terminals::Session;

/// After a claim an instance writes its rows again at its share of the cluster's pace, and is done when it has
/// written them; until those are written that may be missing its lease says so; and it sweeps all its rows once
/// in the time of a sweep. It compares the head of a log once in a round of checks, and in between only for a
/// reason: a new link to the directory, a link to another instance that breaks, a lease of its own or of
/// another that is over.
#[derive(Clone, Debug, Default)]
pub struct DirectoryRate {
    hosts: BTreeMap<usize, Writer>,
    /// Instances that go: those that they have told so do not know them any more.
    draining: BTreeSet<InstanceId>,
}

/// What one instance writes.
#[derive(Clone, Debug, Default)]
struct Writer {
    lease: OwnLease,
    missing: MissingRows,
    heads: HeadChecks,
    rows: BTreeMap<RowName, WrittenRow>,
    /// Round trips that write rows, and when they were asked.
    trips: BTreeMap<OpId, (Instant, Vec<RowName>)>,
    /// All round trips without an answer, and when there were so many that others waited.
    under_way: BTreeSet<OpId>,
    crowded: Option<Instant>,
    /// The epoch of the last claim.
    epoch: Option<Epoch>,
    settling: Option<Resettling>,
    retries: Retries,
    /// Other instances with a lease in the last view.
    alive: Vec<InstanceId>,
    /// When that was told, and of how many others the instance knew until then: a claim that the same round
    /// trip answers comes first.
    alive_before: Option<(Instant, usize)>,
    /// All others of which it was ever told.
    told: BTreeSet<InstanceId>,
    /// When a terminal or a topic last came or went.
    churned: Option<Instant>,
}

/// Whose row it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RowName {
    Connection(ConnectionId),
    Topic(TopicId),
}

impl RowName {
    const fn is_topic(&self) -> bool {
        match self {
            Self::Connection(_) => false,
            Self::Topic(_) => true,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct WrittenRow {
    /// When it was first asked for.
    since: Instant,
    at: Instant,
    /// When it was last answered.
    answered: Instant,
    /// When it was last refused.
    refused: Instant,
    epoch: Epoch,
    outcome: RowOutcome,
    /// The settling of its epoch has written it again.
    settled: bool,
    /// Nothing but the sweep called for it.
    swept: bool,
}

/// What became of the last write of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowOutcome {
    /// Nothing is known, or nothing that counts.
    Unknown,
    /// It was given up.
    GivenUp,
    /// The directory has refused it.
    Refused,
    /// The directory has said that it is written while the lease was held.
    Acknowledged,
}

/// Refused rows that are tried again at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Retries {
    at: Option<Instant>,
    rows: usize,
}

/// All rows are being written again.
#[derive(Clone, Copy, Debug)]
struct Resettling {
    since: Instant,
    /// Rows that were there when it began, or came since.
    rows: usize,
    /// Since when it has this pace.
    from: Instant,
    /// Rows that were due by then.
    before: usize,
    /// Rows that were known to be written under an earlier epoch, and were written again; once more if that was given up.
    again: usize,
    /// How often its pace was halved.
    slowed: u32,
    /// The fewest other instances that it has known meanwhile.
    fewest: usize,
}

impl Checker for DirectoryRate {
    fn name(&self) -> &'static str {
        "directory-rate"
    }

    fn topics(&self) -> &'static [Topic] {
        &[
            Topic::Boundary,
            Topic::Lives,
            Topic::Time,
            Topic::Log,
            Topic::Directory,
        ]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Started(life) => {
                self.hosts.insert(life.host, Writer::default());
                let sweep = watch.scene().config().sweep;
                watch.call_at(watch.now() + sweep / 2, life.host as u64);
            }
            Observed::Gone(life) => {
                self.hosts.remove(&life.host);
            }
            Observed::Viewed { life, leases } => {
                if let Some(writer) = self.hosts.get_mut(&life.host) {
                    let here = watch.scene().instance_of(*life);
                    let config = watch.scene().config();
                    writer.heads.viewed(watch.now(), config, leases);
                    let others = leases.iter().filter(|seen| seen.instance != here);
                    writer.told.extend(others.clone().map(|seen| seen.instance));
                    // Several readings may be answered at one moment.
                    let (now, before) = (watch.now(), writer.alive(&self.draining));
                    let same = writer.alive_before.filter(|(told, _)| *told == now);
                    let before = same.map_or(before, |(_, fewest)| fewest.min(before));
                    writer.alive_before = Some((now, before));
                    let alive = others.filter(|seen| seen.remaining.is_some());
                    writer.alive = alive.map(|seen| seen.instance).collect();
                    writer.note_fewest(&self.draining);
                }
            }
            Observed::Took { life, intake } => {
                if let Intake::Drain { .. } = intake {
                    self.draining.insert(watch.scene().instance_of(*life));
                    for writer in self.hosts.values_mut() {
                        writer.note_fewest(&self.draining);
                    }
                }
                if let Some(writer) = self.hosts.get_mut(&life.host) {
                    writer.take_in(watch, *intake);
                }
            }
            Observed::Gave { life, output } => {
                let Some(writer) = self.hosts.get_mut(&life.host) else {
                    return;
                };
                match output {
                    Output::Trip(trip) => {
                        if let Err(what) = writer.ask(watch, *life, trip) {
                            watch.violated(format!("i{} {what}", life.host + 1));
                        }
                    }
                    Output::Forget(_) => writer.churned = Some(watch.now()),
                    Output::Hello { .. } => writer.heads.reason(watch.now()),
                    _ => {}
                }
            }
            Observed::Logged { life, log } => {
                if let Some(writer) = self.hosts.get_mut(&life.host) {
                    writer.log(watch, *life, log);
                    writer.note_fewest(&self.draining);
                }
            }
            Observed::Executed(executed) => {
                let life = executed.life;
                if watch.scene().lives(life)
                    && let Some(writer) = self.hosts.get_mut(&life.host)
                    && let Some(since) = writer.missing.executed(executed)
                {
                    writer.judge_missing(watch, life, since);
                }
            }
            Observed::Tick => self.look(watch),
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let host = what as usize;
        let sweep = watch.scene().config().sweep;
        watch.call_at(watch.now() + sweep / 4, what);
        if let Some(writer) = self.hosts.get_mut(&host)
            && let Err(what) = writer.is_swept(watch, host)
        {
            watch.violated(format!("i{} {what}", host + 1));
        }
    }

    fn at_quiescence(&mut self, _: Quiescence, watch: &mut Watch<'_>) {
        self.look(watch);
    }
}

impl DirectoryRate {
    fn look(&self, watch: &mut Watch<'_>) {
        for (host, writer) in &self.hosts {
            if let Some(settling) = &writer.settling {
                writer.judge_end(watch, *host, settling);
                writer.judge_tail(watch, *host, settling);
            }
        }
    }
}

/// Rows that need nothing and are passed over in one step, at least.
const PASSED_OVER: usize = 8;

/// Rows that an instance writes again in one step, if it knows of so many others.
fn rows_per_step(config: &Config, others: usize) -> usize {
    let steps_per_second = (1000 / Config::SETTLE_STEP.as_millis()) as usize;
    let share = config.settle_rate as usize / (others + 1);
    (share / steps_per_second).max(1)
}

/// In the place of how many others somebody has spoken to an instance, and may have said that they go.
fn said_of_others(watch: &Watch<'_>, host: usize) -> usize {
    let entries = watch.scene().ledger().entries().iter();
    let spoken = entries.filter_map(|entry| match entry.scope {
        Scope::Between(from, to) if entry.kind == FaultKind::PeerLied && to == host => Some(from),
        Scope::All | Scope::Instance(_) | Scope::Between(..) | Scope::Session(_) => None,
    });
    spoken.collect::<BTreeSet<_>>().len()
}

impl Resettling {
    /// How many rows may have been written again by now.
    fn allowed(&self, now: Instant, per_step: usize) -> usize {
        let steps = now.since(self.from).as_nanos() / Config::SETTLE_STEP.as_nanos() + 1;
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        self.before.saturating_add(steps.saturating_mul(per_step))
    }
}

impl Retries {
    /// Counts one more. Returns whether there are no more at one moment than in a step of an instance that knows of no
    /// other.
    fn take(&mut self, now: Instant, config: &Config) -> bool {
        if self.at != Some(now) {
            self.rows = 0;
        }
        self.at = Some(now);
        self.rows += 1;
        self.rows <= rows_per_step(config, 0)
    }
}

fn steps(rows: usize, per_step: usize) -> u32 {
    u32::try_from(rows.div_ceil(per_step)).unwrap_or(u32::MAX)
}

impl Writer {
    /// Of how many others it knows at least.
    fn note_fewest(&mut self, draining: &BTreeSet<InstanceId>) {
        let alive = self.alive(draining);
        if let Some(settling) = &mut self.settling {
            settling.fewest = settling.fewest.min(alive);
        }
    }

    /// Of how many others it knows, without those that may have told it that they go.
    fn alive(&self, draining: &BTreeSet<InstanceId>) -> usize {
        let alive = self.alive.iter().filter(|one| !draining.contains(one));
        alive.count()
    }

    fn take_in(&mut self, watch: &Watch<'_>, intake: Intake) {
        let now = watch.now();
        match intake {
            Intake::TripAnswered {
                op,
                in_time,
                lost,
                granted,
                refused,
                ..
            } => {
                let lease = watch.scene().config().lease;
                if lost || !in_time || refused != 0 {
                    self.heads.reason(now);
                }
                self.lease
                    .answered(now, lease, op, in_time && !lost, granted, refused);
                if let Some(step) = self.lease.step.filter(|step| step.op == op)
                    && step.outcome == StepOutcome::Granted
                {
                    self.missing
                        .granted(now, (step.at, step.step.claims()), lease);
                }
                let held = (self.lease.granted).is_some_and(|(asked, _)| now < asked + lease);
                self.under_way.remove(&op);
                let (_, names) = self.trips.remove(&op).unwrap_or((now, Vec::new()));
                let all_refused = refused.trailing_ones() as usize >= names.len().min(64);
                for name in names {
                    if let Some(row) = self.rows.get_mut(&name) {
                        let present = Some(row.epoch) == self.epoch;
                        row.answered = now;
                        row.outcome = if in_time && refused == 0 && held && present {
                            RowOutcome::Acknowledged
                        } else if all_refused && in_time {
                            row.refused = now;
                            RowOutcome::Refused
                        } else {
                            RowOutcome::Unknown
                        };
                    }
                }
            }
            Intake::DirectoryUp | Intake::DirectoryDown => {
                self.heads.reason(now);
                self.settling = None;
                self.trips.clear();
                self.under_way.clear();
                // Without a link it forgets topics, and says so to nobody.
                self.rows.retain(|name, _| !name.is_topic());
            }
            Intake::Accepted { .. } => {
                self.churned = Some(now);
                if let Some(settling) = &mut self.settling {
                    settling.rows += 1;
                }
            }
            Intake::Call { kind, .. } => {
                // An application may ask for a head as well.
                if kind == CallKind::Log {
                    self.heads.reason(now);
                }
            }
            // What there is a reason for is done when a log is followed again.
            Intake::Opened(_) | Intake::Authenticated { .. } => self.heads.reason(now),
            Intake::LinkAccepted(_)
            | Intake::Refreshed { .. }
            | Intake::Relayed
            | Intake::Heard(_)
            | Intake::Written(_)
            | Intake::Closed(_)
            | Intake::Probed { .. }
            | Intake::LinkUp(_)
            | Intake::LinkReceived { .. }
            | Intake::LinkWritten(_)
            | Intake::LinkDown { .. }
            | Intake::Drain { .. } => {}
        }
    }

    fn ask(&mut self, watch: &mut Watch<'_>, life: Life, trip: &TripOutline) -> Result<(), String> {
        let now = watch.now();
        // A lease that is waited for in vain may be so by now.
        if let Some(step) = self
            .lease
            .step
            .filter(|step| step.outcome != StepOutcome::Granted)
        {
            let given_up = step.at + watch.scene().config().directory_timeout;
            if trip.lease.is_some() || given_up <= now {
                self.heads.reason(now.min(given_up));
            }
        }
        self.lease.ask(now, trip);
        if let Some(channel) = self.heads.ask(watch, life.host, &trip.heads) {
            return Err(format!("compares the head of {channel} too often"));
        }
        if let Some((_, LeaseStep::Claim(epoch))) = trip.lease {
            self.missing.claims(epoch);
        }
        self.under_way.insert(trip.op);
        if self.under_way.len() >= Config::TRIPS_IN_FLIGHT {
            self.crowded = Some(now);
        }
        let connections = trip.registers.iter();
        let connections = connections.map(|(id, epoch)| (RowName::Connection(*id), *epoch));
        let topics = trip.topics.iter().filter(|step| step.enters);
        let topics = topics.map(|step| (RowName::Topic(step.topic.clone()), step.epoch));
        let written: Vec<(RowName, Epoch)> = connections.chain(topics).collect();
        for left in trip.topics.iter().filter(|step| !step.enters) {
            self.rows.remove(&RowName::Topic(left.topic.clone()));
            self.churned = Some(now);
        }
        if written.is_empty() {
            return Ok(());
        }
        self.give_up(watch, life.host);
        let config = watch.scene().config();
        let mut judged = Ok(());
        let mut names = Vec::with_capacity(written.len());
        for (name, epoch) in written {
            let former = self.rows.get(&name).copied();
            let stood = former.filter(|row| row.outcome == RowOutcome::Acknowledged);
            let given_up = former.is_some_and(|row| {
                // It may be given up at this very moment.
                let waited = row.at + config.directory_timeout <= now;
                let unknown = match row.outcome {
                    RowOutcome::GivenUp => true,
                    RowOutcome::Unknown => waited,
                    RowOutcome::Refused | RowOutcome::Acknowledged => false,
                };
                unknown && row.settled && row.epoch == epoch
            });
            let again = stood.is_some_and(|row| row.epoch < epoch) || given_up;
            let retried = former.is_some_and(|row| row.outcome == RowOutcome::Refused);
            let swept = stood.is_some_and(|row| row.epoch == epoch);
            if let Some(settling) = self.settling.as_mut().filter(|_| again) {
                settling.again += 1;
                let others = (settling.fewest).saturating_sub(said_of_others(watch, life.host));
                let per_step = (rows_per_step(config, others) >> settling.slowed).max(1);
                if settling.again > settling.allowed(now, per_step) {
                    judged = Err(format!(
                        "writes {} rows again within {:?}",
                        settling.again,
                        now.since(settling.since)
                    ));
                }
            }
            // Settling comes to refused rows as well.
            let waits = (self.crowded).is_some_and(|at| now <= at + config.directory_timeout);
            if retried && self.settling.is_none() && !waits {
                let soon = |row: WrittenRow| now < row.refused + Config::DIRECTORY_RETRY;
                if !name.is_topic() && former.is_some_and(soon) {
                    judged = Err("tries a refused row again too soon".to_owned());
                } else if !self.retries.take(now, config) {
                    judged = Err("tries too many refused rows again".to_owned());
                }
            }
            // That of a topic is written once more for one who joins it while the lease may have run out.
            if swept && self.settling.is_some() && !name.is_topic() {
                judged = Err("settles a row that stands".to_owned());
            }
            if let Some(row) = stood.filter(|row| swept && row.swept && !name.is_topic()) {
                let quiet = self.churned.is_none_or(|at| at < row.at);
                if quiet && now < row.at + config.sweep * 9 / 10 {
                    judged = Err("sweeps its rows too often".to_owned());
                }
            }
            let row = WrittenRow {
                since: former.map_or(now, |row| row.since),
                at: now,
                answered: Instant::START,
                refused: Instant::START,
                epoch,
                outcome: RowOutcome::Unknown,
                settled: again && self.settling.is_some(),
                swept,
            };
            if former.is_none() && name.is_topic() {
                self.churned = Some(now);
            }
            names.push(name.clone());
            self.rows.insert(name, row);
        }
        // A row beside a claim is one of the epoch before it.
        if !trip.lease.is_some_and(|(_, step)| step.claims()) {
            self.trips.insert(trip.op, (now, names));
        }
        if judged.is_ok() {
            watch.held();
        }
        judged
    }

    /// Round trips are given up when it is time. From there on settling has half its pace.
    fn give_up(&mut self, watch: &Watch<'_>, host: usize) {
        let now = watch.now();
        let timeout = watch.scene().config().directory_timeout;
        let given_up = |(asked, _): &(Instant, Vec<RowName>)| *asked + timeout + SLACK < now;
        // They are few, and come in the order in which they were asked.
        while let Some(first) = self.trips.first_entry()
            && given_up(first.get())
        {
            let (asked, names) = first.remove();
            for name in names {
                if let Some(row) = self.rows.get_mut(&name) {
                    row.outcome = RowOutcome::GivenUp;
                }
            }
            if let Some(settling) = &mut self.settling
                && asked + timeout > settling.since + SLACK
            {
                // What waits for a round trip may leave later.
                let others = (settling.fewest).saturating_sub(said_of_others(watch, host));
                let per_step = rows_per_step(watch.scene().config(), others) >> settling.slowed;
                settling.before = settling.allowed(now, per_step.max(1));
                settling.from = now;
                settling.slowed = (settling.slowed + 1).min(Config::SETTLE_HALVINGS);
            }
        }
    }

    fn log(&mut self, watch: &mut Watch<'_>, life: Life, log: &Log) {
        match log {
            Log::Claimed { epoch, rows } => {
                let now = watch.now();
                let alive = self.alive.len();
                let before = self.alive_before.filter(|(told, _)| *told == now);
                self.epoch = Some(*epoch);
                // What was written beside the claim has the epoch before it, and is written once more at once.
                for row in self.rows.values_mut().filter(|row| row.answered == now) {
                    row.outcome = RowOutcome::Unknown;
                }
                self.settling = Some(Resettling {
                    since: now,
                    rows: *rows + self.topics(),
                    from: now,
                    before: 0,
                    again: 0,
                    slowed: 0,
                    fewest: before.map_or(alive, |(_, before)| before.min(alive)),
                });
            }
            Log::Settled { .. } => {
                self.missing.settled();
                if let Some(settling) = self.settling.take() {
                    self.judge_end(watch, life.host, &settling);
                    watch.held();
                }
            }
            Log::LeaseLost { .. } => {
                self.settling = None;
                self.heads.reason(watch.now());
            }
            Log::LeaseVanished { .. } | Log::PeerDown { .. } => self.heads.reason(watch.now()),
            Log::DirectoryNotPrimary { .. }
            | Log::DirectoryRefused { .. }
            | Log::PeerUp { .. }
            | Log::WireVersion { .. }
            | Log::WrongSecret { .. }
            | Log::PeerMisbehaved { .. }
            | Log::SettingsDiffer { .. }
            | Log::Isolated
            | Log::Rejoined
            | Log::Unproven { .. } => {}
        }
    }

    /// Its lease says that no row is missing, and those may be of terminals that were accepted since.
    fn judge_missing(&self, watch: &mut Watch<'_>, life: Life, since: Instant) {
        let Some(claimed) = self.settling.map(|settling| settling.since) else {
            return;
        };
        let scene = watch.scene();
        let under_way = |name: &RowName| {
            let mut trips = self.trips.values();
            trips.any(|(_, names)| names.contains(name))
        };
        let missing = self.rows.iter().find(|(name, row)| {
            let RowName::Connection(connection) = name else {
                return false;
            };
            let session = scene.session_of(*connection);
            // The row of one whose end has begun is not written again.
            let wanted = session.is_some_and(|session| {
                scene.sessions()[session].is_open() && !may_be_closing(watch, session)
            });
            let old = row.since >= since && row.since < claimed;
            wanted && old && (Some(row.epoch) != self.epoch || under_way(name))
        });
        match missing {
            None => watch.held(),
            Some((name, _)) => {
                let host = life.host + 1;
                watch.violated(format!(
                    "i{host} says that no row is missing before that of {name:?} is back"
                ));
            }
        }
    }

    /// The rows are back that may have been missing, and its lease has had the time to say so.
    fn judge_tail(&self, watch: &mut Watch<'_>, host: usize, settling: &Resettling) {
        let Some(since) = self.missing.tail() else {
            return;
        };
        let scene = watch.scene();
        let is_back = |row: &WrittenRow| {
            Some(row.epoch) == self.epoch && row.outcome == RowOutcome::Acknowledged
        };
        let (mut back, mut young) = (settling.since, 0);
        for (name, row) in &self.rows {
            if let RowName::Connection(connection) = name {
                let session = scene.session_of(*connection);
                let session = session.map(|session| &scene.sessions()[session]);
                if row.since < since {
                    continue;
                }
                if !session.is_some_and(Session::is_open) {
                    // It was missing until it came back, or until its terminal ended.
                    let ended = session.and_then(Session::ended);
                    let until = match is_back(row) {
                        true => Some(row.answered),
                        false => ended,
                    };
                    back = back.max(until.unwrap_or(back));
                    continue;
                }
            }
            if !is_back(row) {
                return;
            }
            back = back.max(row.answered);
            young += 1;
        }
        // Those that are back are passed over in steps, and a renewal may be under way.
        let steps = steps(young, PASSED_OVER) + 3;
        let due = back + Config::SETTLE_STEP * steps + scene.config().directory_timeout;
        if watch.now() <= due || stood_still(watch, host, settling.since, watch.now()) {
            return;
        }
        match shaken(watch, settling.since, host, delays) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "i{} says that rows are missing, and those are back that may be",
                host + 1
            )),
        }
    }

    /// A settling that has ended, or should have by now.
    fn judge_end(&self, watch: &mut Watch<'_>, host: usize, settling: &Resettling) {
        let now = watch.now();
        let config = watch.scene().config();
        let per_step = rows_per_step(config, self.told.len());
        // Those who need nothing are passed over in the same steps.
        let steps = steps(settling.rows, per_step) + 3;
        // It waits for its young rows, and for its last ones.
        let trips = config.directory_timeout * 2;
        let until = settling.since + Config::SETTLE_STEP * steps + trips;
        if now <= until || stood_still(watch, host, settling.since, now) {
            return;
        }
        match shaken(watch, settling.since, host, delays) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "i{} settles {} rows for {:?}",
                host + 1,
                settling.rows,
                now.since(settling.since)
            )),
        }
    }

    /// Rows of topics.
    fn topics(&self) -> usize {
        self.rows.keys().filter(|name| name.is_topic()).count()
    }

    /// Whether all rows were written again in the time of a sweep.
    fn is_swept(&mut self, watch: &mut Watch<'_>, host: usize) -> Result<(), String> {
        let scene = watch.scene();
        let now = watch.now();
        let ended = |name: &RowName| match name {
            RowName::Connection(connection) => {
                let session = scene.session_of(*connection);
                session.is_none_or(|session| scene.sessions()[session].ended().is_some())
            }
            // Its row is removed with its last member.
            RowName::Topic(_) => false,
        };
        self.rows.retain(|name, _| !ended(name));
        let sweep = scene.config().sweep;
        let within = sweep + sweep / 10 + Duration::from_secs(5);
        let old = (self.rows.values())
            .find(|row| row.outcome == RowOutcome::Acknowledged && row.at + within < now);
        let Some(old) = old else {
            watch.held();
            return Ok(());
        };
        match shaken(watch, old.at, host, |_| true) {
            Some(excuse) => watch.excused(excuse),
            None if stood_still(watch, host, old.at, now) => {}
            None => return Err(format!("has not written a row for {:?}", now.since(old.at))),
        }
        Ok(())
    }
}

/// Whether a fault of the directory delays the rows that are written again because of one that is over at once.
const fn delays(kind: FaultKind) -> bool {
    !matches!(
        kind,
        FaultKind::RedisWiped
            | FaultKind::RedisFailover
            | FaultKind::RedisRestored
            | FaultKind::RedisEvicted
            | FaultKind::RedisLostLeases
            | FaultKind::RedisClock
            | FaultKind::RedisClockBack
    )
}

/// What has happened to the directory, or to an instance's way to it, since a moment or shortly before.
fn shaken(
    watch: &Watch<'_>,
    since: Instant,
    host: usize,
    explains: impl Fn(FaultKind) -> bool,
) -> Option<Excuse> {
    let from = since.before(watch.scene().config().directory_timeout * 3);
    watch.excuse(from, watch.now(), |excuse| {
        let here = excuse.kind.part() == Part::Directory && concerns(excuse, host);
        here && explains(excuse.kind)
    })
}
