//! `drain`: terminals are sent away when it was ordered, evenly, and the instance ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::command::Log;
use switchboard_core::config::Config;
use switchboard_core::frame::CloseCode;
use switchboard_core::id::ConnectionKey;
use switchboard_core::time::Instant;

use super::lateness::{SLACK, is_late, stood_still, went_on};
use crate::boundary::{Intake, Output};
use crate::checker::{Checker, Watch};
use crate::observed::{Life, Observed, Topic};

/// An instance that drains takes no terminal; it closes none before the delay, all within the spread, and at
/// each moment its share of them; and it ends no sooner than nothing is left or patience is over, and no
/// later. One that is cut off sends its terminals away in the same way, until it is cut off no longer: what
/// was decided by then, and waits behind frames, is judged by that moment.
#[derive(Clone, Debug, Default)]
pub struct DrainPace {
    hosts: BTreeMap<usize, Leaving>,
}

/// The terminals of an instance, and how they are sent away.
#[derive(Clone, Debug, Default)]
struct Leaving {
    /// Those that are not forgotten.
    connections: BTreeSet<ConnectionKey>,
    /// Those of them that have not ended and were not told to.
    present: BTreeSet<ConnectionKey>,
    /// The terminal that was the last to say who it is, and when: an instance that leaves takes nobody.
    named: Option<(ConnectionKey, Instant)>,
    /// Those with a batch under way, behind which the end may wait.
    writing: BTreeSet<ConnectionKey>,
    /// When the last batch of others was written.
    written: BTreeMap<ConnectionKey, Instant>,
    ordered: Option<Spreading>,
    isolated: Option<Spreading>,
    /// Of spreads that have ended before all were sent away.
    decided: Decided,
}

/// Ends that were decided while a spread lasted, and that wait behind frames.
#[derive(Clone, Debug, Default)]
struct Decided {
    /// Those who can be meant: batches of theirs have been under way since then, one after the other.
    waiting: BTreeSet<ConnectionKey>,
    /// How many of them: as many as were to be sent away by then, less those who had been told.
    left: usize,
}

/// Terminals that are sent away from one moment on over a span.
#[derive(Clone, Copy, Debug)]
struct Spreading {
    from: Instant,
    spread: Duration,
    /// Terminals at that moment.
    total: Option<usize>,
    told: usize,
}

/// It is looked so often during a spread whether enough were told.
const LOOKS: u32 = 4;

impl Spreading {
    const fn new(from: Instant, spread: Duration) -> Self {
        Self {
            from,
            spread,
            total: None,
            told: 0,
        }
    }

    fn ends(&self) -> Instant {
        self.from + self.spread
    }

    /// When its instance has ended at the latest. What it did not do when it stood still it does then.
    fn over(&self, watch: &Watch<'_>, host: usize) -> Instant {
        let went_on = went_on(watch, host, self.from, watch.now());
        let told = went_on.map_or(self.ends(), |at| at.max(self.ends()));
        told + ends_within(watch.scene().config())
    }

    /// How many more than were told may be by a moment.
    fn untold(&self, at: Instant) -> usize {
        let due = |total| total - self.left(total, at).min(total);
        self.total.map_or(0, due).saturating_sub(self.told)
    }

    /// How many may be left at a moment.
    fn left(&self, total: usize, at: Instant) -> usize {
        let (elapsed, spread) = (at.since(self.from).as_nanos(), self.spread.as_nanos());
        if elapsed >= spread {
            return 0;
        }
        usize::try_from((total as u128 * (spread - elapsed)).div_ceil(spread)).unwrap_or(total)
    }
}

impl Checker for DrainPace {
    fn name(&self) -> &'static str {
        "drain"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Boundary, Topic::Lives, Topic::Log]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Started(life) => {
                self.hosts.insert(life.host, Leaving::default());
            }
            Observed::Gone(life) => {
                self.hosts.remove(&life.host);
            }
            Observed::Took { life, intake } => self.take_in(watch, *life, *intake),
            Observed::Gave { life, output } => {
                let Some(leaving) = self.hosts.get_mut(&life.host) else {
                    return;
                };
                if let Err(what) = leaving.give(watch, life.host, output) {
                    watch.violated(format!("i{} {what}: {output:?}", life.host + 1));
                }
            }
            Observed::Logged { life, log } => {
                let Some(leaving) = self.hosts.get_mut(&life.host) else {
                    return;
                };
                match **log {
                    Log::Isolated => {
                        let pace = Spreading::new(watch.now(), Config::ISOLATED_SPREAD);
                        leaving.isolated = Some(pace);
                        look_during(watch, *life, &pace);
                    }
                    Log::Rejoined => {
                        if let Some(pace) = leaving.isolated.take() {
                            leaving.has_ended(pace, watch.now());
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let host = what as usize;
        let Some(leaving) = self.hosts.get_mut(&host) else {
            return;
        };
        if let Err(what) = leaving.look(watch, host) {
            watch.violated(format!("i{} {what}", host + 1));
        }
    }
}

/// Looks now and then during a pace, and at its end.
fn look_during(watch: &mut Watch<'_>, life: Life, pace: &Spreading) {
    for nth in 0..=LOOKS {
        let at = pace.from + pace.spread * nth / LOOKS + Config::DRAIN_STEP + SLACK * 2;
        watch.call_at(at, life.host as u64);
    }
    let config = watch.scene().config();
    let end = pace.ends() + ends_within(config) + Config::DRAIN_STEP;
    watch.call_at(end, life.host as u64);
}

/// How long after its last terminal was told an instance ends, at the latest.
fn ends_within(config: &Config) -> Duration {
    patience(config) + config.directory_timeout + Config::DRAIN_STEP * 3 + SLACK * 4
}

/// So long it waits for connections, pushes and deliveries.
fn patience(config: &Config) -> Duration {
    config.close_timeout + config.directory_timeout * 2
}

impl DrainPace {
    fn take_in(&mut self, watch: &mut Watch<'_>, life: Life, intake: Intake) {
        let Some(leaving) = self.hosts.get_mut(&life.host) else {
            return;
        };
        leaving.count(watch.now());
        match intake {
            Intake::Accepted { connection, .. } => {
                leaving.connections.insert(connection);
                leaving.present.insert(connection);
                if leaving.ordered.is_some() || leaving.isolated.is_some() {
                    let host = life.host + 1;
                    watch.violated(format!(
                        "i{host} takes a terminal while it sends others away"
                    ));
                }
            }
            Intake::Written(connection) => {
                leaving.writing.remove(&connection);
                leaving.written.insert(connection, watch.now());
            }
            Intake::Closed(connection) => {
                leaving.present.remove(&connection);
                leaving.writing.remove(&connection);
                leaving.written.remove(&connection);
                leaving.decided.waiting.remove(&connection);
            }
            Intake::Drain { delay, spread } => {
                let pace = Spreading::new(watch.now() + delay, spread);
                let sooner = leaving
                    .ordered
                    .is_none_or(|former| pace.ends() < former.ends());
                if sooner && !leaving.has_left(watch.now()) {
                    if let Some(former) = leaving.end() {
                        leaving.has_ended(former, watch.now());
                    }
                    leaving.ordered = Some(pace);
                    look_during(watch, life, &pace);
                }
            }
            Intake::Authenticated { connection, .. } => {
                leaving.named = Some((connection, watch.now()));
            }
            Intake::LinkAccepted(_)
            | Intake::Opened(_)
            | Intake::Refreshed { .. }
            | Intake::Relayed
            | Intake::Heard(_)
            | Intake::Probed { .. }
            | Intake::DirectoryUp
            | Intake::DirectoryDown
            | Intake::TripAnswered { .. }
            | Intake::LinkUp(_)
            | Intake::LinkReceived { .. }
            | Intake::LinkWritten(_)
            | Intake::LinkDown { .. }
            | Intake::Call { .. } => {}
        }
    }
}

impl Leaving {
    /// An order counts more than an isolation.
    const fn pace(&mut self) -> Option<&mut Spreading> {
        match &mut self.ordered {
            Some(pace) => Some(pace),
            None => self.isolated.as_mut(),
        }
    }

    /// The spread that lasts ends.
    fn end(&mut self) -> Option<Spreading> {
        self.ordered.take().or_else(|| self.isolated.take())
    }

    /// Whether nobody is left, so that another order comes too late.
    fn has_left(&self, now: Instant) -> bool {
        self.connections.is_empty() && self.ordered.is_some_and(|pace| now >= pace.from)
    }

    /// A spread has ended, or another one takes its place: a terminal that was told in it may learn it only
    /// when all that waits for it is written.
    fn has_ended(&mut self, pace: Spreading, now: Instant) {
        let present = self.present.iter().copied();
        let waiting: Vec<_> = present.filter(|one| self.is_writing(*one, now)).collect();
        self.decided.waiting.extend(waiting);
        self.decided.left += pace.untold(now);
    }

    /// Whether a batch of a terminal is under way, or was until this turn.
    fn is_writing(&self, connection: ConnectionKey, now: Instant) -> bool {
        self.writing.contains(&connection) || self.written.get(&connection) == Some(&now)
    }

    /// Whether the end of a terminal can have been decided in a spread that is over: its frames are all
    /// written in this very turn.
    fn was_decided(&mut self, connection: ConnectionKey, now: Instant) -> bool {
        let waited = self.decided.waiting.remove(&connection);
        let can = waited && self.decided.left > 0 && self.is_writing(connection, now);
        self.decided.left -= usize::from(can);
        can
    }

    /// Counts those who are there when the first one may be told.
    fn count(&mut self, now: Instant) {
        let present = self.present.len();
        if let Some(pace) = self.pace().filter(|pace| now >= pace.from) {
            pace.total.get_or_insert(present);
        }
    }

    fn give(
        &mut self,
        watch: &mut Watch<'_>,
        host: usize,
        output: &Output,
    ) -> Result<(), &'static str> {
        self.count(watch.now());
        match output {
            Output::Close {
                connection,
                code: CloseCode::ServiceRestart,
            } => self.told(watch, *connection),
            Output::Close { connection, .. } | Output::Abort(connection) => {
                self.present.remove(connection);
                Ok(())
            }
            Output::Flush(connection) => {
                if !self.is_writing(*connection, watch.now()) {
                    self.decided.waiting.remove(connection);
                }
                self.writing.insert(*connection);
                Ok(())
            }
            Output::Forget(connection) => {
                self.connections.remove(connection);
                Ok(())
            }
            Output::Drained => self.ended(watch, host),
            Output::Hello { .. }
            | Output::Send(_)
            | Output::Ping(_)
            | Output::Probe(_)
            | Output::Connected(_)
            | Output::Noticed(_)
            | Output::Disconnected(_)
            | Output::Trip(_)
            | Output::DirectoryReset
            | Output::Dial { .. }
            | Output::LinkWrite { .. }
            | Output::LinkProven(_)
            | Output::LinkClose(_)
            | Output::Answer { .. }
            | Output::Log
            | Output::Hear => Ok(()),
        }
    }

    /// A terminal is told to go elsewhere.
    fn told(
        &mut self,
        watch: &mut Watch<'_>,
        connection: ConnectionKey,
    ) -> Result<(), &'static str> {
        let now = watch.now();
        self.present.remove(&connection);
        let is_turned_away = self.named == Some((connection, now));
        if is_turned_away || self.was_decided(connection, now) {
            watch.held();
            return Ok(());
        }
        let Some(pace) = self.pace() else {
            return Err("sends a terminal away and does not drain");
        };
        let Some(total) = pace.total else {
            return Err("sends a terminal away before the delay is over");
        };
        pace.told += 1;
        watch.held();
        match pace.told > total - pace.left(total, now).min(total) {
            true => Err("sends terminals away too fast"),
            false => Ok(()),
        }
    }

    /// Whether enough were told by now.
    fn look(&mut self, watch: &mut Watch<'_>, host: usize) -> Result<(), &'static str> {
        let now = watch.now();
        self.count(now);
        let here = self.present.difference(&self.writing).count();
        let is_ordered = self.ordered.is_some();
        let Some(pace) = self.pace().copied() else {
            return Ok(());
        };
        let Some(total) = pace.total else {
            return Ok(());
        };
        // The step before the last one is over in any case.
        let step = now.before(Config::DRAIN_STEP + SLACK * 2);
        let behind = here > pace.left(total, step);
        // What is due while it stands still it does when it goes on.
        if behind && !stood_still(watch, host, step, now) {
            return Err("sends terminals away too slowly");
        }
        if is_ordered && is_late(watch, host, pace.over(watch, host)) {
            return Err("does not end");
        }
        watch.held();
        Ok(())
    }

    /// The instance has ended.
    fn ended(&self, watch: &mut Watch<'_>, host: usize) -> Result<(), &'static str> {
        let config = watch.scene().config();
        let now = watch.now();
        let Some(pace) = &self.ordered else {
            return Err("ends unasked");
        };
        if now < pace.from {
            return Err("ends before the delay is over");
        }
        if !self.connections.is_empty() && now < pace.ends() + patience(config) {
            return Err("ends too soon: connections are left");
        }
        if is_late(watch, host, pace.over(watch, host)) {
            return Err("ends too late");
        }
        watch.held();
        Ok(())
    }
}
