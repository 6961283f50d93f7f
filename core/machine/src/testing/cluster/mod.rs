//! For tests: instances on one directory in memory, and the world that their commands reach.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::base::rng::Seed;
use crate::command::RoundTrip;
use crate::config::{ClusterSecret, Config, Identity};
use crate::directory::memory::MemoryDirectory;
use crate::directory::{Operation, OperationResult};
use crate::event::{Answer, Closure, Event, Handshake, Life, LinkFailure, Refused};
use crate::frame::{CloseCode, EncodedSize, Outgoing, Payload};
use crate::id::{
    CallId, ConnectionId, ConnectionKey, InstanceId, LinkKey, OpId, PushId, SessionName, UserId,
};
use crate::instance::Instance;
use crate::message::{Action, Audience, Hearing, Push, PushedBy, Receipt};
use crate::time::{Instant, Now, WallTime};

mod execute;
mod transit;

pub(crate) use execute::{KeptCommands, Server, Told};
use transit::Arriving;

/// Instances, and the executor of their commands: it has what a driver has (sockets, round trips, links,
/// calls), checks what every driver may rely on (one `Flush` at a time, one answer to a call, ...), keeps what
/// becomes of each command, and answers it with events.
///
/// As it is made it answers everything by itself: terminals read at once and answer pings, the directory
/// executes, links carry. Then whatever is on the way arrives before time passes. A test takes over what it
/// wants to answer in its own way; `Rig` and `Feeder` are clusters of one instance in which it answers much
/// or all.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) now: Now,
    pub(crate) instances: Vec<Instance>,
    pub(crate) directory: MemoryDirectory,
    pub(crate) server: Server,
    /// What the directory refuses, and to whom.
    pub(crate) refuses: Option<fn(&Operation) -> Option<OperationResult>>,
    pub(crate) refused: BTreeSet<usize>,
    /// Round trips that wait.
    pub(crate) held: VecDeque<(usize, RoundTrip)>,
    /// Terminals answer pings, sockets and the directory's link do as they are told, links are written.
    pub(crate) acts: bool,
    /// Sockets write at once.
    pub(crate) writes: bool,
    /// What probes find. `None`: they are not answered.
    pub(crate) life: Option<Life>,
    pub(crate) record: KeptCommands,
    pub(crate) down: Vec<bool>,
    /// What terminals have said at other instances, and are heard with at these.
    pub(crate) heard: Vec<(usize, SessionName, Payload)>,
    /// What becomes of that. `None`: it is not said.
    pub(crate) hearing: Option<Hearing>,
    pub(crate) received: BTreeMap<ConnectionId, Vec<Outgoing>>,
    pub(crate) closed: BTreeMap<ConnectionId, CloseCode>,
    pub(crate) answers: BTreeMap<CallId, Answer>,
    pub(crate) drained: Vec<bool>,
    pub(crate) log: Vec<(usize, crate::command::Log)>,
    /// Terminals that read nothing.
    pub(crate) stalled: BTreeSet<ConnectionId>,
    /// Instances whose address belongs to somebody else.
    pub(crate) recycled: Vec<bool>,
    /// What is sent from the first to the second vanishes.
    pub(crate) mute: BTreeSet<(usize, usize)>,
    /// If set, things on the way overtake each other at random, except within a channel.
    pub(crate) shuffle: Option<u64>,
    pub(crate) contract: Contract,
    unwritten: Vec<(usize, ConnectionKey)>,
    pub(crate) dials: usize,
    pub(crate) batches: usize,
    /// What links without another end carry, and those that were closed.
    pub(crate) loose: Vec<(LinkKey, Bytes)>,
    pub(crate) loose_closed: Vec<LinkKey>,
    pub(crate) loose_dials: Vec<LinkKey>,
    links: BTreeMap<(usize, LinkKey), (usize, LinkKey)>,
    on_the_way: VecDeque<Arriving>,
    calls: u64,
}

/// What is under way and what has been, by instance: by it the executor checks what every driver may rely on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contract {
    /// Connections whose last `Flush` is not reported as written.
    pub(crate) flushing: BTreeSet<(usize, ConnectionKey)>,
    /// Connections that the application knows of, and whether they are there.
    pub(crate) noticed: BTreeMap<(usize, ConnectionKey), bool>,
    /// Connections whose end was reported.
    ended: BTreeSet<(usize, ConnectionKey)>,
    pub(crate) forgotten: BTreeSet<(usize, ConnectionKey)>,
    /// Round trips that were begun.
    ops: BTreeSet<(usize, OpId)>,
    /// Links whose last `LinkWrite` is not reported as written.
    pub(crate) writing: BTreeSet<(usize, LinkKey)>,
    /// Links whose other end has proven itself.
    proven: BTreeSet<(usize, LinkKey)>,
}

impl Cluster {
    /// Instances that hold their leases.
    pub(crate) fn new(config: &Config, instances: usize) -> Self {
        let mut cluster = Self::empty(config);
        for _ in 0..instances {
            cluster.start(config);
        }
        cluster.pass(Duration::from_secs(3));
        cluster
    }

    /// One instance, to which nothing has happened. What becomes of its commands is left to the test.
    pub(crate) fn of_one(config: Config, record: KeptCommands) -> Self {
        let mut cluster = Self::empty(&config);
        cluster.add(config);
        cluster.acts = false;
        cluster.record = record;
        cluster
    }

    fn empty(config: &Config) -> Self {
        let now = Now {
            mono: Instant::from_nanos(3_600_000_000_000),
            wall: WallTime::from_millis(1_700_000_000_000),
        };
        let directory = MemoryDirectory::new(config.directory());
        Self {
            now,
            instances: Vec::new(),
            directory,
            server: Server::Answers,
            refuses: None,
            refused: BTreeSet::new(),
            held: VecDeque::new(),
            acts: true,
            writes: true,
            life: Some(Life::NotShown),
            record: KeptCommands::Nothing,
            down: Vec::new(),
            heard: Vec::new(),
            hearing: Some(Hearing::Heard),
            received: BTreeMap::new(),
            closed: BTreeMap::new(),
            answers: BTreeMap::new(),
            drained: Vec::new(),
            log: Vec::new(),
            stalled: BTreeSet::new(),
            recycled: Vec::new(),
            mute: BTreeSet::new(),
            shuffle: None,
            contract: Contract::default(),
            unwritten: Vec::new(),
            dials: 0,
            batches: 0,
            loose: Vec::new(),
            loose_closed: Vec::new(),
            loose_dials: Vec::new(),
            links: BTreeMap::new(),
            on_the_way: VecDeque::new(),
            calls: 0,
        }
    }

    /// Another instance, with its link to the directory.
    pub(crate) fn start(&mut self, config: &Config) -> usize {
        let index = self.add(config.clone());
        self.event(index, Event::DirectoryUp);
        index
    }

    fn add(&mut self, config: Config) -> usize {
        let index = self.instances.len();
        let identity = Identity {
            instance: InstanceId::new(index as u64 + 1),
            address: format!("host{index}:1"),
            secret: secret(),
        };
        let seed = Seed::new([index as u8 + 1; 32]);
        let instance = Instance::new(config, identity, seed, self.now).expect("fits");
        self.instances.push(instance);
        self.down.push(false);
        self.drained.push(false);
        self.recycled.push(false);
        index
    }

    /// How many links of each instance have another end that has proven itself.
    pub(crate) fn proven(&self) -> Vec<usize> {
        let of = |index| {
            self.contract
                .proven
                .iter()
                .filter(|(at, _)| *at == index)
                .count()
        };
        (0..self.instances.len()).map(of).collect()
    }

    /// A handshake reaches an instance.
    pub(crate) fn accept(
        &mut self,
        instance: usize,
        handshake: Handshake,
    ) -> Result<ConnectionKey, Refused> {
        self.instances[instance].accept(self.now, handshake)
    }

    /// A handshake that does not say who comes reaches an instance.
    pub(crate) fn accept_stranger(&mut self, instance: usize) -> Result<ConnectionKey, Refused> {
        self.instances[instance].accept_stranger(self.now, EncodedSize::UNCHANGED)
    }

    /// A terminal connects and is greeted, if the directory answers.
    pub(crate) fn connect(&mut self, instance: usize, user: &str) -> (ConnectionKey, ConnectionId) {
        let connected = self.connect_on_the_way(instance, user);
        self.settle_down();
        connected
    }

    /// A terminal connects; what follows is on the way.
    pub(crate) fn connect_on_the_way(
        &mut self,
        instance: usize,
        user: &str,
    ) -> (ConnectionKey, ConnectionId) {
        let handshake = Handshake::new(UserId::new(user).expect("a user"));
        let key = self.accept(instance, handshake).expect("taken");
        let id = self.instances[instance].connection_id(key).expect("there");
        self.enqueue(instance, Event::Opened { connection: key });
        (key, id)
    }

    pub(crate) fn disconnect(&mut self, instance: usize, connection: ConnectionKey) {
        let closure = Closure::Abrupt;
        self.event(
            instance,
            Event::Closed {
                connection,
                closure,
            },
        );
    }

    /// Hands in a push with the default deadline. Its answer comes with [`Self::receipt`].
    pub(crate) fn push(&mut self, instance: usize, to: Audience, text: &str, id: u128) -> CallId {
        let call = self.hand_in(instance, frame(to, text, id));
        self.settle_down();
        call
    }

    /// Hands in a push; what follows is on the way.
    pub(crate) fn hand_in(&mut self, instance: usize, push: Push) -> CallId {
        self.call(instance, |call| Event::Push { call, push })
    }

    /// Calls an instance; what follows is on the way.
    pub(crate) fn call(&mut self, instance: usize, event: impl FnOnce(CallId) -> Event) -> CallId {
        self.calls += 1;
        let call = CallId::new(self.calls);
        self.enqueue(instance, event(call));
        call
    }

    pub(crate) fn call_push(&mut self, instance: usize, push: Push) -> CallId {
        let call = self.hand_in(instance, push);
        self.settle_down();
        call
    }

    /// Breaks all links between two instances; both learn of it.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        let cut: Vec<_> = (self.links.iter())
            .filter(|((from, _), (to, _))| {
                (*from, *to) == (one, other) || (*from, *to) == (other, one)
            })
            .map(|(end, _)| *end)
            .collect();
        for (index, link) in cut {
            self.links.remove(&(index, link));
            let failure = LinkFailure::Broken;
            self.enqueue(index, Event::LinkDown { link, failure });
        }
    }

    /// The directory refuses something to these instances.
    pub(crate) fn refuse(
        &mut self,
        refuses: fn(&Operation) -> Option<OperationResult>,
        to: impl IntoIterator<Item = usize>,
    ) {
        self.refuses = Some(refuses);
        self.refused = to.into_iter().collect();
    }

    /// Stalled terminals read again.
    pub(crate) fn read_again(&mut self) {
        self.stalled.clear();
        for (index, connection) in std::mem::take(&mut self.unwritten) {
            self.enqueue(index, Event::Written { connection });
        }
        self.settle_down();
    }

    /// Links whose ends are both there.
    pub(crate) fn link_ends(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn push_user(&mut self, instance: usize, user: &str, text: &str) -> CallId {
        let to = self::user(user);
        let id = u128::from(self.calls) + 1000;
        self.push(instance, to, text, id)
    }

    pub(crate) fn receipt(&self, call: CallId) -> &Receipt {
        match self.answers.get(&call) {
            Some(Answer::Push(Ok(receipt))) => receipt,
            other => panic!("no receipt: {other:?}"),
        }
    }

    /// The texts that a terminal got, the hello left out.
    pub(crate) fn texts(&self, connection: ConnectionId) -> Vec<String> {
        (self.received.get(&connection).into_iter().flatten())
            .filter_map(|outgoing| match outgoing {
                Outgoing::Pushed(pushed) | Outgoing::Record(pushed) => {
                    Some(pushed.payload().bytes())
                }
                Outgoing::Hello { .. }
                | Outgoing::Log(_)
                | Outgoing::Gap(_)
                | Outgoing::Back(_)
                | Outgoing::Joined { .. }
                | Outgoing::Left(_)
                | Outgoing::NotJoined(..)
                | Outgoing::NotWatched(..)
                | Outgoing::Presence(_)
                | Outgoing::TopicLog(..)
                | Outgoing::Received(_) => None,
            })
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    /// Lets an event happen, and all that follows from it at once.
    pub(crate) fn event(&mut self, instance: usize, event: Event) {
        self.enqueue(instance, event);
        self.settle_down();
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.now.mono + span;
        loop {
            let next = (self.instances.iter().enumerate())
                .filter(|(index, _)| !self.down[*index])
                .filter_map(|(_, instance)| instance.next_timeout())
                .map(|(at, _)| at)
                .min();
            let Some(at) = next.filter(|at| *at <= until) else {
                break;
            };
            self.at(at.max(self.now.mono));
            for index in 0..self.instances.len() {
                self.turn(index);
            }
            self.settle_down();
        }
        self.at(until);
    }

    /// It is later.
    pub(crate) fn at(&mut self, mono: Instant) {
        let passed = mono.since(self.now.mono).as_millis() as u64;
        self.now = Now {
            mono,
            wall: WallTime::from_millis(self.now.wall.as_millis() + passed),
        };
    }

    pub(crate) fn settle_down(&mut self) {
        for _ in 0..1_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Lets one thing arrive. Returns whether there was one.
    pub(crate) fn step(&mut self) -> bool {
        let Some(delivery) = self.take_next() else {
            return false;
        };
        match delivery {
            Arriving::Event(index, _) if self.down[index] => {}
            Arriving::Event(index, event) => {
                self.take(index, event);
                self.turn(index);
            }
            Arriving::Accept { dialler, link } => self.accept_link(dialler, link),
        }
        true
    }

    fn accept_link(&mut self, dialler: usize, link: LinkKey) {
        let Some(&(acceptor, _)) = self.links.get(&(dialler, link)) else {
            return;
        };
        let key = self.instances[acceptor]
            .accept_link(self.now)
            .expect("room");
        self.links.insert((dialler, link), (acceptor, key));
        self.links.insert((acceptor, key), (dialler, link));
        (self.on_the_way).push_back(Arriving::Event(dialler, Event::LinkUp { link }));
    }
}

/// A push of a text frame with the default deadline.
pub(crate) fn frame(to: Audience, text: &str, id: u128) -> Push {
    let payload = Payload::text(text.to_owned().into()).expect("UTF-8");
    Push {
        id: PushId::new(uuid::Uuid::from_u128(id)),
        to,
        action: Action::Frame(payload),
        deadline: Config::DEADLINE_DEFAULT,
        durable: None,
        by: PushedBy::Application,
    }
}

/// What all instances know.
pub(crate) fn secret() -> ClusterSecret {
    ClusterSecret::new(b"0123456789abcdef").expect("long enough")
}

/// All terminals of a user.
pub(crate) fn user(name: &str) -> Audience {
    Audience::User(UserId::new(name).expect("a user"))
}

mod tests {
    use super::*;

    #[test]
    fn a_push_reaches_terminals_on_three_instances_from_a_fourth() {
        let mut cluster = Cluster::new(&Config::default(), 4);
        let ids: Vec<_> = (0..3)
            .map(|index| cluster.connect(index, "alice").1)
            .collect();
        let call = cluster.push_user(3, "alice", "hello");
        let receipt = cluster.receipt(call);
        assert_eq!((receipt.counts.written, receipt.degraded), (3, false));
        for id in ids {
            assert_eq!(cluster.texts(id), ["hello"]);
        }
    }
}
