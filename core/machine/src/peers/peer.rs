//! One other instance: which link serves it, and what becomes of what waits for it when links come
//! and go.
//!
//! Deliveries wait with the peer, not with the link: a link that breaks gives back what was not
//! answered, and that is sent again over the next one; the owner recognises what it had written
//! already.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::channel::Channel;
use crate::command::{Command, Dial, Log};
use crate::config::Config;
use crate::context::Context;
use crate::event::LinkFailure;
use crate::id::{InstanceId, LinkKey};
use crate::membership::Membership;
use crate::peers::link::Link;
use crate::peers::queue::Queue;
use crate::peers::{Peers, hooks};
use crate::time::Instant;
use crate::vocabulary::effect::Effect;
use crate::vocabulary::missed::MissedLogs;
use crate::vocabulary::standing::Sign;
use crate::vocabulary::timer::PeersTimer;

/// After a failed dial the next one waits this long: an instance that is dead and not yet gone from the
/// view must not cost each push a dial.
const COOLDOWN: Duration = Config::DIAL_COOLDOWN;

/// Another instance: whether there is a link to it, and what waits for it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) state: PeerState,
    pub(super) queue: Queue,
}

/// Whether there is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PeerState {
    /// There is none, and none is dialled before this moment.
    Unlinked { until: Instant },
    /// One is being opened.
    Opening(LinkKey),
    /// The peer would not have ours: one of its own is on its way, until this moment.
    Expecting { until: Instant },
    /// There is one, and it serves.
    Open(LinkKey),
}

impl Peer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: PeerState::Unlinked { until: now },
            queue: Queue::new(),
        }
    }
}

impl Peers {
    /// Dials an instance to see whether it lives, unless that is under way or was in vain just now.
    pub(crate) fn look_for(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        instance: InstanceId,
    ) {
        let now = cx.now.mono;
        match self.peer(now, instance).state {
            PeerState::Unlinked { until } if until.has_come(now) => {
                self.dial(cx, membership, instance);
            }
            PeerState::Unlinked { .. } => {
                unlinked(cx, membership, instance);
            }
            PeerState::Opening(_) | PeerState::Expecting { .. } | PeerState::Open(_) => {}
        }
    }

    pub(super) fn dial(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        to: InstanceId,
    ) {
        let address = membership.address(to).map(str::to_owned);
        let full = self.links.counted() >= cx.config.links;
        let Some(address) = address.filter(|_| !full) else {
            if full && let Some(peer) = self.peers.get_mut(&to) {
                // What the peer has missed would have it dialled again in the same turn, without end.
                let until = cx.now.mono + COOLDOWN;
                peer.state = PeerState::Unlinked { until };
            }
            self.fail_waiting(cx, to);
            unlinked(cx, membership, to);
            return;
        };
        let until = cx.now.mono + cx.config.link_timeout;
        let key = self.links.begin(Link::dialled(to, cx.now.mono, until));
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.state = PeerState::Opening(key);
        }
        cx.arm(until, PeersTimer::Link(key));
        let dial = Dial {
            instance: to,
            address,
        };
        cx.out.push(Command::Dial {
            link: key,
            dial: Box::new(dial),
        });
    }

    /// Nothing that waits for this peer can be sent. Taken up at the end of the turn.
    pub(super) fn fail_waiting(&mut self, cx: &mut Context<'_>, to: InstanceId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            self.failed.extend(peer.queue.give_up());
        }
        self.tell_missed(cx, to);
    }

    /// A peer is to be told which records it was not sent, as soon as there is a link.
    pub(super) fn tell_missed(&mut self, cx: &mut Context<'_>, to: InstanceId) {
        let Some(peer) = self.peers.get(&to) else {
            return;
        };
        if peer.queue.missed().is_none() {
            return;
        }
        match peer.state {
            PeerState::Open(link) => self.unflushed.push(link),
            PeerState::Unlinked { until } => cx.arm(until.max(cx.now.mono), PeersTimer::Peer(to)),
            PeerState::Opening(_) | PeerState::Expecting { .. } => {}
        }
    }

    /// A record of this log is not delivered to an instance that may have followers of it.
    pub(crate) fn missed(&mut self, cx: &mut Context<'_>, to: InstanceId, channel: &Channel) {
        let queue = &mut self.peer(cx.now.mono, to).queue;
        if queue.missed().is_none() {
            queue.miss(channel);
            self.tell_missed(cx, to);
        } else {
            queue.miss(channel);
        }
    }

    /// A link is confirmed: it serves its peer from here on, unless another one does.
    pub(super) fn link_open(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        instance: InstanceId,
    ) {
        let here = cx.identity.instance;
        let former = match self.peer(cx.now.mono, instance).state {
            PeerState::Unlinked { .. } | PeerState::Expecting { .. } => None,
            PeerState::Opening(other) | PeerState::Open(other) if other == key => None,
            PeerState::Opening(other) | PeerState::Open(other) => Some(other),
        };
        let former = former.and_then(|key| Some((key, self.links.get(key)?)));
        if let (Some((_, former)), Some(link)) = (former, self.links.get(key))
            && here < instance
            && former.outlives(link)
        {
            self.drop_link(cx, key);
            return;
        }
        let former = former.map(|(key, _)| key);
        self.peer(cx.now.mono, instance).state = PeerState::Open(key);
        self.links.confirm(key);
        if let Some(former) = former {
            self.drop_link(cx, former);
            self.take_back(cx, instance, 0);
        }
        cx.stats.links_opened += 1;
        membership.noticed(cx.now.mono, instance, Sign::Linked);
        cx.out.log(Log::PeerUp { instance });
        self.unflushed.push(key);
    }

    /// What was not answered waits again. A link that another one replaced has not broken.
    fn take_back(&mut self, cx: &Context<'_>, instance: InstanceId, breaks: u8) {
        if let Some(peer) = self.peers.get_mut(&instance) {
            let failed = peer.queue.take_back(breaks, cx.config.link_queue_bytes);
            self.failed.extend(failed);
        }
    }

    /// A link is gone. Its key is forgotten already. An acceptor that was proven, and ends the link
    /// before it confirms it, prefers its own.
    pub(super) fn link_gone(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        instance: InstanceId,
        proven: bool,
        failure: LinkFailure,
    ) {
        let now = cx.now.mono;
        let Some(peer) = self.peers.get_mut(&instance) else {
            return;
        };
        match peer.state {
            PeerState::Open(open) if open == key => {
                cx.out.log(Log::PeerDown { instance });
                if hooks::checks_logs_after_a_break(cx.flaws) {
                    cx.emit(Effect::Missed(MissedLogs::All));
                }
                peer.state = PeerState::Unlinked { until: now };
                let look = unlinked(cx, membership, instance);
                self.take_back(cx, instance, 1);
                let waits = (self.peers.get(&instance)).is_some_and(|peer| peer.queue.waits());
                if waits || look {
                    self.dial(cx, membership, instance);
                }
            }
            PeerState::Opening(opening) if opening == key && proven => {
                let until = now + cx.config.link_timeout;
                peer.state = PeerState::Expecting { until };
                cx.arm(until, PeersTimer::Peer(instance));
            }
            PeerState::Opening(opening) if opening == key => {
                cx.stats.links_failed += 1;
                let cooldown = match failure {
                    LinkFailure::Broken => COOLDOWN,
                    // It will never be at that address again.
                    LinkFailure::NotMe => cx.config.lease,
                };
                peer.state = PeerState::Unlinked {
                    until: now + cooldown,
                };
                unlinked(cx, membership, instance);
                self.fail_waiting(cx, instance);
            }
            PeerState::Unlinked { .. }
            | PeerState::Opening(_)
            | PeerState::Expecting { .. }
            | PeerState::Open(_) => {}
        }
    }

    /// A peer has not come that was expected.
    pub(super) fn peer_due(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        instance: InstanceId,
    ) {
        let now = cx.now.mono;
        let Some(peer) = self.peers.get_mut(&instance) else {
            return;
        };
        match peer.state {
            PeerState::Expecting { until } if until.has_come(now) => {
                peer.state = PeerState::Unlinked { until: now };
                peer.queue.forget_overdue(now);
                let waits = peer.queue.waits();
                unlinked(cx, membership, instance);
                if waits {
                    self.dial(cx, membership, instance);
                }
            }
            // It is to be told what it has missed, while it is known where it is.
            PeerState::Unlinked { until }
                if until.has_come(now) && !peer.queue.missed().is_none() =>
            {
                if membership.address(instance).is_some() {
                    self.dial(cx, membership, instance);
                }
            }
            PeerState::Expecting { .. }
            | PeerState::Unlinked { .. }
            | PeerState::Opening(_)
            | PeerState::Open(_) => {}
        }
    }

    /// An instance, which is a peer from here on.
    pub(super) fn peer(&mut self, now: Instant, instance: InstanceId) -> &mut Peer {
        (self.peers.entry(instance)).or_insert_with(|| Peer::new(now))
    }

    /// Closes a link that no longer serves its peer.
    pub(super) fn drop_link(&mut self, cx: &mut Context<'_>, key: LinkKey) {
        if self.links.end(key).is_some() {
            cx.out.push(Command::LinkClose { link: key });
        }
    }
}

/// There is no link to a peer, and none is being opened. Returns whether it is to be looked for.
fn unlinked(cx: &Context<'_>, membership: &mut Membership, instance: InstanceId) -> bool {
    membership.unlinked(cx, instance)
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
