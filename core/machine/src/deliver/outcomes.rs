//! What becomes of deliveries: outcomes are gathered, terminal by terminal, and the publisher is answered
//! when the last one is known, or shortly before it must know.

use crate::context::Context;
use crate::deliver::Deliveries;
use crate::deliver::fate::Fate;
use crate::deliver::inbound::{Inbound, InboundProgress, Publisher};
use crate::delivery::{Delivered, Outcomes};
use crate::id::{DeliveryId, InboundKey};
use crate::message::{Counts, Hearing, Outcome};
use crate::vocabulary::delivery::{FrameOutcome, Ticket};
use crate::vocabulary::effect::Effect;

impl Deliveries {
    /// Tells the deliveries of a frame what became of it.
    pub(super) fn resolve(&mut self, cx: &mut Context<'_>, resolved: FrameOutcome) {
        let FrameOutcome {
            connection,
            ticket,
            outcome,
        } = resolved;
        let waiters = self.repeats.end(connection, ticket.push, outcome);
        for ticket in std::iter::once(ticket).chain(waiters) {
            self.set_outcome(ticket, outcome);
            self.answer_if_complete(cx, ticket.delivery);
        }
    }

    /// Takes down what became of one terminal of a delivery.
    pub(super) fn set_outcome(&mut self, ticket: Ticket, outcome: Outcome) {
        self.learn(ticket, |fate| fate.with(outcome));
    }

    /// A terminal confirms a record for which these deliveries have waited.
    pub(crate) fn confirmed(&mut self, cx: &mut Context<'_>, waited: Vec<Ticket>) {
        for ticket in waited {
            self.set_outcome(ticket, Outcome::Acked);
            self.answer_if_complete(cx, ticket.delivery);
        }
    }

    /// A terminal for whose confirmation these deliveries have waited gives none any more.
    pub(crate) fn unconfirmed(&mut self, cx: &mut Context<'_>, waited: Vec<Ticket>) {
        for ticket in waited {
            self.learn(ticket, Fate::unconfirmed);
            self.answer_if_complete(cx, ticket.delivery);
        }
    }

    pub(super) fn learn(&mut self, ticket: Ticket, fate: impl FnOnce(Fate) -> Fate) {
        // A delivery that was answered in the meantime needs no outcome.
        let Some(inbound) = self.inbound.get_mut(ticket.delivery) else {
            return;
        };
        match &mut inbound.progress {
            InboundProgress::Keys { served, open } => {
                let terminal = served.get_mut(ticket.index as usize);
                if let Some(terminal) = terminal.filter(|terminal| !terminal.fate.is_settled()) {
                    terminal.fate = fate(terminal.fate);
                    *open -= usize::from(terminal.fate.is_settled());
                }
            }
            InboundProgress::Walk(broadcasting) => broadcasting.learn(ticket.index, fate),
            // No frame of it has a ticket.
            InboundProgress::Session(_) => {}
        }
    }

    /// Answers and ends a delivery whose terminals all have an outcome.
    pub(super) fn answer_if_complete(&mut self, cx: &mut Context<'_>, key: InboundKey) {
        let Some(inbound) = self.inbound.get(key) else {
            return;
        };
        let complete = match &inbound.progress {
            InboundProgress::Keys { open, .. } => *open == 0,
            // Nobody waits for what is still open when it was answered: frames that wait at a terminal keep nothing of it.
            InboundProgress::Walk(broadcasting) => {
                broadcasting.is_complete()
                    || inbound.from == Publisher::Answered && broadcasting.is_done()
            }
            InboundProgress::Session(heard) => heard.is_some(),
        };
        if !complete {
            return;
        }
        let Some(inbound) = self.inbound.remove(key) else {
            return;
        };
        if let InboundProgress::Walk(broadcasting) = &inbound.progress
            && broadcasting.is_first()
        {
            let counts = broadcasting.split_counts();
            for waiter in self
                .repeats
                .end_broadcast(&broadcasting.id(inbound.push), counts)
            {
                self.first_broadcast_ended(cx, waiter, counts);
            }
        }
        let outcomes = inbound.outcomes();
        self.answer(cx, inbound.from, inbound.delivery, outcomes);
    }

    /// The publisher must know: terminals without an outcome count as queued.
    pub(super) fn inbound_due(&mut self, cx: &mut Context<'_>, key: InboundKey) {
        let Some(inbound) = self.inbound.get_mut(key) else {
            return;
        };
        let from = std::mem::replace(&mut inbound.from, Publisher::Answered);
        let delivery = inbound.delivery;
        let outcomes = inbound.outcomes();
        let goes_on = match &mut inbound.progress {
            InboundProgress::Keys { .. } | InboundProgress::Session(_) => false,
            // Until everybody is served. Nobody waits for confirmations any more.
            InboundProgress::Walk(broadcasting) => {
                broadcasting.await_no_more();
                broadcasting.is_first()
            }
        };
        if !goes_on {
            self.inbound.remove(key);
        }
        self.answer(cx, from, delivery, outcomes);
        self.answer_if_complete(cx, key);
    }

    /// The instance ends: all publishers are told what is known.
    pub(crate) fn answer_all(&mut self, cx: &mut Context<'_>) {
        let keys: Vec<InboundKey> = self.inbound.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.inbound_due(cx, key);
        }
    }

    pub(super) fn answer(
        &mut self,
        cx: &mut Context<'_>,
        from: Publisher,
        delivery: DeliveryId,
        outcomes: Outcomes,
    ) {
        let delivered = Delivered { delivery, outcomes };
        match from {
            Publisher::Here => self.answers_here.push(delivered),
            Publisher::Link(link) => cx.emit(Effect::Answered { link, delivered }),
            Publisher::Answered => {}
        }
    }
}

impl Inbound {
    fn outcomes(&self) -> Outcomes {
        match &self.progress {
            InboundProgress::Keys { served, .. } => Outcomes::Keys(
                (served.iter())
                    .map(|terminal| {
                        let outcome = terminal.fate.outcome();
                        (terminal.addressee, terminal.connection, outcome)
                    })
                    .collect(),
            ),
            InboundProgress::Walk(broadcasting) => {
                let counts = broadcasting.counts();
                // A repeat may tell of confirmations for which it has not waited.
                match broadcasting.awaits_confirmations() || counts.acked > 0 {
                    true => Outcomes::Confirmed(counts, counts.acked),
                    false => Outcomes::Counted(counts),
                }
            }
            InboundProgress::Session(heard) => {
                let mut counts = Counts::default();
                counts.add(heard.map_or(Outcome::Queued, Hearing::outcome));
                Outcomes::Counted(counts)
            }
        }
    }
}
