//! What clients do: connect, move, leave, send, and connect anew.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::event::{Closure, Event, Heard};
use switchboard_core::frame::CloseCode;
use switchboard_core::id::UserId;
use switchboard_core::time::{Instant, WallTime};

use super::{Pace, Session};
use crate::host::VANISHED;
use crate::ledger::{FaultKind, Scope};
use crate::noise::{self, Purpose};
use crate::observed::Observed;
use crate::queue::{Happening, Input, Seen};
use crate::schedule::{HowClosed, Sent};
use crate::world::World;

/// A client waits for this many times longer at most before it connects anew.
const BACKOFF_FACTOR: u32 = 32;

impl World {
    pub(crate) fn connect(
        &mut self,
        client: &str,
        at: Option<usize>,
        user: &str,
        token: Option<Duration>,
    ) {
        let Ok(user) = UserId::new(user) else {
            return;
        };
        let wall = self.clock().wall.as_millis();
        let token = token.map(|token| WallTime::from_millis(wall + token.as_millis() as u64));
        self.open_session(client, at, user, token, 0);
    }

    fn open_session(
        &mut self,
        client: &str,
        at: Option<usize>,
        user: UserId,
        token: Option<WallTime>,
        tries: u32,
    ) {
        let session = self.sessions.len();
        self.sessions.push(Session {
            client: client.to_owned(),
            user,
            token,
            expires: None,
            life: None,
            id: None,
            greeted: None,
            ended: None,
            silent: false,
            pace: Pace::AtOnce,
            deaf_until: None,
            written: BTreeMap::new(),
            key: None,
            gone: false,
            left: false,
            tries,
            unanswered: false,
            noise: [noise::of_name(client), self.now.as_nanos()],
            down: Instant::START,
            up: Instant::START,
        });
        if let Some(before) = self.clients.insert(client.to_owned(), session) {
            if self.sessions[before].is_open() {
                self.borne(FaultKind::HalfOpenClient, Scope::Session(before));
            }
            self.fall_silent(before);
        }
        self.observe(Observed::Connecting { session });
        let Some(host) = at.or_else(|| self.balance(session)) else {
            return self.nobody_there(session);
        };
        let life = self.life(host);
        if !self.lives(life) {
            return self.nobody_answers(session, host);
        }
        self.sessions[session].life = Some(life);
        let at = self.upwards(session);
        self.queue
            .put(at, Happening::Input(life, Input::Handshake(session)));
    }

    /// Where the balancer sends a new connection: to one of those that say they are ready, or while
    /// it is blind to any.
    fn balance(&mut self, session: usize) -> Option<usize> {
        let blind = self.now < self.balancer_blind_until;
        let [client, moment] = self.sessions[session].noise;
        let ready = |host: usize| {
            let instance = self.processes[host].instance.as_ref();
            instance.is_some_and(|instance| instance.is_ready())
        };
        let chosen = (0..self.processes.len())
            .filter(|host| blind || ready(*host))
            .max_by_key(|host| {
                let ids = [client, moment, *host as u64];
                self.noise.draw(Purpose::Balancer, &ids)
            })?;
        if !ready(chosen) {
            self.borne(FaultKind::BlindBalancer, Scope::Instance(chosen));
        }
        Some(chosen)
    }

    fn nobody_there(&mut self, session: usize) {
        self.session_ended(session);
        self.observe(Observed::NobodyThere { session });
        self.reset_terminal(session, Duration::ZERO);
    }

    /// A client connects to a process that does not run. It is told so, or it gives up after a while
    /// if that process went without a sign.
    pub(crate) fn nobody_answers(&mut self, session: usize, host: usize) {
        if self.processes[host].vanished {
            self.sessions[session].unanswered = true;
            let at = self.now + VANISHED;
            self.queue.put(at, Happening::Unanswered(session));
        } else {
            self.nobody_there(session);
        }
    }

    /// A client gives up to wait for an answer, if it has not done so before.
    pub(crate) fn unanswered(&mut self, session: usize) {
        let this = &self.sessions[session];
        if !this.gone && !this.silent {
            self.nobody_there(session);
        }
    }

    /// A token runs out: its connection may be closing from here on.
    pub(crate) fn token_ends(&mut self, session: usize) {
        if self.sessions[session].is_open() {
            self.fault_opens(FaultKind::TokenExpired, Scope::Session(session));
        }
    }

    /// A client moves: what it leaves behind ends in its way, and nothing waits for that.
    pub(crate) fn move_client(&mut self, client: &str, at: Option<usize>, how: HowClosed) {
        let Some(&before) = self.clients.get(client) else {
            return;
        };
        let Session { user, token, .. } = &self.sessions[before];
        let (user, token) = (user.clone(), *token);
        if self.sessions[before].is_open() {
            self.borne(FaultKind::Moved, Scope::Session(before));
        }
        self.leave(before, how);
        self.open_session(client, at, user, token, 0);
    }

    pub(crate) fn close_client(&mut self, client: &str, how: HowClosed) {
        if let Some(&session) = self.clients.get(client) {
            self.leave(session, how);
        }
    }

    pub(crate) fn all_leave(&mut self) {
        for session in self.clients.clone().into_values() {
            self.leave(session, HowClosed::Clean);
        }
    }

    pub(crate) fn client_sends(&mut self, client: &str, what: Sent) {
        if let Some(&session) = self.clients.get(client) {
            self.terminal_sends(session, what);
        }
    }

    /// How a client reads from here on. That it does not read at once is a fault when something waits
    /// for that.
    pub(crate) fn reads(&mut self, client: &str, pace: Pace) {
        if let Some(&session) = self.clients.get(client) {
            if pace == Pace::AtOnce {
                self.fault_ends(FaultKind::SlowReader, Some(Scope::Session(session)));
            }
            self.set_pace(session, pace);
        }
    }

    /// A client connects anew, unless it has done so already or has left.
    pub(crate) fn reconnect(&mut self, session: usize) {
        let Session {
            client,
            user,
            token,
            left,
            tries,
            ..
        } = self.sessions[session].clone();
        let valid = token.is_none_or(|token| token > self.clock().wall);
        if valid && !left && self.clients.get(&client) == Some(&session) {
            self.open_session(&client, None, user, token, tries + 1);
        }
    }

    /// A client has learned that its connection is over, or that it gets none.
    pub(super) fn disappointed(&mut self, session: usize) {
        let Some(base) = self.schedule.reconnect else {
            return;
        };
        let Session { tries, noise, .. } = self.sessions[session];
        let factor = 2_u32.saturating_pow(tries).min(BACKOFF_FACTOR);
        let ids = [noise[0], self.now.as_nanos()];
        let jitter = (self.noise).span(base * factor, Purpose::Backoff, &ids);
        let at = self.now + base * factor / 2 + jitter;
        self.queue.put(at, Happening::Reconnect(session));
    }

    /// A terminal will learn that its connection has broken, or that it gets none.
    pub(crate) fn reset_terminal(&mut self, session: usize, after: Duration) {
        let at = self.downwards(session) + after;
        let seen = Seen::Reset;
        self.queue.put(at, Happening::AtTerminal { session, seen });
    }

    /// The sockets of terminals are reset, at one instance or everywhere.
    pub(crate) fn storm(&mut self, host: Option<usize>) {
        let there = |session: &usize| {
            let this = &self.sessions[*session];
            let there = this.life.map(|life| life.host);
            this.is_open() && (host.is_none() || host == there)
        };
        let hit: Vec<usize> = self.clients.values().copied().filter(there).collect();
        if !hit.is_empty() {
            self.borne(FaultKind::Storm, host.map_or(Scope::All, Scope::Instance));
        }
        for session in hit {
            self.hang_up(session, Closure::Abrupt);
            self.disappointed(session);
        }
    }

    /// A client sends something, of which the driver tells the instance.
    fn terminal_sends(&mut self, session: usize, what: Sent) {
        let this = &self.sessions[session];
        let (Some(life), Some(connection), true) = (this.life, this.key, this.is_open()) else {
            return;
        };
        let violation = |code| Closure::Violation(code);
        let closure = match what {
            Sent::Messages(count) => {
                for _ in 0..count {
                    let at = self.upwards(session);
                    let frame = Heard::Message;
                    let event = Event::Heard { connection, frame };
                    self.queue
                        .put(at, Happening::Input(life, Input::Event(Box::new(event))));
                }
                return;
            }
            Sent::Malformed => violation(CloseCode::ProtocolError),
            Sent::Oversized => violation(CloseCode::TooLarge),
            Sent::NotUtf8 => violation(CloseCode::InvalidPayload),
        };
        self.borne(FaultKind::Misbehaved, Scope::Session(session));
        self.hang_up(session, closure);
        self.disappointed(session);
    }

    /// A client ends its connection, and wants no other.
    pub(crate) fn leave(&mut self, session: usize, how: HowClosed) {
        self.sessions[session].left = true;
        let unclean = match how {
            HowClosed::Silent => Some(FaultKind::SilentEnd),
            HowClosed::Sudden => Some(FaultKind::SuddenEnd),
            HowClosed::Clean => None,
        };
        if let Some(kind) = unclean.filter(|_| self.sessions[session].is_open()) {
            self.borne(kind, Scope::Session(session));
        }
        let closure = match how {
            HowClosed::Silent => return self.fall_silent(session),
            HowClosed::Clean => Closure::Clean,
            HowClosed::Sudden => Closure::Abrupt,
        };
        self.hang_up(session, closure);
    }

    fn hang_up(&mut self, session: usize, closure: Closure) {
        if !std::mem::replace(&mut self.sessions[session].gone, true) {
            self.session_ended(session);
            self.over(session, closure);
        }
    }

    pub(super) fn fall_silent(&mut self, session: usize) {
        if !self.sessions[session].gone {
            self.sessions[session].silent = true;
        }
    }
}
