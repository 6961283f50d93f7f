//! The terminals that are connected here: their lives, their table, what waits for each.

pub(crate) mod connection;
pub(crate) mod outbound;
pub(crate) mod registry;

use std::collections::VecDeque;

use crate::base::rng::SeededHash;
use crate::context::Context;
use crate::id::{ConnectionId, ConnectionKey};
use crate::message::Outcome;

use outbound::Ticket;
use registry::Registry;

/// The terminals of this instance.
#[derive(Clone, Debug)]
pub(crate) struct Terminals {
    pub(crate) registry: Registry,
    /// Connections with frames to write at the end of the turn.
    pub(crate) unflushed: Vec<ConnectionKey>,
    /// What is to be handed on after each call. There is none between calls of the instance.
    effects: VecDeque<Effect>,
}

/// What a change of a terminal means for others.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// A terminal is open: its row is to be written.
    Opened(ConnectionKey),
    /// A terminal is greeted as degraded: others have to ask for it.
    Degraded,
    /// The row of a degraded terminal is written, or the terminal has ended.
    DegradationEnded,
    /// A terminal's presence has ended: its row is to be removed. It may be said twice, before and
    /// after the socket goes.
    Ended(ConnectionKey),
    /// A terminal's socket has gone: it is to be forgotten
    /// ([`forget_if_gone`](Terminals::forget_if_gone)), at once if it has no row, or else when
    /// the row has gone.
    Gone(ConnectionKey),
    /// This became of a frame.
    Resolved {
        connection: ConnectionId,
        ticket: Ticket,
        outcome: Outcome,
    },
}

/// Something is due for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timer(pub(crate) ConnectionKey);

impl Terminals {
    pub(crate) fn new(hash: &SeededHash) -> Self {
        Self {
            registry: Registry::new(hash),
            unflushed: Vec::new(),
            effects: VecDeque::new(),
        }
    }

    /// The oldest effect that was not handed on.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Does what is due.
    pub(crate) fn timer_due(&mut self, cx: &mut Context<'_>, Timer(key): Timer) {
        self.connection_due(cx, key);
    }

    /// Gives the driver what was queued in this turn.
    pub(crate) fn end_turn(&mut self, cx: &mut Context<'_>) {
        let mut connections = std::mem::take(&mut self.unflushed);
        for key in connections.drain(..) {
            self.flush(cx, key);
        }
        self.unflushed = connections;
    }
}
