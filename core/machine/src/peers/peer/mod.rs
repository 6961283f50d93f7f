//! Other instances, and the links to them.
//!
//! A link is opened when there is something to deliver. Both sides prove the cluster's secret
//! before anything else is said, and the acceptor confirms a link before it carries a delivery. If
//! both dial, the lower id decides: its own link stays, unless that has not reached the other yet,
//! and the higher id, whose link is not confirmed, waits for the one that comes. Deliveries
//! wait with the peer, not with the link: a link that breaks gives back what was not answered, and
//! that is sent again over the next one; the owner recognises what it had written already.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::base::slots::Slots;
use crate::command::{Command, Dial, Log, Outbox};
use crate::deliver::inbound::From;
use crate::delivery::{Addressee, Deliver};
use crate::event::LinkFailure;
use crate::id::{DeliveryId, InstanceId, LinkKey};
use crate::instance::{Instance, Timer};
use crate::membership::service::Service;
use crate::membership::view::View;
use crate::peers::link::{Link, Side, Stage};
use crate::peers::wire::{self, Batch, Message};
use crate::time::{Instant, Now};

mod queue;

use queue::Queue;

/// After a failed dial the next one waits this long, and deliveries fail at once: an instance that
/// is dead and not yet gone from the view must not cost each push a dial.
const COOLDOWN: Duration = Duration::from_millis(250);
/// Bytes of one batch, about: enough to make system calls cheap, little enough that an answer does
/// not wait behind a long write.
const BATCH_BYTES: usize = 256 << 10;
/// Links whose other end may be anybody, at most. More than a cluster opens in a moment, and little
/// memory: they may say no more than a handshake has to.
const STRANGERS: usize = 1024;

/// All other instances that this one talks to.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    peers: BTreeMap<InstanceId, Peer>,
    pub(crate) links: Slots<LinkKey, Link>,
    /// Those among the links that others opened and have not proven, by their number.
    strangers: BTreeMap<u64, LinkKey>,
    /// The numbers of those that give way, until they have ended.
    giving_way: BTreeSet<u64>,
    batch: Batch,
    /// Links begun so far.
    begun: u64,
    /// How the directory serves this instance, as its peers were told.
    pub(crate) service: Service,
    /// Links with something to say at the end of the turn.
    pub(crate) unflushed: Vec<LinkKey>,
    /// Deliveries that cannot be sent, taken up at the end of the turn.
    pub(crate) failed: Vec<DeliveryId>,
}

/// One other instance.
#[derive(Clone, Debug)]
struct Peer {
    state: PeerState,
    queue: Queue,
}

/// Whether there is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PeerState {
    /// There is none, and none is dialled before this moment.
    Unlinked { until: Instant },
    /// One is being opened.
    Opening(LinkKey),
    /// The peer would not have ours: one of its own is on its way, until this moment.
    Expecting { until: Instant },
    /// There is one.
    Open(LinkKey),
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            state: PeerState::Unlinked { until: now },
            queue: Queue::default(),
        }
    }
}

impl Peers {
    pub(crate) fn new() -> Self {
        Self {
            peers: BTreeMap::new(),
            links: Slots::new(),
            strangers: BTreeMap::new(),
            giving_way: BTreeSet::new(),
            batch: Batch::new(),
            begun: 0,
            service: Service::None,
            unflushed: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Numbers a link in the order of their beginnings.
    pub(crate) fn begin(&mut self, mut link: Link) -> LinkKey {
        self.begun += 1;
        link.number = self.begun;
        self.links.insert(link)
    }

    /// Begins a link that somebody opened who may be anybody. If there are too many of these, the
    /// oldest gives way: a peer proves itself within two round trips, and whoever does not cannot
    /// keep others out. Returns whom it is the turn of, if anybody.
    pub(crate) fn begin_stranger(
        &mut self,
        link: Link,
        limit: usize,
    ) -> (LinkKey, Option<LinkKey>) {
        let key = self.begin(link);
        self.strangers.insert(self.begun, key);
        let crowded = self.strangers.len() > STRANGERS.min(limit);
        let oldest = crowded.then(|| self.strangers.pop_first()).flatten();
        self.giving_way.extend(oldest.map(|(number, _)| number));
        (key, oldest.map(|(_, key)| key))
    }

    /// A link's other end has proven itself.
    pub(crate) fn no_stranger(&mut self, key: LinkKey) {
        if let Some(link) = self.links.get(key) {
            self.strangers.remove(&link.number);
            self.giving_way.remove(&link.number);
        }
    }

    /// Ends a link.
    pub(crate) fn end(&mut self, key: LinkKey) -> Option<Link> {
        self.no_stranger(key);
        self.links.remove(key)
    }

    /// Links that this instance opened, and those whose other end has proven itself.
    pub(crate) fn members(&self) -> usize {
        self.links.len() - self.strangers.len() - self.giving_way.len()
    }

    /// A link serves. Those that began before crossed it.
    fn confirm(&mut self, key: LinkKey) {
        if let Some(link) = self.links.get_mut(key) {
            link.crossed = self.begun;
        }
    }

    /// The links that batches can leave over.
    pub(crate) fn open_links(&self) -> Vec<LinkKey> {
        (self.links.iter())
            .filter(|(_, link)| link.stage.carries())
            .map(|(key, _)| key)
            .collect()
    }

    /// What an instance said last of the directory, if a link to it serves.
    pub(crate) fn said_by(&self, instance: InstanceId) -> Option<Service> {
        match self.peers.get(&instance)?.state {
            PeerState::Open(key) => Some(self.links.get(key)?.said),
            PeerState::Unlinked { .. } | PeerState::Opening(_) | PeerState::Expecting { .. } => {
                None
            }
        }
    }

    /// The delivery to this peer that was queued last, if it has not left.
    pub(crate) fn last_waiting(&self, to: InstanceId) -> Option<&Deliver> {
        self.peers.get(&to)?.queue.last()
    }

    /// Adds an addressee to that delivery.
    ///
    /// # Errors
    ///
    /// Gives it back if there is no room.
    pub(crate) fn join_last(
        &mut self,
        to: InstanceId,
        addressee: Addressee,
        limit: usize,
    ) -> Result<(), Addressee> {
        match self.peers.get_mut(&to) {
            Some(peer) => peer.queue.join(addressee, limit),
            None => Err(addressee),
        }
    }

    /// A receipt is complete: an answer to this delivery changes nothing any more.
    pub(crate) fn forget_unanswered(&mut self, to: InstanceId, delivery: DeliveryId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.queue.answered(delivery);
        }
    }

    /// Forgets peers with whom there is nothing to do and who are not in the view.
    pub(crate) fn forget_strangers(&mut self, view: &View) {
        self.peers.retain(|instance, peer| {
            let unlinked = matches!(peer.state, PeerState::Unlinked { .. });
            !peer.queue.is_idle() || !unlinked || view.knows(*instance)
        });
    }

    /// The most bytes that wait for a peer.
    pub(crate) fn longest_queue(&self) -> usize {
        self.peers
            .values()
            .map(|peer| peer.queue.bytes())
            .max()
            .unwrap_or(0)
    }

    /// Deliveries that were not answered.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        (self.peers.values()).map(|peer| peer.queue.open()).sum()
    }
}

impl Instance {
    /// Sends a delivery to an instance, or to this one itself.
    pub(crate) fn send_delivery(
        &mut self,
        now: Now,
        to: InstanceId,
        deliver: Deliver,
        due: Instant,
        out: &mut Outbox,
    ) {
        if to == self.base.identity.instance {
            self.deliver(now, From::Here, deliver, out);
            return;
        }
        let peer = (self.peers.peers.entry(to)).or_insert_with(|| Peer::new(now.mono));
        if let Err(delivery) = (peer.queue).push(deliver, due, self.base.config.link_queue_bytes) {
            self.peers.failed.push(delivery);
            return;
        }
        match peer.state {
            PeerState::Open(link) => self.peers.unflushed.push(link),
            PeerState::Opening(_) | PeerState::Expecting { .. } => {}
            PeerState::Unlinked { until } if until > now.mono => self.fail_waiting(to),
            PeerState::Unlinked { .. } => self.dial(now, to, out),
        }
    }

    /// Dials an instance to see whether it lives, unless that is under way or was in vain just now.
    pub(crate) fn look_for_peer(&mut self, now: Now, instance: InstanceId, out: &mut Outbox) {
        let peer = (self.peers.peers.entry(instance)).or_insert_with(|| Peer::new(now.mono));
        match peer.state {
            PeerState::Unlinked { until } if until <= now.mono => self.dial(now, instance, out),
            PeerState::Unlinked { .. } => {
                self.peer_unlinked(now, instance);
            }
            PeerState::Opening(_) | PeerState::Expecting { .. } | PeerState::Open(_) => {}
        }
    }

    /// There is no link to a peer, and none is being opened. Returns whether it is to be looked for.
    fn peer_unlinked(&mut self, now: Now, instance: InstanceId) -> bool {
        (self.membership.view).unlinked(now.mono, &self.base.config, instance)
    }

    fn dial(&mut self, now: Now, to: InstanceId, out: &mut Outbox) {
        let address = self.membership.view.address(to).map(str::to_owned);
        let full = self.peers.members() >= self.base.config.links;
        let Some(address) = address.filter(|_| !full) else {
            self.fail_waiting(to);
            self.peer_unlinked(now, to);
            return;
        };
        let until = now.mono + self.base.config.link_timeout;
        let link = Link::new(Side::Dialler, Stage::Dialled, Some(to), now.mono, until);
        let key = self.peers.begin(link);
        if let Some(peer) = self.peers.peers.get_mut(&to) {
            peer.state = PeerState::Opening(key);
        }
        self.base.timers.arm(until, Timer::Link(key));
        let dial = Dial {
            instance: to,
            address,
        };
        out.push(Command::Dial {
            link: key,
            dial: Box::new(dial),
        });
    }

    /// Nothing that waits for this peer can be sent. Taken up at the end of the turn.
    fn fail_waiting(&mut self, to: InstanceId) {
        if let Some(peer) = self.peers.peers.get_mut(&to) {
            self.peers.failed.extend(peer.queue.give_up());
        }
    }

    /// A link is confirmed: it serves its peer from here on, unless another one does.
    pub(crate) fn link_open(
        &mut self,
        now: Now,
        key: LinkKey,
        instance: InstanceId,
        out: &mut Outbox,
    ) {
        let here = self.base.identity.instance;
        let peer = (self.peers.peers.entry(instance)).or_insert_with(|| Peer::new(now.mono));
        let former = match peer.state {
            PeerState::Unlinked { .. } | PeerState::Expecting { .. } => None,
            PeerState::Opening(other) | PeerState::Open(other) if other == key => None,
            PeerState::Opening(other) | PeerState::Open(other) => Some(other),
        };
        let former = former.and_then(|key| Some((key, self.peers.links.get(key)?)));
        if let (Some((_, former)), Some(link)) = (former, self.peers.links.get(key))
            && here < instance
            && former.outlives(link)
        {
            self.drop_link(key, out);
            return;
        }
        let former = former.map(|(key, _)| key);
        peer.state = PeerState::Open(key);
        self.peers.confirm(key);
        if let Some(former) = former {
            self.drop_link(former, out);
            self.take_back(instance, 0);
        }
        self.base.stats.links_opened += 1;
        self.membership.view.linked(instance);
        out.log(Log::PeerUp { instance });
        self.peers.unflushed.push(key);
    }

    /// What was not answered waits again. A link that another one replaced has not broken.
    fn take_back(&mut self, instance: InstanceId, breaks: u8) {
        if let Some(peer) = self.peers.peers.get_mut(&instance) {
            let failed = peer
                .queue
                .take_back(breaks, self.base.config.link_queue_bytes);
            self.peers.failed.extend(failed);
        }
    }

    /// A link is gone. Its key is forgotten already. An acceptor that was proven, and ends the link
    /// before it confirms it, prefers its own.
    pub(crate) fn link_gone(
        &mut self,
        now: Now,
        key: LinkKey,
        instance: InstanceId,
        proven: bool,
        failure: LinkFailure,
        out: &mut Outbox,
    ) {
        let Some(peer) = self.peers.peers.get_mut(&instance) else {
            return;
        };
        match peer.state {
            PeerState::Open(open) if open == key => {
                out.log(Log::PeerDown { instance });
                peer.state = PeerState::Unlinked { until: now.mono };
                let look = self.peer_unlinked(now, instance);
                self.take_back(instance, 1);
                let waits =
                    (self.peers.peers.get(&instance)).is_some_and(|peer| peer.queue.waits());
                if waits || look {
                    self.dial(now, instance, out);
                }
            }
            PeerState::Opening(opening) if opening == key && proven => {
                let until = now.mono + self.base.config.link_timeout;
                peer.state = PeerState::Expecting { until };
                self.base.timers.arm(until, Timer::Peer(instance));
            }
            PeerState::Opening(opening) if opening == key => {
                self.base.stats.links_failed += 1;
                let cooldown = match failure {
                    LinkFailure::Broken => COOLDOWN,
                    // It will never be at that address again.
                    LinkFailure::NotMe => self.base.config.lease,
                };
                let until = now.mono + cooldown;
                peer.state = PeerState::Unlinked { until };
                self.peer_unlinked(now, instance);
                self.fail_waiting(instance);
            }
            PeerState::Unlinked { .. }
            | PeerState::Opening(_)
            | PeerState::Expecting { .. }
            | PeerState::Open(_) => {}
        }
    }

    /// A peer has not come that was expected.
    pub(crate) fn peer_due(&mut self, now: Now, instance: InstanceId, out: &mut Outbox) {
        let Some(peer) = self.peers.peers.get_mut(&instance) else {
            return;
        };
        match peer.state {
            PeerState::Expecting { until } if until <= now.mono => {
                peer.state = PeerState::Unlinked { until: now.mono };
                peer.queue.forget_overdue(now.mono);
                let waits = peer.queue.waits();
                self.peer_unlinked(now, instance);
                if waits {
                    self.dial(now, instance, out);
                }
            }
            PeerState::Expecting { .. }
            | PeerState::Unlinked { .. }
            | PeerState::Opening(_)
            | PeerState::Open(_) => {}
        }
    }

    /// Forms the next batch of an open link, if none is being written.
    pub(crate) fn flush_link(&mut self, now: Now, key: LinkKey, out: &mut Outbox) {
        let peers = &mut self.peers;
        let Some(link) = peers.links.get_mut(key) else {
            return;
        };
        if !link.stage.carries() || link.writing {
            return;
        }
        let batch = &mut peers.batch;
        while let Some(message) = link.answers.front() {
            if !room(batch, message) {
                break;
            }
            batch.push(message);
            link.forget_answer();
        }
        let peer = link
            .peer
            .and_then(|instance| peers.peers.get_mut(&instance));
        if let Some(peer) = peer.filter(|peer| peer.state == PeerState::Open(key)) {
            peer.queue.leave(now.mono, batch, room);
        }
        if !batch.is_empty() {
            link.writing = true;
            let batch = batch.take();
            out.push(Command::LinkWrite { link: key, batch });
        }
    }

    /// A message came over an open link.
    pub(crate) fn peer_said(
        &mut self,
        now: Now,
        key: LinkKey,
        from: InstanceId,
        message: Message,
        out: &mut Outbox,
    ) {
        match message {
            Message::Deliver(deliver) => self.deliver(now, From::Link(key), deliver, out),
            Message::Delivered(delivered) if self.publish.pushes.contradicts(&delivered) => {
                self.peer_misbehaved(now, key, "an answer of another kind", out);
            }
            Message::Delivered(delivered) => {
                if let Some(peer) = self.peers.peers.get_mut(&from) {
                    peer.queue.answered(delivered.delivery);
                }
                self.delivered(now, from, delivered, out);
            }
            Message::Heartbeat { directory } => {
                if let Some(link) = self.peers.links.get_mut(key) {
                    link.said = directory;
                }
                self.membership.view.heard(now.mono, from, directory);
                match directory {
                    Service::Full | Service::Behind => self.directory_works_elsewhere(now, out),
                    Service::None | Service::Vacant => {}
                }
            }
            Message::Goodbye => self.membership.view.said_goodbye(from),
            Message::Proof(_) => self.peer_misbehaved(now, key, "a second proof", out),
        }
    }

    /// Tells all peers that this instance ends.
    pub(crate) fn say_goodbye(&mut self) {
        for key in self.peers.open_links() {
            self.send_on(key, Message::Goodbye);
        }
    }

    pub(crate) fn close_links(&mut self, out: &mut Outbox) {
        let all: Vec<LinkKey> = self.peers.links.iter().map(|(key, _)| key).collect();
        for key in all {
            self.drop_link(key, out);
        }
        self.peers.peers.clear();
    }
}

fn room(batch: &Batch, message: &Message) -> bool {
    let size = wire::encoded_size_hint(message);
    batch.is_empty() || (batch.len() + size <= BATCH_BYTES && batch.has_room(size))
}

impl Fingerprint for Peers {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.peers.fingerprint(now, hasher);
        self.links.fingerprint(now, hasher);
        self.begun.fingerprint(now, hasher);
        self.service.hash(hasher);
    }
}

impl Fingerprint for Peer {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match self.state {
            PeerState::Unlinked { until } | PeerState::Expecting { until } => {
                std::mem::discriminant(&self.state).hash(hasher);
                until.fingerprint(now, hasher);
            }
            state @ (PeerState::Opening(_) | PeerState::Open(_)) => state.hash(hasher),
        }
        self.queue.fingerprint(now, hasher);
    }
}
