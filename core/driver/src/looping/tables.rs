//! What the commands of an instance are about: its terminals and its links, by slot.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use switchboard_core::frame::{Outgoing, Payload};
use switchboard_core::id::{ConnectionKey, LinkKey, SessionName};
use switchboard_core::message::Hearing;
use switchboard_core::position::Position;
use switchboard_protocol::{Encoder, Namespaces, Protocol};

use crate::permits::SocketPermit;
use crate::queue::{Giver, queue};
use crate::tasks::Trust;
use crate::tasks::link::LinkFeed;
use crate::tasks::terminal::{Mailbox, TerminalOrder};
use crate::transport::{Carriage, TransportKind};

/// The terminals by slot.
#[derive(Default)]
pub(super) struct Terminals {
    entries: Vec<Option<TerminalEntry>>,
    encoder: Encoder,
    carriage: Carriage,
    /// How many there are of each transport.
    carried: [u64; TransportKind::ALL.len()],
    /// Those that say what they say on other connections than their own.
    named: HashMap<SessionName, ConnectionKey>,
}

struct TerminalEntry {
    key: ConnectionKey,
    protocol: Protocol,
    transport: TransportKind,
    mailbox: Rc<Mailbox>,
    session: Option<Box<str>>,
    name: Option<Box<SessionName>>,
}

impl Terminals {
    pub(super) fn insert(
        &mut self,
        key: ConnectionKey,
        protocol: Protocol,
        transport: TransportKind,
        session: Option<String>,
        name: Option<SessionName>,
    ) -> Rc<Mailbox> {
        let mailbox = Rc::new(Mailbox::default());
        let entry = TerminalEntry {
            key,
            protocol,
            transport,
            mailbox: Rc::clone(&mailbox),
            session: session.map(String::into_boxed_str),
            name: name.map(Box::new),
        };
        if let Some(name) = name {
            self.named.insert(name, key);
        }
        self.carried[transport as usize] += 1;
        place(&mut self.entries, key.slot(), entry);
        mailbox
    }

    /// Tells a terminal something, in its protocol, with what is posted next. `sent` is shown each frame, but for those that a session makes.
    pub(super) fn send(
        &mut self,
        key: ConnectionKey,
        (outgoing, namespaces): (Outgoing, &Namespaces),
        sent: impl Fn(&Payload),
    ) {
        let entry = self.entries.get(key.slot()).and_then(Option::as_ref);
        if let Some(entry) = entry.filter(|entry| entry.key == key) {
            if entry.protocol.is_said_by_session(&outgoing, namespaces) {
                entry.mailbox.post(TerminalOrder::Tell(Box::new(outgoing)));
                return;
            }
            let record = match &outgoing {
                Outgoing::Record(pushed) if entry.protocol.has_sessions() => {
                    let offset = pushed.position().map_or(0, Position::offset);
                    Some((pushed.topic().cloned(), offset))
                }
                _ => None,
            };
            for frame in self.encoder.encode(entry.protocol, outgoing) {
                sent(&frame);
                let carried = self.carriage.carried(entry.transport, frame);
                entry.mailbox.keep(match &record {
                    Some((topic, offset)) => TerminalOrder::Record {
                        topic: topic.clone(),
                        offset: *offset,
                        frame: carried,
                    },
                    None => TerminalOrder::Send(carried),
                });
            }
        }
    }

    /// All commands are executed: what was encoded for one terminal is not for others.
    pub(super) fn rest(&mut self) {
        self.encoder.rest();
        self.carriage.rest();
    }

    pub(super) fn post(&self, key: ConnectionKey, order: TerminalOrder) {
        if let Some(entry) = self.get(key) {
            entry.mailbox.post(order);
        }
    }

    /// Has something done at once if that can be. Returns whether what was sent is written, and nobody will
    /// report it.
    #[must_use]
    pub(super) fn post_at_once(&self, key: ConnectionKey, order: TerminalOrder) -> bool {
        self.get(key)
            .is_some_and(|entry| entry.mailbox.post_at_once(order))
    }

    pub(super) fn abort(&self, key: ConnectionKey) {
        if let Some(entry) = self.get(key) {
            entry.mailbox.abort();
        }
    }

    pub(super) fn forget(&mut self, key: ConnectionKey) {
        if let Some(entry) = self.get(key) {
            let (transport, name) = (entry.transport, entry.name.as_deref().copied());
            self.carried[transport as usize] -= 1;
            self.entries[key.slot()] = None;
            if let Some(name) = name {
                self.named.remove(&name);
            }
        }
    }

    /// Hands a frame to the terminal that names itself so.
    pub(super) fn hear(&self, name: &SessionName, frame: Payload) -> Hearing {
        let key = self.named.get(name);
        match key.and_then(|key| self.get(*key)) {
            Some(entry) => entry.mailbox.hear(frame),
            None => Hearing::Gone,
        }
    }

    /// How many there are of each transport, by its name.
    pub(super) fn by_transport(&self) -> [(&'static str, u64); TransportKind::ALL.len()] {
        TransportKind::ALL.map(|transport| (transport.name(), self.carried[transport as usize]))
    }

    /// What the application calls the login of a terminal that had none.
    pub(super) fn logged_in(&mut self, key: ConnectionKey, session: Option<String>) {
        let entry = self.entries.get_mut(key.slot()).and_then(Option::as_mut);
        if let Some(entry) = entry.filter(|entry| entry.key == key) {
            entry.session = session.map(String::into_boxed_str);
        }
    }

    pub(super) fn session(&self, key: ConnectionKey) -> Option<String> {
        self.get(key)?.session.as_deref().map(str::to_owned)
    }

    fn get(&self, key: ConnectionKey) -> Option<&TerminalEntry> {
        let entry = self.entries.get(key.slot())?.as_ref();
        entry.filter(|entry| entry.key == key)
    }
}

/// The links by slot: where their batches go.
#[derive(Default)]
pub(crate) struct Links(Vec<Option<LinkEntry>>);

struct LinkEntry {
    key: LinkKey,
    batches: Giver<Bytes>,
    trust: Trust,
    /// What it counts as until its other end has proven itself.
    newcomer: Option<Arc<SocketPermit>>,
}

impl Links {
    /// What the link's task is given. There is never a second batch before the first is written.
    pub(crate) fn insert(
        &mut self,
        key: LinkKey,
        trust: Trust,
        newcomer: Option<Arc<SocketPermit>>,
    ) -> LinkFeed {
        let (batches, receiver) = queue(1);
        let entry = LinkEntry {
            key,
            batches,
            trust: trust.clone(),
            newcomer,
        };
        place(&mut self.0, key.slot(), entry);
        LinkFeed {
            batches: receiver,
            trust,
        }
    }

    /// If the link's task has ended, it has reported so, and the batch is lost with the link.
    pub(super) fn write(&self, key: LinkKey, batch: Bytes) {
        if let Some(entry) = self.get(key) {
            let full = (entry.batches.try_give(batch)).is_err_and(|error| error.is_full());
            debug_assert!(
                !full,
                "a batch is given to a link when the last one is written"
            );
        }
    }

    /// The other end is a newcomer no more, and leaves its room to others.
    pub(crate) fn proven(&mut self, key: LinkKey) {
        let entry = self.0.get_mut(key.slot()).and_then(Option::as_mut);
        if let Some(entry) = entry.filter(|entry| entry.key == key) {
            entry.trust.is_proven();
            if let Some(newcomer) = entry.newcomer.take() {
                newcomer.stays();
            }
        }
    }

    /// The link's task sends what it has and ends.
    pub(super) fn remove(&mut self, key: LinkKey) {
        if self.get(key).is_some() {
            self.0[key.slot()] = None;
        }
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = LinkKey> {
        self.0.iter().flatten().map(|entry| entry.key)
    }

    fn get(&self, key: LinkKey) -> Option<&LinkEntry> {
        let entry = self.0.get(key.slot())?.as_ref();
        entry.filter(|entry| entry.key == key)
    }
}

fn place<T>(table: &mut Vec<Option<T>>, slot: usize, entry: T) {
    if table.len() <= slot {
        table.resize_with(slot + 1, || None);
    }
    table[slot] = Some(entry);
}
