//! `terminal-times`: what an instance does to a terminal it does neither too soon nor too late.

use std::collections::BTreeMap;

use switchboard_core::command::Log;
use switchboard_core::frame::CloseCode;
use switchboard_core::id::ConnectionKey;
use switchboard_core::time::Instant;

use super::lateness::is_late;
use crate::boundary::{Intake, Output};
use crate::checker::{Checker, Watch};
use crate::observed::{Life, Observed, Quiescence, Topic};

/// A handshake, a hello, a ping, the patience after it, a token and a closing handshake last as long as the
/// settings say, and no longer.
#[derive(Clone, Debug, Default)]
pub struct TerminalTimes {
    connections: BTreeMap<(usize, ConnectionKey), Timed>,
    /// The instances that tell terminals to end for reasons of their own.
    leaving: Vec<usize>,
}

/// A connection, and since when it is what it is.
#[derive(Clone, Copy, Debug)]
struct Timed {
    stage: TimedStage,
    /// When its token expires.
    expires: Option<Instant>,
    /// A token has expired, and the next one came then: its end may have begun, and its Close frame waits for a batch.
    may_end: bool,
    /// Since when batches have been with the driver, one after the other.
    busy: Instant,
    /// When the last batch that is written was written.
    written: Instant,
    /// A batch is with the driver.
    writing: bool,
    /// Its handshake has said who it is.
    known: bool,
}

#[derive(Clone, Copy, Debug)]
enum TimedStage {
    /// It was accepted.
    Accepted { at: Instant },
    /// It was opened, and has not said who it is.
    Stranger { at: Instant },
    /// It was opened, and is not greeted.
    Opened { at: Instant, signs: Signs },
    /// It is greeted.
    Greeted { signs: Signs },
    /// It was told to end then. That may have been decided earlier, but not before the other moment.
    Closing { at: Instant, since: Instant },
    /// It was given up, or its socket has ended.
    Ended,
}

/// Signs of life of a terminal.
#[derive(Clone, Copy, Debug)]
struct Signs {
    /// The last ping, or the beginning.
    pinged: Instant,
    /// When the last frame came.
    heard: Instant,
    /// When its patience began: at the ping, or at the last sign of life beside frames.
    since: Instant,
    /// The driver was asked for such signs then, and has not answered.
    probed: bool,
    /// No ping was sent yet.
    begun: bool,
}

impl Signs {
    const fn begin(now: Instant) -> Self {
        Self {
            pinged: now,
            heard: now,
            since: now,
            probed: false,
            begun: true,
        }
    }

    /// Whether nothing has come since the last ping.
    fn awaited(&self) -> bool {
        self.heard < self.pinged
    }
}

impl Checker for TerminalTimes {
    fn name(&self) -> &'static str {
        "terminal-times"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Boundary, Topic::Lives, Topic::Time, Topic::Log]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Started(life) | Observed::Gone(life) => self.forget_host(life.host),
            Observed::Took { life, intake } => self.take_in(watch, *life, *intake),
            Observed::Gave { life, output } => self.give(watch, *life, output),
            Observed::Logged { life, log } => match **log {
                Log::Isolated => self.leaving.push(life.host),
                Log::Rejoined => self.leaving.retain(|host| *host != life.host),
                _ => {}
            },
            Observed::Tick => self.look(watch),
            _ => {}
        }
    }

    fn at_quiescence(&mut self, _: Quiescence, watch: &mut Watch<'_>) {
        self.look(watch);
    }
}

impl TerminalTimes {
    fn forget_host(&mut self, host: usize) {
        self.connections.retain(|(of, _), _| *of != host);
        self.leaving.retain(|of| *of != host);
    }

    fn take_in(&mut self, watch: &mut Watch<'_>, life: Life, intake: Intake) {
        let now = watch.now();
        let (host, connection) = match intake {
            Intake::Accepted {
                connection,
                expires,
                known,
            } => {
                let timed = Timed {
                    known,
                    stage: TimedStage::Accepted { at: now },
                    expires,
                    may_end: false,
                    busy: Instant::START,
                    written: Instant::START,
                    writing: false,
                };
                self.connections.insert((life.host, connection), timed);
                return;
            }
            Intake::Drain { .. } => return self.leaving.push(life.host),
            Intake::Opened(connection)
            | Intake::Authenticated { connection, .. }
            | Intake::Refreshed { connection, .. }
            | Intake::Heard(connection)
            | Intake::Written(connection)
            | Intake::Closed(connection)
            | Intake::Probed { connection, .. } => (life.host, connection),
            Intake::LinkAccepted(_)
            | Intake::DirectoryUp
            | Intake::DirectoryDown
            | Intake::TripAnswered { .. }
            | Intake::LinkUp(_)
            | Intake::LinkReceived { .. }
            | Intake::LinkWritten(_)
            | Intake::LinkDown { .. }
            | Intake::Relayed
            | Intake::Call { .. } => return,
        };
        let Some(timed) = self.connections.get_mut(&(host, connection)) else {
            return;
        };
        let late = match timed.stage {
            // What is due as soon as it opens is done at the end of that turn.
            TimedStage::Opened { at, .. } if at == now => None,
            _ => timed.is_overdue(watch, host),
        };
        match intake {
            Intake::Opened(_) => {
                if let TimedStage::Accepted { .. } = timed.stage {
                    let signs = Signs::begin(now);
                    timed.stage = match timed.known {
                        true => TimedStage::Opened { at: now, signs },
                        false => TimedStage::Stranger { at: now },
                    };
                }
            }
            Intake::Authenticated { expires, .. } => {
                if let TimedStage::Stranger { .. } = timed.stage {
                    timed.expires = expires;
                    let signs = Signs::begin(now);
                    timed.stage = TimedStage::Opened { at: now, signs };
                }
            }
            Intake::Refreshed { expires, .. } => {
                let expired = timed.expires.is_some_and(|before| before <= now);
                timed.may_end |= timed.writing && expired;
                timed.expires = expires;
            }
            Intake::Relayed => {}
            Intake::Heard(_) => {
                if let Some(signs) = timed.signs() {
                    signs.heard = now;
                }
            }
            Intake::Written(_) => (timed.written, timed.writing) = (now, false),
            Intake::Probed { shown, .. } => {
                let signs = timed.signs().filter(|signs| signs.probed);
                if let Some(signs) = signs.filter(|signs| shown || !signs.awaited()) {
                    (signs.probed, signs.since) = (false, now);
                }
            }
            _ => timed.stage = TimedStage::Ended,
        }
        if let Some(what) = late {
            watch.violated(format!("i{} {what} {connection:?}", host + 1));
        }
    }

    fn give(&mut self, watch: &mut Watch<'_>, life: Life, output: &Output) {
        let connection = match output {
            Output::Forget(connection) => {
                self.connections.remove(&(life.host, *connection));
                return;
            }
            Output::Hello { connection, .. }
            | Output::Flush(connection)
            | Output::Ping(connection)
            | Output::Probe(connection)
            | Output::Close { connection, .. }
            | Output::Abort(connection) => *connection,
            Output::Send(_)
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
            | Output::Hear
            | Output::Drained => return,
        };
        let leaving = self.leaving.contains(&life.host);
        let Some(timed) = self.connections.get_mut(&(life.host, connection)) else {
            return;
        };
        if let TimedStage::Ended = timed.stage {
            // What was wanted in the turn in which its end came.
            return;
        }
        let judged = match output {
            Output::Hello { degraded, .. } => timed.greet(watch, *degraded),
            Output::Ping(_) => timed.ping(watch),
            Output::Probe(_) => timed.probe(watch),
            Output::Close { code, .. } => timed.close(watch, *code),
            Output::Abort(_) => timed.abort(watch, leaving),
            _ => {
                // What was written just now may have been in the way of this batch.
                if timed.written != watch.now() {
                    timed.busy = watch.now();
                }
                timed.writing = true;
                return;
            }
        };
        let late = match output {
            // What was to be done before it stands before it.
            Output::Close { .. } | Output::Abort(_) => None,
            _ => timed.is_overdue(watch, life.host),
        };
        match judged.err().or(late) {
            None => watch.held(),
            Some(what) => watch.violated(format!("i{} {what}: {output:?}", life.host + 1)),
        }
    }

    /// What is overdue and has not come.
    fn look(&self, watch: &mut Watch<'_>) {
        for ((host, connection), timed) in &self.connections {
            if let Some(what) = timed.is_overdue(watch, *host) {
                watch.violated(format!("i{} {what} {connection:?}", host + 1));
                return;
            }
        }
    }
}

type InTime = Result<(), &'static str>;

/// An instance must not do something before a moment.
fn no_sooner(watch: &Watch<'_>, than: Instant, what: &'static str) -> InTime {
    match watch.now() < than {
        true => Err(what),
        false => Ok(()),
    }
}

impl Timed {
    const fn signs(&mut self) -> Option<&mut Signs> {
        match &mut self.stage {
            TimedStage::Opened { signs, .. } | TimedStage::Greeted { signs } => Some(signs),
            TimedStage::Accepted { .. }
            | TimedStage::Stranger { .. }
            | TimedStage::Closing { .. }
            | TimedStage::Ended => None,
        }
    }

    /// What its instance should have done by now and has not.
    fn is_overdue(&self, watch: &Watch<'_>, host: usize) -> Option<&'static str> {
        let config = watch.scene().config();
        let due = |at: Instant, what: &'static str| is_late(watch, host, at).then_some(what);
        let alive = |signs: &Signs| {
            // It may be told to end, behind what is being written, or was until this turn.
            if self.writing || self.written == watch.now() {
                return None;
            }
            let expired = self
                .expires
                .and_then(|at| due(at, "keeps after its token has run out"));
            expired.or_else(|| {
                if signs.begun {
                    let at = signs.pinged + config.ping_interval;
                    return due(at, "does not ping for the first time");
                }
                let patience = signs.since + config.ping_timeout;
                if signs.awaited() {
                    return due(patience, "waits too long for a sign of life of");
                }
                let next = signs.pinged + config.ping_interval;
                due(next.max(patience), "does not ping in time")
            })
        };
        match &self.stage {
            TimedStage::Accepted { at } => {
                let until = *at + config.handshake_timeout;
                due(until, "waits too long for the handshake of")
            }
            TimedStage::Stranger { at } => {
                let until = *at + config.authentication_timeout;
                due(until, "waits too long for the name of")
            }
            TimedStage::Opened { at, signs } => {
                let greeted = due(*at + config.hello_grace, "does not greet in time");
                greeted.or_else(|| alive(signs))
            }
            TimedStage::Greeted { signs } => alive(signs),
            TimedStage::Closing { at, .. } => {
                due(*at + config.close_timeout, "waits too long for the end of")
            }
            TimedStage::Ended => None,
        }
    }

    fn greet(&mut self, watch: &Watch<'_>, degraded: bool) -> InTime {
        let TimedStage::Opened { at, signs } = self.stage else {
            return Err("greets what is not open");
        };
        self.stage = TimedStage::Greeted { signs };
        match degraded {
            true => {
                let grace = at + watch.scene().config().hello_grace;
                no_sooner(watch, grace, "greets as degraded before its time")
            }
            false => Ok(()),
        }
    }

    fn ping(&mut self, watch: &Watch<'_>) -> InTime {
        let config = watch.scene().config();
        let now = watch.now();
        let Some(signs) = self.signs() else {
            return Err("pings what is not open");
        };
        // An instance that stood still as well pings once more instead of giving up.
        let again = signs.awaited() && now >= signs.since + config.ping_timeout * 2;
        let from = signs.pinged + config.ping_interval * 3 / 4;
        *signs = Signs {
            heard: signs.heard,
            begun: false,
            ..Signs::begin(now)
        };
        match again {
            true => Ok(()),
            false => no_sooner(watch, from, "pings before its time"),
        }
    }

    fn probe(&mut self, watch: &Watch<'_>) -> InTime {
        let timeout = watch.scene().config().ping_timeout;
        let now = watch.now();
        let Some(signs) = self.signs() else {
            return Err("looks for life in what is not open");
        };
        let due = signs.since + timeout;
        (signs.since, signs.probed) = (now, true);
        no_sooner(watch, due, "looks for signs of life before its time")
    }

    fn close(&mut self, watch: &Watch<'_>, code: CloseCode) -> InTime {
        let timeout = watch.scene().config().ping_timeout;
        let judged = match (code, self.expires) {
            (CloseCode::TokenExpired, _)
                if self.may_end && (self.writing || self.written == watch.now()) =>
            {
                Ok(())
            }
            (CloseCode::TokenExpired, Some(expires)) => {
                no_sooner(watch, expires, "ends a terminal before its token")
            }
            (CloseCode::NotAuthenticated, _) => match self.stage {
                TimedStage::Stranger { at } => {
                    let until = at + watch.scene().config().authentication_timeout;
                    no_sooner(watch, until, "gives up a stranger too soon")
                }
                _ => Err("asks who it is of a terminal that it knows"),
            },
            (CloseCode::TokenExpired, None) => Err("ends a terminal whose token never expires"),
            (CloseCode::PingTimeout, _) => match self.signs() {
                Some(signs) if signs.probed => no_sooner(
                    watch,
                    signs.pinged + timeout,
                    "gives up a terminal too soon",
                ),
                Some(_) | None => Err("gives up a terminal that it did not look for"),
            },
            (
                CloseCode::ProtocolError
                | CloseCode::InvalidPayload
                | CloseCode::TooLarge
                | CloseCode::ServiceRestart
                | CloseCode::Kicked
                | CloseCode::SlowConsumer
                | CloseCode::TooManyConnections
                | CloseCode::InvalidToken
                | CloseCode::Forbidden
                | CloseCode::PositionLost,
                _,
            ) => Ok(()),
        };
        let at = watch.now();
        // If the batch before was written just now, that may have been decided while it was under way.
        let since = if self.written == at { self.busy } else { at };
        self.stage = TimedStage::Closing { at, since };
        judged
    }

    fn abort(&mut self, watch: &Watch<'_>, leaving: bool) -> InTime {
        let config = watch.scene().config();
        let judged = match self.stage {
            TimedStage::Accepted { at } => match leaving {
                true => Ok(()),
                false => no_sooner(
                    watch,
                    at + config.handshake_timeout,
                    "gives up a handshake too soon",
                ),
            },
            TimedStage::Closing { since, .. } => {
                let until = since + config.close_timeout;
                no_sooner(watch, until, "gives up an end too soon")
            }
            // Frames before the Close frame are stuck.
            TimedStage::Stranger { .. }
            | TimedStage::Opened { .. }
            | TimedStage::Greeted { .. }
                if self.writing || self.written == watch.now() =>
            {
                let until = self.busy + config.close_timeout;
                no_sooner(watch, until, "gives up an end too soon")
            }
            TimedStage::Stranger { .. }
            | TimedStage::Opened { .. }
            | TimedStage::Greeted { .. } => Err("drops what it has not told to end"),
            TimedStage::Ended => Ok(()),
        };
        self.stage = TimedStage::Ended;
        judged
    }
}
