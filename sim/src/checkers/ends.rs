//! `ends`: whatever begins ends, once.

use std::collections::BTreeMap;

use switchboard_core::command::TripKind;
use switchboard_core::config::Config;
use switchboard_core::id::{CallId, ConnectionKey, LinkKey, OpId};
use switchboard_core::time::Instant;

use super::lateness::{SLACK, is_late, running};
use crate::boundary::{CallKind, Intake, Output};
use crate::checker::{Checker, Watch};
use crate::observed::{Life, Observed, Quiescence, Topic};

/// Round trips for a list of connections, at most: one for the rows, perhaps behind another, and one for a view
/// that judges them.
const ROUND_TRIPS: u32 = 3;

/// Each call is answered once, in time and in kind; each connection is forgotten once, when its socket has
/// ended, and its application was told of its beginning and its end or of neither; each link is closed once;
/// each round trip is asked once; nothing is said of what has ended; and an instance that ends has answered
/// all calls and closed all links.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// What has begun and has not ended, of the present life of each process.
    open: BTreeMap<usize, Begun>,
}

/// What has begun at an instance and has not ended.
#[derive(Clone, Debug, Default)]
struct Begun {
    calls: BTreeMap<CallId, (CallKind, Instant)>,
    connections: BTreeMap<ConnectionKey, BegunConnection>,
    links: BTreeMap<LinkKey, BegunLink>,
    trips: BTreeMap<OpId, (Instant, TripKind)>,
    last_trip: Option<OpId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct BegunConnection {
    /// A batch is with the driver.
    flushed: bool,
    /// The driver looks for signs of life.
    probed: bool,
    /// It was told to end.
    closing: bool,
    aborted: bool,
    connected: bool,
    disconnected: bool,
    /// Its socket has ended then.
    closed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct BegunLink {
    writing: bool,
    proven: bool,
    /// The instance has learnt then that it is gone.
    down: Option<Instant>,
}

impl Checker for Ends {
    fn name(&self) -> &'static str {
        "ends"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Boundary, Topic::Lives, Topic::Time]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Started(life) => {
                self.open.insert(life.host, Begun::default());
            }
            Observed::Gone(life) => {
                self.open.remove(&life.host);
            }
            Observed::Took { life, intake } => {
                if let Some(begun) = self.open.get_mut(&life.host) {
                    begun.take_in(watch, *life, *intake);
                }
            }
            Observed::Gave { life, output } => {
                if let Some(begun) = self.open.get_mut(&life.host) {
                    match begun.give(watch, *life, output) {
                        Ok(()) => {}
                        Err(what) => {
                            watch.violated(format!("i{} {what}: {output:?}", life.host + 1))
                        }
                    }
                }
            }
            Observed::Tick => self.look(watch),
            _ => {}
        }
    }

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        self.look(watch);
        if quiescence == Quiescence::Converged {
            return;
        }
        for (host, begun) in &self.open {
            let left = begun.connections.len();
            if left > 0 || !begun.calls.is_empty() {
                let calls = &begun.calls;
                watch.violated(format!(
                    "i{}: {left} connections and {calls:?} have not ended",
                    host + 1
                ));
            }
        }
    }
}

impl Ends {
    /// Calls that should have been answered.
    fn look(&self, watch: &mut Watch<'_>) {
        for (host, begun) in &self.open {
            let late = (begun.calls.iter())
                .find(|(_, (kind, at))| is_answer_late(watch, *host, *kind, *at));
            if let Some((call, (kind, _))) = late {
                watch.violated(format!("i{} has not answered {call:?}, {kind:?}", host + 1));
            }
        }
    }
}

/// Whether it is too late for the answer to a call that was taken at a moment.
fn is_answer_late(watch: &Watch<'_>, host: usize, kind: CallKind, at: Instant) -> bool {
    let trip = watch.scene().config().directory_timeout + SLACK;
    match kind {
        CallKind::Push(deadline) => is_late(watch, host, at + deadline),
        CallKind::Connections | CallKind::Log if watch.now() <= at + trip * ROUND_TRIPS => false,
        // An instance that stands still takes each answer as soon as it goes on, and then asks for the next.
        CallKind::Connections | CallKind::Log => {
            let answered = |asked: Instant, _| running(watch, host, asked + trip);
            is_late(watch, host, (0..ROUND_TRIPS).fold(at, answered))
        }
        CallKind::Instances => is_late(watch, host, at),
        CallKind::Relay => is_late(watch, host, at + Config::RELAY_DEADLINE),
    }
}

impl Begun {
    fn take_in(&mut self, watch: &mut Watch<'_>, life: Life, intake: Intake) {
        let now = watch.now();
        match intake {
            Intake::Accepted { connection, .. } => {
                let begun = BegunConnection::default();
                if self.connections.insert(connection, begun).is_some() {
                    let host = life.host + 1;
                    watch.violated(format!("i{host} accepts {connection:?} once more"));
                }
            }
            Intake::LinkAccepted(link) => self.begin_link(watch, life, link),
            Intake::Written(connection) => {
                if let Some(begun) = self.connections.get_mut(&connection) {
                    begun.flushed = false;
                }
            }
            Intake::Probed { connection, .. } => {
                if let Some(begun) = self.connections.get_mut(&connection) {
                    begun.probed = false;
                }
            }
            Intake::Closed(connection) => {
                if let Some(begun) = self.connections.get_mut(&connection) {
                    begun.closed.get_or_insert(now);
                }
            }
            Intake::DirectoryUp | Intake::DirectoryDown => self.trips.clear(),
            Intake::TripAnswered { op, in_time, .. } => {
                let open = self.trips.remove(&op).is_some();
                if in_time && !open {
                    let host = life.host + 1;
                    watch.violated(format!(
                        "i{host} takes an answer to {op:?}, which has ended"
                    ));
                }
            }
            Intake::LinkWritten(link) => {
                if let Some(begun) = self.links.get_mut(&link) {
                    begun.writing = false;
                }
            }
            Intake::LinkDown { link, .. } => {
                if let Some(begun) = self.links.get_mut(&link) {
                    begun.down = Some(now);
                }
            }
            Intake::Call { call, kind } => {
                self.calls.insert(call, (kind, now));
            }
            Intake::Opened(_)
            | Intake::Authenticated { .. }
            | Intake::Refreshed { .. }
            | Intake::Relayed
            | Intake::Heard(_)
            | Intake::LinkUp(_)
            | Intake::LinkReceived { .. }
            | Intake::Drain { .. } => {}
        }
    }

    fn begin_link(&mut self, watch: &mut Watch<'_>, life: Life, link: LinkKey) {
        let former = self.links.insert(link, BegunLink::default());
        if former.is_some_and(|former| former.down.is_none()) {
            let host = life.host + 1;
            watch.violated(format!("i{host} begins {link:?} once more"));
        }
    }

    /// What an instance wants done must concern something that has begun and not ended.
    fn give(
        &mut self,
        watch: &mut Watch<'_>,
        life: Life,
        output: &Output,
    ) -> Result<(), &'static str> {
        match output {
            Output::Hello { connection, .. }
            | Output::Send(connection)
            | Output::Flush(connection)
            | Output::Ping(connection)
            | Output::Probe(connection)
            | Output::Close { connection, .. }
            | Output::Abort(connection)
            | Output::Connected(connection)
            | Output::Noticed(connection)
            | Output::Disconnected(connection) => {
                let begun = self.connections.get_mut(connection);
                let begun = begun.ok_or("speaks of a connection that is not there")?;
                begun.give(watch, output)
            }
            Output::Forget(connection) => {
                let begun = self.connections.remove(connection);
                let begun = begun.ok_or("forgets a connection that is not there")?;
                watch.held();
                match begun {
                    BegunConnection { closed: None, .. } => {
                        Err("forgets a connection whose socket has not ended")
                    }
                    BegunConnection {
                        connected: true,
                        disconnected: false,
                        ..
                    } => Err("has not said that a terminal is gone"),
                    BegunConnection { .. } => Ok(()),
                }
            }
            Output::Trip(trip) => self.ask(watch, trip.op, trip.kind),
            Output::Dial { link, .. } => {
                self.begin_link(watch, life, *link);
                Ok(())
            }
            Output::LinkWrite { link, .. } => {
                let begun = self.link(*link, watch.now())?;
                match std::mem::replace(&mut begun.writing, true) {
                    false => Ok(()),
                    true => Err("writes a batch before the one before it is written"),
                }
            }
            Output::LinkProven(link) => {
                let begun = self.link(*link, watch.now())?;
                match std::mem::replace(&mut begun.proven, true) {
                    false => Ok(()),
                    true => Err("proves a link once more"),
                }
            }
            Output::LinkClose(link) => {
                self.link(*link, watch.now())?;
                self.links.remove(link);
                watch.held();
                Ok(())
            }
            Output::Answer { call, kind } => self.answer(watch, life, *call, *kind),
            Output::Drained => match self {
                Self { calls, .. } if !calls.is_empty() => Err("ends with calls unanswered"),
                Self { links, .. } if links.values().any(|link| link.down.is_none()) => {
                    Err("ends with links open")
                }
                Self { .. } => Ok(()),
            },
            // What waits for a replica is given up with the link, and the next one may ask.
            Output::DirectoryReset => {
                self.trips.retain(|_, (_, kind)| *kind == TripKind::Ordered);
                Ok(())
            }
            Output::Log | Output::Hear => Ok(()),
        }
    }

    /// A link that has not ended, or has ended in this turn.
    fn link(&mut self, link: LinkKey, now: Instant) -> Result<&mut BegunLink, &'static str> {
        match self.links.get_mut(&link) {
            Some(begun) if begun.down.is_none_or(|down| down == now) => Ok(begun),
            Some(_) | None => Err("speaks of a link that is not there"),
        }
    }

    fn ask(&mut self, watch: &mut Watch<'_>, op: OpId, kind: TripKind) -> Result<(), &'static str> {
        let now = watch.now();
        if self.last_trip.is_some_and(|last| last >= op) {
            return Err("asks under a number that it had used");
        }
        self.last_trip = Some(op);
        // Those that were given up need no answer.
        let given_up = now.before(watch.scene().config().directory_timeout);
        self.trips.retain(|_, (asked, _)| *asked > given_up);
        self.trips.insert(op, (now, kind));
        let under_way = self.trips.values().filter(|(_, other)| *other == kind);
        let most = match kind {
            TripKind::Ordered => Config::TRIPS_IN_FLIGHT,
            TripKind::ForReplica => 1,
        };
        match under_way.count() > most {
            true => Err("has too many round trips under way"),
            false => Ok(()),
        }
    }

    fn answer(
        &mut self,
        watch: &mut Watch<'_>,
        life: Life,
        call: CallId,
        kind: CallKind,
    ) -> Result<(), &'static str> {
        let (asked, at) = self.calls.remove(&call).ok_or("answers what nobody asks")?;
        if std::mem::discriminant(&asked) != std::mem::discriminant(&kind) {
            return Err("answers in another kind");
        }
        if is_answer_late(watch, life.host, asked, at) {
            return Err("answers too late");
        }
        watch.held();
        Ok(())
    }
}

impl BegunConnection {
    fn give(&mut self, watch: &Watch<'_>, output: &Output) -> Result<(), &'static str> {
        // What was wanted in the turn in which the end came stands before it.
        if self.closed.is_some_and(|closed| closed < watch.now()) {
            return Err("speaks of a connection whose socket has ended");
        }
        let ends = |this: &Self| match this.closing || this.aborted {
            true => Err("says something on a connection that it has told to end"),
            false => Ok(()),
        };
        match output {
            Output::Hello { .. } | Output::Send(_) | Output::Ping(_) => ends(self),
            Output::Flush(_) => {
                ends(self)?;
                match std::mem::replace(&mut self.flushed, true) {
                    false => Ok(()),
                    true => Err("flushes a connection before the flush before is done"),
                }
            }
            Output::Probe(_) => {
                ends(self)?;
                self.probed = true;
                Ok(())
            }
            Output::Close { .. } => {
                ends(self)?;
                self.closing = true;
                Ok(())
            }
            Output::Abort(_) => match std::mem::replace(&mut self.aborted, true) {
                false => Ok(()),
                true => Err("aborts a connection twice"),
            },
            Output::Connected(_) => match std::mem::replace(&mut self.connected, true) {
                false => Ok(()),
                true => Err("says twice that a terminal is there"),
            },
            Output::Noticed(_) => match self.connected && !self.disconnected {
                true => Ok(()),
                false => Err("says of no terminal that it confirms"),
            },
            Output::Disconnected(_) => {
                let twice = std::mem::replace(&mut self.disconnected, true);
                match self.connected && !twice {
                    true => Ok(()),
                    false => Err("says of no terminal that it is gone"),
                }
            }
            Output::Forget(_)
            | Output::Trip(_)
            | Output::DirectoryReset
            | Output::Dial { .. }
            | Output::LinkWrite { .. }
            | Output::LinkProven(_)
            | Output::LinkClose(_)
            | Output::Answer { .. }
            | Output::Log
            | Output::Hear
            | Output::Drained => Ok(()),
        }
    }
}
