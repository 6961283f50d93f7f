//! The instance's end of a connection: what has been sent and waits for the terminal to read.

use std::collections::VecDeque;
use std::time::Duration;

use switchboard_core::event::{self, Closure, Event};
use switchboard_core::frame::{CloseCode, Payload};
use switchboard_core::id::ConnectionKey;

use super::Pace;
use crate::fingerprint::{Fingerprint, Print, fingerprint};
use crate::host::WRITE;
use crate::ledger::{FaultKind, Scope};
use crate::observed::Life;
use crate::queue::{Happening, Seen};
use crate::world::World;

/// The instance's end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) session: usize,
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

fingerprint!(Connection {
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
    Frame(Payload),
    Ping,
}

impl Fingerprint for Downward {
    fn fingerprint(&self, to: &mut Print) {
        match self {
            Self::Frame(payload) => Some(payload.clone()).fingerprint(to),
            Self::Ping => None::<Payload>.fingerprint(to),
        }
    }
}

impl Connection {
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

    /// Whether the instance has been told, or will be, that it is over, from here on.
    pub(super) const fn report(&mut self) -> bool {
        std::mem::replace(&mut self.reported, true)
    }
}

impl World {
    pub(crate) fn set_pace(&mut self, session: usize, pace: Pace) {
        let now = self.now;
        let this = &mut self.sessions[session];
        if std::mem::replace(&mut this.pace, pace) == Pace::Never {
            this.deaf_until = Some(now);
        }
        let this = &self.sessions[session];
        let (true, Some(life), Some(key)) = (pace != Pace::Never, this.life, this.key) else {
            return;
        };
        if !self.lives(life) {
            return;
        }
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        // Whatever the pace was, it makes room for what waits.
        if std::mem::take(&mut connection.stuck) | std::mem::take(&mut connection.slow) {
            match connection.closing {
                Some(code) => self.close(life, key, code),
                None => self.flush(life, key),
            }
        } else if pace == Pace::AtOnce {
            self.slow_read(life, key);
        }
    }

    pub(crate) fn send(&mut self, host: usize, key: ConnectionKey, payload: Payload) {
        if let Some(connection) = self.processes[host].connections.get_mut(&key) {
            connection.buffer.push_back(Downward::Frame(payload));
        }
    }

    pub(crate) fn flush(&mut self, life: Life, key: ConnectionKey) {
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        let session = connection.session;
        match self.sessions[session].pace {
            Pace::AtOnce => {
                self.hand_over(life, key, None);
                self.tell(life, WRITE, Event::Written { connection: key });
            }
            Pace::Every(span) => {
                connection.slow = true;
                let at = self.now + span;
                self.queue.put(at, Happening::SlowRead(life, key));
                self.waits_for_reader(session);
            }
            Pace::Never => {
                connection.stuck = true;
                self.waits_for_reader(session);
            }
        }
    }

    /// A terminal that reads slowly takes a frame.
    pub(crate) fn slow_read(&mut self, life: Life, key: ConnectionKey) {
        if !self.lives(life) {
            return;
        }
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        if !std::mem::take(&mut connection.slow) {
            return;
        }
        let pace = self.sessions[connection.session].pace;
        self.hand_over(life, key, Some(1));
        let connection = self.processes[life.host].connections.get_mut(&key);
        match (pace, connection) {
            (Pace::Every(span), Some(connection)) if !connection.buffer.is_empty() => {
                connection.slow = true;
                let at = self.now + span;
                self.queue.put(at, Happening::SlowRead(life, key));
            }
            (Pace::AtOnce | Pace::Never | Pace::Every(_), _) => {
                self.hand_over(life, key, None);
                self.tell(life, WRITE, Event::Written { connection: key });
            }
        }
    }

    /// So many frames, or all, go on their way, with the pings between and behind them.
    fn hand_over(&mut self, life: Life, key: ConnectionKey, frames: Option<usize>) {
        let mut left = frames.unwrap_or(usize::MAX);
        loop {
            let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
                return;
            };
            let session = connection.session;
            if left == 0 && connection.buffer.front() != Some(&Downward::Ping) {
                return;
            }
            let Some(next) = connection.buffer.pop_front() else {
                return;
            };
            connection.moved = match next {
                Downward::Frame(_) => {
                    let silent = self.sessions[session].silent;
                    connection.buffer.contains(&Downward::Ping) && !silent
                }
                Downward::Ping => false,
            };
            let seen = match next {
                Downward::Frame(payload) => {
                    left -= 1;
                    self.frame_written(session, &payload);
                    Seen::Frame(payload)
                }
                Downward::Ping => Seen::Ping,
            };
            let at = self.downwards(session);
            self.queue.put(at, Happening::AtTerminal { session, seen });
        }
    }

    /// Something waits for a terminal to read, if it does not read at once.
    pub(super) fn waits_for_reader(&mut self, session: usize) {
        if self.sessions[session].pace != Pace::AtOnce {
            self.fault_opens(FaultKind::SlowReader, Scope::Session(session));
        }
    }

    pub(crate) fn ping(&mut self, host: usize, key: ConnectionKey) {
        let Some(connection) = self.processes[host].connections.get_mut(&key) else {
            return;
        };
        connection.moved = false;
        if !connection.buffer.is_empty() {
            connection.buffer.push_back(Downward::Ping);
            return;
        }
        let session = connection.session;
        let at = self.downwards(session);
        let seen = Seen::Ping;
        self.queue.put(at, Happening::AtTerminal { session, seen });
    }

    /// Looks for signs of life of a terminal whose ping may wait behind frames.
    pub(crate) fn probe(&mut self, at: Life, connection: ConnectionKey) {
        let Some(socket) = self.processes[at.host].connections.get_mut(&connection) else {
            return;
        };
        let life = match std::mem::take(&mut socket.moved) {
            true => event::Life::Shown,
            false => event::Life::NotShown,
        };
        self.tell(at, WRITE, Event::Probed { connection, life });
    }

    pub(crate) fn close(&mut self, life: Life, key: ConnectionKey, code: CloseCode) {
        let Some(connection) = self.processes[life.host].connections.get_mut(&key) else {
            return;
        };
        let session = connection.session;
        if self.sessions[session].pace == Pace::Never {
            connection.stuck = true;
            connection.closing = Some(code);
            self.waits_for_reader(session);
            self.session_ended(session);
            return;
        }
        self.hand_over(life, key, None);
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
        self.reset_terminal(session, Duration::ZERO);
        if !reported {
            let event = Event::Closed {
                connection: key,
                closure: Closure::Abrupt,
            };
            self.tell(life, WRITE, event);
        }
    }
}
