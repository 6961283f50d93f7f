//! The instance's end of a connection: what has been sent and waits for the terminal to read.

use std::collections::VecDeque;
use std::time::Duration;

use switchboard_core::event::{self, Closure, Event};
use switchboard_core::frame::{CloseCode, Outgoing, Payload};
use switchboard_core::id::ConnectionKey;

use super::{Pace, Terminals};
use crate::context::{Context, WRITE};
use crate::fingerprint::{Fingerprint, Print, fingerprint};
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::observed::{Life, Observed};
use crate::publishing::Publishing;
use crate::schedule::Moment;
use crate::settings::content;
use crate::vocabulary::happening::{Happening, Seen};

/// The instance's end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    session: usize,
    /// What the terminal has not taken, in its order.
    buffer: VecDeque<Downward>,
    /// The terminal does not read: a flush waits, and perhaps the end.
    stuck: bool,
    /// A flush waits for a terminal that reads slowly.
    slow: bool,
    /// The terminal has taken a frame behind which a ping waits, since that ping or since somebody
    /// asked.
    moved: bool,
    closing: Option<CloseCode>,
    /// The instance has been told, or will be, that it is over.
    reported: bool,
}

fingerprint!(Socket {
    session,
    buffer,
    stuck,
    slow,
    moved,
    closing,
    reported,
});

/// What goes to a terminal before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Downward {
    Frame(Outgoing),
    Ping,
}

impl Fingerprint for Downward {
    fn fingerprint(&self, to: &mut Print) {
        match self {
            Self::Frame(outgoing) => Some(content(outgoing)).fingerprint(to),
            Self::Ping => None::<Payload>.fingerprint(to),
        }
    }
}

impl Socket {
    pub(super) const fn new(session: usize) -> Self {
        Self {
            session,
            buffer: VecDeque::new(),
            stuck: false,
            slow: false,
            moved: false,
            closing: None,
            reported: false,
        }
    }

    /// Whose it is.
    pub(super) const fn session(&self) -> usize {
        self.session
    }

    /// Whether the instance has been told, or will be, that it is over, from here on.
    pub(super) const fn report(&mut self) -> bool {
        std::mem::replace(&mut self.reported, true)
    }
}

impl Terminals {
    /// A session's client reads so from here on.
    pub(super) fn set_pace(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        publishing: &Publishing,
        session: usize,
        pace: Pace,
    ) {
        let this = &mut self.sessions[session];
        let before = std::mem::replace(&mut this.pace, pace);
        if before == Pace::Never {
            this.deaf_until = Some(cx.now);
        }
        if before != Pace::AtOnce {
            this.slow_until = Some(cx.now);
        }
        let (true, Some(life), Some(key)) = (pace != Pace::Never, this.life, this.key) else {
            return;
        };
        if !hosts.lives(life) {
            return;
        }
        let Some(socket) = self.sockets[life.host].get_mut(&key) else {
            return;
        };
        // Whatever the pace was, it makes room for what waits.
        if std::mem::take(&mut socket.stuck) | std::mem::take(&mut socket.slow) {
            match socket.closing {
                Some(code) => self.close(cx, publishing, life, key, code),
                None => self.flush(cx, publishing, life, key),
            }
        } else if pace == Pace::AtOnce {
            self.slow_read(cx, hosts, publishing, life, key);
        }
    }

    /// An instance sends a frame, which waits for the next flush.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        host: usize,
        key: ConnectionKey,
        outgoing: Outgoing,
    ) {
        if let Some(socket) = self.sockets[host].get_mut(&key) {
            let session = socket.session;
            cx.observe(Observed::Given {
                session,
                outgoing: outgoing.clone(),
            });
            socket.buffer.push_back(Downward::Frame(outgoing.clone()));
            self.hear_of_topics(cx.now, session, &outgoing);
        }
    }

    /// What was sent goes to the terminal, as it reads.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context,
        publishing: &Publishing,
        life: Life,
        key: ConnectionKey,
    ) {
        let Some(socket) = self.sockets[life.host].get_mut(&key) else {
            return;
        };
        let session = socket.session;
        match self.sessions[session].pace {
            Pace::AtOnce => {
                self.hand_over_all(cx, publishing, life, key, session);
            }
            Pace::Every(span) => {
                socket.slow = true;
                cx.put(cx.now + span, Happening::SlowRead(life, key));
                self.waits_for_reader(cx, session);
            }
            Pace::Never => {
                socket.stuck = true;
                self.waits_for_reader(cx, session);
            }
        }
    }

    /// A terminal that reads slowly takes a frame.
    pub(crate) fn slow_read(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        publishing: &Publishing,
        life: Life,
        key: ConnectionKey,
    ) {
        if !hosts.lives(life) {
            return;
        }
        let Some(socket) = self.sockets[life.host].get_mut(&key) else {
            return;
        };
        if !std::mem::take(&mut socket.slow) {
            return;
        }
        let session = socket.session;
        let pace = self.sessions[session].pace;
        self.hand_over(cx, publishing, life, key, Some(1));
        let socket = self.sockets[life.host].get_mut(&key);
        match (pace, socket) {
            (Pace::Every(span), Some(socket)) if !socket.buffer.is_empty() => {
                socket.slow = true;
                cx.put(cx.now + span, Happening::SlowRead(life, key));
            }
            (Pace::AtOnce | Pace::Never | Pace::Every(_), _) => {
                self.hand_over_all(cx, publishing, life, key, session);
            }
        }
    }

    /// All frames of a batch are on their way, and its instance is told.
    fn hand_over_all(
        &mut self,
        cx: &mut Context,
        publishing: &Publishing,
        life: Life,
        key: ConnectionKey,
        session: usize,
    ) {
        self.hand_over(cx, publishing, life, key, None);
        self.sessions[session].batch_is_written(cx.now);
        cx.tell(life, WRITE, Event::Written { connection: key });
    }

    /// So many frames, or all, go on their way, with the pings between and behind them.
    fn hand_over(
        &mut self,
        cx: &mut Context,
        publishing: &Publishing,
        life: Life,
        key: ConnectionKey,
        frames: Option<usize>,
    ) {
        let mut left = frames.unwrap_or(usize::MAX);
        loop {
            let Some(socket) = self.sockets[life.host].get_mut(&key) else {
                return;
            };
            let session = socket.session;
            if left == 0 && socket.buffer.front() != Some(&Downward::Ping) {
                return;
            }
            let Some(next) = socket.buffer.pop_front() else {
                return;
            };
            socket.moved = match next {
                Downward::Frame(_) => {
                    let silent = self.sessions[session].silent;
                    socket.buffer.contains(&Downward::Ping) && !silent
                }
                Downward::Ping => false,
            };
            let seen = match next {
                Downward::Frame(outgoing) => {
                    left -= 1;
                    self.written(cx, publishing, session, &outgoing);
                    Seen::Frame(outgoing)
                }
                Downward::Ping => Seen::Ping,
            };
            let at = self.downwards(cx, session);
            cx.put(at, Happening::AtTerminal { session, seen });
        }
    }

    /// A frame is with the operating system.
    fn written(
        &mut self,
        cx: &mut Context,
        publishing: &Publishing,
        session: usize,
        outgoing: &Outgoing,
    ) {
        let this = &mut self.sessions[session];
        match outgoing {
            Outgoing::Hello { degraded, .. } if this.greeted.is_none() => {
                let degraded = *degraded;
                this.greeted = Some((cx.now, degraded));
                cx.observe(Observed::Greeted { session, degraded });
                self.moment(cx, Moment::Hello, session);
            }
            Outgoing::Hello { .. }
            | Outgoing::Log(_)
            | Outgoing::Gap(_)
            | Outgoing::Back(_)
            | Outgoing::Received(_)
            | Outgoing::Left(_)
            | Outgoing::NotJoined(_, _)
            | Outgoing::NotWatched(_, _)
            | Outgoing::Presence(_)
            | Outgoing::TopicLog(..) => {}
            Outgoing::Joined { .. } => self.joined(cx, session),
            Outgoing::Pushed(pushed) | Outgoing::Record(pushed) => {
                let payload = pushed.payload();
                let push = publishing.of_content(payload.bytes());
                if let Some(push) = push {
                    let id = publishing.pushes()[push].id();
                    this.write(id);
                    publishing.moment(cx, Moment::Write, push);
                }
                let payload = payload.clone();
                let position = pushed.position();
                cx.observe(Observed::Written {
                    session,
                    payload,
                    push,
                    position,
                });
            }
        }
    }

    /// Something waits for a terminal to read, if it does not read at once.
    pub(super) fn waits_for_reader(&self, cx: &mut Context, session: usize) {
        if self.sessions[session].pace != Pace::AtOnce {
            cx.fault_opens(FaultKind::SlowReader, Scope::Session(session));
        }
    }

    /// An instance pings a terminal, behind what waits for it to read.
    pub(crate) fn ping(&mut self, cx: &mut Context, host: usize, key: ConnectionKey) {
        let Some(socket) = self.sockets[host].get_mut(&key) else {
            return;
        };
        socket.moved = false;
        if !socket.buffer.is_empty() {
            socket.buffer.push_back(Downward::Ping);
            return;
        }
        let session = socket.session;
        let at = self.downwards(cx, session);
        let seen = Seen::Ping;
        cx.put(at, Happening::AtTerminal { session, seen });
    }

    /// Looks for signs of life of a terminal whose ping may wait behind frames.
    pub(crate) fn probe(&mut self, cx: &mut Context, at: Life, connection: ConnectionKey) {
        let Some(socket) = self.sockets[at.host].get_mut(&connection) else {
            return;
        };
        let life = match std::mem::take(&mut socket.moved) {
            true => event::Life::Shown,
            false => event::Life::NotShown,
        };
        cx.tell(at, WRITE, Event::Probed { connection, life });
    }

    /// An instance closes a connection, with a Close frame behind what waits for the terminal.
    pub(crate) fn close(
        &mut self,
        cx: &mut Context,
        publishing: &Publishing,
        life: Life,
        key: ConnectionKey,
        code: CloseCode,
    ) {
        let Some(socket) = self.sockets[life.host].get_mut(&key) else {
            return;
        };
        let session = socket.session;
        cx.observe(Observed::Closing {
            session,
            code: Some(code),
        });
        if self.sessions[session].pace == Pace::Never {
            socket.stuck = true;
            socket.closing = Some(code);
            self.waits_for_reader(cx, session);
            return self.ended(cx, session);
        }
        self.hand_over(cx, publishing, life, key, None);
        self.ended(cx, session);
        let at = self.downwards(cx, session);
        let seen = Seen::Close(code);
        cx.put(at, Happening::AtTerminal { session, seen });
    }

    /// An instance gives a connection up.
    pub(crate) fn abort(&mut self, cx: &mut Context, life: Life, connection: ConnectionKey) {
        let Some(socket) = self.sockets[life.host].get_mut(&connection) else {
            return;
        };
        let session = socket.session;
        cx.observe(Observed::Closing {
            session,
            code: None,
        });
        let reported = socket.report();
        self.ended(cx, session);
        self.reset(cx, session, Duration::ZERO);
        if !reported {
            let closure = Closure::Abrupt;
            let event = Event::Closed {
                connection,
                closure,
            };
            cx.tell(life, WRITE, event);
        }
    }
}
