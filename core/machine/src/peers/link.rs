//! One link: its handshake, its heartbeat, its end.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;

use crate::base::fingerprint::Fingerprint;
use crate::command::{Command, Log, Outbox};
use crate::event::LinkFailure;
use crate::id::{InstanceId, LinkKey};
use crate::instance::{Instance, Timer};
use crate::membership::service::Service;
use crate::peers::alike::Alike;
use crate::peers::wire::{self, Hello, Message, Role, Transcript, WireError};
use crate::time::{Instant, Now};

/// A link is dead when nothing came over it for so many heartbeats.
const SILENT_HEARTBEATS: u32 = 3;

/// One link.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) side: Side,
    pub(crate) stage: Stage,
    /// Who is expected there, or who has proven to be.
    pub(crate) peer: Option<InstanceId>,
    /// A batch is with the driver.
    pub(crate) writing: bool,
    /// What is to be said on this link and no other.
    pub(crate) answers: VecDeque<Message>,
    answer_bytes: usize,
    heard: Instant,
    /// What its peer said last of the directory.
    pub(crate) said: Service,
    /// The longer of the times between two heartbeats that its ends have.
    heartbeat: Duration,
    /// When it next needs attention.
    due: Instant,
    /// Links are numbered in the order in which they began.
    pub(crate) number: u64,
    /// The number of the last link that had begun when this one was confirmed.
    pub(crate) crossed: u64,
}

/// Who opened a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// This instance.
    Dialler,
    /// The other one.
    Acceptor,
}

/// How far a link is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// The driver is connecting it.
    Dialled,
    /// Our Hello has left; theirs must prove the secret.
    Greeting { nonce: [u8; 16] },
    /// Their Hello must come.
    Accepted,
    /// Our Hello has proven us; they must prove themselves.
    Proving { transcript: Transcript },
    /// The acceptor has proven itself and our proof has left. It may still drop this link for one
    /// that it dialled itself.
    Proven,
    /// Both have proven themselves and the link serves both.
    Open,
}

impl Stage {
    /// Whether batches may leave.
    pub(crate) const fn carries(&self) -> bool {
        match self {
            Self::Proven | Self::Open => true,
            Self::Dialled | Self::Greeting { .. } | Self::Accepted | Self::Proving { .. } => false,
        }
    }
}

impl Link {
    pub(crate) const fn new(
        side: Side,
        stage: Stage,
        peer: Option<InstanceId>,
        now: Instant,
        due: Instant,
    ) -> Self {
        Self {
            side,
            stage,
            peer,
            writing: false,
            answers: VecDeque::new(),
            answer_bytes: 0,
            heard: now,
            said: Service::Full,
            heartbeat: Duration::ZERO,
            due,
            number: 0,
            crossed: 0,
        }
    }

    /// Whether this link, at the lower id, stays when the peer's own has proven itself. One that is
    /// confirmed stays if the peer's had begun before: they crossed. If it began later, the peer has
    /// lost this one. One that has not reached the peer may never do so.
    pub(crate) const fn outlives(&self, other: &Self) -> bool {
        match self.stage {
            Stage::Dialled | Stage::Accepted | Stage::Proving { .. } => false,
            Stage::Greeting { .. } | Stage::Proven => true,
            Stage::Open => other.number <= self.crossed,
        }
    }

    pub(crate) fn forget_answer(&mut self) {
        if let Some(message) = self.answers.pop_front() {
            self.answer_bytes -= wire::encoded_size_hint(&message);
        }
    }
}

impl Instance {
    /// Takes a link that another instance dialled. `None` if there are too many: the socket is to
    /// be closed. All commands have been executed before, as with [`Instance::accept`].
    pub fn accept_link(&mut self, now: Now) -> Option<LinkKey> {
        if self.peers.members() >= self.base.config.links {
            return None;
        }
        let until = now.mono + self.base.config.link_timeout;
        let link = Link::new(Side::Acceptor, Stage::Accepted, None, now.mono, until);
        let (key, gives_way) = self.peers.begin_stranger(link, self.base.config.links);
        self.base.timers.arm(until, Timer::Link(key));
        if let Some(key) = gives_way {
            self.base.stats.strangers_ended += 1;
            if let Some(link) = self.peers.links.get_mut(key) {
                link.due = now.mono;
                self.base.timers.arm(now.mono, Timer::Link(key));
            }
        }
        Some(key)
    }

    /// The other end knows the cluster's secret, and has these settings.
    fn link_proven(
        &mut self,
        key: LinkKey,
        instance: InstanceId,
        theirs: &Alike,
        out: &mut Outbox,
    ) {
        self.peers.no_stranger(key);
        out.push(Command::LinkProven { link: key });
        let ours = Alike::of(&self.base.config);
        if let Some(link) = self.peers.links.get_mut(key) {
            link.heartbeat = ours.link_heartbeat().max(theirs.link_heartbeat());
        }
        let differences = ours.differences(theirs);
        if !differences.is_empty() {
            self.base.stats.peers_differ += 1;
            out.log(Log::SettingsDiffer {
                instance,
                differences,
            });
        }
    }

    pub(crate) fn link_up(&mut self, key: LinkKey, out: &mut Outbox) {
        let nonce = self.base.random.nonces.bytes16();
        let Some(link) = self.peers.links.get_mut(key) else {
            self.base.stats.stale_events += 1;
            return;
        };
        let Some(to) = link.peer.filter(|_| link.stage == Stage::Dialled) else {
            self.base.stats.stale_events += 1;
            return;
        };
        link.stage = Stage::Greeting { nonce };
        link.writing = true;
        let hello = Hello {
            version: wire::VERSION,
            from: self.base.identity.instance,
            to,
            nonce,
            alike: Alike::of(&self.base.config),
            proof: None,
        };
        let batch = wire::encode_hello(&hello);
        out.push(Command::LinkWrite { link: key, batch });
    }

    pub(crate) fn link_written(&mut self, key: LinkKey) {
        if let Some(link) = self.peers.links.get_mut(key) {
            link.writing = false;
            self.peers.unflushed.push(key);
        } else {
            self.base.stats.stale_events += 1;
        }
    }

    pub(crate) fn link_received(
        &mut self,
        now: Now,
        key: LinkKey,
        batch: &Bytes,
        out: &mut Outbox,
    ) {
        let Some(link) = self.peers.links.get_mut(key) else {
            self.base.stats.stale_events += 1;
            return;
        };
        link.heard = now.mono;
        match &link.stage {
            Stage::Dialled => self.base.stats.stale_events += 1,
            Stage::Greeting { nonce } => {
                let nonce = *nonce;
                self.greeted_by_acceptor(now, key, nonce, batch, out);
            }
            Stage::Accepted => self.greeted_by_dialler(now, key, batch, out),
            Stage::Proven => {
                link.stage = Stage::Open;
                let peer = link.peer;
                self.open_link_due(now, key);
                if let Some(peer) = peer {
                    self.link_open(now, key, peer, out);
                }
                if self.peers.service != Service::Full {
                    self.say_service(key);
                }
                self.batch_received(now, key, batch, out);
            }
            Stage::Proving { .. } | Stage::Open => self.batch_received(now, key, batch, out),
        }
    }

    /// The dialler's Hello: it is answered with ours and our proof.
    fn greeted_by_dialler(&mut self, now: Now, key: LinkKey, batch: &[u8], out: &mut Outbox) {
        let here = self.base.identity.instance;
        let hello = match wire::decode_hello(batch) {
            Ok(hello) if hello.to == here && hello.from != here => hello,
            Ok(_) => return self.peer_misbehaved(now, key, "a Hello for another instance", out),
            Err(error) => return self.hello_refused(now, key, error, out),
        };
        let transcript = Transcript {
            dialler: hello.from,
            acceptor: here,
            dialler_nonce: hello.nonce,
            acceptor_nonce: self.base.random.nonces.bytes16(),
            dialler_alike: hello.alike,
            acceptor_alike: Alike::of(&self.base.config),
            version: wire::VERSION,
        };
        let answer = Hello {
            version: wire::VERSION,
            from: here,
            to: hello.from,
            nonce: transcript.acceptor_nonce,
            alike: transcript.acceptor_alike,
            proof: Some(transcript.prove(&self.base.identity.secret, Role::Acceptor)),
        };
        if let Some(link) = self.peers.links.get_mut(key) {
            link.stage = Stage::Proving { transcript };
            link.peer = Some(hello.from);
            link.writing = true;
        }
        let batch = wire::encode_hello(&answer);
        out.push(Command::LinkWrite { link: key, batch });
    }

    /// The acceptor's Hello, with its proof: it is answered with ours.
    fn greeted_by_acceptor(
        &mut self,
        now: Now,
        key: LinkKey,
        nonce: [u8; 16],
        batch: &[u8],
        out: &mut Outbox,
    ) {
        let here = self.base.identity.instance;
        let expected = self.peers.links.get(key).and_then(|link| link.peer);
        let hello = match wire::decode_hello(batch) {
            Ok(hello) if hello.to == here && Some(hello.from) == expected => hello,
            Ok(_) => {
                self.base.stats.peers_refused += 1;
                self.end_link(now, key, LinkFailure::NotMe, out);
                return;
            }
            Err(error) => return self.hello_refused(now, key, error, out),
        };
        let transcript = Transcript {
            dialler: here,
            acceptor: hello.from,
            dialler_nonce: nonce,
            acceptor_nonce: hello.nonce,
            dialler_alike: Alike::of(&self.base.config),
            acceptor_alike: hello.alike,
            version: wire::VERSION,
        };
        let proven = (hello.proof.as_ref()).is_some_and(|proof| {
            transcript.verify(&self.base.identity.secret, Role::Acceptor, proof)
        });
        if !proven {
            self.wrong_secret(now, key, hello.from, out);
            return;
        }
        self.link_proven(key, hello.from, &hello.alike, out);
        let proof = transcript.prove(&self.base.identity.secret, Role::Dialler);
        if let Some(link) = self.peers.links.get_mut(key) {
            link.stage = Stage::Proven;
        }
        self.send_on(key, Message::Proof(proof));
    }

    fn batch_received(&mut self, now: Now, key: LinkKey, batch: &Bytes, out: &mut Outbox) {
        let messages = match wire::decode_batch(batch) {
            Ok(messages) => messages,
            Err(WireError::Malformed(what)) => return self.peer_misbehaved(now, key, what, out),
            Err(WireError::NotOurs | WireError::Version { .. }) => {
                return self.peer_misbehaved(now, key, "a second Hello", out);
            }
        };
        for message in messages {
            let Some(link) = self.peers.links.get(key) else {
                return;
            };
            let Some(from) = link.peer else {
                self.bug("a link has proven itself and nobody is there");
                return;
            };
            match &link.stage {
                Stage::Open => self.peer_said(now, key, from, message, out),
                Stage::Proving { transcript } => {
                    let transcript = transcript.clone();
                    self.proven_by_dialler(now, key, &transcript, &message, out);
                }
                Stage::Dialled | Stage::Greeting { .. } | Stage::Accepted | Stage::Proven => {
                    self.bug("a batch came before its Hello");
                    return;
                }
            }
        }
    }

    fn proven_by_dialler(
        &mut self,
        now: Now,
        key: LinkKey,
        transcript: &Transcript,
        message: &Message,
        out: &mut Outbox,
    ) {
        let from = transcript.dialler;
        let Message::Proof(proof) = message else {
            self.peer_misbehaved(now, key, "a message before its proof", out);
            return;
        };
        if !transcript.verify(&self.base.identity.secret, Role::Dialler, proof) {
            self.wrong_secret(now, key, from, out);
            return;
        }
        if self.peers.members() >= self.base.config.links {
            // Others were quicker.
            self.end_link(now, key, LinkFailure::Broken, out);
            return;
        }
        self.link_proven(key, from, &transcript.dialler_alike, out);
        if let Some(link) = self.peers.links.get_mut(key) {
            link.stage = Stage::Open;
        }
        self.link_open(now, key, from, out);
        // It confirms the link to the dialler.
        self.link_heartbeat(now, key);
    }

    fn hello_refused(&mut self, now: Now, key: LinkKey, error: WireError, out: &mut Outbox) {
        match error {
            WireError::Version { theirs, from } => {
                self.base.stats.peers_refused += 1;
                out.log(Log::WireVersion {
                    ours: wire::VERSION,
                    theirs,
                    instance: from,
                });
                self.end_link(now, key, LinkFailure::Broken, out);
            }
            WireError::NotOurs => {
                self.peer_misbehaved(now, key, "something that is not a Hello", out);
            }
            WireError::Malformed(what) => self.peer_misbehaved(now, key, what, out),
        }
    }

    fn wrong_secret(&mut self, now: Now, key: LinkKey, instance: InstanceId, out: &mut Outbox) {
        self.base.stats.peers_refused += 1;
        out.log(Log::WrongSecret { instance });
        self.end_link(now, key, LinkFailure::Broken, out);
    }

    pub(crate) fn peer_misbehaved(
        &mut self,
        now: Now,
        key: LinkKey,
        what: &'static str,
        out: &mut Outbox,
    ) {
        self.base.stats.peers_refused += 1;
        out.log(Log::PeerMisbehaved { what });
        self.end_link(now, key, LinkFailure::Broken, out);
    }

    /// The driver says that a link is gone.
    pub(crate) fn link_down(
        &mut self,
        now: Now,
        key: LinkKey,
        failure: LinkFailure,
        out: &mut Outbox,
    ) {
        let Some(link) = self.peers.end(key) else {
            self.base.stats.stale_events += 1;
            return;
        };
        if let Some(instance) = link.peer {
            let proven = link.stage == Stage::Proven;
            self.link_gone(now, key, instance, proven, failure, out);
        }
    }

    /// Ends a link from this side.
    fn end_link(&mut self, now: Now, key: LinkKey, failure: LinkFailure, out: &mut Outbox) {
        if self.peers.links.get(key).is_some() {
            out.push(Command::LinkClose { link: key });
            self.link_down(now, key, failure, out);
        }
    }

    /// Closes a link that no longer serves its peer.
    pub(crate) fn drop_link(&mut self, key: LinkKey, out: &mut Outbox) {
        if self.peers.end(key).is_some() {
            out.push(Command::LinkClose { link: key });
        }
    }

    /// Says something on a link, with its next batch.
    pub(crate) fn send_on(&mut self, key: LinkKey, message: Message) {
        // The publisher asks again over a new link, if it still wants to know.
        let Some(link) = self.peers.links.get_mut(key) else {
            return;
        };
        let size = wire::encoded_size_hint(&message);
        // A queue that is empty takes any answer: a large one would never leave otherwise.
        let full = link.answer_bytes + size > self.base.config.link_queue_bytes;
        if full && !link.answers.is_empty() {
            // A peer that does not read will be silent soon; its publisher knows by its deadline.
            self.base.stats.link_overflows += 1;
            return;
        }
        link.answer_bytes += size;
        link.answers.push_back(message);
        self.peers.unflushed.push(key);
    }

    /// When the next heartbeat of a link is due.
    fn open_link_due(&mut self, now: Now, key: LinkKey) {
        if let Some(link) = self.peers.links.get_mut(key) {
            link.due = now.mono + self.base.config.link_heartbeat;
            self.base.timers.arm(link.due, Timer::Link(key));
        }
    }

    /// Does what is due for one link.
    pub(crate) fn link_due(&mut self, now: Now, key: LinkKey, out: &mut Outbox) {
        let Some(link) = self.peers.links.get(key) else {
            return;
        };
        if link.due > now.mono {
            return;
        }
        let silent = link.heard + link.heartbeat * SILENT_HEARTBEATS <= now.mono;
        if link.stage != Stage::Open || silent {
            self.end_link(now, key, LinkFailure::Broken, out);
            return;
        }
        self.link_heartbeat(now, key);
    }

    /// Says that this instance lives, and when to say it again.
    fn link_heartbeat(&mut self, now: Now, key: LinkKey) {
        self.say_service(key);
        self.open_link_due(now, key);
    }

    fn say_service(&mut self, key: LinkKey) {
        let directory = self.peers.service;
        self.send_on(key, Message::Heartbeat { directory });
    }

    /// Tells all peers when the directory serves this instance otherwise than they were told.
    pub(crate) fn tell_service(&mut self, now: Now) {
        let nobody = !self.takes_terminals() && self.terminals.registry.len() == 0;
        let service = match self.membership.keeper.service(now.mono) {
            Service::None if nobody => Service::Vacant,
            service @ (Service::Full | Service::Behind | Service::None | Service::Vacant) => {
                service
            }
        };
        if service == self.peers.service {
            return;
        }
        self.peers.service = service;
        for key in self.peers.open_links() {
            self.say_service(key);
        }
    }
}

impl Fingerprint for Link {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        (self.side, &self.stage, self.peer, self.writing).hash(hasher);
        self.answers.fingerprint(now, hasher);
        self.heard.fingerprint(now, hasher);
        self.said.hash(hasher);
        self.heartbeat.hash(hasher);
        self.due.fingerprint(now, hasher);
        (self.number, self.crossed).hash(hasher);
    }
}

impl Fingerprint for Message {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        std::mem::discriminant(self).hash(hasher);
        match self {
            Self::Proof(proof) => proof.hash(hasher),
            Self::Deliver(deliver) => {
                (deliver.delivery, deliver.push, deliver.within, &deliver.to).hash(hasher);
                deliver.action.fingerprint(now, hasher);
            }
            Self::Delivered(delivered) => delivered.hash(hasher),
            Self::Heartbeat { directory } => directory.hash(hasher),
            Self::Goodbye => {}
        }
    }
}
