//! What clients do: connect, move, leave, send, and connect anew.

use std::time::Duration;

use switchboard_core::event::{Closure, Event, Heard, Login};
use switchboard_core::frame::CloseCode;
use switchboard_core::id::UserId;
use switchboard_core::time::WallTime;

use super::log::ClientLog;
use super::{Pace, Session, Terminals};
use crate::context::{Context, VANISHED};
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::noise::Purpose;
use crate::observed::Observed;
use crate::publishing::Publishing;
use crate::schedule::{FailedUpgrade, HowClosed, LateLogin, Sent};
use crate::vocabulary::happening::{Happening, Input};

/// A client waits for this many times longer at most before it connects anew.
const BACKOFF_FACTOR: u32 = 32;

impl Terminals {
    /// A client connects.
    pub(crate) fn connect(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        client: &str,
        at: Option<usize>,
        user: &str,
        token: Option<Duration>,
    ) {
        let Ok(user) = UserId::new(user) else {
            return;
        };
        let wall = cx.clock().wall.as_millis();
        let token = token.map(|token| WallTime::from_millis(wall + token.as_millis() as u64));
        let session = Session::new(cx.now, client, user, token, 0);
        self.open(cx, hosts, session, at);
    }

    /// A client connects, and its connection is never open.
    pub(crate) fn connect_in_vain(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        client: &str,
        at: Option<usize>,
        user: &str,
        how: FailedUpgrade,
    ) {
        if let Ok(user) = UserId::new(user) {
            let session = Session::new(cx.now, client, user, None, 0);
            self.open(cx, hosts, session.that_fails(how), at);
        }
    }

    /// A client shows a new token, which its instance takes in when it comes.
    pub(crate) fn prolong(&mut self, cx: &mut Context, client: &str, token: Duration) {
        let Some(&session) = self.clients.get(client) else {
            return;
        };
        let this = &self.sessions[session];
        let (Some(life), Some(connection), true) = (this.life, this.key, this.is_open()) else {
            return;
        };
        if !this.is_known() {
            return;
        }
        let wall = cx.clock().wall.as_millis() + token.as_millis() as u64;
        let refreshed = Event::Refreshed {
            connection,
            expires: Some(WallTime::from_millis(wall)),
            topics: this.rights.clone(),
        };
        let at = self.upwards(cx, session);
        cx.tell_at(life, at, refreshed);
    }

    fn open(&mut self, cx: &mut Context, hosts: &Hosts, this: Session, at: Option<usize>) {
        let session = self.sessions.len();
        let follow = self.logs.get(&this.client).and_then(ClientLog::asks);
        let rights = self.claims.of(&this.client);
        let login = self.logins.get(&this.client).copied();
        let this = Session {
            follow,
            rights,
            login,
            ..this
        };
        let before = self.clients.insert(this.client.clone(), session);
        self.sessions.push(this);
        if let Some(before) = before {
            if self.sessions[before].is_under_way() {
                cx.borne(FaultKind::HalfOpenClient, Scope::Session(before));
            }
            self.fall_silent(before);
        }
        cx.observe(Observed::Connecting { session });
        let Some(host) = at.or_else(|| self.balance(cx, hosts, session)) else {
            return self.nobody_there(cx, session);
        };
        let life = hosts.life(host);
        if !hosts.lives(life) {
            return self.nobody_answers(cx, hosts, session, host);
        }
        self.sessions[session].life = Some(life);
        let at = self.upwards(cx, session);
        cx.put(at, Happening::Input(life, Input::Handshake(session)));
    }

    /// Where the balancer sends a new connection: to one of those that say they are ready, or while
    /// it is blind to any.
    fn balance(&self, cx: &mut Context, hosts: &Hosts, session: usize) -> Option<usize> {
        let blind = cx.now < self.balancer_blind_until;
        let [client, moment] = self.sessions[session].noise;
        let chosen = (0..hosts.len())
            .filter(|host| blind || hosts.is_ready(*host))
            .max_by_key(|host| {
                let ids = [client, moment, *host as u64];
                cx.noise.draw(Purpose::Balancer, &ids)
            })?;
        if !hosts.is_ready(chosen) {
            cx.borne(FaultKind::BlindBalancer, Scope::Instance(chosen));
        }
        Some(chosen)
    }

    /// For a while the balancer does not see who is ready.
    pub(crate) fn blind_balancer(&mut self, cx: &Context, span: Duration) {
        self.balancer_blind_until = cx.now + span;
    }

    fn nobody_there(&mut self, cx: &mut Context, session: usize) {
        self.ended(cx, session);
        cx.observe(Observed::NobodyThere { session });
        self.reset(cx, session, Duration::ZERO);
    }

    /// A client connects to a process that does not run. It is told so, or it gives up after a while
    /// if that process went without a sign.
    pub(crate) fn nobody_answers(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        session: usize,
        host: usize,
    ) {
        if hosts.has_vanished(host) {
            self.sessions[session].unanswered = true;
            cx.put(cx.now + VANISHED, Happening::Unanswered(session));
        } else {
            self.nobody_there(cx, session);
        }
    }

    /// A client gives up to wait for an answer, if it has not done so before.
    pub(crate) fn unanswered(&mut self, cx: &mut Context, session: usize) {
        let this = &self.sessions[session];
        if !this.gone && !this.silent {
            self.nobody_there(cx, session);
        }
    }

    /// A token expires: its connection may be closing from here on.
    pub(crate) fn token_ends(&self, cx: &mut Context, session: usize) {
        let this = &self.sessions[session];
        let is_due = this.expires.is_some_and(|expires| expires <= cx.now);
        if is_due && this.is_open() {
            cx.fault_opens(FaultKind::TokenExpired, Scope::Session(session));
        }
    }

    /// A client says who it is behind its handshake, from its next connection on.
    pub(crate) fn log_in_late(&mut self, client: &str, login: LateLogin) {
        self.logins.insert(client.to_owned(), login);
    }

    /// A client says who it is, if it still has the connection.
    pub(crate) fn logs_in(&mut self, cx: &mut Context, hosts: &Hosts, session: usize) {
        let this = &self.sessions[session];
        let (Some(life), Some(connection), true) = (this.life, this.key, this.is_open()) else {
            return;
        };
        if let Some(LateLogin::Wrongly(_)) = this.login {
            cx.borne(FaultKind::Misbehaved, Scope::Session(session));
            let closure = Closure::Violation(CloseCode::InvalidToken);
            self.hang_up(cx, hosts, session, closure);
            return self.disappointed(cx, session);
        }
        let login = Box::new(Login {
            expires: this.token,
            follow: this.follow.clone(),
            topics: this.rights.clone(),
            ..Login::new(this.user.clone())
        });
        let at = self.upwards(cx, session);
        cx.tell_at(life, at, Event::Authenticated { connection, login });
    }

    /// A client moves: what it leaves behind ends in its way, and nothing waits for that.
    pub(crate) fn move_client(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        client: &str,
        at: Option<usize>,
        how: HowClosed,
    ) {
        let Some(&before) = self.clients.get(client) else {
            return;
        };
        let Session { user, token, .. } = &self.sessions[before];
        let session = Session::new(cx.now, client, user.clone(), *token, 0);
        if self.sessions[before].is_open() {
            cx.borne(FaultKind::Moved, Scope::Session(before));
        }
        self.leave(cx, hosts, before, how);
        self.open(cx, hosts, session, at);
    }

    /// A client ends its connection, and wants no other.
    pub(crate) fn close_client(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        client: &str,
        how: HowClosed,
    ) {
        if let Some(&session) = self.clients.get(client) {
            self.leave(cx, hosts, session, how);
        }
    }

    /// All clients do so.
    pub(crate) fn all_leave(&mut self, cx: &mut Context, hosts: &Hosts) {
        for session in self.clients.clone().into_values() {
            self.leave(cx, hosts, session, HowClosed::Clean);
        }
    }

    /// A client sends something, of which the driver tells the instance.
    pub(crate) fn client_sends(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        client: &str,
        what: Sent,
    ) {
        let Some(&session) = self.clients.get(client) else {
            return;
        };
        let this = &self.sessions[session];
        let (Some(life), Some(connection), true) = (this.life, this.key, this.is_open()) else {
            return;
        };
        let code = match what {
            // No driver takes it for more than a stranger's first frame.
            Sent::Messages(_) | Sent::Unwanted(_) if !this.is_known() => return,
            Sent::Messages(count) | Sent::Unwanted(count) => {
                let frame = match what {
                    Sent::Unwanted(_) => Heard::Unwanted,
                    _ => Heard::Message,
                };
                for _ in 0..count {
                    let at = self.upwards(cx, session);
                    cx.tell_at(life, at, Event::Heard { connection, frame });
                }
                return;
            }
            Sent::Malformed => CloseCode::ProtocolError,
            Sent::Oversized => CloseCode::TooLarge,
            Sent::NotUtf8 => CloseCode::InvalidPayload,
        };
        cx.borne(FaultKind::Misbehaved, Scope::Session(session));
        self.hang_up(cx, hosts, session, Closure::Violation(code));
        self.disappointed(cx, session);
    }

    /// How a client reads from here on. That it does not read at once is a fault when something waits
    /// for that.
    pub(crate) fn reads(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        publishing: &Publishing,
        client: &str,
        pace: Pace,
    ) {
        if let Some(&session) = self.clients.get(client) {
            if pace == Pace::AtOnce {
                cx.fault_ends(FaultKind::SlowReader, Some(Scope::Session(session)));
            }
            self.set_pace(cx, hosts, publishing, session, pace);
        }
    }

    /// All clients read at once, those whose handshakes hang leave, and the balancer sees who is ready.
    pub(crate) fn heal(&mut self, cx: &mut Context, hosts: &Hosts, publishing: &Publishing) {
        self.balancer_blind_until = cx.now;
        for session in 0..self.sessions.len() {
            self.set_pace(cx, hosts, publishing, session, Pace::AtOnce);
            if self.sessions[session].hangs() {
                self.leave(cx, hosts, session, HowClosed::Clean);
            }
        }
    }

    /// A client connects anew, unless it has done so already or has left.
    pub(crate) fn reconnect(&mut self, cx: &mut Context, hosts: &Hosts, session: usize) {
        let Session {
            client,
            user,
            token,
            left,
            tries,
            ..
        } = &self.sessions[session];
        let valid = token.is_none_or(|token| token > cx.clock().wall);
        if valid && !left && self.clients.get(client) == Some(&session) {
            let session = Session::new(cx.now, client, user.clone(), *token, tries + 1);
            self.open(cx, hosts, session, None);
        }
    }

    /// A client has learned that its connection is over, or that it gets none.
    pub(super) fn disappointed(&self, cx: &mut Context, session: usize) {
        let Some(base) = self.reconnect else {
            return;
        };
        let Session { tries, noise, .. } = self.sessions[session];
        let factor = 2_u32.saturating_pow(tries).min(BACKOFF_FACTOR);
        let ids = [noise[0], cx.now.as_nanos()];
        let jitter = cx.noise.span(base * factor, Purpose::Backoff, &ids);
        let at = cx.now + base * factor / 2 + jitter;
        cx.put(at, Happening::Reconnect(session));
    }

    /// The sockets of terminals are reset, at one instance or everywhere.
    pub(crate) fn storm(&mut self, cx: &mut Context, hosts: &Hosts, host: Option<usize>) {
        let there = |session: &usize| {
            let this = &self.sessions[*session];
            let there = this.life.map(|life| life.host);
            this.is_open() && (host.is_none() || host == there)
        };
        let hit: Vec<usize> = self.clients.values().copied().filter(there).collect();
        if !hit.is_empty() {
            cx.borne(FaultKind::Storm, host.map_or(Scope::All, Scope::Instance));
        }
        for session in hit {
            self.hang_up(cx, hosts, session, Closure::Abrupt);
            self.disappointed(cx, session);
        }
    }

    /// The client of a session ends it, and wants no other.
    pub(super) fn leave(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        session: usize,
        how: HowClosed,
    ) {
        self.sessions[session].left = true;
        let unclean = match how {
            HowClosed::Silent => Some(FaultKind::SilentEnd),
            HowClosed::Sudden => Some(FaultKind::SuddenEnd),
            HowClosed::Clean => None,
        };
        if let Some(kind) = unclean.filter(|_| self.sessions[session].is_under_way()) {
            cx.borne(kind, Scope::Session(session));
        }
        let closure = match how {
            HowClosed::Silent => return self.fall_silent(session),
            HowClosed::Clean => Closure::Clean,
            HowClosed::Sudden => Closure::Abrupt,
        };
        self.hang_up(cx, hosts, session, closure);
    }

    fn hang_up(&mut self, cx: &mut Context, hosts: &Hosts, session: usize, closure: Closure) {
        if !std::mem::replace(&mut self.sessions[session].gone, true) {
            self.ended(cx, session);
            self.over(cx, hosts, session, closure);
        }
    }

    fn fall_silent(&mut self, session: usize) {
        if !self.sessions[session].gone {
            self.sessions[session].silent = true;
        }
    }
}
