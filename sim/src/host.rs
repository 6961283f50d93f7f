//! The processes: each runs one real instance, takes its inputs in turns and executes its commands.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::command::{Command, Outbox};
use switchboard_core::config::{ClusterSecret, Identity};
use switchboard_core::directory::{Reply, SeenLease};
use switchboard_core::event::{Event, Handshake};
use switchboard_core::id::{ConnectionKey, InstanceId, LinkKey};
use switchboard_core::time::{Instant, Now, WallTime};
use switchboard_core::{Instance, Seed};

use crate::directory_link::DirectoryLink;
use crate::fingerprint::fingerprint;
use crate::ledger::{FaultKind, Scope};
use crate::noise::Purpose;
use crate::observed::{Life, Observed};
use crate::queue::{Happening, Input};
use crate::schedule::{ClockStep, HowKilled, Moment};
use crate::terminal::{Connection, PROTOCOL};
use crate::trace::{Entry, Given};
use crate::world::World;

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) life: u32,
    /// What others dial.
    pub(crate) address: String,
    /// It runs.
    pub(crate) instance: Option<Box<Instance>>,
    /// It went without a sign: nobody answers at its address.
    pub(crate) vanished: bool,
    pub(crate) paused_until: Instant,
    pub(crate) directory: DirectoryLink,
    pub(crate) connections: BTreeMap<ConnectionKey, Connection>,
    /// The pipe of each link.
    pub(crate) links: BTreeMap<LinkKey, usize>,
    inbox: Vec<Input>,
    turn: Option<Instant>,
    timer: Option<Instant>,
    /// How its machine's wall clock differs from the right one, in milliseconds.
    wall_offset: i64,
    /// It dies after so many commands.
    dies: Option<(u32, HowKilled)>,
}

fingerprint!(Process {
    life,
    address,
    instance,
    vanished,
    paused_until,
    directory,
    connections,
    links,
    inbox,
    turn,
    timer,
    wall_offset,
    dies,
});

impl Process {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            life: 0,
            address: format!("host{number}:1"),
            instance: None,
            vanished: false,
            paused_until: Instant::START,
            directory: DirectoryLink::default(),
            connections: BTreeMap::new(),
            links: BTreeMap::new(),
            inbox: Vec::new(),
            turn: None,
            timer: None,
            wall_offset: 0,
            dies: None,
        }
    }
}

/// The slots of time in each of which a process has one turn: an input waits for half as long on
/// average, or for twice as long at most.
const TURN: Duration = Duration::from_micros(100);
/// How long it takes clients to see that a process is gone which went without a sign.
pub(crate) const VANISHED: Duration = Duration::from_secs(10);
/// A turn ends after so many calls, or it never will.
const CALLS_PER_TURN: usize = 10_000;
/// What a start can explain.
const START: Duration = Duration::from_secs(3);
/// The secret of the cluster.
const SECRET: &[u8] = b"the simulator's own secret";

impl World {
    /// The id of the instance in this life of a process.
    pub(crate) fn instance_id(&self, life: Life) -> InstanceId {
        let ids = [life.host as u64, life.number.into()];
        InstanceId::new(self.noise.draw(Purpose::InstanceId, &ids))
    }

    /// The present life of a process.
    pub(crate) fn life(&self, host: usize) -> Life {
        Life {
            host,
            number: self.processes[host].life,
        }
    }

    /// Starts an instance in a process that runs none.
    pub(crate) fn start(&mut self, host: usize) {
        let number = self.processes[host].life + 1;
        let life = Life { host, number };
        let identity = Identity {
            instance: self.instance_id(life),
            address: self.processes[host].address.clone(),
            secret: ClusterSecret::new(SECRET).expect("it is long enough"),
        };
        let mut seed = [0; 32];
        for (word, bytes) in seed.chunks_exact_mut(8).enumerate() {
            let ids = [host as u64, number.into(), word as u64];
            bytes.copy_from_slice(&self.noise.draw(Purpose::InstanceSeed, &ids).to_le_bytes());
        }
        let instance = Instance::new(
            self.config.clone(),
            identity,
            Seed::new(seed),
            self.clock_of(host),
        )
        .expect("the settings follow from a lease of a second or more")
        .with_flaws(self.schedule.flaw.into_iter().collect());
        let before = &mut self.processes[host];
        let address = std::mem::take(&mut before.address);
        let wall_offset = before.wall_offset;
        self.processes[host] = Process {
            life: number,
            address,
            wall_offset,
            instance: Some(Box::new(instance)),
            ..Process::new(host)
        };
        self.fault(FaultKind::Start, Scope::Instance(host), self.now + START);
        self.observe(Observed::Started(life));
        self.queue.put(self.now, Happening::OpenDirectory(life));
    }

    /// An instance is gone, with all its sockets.
    pub(crate) fn end(&mut self, host: usize, vanished: bool) {
        let life = self.life(host);
        let process = &mut self.processes[host];
        process.instance = None;
        process.vanished = vanished;
        process.directory.close();
        let inbox = std::mem::take(&mut process.inbox);
        let connections = std::mem::take(&mut process.connections);
        let links = std::mem::take(&mut process.links);
        let notice = if vanished { VANISHED } else { Duration::ZERO };
        for connection in connections.values() {
            self.session_ended(connection.session);
            self.reset_terminal(connection.session, notice);
        }
        for (link, pipe) in links {
            self.end_of_pipe(host, link, pipe, !vanished);
        }
        for input in inbox {
            self.unheard(life, &input);
        }
        for kind in [
            FaultKind::Pause,
            FaultKind::LongPause,
            FaultKind::Drain,
            FaultKind::RedisAway,
            FaultKind::RedisRefuses,
        ] {
            self.fault_ends(kind, Some(Scope::Instance(host)));
        }
        self.observe(Observed::Gone(life));
    }

    /// Hands an event to an instance after a while.
    pub(crate) fn tell(&mut self, life: Life, after: Duration, event: Event) {
        let input = Input::Event(Box::new(event));
        self.queue
            .put(self.now + after, Happening::Input(life, input));
    }

    pub(crate) fn input(&mut self, life: Life, input: Input) {
        if self.lives(life) {
            self.processes[life.host].inbox.push(input);
            self.wake(life);
        } else {
            self.unheard(life, &input);
        }
    }

    /// Something comes to an instance that is gone.
    fn unheard(&mut self, life: Life, input: &Input) {
        if let Input::Handshake(session) = *input {
            self.nobody_answers(session, life.host);
        }
    }

    pub(crate) fn timer(&mut self, life: Life) {
        if self.lives(life) && self.processes[life.host].timer == Some(self.now) {
            self.processes[life.host].timer = None;
            self.wake(life);
        }
    }

    fn wake(&mut self, life: Life) {
        let process = &mut self.processes[life.host];
        if process.turn.is_some() {
            return;
        }
        let ids = [life.host as u64, life.number.into()];
        let at = self.noise.slot(self.now, TURN, Purpose::Turn, &ids);
        let at = at.max(process.paused_until);
        process.turn = Some(at);
        self.queue.put(at, Happening::Turn(life));
    }

    pub(crate) fn turn(&mut self, life: Life) {
        let process = &mut self.processes[life.host];
        if process.life != life.number || process.turn != Some(self.now) {
            return;
        }
        if process.paused_until > self.now {
            let at = process.paused_until;
            process.turn = Some(at);
            self.queue.put(at, Happening::Turn(life));
            return;
        }
        process.turn = None;
        // Both lists keep their memory for the next turn.
        let mut inputs = std::mem::take(&mut process.inbox);
        let mut out = std::mem::take(&mut self.outbox);
        for input in inputs.drain(..) {
            self.take_in(life, input, &mut out);
        }
        let inbox = &mut self.processes[life.host].inbox;
        if inbox.is_empty() {
            *inbox = inputs;
        }
        let now = self.clock_of(life.host);
        let Some(instance) = self.instance_mut(life) else {
            return;
        };
        let is_due =
            |instance: &Instance| (instance.next_timeout()).is_some_and(|(at, _)| at <= now.mono);
        let mut calls = 0;
        while is_due(instance) && calls < CALLS_PER_TURN {
            instance.handle_timeout(now, &mut out);
            calls += 1;
        }
        let next = instance.next_timeout();
        if calls == CALLS_PER_TURN {
            self.observe(Observed::Livelocked(life));
        }
        let at = life.place();
        for (executed, command) in out.drain().enumerate() {
            if self.dies(life, executed) {
                break;
            }
            let entry = Entry::Command {
                at,
                command: Given(&command),
            };
            self.trace(&entry);
            self.execute(life, command);
        }
        self.outbox = out;
        if let Some((at, _)) = next
            && self.lives(life)
        {
            let at = at.max(self.now + Duration::from_nanos(1));
            let timer = &mut self.processes[life.host].timer;
            if timer.is_none_or(|armed| at < armed) {
                *timer = Some(at);
                self.queue.put(at, Happening::Timer(life));
            }
        }
        self.observe(Observed::Turned(life));
    }

    /// Whether a process is gone before its next command, of a batch of which it has executed so many,
    /// because it was to be killed here.
    fn dies(&mut self, life: Life, executed: usize) -> bool {
        match &mut self.processes[life.host].dies {
            None => false,
            Some((0, how)) => {
                let how = *how;
                if executed > 0 {
                    self.borne(FaultKind::KilledMidBatch, Scope::Instance(life.host));
                }
                self.kill(life.host, how);
                true
            }
            Some((commands, _)) => {
                *commands -= 1;
                false
            }
        }
    }

    /// A process is to be killed after so many commands.
    pub(crate) fn doom(&mut self, host: usize, commands: u32, how: HowKilled) {
        let process = &mut self.processes[host];
        if process.instance.is_some() {
            process.dies = Some((commands, how));
        }
    }

    /// Nothing that was planned for a process will happen.
    pub(crate) fn spare(&mut self) {
        for process in &mut self.processes {
            process.dies = None;
            process.directory.faults.clear();
        }
    }

    /// The clocks that an instance sees.
    pub(crate) fn clock_of(&self, host: usize) -> Now {
        let Now { mono, wall } = self.clock();
        let wall = wall.as_millis();
        let wall = wall.saturating_add_signed(self.processes[host].wall_offset);
        Now {
            mono,
            wall: WallTime::from_millis(wall),
        }
    }

    pub(crate) fn step_clock(&mut self, host: usize, step: ClockStep) {
        let by = match step {
            ClockStep::Forward(by) => by.as_millis() as i64,
            ClockStep::Back(by) => -(by.as_millis() as i64),
        };
        let offset = &mut self.processes[host].wall_offset;
        *offset = offset.saturating_add(by);
        if self.processes[host].instance.is_some() {
            self.borne(FaultKind::WallClock, Scope::Instance(host));
        }
    }

    fn instance_mut(&mut self, life: Life) -> Option<&mut Instance> {
        let process = &mut self.processes[life.host];
        let lives = process.life == life.number;
        process.instance.as_deref_mut().filter(|_| lives)
    }

    fn take_in(&mut self, life: Life, input: Input, out: &mut Outbox) {
        let now = self.clock_of(life.host);
        let at = life.place();
        match input {
            Input::Event(event) => {
                self.trace(&Entry::Event { at, event: &event });
                if let Event::Closed { connection, .. } = &*event {
                    let process = &mut self.processes[life.host];
                    if let Some(connection) = process.connections.get(connection) {
                        let session = connection.session;
                        self.session_ended(session);
                    }
                }
                // Whether the instance takes the answer in, or has given the round trip up.
                let leases = leases_in(&event);
                if let Some(instance) = self.instance_mut(life) {
                    let late = instance.stats().late_answers;
                    instance.handle(now, *event, out);
                    let in_time = instance.stats().late_answers == late;
                    if let Some(leases) = leases.filter(|_| in_time) {
                        let leases = &leases;
                        self.observe(Observed::Viewed { life, leases });
                    }
                }
            }
            Input::Handshake(session) => {
                let handshake = Handshake {
                    user: self.sessions[session].user.clone(),
                    expires: self.sessions[session].token,
                    size: PROTOCOL.size(),
                };
                let Some(instance) = self.instance_mut(life) else {
                    return;
                };
                let outcome = instance.accept(now, handshake);
                let id = (outcome.ok()).and_then(|key| instance.connection_id(key));
                self.trace(&Entry::Handshake {
                    at,
                    session,
                    outcome,
                });
                match outcome {
                    Ok(key) => {
                        let id = id.expect("it was accepted");
                        self.accepted(life, session, key, id);
                    }
                    Err(refused) => self.refused(session, refused),
                }
            }
            Input::AcceptLink(pipe) => {
                self.trace(&Entry::Link { at, pipe });
                if let Some(instance) = self.instance_mut(life) {
                    let key = instance.accept_link(now);
                    self.link_accepted(life, pipe, key);
                }
            }
            Input::Push(hand_in) => {
                let (call, push) = self.handed_in(life, hand_in);
                let event = Event::Push { call, push };
                self.trace(&Entry::Event { at, event: &event });
                if let Some(instance) = self.instance_mut(life) {
                    instance.handle(now, event, out);
                }
            }
        }
    }

    fn execute(&mut self, life: Life, command: Command) {
        let host = life.host;
        match command {
            Command::Send {
                connection,
                outgoing,
            } => self.send(host, connection, PROTOCOL.encode(&outgoing)),
            Command::Flush { connection } => self.flush(life, connection),
            Command::Ping { connection } => self.ping(host, connection),
            Command::Probe { connection } => self.probe(life, connection),
            Command::Close { connection, code } => self.close(life, connection, code),
            Command::Abort { connection } => self.abort(life, connection),
            Command::Forget { connection } => {
                self.processes[host].connections.remove(&connection);
            }
            Command::Directory(trip) => self.send_trip(life, trip),
            Command::DirectoryReset => self.break_directory(host),
            Command::Dial { link, dial } => self.dial(life, link, &dial),
            Command::LinkWrite { link, batch } => {
                self.moment_of_content(Moment::Deliver, &batch);
                self.write_link(life, link, batch);
            }
            Command::LinkProven { .. } => {}
            Command::LinkClose { link } => {
                if let Some(pipe) = self.processes[host].links.remove(&link) {
                    self.end_of_pipe(host, link, pipe, true);
                }
            }
            Command::Answer { call, answer } => self.answered(call, &answer),
            Command::Notify(_) | Command::Log(_) => {}
            Command::Drained => self.end(host, false),
        }
    }
}

/// The leases that an answer of the directory tells.
fn leases_in(event: &Event) -> Option<Vec<SeenLease>> {
    let Event::Directory {
        outcomes: Ok(outcomes),
        ..
    } = event
    else {
        return None;
    };
    outcomes.iter().find_map(|outcome| match outcome {
        Ok(Reply::Leases { leases, .. }) => Some(leases.clone()),
        _ => None,
    })
}

/// The time in which the operating system takes what is written.
pub(crate) const WRITE: Duration = Duration::from_micros(20);
