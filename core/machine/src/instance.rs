//! The instance: its wings, and which of them an event or a timer is for.

mod across;
mod figures;
mod fingerprint;
mod states;
mod turn;

use std::time::Duration;

#[cfg(feature = "flaws")]
use crate::base::flaws::Flaws;
use crate::base::rng::{Seed, SeededHash};
use crate::command::Outbox;
use crate::config::{Config, ConfigError, Identity};
use crate::context::{Base, Context};
use crate::deliver::Deliveries;
use crate::drain::Drain;
use crate::event::{Closure, Ended, Event, Handshake, Login, Refused};
use crate::follow::Followers;
use crate::frame::EncodedSize;
use crate::id::{CallId, ConnectionId, ConnectionKey, InstanceId, LinkKey};
use crate::membership::Membership;
use crate::message::{Push, PushRefused};
use crate::peers::Peers;
use crate::presence::Presences;
use crate::publish::{self, Publish};
use crate::stats::Stats;
use crate::terminals::Terminals;
use crate::time::{Instant, Now};
use crate::vocabulary::departure::Departure;
#[cfg(test)]
use crate::vocabulary::terminal::TerminalChange;
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
/// came first, behind a [`Withheld`](Event::Withheld) if some of these frames are not sent, and in any case, an upgrade that
/// fails included, [`Closed`](Event::Closed) once. Then one
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
/// **Calls** ([`Push`](Event::Push), [`Connections`](Event::Connections), [`Log`](Event::Log),
/// [`Relay`](Event::Relay), [`Instances`](Event::Instances)) are answered with exactly one
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
/// use switchboard_core::directory::memory::MemoryDirectory;
/// use switchboard_core::event::{Event, Handshake};
/// use switchboard_core::frame::{HelloLog, Outgoing};
/// use switchboard_core::id::{InstanceId, UserId};
/// use switchboard_core::time::{Instant, Now, WallTime};
/// use switchboard_core::{Instance, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::default();
/// let mut directory = MemoryDirectory::new(config.directory());
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
/// let log = HelloLog::NotAsked;
/// assert_eq!(sent, [Outgoing::Hello { connection: name, degraded: false, log }]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Instance {
    base: Base,
    terminals: Terminals,
    membership: Membership,
    publish: Publish,
    deliver: Deliveries,
    follow: Followers,
    peers: Peers,
    presence: Presences,
    drain: Drain,
}

/// What a timeout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// Work of this turn is left: it is due at once.
    Turn,
    /// Something has a deadline.
    Deadline,
}

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
            publish: Publish::new(&config, &hash),
            deliver: Deliveries::new(&config, &hash),
            follow: Followers::new(&config, &hash),
            peers: Peers::new(),
            presence: Presences::new(),
            drain: Drain::new(),
            base: Base::new(config, identity, &seed, now),
        })
    }

    /// The same instance with bugs.
    #[cfg(feature = "flaws")]
    #[doc(hidden)]
    pub const fn with_flaws(mut self, flaws: Flaws) -> Self {
        self.base.flaws = flaws;
        self
    }

    /// The same instance, where there is room for no more than so many terminals that have not said who they are: a
    /// share of what the operating system has room for.
    #[must_use]
    pub const fn with_strangers_at_most(mut self, most: usize) -> Self {
        self.terminals.limit_strangers(most);
        self
    }

    /// Takes a terminal that passed the authenticator, before the upgrade is answered. The caller
    /// reports `Opened` within `handshake_timeout`, and `Closed` in any case. It has executed all
    /// commands before: the key may be in the slot of a connection that they are about.
    ///
    /// # Errors
    ///
    /// Says why the terminal is not taken; nothing is kept of the handshake then.
    pub fn accept(&mut self, now: Now, handshake: Handshake) -> Result<ConnectionKey, Refused> {
        if !self.drain.takes_terminals() {
            return Err(Refused::Draining);
        }
        let mut out = Outbox::new();
        let accepted = (self.terminals).accept(&mut self.base.context(now, &mut out), handshake);
        debug_assert!(out.is_empty(), "a terminal was told something unasked");
        accepted
    }

    /// Takes a terminal whose handshake does not say who it is, before the upgrade is answered. The caller reports
    /// [`Authenticated`](Event::Authenticated) when the terminal has said so and the authenticator believes it; if
    /// that takes longer than `authentication_timeout` the terminal is closed. Until then nothing is for it. All
    /// else is as with [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// Says why the terminal is not taken; nothing is kept of it then.
    pub fn accept_stranger(
        &mut self,
        now: Now,
        size: EncodedSize,
    ) -> Result<ConnectionKey, Refused> {
        if !self.drain.takes_terminals() {
            return Err(Refused::Draining);
        }
        let mut out = Outbox::new();
        let accepted =
            (self.terminals).accept_stranger(&mut self.base.context(now, &mut out), size);
        debug_assert!(out.is_empty(), "a terminal was told something unasked");
        accepted
    }

    /// Takes a link that another instance dialled. `None` if there are too many: the socket is to
    /// be closed. All commands have been executed before, as with [`accept`](Self::accept).
    pub fn accept_link(&mut self, now: Now) -> Option<LinkKey> {
        let mut nothing = Outbox::new();
        self.peers.accept(&mut self.base.context(now, &mut nothing))
    }

    /// Takes in something that happened. What follows at once is added to `out`; round trips,
    /// batches and writes come with the end of the turn.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        let (cx, wings, publish) = &mut self.apart(now, out);
        match event {
            Event::Opened { connection } => wings.terminals.opened(cx, connection),
            Event::Topic { connection, wish } => {
                wings.terminals.topic_wished(cx, connection, wish);
            }
            Event::Authenticated { connection, login } => {
                self.authenticated(now, connection, *login, out);
            }
            Event::Refreshed {
                connection,
                expires,
                topics,
            } => wings.terminals.refreshed(cx, connection, expires, topics),
            Event::Heard { connection, frame } => wings.terminals.heard(cx, connection, frame),
            Event::Written { connection } => wings.terminals.written(cx, connection),
            Event::Withheld {
                connection,
                topic,
                from,
            } => wings.terminals.withheld(cx, connection, &topic, from),
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
            Event::Log {
                call,
                channel,
                request,
            } => publish.log(cx, wings, call, channel, request),
            Event::Relay {
                call,
                to,
                session,
                frame,
            } => publish.relay(cx, wings, call, (to, session), frame),
            Event::Relayed { delivery, hearing } => wings.deliver.relayed(cx, delivery, hearing),
            Event::Instances { call } => self.instances(now, call, out),
            Event::Drain { delay, spread } => self.drain(now, delay, spread, out),
            Event::Probed { connection, life } => wings.terminals.probed(cx, connection, life),
        }
        self.carry(now, out);
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

    /// The id that it was given.
    pub const fn id(&self) -> InstanceId {
        self.base.identity.instance
    }

    /// The name of a connection that is not forgotten.
    pub fn connection_id(&self, connection: ConnectionKey) -> Option<ConnectionId> {
        self.terminals.id(connection)
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
            follow: &mut self.follow,
            peers: &mut self.peers,
            presence: &mut self.presence,
        };
        (self.base.context(now, out), wings, &mut self.publish)
    }

    fn authenticated(
        &mut self,
        now: Now,
        connection: ConnectionKey,
        login: Login,
        out: &mut Outbox,
    ) {
        let takes_terminals = self.drain.takes_terminals();
        let cx = &mut self.base.context(now, out);
        if takes_terminals {
            self.terminals.authenticated(cx, connection, login);
        } else {
            self.terminals.turn_away(cx, connection, Refused::Draining);
        }
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
        let cx = &mut self.base.context(now, out);
        (self.membership).list_instances(cx, &self.terminals, departure, call);
    }

    fn drain(&mut self, now: Now, delay: Duration, spread: Duration, out: &mut Outbox) {
        if (self.drain).order(&mut self.base.context(now, out), delay, spread) {
            self.membership.departure_changed();
        }
    }

    fn timer_due(&mut self, now: Now, timer: Timer, out: &mut Outbox) {
        match timer {
            Timer::Terminals(timer) => {
                let cx = &mut self.base.context(now, out);
                self.terminals.timer_due(cx, timer);
            }
            Timer::Membership(timer) => {
                let cx = &mut self.base.context(now, out);
                let ended = self.membership.timer_due(cx, &mut self.terminals, timer);
                self.operations_ended(now, ended, out);
            }
            Timer::Publish(timer) => {
                let (cx, wings, publish) = &mut self.apart(now, out);
                publish.timer_due(cx, wings, timer);
            }
            Timer::Deliver(timer) => {
                let cx = &mut self.base.context(now, out);
                (self.deliver).timer_due(cx, &mut self.follow, &mut self.terminals, timer);
            }
            Timer::Follow(timer) => {
                let cx = &mut self.base.context(now, out);
                self.follow.timer_due(cx, &mut self.membership, timer);
            }
            Timer::Peers(timer) => {
                let cx = &mut self.base.context(now, out);
                self.peers.timer_due(cx, &mut self.membership, timer);
            }
            Timer::Presence(timer) => self.presence_due(now, timer, out),
            Timer::Drain(timer) => self.drain_due(now, timer, out),
        }
    }

    /// Has a connection's row written, whatever is known of it.
    #[cfg(test)]
    pub(crate) fn write_row(&mut self, now: Now, key: ConnectionKey) {
        let mut out = Outbox::new();
        let cx = &mut self.base.context(now, &mut out);
        let change = TerminalChange::Opened(key);
        (self.membership).terminal_changed(cx, &mut self.terminals, change);
    }

    /// Has the lease lost.
    #[cfg(test)]
    pub(crate) fn lose_lease(&mut self, now: Now) {
        let mut out = Outbox::new();
        (self.membership).lose_lease(&mut self.base.context(now, &mut out));
        self.carry(now, &mut out);
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
            && (connections > 0 || self.follow.is_at_rest())
            && self.peers.open() == 0
            && self.membership.open() == 0
    }
}
