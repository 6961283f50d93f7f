//! The world of the instances: what becomes of each command.

use bytes::Bytes;

use super::{Cluster, Delivery};
use crate::command::{Command, Dial, Outbox, RoundTrip};
use crate::event::{Closure, Event, Heard, Life, LinkFailure};
use crate::id::{ConnectionId, ConnectionKey, LinkKey};

impl Cluster {
    pub(super) fn execute(&mut self, index: usize, out: &mut Outbox) {
        for command in out.drain() {
            self.execute_one(index, command);
        }
    }

    fn execute_one(&mut self, index: usize, command: Command) {
        match command {
            Command::Send {
                connection,
                outgoing,
            } => {
                if let Some(id) = self.name(index, connection) {
                    self.received.entry(id).or_default().push(outgoing);
                }
            }
            Command::Flush { connection } => self.flush(index, connection),
            Command::Ping { connection } => {
                let frame = Heard::Control;
                self.enqueue(index, Event::Heard { connection, frame });
            }
            Command::Probe { connection } => {
                let life = Life::NotShown;
                self.enqueue(index, Event::Probed { connection, life });
            }
            Command::Close { connection, code } => {
                self.end_socket(index, connection, Closure::Clean);
                if let Some(id) = self.name(index, connection) {
                    self.closed.insert(id, code);
                }
            }
            Command::Abort { connection } => self.end_socket(index, connection, Closure::Abrupt),
            Command::Forget { connection } => self.forgotten.push((index, connection)),
            Command::Directory(trip) if self.directory_holds => self.held.push_back((index, *trip)),
            Command::Directory(trip) => self.ask_directory(index, &trip),
            Command::DirectoryReset => {
                self.enqueue(index, Event::DirectoryDown);
                self.enqueue(index, Event::DirectoryUp);
            }
            Command::Dial { link, dial } => self.dial(index, link, &dial),
            Command::LinkWrite { link, batch } => self.write_link(index, link, batch),
            Command::LinkProven { link } => {
                self.proven.insert((index, link));
            }
            Command::LinkClose { link } => self.close_link(index, link),
            Command::Answer { call, answer } => {
                if self.answers.insert(call, *answer).is_some() {
                    self.answered_twice.push(call);
                }
            }
            Command::Notify(_) => {}
            Command::Log(log) => self.log.push((index, *log)),
            Command::Drained => self.drained[index] = true,
        }
    }

    fn name(&self, index: usize, connection: ConnectionKey) -> Option<ConnectionId> {
        self.instances[index].connection_id(connection)
    }

    fn flush(&mut self, index: usize, connection: ConnectionKey) {
        let id = self.name(index, connection);
        if id.is_some_and(|id| self.stalled.contains(&id)) {
            self.unwritten.push((index, connection));
        } else {
            self.enqueue(index, Event::Written { connection });
        }
    }

    fn end_socket(&mut self, index: usize, connection: ConnectionKey, closure: Closure) {
        self.enqueue(
            index,
            Event::Closed {
                connection,
                closure,
            },
        );
    }

    fn dial(&mut self, index: usize, link: LinkKey, dial: &Dial) {
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
                (self.on_the_way).push_back(Delivery::Accept { dialler, link });
                return;
            }
        };
        self.enqueue(index, Event::LinkDown { link, failure });
    }

    fn write_link(&mut self, index: usize, link: LinkKey, batch: Bytes) {
        self.enqueue(index, Event::LinkWritten { link });
        self.batches += 1;
        match self.links.get(&(index, link)) {
            None => self.loose.push((link, batch)),
            Some((to, _)) if self.mute.contains(&(index, *to)) => {}
            Some(&(to, link)) => self.enqueue(to, Event::LinkReceived { link, batch }),
        }
    }

    fn close_link(&mut self, index: usize, link: LinkKey) {
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

    pub(super) fn ask_directory(&mut self, index: usize, trip: &RoundTrip) {
        if !self.directory_answers {
            return;
        }
        let refuses = self.refuses.filter(|_| self.refused.contains(&index));
        let outcomes = (trip.operations.iter())
            .map(|operation| {
                let refused = refuses.and_then(|refuses| refuses(operation));
                refused.unwrap_or_else(|| self.directory.execute(self.now.mono, operation))
            })
            .collect();
        let event = Event::Directory {
            op: trip.op,
            outcomes: Ok(outcomes),
        };
        self.enqueue(index, event);
    }
}
