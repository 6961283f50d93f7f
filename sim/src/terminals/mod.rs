//! Clients: their sessions, and the instances' ends of their connections.

mod audience;
mod client;
mod log;
mod session;
mod socket;
mod topics;

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::event::{Closure, Event, Handshake, Heard, Refused};
use switchboard_core::frame::{Outgoing, Payload};
use switchboard_core::id::{ConnectionId, ConnectionKey, TopicId};
use switchboard_core::time::{Instant, WallTime};

use crate::context::Context;
use crate::fingerprint::{Fingerprint as _, Print, fingerprint};
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::noise::Purpose;
use crate::observed::{Account, Life, LogWord, Observed};
use crate::publishing::Publishing;
use crate::schedule::{FailedUpgrade, HowClosed, LateLogin, Moment};
use crate::settings::{PROTOCOL, content};
use crate::trace::Entry;
use crate::vocabulary::happening::{Happening, Seen};

use log::ClientLog;
use socket::Socket;
use topics::Claims;

pub use session::{Pace, Session};
pub use topics::Standing;

/// All clients.
#[derive(Clone, Debug)]
pub(crate) struct Terminals {
    /// All sessions that ever were. Their place is their number.
    sessions: Vec<Session>,
    /// The present session of each client.
    clients: BTreeMap<String, usize>,
    /// Until then the balancer does not see who is ready.
    balancer_blind_until: Instant,
    /// After about this time a client connects anew whose session has ended. `None`: it does not.
    reconnect: Option<Duration>,
    /// The connections that the instance of each process has not forgotten.
    sockets: Vec<BTreeMap<ConnectionKey, Socket>>,
    /// The session of each connection.
    connections: BTreeMap<ConnectionId, usize>,
    /// What clients hold that follow their logs.
    logs: BTreeMap<String, ClientLog>,
    /// And those of topics, by client.
    topic_logs: BTreeMap<(String, TopicId), ClientLog>,
    /// What the tokens of clients say of topics, from their next connection on.
    claims: Claims,
    /// Clients whose handshakes do not say who they are.
    logins: BTreeMap<String, LateLogin>,
}

fingerprint!(Terminals {
    sessions,
    clients,
    balancer_blind_until,
    logs,
    topic_logs,
    claims,
} without { reconnect, sockets, connections, logins });

/// The base of the delay between a terminal and its instance.
const WAY: Duration = Duration::from_millis(2);

impl Terminals {
    /// No client yet, and so many processes to connect to.
    pub(crate) fn new(hosts: usize, reconnect: Option<Duration>) -> Self {
        Self {
            sessions: Vec::new(),
            clients: BTreeMap::new(),
            balancer_blind_until: Instant::START,
            reconnect,
            sockets: vec![BTreeMap::new(); hosts],
            connections: BTreeMap::new(),
            logs: BTreeMap::new(),
            topic_logs: BTreeMap::new(),
            claims: Claims::default(),
            logins: BTreeMap::new(),
        }
    }

    /// All sessions that ever were. Their place is their number.
    pub(crate) fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The session that a connection belongs to.
    pub(crate) fn session_of(&self, connection: ConnectionId) -> Option<usize> {
        self.connections.get(&connection).copied()
    }

    /// The sessions whose connections the instance of a process has not forgotten.
    pub(crate) fn sessions_at(&self, host: usize) -> impl ExactSizeIterator<Item = usize> {
        self.sockets[host].values().map(Socket::session)
    }

    /// The handshake of a session.
    pub(crate) fn handshake(&self, session: usize) -> Handshake {
        Handshake {
            user: self.sessions[session].user.clone(),
            expires: self.sessions[session].token,
            size: PROTOCOL.size(Payload::len),
            follow: self.sessions[session].follow.clone(),
            topics: self.sessions[session].rights.clone(),
        }
    }

    /// When the token of a session expires by the clocks of an instance.
    pub(crate) fn expiry(
        &self,
        cx: &Context,
        hosts: &Hosts,
        life: Life,
        session: usize,
    ) -> Option<Instant> {
        let token = self.sessions[session].token?;
        let wall = hosts.clock_of(cx, life.host).wall;
        let left = token.as_millis().saturating_sub(wall.as_millis());
        Some(cx.now + Duration::from_millis(left))
    }

    /// An instance has accepted the handshake of a session.
    pub(crate) fn accepted(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        life: Life,
        session: usize,
        (key, id): (ConnectionKey, ConnectionId),
    ) {
        let expires = self.expiry(cx, hosts, life, session);
        self.sockets[life.host].insert(key, Socket::new(session));
        self.connections.insert(id, session);
        let this = &mut self.sessions[session];
        this.key = Some(key);
        this.id = Some(id);
        this.accepted = Some(cx.now);
        this.connected = Some(hosts.clock_of(cx, life.host).wall);
        let gave_up = this.gone;
        if let Some(expires) = expires {
            this.expires = Some(expires);
            cx.put(expires, Happening::TokenEnds(session));
        }
        let at = self.upwards(cx, session);
        self.moment(cx, Moment::Accept, session);
        match self.sessions[session].fails {
            Some(FailedUpgrade::Ends) => {
                cx.observe(Observed::Accepted { session });
                return self.leave(cx, hosts, session, HowClosed::Sudden);
            }
            Some(FailedUpgrade::Hangs) if !gave_up => {
                self.sessions[session].left = true;
                cx.fault_opens(FaultKind::Unopened, Scope::Session(session));
                cx.observe(Observed::Accepted { session });
                return;
            }
            Some(FailedUpgrade::Hangs) | None => {}
        }
        cx.tell_at(life, at, Event::Opened { connection: key });
        match self.sessions[session].login {
            Some(LateLogin::After(span) | LateLogin::Wrongly(span)) => {
                cx.put(at + span, Happening::LogsIn(session));
            }
            Some(LateLogin::Never) | None => {}
        }
        cx.observe(Observed::Accepted { session });
        if gave_up {
            self.over(cx, hosts, session, Closure::Abrupt);
        }
    }

    /// Whether the handshake of a session says who it is.
    pub(crate) fn is_known(&self, session: usize) -> bool {
        self.sessions[session].is_known()
    }

    /// An instance learns who a terminal is.
    pub(crate) fn authenticated(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        host: usize,
        connection: ConnectionKey,
    ) {
        if let Some(socket) = self.sockets[host].get(&connection) {
            let session = socket.session();
            if let Some(expires) = self.expiry(cx, hosts, hosts.life(host), session) {
                self.sessions[session].expires = Some(expires);
                cx.put(expires, Happening::TokenEnds(session));
            }
            let this = &mut self.sessions[session];
            if !std::mem::replace(&mut this.known, true) {
                this.accepted = Some(cx.now);
                this.connected = Some(hosts.clock_of(cx, host).wall);
            }
        }
    }

    /// An instance takes in a new token of a terminal, which expires then.
    pub(crate) fn refreshed(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        host: usize,
        connection: ConnectionKey,
        token: Option<WallTime>,
    ) {
        if let Some(socket) = self.sockets[host].get(&connection) {
            let session = socket.session();
            self.sessions[session].token = token;
            let expires = self.expiry(cx, hosts, hosts.life(host), session);
            self.sessions[session].expires = expires;
            if let Some(expires) = expires {
                cx.put(expires, Happening::TokenEnds(session));
            }
        }
    }

    /// An instance has refused the handshake of a session.
    pub(crate) fn refused(&mut self, cx: &mut Context, session: usize, refused: Refused) {
        self.ended(cx, session);
        self.reset(cx, session, Duration::ZERO);
        cx.observe(Observed::Refused { session, refused });
    }

    /// An instance learns that a connection has ended.
    pub(crate) fn closed(
        &mut self,
        cx: &mut Context,
        host: usize,
        connection: ConnectionKey,
        closure: Closure,
        account: Option<Account>,
    ) {
        if let Some(socket) = self.sockets[host].get(&connection) {
            let session = socket.session();
            cx.observe(Observed::Closed {
                session,
                closure,
                account,
            });
            self.sessions[session].closed.get_or_insert(cx.now);
            self.ended(cx, session);
        }
    }

    /// An instance learns that a terminal has sent something.
    pub(crate) fn heard(
        &self,
        cx: &mut Context,
        host: usize,
        connection: ConnectionKey,
        frame: Heard,
    ) {
        if let Some(socket) = self.sockets[host].get(&connection) {
            let session = socket.session();
            cx.observe(Observed::Heard { session, frame });
        }
    }

    /// An instance has forgotten a connection.
    pub(crate) fn forget(&mut self, host: usize, connection: ConnectionKey) {
        self.sockets[host].remove(&connection);
    }

    /// An instance is gone, and its terminals learn it after a while.
    pub(crate) fn end_of_host(&mut self, cx: &mut Context, host: usize, notice: Duration) {
        for socket in std::mem::take(&mut self.sockets[host]).into_values() {
            self.ended(cx, socket.session());
            self.reset(cx, socket.session(), notice);
        }
    }

    /// Something reaches a terminal.
    pub(crate) fn arrives(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        publishing: &Publishing,
        session: usize,
        seen: Seen,
    ) {
        let this = &mut self.sessions[session];
        if this.gone || this.silent {
            return;
        }
        match seen {
            Seen::Frame(outgoing) => {
                this.tries = 0;
                cx.trace(&Entry::Frame {
                    session,
                    payload: &content(&outgoing),
                });
                if let Some((topic, word)) = LogWord::of(&outgoing) {
                    self.hear_of_log(cx, session, topic, word);
                }
                if let Outgoing::Hello { .. } = outgoing {
                    self.ask_again(cx, session);
                }
                if let Outgoing::Pushed(pushed) | Outgoing::Record(pushed) = outgoing {
                    let payload = pushed.payload().clone();
                    let push = publishing.of_content(payload.bytes());
                    let position = pushed.position();
                    let topic = pushed.topic().cloned();
                    self.holds(session, topic.as_ref(), position);
                    cx.observe(Observed::Seen {
                        session,
                        payload,
                        push,
                        topic,
                        position,
                    });
                }
            }
            Seen::Ping => {
                let reads = this.pace != Pace::Never;
                let (life, key) = (this.life, this.key);
                cx.trace(&Entry::Ping { session });
                if !reads {
                    return self.waits_for_reader(cx, session);
                }
                let (Some(life), Some(connection)) = (life, key) else {
                    return;
                };
                let at = self.upwards(cx, session);
                let frame = Heard::Control;
                cx.tell_at(life, at, Event::Heard { connection, frame });
            }
            Seen::Close(code) => {
                this.gone = true;
                cx.trace(&Entry::Close { session, code });
                cx.observe(Observed::SeenClose { session, code });
                self.over(cx, hosts, session, Closure::Clean);
                self.disappointed(cx, session);
            }
            Seen::Reset => {
                this.gone = true;
                self.disappointed(cx, session);
            }
        }
    }

    /// A moment of the client of a session has come.
    pub(crate) fn moment(&self, cx: &mut Context, moment: Moment, session: usize) {
        let client = &self.sessions[session].client;
        cx.moment(moment, |of| client == of);
    }

    /// A moment of the client of a connection has come.
    pub(crate) fn moment_of_connection(
        &self,
        cx: &mut Context,
        moment: Moment,
        connection: ConnectionId,
    ) {
        if let Some(session) = self.session_of(connection) {
            self.moment(cx, moment, session);
        }
    }

    /// The end of a session begins, if it has not done so already.
    fn ended(&mut self, cx: &mut Context, session: usize) {
        if self.sessions[session].ended.is_none() {
            self.sessions[session].ended = Some(cx.now);
            cx.observe(Observed::Ended { session });
        }
    }

    /// The instance will learn that the connection is over.
    fn over(&mut self, cx: &mut Context, hosts: &Hosts, session: usize, closure: Closure) {
        let at = self.upwards(cx, session);
        let this = &self.sessions[session];
        let (Some(life), Some(connection)) = (this.life, this.key) else {
            return;
        };
        if !hosts.lives(life) {
            return;
        }
        let Some(socket) = self.sockets[life.host].get_mut(&connection) else {
            return;
        };
        if !socket.report() {
            let event = Event::Closed {
                connection,
                closure,
            };
            cx.tell_at(life, at, event);
        }
    }

    /// A terminal will learn that its connection has broken, or that it gets none.
    fn reset(&mut self, cx: &mut Context, session: usize, after: Duration) {
        let at = self.downwards(cx, session) + after;
        let seen = Seen::Reset;
        cx.put(at, Happening::AtTerminal { session, seen });
    }

    fn downwards(&mut self, cx: &Context, session: usize) -> Instant {
        let at = self.way(cx, session, 0);
        let this = &mut self.sessions[session];
        this.down = this.down.max(at);
        this.down
    }

    fn upwards(&mut self, cx: &Context, session: usize) -> Instant {
        let at = self.way(cx, session, 1);
        let this = &mut self.sessions[session];
        this.up = this.up.max(at);
        this.up
    }

    fn way(&self, cx: &Context, session: usize, direction: u64) -> Instant {
        let [client, moment] = self.sessions[session].noise;
        let ids = [client, moment, direction];
        cx.noise.arrival(cx.now, WAY, Purpose::Terminal, &ids)
    }

    /// Feeds the connections of one process to a print.
    pub(crate) fn fingerprint_sockets(&self, host: usize, to: &mut Print) {
        self.sockets[host].fingerprint(to);
    }
}
