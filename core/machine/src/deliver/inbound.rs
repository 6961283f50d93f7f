//! Deliveries at the instance that owns the terminals: frames are queued, outcomes gathered, and
//! the publisher is answered when the last frame is written, or shortly before it must know.

use std::hash::Hasher;
use std::time::Duration;

use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaw;
use crate::base::selected::Selected;
use crate::command::Outbox;
use crate::config::Config;
use crate::context::Base;
use crate::deliver::broadcast::Broadcasting;
use crate::delivery::{Addressee, Addressees, Ask, Deliver, Delivered, Outcomes};
use crate::frame::Payload;
use crate::id::{ConnectionId, ConnectionKey, DeliveryId, InboundKey, LinkKey, PushId, UserId};
use crate::instance::{Instance, Timer};
use crate::message::{Action, Outcome};
use crate::terminals::connection::Waiting;
use crate::terminals::outbound::Ticket;
use crate::time::{Instant, Now};

/// An answer leaves so long before the publisher's deadline that it arrives in time.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);

/// One delivery that is not over.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    pub(crate) push: PushId,
    delivery: DeliveryId,
    from: From,
    answer_by: Instant,
    pub(crate) progress: Progress,
}

/// Whom to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum From {
    /// This instance publishes.
    Here,
    /// Another one does, over this link.
    Link(LinkKey),
    /// It was answered already; its frames go on.
    Answered,
}

/// What is known of a delivery's terminals.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// Terminals of users.
    Users {
        /// The terminals, in the order they were found.
        terminals: Vec<Terminal>,
        /// How many have no outcome yet.
        open: usize,
    },
    /// All terminals.
    Everyone(Broadcasting),
}

/// One terminal of a delivery.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Terminal {
    addressee: u32,
    connection: ConnectionId,
    outcome: Option<Outcome>,
}

impl Instance {
    /// Takes a delivery, of this instance or over a link.
    pub(crate) fn deliver(&mut self, now: Now, from: From, deliver: Deliver, out: &mut Outbox) {
        let within = deliver.within.min(Config::DEADLINE_MAX);
        let margin = ANSWER_MARGIN.min(within / 2);
        let mut inbound = Inbound {
            push: deliver.push,
            delivery: deliver.delivery,
            from,
            answer_by: now.mono + (within - margin),
            progress: Progress::Users {
                terminals: Vec::new(),
                open: 0,
            },
        };
        match deliver.to {
            Addressees::Everyone => {
                inbound.progress = Progress::Everyone(Broadcasting::new(
                    deliver.action,
                    self.terminals.registry.present(),
                ));
                let key = self.begin_inbound(inbound);
                self.begin_broadcast(now, key);
            }
            Addressees::Users(addressees) => {
                let key = self.begin_inbound(inbound);
                for (index, addressee) in (0..).zip(addressees) {
                    self.serve(now, key, index, &addressee, &deliver.action, out);
                }
                self.answer_if_complete(key);
            }
        }
    }

    fn begin_inbound(&mut self, inbound: Inbound) -> InboundKey {
        let answer_by = inbound.answer_by;
        let key = self.deliver.inbound.insert(inbound);
        self.base.timers.arm(answer_by, Timer::Inbound(key));
        key
    }

    /// Serves the terminals of one user.
    fn serve(
        &mut self,
        now: Now,
        key: InboundKey,
        index: u32,
        addressee: &Addressee,
        action: &Action,
        out: &mut Outbox,
    ) {
        for connection in &addressee.named {
            self.serve_one(now, key, index, &addressee.user, *connection, action, out);
        }
        let Some(push) = self.deliver.inbound.get(key).map(|inbound| inbound.push) else {
            return;
        };
        let mut asked = match &addressee.ask {
            Ask::Nobody => return,
            Ask::All => self.greeted_of(&addressee.user),
            Ask::Only(connections) => {
                let selected = Selected::only(connections);
                let mut greeted = self.greeted_of(&addressee.user);
                greeted.retain(|connection| selected.contains(*connection));
                greeted
            }
        };
        if !self
            .deliver
            .repeats
            .begin_ask(now.mono, push, &addressee.user)
        {
            asked.retain(|connection| self.deliver.repeats.knows(*connection, push));
        }
        let named = Selected::only(&addressee.named);
        for connection in asked {
            if !named.contains(connection) {
                self.serve_one(now, key, index, &addressee.user, connection, action, out);
            }
        }
    }

    /// The greeted connections of a user, oldest first.
    pub(crate) fn greeted_of(&self, user: &UserId) -> Vec<ConnectionId> {
        (self.terminals.registry.of_user(user).iter())
            .filter_map(|key| self.terminals.registry.get(*key))
            .filter(|connection| connection.is_live())
            .map(|connection| connection.id)
            .collect()
    }

    #[expect(clippy::too_many_arguments, reason = "each names another thing")]
    fn serve_one(
        &mut self,
        now: Now,
        key: InboundKey,
        addressee: u32,
        user: &UserId,
        connection: ConnectionId,
        action: &Action,
        out: &mut Outbox,
    ) {
        let Some(inbound) = self.deliver.inbound.get_mut(key) else {
            self.bug("a delivery ended while its terminals were being found");
            return;
        };
        let Progress::Users { terminals, open } = &mut inbound.progress else {
            self.bug("a delivery to everyone has users");
            return;
        };
        let ticket = Ticket {
            delivery: key,
            index: u32::try_from(terminals.len()).unwrap_or(u32::MAX),
            push: inbound.push,
        };
        *open += 1;
        terminals.push(Terminal {
            addressee,
            connection,
            outcome: None,
        });
        match self.deliver.repeats.known(now.mono, connection, ticket) {
            Some(known) if !self.base.flaws.has(Flaw::RepeatNotRecognised) => {
                self.base.stats.repeats += 1;
                if let Some(outcome) = known.outcome() {
                    self.set_outcome(ticket, outcome);
                }
            }
            Some(_) | None => self.hand_over(now, ticket, user, connection, action, out),
        }
    }

    fn hand_over(
        &mut self,
        now: Now,
        ticket: Ticket,
        user: &UserId,
        connection: ConnectionId,
        action: &Action,
        out: &mut Outbox,
    ) {
        let key = (self.terminals.registry.find(connection)).filter(|key| {
            (self.terminals.registry.get(*key)).is_some_and(|found| found.user == *user)
        });
        let Some(key) = key else {
            self.set_outcome(ticket, Outcome::Gone);
            return;
        };
        self.deliver
            .repeats
            .begin(now.mono, connection, ticket.push);
        if self.base.flaws.has(Flaw::QueuedSaidWritten) {
            self.set_outcome(ticket, Outcome::Written);
        }
        if let Err(outcome) = self.act(now, key, action, ticket, out) {
            self.deliver.repeats.end(connection, ticket.push, outcome);
            self.set_outcome(ticket, outcome);
        }
    }

    /// Does to one terminal what a push says. The ticket will be told.
    ///
    /// # Errors
    ///
    /// What became of it, if nothing will be told.
    pub(crate) fn act(
        &mut self,
        now: Now,
        key: ConnectionKey,
        action: &Action,
        ticket: Ticket,
        out: &mut Outbox,
    ) -> Result<(), Outcome> {
        match action {
            Action::Frame(payload) => {
                let guesses = self.base.flaws.has(Flaw::KindGuessed);
                let guessed = guesses.then(|| Payload::text(payload.bytes().clone()).ok());
                let payload = guessed.flatten().unwrap_or_else(|| payload.clone());
                let cx = &mut self.base.context(now, out);
                let offered = self.terminals.offer(cx, key, payload, ticket);
                self.carry(now, out);
                offered
            }
            Action::Close(code) => {
                self.close(now, key, *code, Waiting::Write, Some(ticket), out);
                Ok(())
            }
        }
    }

    /// Tells the deliveries of a frame of one connection what became of it.
    pub(crate) fn resolve(&mut self, connection: ConnectionId, ticket: Ticket, outcome: Outcome) {
        let waiters = self.deliver.repeats.end(connection, ticket.push, outcome);
        for ticket in std::iter::once(ticket).chain(waiters) {
            self.set_outcome(ticket, outcome);
            self.answer_if_complete(ticket.delivery);
        }
    }

    /// Takes down what became of one terminal of a delivery.
    pub(crate) fn set_outcome(&mut self, ticket: Ticket, outcome: Outcome) {
        // A delivery that was answered in the meantime needs no outcome.
        let Some(inbound) = self.deliver.inbound.get_mut(ticket.delivery) else {
            return;
        };
        match &mut inbound.progress {
            Progress::Users { terminals, open } => {
                let terminal = terminals.get_mut(ticket.index as usize);
                if let Some(terminal) = terminal.filter(|terminal| terminal.outcome.is_none()) {
                    terminal.outcome = Some(outcome);
                    *open -= 1;
                }
            }
            Progress::Everyone(broadcasting) => broadcasting.resolved(outcome),
        }
    }

    /// Answers and ends a delivery whose terminals all have an outcome.
    pub(crate) fn answer_if_complete(&mut self, key: InboundKey) {
        let Some(inbound) = self.deliver.inbound.get(key) else {
            return;
        };
        let complete = match &inbound.progress {
            Progress::Users { open, .. } => *open == 0,
            Progress::Everyone(broadcasting) => broadcasting.is_complete(),
        };
        if !complete {
            return;
        }
        let Some(inbound) = self.deliver.inbound.remove(key) else {
            return;
        };
        if let Progress::Everyone(broadcasting) = &inbound.progress
            && broadcasting.is_first()
        {
            let counts = broadcasting.counts();
            for waiter in self.deliver.repeats.end_broadcast(inbound.push, counts) {
                self.first_broadcast_ended(waiter, counts);
            }
        }
        let outcomes = inbound.outcomes();
        self.answer(inbound.from, inbound.delivery, outcomes);
    }

    /// The publisher must know: what has no outcome is queued.
    pub(crate) fn inbound_due(&mut self, key: InboundKey) {
        let Some(inbound) = self.deliver.inbound.get_mut(key) else {
            return;
        };
        let from = std::mem::replace(&mut inbound.from, From::Answered);
        let delivery = inbound.delivery;
        let Some(inbound) = self.deliver.inbound.get(key) else {
            return;
        };
        let outcomes = inbound.outcomes();
        let goes_on = match &inbound.progress {
            Progress::Users { .. } => false,
            // Until everybody is served.
            Progress::Everyone(broadcasting) => broadcasting.is_first(),
        };
        if !goes_on {
            self.deliver.inbound.remove(key);
        }
        self.answer(from, delivery, outcomes);
    }

    /// The instance ends: all publishers are told what is known.
    pub(crate) fn answer_inbound(&mut self) {
        let keys: Vec<InboundKey> = self.deliver.inbound.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.inbound_due(key);
        }
    }

    fn answer(&mut self, from: From, delivery: DeliveryId, outcomes: Outcomes) {
        let delivered = Delivered { delivery, outcomes };
        match from {
            // Taken up at the end of the turn, when nothing is half done.
            From::Here => self.publish.delivered.push(delivered),
            From::Link(link) => {
                let Base { config, stats, .. } = &mut self.base;
                self.peers.answer(config, stats, link, delivered);
            }
            From::Answered => {}
        }
    }
}

impl Inbound {
    fn outcomes(&self) -> Outcomes {
        match &self.progress {
            Progress::Users { terminals, .. } => Outcomes::Users(
                (terminals.iter())
                    .map(|terminal| {
                        let outcome = terminal.outcome.unwrap_or(Outcome::Queued);
                        (terminal.addressee, terminal.connection, outcome)
                    })
                    .collect(),
            ),
            Progress::Everyone(broadcasting) => Outcomes::Everyone(broadcasting.counts()),
        }
    }
}

impl Fingerprint for Inbound {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.push.fingerprint(now, hasher);
        self.delivery.fingerprint(now, hasher);
        std::hash::Hash::hash(&self.from, hasher);
        self.answer_by.fingerprint(now, hasher);
        match &self.progress {
            Progress::Users { terminals, .. } => std::hash::Hash::hash(terminals, hasher),
            Progress::Everyone(broadcasting) => broadcasting.fingerprint(now, hasher),
        }
    }
}
