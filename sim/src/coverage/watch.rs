//! What is counted: in which state of a part an event came, and what was under way when a fault began.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::time::Duration;

use switchboard_core::id::{CallId, ConnectionKey, OpId, TopicId};

use super::{Cells, Occurrences};
use crate::boundary::{CallKind, Intake, LeaseStep, Met, Output, TripOutline};
use crate::checker::{Checker, Watch};
use crate::context::BEGIN;
use crate::ledger::{Excuse, Scope};
use crate::observed::{Life, Observed, Topic};

/// Counts, judges nothing, and says at its end what it has counted.
#[derive(Clone, Debug)]
pub struct CoverageWatch {
    said: Sender<Cells>,
    counted: Count,
    running: BTreeMap<usize, Running>,
}

/// What was come by, and the moment.
#[derive(Clone, Debug, Default)]
struct Count {
    cells: Cells,
    passed: Duration,
}

/// What is under way at an instance.
#[derive(Clone, Debug, Default)]
struct Running {
    /// The states before the answer that is about to be taken in.
    before: Option<(&'static str, Vec<(TopicId, &'static str)>)>,
    trips: BTreeMap<OpId, TripOutline>,
    /// Accepted, and not greeted.
    connecting: BTreeSet<ConnectionKey>,
    /// With frames that are not written.
    writing: BTreeSet<ConnectionKey>,
    /// Pushes that are not answered.
    pushes: BTreeSet<CallId>,
    drains: bool,
}

impl CoverageWatch {
    pub(super) const fn new(said: Sender<Cells>) -> Self {
        Self {
            said,
            counted: Count {
                cells: Cells::new(),
                passed: Duration::ZERO,
            },
            running: BTreeMap::new(),
        }
    }
}

impl Drop for CoverageWatch {
    fn drop(&mut self) {
        // Whoever does not listen any more wants to hear nothing.
        let _ = self.said.send(std::mem::take(&mut self.counted.cells));
    }
}

impl Checker for CoverageWatch {
    fn name(&self) -> &'static str {
        "coverage"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::States, Topic::Boundary, Topic::Lives, Topic::Faults]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        self.counted.passed = watch.now().since(BEGIN);
        match event {
            Observed::Started(life) => {
                self.running.insert(life.host, Running::default());
            }
            Observed::Gone(life) => {
                self.running.remove(&life.host);
            }
            Observed::Met { life, met } => self.met(*life, met),
            Observed::Took { life, intake } => self.took(*life, *intake, watch),
            Observed::Gave { life, output } => {
                if let Some(running) = self.running.get_mut(&life.host) {
                    running.give(output);
                }
            }
            Observed::FaultBegan(fault) => self.fault(fault, watch),
            _ => {}
        }
    }
}

impl CoverageWatch {
    fn met(&mut self, life: Life, met: &Met) {
        match met {
            Met::Link(state, event) => self.counted.add("links", state, *event),
            Met::Terminal(state, event) => self.counted.add("terminals", state, *event),
            Met::Topic(state, event) => self.counted.add("topics", state, *event),
            Met::Lease(state, event) => self.counted.add("leases", state, *event),
            Met::Answer { lease, topics } => {
                if let Some(running) = self.running.get_mut(&life.host) {
                    running.before = Some((lease, topics.clone()));
                }
            }
        }
    }

    fn took(&mut self, life: Life, intake: Intake, watch: &Watch<'_>) {
        let Some(running) = self.running.get_mut(&life.host) else {
            return;
        };
        running.take(intake);
        let Some((lease, topics)) = running.before.take() else {
            return;
        };
        let (outline, in_time, granted, refused) = match intake {
            Intake::TripAnswered {
                op,
                in_time,
                granted,
                refused,
                ..
            } => (running.trips.remove(&op), in_time, granted, refused),
            _ => (None, true, false, 0),
        };
        if intake_is_loss(intake) {
            running.trips.clear();
            self.counted.add("leases", lease, "trip-lost");
            return;
        }
        let Some(outline) = outline else {
            return;
        };
        let step = outline.lease.map(|(_, step)| step);
        let event = of_step(step, in_time, granted);
        self.counted.add("leases", lease, event);
        // Whoever finds a row of an instance that is gone removes it as well.
        let here = watch.scene().instance_of(life);
        for step in outline.topics.iter().filter(|step| step.instance == here) {
            let state = topics.iter().find(|(topic, _)| *topic == step.topic);
            let state = state.map_or("absent", |(_, state)| *state);
            let is_refused = refused & (1 << step.place.min(63)) != 0;
            let event = match (in_time, step.enters, is_refused) {
                (false, _, _) => "late-answer",
                (true, true, false) => "entered",
                (true, true, true) => "enter-refused",
                (true, false, false) => "left",
                (true, false, true) => "leave-refused",
            };
            self.counted.add("topics", state, event);
        }
    }

    fn fault(&mut self, fault: &Excuse, watch: &Watch<'_>) {
        let holder = |session: usize| Some(watch.scene().sessions()[session].life()?.host);
        let concerns = |host: usize| match fault.scope {
            Scope::All => true,
            Scope::Instance(one) => one == host,
            Scope::Between(one, other) => one == host || other == host,
            Scope::Session(session) => holder(session) == Some(host),
        };
        let kind = format!("{:?}", fault.kind);
        let concerned = self.running.iter().filter(|(host, _)| concerns(**host));
        let phases: BTreeSet<_> = concerned
            .flat_map(|(_, running)| running.phases())
            .collect();
        for phase in phases {
            self.counted.add("faults", phase, kind.clone());
        }
    }
}

impl Count {
    fn add(
        &mut self,
        table: &'static str,
        state: &'static str,
        event: impl Into<Cow<'static, str>>,
    ) {
        let first = self.passed;
        let met = (self.cells.entry((table, state, event.into())))
            .or_insert(Occurrences { times: 0, first });
        met.times += 1;
    }
}

/// Whether all trips end without an answer.
const fn intake_is_loss(intake: Intake) -> bool {
    matches!(
        intake,
        Intake::DirectoryDown | Intake::TripAnswered { lost: true, .. }
    )
}

/// What an answer means for the lease.
const fn of_step(step: Option<LeaseStep>, in_time: bool, granted: bool) -> &'static str {
    match (step, in_time, granted) {
        (_, false, _) => "late-answer",
        (Some(LeaseStep::Claim(_)), true, true) => "claim-granted",
        (Some(LeaseStep::Claim(_)), true, false) => "claim-denied",
        (Some(LeaseStep::Renew { .. }), true, true) => "renewal-granted",
        (Some(LeaseStep::Renew { .. }), true, false) => "renewal-denied",
        (Some(LeaseStep::Release), true, _) => "release-answered",
        (None, true, _) => "other-answer",
    }
}

impl Running {
    fn take(&mut self, intake: Intake) {
        match intake {
            Intake::Accepted { connection, .. } => {
                self.connecting.insert(connection);
            }
            Intake::Written(connection) => {
                self.writing.remove(&connection);
            }
            Intake::Closed(connection) => self.forget(connection),
            Intake::Call {
                call,
                kind: CallKind::Push(_),
            } => {
                self.pushes.insert(call);
            }
            Intake::Drain { .. } => self.drains = true,
            _ => {}
        }
    }

    fn give(&mut self, output: &Output) {
        match output {
            Output::Hello { connection, .. } => {
                self.connecting.remove(connection);
            }
            Output::Flush(connection) => {
                self.writing.insert(*connection);
            }
            Output::Forget(connection) => self.forget(*connection),
            Output::Trip(outline) => {
                self.trips.insert(outline.op, (**outline).clone());
            }
            Output::Answer { call, .. } => {
                self.pushes.remove(call);
            }
            _ => {}
        }
    }

    fn forget(&mut self, connection: ConnectionKey) {
        self.connecting.remove(&connection);
        self.writing.remove(&connection);
    }

    /// The phases of what is under way.
    fn phases(&self) -> Vec<&'static str> {
        let trips = |is: fn(&TripOutline) -> bool| self.trips.values().any(is);
        let phases = [
            ("connect", !self.connecting.is_empty()),
            ("register", trips(|trip| !trip.registers.is_empty())),
            ("renew", trips(|trip| trip.lease.is_some())),
            ("lookup", trips(|trip| trip.looks_up)),
            ("deliver", !self.pushes.is_empty()),
            ("write", !self.writing.is_empty()),
            ("unregister", trips(|trip| trip.unregisters)),
            ("drain", self.drains),
        ];
        let under_way = phases.into_iter().filter(|(_, is)| *is);
        under_way.map(|(phase, _)| phase).collect()
    }
}
