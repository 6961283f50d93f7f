//! The wings that serve a push, borrowed together, and the way of effects.
//!
//! # Effects
//!
//! A wing may touch those that its arrows lead to. What a call of it means for another is an
//! [`Effect`]: the wing emits it ([`Context::emit`]), and it is carried when the call has ended, in the
//! order in which it was emitted, *before anything else is asked of either*. So commands leave in the
//! order of what causes them. [`Wings::carry`] takes effects to the wings that it holds, whoever has called:
//! the instance after each event, timer and operation, or the publisher after a delivery to terminals
//! of its own. An effect for a wing that is not below the publisher is handed back to the instance.
//!
//! | effect | emitted by | carried to |
//! |---|---|---|
//! | `Terminal` | terminals | membership |
//! | `Terminal` | terminals | follow, after membership |
//! | `TopicJoined`, `TopicEmpty` | terminals | membership |
//! | `Watching` | terminals | presence |
//! | `HasRoom` | terminals | follow |
//! | `RowAsked`, `TopicRowAsked` | membership | follow |
//! | `TopicFollowed` | terminals | follow, and deliver for those that have waited |
//! | `TopicUnfollowed` | terminals | follow, and deliver for those that have waited |
//! | `Acked` | terminals | follow, and deliver for those that have waited |
//! | `Missed` | membership, peers | follow |
//! | `Answered` | deliver | peers |
//! | `Deliver` | peers | deliver |
//! | `Delivered` | peers | publish, by the instance |
//! | `DirectoryWorks` | peers | drain, by the instance |
//! | `Claimed` | membership | drain and membership, by the instance |
//! | `Leases`, `ViewFailed` | membership | peers and publish, by the instance |
//!
//! What became of a frame is no effect: whoever has its ticket takes it
//! ([`Deliveries::take_outcomes`]).
//!
//! # Bounds
//!
//! Nothing waits between calls of the instance. Within one:
//!
//! - A call changes a terminal [a few times](CHANGES) at most, and each of its memberships once, so that changes
//!   are bounded by the connections and their topics.
//! - Each delivery is answered once, so that answers are bounded by the deliveries that were open.
//! - Everything else comes alone: one message of a batch, and one operation, is taken up at a time, and
//!   what it means is carried before the next.
//! - Outcomes of frames are taken after each call that could end some, which is about one terminal, or about so many
//!   members of a topic as are told in one step: they are bounded by what waits for each of these, and one for a push
//!   that closes it.

use std::time::Duration;

use crate::channel::Channel;
use crate::context::Context;
use crate::deliver::{Deliveries, Publisher};
use crate::delivery::Delivery;
use crate::follow::Followers;
use crate::membership::Membership;
use crate::peers::Peers;
use crate::presence::Presences;
use crate::terminals::Terminals;
use crate::vocabulary::effect::Effect;
use crate::vocabulary::missed::MissedLogs;
use crate::vocabulary::terminal::TerminalChange;

/// How often a terminal can change in one call: it is greeted as degraded, it is not degraded any more,
/// and it ends; or the latter two, and its socket goes.
const CHANGES: usize = 3;

/// The wings below the one that publishes, each by its name.
///
/// A push may need all of them in one step: it asks the membership who is there, sends to peers, and
/// serves the terminals of this instance at once.
#[derive(Debug)]
pub(crate) struct Wings<'a> {
    pub(crate) terminals: &'a mut Terminals,
    pub(crate) membership: &'a mut Membership,
    pub(crate) deliver: &'a mut Deliveries,
    pub(crate) follow: &'a mut Followers,
    pub(crate) peers: &'a mut Peers,
    pub(crate) presence: &'a mut Presences,
}

impl Wings<'_> {
    /// Serves terminals of this instance for its own publisher.
    pub(crate) fn deliver_here(&mut self, cx: &mut Context<'_>, delivery: Delivery) {
        (self.deliver).deliver(
            cx,
            self.follow,
            self.terminals,
            Publisher::Here,
            Duration::ZERO,
            delivery,
        );
        if self.carry(cx).is_some() {
            cx.bug("a delivery means something for those above the publisher");
        }
    }

    /// Carries effects until none waits, or until one is for a wing that is not here: that is returned,
    /// and the rest is to be carried after it.
    pub(crate) fn carry(&mut self, cx: &mut Context<'_>) -> Option<Effect> {
        debug_assert!(
            cx.waiting_changes()
                <= CHANGES * self.terminals.len() * (1 + cx.config.connection_topics),
            "terminals change more often than they can"
        );
        self.deliver.take_outcomes(cx, self.terminals);
        while let Some(effect) = cx.next_effect() {
            match effect {
                Effect::Terminal(change) => {
                    (self.membership).terminal_changed(cx, self.terminals, change);
                    self.follower_changed(cx, change);
                }
                Effect::TopicJoined(topic) => {
                    self.membership.topic_joined(cx, self.terminals, &topic);
                }
                Effect::TopicEmpty(topic) => {
                    self.membership.topic_empty(cx, self.terminals, topic);
                }
                Effect::Watching(topic, connection) => {
                    (self.presence).watching(cx, self.terminals, topic, connection);
                }
                Effect::HasRoom(connection) => self.follow.has_room(connection),
                Effect::RowAsked(connection) => {
                    self.follow.row_asked(cx, connection);
                }
                Effect::TopicFollowed(topic, connection, asked) => {
                    let waited = self.follow.attach(cx, connection, &topic.into(), *asked);
                    self.deliver.unconfirmed(cx, waited);
                }
                Effect::TopicUnfollowed(topic, connection) => {
                    let waited = self.follow.left(connection, &topic.into());
                    self.deliver.unconfirmed(cx, waited);
                }
                Effect::TopicRowAsked(topic) => self.follow.topic_row_asked(topic),
                Effect::Acked(connection, topic, position) => {
                    let by = (connection, topic);
                    let waited = self.follow.acked(cx, self.terminals, by, position);
                    self.deliver.confirmed(cx, waited);
                }
                Effect::Missed(MissedLogs::All) => self.follow.check_all(cx),
                Effect::Missed(MissedLogs::Of(channels)) => {
                    self.follow.check_logs(cx, &channels);
                }
                Effect::Answered { link, delivered } => self.peers.answer(cx, link, delivered),
                Effect::Deliver {
                    link,
                    round_trip,
                    delivery,
                } => {
                    let from = Publisher::Link(link);
                    (self.deliver).deliver(
                        cx,
                        self.follow,
                        self.terminals,
                        from,
                        round_trip,
                        *delivery,
                    );
                }
                effect @ (Effect::Delivered { .. }
                | Effect::DirectoryWorks
                | Effect::Claimed { .. }
                | Effect::Leases { .. }
                | Effect::ViewFailed) => {
                    debug_assert!(!cx.has_effects(), "it comes alone");
                    return Some(effect);
                }
            }
        }
        None
    }

    /// A follower comes or goes.
    fn follower_changed(&mut self, cx: &mut Context<'_>, change: TerminalChange) {
        match change {
            TerminalChange::Opened(connection) => {
                let Some(asked) = self.terminals.take_follow(connection) else {
                    return;
                };
                if let Some(terminal) = self.terminals.get(connection) {
                    let channel = Channel::from(terminal.key);
                    // It has followed nothing before.
                    let _waited = self.follow.attach(cx, connection, &channel, asked);
                }
            }
            TerminalChange::Ended(connection) => {
                let waited = self.follow.ended(connection);
                self.deliver.unconfirmed(cx, waited);
            }
            TerminalChange::Degraded
            | TerminalChange::DegradationEnded
            | TerminalChange::Gone(_) => {}
        }
    }
}
