//! The model and the server, which are told the same.

use std::time::Duration;

use switchboard_core::directory::{Operation, OperationError, OperationResult};
use switchboard_core::time::Instant;
use switchboard_sim::redis::{Connection, Former, Redis};
use switchboard_sim::schedule::{ClockStep, ErrorReply};
use switchboard_test_redis::any::Told;
use switchboard_test_redis::{Wire, any, same};

use crate::real::{Real, outcome, settings};
use crate::step::{FormerPrimary, LINKS, Step, Torn, Trip};

/// Late enough that no clock jumps back beyond its start.
const BEGIN: Instant = Instant::from_nanos(1 << 62);

/// The time between two operations: what was done before a moment is told from what came after it.
const MOMENT: Duration = Duration::from_micros(1);

pub(crate) struct Both {
    model: Redis,
    real: Real,
    told: Told,
    now: Instant,
    links: [Option<Link>; LINKS],
    held: Vec<(Link, Vec<Operation>)>,
    state: State,
}

/// A directory link, on both sides.
struct Link {
    model: Connection,
    wire: Wire,
}

/// A sequence that fails leaves the server in any state.
#[derive(PartialEq, Eq)]
enum State {
    Clean,
    InUse,
}

impl Both {
    pub(crate) fn start() -> Self {
        Self {
            model: Redis::new(settings()),
            real: Real::start(),
            told: Told::default(),
            now: BEGIN,
            links: [const { None }; LINKS],
            held: Vec::new(),
            state: State::Clean,
        }
    }

    /// A sequence begins, with empty servers.
    pub(crate) fn begin(&mut self) {
        if self.state == State::InUse {
            *self = Self::start();
        }
        self.state = State::InUse;
        self.links = [const { None }; LINKS];
        self.held.clear();
        self.told = Told::default();
        self.model = Redis::new(settings());
        self.real.wipe();
    }

    pub(crate) fn end(&mut self) {
        self.state = State::Clean;
    }

    pub(crate) fn step(&mut self, step: &Step) {
        self.now = self.now + MOMENT;
        match step {
            Step::Trip(trip) => self.trip(trip),
            Step::Torn { trip, sent, how } => self.tear(trip, *sent, *how),
            Step::Held(trip) => {
                if let Some(link) = self.link(trip.link) {
                    self.held.push((link, trip.operations.clone()));
                }
            }
            Step::Strays => {
                for (mut link, operations) in std::mem::take(&mut self.held) {
                    self.exchange(&mut link, &operations);
                }
            }
            Step::RestartEmpty => {
                self.model.restart_empty(self.now);
                self.real.restart_empty();
            }
            Step::Save => {
                self.model.save(self.now);
                self.real.save();
            }
            Step::Restart => {
                self.model.restart(self.now);
                self.real.restart();
            }
            Step::FlushScripts => {
                self.model.flush_scripts();
                self.real.flush_scripts();
            }
            Step::Refused(error, trips) => self.refuse(*error, trips),
            Step::EvictRows(key) => {
                self.model.evict_rows(self.now, key);
                self.real.evict_rows(key);
            }
            Step::EvictLeases => {
                self.model.evict_leases(self.now);
                self.real.evict_leases();
            }
            Step::Pass(span) => {
                self.now = self.now + *span;
                self.real.pass(*span, Duration::ZERO);
            }
            Step::Clock(step) => {
                self.model.step_clock(self.now, *step);
                match *step {
                    ClockStep::Forward(span) => self.real.pass(span, Duration::ZERO),
                    ClockStep::Back(span) => self.real.pass(Duration::ZERO, span),
                }
            }
            Step::Failover { lost, former } => self.fail_over(lost, former.as_ref()),
        }
    }

    /// Everything that stands on the one side stands on the other.
    pub(crate) fn compare_contents(&mut self) {
        for link in 0..LINKS {
            self.links[link] = None;
        }
        let operations = any::reading_all();
        self.trip(&Trip {
            link: 0,
            operations,
        });
        let clock = self.model.clock(self.now);
        let primary = self.model.primary();
        let name = |key| String::from_utf8(key).expect("users are UTF-8");
        let mut keys: Vec<_> = primary.names(clock).into_iter().map(name).collect();
        keys.sort();
        assert_eq!(keys, self.real.keys(), "the keys of model and server");
    }

    fn trip(&mut self, trip: &Trip) {
        if let Some(mut link) = self.link(trip.link)
            && self.exchange(&mut link, &trip.operations) == Left::Open
        {
            self.links[trip.link] = Some(link);
        }
    }

    /// Takes a link, or opens it. `None` if that is refused.
    fn link(&mut self, link: usize) -> Option<Link> {
        if let Some(link) = self.links[link].take() {
            return Some(link);
        }
        let model = self.model.connect(self.now);
        let wire = self.real.connect();
        assert_eq!(
            model.is_some(),
            wire.is_some(),
            "whether model and server let a link be opened"
        );
        Some(Link {
            model: model?,
            wire: wire?,
        })
    }

    /// Executes a pipeline on both sides and compares.
    fn exchange(&mut self, link: &mut Link, operations: &[Operation]) -> Left {
        let timed = self.timed(operations);
        let operations: Vec<Operation> = timed.iter().map(|(_, wished)| wished.clone()).collect();
        let operations = &operations[..];
        let model = self.execute(link.model, &timed);
        let bytes = self.packed(&timed);
        let sent = link.wire.send(&bytes);
        let real = sent.ok().and_then(|()| answers(link, operations));
        let Some(outcomes) = compare(operations, model, real) else {
            return Left::Broken;
        };
        // As a directory link does: a new one loads the scripts.
        let no_script = |outcome: &OperationResult| match outcome {
            Err(OperationError::Refused(why)) => why == ErrorReply::NoScript.text(),
            Err(OperationError::NotPrimary(_) | OperationError::Malformed(_)) | Ok(_) => false,
        };
        if outcomes.iter().any(no_script) {
            Left::Broken
        } else {
            Left::Open
        }
    }

    /// The moments at which operations are executed, one after the other, and the positions that they
    /// wish for.
    fn timed(&mut self, operations: &[Operation]) -> Vec<(Instant, Operation)> {
        let timed = operations.iter().map(|operation| {
            self.now = self.now + MOMENT;
            (self.now, self.told.resolve(operation))
        });
        timed.collect()
    }

    fn packed(&self, timed: &[(Instant, Operation)]) -> Vec<u8> {
        let by_clock = timed
            .iter()
            .map(|(now, operation)| (self.model.clock(*now), operation));
        self.real.packed(by_clock)
    }

    /// On the model; `None` if nobody is there.
    fn execute(
        &mut self,
        connection: Connection,
        timed: &[(Instant, Operation)],
    ) -> Option<Vec<OperationResult>> {
        let mut outcomes = Vec::with_capacity(timed.len());
        for (now, operation) in timed {
            let outcome = self.model.execute(*now, connection, None, operation)?;
            self.told.learn(&outcome);
            outcomes.push(outcome);
        }
        Some(outcomes)
    }

    fn tear(&mut self, trip: &Trip, sent: usize, how: Torn) {
        let Some(mut link) = self.link(trip.link) else {
            return;
        };
        let client = match how {
            Torn::Closed => None,
            Torn::Killed => match link.wire.ask(redis::cmd("CLIENT").arg("ID")) {
                Ok(redis::Value::Int(client)) => Some(client),
                // It is gone already.
                Ok(_) | Err(_) => return assert!(!self.model.answers(link.model)),
            },
        };
        let timed = self.timed(&trip.operations);
        let (whole, rest) = timed.split_at(sent);
        let model = self.execute(link.model, whole);
        let mut bytes = self.packed(whole);
        let part = self.packed(&rest[..rest.len().min(1)]);
        let whole: Vec<Operation> = whole.iter().map(|(_, wished)| wished.clone()).collect();
        bytes.extend_from_slice(&part[..part.len() / 2]);
        let mut told = link.wire.send(&bytes);
        if client.is_none() {
            told = told.and_then(|()| link.wire.finish());
        }
        let real = told.ok().and_then(|()| answers(&mut link, &whole));
        if let Some(client) = client {
            self.real.kill(client);
        }
        assert!(
            link.wire.answer().is_err(),
            "more was executed than was sent"
        );
        // With nothing executed nobody can tell a server that is gone.
        if !whole.is_empty() {
            compare(&whole, model, real);
        }
    }

    fn refuse(&mut self, error: ErrorReply, trips: &[Trip]) {
        let for_ever = Instant::from_nanos(u64::MAX);
        self.model.refuse(error, for_ever);
        self.real.refuse(error);
        for trip in trips {
            self.trip(trip);
        }
        self.model.heal();
        self.real.serve(error);
    }

    fn fail_over(&mut self, lost: &[Trip], former: Option<&FormerPrimary>) {
        let replica = self.real.replica();
        let cut_off = self.now;
        for trip in lost {
            self.trip(trip);
        }
        let span = self.now.since(cut_off);
        let fate = match former {
            Some(_) => Former::Answers,
            None => Former::Gone,
        };
        let id = self.model.fail_over(self.now, span, fate);
        self.real.fail_over(replica);
        if let Some(former) = former {
            // One notices at once, the others do not.
            self.links[0] = None;
            for trip in &former.meanwhile {
                self.trip(trip);
            }
            self.model.demote(id);
            self.real.demote_former();
            for mut link in self
                .links
                .iter_mut()
                .filter_map(Option::take)
                .collect::<Vec<_>>()
            {
                if link.model.server() == id {
                    self.exchange(&mut link, &former.demoted);
                }
            }
        }
        self.model.end(id);
        self.real.end_former();
    }
}

/// What is left of a link.
#[derive(PartialEq, Eq)]
enum Left {
    Open,
    Broken,
}

/// The server's answers to operations; `None` if nobody is there.
fn answers(link: &mut Link, operations: &[Operation]) -> Option<Vec<OperationResult>> {
    (operations.iter())
        .map(|operation| Some(outcome(operation, link.wire.answer().ok()?)))
        .collect()
}

/// The outcomes, which must be the same on both sides.
#[track_caller]
fn compare(
    operations: &[Operation],
    model: Option<Vec<OperationResult>>,
    real: Option<Vec<OperationResult>>,
) -> Option<Vec<OperationResult>> {
    assert_eq!(
        model.is_some(),
        real.is_some(),
        "who is there: {model:?} {real:?}"
    );
    let (model, real) = (model?, real?);
    for ((operation, model), real) in operations.iter().zip(&model).zip(&real) {
        assert!(
            same(model, real),
            "{operation:?}\n model: {model:?}\nserver: {real:?}"
        );
    }
    Some(model)
}
