//! The instance: its parts, and which of them an event or a timer is for.

use std::hash::Hasher;
use std::time::Duration;

use bytes::Bytes;

use crate::base::fingerprint::Fingerprint;
#[cfg(feature = "flaws")]
use crate::base::flaws::Flaws;
use crate::base::rng::{Seed, SeededHash};
use crate::command::{Command, Log, Outbox};
use crate::config::{Config, ConfigError, Identity};
use crate::context::{Base, Context};
use crate::deliver::{Deliveries, Publisher};
use crate::directory::OperationResult;
use crate::drain::{self, Drain, Progress};
use crate::event::{Closure, Ended, Event, Handshake, Refused, TripLost};
use crate::frame::CloseCode;
use crate::id::{CallId, ConnectionId, ConnectionKey, InstanceId, LinkKey, OpId};
use crate::membership::departure::Departure;
use crate::membership::service::Service;
use crate::membership::trips::{Completion, Conclusion, TripEnd};
use crate::membership::{self, Membership};
use crate::message::{Push, PushRefused};
use crate::peers::{self, Peers};
use crate::publish::{self, Publish};
use crate::stats::{Gauges, Level, Levels, Stats};
use crate::terminals::Terminals;
use crate::time::{Instant, Now};
use crate::vocabulary::purpose::Purpose;
use crate::vocabulary::timer::Timer;
use crate::wings::Wings;

/// One server instance.
///
/// It is owned data without clocks, sockets or randomness of its own. The caller hands in what
/// happens and executes what comes out; [the crate's page](crate) has the run loop.
///
/// # Contract
///
/// **Turns.** After any number of events, call [`handle_timeout`](Self::handle_timeout) if
/// [`next_timeout`](Self::next_timeout) is due. It is due at once, as [`TimerKind::Turn`], while
/// work of the turn is left: round trips and batches are formed there. Any call may change what
/// `next_timeout` says, so ask again after each. A spurious `handle_timeout` emits nothing and
/// costs a look at the timers; one that comes late makes up for all that was missed. After
/// `handle_timeout(now)` either the next one is due later than `now`, or a piece of work was done.
///
/// **Time** never runs backwards from one call to the next. One reading of both clocks serves a
/// whole turn.
///
/// **Commands** of one connection, of one link and of the directory are executed in the order
/// given; everything else may run at once. None waits for the success of another: the instance
/// waits for the event. A command that cannot be executed is reported as the end of what it was
/// for: [`Closed`](Event::Closed), [`LinkDown`](Event::LinkDown), or a
/// [`Directory`](Event::Directory) event with [`TripLost`](crate::event::TripLost).
///
/// **A terminal.** [`accept`](Self::accept) comes before the upgrade is answered. If it refuses,
/// nothing is kept; if not, the caller reports [`Opened`](Event::Opened) when the upgrade is done,
/// [`Heard`](Event::Heard) for each frame, [`Written`](Event::Written) once for each
/// [`Flush`](crate::command::Command::Flush) unless a `Close`, an `Abort` or the connection's end
/// came first, and in any case, an upgrade that fails included, [`Closed`](Event::Closed) once. Then one
/// [`Forget`](crate::command::Command::Forget) comes, at once or when the row has gone, and the
/// connection's slot may be used again. An `Opened` that does not come is given up after
/// `handshake_timeout`, with an [`Abort`](crate::command::Command::Abort).
///
/// **The directory.** [`DirectoryUp`](Event::DirectoryUp) comes for each new link,
/// [`DirectoryDown`](Event::DirectoryDown) when it is gone. Each
/// [`Directory`](crate::command::Command::Directory) is answered once, or not at all if its link is
/// gone; the instance gives up after `directory_timeout` and counts what comes later.
/// [`DirectoryReset`](crate::command::Command::DirectoryReset) asks for a new link.
///
/// **Links.** A link begins with [`Dial`](crate::command::Command::Dial) and is answered with
/// [`LinkUp`](Event::LinkUp) or [`LinkDown`](Event::LinkDown), or it begins with
/// [`accept_link`](Self::accept_link). Until
/// [`LinkProven`](crate::command::Command::LinkProven) its other end may be anybody. Each [`LinkWrite`](crate::command::Command::LinkWrite) is
/// answered with [`LinkWritten`](Event::LinkWritten) unless the link ended before. It ends with a
/// `LinkDown` from the caller or a [`LinkClose`](crate::command::Command::LinkClose) to it; after
/// either the key is not used again.
///
/// **Calls** ([`Push`](Event::Push), [`Connections`](Event::Connections),
/// [`Instances`](Event::Instances)) are answered with exactly one
/// [`Answer`](crate::command::Command::Answer): a push at its deadline at the latest, and all of
/// them before [`Drained`](crate::command::Command::Drained). A push that comes after that is
/// refused.
///
/// **Bad input** never panics: it becomes a refusal, a close, an outcome, and a counter. An event
/// for a key that is out of date changes nothing; it is counted as
/// [`stale_events`](Stats::stale_events).
///
/// **Bounds.** A call does a bounded piece of work; what is left is due at once. Every queue and
/// table that a terminal or a caller can fill has its limit in [`Config`].
///
/// **Determinism.** The same settings, seed and calls give the same commands, byte for byte; a
/// clone goes on as the original does.
///
/// # Examples
///
/// A terminal connects; the directory is in memory and answers at once.
///
/// ```
/// use switchboard_core::command::{Command, Outbox};
/// use switchboard_core::config::{ClusterSecret, Config, Identity};
/// use switchboard_core::directory::{DirectorySettings, memory::MemoryDirectory};
/// use switchboard_core::event::{Event, Handshake};
/// use switchboard_core::frame::Outgoing;
/// use switchboard_core::id::{InstanceId, UserId};
/// use switchboard_core::time::{Instant, Now, WallTime};
/// use switchboard_core::{Instance, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::default();
/// let mut directory = MemoryDirectory::new(DirectorySettings {
///     prefix: "sb:".to_owned(),
///     lease: config.lease,
///     row_expiry: config.row_expiry,
/// });
/// let identity = Identity {
///     instance: InstanceId::new(1),
///     address: "10.0.0.1:7000".to_owned(),
///     secret: ClusterSecret::new(b"at least 16 bytes")?,
/// };
/// let now = Now {
///     mono: Instant::from_nanos(1_000_000_000),
///     wall: WallTime::from_millis(1_700_000_000_000),
/// };
/// let mut instance = Instance::new(config, identity, Seed::new([7; 32]), now)?;
/// let mut out = Outbox::new();
///
/// let connection = instance.accept(now, Handshake::new(UserId::new("ann")?))?;
/// let mut events = vec![Event::DirectoryUp, Event::Opened { connection }];
/// let mut sent = Vec::new();
/// while !events.is_empty() {
///     for event in events.drain(..) {
///         instance.handle(now, event, &mut out);
///     }
///     while instance.next_timeout().is_some_and(|(due, _)| due <= now.mono) {
///         instance.handle_timeout(now, &mut out);
///     }
///     for command in out.drain() {
///         match command {
///             Command::Directory(trip) => {
///                 let operations = trip.operations.iter();
///                 let outcomes = operations.map(|asked| directory.execute(now.mono, asked)).collect();
///                 events.push(Event::Directory { op: trip.op, outcomes: Ok(outcomes) });
///             }
///             Command::Send { outgoing, .. } => sent.push(outgoing),
///             Command::Flush { connection } => events.push(Event::Written { connection }),
///             other => println!("{other:?}"),
///         }
///     }
/// }
///
/// let name = instance.connection_id(connection).expect("it is not forgotten");
/// assert_eq!(sent, [Outgoing::Hello { connection: name, degraded: false }]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Instance {
    pub(crate) base: Base,
    pub(crate) terminals: Terminals,
    pub(crate) membership: Membership,
    pub(crate) publish: Publish,
    pub(crate) deliver: Deliveries,
    pub(crate) peers: Peers,
    pub(crate) drain: Drain,
}

/// What a timeout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// Work of this turn is left: it is due at once.
    Turn,
    /// Something has a deadline.
    Deadline,
}

/// Timers of which there is one, over all wings.
const ALARMS: usize = 7;
/// Timers served in one call, at most. The rest is due at once.
const TIMERS_PER_CALL: usize = 1024;

impl Instance {
    /// A new instance, without a directory link and without connections.
    ///
    /// # Errors
    ///
    /// Names the setting that does not fit.
    pub fn new(
        config: Config,
        identity: Identity,
        seed: Seed,
        now: Now,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let hash = SeededHash::new(&seed);
        Ok(Self {
            terminals: Terminals::new(&hash),
            membership: Membership::new(now),
            publish: Publish::new(&hash),
            deliver: Deliveries::new(&config, &hash),
            peers: Peers::new(),
            drain: Drain::new(),
            base: Base::new(config, identity, &seed, now),
        })
    }

    /// The same instance with bugs.
    #[cfg(feature = "flaws")]
    #[doc(hidden)]
    pub fn with_flaws(self, flaws: Flaws) -> Self {
        let base = Base { flaws, ..self.base };
        Self { base, ..self }
    }

    /// Takes a terminal that passed the authenticator, before the upgrade is answered. The caller
    /// reports `Opened` within `handshake_timeout`, and `Closed` in any case. It has executed all
    /// commands before: the key may be in the slot of a connection that they are about.
    ///
    /// # Errors
    ///
    /// Says why the terminal is not taken, as an HTTP status; nothing is kept of the handshake then.
    pub fn accept(&mut self, now: Now, handshake: Handshake) -> Result<ConnectionKey, Refused> {
        if !self.drain.takes_terminals() {
            return Err(Refused::Draining);
        }
        let mut out = Outbox::new();
        let accepted = (self.terminals).accept(&mut self.base.context(now, &mut out), handshake);
        debug_assert!(out.is_empty(), "a terminal was told something unasked");
        accepted
    }

    /// Takes in something that happened. What follows at once is added to `out`; round trips,
    /// batches and writes come with the end of the turn.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        let (cx, wings, publish) = &mut self.apart(now, out);
        match event {
            Event::Opened { connection } => wings.terminals.opened(cx, connection),
            Event::Heard { connection, frame } => wings.terminals.heard(cx, connection, frame),
            Event::Written { connection } => wings.terminals.written(cx, connection),
            Event::Closed {
                connection,
                closure,
            } => wings.terminals.closed(cx, connection, closure),
            Event::DirectoryUp => self.directory_up(now, out),
            Event::DirectoryDown => self.directory_down(now, out),
            Event::Directory { op, outcomes } => self.trip_answered(now, op, outcomes, out),
            Event::LinkUp { link } => wings.peers.link_up(cx, link),
            Event::LinkReceived { link, batch } => self.link_received(now, link, &batch, out),
            Event::LinkWritten { link } => wings.peers.link_written(cx, link),
            Event::LinkDown { link, failure } => {
                (wings.peers).link_down(cx, wings.membership, link, failure);
            }
            Event::Push { call, push } => self.push(now, call, push, out),
            Event::Connections { call, user } => publish.connections(cx, wings, call, user),
            Event::Instances { call } => self.instances(now, call, out),
            Event::Drain { delay, spread } => self.drain(now, delay, spread, out),
            Event::Probed { connection, life } => wings.terminals.probed(cx, connection, life),
        }
        self.carry(now, out);
    }

    /// Borrows apart what a wing may use, the wings below the one that publishes, and that one.
    const fn apart<'a>(
        &'a mut self,
        now: Now,
        out: &'a mut Outbox,
    ) -> (Context<'a>, Wings<'a>, &'a mut Publish) {
        let wings = Wings {
            terminals: &mut self.terminals,
            membership: &mut self.membership,
            deliver: &mut self.deliver,
            peers: &mut self.peers,
        };
        (self.base.context(now, out), wings, &mut self.publish)
    }

    fn push(&mut self, now: Now, call: CallId, push: Push, out: &mut Outbox) {
        let departure = self.drain.departure();
        let (cx, wings, publish) = &mut self.apart(now, out);
        if departure == Departure::Done {
            publish::refuse(cx, call, PushRefused::Stopped);
        } else {
            publish.push(cx, wings, call, push);
        }
    }

    fn instances(&mut self, now: Now, call: CallId, out: &mut Outbox) {
        let departure = self.drain.departure();
        let (cx, wings, _) = &mut self.apart(now, out);
        publish::list_instances(cx, wings, departure, call);
    }

    fn drain(&mut self, now: Now, delay: Duration, spread: Duration, out: &mut Outbox) {
        if (self.drain).order(&mut self.base.context(now, out), delay, spread) {
            self.membership.departure_changed();
        }
    }

    /// Takes a link that another instance dialled. `None` if there are too many: the socket is to
    /// be closed. All commands have been executed before, as with [`accept`](Self::accept).
    pub fn accept_link(&mut self, now: Now) -> Option<LinkKey> {
        let mut nothing = Outbox::new();
        self.peers.accept(&mut self.base.context(now, &mut nothing))
    }

    /// Does what is due and ends the turn. A call when nothing is due emits nothing.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        for _ in 0..TIMERS_PER_CALL {
            let Some(timer) = self.base.timers.pop(now.mono) else {
                break;
            };
            self.timer_due(now, timer, out);
            self.carry(now, out);
        }
        self.end_turn(now, out);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, and what for.
    pub fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        if !self.turn_is_over() || self.membership.is_due() {
            return Some((Instant::START, TimerKind::Turn));
        }
        Some((self.base.timers.next()?, TimerKind::Deadline))
    }

    /// Hashes all that decides future behaviour, in canonical order, with times relative to `now`.
    /// Instances with equal fingerprints give equal commands for equal calls.
    pub fn fingerprint(&self, now: Now, hasher: &mut impl Hasher) {
        let now = now.mono;
        self.base.identity.instance.fingerprint(now, hasher);
        (self.terminals).fingerprint(now, hasher, |connection, hasher| {
            self.membership.fingerprint_row(now, connection, hasher);
        });
        self.membership.fingerprint(now, hasher);
        self.publish.fingerprint(now, hasher);
        self.deliver.fingerprint(now, hasher);
        self.peers.fingerprint(now, hasher);
        self.drain.fingerprint(now, hasher);
        self.fingerprint_alarms(now, hasher);
        self.fingerprint_turn(now, hasher);
        hasher.write_u128(self.base.random.connection_ids.position());
        hasher.write_u128(self.base.random.nonces.position());
        hasher.write_u128(self.base.random.jitter.position());
    }

    /// All timers of which there is one, as one list.
    fn fingerprint_alarms(&self, now: Instant, hasher: &mut impl Hasher) {
        hasher.write_usize(ALARMS);
        self.membership.fingerprint_alarms(now, hasher);
        self.deliver.fingerprint_alarm(now, hasher);
        self.drain.fingerprint_alarm(now, hasher);
    }

    /// The id that it was given.
    pub const fn id(&self) -> InstanceId {
        self.base.identity.instance
    }

    /// The name of a connection that is not forgotten.
    pub fn connection_id(&self, connection: ConnectionKey) -> Option<ConnectionId> {
        Some(self.terminals.get(connection)?.id())
    }

    /// Whether a terminal that was greeted was told that pushes may miss it, and they still may.
    pub fn is_degraded(&self, connection: ConnectionKey) -> bool {
        self.terminals.is_degraded(connection)
    }

    /// What there is to say of a connection whose [`Closed`](Event::Closed) is about to be handed
    /// in. `None` if its key is out of date.
    pub fn ended(
        &self,
        now: Now,
        connection: ConnectionKey,
        closure: Closure,
    ) -> Option<Ended<'_>> {
        self.terminals.ended(now.mono, connection, closure)
    }

    /// Whether a balancer should send terminals here: it takes terminals, and the directory has
    /// granted it a lease at least once since its start. Whether it holds one at present does not
    /// matter: while the directory is away terminals are served, and moving them helps nobody. An
    /// instance that is cut off alone takes no terminals, and is not ready until it is back.
    pub const fn is_ready(&self) -> bool {
        self.drain.takes_terminals() && self.membership.has_held()
    }

    /// Counters since the start.
    pub const fn stats(&self) -> &Stats {
        &self.base.stats
    }

    /// What it holds at present.
    pub fn gauges(&self, now: Now) -> Gauges {
        Gauges {
            connections: self.terminals.len(),
            users: self.terminals.users(),
            pushes: self.publish.len(),
            links: self.peers.members(),
            instances: self.membership.view().alive() + 1,
            epoch: self.membership.epoch().get(),
            directory: self.membership.has_lease(now.mono),
        }
    }

    /// How full its tables and queues are; of queues of which there are many, the fullest. It looks
    /// at every connection, every user that is pushed to and every peer.
    pub fn levels(&self) -> Levels {
        let config = &self.base.config;
        let [connections, queue_frames, queue_bytes] = self.terminals.levels(config);
        let [pushes, pushes_per_user] = self.publish.levels(config);
        let [broadcasts, repeat_entries] = self.deliver.levels(config);
        let level = |setting, used, limit| Level {
            setting,
            used,
            limit,
        };
        [
            connections,
            pushes,
            pushes_per_user,
            broadcasts,
            repeat_entries,
            level("links", self.peers.members(), config.links),
            level(
                "link_queue_bytes",
                self.peers.longest_queue(),
                config.link_queue_bytes,
            ),
            queue_frames,
            queue_bytes,
        ]
    }

    fn link_received(&mut self, now: Now, link: LinkKey, batch: &Bytes, out: &mut Outbox) {
        let cx = &mut self.base.context(now, out);
        let said = (self.peers).received(cx, &mut self.membership, link, batch);
        let Some(mut said) = said else { return };
        loop {
            let cx = &mut self.base.context(now, out);
            let effect = (self.peers).next_effect(cx, &mut self.membership, &mut said);
            let Some(effect) = effect else { return };
            self.carry_from_peers(now, effect, out);
        }
    }

    /// Hands on what a peer said that is for another wing.
    fn carry_from_peers(&mut self, now: Now, effect: peers::Effect, out: &mut Outbox) {
        let (cx, wings, publish) = &mut self.apart(now, out);
        match effect {
            peers::Effect::Deliver { link, delivery } => {
                let publisher = Publisher::Link(link);
                (wings.deliver).deliver(cx, wings.membership, wings.terminals, publisher, delivery);
                wings.carry(cx);
            }
            peers::Effect::Delivered {
                link, delivered, ..
            } if publish.contradicts(&delivered) => {
                let what = "an answer of another kind";
                wings.peers.misbehaved(cx, wings.membership, link, what);
            }
            peers::Effect::Delivered { by, delivered, .. } => {
                wings.peers.forget_unanswered(by, delivered.delivery);
                publish.delivered(cx, wings, by, delivered);
            }
            peers::Effect::DirectoryWorks => self.directory_works_elsewhere(now, out),
        }
    }

    /// Tells the peers how the directory serves this instance.
    pub(crate) fn tell_service(&mut self, now: Now, out: &mut Outbox) {
        let nobody = !self.drain.takes_terminals() && self.terminals.len() == 0;
        let service = match self.membership.service(now.mono) {
            Service::None if nobody => Service::Vacant,
            service @ (Service::Full | Service::Behind | Service::None | Service::Vacant) => {
                service
            }
        };
        let cx = &mut self.base.context(now, out);
        self.peers.tell_service(cx, service);
    }

    fn timer_due(&mut self, now: Now, timer: Timer, out: &mut Outbox) {
        match timer {
            Timer::Terminals(timer) => {
                let cx = &mut self.base.context(now, out);
                self.terminals.timer_due(cx, timer);
            }
            Timer::Membership(timer) => {
                let cx = &mut self.base.context(now, out);
                let ended = self.membership.timer_due(cx, &self.terminals, timer);
                self.operations_ended(now, ended, out);
            }
            Timer::Publish(timer) => {
                let (cx, wings, publish) = &mut self.apart(now, out);
                publish.timer_due(cx, wings, timer);
            }
            Timer::Deliver(timer) => {
                let cx = &mut self.base.context(now, out);
                (self.deliver).timer_due(cx, &mut self.membership, &mut self.terminals, timer);
            }
            Timer::Peers(timer) => {
                let cx = &mut self.base.context(now, out);
                self.peers.timer_due(cx, &mut self.membership, timer);
            }
            Timer::Drain(timer) => self.drain_due(now, timer, out),
        }
    }

    fn directory_up(&mut self, now: Now, out: &mut Outbox) {
        if self.drain.departure() == Departure::Done {
            return;
        }
        if self.membership.is_linked() {
            self.directory_down(now, out);
        }
        (self.membership).directory_up(&mut self.base.context(now, out));
    }

    pub(crate) fn directory_down(&mut self, now: Now, out: &mut Outbox) {
        let ended = self.membership.directory_down();
        self.operations_ended(now, ended, out);
        let cx = &mut self.base.context(now, out);
        self.membership.drop_refused(cx, &mut self.terminals);
    }

    fn trip_answered(
        &mut self,
        now: Now,
        op: OpId,
        outcomes: Result<Vec<OperationResult>, TripLost>,
        out: &mut Outbox,
    ) {
        let cx = &mut self.base.context(now, out);
        match self.membership.trip_answered(cx, op, outcomes) {
            TripEnd::Ended(ended) => self.operations_ended(now, ended, out),
            TripEnd::LinkLost(ended) => {
                self.directory_down(now, out);
                self.operations_ended(now, ended, out);
            }
        }
    }

    /// Hands operations that have ended to the wings that asked for them.
    fn operations_ended(&mut self, now: Now, ended: Vec<Completion<Purpose>>, out: &mut Outbox) {
        for (purpose, conclusion) in ended.into_iter().map(Completion::into_parts) {
            if let Conclusion::Refused(error) = &conclusion {
                self.base.stats.directory_refusals += 1;
                out.log(Log::DirectoryRefused {
                    answer: error.to_string(),
                });
            }
            match purpose {
                Purpose::Membership(purpose) => {
                    let cx = &mut self.base.context(now, out);
                    let membership = &mut self.membership;
                    let effect =
                        membership.operation_ended(cx, &mut self.terminals, purpose, conclusion);
                    self.carry(now, out);
                    if let Some(effect) = effect {
                        self.carry_from_membership(now, effect, out);
                    }
                }
                Purpose::Publish(purpose) => {
                    let (cx, wings, publish) = &mut self.apart(now, out);
                    publish.operation_ended(cx, wings, purpose, conclusion);
                }
            }
        }
    }

    fn carry_from_membership(&mut self, now: Now, effect: membership::Effect, out: &mut Outbox) {
        match effect {
            membership::Effect::Claimed { missing } => {
                if self.drain.departure() != Departure::Releasing {
                    let cx = &mut self.base.context(now, out);
                    self.drain.end_isolation(cx);
                    (self.membership).begin_settling(cx, &self.terminals, missing);
                }
            }
            membership::Effect::Leases { asked, leases } => {
                let cx = &mut self.base.context(now, out);
                let said = |instance| self.peers.said_by(instance);
                for instance in self.membership.view_read(cx, asked, leases, said) {
                    self.peers.look_for(cx, &mut self.membership, instance);
                }
                self.peers.forget_strangers(self.membership.view());
                let (cx, wings, publish) = &mut self.apart(now, out);
                publish.view_read(cx, wings, asked);
            }
            membership::Effect::ViewFailed => {
                let (cx, wings, publish) = &mut self.apart(now, out);
                publish.view_failed(cx, wings);
            }
        }
    }

    /// Does a step of the drain.
    fn drain_due(&mut self, now: Now, timer: drain::Timer, out: &mut Outbox) {
        let cx = &mut self.base.context(now, out);
        let Some(left) = (self.drain).timer_due(cx, timer, self.terminals.present()) else {
            return;
        };
        for _ in 0..drain::STEP_TERMINALS {
            if self.terminals.present() <= left {
                break;
            }
            let cx = &mut self.base.context(now, out);
            self.terminals.close_oldest(cx, CloseCode::ServiceRestart);
            self.carry(now, out);
        }
        let is_behind = self.terminals.present() > left;
        let open = self.terminals.len() + self.publish.len() + self.deliver.len();
        let is_released = self.membership.is_released();
        let cx = &mut self.base.context(now, out);
        match self.drain.proceed(cx, is_behind, open, is_released) {
            Progress::None => {}
            Progress::Release => {
                self.membership.departure_changed();
                self.deliver.answer_all();
                self.carry(now, out);
                self.peers.say_goodbye(&mut self.base.context(now, out));
            }
            Progress::End => {
                // Nothing is asked from here on, and whatever was asked ends.
                self.directory_down(now, out);
                let (cx, wings, publish) = &mut self.apart(now, out);
                publish.end(cx, wings);
                wings.peers.close(cx);
                out.push(Command::Drained);
            }
        }
    }

    /// A peer says that the directory works for it.
    fn directory_works_elsewhere(&mut self, now: Now, out: &mut Outbox) {
        if let Some(since) = self.membership.directory_works_elsewhere(now.mono) {
            (self.drain).is_cut_off(&mut self.base.context(now, out), since);
        }
    }

    /// Takes up what was put off to the end of the turn, and lets it leave in one piece. What comes
    /// of it is of the next turn.
    ///
    /// First what may still queue something: answers to this instance's own deliveries, and
    /// deliveries that cannot be sent, end pushes, which may send new deliveries and ask the
    /// directory. Then the lease and what peers are told of it, which follow from all that has
    /// happened. Then what was queued leaves: for terminals, for the directory, and for peers.
    /// Nothing depends on the order of these three; it is fixed because equal instances are to give
    /// equal commands.
    fn end_turn(&mut self, now: Now, out: &mut Outbox) {
        let (cx, wings, publish) = &mut self.apart(now, out);
        publish.end_turn(cx, wings);
        let departure = self.drain.departure();
        let cx = &mut self.base.context(now, out);
        (self.membership).tend_lease(cx, &self.terminals, departure);
        self.tell_service(now, out);
        let cx = &mut self.base.context(now, out);
        self.terminals.end_turn(cx);
        self.membership.flush(cx);
        self.peers.flush(cx);
        self.base.turn += 1;
    }

    /// Whether nothing is put off to the end of the turn.
    fn turn_is_over(&self) -> bool {
        self.terminals.turn_is_over()
            && self.peers.unflushed().is_empty()
            && self.deliver.turn_is_over()
            && self.peers.failed().is_empty()
            && self.membership.turn_is_over()
    }

    fn fingerprint_turn(&self, now: Instant, hasher: &mut impl Hasher) {
        self.base.turn.fingerprint(now, hasher);
        self.terminals.fingerprint_turn(now, hasher);
        self.peers.unflushed().fingerprint(now, hasher);
        self.deliver.fingerprint_turn(hasher);
        self.peers.failed().fingerprint(now, hasher);
        self.membership.fingerprint_turn(now, hasher);
    }

    /// Hands on what a call has changed for other wings, in the order in which it changed.
    fn carry(&mut self, now: Now, out: &mut Outbox) {
        let (cx, wings, _) = &mut self.apart(now, out);
        wings.carry(cx);
    }

    /// Has a connection's row written, whatever is known of it.
    #[cfg(test)]
    pub(crate) fn write_row(&mut self, now: Now, key: ConnectionKey) {
        let mut out = Outbox::new();
        let cx = &mut self.base.context(now, &mut out);
        self.membership.row_wanted(cx, &self.terminals, key);
    }

    /// Has the lease lost.
    #[cfg(test)]
    pub(crate) fn lose_lease(&mut self, now: Now) {
        let mut out = Outbox::new();
        (self.membership).lose_lease(&mut self.base.context(now, &mut out));
    }

    /// Whether nothing is left of any connection, push, delivery or operation.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_at_rest_but_for(0)
    }

    /// Whether nothing is left but so many connections.
    #[cfg(test)]
    pub(crate) fn is_at_rest_but_for(&self, connections: usize) -> bool {
        self.terminals.len() == connections
            && self.terminals.present() == connections
            && self.turn_is_over()
            && self.publish.is_at_rest()
            && self.deliver.is_at_rest()
            && self.peers.open() == 0
            && self.membership.open() == 0
    }
}
