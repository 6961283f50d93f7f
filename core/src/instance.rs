//! The instance: its parts, and which of them an event or a timer is for.

use std::collections::VecDeque;
use std::hash::Hasher;

use crate::command::Outbox;
use crate::config::{Config, ConfigError, Identity};
use crate::drain::Drain;
use crate::event::Event;
use crate::fingerprint::Fingerprint;
use crate::id::{
    ConnectionId, ConnectionKey, DeliveryId, InboundKey, InstanceId, LinkKey, OpId, PushKey,
};
use crate::inbound::Inbound;
use crate::lease::Keeper;
use crate::peer::Peers;
use crate::push::Pushes;
use crate::registry::Registry;
use crate::repeat::Repeats;
use crate::rng::{Purpose, Seed, SeededHash, Stream};
use crate::rows::Upkeep;
use crate::slots::Slots;
use crate::stats::{Gauges, Stats};
use crate::time::{Instant, Now};
use crate::timer::Timers;
use crate::trips::Trips;
use crate::view::View;
use crate::wire::Delivered;

/// One server instance.
///
/// It is owned data without clocks, sockets or randomness of its own. The caller hands in what
/// happens and executes what comes out.
///
/// # Contract
///
/// - **Turns.** After any number of events, call [`handle_timeout`](Self::handle_timeout) if
///   [`next_timeout`](Self::next_timeout) is due. It is due at once, as [`TimerKind::Turn`], while
///   work of the turn is left: round trips and batches are formed there. A call too many does
///   nothing.
/// - **Commands** of one connection, of one link and of the directory are executed in the order
///   given; everything else may run at once. None waits for the success of another.
/// - **Answers.** Each `Flush`, `LinkWrite` and `Directory` is answered once, unless the connection
///   or link ended before. Each connection that `accept` returned ends with one `Closed` event from
///   the caller and one `Forget` command, in this order; its slot may be used again after that.
/// - **Time** never runs backwards from one call to the next.
/// - **Bad input** never panics: it becomes a refusal, a close, an outcome, and a counter.
/// - **Bounds.** A call does a bounded piece of work; what is left is due at once.
/// - **Determinism.** The same settings, seed and calls give the same commands, byte for byte.
#[derive(Clone, Debug)]
pub struct Instance {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) registry: Registry,
    pub(crate) upkeep: Upkeep,
    pub(crate) trips: Trips,
    pub(crate) keeper: Keeper,
    pub(crate) view: View,
    pub(crate) pushes: Pushes,
    pub(crate) inbound: Slots<InboundKey, Inbound>,
    pub(crate) broadcasts: VecDeque<InboundKey>,
    pub(crate) repeats: Repeats,
    pub(crate) peers: Peers,
    pub(crate) drain: Drain,
    pub(crate) timers: Timers<Timer>,
    pub(crate) once: [Option<Instant>; Once::COUNT],
    pub(crate) turn: Turn,
    pub(crate) connection_ids: Stream,
    pub(crate) nonces: Stream,
    pub(crate) jitter: Stream,
    pub(crate) stats: Stats,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Connection(ConnectionKey),
    Trip(OpId),
    Push(PushKey),
    Inbound(InboundKey),
    Link(LinkKey),
    Peer(InstanceId),
    Once(Once),
}

/// Timers of which there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Once {
    Lease,
    View,
    Sweep,
    Settle,
    Refused,
    Broadcast,
    Drain,
}

impl Once {
    const COUNT: usize = 7;
}

/// What is left to do before the turn ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// Counts up when a turn ends.
    pub(crate) number: u64,
    /// Connections with frames to write.
    pub(crate) connections: Vec<ConnectionKey>,
    /// Links with something to say.
    pub(crate) links: Vec<LinkKey>,
    /// This instance's answers to its own deliveries.
    pub(crate) delivered: Vec<Delivered>,
    /// Deliveries that cannot be sent.
    pub(crate) failed: Vec<DeliveryId>,
    /// What the lease should say may have changed.
    pub(crate) lease: bool,
}

impl Turn {
    fn is_over(&self) -> bool {
        self.connections.is_empty()
            && self.links.is_empty()
            && self.delivered.is_empty()
            && self.failed.is_empty()
            && !self.lease
    }
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
            registry: Registry::new(&hash),
            upkeep: Upkeep::new(),
            trips: Trips::new(),
            keeper: Keeper::new(now),
            view: View::new(now),
            pushes: Pushes::new(&hash),
            inbound: Slots::new(),
            broadcasts: VecDeque::new(),
            repeats: Repeats::new(config.repeat_memory, config.repeat_entries, &hash),
            peers: Peers::new(),
            drain: Drain::No,
            timers: Timers::new(now.mono),
            once: [None; Once::COUNT],
            turn: Turn::default(),
            connection_ids: Stream::new(&seed, Purpose::ConnectionIds),
            nonces: Stream::new(&seed, Purpose::Nonces),
            jitter: Stream::new(&seed, Purpose::Jitter),
            stats: Stats::default(),
            config,
            identity,
        })
    }

    /// Takes in something that happened.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        match event {
            Event::Opened { connection } => self.opened(now, connection),
            Event::Heard { connection, frame } => self.heard(now, connection, frame, out),
            Event::Written { connection } => self.written(connection, out),
            Event::Closed {
                connection,
                closure,
            } => self.closed(connection, closure, out),
            Event::DirectoryUp => self.directory_up(now, out),
            Event::DirectoryDown => self.directory_down(now, out),
            Event::Directory { op, outcomes } => self.trip_answered(now, op, outcomes, out),
            Event::LinkUp { link } => self.link_up(link, out),
            Event::LinkReceived { link, batch } => self.link_received(now, link, &batch, out),
            Event::LinkWritten { link } => self.link_written(link),
            Event::LinkDown { link, failure } => self.link_down(now, link, failure, out),
            Event::Push { call, push } => self.push(now, call, push, out),
            Event::Connections { call, user } => self.connections(call, user, out),
            Event::Instances { call } => self.instances(now, call, out),
            Event::Drain { delay, spread } => self.drain(now, delay, spread),
        }
    }

    /// Does what is due and ends the turn. A call when nothing is due does nothing.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        for _ in 0..TIMERS_PER_CALL {
            let Some(timer) = self.timers.pop(now.mono) else {
                break;
            };
            self.timer_due(now, timer, out);
        }
        self.end_turn(now, out);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, and what for.
    pub fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        if !self.turn.is_over() || self.trips.is_due() {
            return Some((Instant::START, TimerKind::Turn));
        }
        Some((self.timers.next()?, TimerKind::Deadline))
    }

    /// Hashes all that decides future behaviour, in canonical order, with times relative to `now`.
    /// Instances with equal fingerprints give equal commands for equal calls.
    pub fn fingerprint(&self, now: Now, hasher: &mut impl Hasher) {
        let now = now.mono;
        self.identity.instance.fingerprint(now, hasher);
        self.registry.fingerprint(now, hasher);
        self.upkeep.fingerprint(now, hasher);
        self.trips.fingerprint(now, hasher);
        self.keeper.fingerprint(now, hasher);
        self.view.fingerprint(now, hasher);
        self.pushes.fingerprint(now, hasher);
        self.inbound.fingerprint(now, hasher);
        self.broadcasts.fingerprint(now, hasher);
        self.repeats.fingerprint(now, hasher);
        self.peers.fingerprint(now, hasher);
        self.drain.fingerprint(now, hasher);
        self.once.as_slice().fingerprint(now, hasher);
        self.turn.fingerprint(now, hasher);
        hasher.write_u128(self.connection_ids.position());
        hasher.write_u128(self.nonces.position());
        hasher.write_u128(self.jitter.position());
    }

    /// Its id.
    pub const fn id(&self) -> InstanceId {
        self.identity.instance
    }

    /// The name of a connection that is not forgotten.
    pub fn connection_id(&self, connection: ConnectionKey) -> Option<ConnectionId> {
        Some(self.registry.get(connection)?.id)
    }

    /// Whether a balancer should send terminals here: it takes terminals, and the directory has
    /// known it once. A directory that goes away later does not change that.
    pub const fn is_ready(&self) -> bool {
        self.takes_terminals() && self.keeper.has_held()
    }

    /// Counters since the start.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What it holds at present.
    pub fn gauges(&self, now: Now) -> Gauges {
        Gauges {
            connections: self.registry.len(),
            users: self.registry.users(),
            pushes: self.pushes.len(),
            links: self.peers.links.len(),
            instances: self.view.alive() + 1,
            epoch: self.keeper.epoch().get(),
            directory: self.keeper.has_lease(now.mono),
        }
    }

    fn timer_due(&mut self, now: Now, timer: Timer, out: &mut Outbox) {
        match timer {
            Timer::Connection(key) => self.connection_due(now, key, out),
            Timer::Trip(op) => self.trip_due(now, op, out),
            Timer::Push(key) => self.push_due(now, key, out),
            Timer::Inbound(key) => self.inbound_due(key),
            Timer::Link(key) => self.link_due(now, key, out),
            Timer::Peer(instance) => self.peer_due(now, instance, out),
            Timer::Once(once) => {
                let armed = &mut self.once[once as usize];
                if armed.is_none_or(|armed| armed > now.mono) {
                    return;
                }
                *armed = None;
                self.once_due(now, once, out);
            }
        }
    }

    fn once_due(&mut self, now: Now, once: Once, out: &mut Outbox) {
        match once {
            Once::Lease => self.turn.lease = true,
            Once::View => self.view_due(now),
            Once::Sweep => self.sweep_due(now),
            Once::Settle => self.settle_due(now, out),
            Once::Refused => self.refused_due(now),
            Once::Broadcast => self.broadcast_due(now, out),
            Once::Drain => self.drain_due(now, out),
        }
    }

    /// Arms a timer of which there is one. The earlier moment counts.
    pub(crate) fn arm_once(&mut self, once: Once, at: Instant) {
        let armed = &mut self.once[once as usize];
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.timers.arm(at, Timer::Once(once));
        }
    }

    /// Whether such a timer is armed.
    pub(crate) const fn is_armed(&self, once: Once) -> bool {
        self.once[once as usize].is_some()
    }

    /// Takes up what was put off to the end of the turn. What comes of it is of the next turn.
    fn end_turn(&mut self, now: Now, out: &mut Outbox) {
        self.take_up_delivered(now, out);
        for delivery in std::mem::take(&mut self.turn.failed) {
            self.delivery_failed(now, delivery, out);
        }
        if self.turn.lease {
            self.tend_lease(now);
        }
        let mut connections = std::mem::take(&mut self.turn.connections);
        for key in connections.drain(..) {
            self.flush_connection(key, out);
        }
        self.turn.connections = connections;
        self.flush_trips(now, out);
        let mut links = std::mem::take(&mut self.turn.links);
        for key in links.drain(..) {
            self.flush_link(now, key, out);
        }
        self.turn.links = links;
        self.turn.number += 1;
    }

    /// Takes up this instance's answers to its own deliveries.
    pub(crate) fn take_up_delivered(&mut self, now: Now, out: &mut Outbox) {
        for delivered in std::mem::take(&mut self.turn.delivered) {
            self.delivered(now, self.identity.instance, delivered, out);
        }
    }

    /// A state that only a bug can reach.
    pub(crate) fn bug(&mut self, what: &str) {
        self.stats.bugs += 1;
        debug_assert!(false, "{what}");
    }

    /// Whether nothing is left of any connection, push, delivery or operation.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_at_rest_but_for(0)
    }

    /// Whether nothing is left but so many connections.
    #[cfg(test)]
    pub(crate) fn is_at_rest_but_for(&self, connections: usize) -> bool {
        self.registry.len() == connections
            && self.registry.present() == connections
            && self.broadcasts.is_empty()
            && self.pushes.waiting_for_view.is_empty()
            && self.turn.is_over()
            && self.pushes.len() == 0
            && self.pushes.lanes() == 0
            && self.pushes.hops() == 0
            && self.inbound.is_empty()
            && self.peers.open() == 0
            && self.trips.open() == 0
    }

    /// Checks that every queue and table keeps its limit.
    #[cfg(test)]
    pub(crate) fn check_limits(&self) {
        let config = &self.config;
        assert!(self.registry.len() <= config.connections);
        assert!(self.pushes.len() <= config.pushes);
        assert!(self.pushes.longest_lane() <= config.pushes_per_user);
        assert!(self.broadcasts.len() <= config.broadcasts);
        assert!(self.repeats.len() <= config.repeat_entries);
        assert!(self.peers.links.len() <= config.links);
        assert!(self.peers.longest_queue() <= config.link_queue_bytes);
        for (_, connection) in self.registry.iter() {
            // The hello comes on top.
            assert!(connection.outbound.frames() <= config.queue_frames + 1);
        }
    }
}

impl Fingerprint for Turn {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.number.fingerprint(now, hasher);
        self.connections.fingerprint(now, hasher);
        self.links.fingerprint(now, hasher);
        std::hash::Hash::hash(&self.delivered, hasher);
        self.failed.fingerprint(now, hasher);
        self.lease.fingerprint(now, hasher);
    }
}
