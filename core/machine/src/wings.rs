//! The wings that serve a push, borrowed together.

use crate::context::Context;
use crate::deliver::{self, Deliveries};
use crate::membership::Membership;
use crate::peers::Peers;
use crate::terminals::Terminals;

/// The wings below the one that publishes, each by its name.
///
/// A push may need all of them in one step: it asks the membership who is there, sends to peers, and
/// serves the terminals of this instance at once. What one of them changes for another is an effect,
/// which must be [handed on](Self::carry) before anything else is asked of either, so that
/// commands leave in the order of what causes them.
#[derive(Debug)]
pub(crate) struct Wings<'a> {
    pub(crate) terminals: &'a mut Terminals,
    pub(crate) membership: &'a mut Membership,
    pub(crate) deliver: &'a mut Deliveries,
    pub(crate) peers: &'a mut Peers,
}

impl Wings<'_> {
    /// Hands on what a call has changed for other wings, in the order in which it changed.
    pub(crate) fn carry(&mut self, cx: &mut Context<'_>) {
        (self.deliver).carry(cx, self.membership, self.terminals);
        while let Some(effect) = self.deliver.next_effect() {
            match effect {
                deliver::Effect::Answer { link, delivered } => {
                    self.peers.answer(cx, link, delivered);
                }
            }
        }
    }
}
