//! The handshake of a link: who proves what, and what ends it.

use bytes::Bytes;

use crate::command::{Command, Log};
use crate::context::Context;
use crate::event::LinkFailure;
use crate::id::{InstanceId, LinkKey};
use crate::membership::Membership;
use crate::peers::alike::Alike;
use crate::peers::link::LinkStage;
use crate::peers::peer::PeerState;
use crate::peers::round_trip::RoundTripTime;
use crate::peers::wire::{self, Hello, Message, Role, Transcript, WireError};
use crate::peers::{Peers, Said, hooks};
use crate::vocabulary::service::Service;

impl Peers {
    /// The driver has connected a link that was dialled.
    pub(crate) fn link_up(&mut self, cx: &mut Context<'_>, key: LinkKey) {
        let nonce = cx.random.nonces.bytes16();
        let Some(link) = self.links.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        let Some(to) = link.peer.filter(|_| link.stage == LinkStage::Dialled) else {
            cx.stats.stale_events += 1;
            return;
        };
        link.stage = LinkStage::Greeting { nonce };
        link.round_trip = RoundTripTime::new(cx.now.mono);
        link.writing = true;
        let hello = Hello::new(cx.identity.instance, to, nonce, Alike::of(cx.config));
        let batch = wire::encode_hello(&hello);
        cx.out.push(Command::LinkWrite { link: key, batch });
    }

    /// A batch came over a link. What belongs to the handshake is dealt with; what an open link
    /// carries is returned, to be taken [message by message](Self::take_up).
    pub(crate) fn received(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        batch: &Bytes,
    ) -> Option<Said> {
        let Some(link) = self.links.get_mut(key) else {
            cx.stats.stale_events += 1;
            return None;
        };
        link.heard = cx.now.mono;
        match &link.stage {
            LinkStage::Dialled => {
                cx.stats.stale_events += 1;
                None
            }
            LinkStage::Greeting { nonce } => {
                let nonce = *nonce;
                self.greeted_by_acceptor(cx, membership, key, nonce, batch);
                None
            }
            LinkStage::Accepted => {
                self.greeted_by_dialler(cx, membership, key, batch);
                None
            }
            LinkStage::Proven => {
                link.stage = LinkStage::Open;
                let peer = link.peer;
                self.arm_heartbeat(cx, key);
                if let Some(peer) = peer {
                    self.link_open(cx, membership, key, peer);
                }
                if self.service != Service::Full {
                    self.say_service(cx, key);
                }
                self.decode(cx, membership, key, batch)
            }
            LinkStage::Proving { .. } | LinkStage::Open => self.decode(cx, membership, key, batch),
        }
    }

    /// The dialler's Hello: it is answered with ours and our proof.
    fn greeted_by_dialler(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        batch: &[u8],
    ) {
        let here = cx.identity.instance;
        let hello = match wire::decode_hello(batch) {
            Ok(hello) if hello.to == here && hello.from != here => hello,
            Ok(_) => {
                return self.misbehaved(cx, membership, key, "a Hello for another instance");
            }
            Err(error) => return self.hello_refused(cx, membership, key, error),
        };
        let nonce = cx.random.nonces.bytes16();
        let answer = Hello::new(here, hello.from, nonce, Alike::of(cx.config));
        let transcript = Transcript::of(&hello, &answer);
        let answer = answer.with_proof(transcript.prove(&cx.identity.secret, Role::Acceptor));
        if let Some(link) = self.links.get_mut(key) {
            link.stage = LinkStage::Proving { transcript };
            link.round_trip = RoundTripTime::new(cx.now.mono);
            link.peer = Some(hello.from);
            link.writing = true;
        }
        let batch = wire::encode_hello(&answer);
        cx.out.push(Command::LinkWrite { link: key, batch });
    }

    /// The acceptor's Hello, with its proof: it is answered with ours.
    fn greeted_by_acceptor(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        nonce: [u8; 16],
        batch: &[u8],
    ) {
        let here = cx.identity.instance;
        let expected = self.links.get(key).and_then(|link| link.peer);
        let hello = match wire::decode_hello(batch) {
            Ok(hello) if hello.to == here && Some(hello.from) == expected => hello,
            Ok(_) => {
                cx.stats.peers_refused += 1;
                return self.end_link(cx, membership, key, LinkFailure::NotMe);
            }
            Err(error) => return self.hello_refused(cx, membership, key, error),
        };
        let ours = Hello::new(here, hello.from, nonce, Alike::of(cx.config));
        let transcript = Transcript::of(&ours, &hello);
        let proven = (hello.proof.as_ref())
            .is_some_and(|proof| transcript.verify(&cx.identity.secret, Role::Acceptor, proof));
        if !proven {
            return self.wrong_secret(cx, membership, key, hello.from);
        }
        self.link_proven(cx, key, hello.from, &hello.alike);
        let proof = transcript.prove(&cx.identity.secret, hooks::role_of_dialler(cx.flaws));
        if let Some(link) = self.links.get_mut(key) {
            link.stage = LinkStage::Proven;
        }
        self.say(cx, key, Message::Proof(proof));
    }

    fn decode(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        batch: &Bytes,
    ) -> Option<Said> {
        let what = match wire::decode_batch(batch) {
            Ok(messages) => {
                let messages = messages.into_iter();
                return Some(Said {
                    link: key,
                    messages,
                });
            }
            Err(WireError::Malformed(what)) => what,
            Err(WireError::NotOurs | WireError::Version { .. }) => "a second Hello",
        };
        self.misbehaved(cx, membership, key, what);
        None
    }

    /// The dialler's first message: its proof, which is answered with a heartbeat.
    pub(super) fn proven_by_dialler(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        transcript: &Transcript,
        message: &Message,
    ) {
        let from = transcript.dialler;
        let Message::Proof(proof) = message else {
            return self.misbehaved(cx, membership, key, "a message before its proof");
        };
        if !transcript.verify(&cx.identity.secret, Role::Dialler, proof) {
            return self.wrong_secret(cx, membership, key, from);
        }
        if self.links.counted() >= cx.config.links {
            // Others were quicker.
            return self.end_link(cx, membership, key, LinkFailure::Broken);
        }
        self.link_proven(cx, key, from, &transcript.dialler_alike);
        if let Some(link) = self.links.get_mut(key) {
            link.stage = LinkStage::Open;
        }
        self.link_open(cx, membership, key, from);
        // It confirms the link to the dialler.
        self.heartbeat(cx, key);
    }

    /// The other end knows the cluster's secret, and has these settings.
    fn link_proven(
        &mut self,
        cx: &mut Context<'_>,
        key: LinkKey,
        instance: InstanceId,
        theirs: &Alike,
    ) {
        self.links.no_stranger(key);
        cx.out.push(Command::LinkProven { link: key });
        let ours = Alike::of(cx.config);
        if let Some(link) = self.links.get_mut(key) {
            link.round_trip.greeted(cx.now.mono);
            link.heartbeat = ours.link_heartbeat().max(theirs.link_heartbeat());
        }
        let differences = ours.differences(theirs);
        if !differences.is_empty() {
            cx.stats.peers_differ += 1;
            cx.out.log(Log::SettingsDiffer {
                instance,
                differences,
            });
        }
    }

    fn hello_refused(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        error: WireError,
    ) {
        match error {
            WireError::Version { theirs, from } => {
                cx.stats.peers_refused += 1;
                cx.out.log(Log::WireVersion {
                    ours: wire::VERSION,
                    theirs,
                    instance: from,
                });
                self.end_link(cx, membership, key, LinkFailure::Broken);
            }
            WireError::NotOurs => {
                self.misbehaved(cx, membership, key, "something that is not a Hello");
            }
            WireError::Malformed(what) => self.misbehaved(cx, membership, key, what),
        }
    }

    fn wrong_secret(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        instance: InstanceId,
    ) {
        cx.stats.peers_refused += 1;
        cx.out.log(Log::WrongSecret { instance });
        self.end_link(cx, membership, key, LinkFailure::Broken);
    }

    /// The other end of a link said what no instance says: the link ends.
    pub(crate) fn misbehaved(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        what: &'static str,
    ) {
        cx.stats.peers_refused += 1;
        cx.out.log(Log::PeerMisbehaved { what });
        self.end_link(cx, membership, key, LinkFailure::Broken);
    }

    /// The driver says that a link is gone.
    pub(crate) fn link_down(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        failure: LinkFailure,
    ) {
        if let Some(link) = self.links.get(key)
            && let (LinkStage::Proving { .. }, Some(instance)) = (&link.stage, link.peer)
        {
            self.unproven(cx, membership, instance);
        }
        self.forget_link(cx, membership, key, failure);
    }

    fn forget_link(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        failure: LinkFailure,
    ) {
        let Some(link) = self.links.end(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        if let Some(instance) = link.peer {
            let proven = link.stage == LinkStage::Proven;
            self.link_gone(cx, membership, key, instance, proven, failure);
        }
    }

    /// Whoever opened a link has ended it when it had this instance's proof: it does not count there. Ids that
    /// nobody knows are any stranger's, or of somebody who tries what is here. With a link to the
    /// same instance, or one under way, the other one was needless.
    fn unproven(&self, cx: &mut Context<'_>, membership: &Membership, instance: InstanceId) {
        let state = self.peers.get(&instance).map(|peer| peer.state);
        let alone = matches!(state, None | Some(PeerState::Unlinked { .. }));
        if alone && membership.address(instance).is_some() {
            cx.stats.peers_refused += 1;
            cx.out.log(Log::Unproven { instance });
        }
    }

    /// Ends a link from this side.
    pub(super) fn end_link(
        &mut self,
        cx: &mut Context<'_>,
        membership: &mut Membership,
        key: LinkKey,
        failure: LinkFailure,
    ) {
        if self.links.get(key).is_some() {
            cx.out.push(Command::LinkClose { link: key });
            self.forget_link(cx, membership, key, failure);
        }
    }
}
