//! Commands turned into deeds. Nothing here waits: what cannot be done at once is handed to a task
//! of its own, and what has failed already becomes an event of the next batch.

use switchboard_core::command::{Command, RelayedFrame};
use switchboard_core::event::{Answer, Event, Notice};
use switchboard_core::id::ConnectionKey;
use tracing::Level;

use super::worker::Worker;
use crate::events::TerminalEvent;
use crate::log::journal;
use crate::runtime::Runtime;
use crate::tasks::Trust;
use crate::tasks::link;
use crate::tasks::terminal::TerminalOrder;

impl Worker {
    pub(super) fn execute<R: Runtime>(&mut self, command: Command) {
        match command {
            Command::Send {
                connection,
                outgoing,
            } => {
                let namespaces = &self.for_terminals.sessions.namespaces;
                (self.terminals).send(connection, (outgoing, namespaces), |frame| {
                    if tracing::enabled!(Level::TRACE) {
                        let id = self.instance.connection_id(connection);
                        journal::sent(self.me.id, id, frame);
                    }
                });
            }
            Command::Flush { connection } => self.post_at_once(connection, TerminalOrder::Flush),
            Command::Ping { connection } => self.post_at_once(connection, TerminalOrder::Ping),
            Command::Probe { connection } => self.terminals.post(connection, TerminalOrder::Probe),
            Command::Close { connection, code } => {
                self.terminals.post(connection, TerminalOrder::Close(code))
            }
            Command::Abort { connection } => self.terminals.abort(connection),
            Command::Forget { connection } => self.terminals.forget(connection),
            Command::Directory(trip) => {
                let outcome = self.directory.execute(*trip);
                self.outcomes.extend(outcome);
            }
            Command::DirectoryReset => {
                let events = self.directory.reset();
                self.outcomes.extend(events);
            }
            Command::Dial { link, dial } => {
                let end = self.links.insert(link, Trust::before_http(), None);
                link::dial::<R>(&self.for_links, link, *dial, end);
            }
            Command::LinkWrite { link, batch } => self.links.write(link, batch),
            Command::LinkProven { link } => self.links.proven(link),
            Command::LinkClose { link } => self.links.remove(link),
            Command::Hear(relayed) => {
                let RelayedFrame {
                    delivery,
                    session,
                    frame,
                } = *relayed;
                let hearing = self.terminals.hear(&session, frame);
                let event = Event::Relayed { delivery, hearing };
                self.outcomes.push_back(event);
            }
            Command::Answer { call, answer } => {
                if let Answer::Push(Ok(receipt)) = &*answer {
                    journal::receipt(self.me.id, receipt);
                }
                if let Some(caller) = self.calls.remove(&call) {
                    caller.tell(*answer);
                }
            }
            Command::Notify(notice) => self.notify(*notice),
            Command::Log(log) => journal::write(self.me.id, &log),
            Command::Drained => {
                self.ended = true;
                self.drained.clear();
            }
        }
    }

    /// Has a terminal do something at once. What else was there for it to do may be done by that, and written: nobody
    /// else reports that.
    fn post_at_once(&mut self, connection: ConnectionKey, order: TerminalOrder) {
        if self.terminals.post_at_once(connection, order) {
            self.outcomes.push_back(Event::Written { connection });
        }
    }

    fn notify(&mut self, notice: Notice) {
        if let Notice::Connected {
            connection,
            id,
            user,
        } = &notice
        {
            let degraded = self.instance.is_degraded(*connection);
            journal::greeted(self.me.id, *id, user, degraded);
        }
        let Some(queue) = &self.events else {
            return;
        };
        queue.notify(match notice {
            Notice::Connected {
                connection,
                id,
                user,
            } => TerminalEvent::Connected {
                user,
                connection: id,
                session: self.terminals.session(connection),
            },
            Notice::Acked {
                id,
                user,
                position,
                topic,
                ..
            } => TerminalEvent::Acked {
                user,
                connection: id,
                position,
                topic,
            },
            Notice::Member {
                id,
                user,
                topic,
                is_member,
                ..
            } => TerminalEvent::membership(user, id, topic, is_member),
            Notice::Disconnected {
                connection,
                id,
                user,
                reason,
            } => TerminalEvent::Disconnected {
                user,
                connection: id,
                session: self.terminals.session(connection),
                reason,
            },
        });
    }
}
