//! Feeds one instance, and checks what comes out of it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::command::{Command, Outbox, RoundTrip};
use crate::config::{ClusterSecret, Config, Identity, SlowConsumer};
use crate::directory::memory::MemoryDirectory;
use crate::directory::{
    self, DirectorySettings, Lease, LeaseState, Load, Operation, OperationError, Reply, Row,
};
use crate::event::{Closure, Event, Handshake, Heard, LinkFailure, Notice, TripLost};
use crate::frame::{CloseCode, Payload};
use crate::id::{
    CallId, ConnectionId, ConnectionKey, DeliveryId, Epoch, InstanceId, LinkKey, OpId, PushId, UserId,
};
use crate::instance::Instance;
use crate::message::{Action, Audience, Counts, Outcome, Push};
use crate::rng::Seed;
use crate::slots::Key as _;
use crate::time::{Instant, Now, WallTime};
use crate::wire::{
    self, Addressee, Addressees, Ask, Batch, Deliver, Delivered, Hello, Message, Outcomes, Role,
    Transcript,
};

/// Something that happens to the instance. Numbers choose among what there is.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Accept { user: u8, expires: Option<u16> },
    Opened { connection: usize },
    Heard { connection: usize, message: bool },
    Written { connection: usize },
    Closed { connection: usize, violation: bool },
    Stray { slot: u32, generation: u32, kind: u8 },
    DirectoryUp,
    DirectoryDown,
    Serve,
    Link,
    Answer { trip: usize, how: Answering },
    Plant { instance: u8, epoch: u8, state: u8, user: u8, connection: u8 },
    Wipe,
    AcceptLink,
    LinkUp { link: usize },
    Prove { link: usize, peer: u8, honest: bool },
    Bytes { link: usize, bytes: Vec<u8> },
    Say { link: usize, messages: Vec<Said> },
    LinkWritten { link: usize },
    LinkDown { link: usize, not_me: bool },
    Push { id: u8, to: To, kick: bool, bytes: usize, millis: u16 },
    Connections { user: u8 },
    Instances,
    Drain { delay: u16, spread: u16 },
    Wait { millis: u32 },
}

#[derive(Clone, Debug)]
pub(super) enum Answering {
    Truly,
    Lost,
    Short,
    NotPrimary,
    Refused,
    Wrongly(u8),
}

#[derive(Clone, Debug)]
pub(super) enum To {
    User(u8),
    Some(u8, Vec<usize>),
    Users(Vec<u8>),
    Everyone,
}

#[derive(Clone, Debug)]
pub(super) enum Said {
    Deliver { delivery: u8, push: u8, user: u8, named: Vec<usize>, ask: u8, millis: u16, kick: bool },
    Everyone { delivery: u8, push: u8 },
    Outcomes { delivery: u8, connections: Vec<(u8, usize, u8)> },
    Counts { delivery: u8, number: u64 },
    Heartbeat { directory: bool },
    Goodbye,
    Proof,
}

const HERE: InstanceId = InstanceId::new(1);

/// The instance, and what its caller knows.
#[derive(Clone, Debug)]
pub(super) struct Feeder {
    now: Now,
    instance: Instance,
    directory: MemoryDirectory,
    pub(super) commands: Vec<Command>,
    connections: Vec<(ConnectionKey, ConnectionId)>,
    open: BTreeSet<ConnectionKey>,
    flushing: BTreeSet<ConnectionKey>,
    forgotten: BTreeSet<ConnectionKey>,
    noticed: BTreeMap<ConnectionKey, bool>,
    trips: Vec<RoundTrip>,
    ops: BTreeSet<OpId>,
    links: Vec<LinkKey>,
    gone_links: BTreeSet<LinkKey>,
    writing: BTreeSet<LinkKey>,
    last_batch: BTreeMap<LinkKey, Bytes>,
    calls: u64,
    /// Calls without an answer, and when it is due.
    waiting: BTreeMap<CallId, Instant>,
}

fn config() -> Config {
    Config {
        queue_frames: 3,
        queue_bytes: 64,
        push_bytes: 40,
        push_users: 3,
        pushes: 8,
        pushes_per_user: 3,
        receipt_terminals: 3,
        broadcast_rate: 1000,
        broadcasts: 2,
        repeat_entries: 4,
        link_queue_bytes: 1000,
        links: 4,
        connections: 6,
        connections_per_user: 3,
        slow_consumer: SlowConsumer::DropOldest,
        ..Config::default()
    }
}

impl Feeder {
    pub(super) fn new() -> Self {
        let now = Now {
            mono: Instant::from_nanos(1_000_000_000),
            wall: WallTime::from_millis(1_700_000_000_000),
        };
        let identity = Identity {
            instance: HERE,
            address: "here:1".to_owned(),
            secret: secret(),
        };
        let config = config();
        let directory = MemoryDirectory::new(DirectorySettings {
            prefix: "sb:".to_owned(),
            lease: config.lease,
            row_expiry: config.row_expiry,
        });
        Self {
            now,
            instance: Instance::new(config, identity, Seed::new([3; 32]), now).expect("fits"),
            directory,
            commands: Vec::new(),
            connections: Vec::new(),
            open: BTreeSet::new(),
            flushing: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            noticed: BTreeMap::new(),
            trips: Vec::new(),
            ops: BTreeSet::new(),
            links: Vec::new(),
            gone_links: BTreeSet::new(),
            writing: BTreeSet::new(),
            last_batch: BTreeMap::new(),
            calls: 0,
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.instance.fingerprint(self.now, &mut hasher);
        hasher.finish()
    }

    pub(super) fn falsify_statistics(&mut self) {
        // Pushes are published with the lease, for people.
        let pushes = self.instance.stats.pushes;
        self.instance.stats = crate::stats::Stats {
            accepted: 99,
            frames: 99,
            repeats: 99,
            trips: 99,
            pushes,
            ..crate::stats::Stats::default()
        };
    }

    pub(super) fn take(&mut self, step: &Step) {
        self.happen(step);
        self.turn();
        self.check();
    }

    /// Everybody goes, and time passes.
    pub(super) fn end(&mut self) {
        for connection in std::mem::take(&mut self.open) {
            self.event(Event::Closed {
                connection,
                closure: Closure::Abrupt,
            });
        }
        for link in self.links.clone() {
            if self.gone_links.insert(link) {
                let failure = LinkFailure::Broken;
                self.event(Event::LinkDown { link, failure });
            }
        }
        self.event(Event::DirectoryDown);
        self.happen(&Step::Wait { millis: 60_000 });
        self.turn();
        self.check();
        assert!(self.waiting.is_empty(), "calls without an answer: {:?}", self.waiting);
        let accepted: BTreeSet<_> = self.connections.iter().map(|(key, _)| *key).collect();
        assert_eq!(self.forgotten, accepted, "each connection is forgotten");
        assert!(self.noticed.values().all(|connected| !connected), "each is reported gone");
        assert!(self.instance.is_at_rest(), "{:#?}", self.instance);
    }

    fn happen(&mut self, step: &Step) {
        match step {
            Step::Accept { user, expires } => self.accept(*user, *expires),
            Step::Opened { connection } => {
                if let Some(connection) = self.connection(*connection) {
                    self.event(Event::Opened { connection });
                }
            }
            Step::Heard { connection, message } => {
                if let Some(connection) = self.connection(*connection) {
                    let frame = if *message { Heard::Message } else { Heard::Control };
                    self.event(Event::Heard { connection, frame });
                }
            }
            Step::Written { connection } => {
                if let Some(connection) = self.connection(*connection)
                    && self.flushing.remove(&connection)
                {
                    self.event(Event::Written { connection });
                }
            }
            Step::Closed { connection, violation } => {
                if let Some(connection) = self.connection(*connection) {
                    let closure = match violation {
                        true => Closure::Violation(CloseCode::TooLarge),
                        false => Closure::Clean,
                    };
                    self.open.remove(&connection);
                    self.flushing.remove(&connection);
                    self.event(Event::Closed { connection, closure });
                }
            }
            Step::Stray { slot, generation, kind } => self.stray(*slot, *generation, *kind),
            Step::DirectoryUp => self.event(Event::DirectoryUp),
            Step::DirectoryDown => self.event(Event::DirectoryDown),
            Step::Answer { trip, how } => self.answer(*trip, how),
            Step::Link => self.open_links(),
            Step::Serve => self.serve(),
            Step::Plant { instance, epoch, state, user, connection } => {
                self.plant(*instance, *epoch, *state, *user, *connection);
            }
            Step::Wipe => self.directory.wipe(),
            Step::AcceptLink => self.links.extend(self.instance.accept_link(self.now)),
            Step::LinkUp { link } => {
                if let Some(link) = self.link(*link) {
                    self.event(Event::LinkUp { link });
                }
            }
            Step::Prove { link, peer, honest } => self.prove(*link, *peer, *honest),
            Step::Bytes { link, bytes } => self.receive(*link, bytes.clone().into()),
            Step::Say { link, messages } => {
                let mut batch = Batch::new();
                for said in messages {
                    batch.push(&self.message(said));
                }
                self.receive(*link, batch.take());
            }
            Step::LinkWritten { link } => {
                if let Some(link) = self.link(*link)
                    && self.writing.remove(&link)
                {
                    self.event(Event::LinkWritten { link });
                }
            }
            Step::LinkDown { link, not_me } => {
                if let Some(link) = self.link(*link) {
                    let failure = if *not_me { LinkFailure::NotMe } else { LinkFailure::Broken };
                    self.gone_links.insert(link);
                    self.event(Event::LinkDown { link, failure });
                }
            }
            Step::Push { id, to, kick, bytes, millis } => {
                let deadline = Duration::from_millis((*millis).into());
                let push = Push {
                    id: push_id(*id),
                    to: self.audience(to),
                    action: action(*kick, *bytes),
                    deadline,
                };
                let call = self.call(deadline.min(Config::DEADLINE_MAX));
                self.event(Event::Push { call, push });
            }
            Step::Connections { user } => {
                // A lookup and a reading of the leases, each behind what waits.
                let call = self.call(Duration::from_secs(30));
                let user = user_id(*user);
                self.event(Event::Connections { call, user });
            }
            Step::Instances => {
                let call = self.call(Duration::ZERO);
                self.event(Event::Instances { call });
            }
            Step::Drain { delay, spread } => self.event(Event::Drain {
                delay: Duration::from_millis((*delay).into()),
                spread: Duration::from_millis((*spread).into()),
            }),
            Step::Wait { millis } => {
                let span = Duration::from_millis((*millis).into());
                self.now.mono = self.now.mono + span;
                let wall = self.now.wall.as_millis() + u64::from(*millis);
                self.now.wall = WallTime::from_millis(wall);
            }
        }
    }

    fn accept(&mut self, user: u8, expires: Option<u16>) {
        let expires = expires
            .map(|millis| WallTime::from_millis(self.now.wall.as_millis() + u64::from(millis)));
        let user = user_id(user);
        if let Ok(key) = self.instance.accept(self.now, Handshake { user, expires }) {
            let id = self.instance.connection_id(key).expect("just accepted");
            self.connections.push((key, id));
            self.open.insert(key);
        }
    }

    fn stray(&mut self, slot: u32, generation: u32, kind: u8) {
        let connection = ConnectionKey::new(slot + 100, generation);
        let link = LinkKey::new(slot + 100, generation);
        let failure = LinkFailure::Broken;
        let closure = Closure::Clean;
        self.event(match kind % 8 {
            0 => Event::Opened { connection },
            1 => Event::Heard { connection, frame: Heard::Message },
            2 => Event::Written { connection },
            3 => Event::Closed { connection, closure },
            4 => Event::LinkUp { link },
            5 => Event::LinkWritten { link },
            6 => Event::LinkDown { link, failure },
            _ => Event::Directory { op: OpId::new(generation.into()), outcomes: Err(TripLost) },
        });
    }

    fn answer(&mut self, trip: usize, how: &Answering) {
        if self.trips.is_empty() {
            return;
        }
        let trip = self.trips.remove(trip % self.trips.len());
        let mut outcomes: Vec<directory::Outcome> = (trip.operations.iter())
            .map(|operation| self.directory.execute(self.now.mono, operation))
            .collect();
        let text = || "-ERR".to_owned();
        match how {
            Answering::Truly => {}
            Answering::Lost => {
                let op = trip.op;
                self.event(Event::Directory { op, outcomes: Err(TripLost) });
                return;
            }
            Answering::Short => {
                outcomes.pop();
            }
            Answering::NotPrimary => outcomes[0] = Err(OperationError::NotPrimary(text())),
            Answering::Refused => outcomes.fill(Err(OperationError::Refused(text()))),
            Answering::Wrongly(number) => outcomes.fill(Ok(reply(*number))),
        }
        let op = trip.op;
        self.event(Event::Directory { op, outcomes: Ok(outcomes) });
    }

    fn plant(&mut self, instance: u8, epoch: u8, state: u8, user: u8, connection: u8) {
        let instance = InstanceId::new(u64::from(instance % 4) + 1);
        let epoch = Epoch::new(u64::from(epoch % 4) + 1);
        let state = [LeaseState::Up, LeaseState::Settling, LeaseState::Draining][state as usize % 3];
        let claim = Operation::Claim {
            instance,
            lease: Lease {
                epoch,
                floor: Epoch::new(1),
                beat: 0,
                state,
                address: "peer:1".to_owned(),
            },
            load: Load::default(),
        };
        let register = Operation::Register {
            user: user_id(user),
            connection: ConnectionId::new(uuid::Uuid::from_u128(u128::from(connection % 8))),
            row: Row {
                instance,
                epoch,
                connected: WallTime::from_millis(1),
            },
        };
        if instance != HERE {
            self.directory.execute(self.now.mono, &claim).expect("executed");
        }
        self.directory.execute(self.now.mono, &register).expect("executed");
    }

    /// The directory, the sockets and the links do what they were told.
    fn serve(&mut self) {
        for _ in 0..4 {
            while !self.trips.is_empty() {
                self.answer(0, &Answering::Truly);
                self.turn();
            }
            for connection in self.open.clone() {
                self.event(Event::Opened { connection });
            }
            for connection in std::mem::take(&mut self.flushing) {
                self.event(Event::Written { connection });
            }
            for link in std::mem::take(&mut self.writing) {
                self.event(Event::LinkWritten { link });
            }
            self.turn();
        }
    }

    /// The peers of all dialled links answer as they should.
    fn open_links(&mut self) {
        for number in 0..self.links.len() {
            let link = self.links[number];
            if self.gone_links.contains(&link) || self.last_batch.contains_key(&link) {
                continue;
            }
            self.event(Event::LinkUp { link });
            self.prove(self.links.len() - 1 - number, 0, true);
            self.writing.remove(&link);
            self.event(Event::LinkWritten { link });
            self.turn();
            let mut batch = Batch::new();
            batch.push(&Message::Heartbeat { directory: true });
            self.receive(self.links.len() - 1 - number, batch.take());
        }
    }

    /// Says what comes next in the handshake of a link.
    fn prove(&mut self, number: usize, peer: u8, honest: bool) {
        let Some(link) = self.link(number) else {
            return;
        };
        let from = InstanceId::new(u64::from(peer % 3) + 2);
        let ours = self.last_batch.get(&link).and_then(|batch| wire::decode_hello(batch).ok());
        let hello = Hello {
            version: wire::VERSION,
            from,
            to: HERE,
            nonce: [7; 16],
            proof: None,
        };
        let Some(ours) = ours else {
            return self.receive(number, wire::encode_hello(&hello));
        };
        let secret = if honest { secret() } else { ClusterSecret::new(&[9; 16]).expect("long") };
        let dialled = ours.proof.is_none();
        let (dialler, acceptor) = if dialled { (HERE, ours.to) } else { (ours.to, HERE) };
        let (dialler_nonce, acceptor_nonce) =
            if dialled { (ours.nonce, [7; 16]) } else { ([7; 16], ours.nonce) };
        let transcript = Transcript {
            dialler,
            acceptor,
            dialler_nonce,
            acceptor_nonce,
            version: wire::VERSION,
        };
        if dialled {
            let proof = Some(transcript.prove(&secret, Role::Acceptor));
            let hello = Hello { from: ours.to, proof, ..hello };
            self.receive(number, wire::encode_hello(&hello));
        } else {
            let mut batch = Batch::new();
            batch.push(&Message::Proof(transcript.prove(&secret, Role::Dialler)));
            self.receive(number, batch.take());
        }
    }

    fn receive(&mut self, link: usize, batch: Bytes) {
        if let Some(link) = self.link(link) {
            self.event(Event::LinkReceived { link, batch });
        }
    }

    fn message(&self, said: &Said) -> Message {
        let id = |number: &usize| match self.connections.len() {
            0 => ConnectionId::new(uuid::Uuid::nil()),
            len => self.connections[number % len].1,
        };
        match said {
            Said::Deliver { delivery, push, user, named, ask, millis, kick } => {
                Message::Deliver(Deliver {
                    delivery: DeliveryId::new((*delivery).into()),
                    push: push_id(*push),
                    within: Duration::from_millis((*millis).into()),
                    action: action(*kick, 5),
                    to: Addressees::Users(vec![Addressee {
                        user: user_id(*user),
                        named: named.iter().map(id).collect(),
                        ask: match ask % 3 {
                            0 => Ask::Nobody,
                            1 => Ask::All,
                            _ => Ask::Only(named.iter().rev().map(id).collect()),
                        },
                    }]),
                })
            }
            Said::Everyone { delivery, push } => Message::Deliver(Deliver {
                delivery: DeliveryId::new((*delivery).into()),
                push: push_id(*push),
                within: Duration::from_secs(1),
                action: action(false, 5),
                to: Addressees::Everyone,
            }),
            Said::Outcomes { delivery, connections } => {
                let outcome = |number: u8| match number % 5 {
                    0 => Outcome::Written,
                    1 => Outcome::Queued,
                    2 => Outcome::Overflow,
                    3 => Outcome::Unreachable,
                    _ => Outcome::Gone,
                };
                let outcomes = (connections.iter())
                    .map(|(index, connection, number)| {
                        let planted = uuid::Uuid::from_u128(*connection as u128 % 8);
                        (u32::from(*index) % 2, ConnectionId::new(planted), outcome(*number))
                    })
                    .collect();
                Message::Delivered(Delivered {
                    delivery: DeliveryId::new((*delivery).into()),
                    outcomes: Outcomes::Users(outcomes),
                })
            }
            Said::Counts { delivery, number } => Message::Delivered(Delivered {
                delivery: DeliveryId::new((*delivery).into()),
                outcomes: Outcomes::Everyone(Counts {
                    written: *number,
                    ..Counts::default()
                }),
            }),
            Said::Heartbeat { directory } => Message::Heartbeat { directory: *directory },
            Said::Goodbye => Message::Goodbye,
            Said::Proof => Message::Proof([1; 32]),
        }
    }

    fn audience(&self, to: &To) -> Audience {
        match to {
            To::User(user) => Audience::User(user_id(*user)),
            To::Some(user, connections) => Audience::Connections {
                user: user_id(*user),
                connections: (connections.iter())
                    .filter_map(|number| self.connections.get(*number).map(|(_, id)| *id))
                    .collect(),
            },
            To::Users(users) => Audience::Users(users.iter().map(|user| user_id(*user)).collect()),
            To::Everyone => Audience::Everyone,
        }
    }

    fn connection(&self, number: usize) -> Option<ConnectionKey> {
        let count = self.connections.len();
        (count > 0).then(|| self.connections[number % count].0)
    }

    fn link(&self, number: usize) -> Option<LinkKey> {
        // The youngest first: the others have often gone.
        let count = self.links.len();
        (count > 0).then(|| self.links[count - 1 - number % count])
    }

    fn call(&mut self, within: Duration) -> CallId {
        self.calls += 1;
        let call = CallId::new(self.calls);
        // Timers are served within two of their ticks.
        let due = self.now.mono + within + Duration::from_millis(3);
        self.waiting.insert(call, due);
        call
    }

    fn event(&mut self, event: Event) {
        let mut out = Outbox::new();
        self.instance.handle(self.now, event, &mut out);
        self.execute(&mut out);
    }

    fn turn(&mut self) {
        for _ in 0..10_000 {
            if self.instance.next_timeout().is_none_or(|(at, _)| at > self.now.mono) {
                return;
            }
            let mut out = Outbox::new();
            self.instance.handle_timeout(self.now, &mut out);
            self.execute(&mut out);
        }
        panic!("busy without end: {:?}", self.instance.next_timeout());
    }

    fn execute(&mut self, out: &mut Outbox) {
        for command in out.drain() {
            self.commands.push(command.clone());
            match command {
                Command::Flush { connection } => {
                    assert!(self.flushing.insert(connection), "a second Flush");
                }
                Command::Close { connection, .. } | Command::Abort { connection } => {
                    self.flushing.remove(&connection);
                }
                Command::Forget { connection } => {
                    assert!(!self.open.contains(&connection), "forgotten before it was closed");
                    assert!(self.forgotten.insert(connection), "forgotten twice");
                }
                Command::Directory(trip) => {
                    assert!(self.ops.insert(trip.op), "an operation's number is used twice");
                    self.trips.push(*trip);
                }
                Command::Dial { link, .. } => self.links.push(link),
                Command::LinkWrite { link, batch } => {
                    assert!(self.writing.insert(link), "a second LinkWrite");
                    self.last_batch.insert(link, batch);
                }
                Command::LinkClose { link } => {
                    self.gone_links.insert(link);
                    self.writing.remove(&link);
                }
                Command::Answer { call, .. } => {
                    assert!(self.waiting.remove(&call).is_some(), "answered twice");
                }
                Command::Notify(notice) => match *notice {
                    Notice::Connected { connection, .. } => {
                        assert_eq!(self.noticed.insert(connection, true), None);
                    }
                    Notice::Disconnected { connection, .. } => {
                        assert_eq!(self.noticed.insert(connection, false), Some(true));
                    }
                },
                Command::Send { .. }
                | Command::Ping { .. }
                | Command::DirectoryReset
                | Command::Log(_)
                | Command::Drained => {}
            }
        }
    }

    fn check(&self) {
        for (call, due) in &self.waiting {
            assert!(*due > self.now.mono, "{call:?} is not answered");
        }
        assert_eq!(self.instance.stats().bugs, 0);
        self.instance.check_limits();
    }
}

fn secret() -> ClusterSecret {
    ClusterSecret::new(b"0123456789abcdef").expect("long enough")
}

fn user_id(number: u8) -> UserId {
    UserId::new(["ann", "bob", "eve", "joe"][number as usize % 4]).expect("a user")
}

fn push_id(number: u8) -> PushId {
    PushId::new(uuid::Uuid::from_u128(u128::from(number % 16)))
}

fn action(kick: bool, bytes: usize) -> Action {
    if kick {
        return Action::Close(CloseCode::Kicked);
    }
    Action::Frame(Payload::binary(vec![1; bytes].into()))
}

/// A reply that fits its operation by chance only.
fn reply(number: u8) -> Reply {
    match number % 10 {
        0 => Reply::Registered,
        1 => Reply::Removed(true),
        2 => Reply::Rows { rows: Vec::new(), malformed: 3 },
        3 => Reply::Leases { leases: Vec::new(), malformed: 1 },
        4 => Reply::Claimed { replaced: None },
        5 => Reply::ClaimRefused { epoch: Epoch::new(number.into()) },
        6 => Reply::Renewed,
        7 => Reply::Lost,
        8 => Reply::Superseded,
        _ => Reply::Lease(None),
    }
}

/// Any step, the usual ones more often.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let any_link = 0..4_usize;
    prop_oneof![
        6 => (any::<u8>(), proptest::option::weighted(0.1, any::<u16>()))
            .prop_map(|(user, expires)| Step::Accept { user, expires }),
        6 => (0..20_usize).prop_map(|connection| Step::Opened { connection }),
        2 => (0..20_usize, any::<bool>())
            .prop_map(|(connection, message)| Step::Heard { connection, message }),
        8 => (0..20_usize).prop_map(|connection| Step::Written { connection }),
        3 => (0..20_usize, any::<bool>())
            .prop_map(|(connection, violation)| Step::Closed { connection, violation }),
        1 => (0..9_u32, 0..9_u32, any::<u8>())
            .prop_map(|(slot, generation, kind)| Step::Stray { slot, generation, kind }),
        2 => Just(Step::DirectoryUp),
        1 => Just(Step::DirectoryDown),
        6 => Just(Step::Link),
        16 => Just(Step::Serve),
        24 => (Just(0_usize), answering()).prop_map(|(trip, how)| Step::Answer { trip, how }),
        4 => (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>()).prop_map(
            |(instance, epoch, state, user, connection)|
                Step::Plant { instance, epoch, state, user, connection }
        ),
        1 => Just(Step::Wipe),
        3 => Just(Step::AcceptLink),
        4 => any_link.clone().prop_map(|link| Step::LinkUp { link }),
        10 => (any_link.clone(), any::<u8>(), proptest::bool::weighted(0.9))
            .prop_map(|(link, peer, honest)| Step::Prove { link, peer, honest }),
        1 => (any_link.clone(), vec(any::<u8>(), 0..20))
            .prop_map(|(link, bytes)| Step::Bytes { link, bytes }),
        8 => (any_link.clone(), vec(said(), 1..4))
            .prop_map(|(link, messages)| Step::Say { link, messages }),
        6 => any_link.clone().prop_map(|link| Step::LinkWritten { link }),
        2 => (any_link, any::<bool>()).prop_map(|(link, not_me)| Step::LinkDown { link, not_me }),
        12 => (any::<u8>(), to(), proptest::bool::weighted(0.1), 0..45_usize, 5..4000_u16).prop_map(
            |(id, to, kick, bytes, millis)| Step::Push { id, to, kick, bytes, millis }
        ),
        1 => any::<u8>().prop_map(|user| Step::Connections { user }),
        1 => Just(Step::Instances),
        1 => (0..2000_u16, 0..2000_u16).prop_map(|(delay, spread)| Step::Drain { delay, spread }),
        12 => prop_oneof![4 => 0..50_u32, 3 => 0..1500_u32, 1 => 0..40_000_u32]
            .prop_map(|millis| Step::Wait { millis }),
    ]
}

fn answering() -> impl Strategy<Value = Answering> {
    prop_oneof![
        20 => Just(Answering::Truly),
        1 => Just(Answering::Lost),
        1 => Just(Answering::Short),
        1 => Just(Answering::NotPrimary),
        1 => Just(Answering::Refused),
        1 => any::<u8>().prop_map(Answering::Wrongly),
    ]
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![
        5 => any::<u8>().prop_map(To::User),
        1 => (any::<u8>(), vec(0..9_usize, 0..3)).prop_map(|(user, some)| To::Some(user, some)),
        2 => vec(any::<u8>(), 0..5).prop_map(To::Users),
        2 => Just(To::Everyone),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let small = || 0..24_u8;
    prop_oneof![
        4 => (small(), any::<u8>(), any::<u8>(), vec(0..9_usize, 0..4), any::<u8>(), 0..3000_u16,
              proptest::bool::weighted(0.1))
            .prop_map(|(delivery, push, user, named, ask, millis, kick)|
                Said::Deliver { delivery, push, user, named, ask, millis, kick }),
        1 => (small(), any::<u8>()).prop_map(|(delivery, push)| Said::Everyone { delivery, push }),
        6 => (small(), vec((any::<u8>(), 0..9_usize, any::<u8>()), 0..4))
            .prop_map(|(delivery, connections)| Said::Outcomes { delivery, connections }),
        1 => (small(), any::<u64>()).prop_map(|(delivery, number)| Said::Counts { delivery, number }),
        2 => any::<bool>().prop_map(|directory| Said::Heartbeat { directory }),
        1 => Just(Said::Goodbye),
        1 => Just(Said::Proof),
    ]
}
