//! `directory-rate`: rows are written again at the pace that the settings name, neither faster nor slower.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::command::Log;
use switchboard_core::config::Config;
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, OpId};
use switchboard_core::time::Instant;

use super::allowance::concerns;
use super::lateness::stood_still;
use super::own_lease::OwnLease;
use crate::boundary::{Intake, Output, TripOutline};
use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{Life, Observed, Quiescence, Topic};

/// After a claim an instance writes its rows again at its share of the cluster's pace, and is done when it
/// has written them; and it sweeps all its rows once in the time of a sweep.
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
    rows: BTreeMap<ConnectionId, WrittenRow>,
    trips: BTreeMap<OpId, Vec<ConnectionId>>,
    /// The epoch of the last claim.
    epoch: Option<Epoch>,
    settling: Option<Resettling>,
    /// Other instances with a lease in the last view.
    alive: Vec<InstanceId>,
    /// When that was told, and of how many others the instance knew until then: a claim that the same round
    /// trip answers comes first.
    alive_before: Option<(Instant, usize)>,
    /// All others of which it was ever told.
    told: BTreeSet<InstanceId>,
    /// When a terminal last came or went.
    churned: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct WrittenRow {
    at: Instant,
    epoch: Epoch,
    /// The directory has said so while the lease was held.
    acknowledged: bool,
    /// Nothing but the sweep called for it.
    swept: bool,
}

/// All rows are being written again.
#[derive(Clone, Copy, Debug)]
struct Resettling {
    since: Instant,
    /// Rows that were there when it began, or came since.
    rows: usize,
    /// Rows that were known to be written under an earlier epoch, and were written again.
    again: usize,
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
                    _ => {}
                }
            }
            Observed::Logged { life, log } => {
                if let Some(writer) = self.hosts.get_mut(&life.host) {
                    writer.log(watch, *life, log);
                    writer.note_fewest(&self.draining);
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
            }
        }
    }
}

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
                granted,
                refused,
                ..
            } => {
                let lease = watch.scene().config().lease;
                self.lease
                    .answered(now, lease, op, in_time, granted, refused);
                let held = (self.lease.granted).is_some_and(|(asked, _)| now < asked + lease);
                for connection in self.trips.remove(&op).into_iter().flatten() {
                    if let Some(row) = self.rows.get_mut(&connection) {
                        let present = Some(row.epoch) == self.epoch;
                        row.acknowledged = in_time && refused == 0 && held && present;
                    }
                }
            }
            Intake::DirectoryUp | Intake::DirectoryDown => {
                self.settling = None;
                self.trips.clear();
            }
            Intake::Accepted { .. } => {
                self.churned = Some(now);
                if let Some(settling) = &mut self.settling {
                    settling.rows += 1;
                }
            }
            Intake::LinkAccepted(_)
            | Intake::Opened(_)
            | Intake::Authenticated { .. }
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
            | Intake::Call { .. }
            | Intake::Drain { .. } => {}
        }
    }

    fn ask(&mut self, watch: &mut Watch<'_>, life: Life, trip: &TripOutline) -> Result<(), String> {
        let now = watch.now();
        self.lease.ask(now, trip);
        if trip.registers.is_empty() {
            return Ok(());
        }
        let config = watch.scene().config();
        let mut judged = Ok(());
        let mut connections = Vec::with_capacity(trip.registers.len());
        for &(connection, epoch) in &trip.registers {
            connections.push(connection);
            let former = self.rows.get(&connection).filter(|row| row.acknowledged);
            let again = former.is_some_and(|row| row.epoch < epoch);
            let swept = former.is_some_and(|row| row.epoch == epoch);
            if let Some(settling) = self.settling.as_mut().filter(|_| again) {
                settling.again += 1;
                let others = (settling.fewest).saturating_sub(said_of_others(watch, life.host));
                let per_step = rows_per_step(config, others);
                let steps = steps(settling.again, per_step).saturating_sub(1);
                if now < settling.since + Config::SETTLE_STEP * steps {
                    judged = Err(format!(
                        "writes {} rows again within {:?}",
                        settling.again,
                        now.since(settling.since)
                    ));
                }
            }
            if let Some(row) = former.filter(|row| swept && row.swept) {
                let quiet = self.churned.is_none_or(|at| at < row.at);
                if quiet && now < row.at + config.sweep * 9 / 10 {
                    judged = Err("sweeps its rows too often".to_owned());
                }
            }
            let row = WrittenRow {
                at: now,
                epoch,
                acknowledged: false,
                swept,
            };
            self.rows.insert(connection, row);
        }
        // A row beside a claim is one of the epoch before it.
        if !trip.lease.is_some_and(|(_, step)| step.claims()) {
            self.trips.insert(trip.op, connections);
        }
        if judged.is_ok() {
            watch.held();
        }
        judged
    }

    fn log(&mut self, watch: &mut Watch<'_>, life: Life, log: &Log) {
        match log {
            Log::Claimed { epoch, rows } => {
                let now = watch.now();
                let alive = self.alive.len();
                let before = self.alive_before.filter(|(told, _)| *told == now);
                self.epoch = Some(*epoch);
                self.settling = Some(Resettling {
                    since: now,
                    rows: *rows,
                    again: 0,
                    fewest: before.map_or(alive, |(_, before)| before.min(alive)),
                });
            }
            Log::Settled { .. } => {
                if let Some(settling) = self.settling.take() {
                    self.judge_end(watch, life.host, &settling);
                    watch.held();
                }
            }
            Log::LeaseLost { .. } => self.settling = None,
            Log::LeaseVanished { .. }
            | Log::DirectoryNotPrimary { .. }
            | Log::DirectoryRefused { .. }
            | Log::PeerUp { .. }
            | Log::PeerDown { .. }
            | Log::WireVersion { .. }
            | Log::WrongSecret { .. }
            | Log::PeerMisbehaved { .. }
            | Log::SettingsDiffer { .. }
            | Log::Isolated
            | Log::Rejoined
            | Log::Unproven { .. } => {}
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

    /// Whether all rows were written again in the time of a sweep.
    fn is_swept(&mut self, watch: &mut Watch<'_>, host: usize) -> Result<(), String> {
        let scene = watch.scene();
        let now = watch.now();
        let ended = |connection: &ConnectionId| {
            let session = scene.session_of(*connection);
            session.is_none_or(|session| scene.sessions()[session].ended().is_some())
        };
        self.rows.retain(|connection, _| !ended(connection));
        let sweep = scene.config().sweep;
        let within = sweep + sweep / 10 + Duration::from_secs(5);
        let old = (self.rows.values()).find(|row| row.acknowledged && row.at + within < now);
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
