//! Clients: their sessions, and the instance's end of their connections.

use std::collections::BTreeSet;
use std::time::Duration;

use switchboard_core::event::{Closure, Event, Heard, Refused};
use switchboard_core::frame::{CloseCode, Payload};
use switchboard_core::id::{ConnectionId, ConnectionKey, PushId, UserId};
use switchboard_core::time::Instant;

use crate::host::WRITE;
use crate::noise::Purpose;
use crate::observed::{Life, Observed};
use crate::queue::{Happening, Input, Seen};
use crate::schedule::HowClosed;
use crate::trace::Entry;
use crate::world::World;

/// One try of a client to be connected, and the connection that came of it.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) user: UserId,
    /// Where it is.
    pub(crate) life: Option<Life>,
    pub(crate) id: Option<ConnectionId>,
    /// When its hello was with the operating system, and whether that said `degraded`.
    pub(crate) greeted: Option<(Instant, bool)>,
    /// When its end began, on whatever side.
    pub(crate) ended: Option<Instant>,
    /// It went without a sign.
    pub(crate) silent: bool,
    pub(crate) reads: bool,
    /// Pushes whose frames are with the operating system.
    pub(crate) written: BTreeSet<PushId>,
    key: Option<ConnectionKey>,
    /// It has reset or closed its socket: nothing reaches it.
    gone: bool,
    frames: u64,
    /// What was sent last arrives then, at the terminal and at the instance.
    down: Instant,
    up: Instant,
}

impl Session {
    /// Whose terminal it is.
    pub const fn user(&self) -> &UserId {
        &self.user
    }

    /// Where it is, or tried to be.
    pub const fn life(&self) -> Option<Life> {
        self.life
    }

    /// Its connection, if an instance has accepted it.
    pub const fn connection(&self) -> Option<ConnectionId> {
        self.id
    }

    /// When its hello was with the operating system, and whether that said `degraded`.
    pub const fn greeted(&self) -> Option<(Instant, bool)> {
        self.greeted
    }

    /// When its end began, on whatever side.
    pub const fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// Whether its client went without a sign. What it is sent is lost from then on.
    pub const fn is_silent(&self) -> bool {
        self.silent
    }

    /// Whether its client reads.
    pub const fn reads(&self) -> bool {
        self.reads
    }

    /// Whether a frame of this push is with the operating system.
    pub fn has_written(&self, push: PushId) -> bool {
        self.written.contains(&push)
    }

    /// Whether it is there and nothing has ended it.
    pub const fn is_open(&self) -> bool {
        self.id.is_some() && self.ended.is_none() && !self.silent
    }
}

/// The instance's end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) session: usize,
    /// Frames that are not flushed.
    buffer: Vec<Payload>,
    /// The terminal does not read: a flush waits, and perhaps the end.
    stuck: bool,
    closing: Option<CloseCode>,
    /// The instance has been told, or will be, that it is over.
    reported: bool,
}

/// The base of the delay between a terminal and its instance.
const WAY: Duration = Duration::from_millis(2);

impl World {
    pub(crate) fn connect(&mut self, client: &str, at: Option<usize>, user: &str) {
        let Ok(user) = UserId::new(user) else {
            return;
        };
        let session = self.sessions.len();
        self.sessions.push(Session {
            user,
            life: None,
            id: None,
            greeted: None,
            ended: None,
            silent: false,
            reads: true,
            written: BTreeSet::new(),
            key: None,
            gone: false,
            frames: 0,
            down: Instant::START,
            up: Instant::START,
        });
        if let Some(before) = self.clients.insert(client.to_owned(), session) {
            self.fall_silent(before);
        }
        self.observe(Observed::Connecting { session });
        let host = at.or_else(|| self.balance(session));
        let life = host.map(|host| self.life(host));
        let Some(life) = life.filter(|life| self.lives(*life)) else {
            self.session_ended(session);
            self.observe(Observed::NobodyThere { session });
            return;
        };
        self.sessions[session].life = Some(life);
        let at = self.upwards(session);
        self.queue
            .put(at, Happening::Input(life, Input::Handshake(session)));
    }

    /// Where the balancer sends a new connection: to one of those that say they are ready.
    fn balance(&self, session: usize) -> Option<usize> {
        let ready: Vec<usize> = (self.processes.iter().enumerate())
            .filter(|(_, process)| process.instance.as_ref().is_some_and(|i| i.is_ready()))
            .map(|(host, _)| host)
            .collect();
        let count = ready.len() as u64;
        let choice = self
            .noise
            .below(count, Purpose::Balancer, &[session as u64]);
        ready.get(choice as usize).copied()
    }

    pub(crate) fn accepted(
        &mut self,
        life: Life,
        session: usize,
        key: ConnectionKey,
        id: ConnectionId,
    ) {
        self.processes[life.host].connections.insert(
            key,
            Connection {
                session,
                buffer: Vec::new(),
                stuck: false,
                closing: None,
                reported: false,
            },
        );
        self.record.connections.insert(id, session);
        let this = &mut self.sessions[session];
        this.key = Some(key);
        this.id = Some(id);
        let gave_up = this.gone;
        let at = self.upwards(session);
        let event = Event::Opened { connection: key };
        self.queue
            .put(at, Happening::Input(life, Input::Event(event)));
        self.observe(Observed::Accepted { session });
        if gave_up {
            self.over(session, Closure::Abrupt);
        }
    }

    pub(crate) fn refused(&mut self, session: usize, refused: Refused) {
        self.session_ended(session);
        self.observe(Observed::Refused { session, refused });
    }

    pub(crate) fn session_ended(&mut self, session: usize) {
        if self.sessions[session].ended.is_none() {
            self.sessions[session].ended = Some(self.now);
            self.observe(Observed::Ended { session });
        }
    }

    /// A client ends its connection.
    pub(crate) fn leave(&mut self, session: usize, how: HowClosed) {
        if self.sessions[session].gone {
            return;
        }
        let closure = match how {
            HowClosed::Silent => return self.fall_silent(session),
            HowClosed::Clean => Closure::Clean,
            HowClosed::Sudden => Closure::Abrupt,
        };
        self.session_ended(session);
        self.sessions[session].gone = true;
        self.over(session, closure);
    }

    fn fall_silent(&mut self, session: usize) {
        self.sessions[session].silent = true;
    }

    pub(crate) fn set_reading(&mut self, session: usize, reads: bool) {
        self.sessions[session].reads = reads;
        let this = &self.sessions[session];
        let (true, Some(life), Some(key)) = (reads, this.life, this.key) else {
            return;
        };
        if !self.lives(life) {
            return;
        }
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        if std::mem::take(&mut connection.stuck) {
            match connection.closing {
                Some(code) => self.close(life, key, code),
                None => self.flush(life, key),
            }
        }
    }

    pub(crate) fn send(&mut self, host: usize, key: ConnectionKey, payload: Payload) {
        if let Some(connection) = self.processes[host].connections.get_mut(&key) {
            connection.buffer.push(payload);
        }
    }

    pub(crate) fn flush(&mut self, life: Life, key: ConnectionKey) {
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        let session = connection.session;
        if !self.sessions[session].reads {
            connection.stuck = true;
            return;
        }
        self.hand_over(life, key);
        self.tell(life, WRITE, Event::Written { connection: key });
    }

    /// What was sent is with the operating system, and on its way.
    fn hand_over(&mut self, life: Life, key: ConnectionKey) {
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        let session = connection.session;
        for payload in std::mem::take(&mut connection.buffer) {
            self.frame_written(session, &payload);
            let at = self.downwards(session);
            let seen = Seen::Frame(payload);
            self.queue.put(at, Happening::AtTerminal { session, seen });
        }
    }

    pub(crate) fn ping(&mut self, host: usize, key: ConnectionKey) {
        let Some(connection) = self.processes[host].connections.get(&key) else {
            return;
        };
        let session = connection.session;
        let at = self.downwards(session);
        let seen = Seen::Ping;
        self.queue.put(at, Happening::AtTerminal { session, seen });
    }

    pub(crate) fn close(&mut self, life: Life, key: ConnectionKey, code: CloseCode) {
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        let session = connection.session;
        if !self.sessions[session].reads {
            connection.stuck = true;
            connection.closing = Some(code);
            self.session_ended(session);
            return;
        }
        self.hand_over(life, key);
        self.session_ended(session);
        let at = self.downwards(session);
        let seen = Seen::Close(code);
        self.queue.put(at, Happening::AtTerminal { session, seen });
    }

    pub(crate) fn abort(&mut self, life: Life, key: ConnectionKey) {
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        let session = connection.session;
        let reported = std::mem::replace(&mut connection.reported, true);
        self.session_ended(session);
        self.sessions[session].gone = true;
        if !reported {
            let event = Event::Closed {
                connection: key,
                closure: Closure::Abrupt,
            };
            self.tell(life, WRITE, event);
        }
    }

    pub(crate) fn at_terminal(&mut self, session: usize, seen: Seen) {
        let this = &self.sessions[session];
        if this.gone || this.silent {
            return;
        }
        let reads = this.reads;
        let (life, key) = (this.life, this.key);
        match seen {
            Seen::Frame(payload) => {
                let payload = &payload;
                self.trace(&Entry::Frame { session, payload });
                self.frame_seen(session, payload);
            }
            Seen::Ping => {
                self.trace(&Entry::Ping { session });
                let (Some(life), Some(connection), true) = (life, key, reads) else {
                    return;
                };
                let at = self.upwards(session);
                let frame = Heard::Control;
                let event = Event::Heard { connection, frame };
                self.queue
                    .put(at, Happening::Input(life, Input::Event(event)));
            }
            Seen::Close(code) => {
                self.trace(&Entry::Close { session, code });
                self.sessions[session].gone = true;
                self.observe(Observed::SeenClose { session, code });
                self.over(session, Closure::Clean);
            }
        }
    }

    /// The instance will learn that the connection is over.
    fn over(&mut self, session: usize, closure: Closure) {
        let at = self.upwards(session);
        let this = &self.sessions[session];
        let (Some(life), Some(key)) = (this.life, this.key) else {
            return;
        };
        if !self.lives(life) {
            return;
        }
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        if !std::mem::replace(&mut connection.reported, true) {
            let event = Event::Closed {
                connection: key,
                closure,
            };
            self.queue
                .put(at, Happening::Input(life, Input::Event(event)));
        }
    }

    fn downwards(&mut self, session: usize) -> Instant {
        let way = self.next_way(session);
        let this = &mut self.sessions[session];
        this.down = this.down.max(self.now + way);
        this.down
    }

    fn upwards(&mut self, session: usize) -> Instant {
        let way = self.next_way(session);
        let this = &mut self.sessions[session];
        this.up = this.up.max(self.now + way);
        this.up
    }

    fn next_way(&mut self, session: usize) -> Duration {
        let this = &mut self.sessions[session];
        this.frames += 1;
        let ids = [session as u64, this.frames];
        self.noise.way(WAY, Purpose::Terminal, &ids)
    }
}
