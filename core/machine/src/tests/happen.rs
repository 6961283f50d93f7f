//! What each step does to the instance that is fed. A step that finds nothing to choose from does
//! nothing.

use std::time::Duration;

use bytes::Bytes;

use super::feeder::{Feeder, action, push_id, user_id};
use super::steps::{Answering, Step};
use crate::base::slots::SlotKey as _;
use crate::config::Config;
use crate::directory::{OperationError, Reply};
use crate::event::{Closure, Event, Handshake, Heard, Life, LinkFailure, Login, TripLost};
use crate::frame::CloseCode;
use crate::id::{CallId, ConnectionKey, Epoch, LinkKey, OpId, UserId};
use crate::logs::{LogQuery, LogRequest};
use crate::message::{Push, PushedBy};
use crate::peers::wire::Batch;
use crate::time::WallTime;

impl Feeder {
    pub(super) fn happen(&mut self, step: &Step) {
        match step {
            Step::Accept { user, expires } => self.accept(*user, *expires),
            Step::AcceptStranger => self.accept_stranger(),
            Step::Authenticated { connection, user } => self.authenticated(*connection, *user),
            Step::Opened { connection } => {
                self.about(*connection, |connection| Event::Opened { connection });
            }
            Step::Heard {
                connection,
                message,
            } => self.heard(*connection, *message),
            Step::Written { connection } => self.written(*connection),
            Step::Probed { connection, life } => self.probed(*connection, *life),
            Step::Closed {
                connection,
                violation,
            } => self.closed(*connection, *violation),
            Step::Stray {
                slot,
                generation,
                kind,
            } => self.stray(*slot, *generation, *kind),
            Step::DirectoryUp => self.event(Event::DirectoryUp),
            Step::DirectoryDown => self.event(Event::DirectoryDown),
            Step::Answer { trip, how } => self.answer(*trip, how),
            Step::Link => self.open_links(),
            Step::Serve => self.serve(),
            Step::Plant {
                instance,
                epoch,
                state,
                user,
                connection,
            } => {
                self.plant(*instance, *epoch, *state, *user, *connection);
            }
            Step::Wipe => self.cluster.directory.wipe(),
            Step::AcceptLink => self.accept_link(),
            Step::LinkUp { link } => self.link_up(*link),
            Step::Prove { link, peer, honest } => self.prove(*link, *peer, *honest),
            Step::Bytes { link, bytes } => self.receive(*link, bytes.clone().into()),
            Step::Say { link, messages } => {
                let mut batch = Batch::new();
                (messages.iter()).for_each(|said| batch.push(&self.message(said)));
                self.receive(*link, batch.take());
            }
            Step::LinkWritten { link } => self.link_written(*link),
            Step::LinkDown { link, not_me } => self.link_down(*link, *not_me),
            Step::Push {
                id,
                to,
                kick,
                bytes,
                millis,
            } => self.push(Push {
                id: push_id(*id),
                to: self.audience(to),
                action: action(*kick, *bytes),
                deadline: Duration::from_millis((*millis).into()),
                durable: None,
                by: PushedBy::Application,
            }),
            Step::Connections { user } => self.ask_connections(user_id(*user)),
            Step::Log { user, delete } => self.ask_log(user_id(*user), *delete),
            Step::Instances => self.ask_instances(),
            Step::Drain { delay, spread } => self.event(Event::Drain {
                delay: Duration::from_millis((*delay).into()),
                spread: Duration::from_millis((*spread).into()),
            }),
            Step::Wait { millis } => self.wait(*millis),
        }
    }

    fn accept(&mut self, user: u8, expires: Option<u16>) {
        let expires = expires.map(|millis| {
            WallTime::from_millis(self.cluster.now.wall.as_millis() + u64::from(millis))
        });
        let user = user_id(user);
        let handshake = Handshake {
            expires,
            ..Handshake::new(user)
        };
        if let Ok(key) = self.cluster.accept(0, handshake) {
            let id = self.instance().connection_id(key).expect("just accepted");
            self.connections.push((key, id));
            self.open.insert(key);
        }
    }

    fn accept_stranger(&mut self) {
        if let Ok(key) = self.cluster.accept_stranger(0) {
            let id = self.instance().connection_id(key).expect("just accepted");
            self.connections.push((key, id));
            self.open.insert(key);
        }
    }

    fn authenticated(&mut self, number: usize, user: u8) {
        let login = Login::new(user_id(user));
        self.about(number, |connection| Event::Authenticated {
            connection,
            login: Box::new(login),
        });
    }

    /// Something happens to a connection, if there is one.
    fn about(&mut self, number: usize, event: impl FnOnce(ConnectionKey) -> Event) {
        if let Some(connection) = self.connection(number) {
            self.event(event(connection));
        }
    }

    fn heard(&mut self, number: usize, message: bool) {
        let frame = match message {
            true => Heard::Message,
            false => Heard::Control,
        };
        self.about(number, |connection| Event::Heard { connection, frame });
    }

    fn written(&mut self, number: usize) {
        if let Some(connection) = self.connection(number)
            && self.cluster.contract.flushing.contains(&(0, connection))
        {
            self.event(Event::Written { connection });
        }
    }

    fn probed(&mut self, number: usize, life: Life) {
        self.about(number, |connection| Event::Probed { connection, life });
    }

    fn closed(&mut self, number: usize, violation: bool) {
        let closure = match violation {
            true => Closure::Violation(CloseCode::TooLarge),
            false => Closure::Clean,
        };
        if let Some(connection) = self.connection(number) {
            self.open.remove(&connection);
            self.event(Event::Closed {
                connection,
                closure,
            });
        }
    }

    fn accept_link(&mut self) {
        let accepted = self.cluster.instances[0].accept_link(self.cluster.now);
        self.cluster.loose_dials.extend(accepted);
    }

    fn link_up(&mut self, number: usize) {
        if let Some(link) = self.link(number) {
            self.event(Event::LinkUp { link });
        }
    }

    fn link_written(&mut self, number: usize) {
        if let Some(link) = self.link(number)
            && self.cluster.contract.writing.contains(&(0, link))
        {
            self.event(Event::LinkWritten { link });
        }
    }

    fn link_down(&mut self, number: usize, not_me: bool) {
        let failure = match not_me {
            true => LinkFailure::NotMe,
            false => LinkFailure::Broken,
        };
        if let Some(link) = self.link(number) {
            self.cluster.loose_closed.push(link);
            self.event(Event::LinkDown { link, failure });
        }
    }

    fn push(&mut self, push: Push) {
        let call = self.call(push.deadline.min(Config::DEADLINE_MAX));
        self.event(Event::Push { call, push });
    }

    fn ask_connections(&mut self, user: UserId) {
        // A lookup and a reading of the leases, each behind what waits.
        let call = self.call(Duration::from_secs(30));
        self.event(Event::Connections { call, user });
    }

    fn ask_log(&mut self, user: UserId, delete: bool) {
        let request = match delete {
            true => LogRequest::Delete,
            false => LogRequest::Read(LogQuery::default()),
        };
        // As a lookup.
        let call = self.call(Duration::from_secs(30));
        self.event(Event::Log {
            call,
            channel: user.into(),
            request,
        });
    }

    fn ask_instances(&mut self) {
        let call = self.call(Duration::ZERO);
        self.event(Event::Instances { call });
    }

    fn wait(&mut self, millis: u32) {
        self.cluster.now.mono = self.cluster.now.mono + Duration::from_millis(millis.into());
        let wall = self.cluster.now.wall.as_millis() + u64::from(millis);
        self.cluster.now.wall = WallTime::from_millis(wall);
    }

    fn stray(&mut self, slot: u32, generation: u32, kind: u8) {
        let connection = ConnectionKey::new(slot + 100, generation);
        let link = LinkKey::new(slot + 100, generation);
        let failure = LinkFailure::Broken;
        let closure = Closure::Clean;
        self.event(match kind % 8 {
            0 => Event::Opened { connection },
            1 => Event::Heard {
                connection,
                frame: Heard::Message,
            },
            2 => Event::Written { connection },
            3 => Event::Closed {
                connection,
                closure,
            },
            4 => Event::LinkUp { link },
            5 => Event::LinkWritten { link },
            6 => Event::LinkDown { link, failure },
            _ => Event::Directory {
                op: OpId::new(generation.into()),
                outcomes: Err(TripLost),
            },
        });
    }

    fn answer(&mut self, trip: usize, how: &Answering) {
        let held = &mut self.cluster.held;
        let Some((_, trip)) = held.remove(trip % held.len().max(1)) else {
            return;
        };
        let mut outcomes = self.cluster.outcomes(&trip, |_| None);
        let text = || "-ERR".to_owned();
        match how {
            Answering::Truly => {}
            Answering::Lost => {
                let op = trip.op;
                self.event(Event::Directory {
                    op,
                    outcomes: Err(TripLost),
                });
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
        self.event(Event::Directory {
            op,
            outcomes: Ok(outcomes),
        });
    }

    /// The directory, the sockets and the links do what they were told.
    fn serve(&mut self) {
        for _ in 0..4 {
            while !self.cluster.held.is_empty() {
                self.answer(0, &Answering::Truly);
                self.turn();
            }
            for connection in self.open.clone() {
                self.event(Event::Opened { connection });
            }
            for (_, connection) in self.cluster.contract.flushing.clone() {
                self.event(Event::Written { connection });
            }
            for (_, link) in self.cluster.contract.writing.clone() {
                self.event(Event::LinkWritten { link });
            }
            self.turn();
        }
    }

    pub(super) fn receive(&mut self, link: usize, batch: Bytes) {
        if let Some(link) = self.link(link) {
            self.event(Event::LinkReceived { link, batch });
        }
    }

    fn connection(&self, number: usize) -> Option<ConnectionKey> {
        let count = self.connections.len();
        (count > 0).then(|| self.connections[number % count].0)
    }

    pub(super) fn link(&self, number: usize) -> Option<LinkKey> {
        // The youngest first: the others have often gone.
        let count = self.links().len();
        (count > 0).then(|| self.links()[count - 1 - number % count])
    }

    fn call(&mut self, within: Duration) -> CallId {
        self.calls += 1;
        let call = CallId::new(self.calls);
        // Timers are served within two of their ticks.
        let due = self.cluster.now.mono + within + Duration::from_millis(3);
        self.waiting.insert(call, due);
        call
    }
}

/// A reply that fits its operation by chance only.
fn reply(number: u8) -> Reply {
    match number % 10 {
        0 => Reply::Registered,
        1 => Reply::Removed(true),
        2 => Reply::Rows {
            rows: Vec::new(),
            malformed: 3,
        },
        3 => Reply::Leases {
            leases: Vec::new(),
            malformed: 1,
        },
        4 => Reply::Claimed { replaced: None },
        5 => Reply::ClaimRefused {
            epoch: Epoch::new(number.into()),
        },
        6 => Reply::Renewed,
        7 => Reply::Lost,
        8 => Reply::Superseded,
        _ => Reply::Lease(None),
    }
}
