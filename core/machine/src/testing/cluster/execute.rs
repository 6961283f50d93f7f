//! The one executor of commands in tests.

use std::fmt;

use bytes::Bytes;

use super::{Arriving, Cluster};
use crate::command::{Command, Dial, Outbox, RoundTrip, TripKind};
use crate::directory::{Operation, OperationResult};
use crate::event::{Closure, Event, Heard, LinkFailure, Notice};
use crate::frame::{HelloLog, LogNews, Messages, Outgoing, PresenceNews};
use crate::id::{ConnectionId, ConnectionKey, LinkKey};

/// What becomes of round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// They are executed and answered.
    Answers,
    /// They wait for the test.
    Waits,
    /// Those wait for the test that wait for a replica. The others are executed and answered.
    WithoutReplica,
    /// They are executed, and their answers are lost.
    Mute,
    /// Round trips are lost with their link.
    Away,
}

/// What is kept of the commands themselves, beside what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeptCommands {
    Nothing,
    /// A short text of each, those to the directory, to peers, to callers and to operators left out.
    Texts(Vec<String>),
    All(Vec<Command>),
}

impl KeptCommands {
    fn say(&mut self, text: fmt::Arguments<'_>) {
        if let Self::Texts(said) = self {
            said.push(text.to_string());
        }
    }
}

impl Cluster {
    /// Hands an instance what has happened, and executes what it says to that.
    pub(crate) fn take(&mut self, index: usize, event: Event) {
        if let Event::Written { connection } | Event::Closed { connection, .. } = &event {
            self.contract.flushing.remove(&(index, *connection));
        }
        if let Event::Closed { connection, .. } = &event {
            self.contract.ended.insert((index, *connection));
        }
        if let Event::LinkWritten { link } = &event {
            self.contract.writing.remove(&(index, *link));
        }
        let mut out = Outbox::new();
        self.instances[index].handle(self.now, event, &mut out);
        self.execute(index, &mut out);
    }

    /// Calls `handle_timeout` as long as something is due.
    pub(crate) fn turn(&mut self, index: usize) {
        if self.down[index] {
            return;
        }
        for _ in 0..100_000 {
            let due = self.instances[index].next_timeout();
            if due.is_none_or(|(at, _)| at > self.now.mono) {
                return;
            }
            let mut out = Outbox::new();
            self.instances[index].handle_timeout(self.now, &mut out);
            self.execute(index, &mut out);
        }
        panic!("instance {index} is busy without end");
    }

    fn execute(&mut self, index: usize, out: &mut Outbox) {
        for command in out.drain() {
            if let KeptCommands::All(commands) = &mut self.record {
                commands.push(command.clone());
            }
            self.execute_one(index, command);
        }
    }

    fn execute_one(&mut self, index: usize, command: Command) {
        match command {
            Command::Send {
                connection,
                outgoing,
            } => {
                let slot = connection.slot();
                (self.record).say(format_args!("{} {slot}", Told(&outgoing)));
                if let Some(id) = self.name(index, connection) {
                    self.received.entry(id).or_default().push(outgoing);
                }
            }
            Command::Flush { connection } => self.flush(index, connection),
            Command::Ping { connection } => {
                (self.record).say(format_args!("ping {}", connection.slot()));
                let frame = Heard::Control;
                self.happens(index, Event::Heard { connection, frame });
            }
            Command::Probe { connection } => {
                (self.record).say(format_args!("probe {}", connection.slot()));
                if let Some(life) = self.life {
                    self.enqueue(index, Event::Probed { connection, life });
                }
            }
            Command::Close { connection, code } => {
                let (slot, name) = (connection.slot(), code.name());
                (self.record).say(format_args!("close {slot} {name}"));
                self.end_socket(index, connection, Closure::Clean);
                if let Some(id) = self.name(index, connection) {
                    self.closed.insert(id, code);
                }
            }
            Command::Abort { connection } => {
                (self.record).say(format_args!("abort {}", connection.slot()));
                self.end_socket(index, connection, Closure::Abrupt);
            }
            Command::Forget { connection } => {
                (self.record).say(format_args!("forget {}", connection.slot()));
                let key = (index, connection);
                assert!(
                    self.contract.ended.contains(&key),
                    "forgotten before it was closed"
                );
                assert!(self.contract.forgotten.insert(key), "forgotten twice");
            }
            Command::Directory(trip) => {
                let first = self.contract.ops.insert((index, trip.op));
                assert!(first, "an operation's number is used twice");
                self.ask_directory(index, *trip);
            }
            Command::DirectoryReset => {
                self.record.say(format_args!("reset"));
                self.happens(index, Event::DirectoryDown);
                self.happens(index, Event::DirectoryUp);
            }
            Command::Dial { link, dial } => self.dial(index, link, &dial),
            Command::LinkWrite { link, batch } => self.write_link(index, link, batch),
            Command::LinkProven { link } => {
                assert!(self.contract.proven.insert((index, link)), "proven twice");
            }
            Command::LinkClose { link } => self.close_link(index, link),
            Command::Hear(relayed) => {
                let (delivery, session) = (relayed.delivery, relayed.session);
                self.heard.push((index, session, relayed.frame));
                if let Some(hearing) = self.hearing {
                    self.enqueue(index, Event::Relayed { delivery, hearing });
                }
            }
            Command::Answer { call, answer } => {
                let earlier = self.answers.insert(call, *answer);
                assert_eq!(earlier, None, "{call:?} is answered twice");
            }
            Command::Notify(notice) => self.notify(index, &notice),
            Command::Log(log) => self.log.push((index, *log)),
            Command::Drained => {
                self.record.say(format_args!("drained"));
                self.drained[index] = true;
            }
        }
    }

    /// An event that the world causes by itself, unless that is left to the test.
    fn happens(&mut self, index: usize, event: Event) {
        if self.acts {
            self.enqueue(index, event);
        }
    }

    fn name(&self, index: usize, connection: ConnectionKey) -> Option<ConnectionId> {
        self.instances[index].connection_id(connection)
    }

    fn flush(&mut self, index: usize, connection: ConnectionKey) {
        (self.record).say(format_args!("flush {}", connection.slot()));
        let first = self.contract.flushing.insert((index, connection));
        assert!(first, "a second Flush");
        let id = self.name(index, connection);
        if !self.writes || id.is_some_and(|id| self.stalled.contains(&id)) {
            self.unwritten.push((index, connection));
        } else {
            self.enqueue(index, Event::Written { connection });
        }
    }

    fn end_socket(&mut self, index: usize, connection: ConnectionKey, closure: Closure) {
        self.contract.flushing.remove(&(index, connection));
        let ended = Event::Closed {
            connection,
            closure,
        };
        self.happens(index, ended);
    }

    fn notify(&mut self, index: usize, notice: &Notice) {
        let (connection, is_there) = match notice {
            Notice::Connected { connection, .. } => (*connection, true),
            Notice::Disconnected { connection, .. } => (*connection, false),
            Notice::Acked { connection, .. } | Notice::Member { connection, .. } => {
                let is_there = self.contract.noticed.get(&(index, *connection));
                assert_eq!(is_there, Some(&true), "{notice:?}");
                return;
            }
        };
        let what = if is_there { "" } else { "dis" };
        (self.record).say(format_args!("{what}connected {}", connection.slot()));
        let before = self.contract.noticed.insert((index, connection), is_there);
        let expected = if is_there { None } else { Some(true) };
        assert_eq!(before, expected, "{notice:?}");
    }

    fn dial(&mut self, index: usize, link: LinkKey, dial: &Dial) {
        (self.record).say(format_args!("dial {}", dial.instance.get()));
        let to = dial.instance.get() as usize - 1;
        self.dials += 1;
        if to >= self.instances.len() {
            self.loose_dials.push(link);
            return;
        }
        let failure = match (self.recycled[to], self.down[to]) {
            (true, _) => LinkFailure::NotMe,
            (false, true) => LinkFailure::Broken,
            (false, false) => {
                self.links.insert((index, link), (to, link));
                let dialler = index;
                (self.on_the_way).push_back(Arriving::Accept { dialler, link });
                return;
            }
        };
        self.enqueue(index, Event::LinkDown { link, failure });
    }

    fn write_link(&mut self, index: usize, link: LinkKey, batch: Bytes) {
        assert!(
            self.contract.writing.insert((index, link)),
            "a second LinkWrite"
        );
        self.happens(index, Event::LinkWritten { link });
        self.batches += 1;
        match self.links.get(&(index, link)) {
            None => self.loose.push((link, batch)),
            Some((to, _)) if self.mute.contains(&(index, *to)) => {}
            Some(&(to, link)) => self.enqueue(to, Event::LinkReceived { link, batch }),
        }
    }

    fn close_link(&mut self, index: usize, link: LinkKey) {
        self.contract.writing.remove(&(index, link));
        let Some(other) = self.links.remove(&(index, link)) else {
            self.loose_closed.push(link);
            return;
        };
        // Before it is accepted there is no other end.
        if self.links.get(&other) == Some(&(index, link)) {
            self.links.remove(&other);
            let (to, link) = other;
            let failure = LinkFailure::Broken;
            self.enqueue(to, Event::LinkDown { link, failure });
        }
    }

    fn ask_directory(&mut self, index: usize, trip: RoundTrip) {
        match self.server {
            Server::WithoutReplica if trip.kind == TripKind::ForReplica => {
                self.held.push_back((index, trip));
            }
            Server::Answers | Server::WithoutReplica => {
                let refuses = self.refuses.filter(|_| self.refused.contains(&index));
                let outcomes = self.outcomes(&trip, |operation| {
                    refuses.and_then(|refuses| refuses(operation))
                });
                let (op, outcomes) = (trip.op, Ok(outcomes));
                self.enqueue(index, Event::Directory { op, outcomes });
            }
            Server::Waits => self.held.push_back((index, trip)),
            Server::Mute => drop(self.outcomes(&trip, |_| None)),
            Server::Away => {}
        }
    }

    /// Executes a round trip, but for operations that have `other` outcomes.
    pub(crate) fn outcomes(
        &mut self,
        trip: &RoundTrip,
        other: impl Fn(&Operation) -> Option<OperationResult>,
    ) -> Vec<OperationResult> {
        let execute = |operation| {
            other(operation).unwrap_or_else(|| self.directory.execute(self.now.mono, operation))
        };
        trip.operations.iter().map(execute).collect()
    }

    /// The directory answers what it has held back.
    pub(crate) fn answer_held(&mut self) {
        self.answer_held_and(Server::Answers);
    }

    /// The same, and does this with what it is asked then.
    pub(crate) fn answer_held_and(&mut self, then: Server) {
        self.server = Server::Answers;
        for (index, trip) in std::mem::take(&mut self.held) {
            self.ask_directory(index, trip);
        }
        self.server = then;
        self.settle_down();
    }
}

/// What a terminal is told, as a short text.
pub(crate) struct Told<'a>(pub(crate) &'a Outgoing);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Outgoing::Hello { degraded, .. } if *degraded => f.write_str("hello-degraded"),
            Outgoing::Hello { .. } => f.write_str("hello"),
            Outgoing::Pushed(pushed) => {
                f.write_str(&String::from_utf8_lossy(pushed.payload().bytes()))
            }
            Outgoing::Record(pushed) => {
                let text = String::from_utf8_lossy(pushed.payload().bytes());
                match pushed.topic() {
                    Some(topic) => write!(f, "record {topic} {text}"),
                    None => write!(f, "record {text}"),
                }
            }
            Outgoing::Log(attached) => write!(f, "log {:?}", attached.recovery),
            Outgoing::Gap(_) => f.write_str("gap"),
            Outgoing::Back(_) => f.write_str("back"),
            Outgoing::Joined {
                topic,
                degraded,
                log,
            } => {
                let degraded = if *degraded { " degraded" } else { "" };
                write!(f, "joined {topic}{degraded}")?;
                match log.as_deref() {
                    None | Some(HelloLog::NotAsked) => Ok(()),
                    Some(HelloLog::Unknown) => f.write_str(" ?"),
                    Some(HelloLog::At(attached)) => write!(f, " {:?}", attached.recovery),
                }
            }
            Outgoing::TopicLog(topic, news) => match **news {
                LogNews::At(attached) => write!(f, "log {topic} {:?}", attached.recovery),
                LogNews::Gap(_) => write!(f, "gap {topic}"),
                LogNews::Back(_) => write!(f, "back {topic}"),
            },
            Outgoing::Left(topic) => write!(f, "left {topic}"),
            Outgoing::NotJoined(topic, why) => write!(f, "not joined {topic} {why:?}"),
            Outgoing::NotWatched(topic, why) => write!(f, "not watched {topic} {why:?}"),
            Outgoing::Presence(presence) => {
                let doubt = if presence.degraded { "?" } else { "" };
                write!(f, "{} #{}{doubt}:", presence.topic, presence.sequence)?;
                match &presence.news {
                    PresenceNews::Users(users) => {
                        users.iter().try_for_each(|user| write!(f, " {user}"))
                    }
                    PresenceNews::Count(count) => write!(f, " {count}"),
                    PresenceNews::Changed { joined, left } => {
                        joined.iter().try_for_each(|user| write!(f, " +{user}"))?;
                        left.iter().try_for_each(|user| write!(f, " -{user}"))
                    }
                }
            }
            Outgoing::Received(Messages { received, dropped }) => {
                write!(f, "received {received} dropped {dropped}")
            }
        }
    }
}
