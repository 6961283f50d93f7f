//! Round trips to the directory: what is asked, for what purpose, and how each operation ends.
//!
//! Operations of one turn share a round trip. Each ends exactly once: with its outcome, or because
//! the link was lost or the core's own deadline passed, and then it is unknown whether it was, or
//! will be, executed. The last operation of a trip is the *evidence*: it reads this instance's own
//! lease, so that whatever the trip says about rows comes with the proof that the directory has not
//! lost its content.
//!
//! Nothing here knows what an operation is for. The wing that asks says so with a purpose of a type of its
//! own, and gets it back with the end of the operation.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use crate::base::few::Few;
use crate::base::fingerprint::Fingerprint;
use crate::command::{Command, Log, RoundTrip, TripKind};
use crate::config::Config;
use crate::context::Context;
use crate::directory::{Operation, OperationError, OperationResult, Reply};
use crate::event::TripLost;
use crate::id::OpId;
use crate::time::Instant;
use crate::vocabulary::purpose::Judging;
use crate::vocabulary::timer::MembershipTimer;

/// Operations in one round trip, at most: a pipeline that Redis executes in about a millisecond.
const TRIP_OPERATIONS: usize = 512;

/// Operations that wait for a round trip or are under way, each with its purpose.
#[derive(Clone, Debug)]
pub(crate) struct RoundTrips<P> {
    queue: VecDeque<(Operation, P)>,
    /// Operations that wait for a replica.
    for_replica: Vec<(Operation, P)>,
    /// In the order in which they were asked; there are few.
    in_flight: VecDeque<(OpId, Trip<P>)>,
    next: OpId,
    /// A trip is wanted for the evidence alone.
    evidence: bool,
}

#[derive(Clone, Debug)]
struct Trip<P> {
    kind: TripKind,
    asked: Instant,
    purposes: Purposes<P>,
}

/// A push asks for one operation, and the evidence comes on top.
type Purposes<P> = Few<P, 2>;

/// The end of an operation.
#[derive(Debug)]
pub(crate) struct Completion<P> {
    purpose: P,
    conclusion: Conclusion,
}

/// How an operation ended.
#[derive(Debug)]
pub(crate) enum Conclusion {
    /// The directory executed it.
    Answered {
        /// When it was asked.
        asked: Instant,
        /// What the directory says.
        reply: Reply,
    },
    /// The directory did not execute it, or answered what cannot be understood.
    Refused(OperationError),
    /// It is unknown whether it was, or will be, executed.
    Unknown(Unknown),
}

/// Why an operation's outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It took too long. The link lives: what is repeated on it runs last.
    TimedOut,
    /// The link was lost: the operation may be executed at any time.
    LinkLost,
}

/// What has ended with the answer to a trip.
#[derive(Debug)]
pub(crate) enum TripEnd<P> {
    /// These operations, in the order in which they are to be judged.
    Ended(Vec<Completion<P>>),
    /// The link, and these operations with it: the first sign of it. Whatever is asked before the
    /// next link is lost as well.
    LinkLost(Vec<Completion<P>>),
}

impl<P: Judging> RoundTrips<P> {
    pub(crate) const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            for_replica: Vec::new(),
            in_flight: VecDeque::new(),
            next: OpId::new(1),
            evidence: false,
        }
    }

    /// Asks for an operation with the next trip.
    pub(crate) fn ask(&mut self, operation: Operation, purpose: P) {
        self.queue.push_back((operation, purpose));
    }

    /// Asks for an operation with the next trip, before this one if that waits.
    pub(crate) fn ask_before(&mut self, other: &Operation, operation: Operation, purpose: P) {
        let waiting = self.queue.iter().rposition(|(waiting, _)| waiting == other);
        let at = waiting.unwrap_or(self.queue.len());
        self.queue.insert(at, (operation, purpose));
    }

    /// Asks for an operation with the next trip, before all that waits: behind the rows of a long
    /// settling a lease could expire.
    pub(crate) fn ask_first(&mut self, operation: Operation, purpose: P) {
        self.queue.push_front((operation, purpose));
    }

    /// Asks for an operation that waits for a replica. All that are asked in a turn share a trip of their own.
    pub(crate) fn ask_replica(&mut self, operation: Operation, purpose: P) {
        self.for_replica.push((operation, purpose));
    }

    /// Asks to see the own lease, if nothing else is asked.
    pub(crate) const fn ask_evidence(&mut self) {
        self.evidence = true;
    }

    /// Whether a trip can start.
    pub(crate) fn is_due(&self) -> bool {
        !self.for_replica.is_empty() || self.can_start()
    }

    /// Whether one of those can start that wait for nothing.
    fn can_start(&self) -> bool {
        let wanted = self.evidence || !self.queue.is_empty();
        wanted && self.ordered().count() < Config::TRIPS_IN_FLIGHT
    }

    /// Trips under way that wait for nothing.
    fn ordered(&self) -> impl Iterator<Item = &Trip<P>> {
        let trips = self.in_flight.iter().map(|(_, trip)| trip);
        trips.filter(|trip| trip.kind == TripKind::Ordered)
    }

    /// Whether nothing is asked. Those that ask for a replica can do without an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.ordered().next().is_none()
    }

    /// How many operations wait for their round trip.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How many round trips are not answered.
    pub(crate) fn under_way(&self) -> usize {
        self.in_flight.len()
    }

    /// Operations that wait or are under way.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        let in_flight = (self.in_flight.iter()).map(|(_, trip)| trip.purposes.len());
        self.queue.len() + self.for_replica.len() + in_flight.sum::<usize>()
    }

    /// Starts as many trips as may be under way. Each ends with the evidence, if there is a lease to
    /// see.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        evidence: impl Fn() -> Option<(Operation, P)>,
    ) {
        while self.can_start() {
            self.evidence = false;
            let count = self.queue.len().min(TRIP_OPERATIONS);
            // The evidence comes on top.
            let mut operations = Vec::with_capacity(count + 1);
            let mut purposes = Purposes::with_capacity(count + 1);
            for (operation, purpose) in self.queue.drain(..count) {
                operations.push(operation);
                purposes.push(purpose);
            }
            if let Some((operation, purpose)) = evidence() {
                operations.push(operation);
                purposes.push(purpose);
            }
            self.start(cx, operations, purposes, TripKind::Ordered);
        }
        if !self.for_replica.is_empty() {
            let (operations, purposes) = self.for_replica.drain(..).unzip();
            self.start(cx, operations, purposes, TripKind::ForReplica);
        }
    }

    fn start(
        &mut self,
        cx: &mut Context<'_>,
        operations: Vec<Operation>,
        purposes: Purposes<P>,
        kind: TripKind,
    ) {
        if operations.is_empty() {
            return;
        }
        let op = self.next;
        self.next = OpId::new(op.get() + 1);
        cx.stats.trips += 1;
        cx.stats.operations += operations.len() as u64;
        let asked = cx.now.mono;
        let trip = Trip {
            kind,
            asked,
            purposes,
        };
        self.in_flight.push_back((op, trip));
        cx.arm(
            asked + cx.config.directory_timeout,
            MembershipTimer::Trip(op),
        );
        let trip = RoundTrip {
            op,
            operations,
            kind,
        };
        cx.out.push(Command::Directory(Box::new(trip)));
    }

    /// The answer to a trip has come.
    pub(crate) fn answered(
        &mut self,
        cx: &mut Context<'_>,
        op: OpId,
        outcomes: Result<Vec<OperationResult>, TripLost>,
    ) -> TripEnd<P> {
        let Some(trip) = self.end(op) else {
            cx.stats.late_answers += 1;
            return TripEnd::Ended(Vec::new());
        };
        let Ok(outcomes) = outcomes else {
            return match trip.kind {
                TripKind::Ordered => TripEnd::LinkLost(trip.lost(Unknown::LinkLost)),
                // It was a link of its own.
                TripKind::ForReplica => TripEnd::Ended(trip.lost(Unknown::LinkLost)),
            };
        };
        if outcomes.len() != trip.purposes.len() {
            // An answer that does not fit its trip says nothing.
            cx.stats.directory_refusals += 1;
            return TripEnd::Ended(trip.lost(Unknown::TimedOut));
        }
        if let Some(answer) = outcomes.iter().find_map(not_primary) {
            cx.out.log(Log::DirectoryNotPrimary {
                answer: answer.to_owned(),
            });
            cx.out.push(Command::DirectoryReset);
            return TripEnd::LinkLost(trip.lost(Unknown::LinkLost));
        }
        let asked = trip.asked;
        let ended = trip.purposes.into_iter().zip(outcomes);
        let mut ended: Vec<_> = ended
            .map(|(purpose, outcome)| Completion {
                purpose,
                conclusion: match outcome {
                    Ok(reply) => Conclusion::Answered { asked, reply },
                    Err(error) => Conclusion::Refused(error),
                },
            })
            .collect();
        ended.sort_by_key(|ended| ended.purpose.judged());
        TripEnd::Ended(ended)
    }

    /// A trip's deadline has come. Returns what ends with it, which is nothing if it was answered.
    pub(crate) fn due(&mut self, cx: &mut Context<'_>, op: OpId) -> Vec<Completion<P>> {
        let Some(trip) = self.end(op) else {
            return Vec::new();
        };
        cx.stats.trips_timed_out += 1;
        trip.lost(Unknown::TimedOut)
    }

    /// A trip is under way no longer.
    fn end(&mut self, op: OpId) -> Option<Trip<P>> {
        let at = self.in_flight.iter().position(|(of, _)| *of == op)?;
        let (_, trip) = self.in_flight.remove(at)?;
        Some(trip)
    }

    /// The link is gone: nothing that was asked, or waits, has a known outcome.
    pub(crate) fn link_lost(&mut self) -> Vec<Completion<P>> {
        self.evidence = false;
        let in_flight = std::mem::take(&mut self.in_flight).into_iter();
        let queued = std::mem::take(&mut self.queue).into_iter();
        let for_replica = std::mem::take(&mut self.for_replica).into_iter();
        (in_flight.flat_map(|(_, trip)| trip.purposes))
            .chain(queued.chain(for_replica).map(|(_, purpose)| purpose))
            .map(|purpose| Completion::unknown(purpose, Unknown::LinkLost))
            .collect()
    }
}

impl<P> Trip<P> {
    fn lost(self, unknown: Unknown) -> Vec<Completion<P>> {
        (self.purposes.into_iter())
            .map(|purpose| Completion::unknown(purpose, unknown))
            .collect()
    }
}

impl<P> Completion<P> {
    /// What the operation was for, and how it ended.
    pub(crate) fn into_parts(self) -> (P, Conclusion) {
        (self.purpose, self.conclusion)
    }

    pub(super) const fn purpose(&self) -> &P {
        &self.purpose
    }

    const fn unknown(purpose: P, unknown: Unknown) -> Self {
        let conclusion = Conclusion::Unknown(unknown);
        Self {
            purpose,
            conclusion,
        }
    }
}

fn not_primary(outcome: &OperationResult) -> Option<&str> {
    match outcome {
        Err(OperationError::NotPrimary(answer)) => Some(answer),
        Err(OperationError::Refused(_) | OperationError::Malformed(_)) | Ok(_) => None,
    }
}

impl<P: Hash> Fingerprint for RoundTrips<P> {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        for (operation, purpose) in self.queue.iter().chain(&self.for_replica) {
            operation.hash(hasher);
            purpose.hash(hasher);
        }
        for (op, trip) in &self.in_flight {
            op.fingerprint(now, hasher);
            trip.asked.fingerprint(now, hasher);
            trip.purposes.hash(hasher);
        }
        self.next.fingerprint(now, hasher);
        self.evidence.fingerprint(now, hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;
    use crate::command::Outbox;
    use crate::config::{ClusterSecret, Config, Identity};
    use crate::context::Base;
    use crate::id::InstanceId;
    use crate::time::{Now, WallTime};
    use crate::vocabulary::purpose::Judged;

    /// A purpose is a name, and when its answer is to be judged.
    type Named = (&'static str, Judged);

    impl Judging for Named {
        fn judged(&self) -> Judged {
            self.1
        }
    }

    #[test]
    fn operations_leave_as_they_were_asked_and_end_as_they_are_to_be_judged() {
        let (mut base, mut out) = (base(), Outbox::new());
        let cx = &mut base.context(NOW, &mut out);
        let mut trips = RoundTrips::new();
        trips.ask(Operation::View, ("row", Judged::Last));
        trips.ask(Operation::View, ("another row", Judged::Last));
        trips.ask_first(Operation::View, ("view", Judged::Second));
        trips.flush(cx, || Some((Operation::View, ("evidence", Judged::First))));
        assert_eq!(asked(&trips, 1), ["view", "row", "another row", "evidence"]);
        let refused = Err(OperationError::Refused("BUSY".to_owned()));
        let answer = trips.answered(cx, OpId::new(1), Ok(vec![refused; 4]));
        let TripEnd::Ended(ended) = answer else {
            panic!("the link is there");
        };
        assert_eq!(names(&ended), ["evidence", "view", "row", "another row"]);
        assert!(trips.is_idle());
    }

    #[test]
    fn what_waits_ends_with_the_link_after_what_is_under_way() {
        let (mut base, mut out) = (base(), Outbox::new());
        let cx = &mut base.context(NOW, &mut out);
        let mut trips = RoundTrips::new();
        trips.ask(Operation::View, ("under way", Judged::Last));
        trips.flush(cx, || None);
        trips.ask(Operation::View, ("waiting", Judged::First));
        trips.ask_evidence();
        assert_eq!(names(&trips.link_lost()), ["under way", "waiting"]);
        assert!(trips.is_idle() && !trips.is_due());
    }

    #[test]
    fn an_answer_after_the_deadline_is_late_and_ends_nothing() {
        let (mut base, mut out) = (base(), Outbox::new());
        let cx = &mut base.context(NOW, &mut out);
        let mut trips = RoundTrips::new();
        trips.ask(Operation::View, ("view", Judged::Second));
        trips.flush(cx, || None);
        assert_eq!(names(&trips.due(cx, OpId::new(1))), ["view"]);
        let late = trips.answered(cx, OpId::new(1), Err(TripLost));
        assert!(matches!(late, TripEnd::Ended(ended) if ended.is_empty()));
        assert_eq!((cx.stats.trips_timed_out, cx.stats.late_answers), (1, 1));
    }

    const NOW: Now = Now {
        mono: Instant::from_nanos(1_000_000_000),
        wall: WallTime::from_millis(0),
    };

    fn base() -> Base {
        let identity = Identity {
            instance: InstanceId::new(1),
            address: "here:1".to_owned(),
            secret: ClusterSecret::new(b"0123456789abcdef").expect("long enough"),
        };
        Base::new(Config::default(), identity, &Seed::new([7; 32]), NOW)
    }

    fn asked(trips: &RoundTrips<Named>, op: u64) -> Vec<&'static str> {
        let under_way = |(of, _): &&(OpId, _)| *of == OpId::new(op);
        let (_, trip) = trips
            .in_flight
            .iter()
            .find(under_way)
            .expect("it is under way");
        let purposes = trip.purposes.iter();
        purposes.map(|(name, _)| *name).collect()
    }

    fn names(ended: &[Completion<Named>]) -> Vec<&'static str> {
        ended.iter().map(|ended| ended.purpose.0).collect()
    }
}
