//! Other instances, and the links to them.
//!
//! A link is opened when there is something to deliver. Both sides prove the cluster's secret
//! before anything else is said, and the acceptor confirms a link before it carries a delivery. If
//! both dial, the lower id decides: its own link stays, unless that has not reached the other yet,
//! and the higher id, whose link is not confirmed, waits for the one that comes.
//!
//! # The states of a link
//!
//! What a link is at, and what follows from what happens to it. "Ends" is a
//! [`LinkClose`](Command::LinkClose) and the end of the link for its peer, as in the table below.
//! Whatever comes for a link that has ended is counted as stale.
//!
//! | stage | connected | a batch comes | its timer is due |
//! |---|---|---|---|
//! | **dialler** | | | |
//! | dialled | our Hello leaves; *greeting* | stale | ends |
//! | greeting | stale | a Hello that proves the secret: our proof leaves; *proven*. Any other: ends | ends |
//! | proven | stale | it confirms the link: *open*, and it serves the peer; then as *open* | ends |
//! | **acceptor** | | | |
//! | accepted | stale | a Hello for this instance: ours leaves, with our proof; *proving*. Any other: ends | ends |
//! | proving | stale | the proof: *open*, it serves the peer, and a heartbeat confirms it. Anything else: ends | ends |
//! | **both** | | | |
//! | open | stale | its messages are taken up one after another; what no instance says: ends | silent for three heartbeats: ends. If not, the next heartbeat leaves |
//!
//! An accepted link in excess of what may be unproven is due at once.
//!
//! # The states of a peer
//!
//! Which link serves an instance. A link is *gone* when it has ended for whatever reason but this
//! table.
//!
//! | state | a delivery is to be sent | its link K is open | its link K is gone | its timer is due |
//! |---|---|---|---|---|
//! | unlinked, too early to dial | it fails | *open (K)* | – | – |
//! | unlinked | it waits; a link is dialled: *opening*. It fails if none can be, and if there are too many it is *unlinked*, for a while | *open (K)* | – | – |
//! | opening (K) | it waits | *open (K)* | K was proven, so the peer prefers its own: *expecting*. K was not: *unlinked*, for a while; all that waits fails | – |
//! | opening (L) | it waits | the peer has dialled as well: L stays and K is closed if this is the lower id and L has reached the peer; if not, *open (K)*, and L is closed | – | – |
//! | expecting | it waits | *open (K)* | – | *unlinked*; a link is dialled if anything waits |
//! | open (K) | it leaves with the end of the turn | – | *unlinked*; what was not answered waits again, or fails if links keep breaking under it; a link is dialled if anything waits, or if nothing else shows that the peer lives | – |
//! | open (L) | it leaves with the end of the turn | L stays and K is closed if this is the lower id and K began before L was confirmed; if not, *open (K)*, L is closed, and what was not answered waits again | – | – |

pub(crate) mod alike;
#[cfg(feature = "flaws")]
pub mod forged;
mod handshake;
mod hooks;
pub mod inquiry;
mod link;
mod links;
mod peer;
mod queue;
mod round_trip;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::command::Command;
use crate::config::Config;
use crate::context::Context;
use crate::delivery::{Addressee, Delivered, Delivery};
use crate::event::LinkFailure;
use crate::id::{DeliveryId, InstanceId, LinkKey};
use crate::membership::Membership;
use crate::stats::{Gauges, Level, Tables};
use crate::time::Instant;
use crate::vocabulary::effect::Effect;
use crate::vocabulary::service::Service;
use crate::vocabulary::standing::Sign;
use crate::vocabulary::timer::PeersTimer;

use link::{Link, LinkStage};
use links::Links;
use peer::{Peer, PeerState};
use wire::{Batch, Message};

/// Bytes of one batch, about: enough to make system calls cheap, little enough that an answer does
/// not wait behind a long write.
const BATCH_BYTES: usize = 256 << 10;

/// All other instances that this one talks to.
///
/// Deliveries are [sent](Self::send) to an instance, and [answered](Self::answer) on the link that asked;
/// both leave in batches when the turn is [flushed](Self::flush). What comes over a link is handed in with
/// [`received`](Self::received), and [taken up](Self::take_up) message by message. A delivery that cannot be
/// sent is among those of [`take_failed`](Self::take_failed) at the end of the turn, and is not answered any
/// more.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    peers: BTreeMap<InstanceId, Peer>,
    links: Links,
    batch: Batch,
    /// How the directory serves this instance, as its peers were told.
    service: Service,
    /// Links with something to say at the end of the turn.
    unflushed: Vec<LinkKey>,
    /// Deliveries that cannot be sent, taken up at the end of the turn.
    failed: Vec<DeliveryId>,
}

/// The messages of one batch that were not taken up yet. An earlier one may end the link: what
/// follows it is void then.
#[derive(Debug)]
pub(crate) struct Said {
    link: LinkKey,
    messages: std::vec::IntoIter<Message>,
}

impl Peers {
    /// The state of a link, for people.
    pub(crate) fn link_state(&self, link: LinkKey) -> Option<&'static str> {
        Some(self.links.get(link)?.stage.name())
    }

    /// No peers. The directory does not serve the instance yet.
    pub(crate) fn new() -> Self {
        Self {
            peers: BTreeMap::new(),
            links: Links::new(),
            batch: Batch::new(),
            service: Service::None,
            unflushed: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Takes a link that another instance dialled. `None` if there are too many.
    pub(crate) fn accept(&mut self, cx: &mut Context<'_>) -> Option<LinkKey> {
        if self.links.counted() >= cx.config.links {
            return None;
        }
        let now = cx.now.mono;
        let until = now + cx.config.link_timeout;
        let link = Link::accepted(now, until);
        let (key, gives_way) = self.links.begin_stranger(link, cx.config.links);
        cx.arm(until, PeersTimer::Link(key));
        if let Some(key) = gives_way {
            cx.stats.strangers_ended += 1;
            if let Some(link) = self.links.get_mut(key) {
                link.due = now;
                cx.arm(now, PeersTimer::Link(key));
            }
        }
        Some(key)
    }

    /// Sends a delivery to another instance, and dials it if that is called for. `due` is when the
    /// receipt is: from there on it is not sent any more.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        to: InstanceId,
        delivery: Delivery,
        due: Instant,
    ) {
        let now = cx.now.mono;
        let peer = self.peer(now, to);
        let state = peer.state;
        if let Err(id) = (peer.queue).push(delivery, due, cx.config.link_queue_bytes) {
            self.failed.push(id);
            self.tell_missed(cx, to);
            return;
        }
        match state {
            PeerState::Open(link) => self.unflushed.push(link),
            PeerState::Opening(_) | PeerState::Expecting { .. } => {}
            PeerState::Unlinked { until } if !until.has_come(now) => self.fail_waiting(cx, to),
            PeerState::Unlinked { .. } => self.dial(cx, membership, to),
        }
    }

    /// Adds an addressee to the delivery to this instance that was queued last, if that has not left and
    /// `fits`. Returns which one it is.
    ///
    /// # Errors
    ///
    /// Returns the addressee if there is none, or no room in it.
    pub(crate) fn join_last(
        &mut self,
        cx: &Context<'_>,
        to: InstanceId,
        addressee: Addressee,
        fits: impl FnOnce(DeliveryId) -> bool,
    ) -> Result<DeliveryId, Addressee> {
        let Some(peer) = self.peers.get_mut(&to) else {
            return Err(addressee);
        };
        match peer.queue.last().map(|last| last.id) {
            Some(id) if fits(id) => {
                peer.queue.join(addressee, cx.config.link_queue_bytes)?;
                Ok(id)
            }
            Some(_) | None => Err(addressee),
        }
    }

    /// A delivery was answered, or its receipt is complete: an answer changes nothing any more.
    pub(crate) fn forget_unanswered(&mut self, to: InstanceId, delivery: DeliveryId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.queue.answered(delivery);
        }
    }

    /// Answers a delivery on the link that it came over. The publisher sends it again over a new
    /// link if this one has ended and it still wants to know.
    pub(crate) fn answer(&mut self, cx: &mut Context<'_>, link: LinkKey, delivered: Delivered) {
        self.say(cx, link, Message::Delivered(delivered));
    }

    /// Takes up the messages of a batch one after another, until one is for another wing. Returns whether
    /// there was such a one: its effect is to be carried before the rest is taken up.
    pub(crate) fn take_up(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        said: &mut Said,
    ) -> bool {
        let key = said.link;
        while !cx.has_effects() {
            let (Some(message), Some(link)) = (said.messages.next(), self.links.get(key)) else {
                return false;
            };
            let Some(from) = link.peer else {
                cx.bug("a link has proven itself and nobody is there");
                return false;
            };
            match &link.stage {
                LinkStage::Open => self.take_up_one(cx, membership, key, from, message),
                LinkStage::Proving { transcript } => {
                    let transcript = transcript.clone();
                    self.proven_by_dialler(cx, membership, key, &transcript, &message);
                }
                LinkStage::Dialled
                | LinkStage::Greeting { .. }
                | LinkStage::Accepted
                | LinkStage::Proven => {
                    cx.bug("a batch came before its Hello");
                    return false;
                }
            }
        }
        true
    }

    /// A message came over an open link.
    fn take_up_one(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        link: LinkKey,
        from: InstanceId,
        message: Message,
    ) {
        match message {
            Message::Deliver(delivery) => {
                let round_trip = (self.links.get(link)).map(|link| link.round_trip.shortest());
                cx.emit(Effect::Deliver {
                    link,
                    round_trip: round_trip.unwrap_or_default(),
                    delivery: Box::new(delivery),
                });
            }
            Message::Delivered(delivered) => cx.emit(Effect::Delivered {
                link,
                by: from,
                delivered,
            }),
            Message::Heartbeat { directory, pulse } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.said = directory;
                    link.round_trip.heard(cx.now.mono, pulse);
                }
                membership.noticed(cx.now.mono, from, Sign::Says(directory));
                match directory {
                    Service::Full | Service::Behind => cx.emit(Effect::DirectoryWorks),
                    Service::None | Service::Vacant => {}
                }
            }
            Message::Missed(logs) => {
                if hooks::checks_logs_after_a_break(cx.flaws) {
                    cx.emit(Effect::Missed(logs));
                }
            }
            Message::Goodbye => membership.noticed(cx.now.mono, from, Sign::Goodbye),
            Message::Proof(_) => self.misbehaved(cx, membership, link, "a second proof"),
        }
    }

    /// The driver has written a batch.
    pub(crate) fn link_written(&mut self, cx: &mut Context<'_>, key: LinkKey) {
        if let Some(link) = self.links.get_mut(key) {
            link.writing = false;
            self.unflushed.push(key);
        } else {
            cx.stats.stale_events += 1;
        }
    }

    /// A timer is due.
    pub(crate) fn timer_due(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        timer: PeersTimer,
    ) {
        match timer {
            PeersTimer::Link(key) => self.link_due(cx, membership, key),
            PeersTimer::Peer(instance) => self.peer_due(cx, membership, instance),
        }
    }

    /// Does what is due for one link.
    fn link_due(&mut self, cx: &mut Context<'_>, membership: &mut Membership, key: LinkKey) {
        let now = cx.now.mono;
        let Some(link) = self.links.get(key) else {
            return;
        };
        if !link.due.has_come(now) {
            return;
        }
        if link.stage != LinkStage::Open || link.is_silent(now) {
            return self.end_link(cx, membership, key, LinkFailure::Broken);
        }
        self.heartbeat(cx, key);
    }

    /// Says that this instance lives, and when to say it again.
    fn heartbeat(&mut self, cx: &mut Context<'_>, key: LinkKey) {
        self.say_service(cx, key);
        self.arm_heartbeat(cx, key);
    }

    fn arm_heartbeat(&mut self, cx: &mut Context<'_>, key: LinkKey) {
        if let Some(link) = self.links.get_mut(key) {
            link.due = cx.now.mono + cx.config.link_heartbeat;
            cx.arm(link.due, PeersTimer::Link(key));
        }
    }

    /// Tells all peers how the directory serves this instance, if they were told otherwise.
    pub(crate) fn tell_service(&mut self, cx: &mut Context<'_>, service: Service) {
        if service == self.service {
            return;
        }
        self.service = service;
        for key in self.links.open() {
            self.say_service(cx, key);
        }
    }

    fn say_service(&mut self, cx: &mut Context<'_>, key: LinkKey) {
        let directory = self.service;
        if let Some(link) = self.links.get(key) {
            let pulse = link.round_trip.pulse(cx.now.mono);
            self.say(cx, key, Message::Heartbeat { directory, pulse });
        }
    }

    /// Tells all peers that this instance ends.
    pub(crate) fn say_goodbye(&mut self, cx: &mut Context<'_>) {
        for key in self.links.open() {
            self.say(cx, key, Message::Goodbye);
        }
    }

    /// Says something on a link, with its next batch.
    fn say(&mut self, cx: &mut Context<'_>, key: LinkKey, message: Message) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        if link.say(message, cx.config.link_queue_bytes) {
            self.unflushed.push(key);
        } else {
            // A peer that does not read will be silent soon; its publisher knows by its deadline.
            cx.stats.link_overflows += 1;
        }
    }

    /// Lets the batches leave of all links with something to say.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) {
        let mut links = std::mem::take(&mut self.unflushed);
        for key in links.drain(..) {
            self.flush_link(cx, key);
        }
        self.unflushed = links;
    }

    /// Forms the next batch of an open link, if none is being written.
    fn flush_link(&mut self, cx: &mut Context<'_>, key: LinkKey) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        if !link.stage.carries() || link.writing {
            return;
        }
        let batch = &mut self.batch;
        while let Some(message) = link.first_answer() {
            if !has_room(batch, message) {
                break;
            }
            batch.push(message);
            link.forget_answer();
        }
        let peer = link.peer.and_then(|instance| self.peers.get_mut(&instance));
        if let Some(peer) = peer.filter(|peer| peer.state == PeerState::Open(key)) {
            peer.queue.leave(cx.now.mono, batch, has_room);
            if !peer.queue.missed().is_none() {
                let missed = Message::Missed(peer.queue.missed().clone());
                // If there is no room it leaves when the batch is written.
                if has_room(batch, &missed) {
                    batch.push(&missed);
                    peer.queue.missed_is_told();
                }
            }
        }
        if !batch.is_empty() {
            link.writing = true;
            let batch = batch.take();
            cx.out.push(Command::LinkWrite { link: key, batch });
        }
    }

    /// Closes all links, and forgets all peers.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        for key in self.links.all() {
            self.drop_link(cx, key);
        }
        self.peers.clear();
    }

    /// Forgets peers for which nothing waits and which nobody knows.
    pub(crate) fn forget_strangers(&mut self, membership: &Membership) {
        self.peers.retain(|instance, peer| {
            let unlinked = matches!(peer.state, PeerState::Unlinked { .. });
            !peer.queue.is_idle() || !unlinked || membership.address(*instance).is_some()
        });
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

    /// Writes down what there is to see of them.
    pub(crate) fn gauge(&self, gauges: &mut Gauges) {
        gauges.links = self.links.counted();
    }

    /// How full its table and its queues are; of the queues, the fullest.
    pub(crate) fn levels(&self, config: &Config) -> [Level; 2] {
        let bytes = self.peers.values().map(|peer| peer.queue.bytes());
        [
            Level {
                setting: "links",
                used: self.links.counted(),
                limit: config.links,
            },
            Level {
                setting: "link_queue_bytes",
                used: bytes.max().unwrap_or(0),
                limit: config.link_queue_bytes,
            },
        ]
    }

    /// Counts what is in its tables.
    pub(crate) fn count(&self, tables: &mut Tables) {
        tables.peers = self.peers.len();
        self.peers
            .values()
            .for_each(|peer| peer.queue.count(tables));
        self.links.count(tables);
    }

    /// Links with something to say at the end of the turn.
    pub(crate) fn unflushed(&self) -> &[LinkKey] {
        &self.unflushed
    }

    /// Deliveries of this turn that cannot be sent.
    pub(crate) fn failed(&self) -> &[DeliveryId] {
        &self.failed
    }

    /// Takes the deliveries of this turn that cannot be sent.
    pub(crate) fn take_failed(&mut self) -> Vec<DeliveryId> {
        std::mem::take(&mut self.failed)
    }

    /// Deliveries that were not answered.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        (self.peers.values()).map(|peer| peer.queue.open()).sum()
    }
}

fn has_room(batch: &Batch, message: &Message) -> bool {
    let size = wire::encoded_size_hint(message);
    batch.is_empty() || (batch.len() + size <= BATCH_BYTES && batch.has_room(size))
}

impl Fingerprint for Peers {
    /// What is left of the turn is hashed with the turn.
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.peers.fingerprint(now, hasher);
        self.links.fingerprint(now, hasher);
        self.service.hash(hasher);
    }
}
