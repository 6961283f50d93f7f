//! The way between an instance and the directory.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::command::RoundTrip;
use switchboard_core::directory::redis::Value;
use switchboard_core::directory::{Operation, Outcome};
use switchboard_core::event::Event;
use switchboard_core::id::OpId;
use switchboard_core::time::Instant;

use crate::fingerprint::fingerprint;
use crate::ledger::{FaultKind, Scope};
use crate::noise::Purpose;
use crate::observed::Life;
use crate::queue::{Happening, Input};
use crate::redis::{Connection, ServerId, is_unknown_script, kind};
use crate::schedule::{ErrorReply, OperationKind, TripFault};
use crate::world::World;

/// An instance's end of it.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryLink {
    /// Where it leads, if it is open.
    connection: Option<Connection>,
    /// What will happen to the next round trip that holds such an operation.
    pub(crate) faults: Vec<(OperationKind, TripFault)>,
    /// Until then none can be opened.
    away_until: Instant,
    /// With what writes over it are refused, and until when.
    refused: Option<(ErrorReply, Instant)>,
    number: u32,
    marks: BTreeMap<OpId, (OperationKind, TripFault)>,
    /// Nothing reaches the directory before this moment, nothing comes back before that.
    there: Instant,
    back: Instant,
}

fingerprint!(DirectoryLink {
    connection,
    faults,
    away_until,
    refused,
    number,
    marks,
    there,
    back,
});

impl Default for DirectoryLink {
    fn default() -> Self {
        Self {
            connection: None,
            faults: Vec::new(),
            away_until: Instant::START,
            refused: None,
            number: 0,
            marks: BTreeMap::new(),
            there: Instant::START,
            back: Instant::START,
        }
    }
}

/// The pause before a link is opened again, and as much again of jitter.
const RECONNECT: Duration = Duration::from_millis(100);
/// How long after a link broke its requests may still be executed.
const STRAY: Duration = Duration::from_secs(3);

impl DirectoryLink {
    /// The server that it leads to, if it is open.
    pub(crate) fn server(&self) -> Option<ServerId> {
        self.connection.map(Connection::server)
    }

    /// With what writes over it are refused, and until when.
    pub(crate) fn refused(&self, now: Instant) -> Option<(ErrorReply, Instant)> {
        self.refused.filter(|(_, until)| now < *until)
    }

    /// It is gone, and nobody is told.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }
}

impl World {
    pub(crate) fn open_directory(&mut self, life: Life) {
        if !self.lives(life) || self.processes[life.host].directory.connection.is_some() {
            return;
        }
        if self.processes[life.host].directory.away_until > self.now {
            return self.open_directory_later(life);
        }
        let Some(connection) = self.redis.connect(self.now) else {
            self.redis_refuses();
            return self.open_directory_later(life);
        };
        let scope = Scope::Instance(life.host);
        self.fault_ends(FaultKind::RedisAway, Some(scope));
        let link = &mut self.processes[life.host].directory;
        link.connection = Some(connection);
        link.number += 1;
        link.back = self.now;
        let at = self.arrival(Purpose::Reply, life);
        self.processes[life.host].directory.there = at;
        self.tell(life, at.since(self.now), Event::DirectoryUp);
    }

    fn open_directory_later(&mut self, life: Life) {
        let ids = self.noise_ids(life);
        let wait = RECONNECT + self.noise.span(RECONNECT, Purpose::Reconnect, &ids);
        self.queue
            .put(self.now + wait, Happening::OpenDirectory(life));
    }

    pub(crate) fn break_directory(&mut self, host: usize) {
        let life = self.life(host);
        let link = &mut self.processes[host].directory;
        if link.connection.take().is_none() {
            return;
        }
        self.input(life, Input::Event(Box::new(Event::DirectoryDown)));
        self.open_directory_later(life);
    }

    /// The directory cannot be reached from an instance for a while.
    pub(crate) fn directory_away(&mut self, host: usize, span: Duration) {
        if !self.lives(self.life(host)) {
            return;
        }
        let link = &mut self.processes[host].directory;
        link.away_until = link.away_until.max(self.now + span);
        let scope = Scope::Instance(host);
        self.fault_ends(FaultKind::RedisAway, Some(scope));
        self.fault_opens(FaultKind::RedisAway, scope);
        self.break_directory(host);
    }

    /// The directory refuses the writes of an instance for a while. It is a fault when one is refused.
    pub(crate) fn refuse_writes_of(&mut self, host: usize, error: ErrorReply, span: Duration) {
        self.fault_ends(FaultKind::RedisRefuses, Some(Scope::Instance(host)));
        self.processes[host].directory.refused = Some((error, self.now + span));
    }

    /// It can be reached from everywhere, and refuses nobody.
    pub(crate) fn directory_back(&mut self) {
        for process in &mut self.processes {
            process.directory.refused = None;
            process.directory.away_until = self.now;
        }
    }

    pub(crate) fn send_trip(&mut self, life: Life, trip: Box<RoundTrip>) {
        let link = &mut self.processes[life.host].directory;
        let Some(connection) = link.connection else {
            // The instance will be told that the link is gone, or has been.
            return;
        };
        let there = link.there;
        let mut at = self.arrival(Purpose::Request, life).max(there);
        let link = &mut self.processes[life.host].directory;
        let number = link.number;
        let planned = link.faults.iter().position(|(wanted, _)| {
            *wanted == OperationKind::Any
                || (trip.operations.iter()).any(|operation| kind(operation) == *wanted)
        });
        let planned = planned.map(|index| link.faults.remove(index));
        let fault = planned.map(|(_, fault)| fault);
        if let Some(mark) = planned {
            link.marks.insert(trip.op, mark);
            let scope = Scope::Instance(life.host);
            self.fault(FaultKind::RedisTrip, scope, self.now + STRAY);
        }
        match fault {
            None
            | Some(
                TripFault::ReplyLost
                | TripFault::ReplyLate
                | TripFault::Torn
                | TripFault::Refused(_),
            ) => {}
            Some(TripFault::RequestLost) => return,
            Some(TripFault::Late) => at = at + self.given_up(),
            Some(TripFault::Stray) => {
                let ids = self.noise_ids(life);
                at = self.now + self.noise.span(STRAY, Purpose::Stray, &ids);
                self.break_directory(life.host);
            }
        }
        if fault != Some(TripFault::Stray) {
            self.processes[life.host].directory.there = at;
        }
        self.queue.put(
            at,
            Happening::Request {
                life,
                link: number,
                connection,
                trip,
            },
        );
    }

    /// A time after which an instance has given a round trip up.
    fn given_up(&self) -> Duration {
        self.config.directory_timeout * 3 / 2
    }

    /// A round trip reaches the directory.
    pub(crate) fn request(
        &mut self,
        life: Life,
        number: u32,
        connection: Connection,
        trip: &RoundTrip,
    ) {
        let lives = self.lives(life);
        let link = &mut self.processes[life.host].directory;
        let mark = if lives {
            link.marks.remove(&trip.op)
        } else {
            None
        };
        let fault = mark.map(|(_, fault)| fault);
        let present = lives && link.connection == Some(connection) && link.number == number;
        let stray = fault == Some(TripFault::Stray);
        // What a process sent before it ended is executed all the same.
        if lives && !present && !stray {
            return;
        }
        let connection = if stray && !self.redis.answers(connection) {
            self.redis.at_primary()
        } else {
            connection
        };
        let mut count = trip.operations.len();
        if fault == Some(TripFault::Torn) {
            let ids = self.noise_ids(life);
            count = self.noise.below(count as u64, Purpose::Tear, &ids) as usize;
        }
        let operations = &trip.operations[..count];
        let Some(outcomes) = self.execute_all(life, connection, operations, mark) else {
            return;
        };
        let late = match fault {
            Some(TripFault::Torn) => return self.break_directory(life.host),
            Some(TripFault::ReplyLost | TripFault::Stray) => return,
            Some(TripFault::ReplyLate) => self.given_up(),
            Some(TripFault::RequestLost | TripFault::Late | TripFault::Refused(_)) | None => {
                Duration::ZERO
            }
        };
        if present {
            self.send_reply(life, number, trip.op, outcomes, late);
        }
    }

    /// Executes the operations of a round trip, but for those that its fault refuses. `None` if there
    /// is nobody to execute them.
    fn execute_all(
        &mut self,
        life: Life,
        connection: Connection,
        operations: &[Operation],
        mark: Option<(OperationKind, TripFault)>,
    ) -> Option<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            let outcome = match mark {
                Some((wanted, TripFault::Refused(error)))
                    if wanted == OperationKind::Any || wanted == kind(operation) =>
                {
                    operation.decode(Value::Error(error.text().to_owned()))
                }
                Some(_) | None => self.execute_operation(life, connection, operation)?,
            };
            self.moment_of_operation(life, operation, &outcome);
            outcomes.push(outcome);
        }
        Some(outcomes)
    }

    /// The answer to a round trip goes back, so much later than it could.
    fn send_reply(
        &mut self,
        life: Life,
        link: u32,
        op: OpId,
        outcomes: Vec<Outcome>,
        late: Duration,
    ) {
        let at = self.arrival(Purpose::Reply, life);
        let back = &mut self.processes[life.host].directory.back;
        *back = (at + late).max(*back);
        let reply = Happening::Reply {
            life,
            link,
            op,
            outcomes,
        };
        self.queue.put(*back, reply);
    }

    pub(crate) fn reply(&mut self, life: Life, number: u32, op: OpId, outcomes: Vec<Outcome>) {
        let link = &self.processes[life.host].directory;
        if !self.lives(life) || link.connection.is_none() || link.number != number {
            return;
        }
        if outcomes.iter().any(is_unknown_script) {
            // A new link loads the scripts. Sent again over this one, what was not executed would
            // run after what came behind it.
            return self.break_directory(life.host);
        }
        let outcomes = Ok(outcomes);
        self.input(
            life,
            Input::Event(Box::new(Event::Directory { op, outcomes })),
        );
    }

    /// When that arrives which is sent to the directory now, or from it.
    fn arrival(&self, purpose: Purpose, life: Life) -> Instant {
        let ids = [life.host as u64, life.number.into()];
        self.redis_latency
            .arrival(self.noise, self.now, purpose, &ids)
    }

    /// What noise of one instance at this moment is keyed with.
    fn noise_ids(&self, life: Life) -> [u64; 3] {
        [life.host as u64, life.number.into(), self.now.as_nanos()]
    }
}
