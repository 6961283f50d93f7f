//! Deliveries at the instance that owns the terminals: for each, its terminals are found and their frames
//! queued.

use std::hash::Hasher;
use std::time::Duration;

use crate::base::few::Few;
use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaws;
use crate::base::selected::Selected;
use crate::channel::Channel;
use crate::command::{Command, RelayedFrame};
use crate::config::Config;
use crate::context::Context;
use crate::deliver::Deliveries;
use crate::deliver::fate::Fate;
use crate::deliver::walk::{Broadcasting, WalkRecord, WalkRoute};
use crate::deliver::{hooks, list};
use crate::delivery::{Addressees, Ask, Delivery, Recorded};
use crate::follow::{Confirmation, Followers};
use crate::frame::{CloseCode, Pushed};
use crate::id::{
    ConnectionId, ConnectionKey, DeliveryId, FollowerKey, InboundKey, LinkKey, LogKey, PushId,
    SessionName, TopicId,
};
use crate::key::Key;
use crate::message::{Action, Hearing, Outcome, PushedBy, Until};
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::delivery::{ChainedRecord, Deed, Ticket};
use crate::vocabulary::timer::DeliverTimer;

/// One delivery that is not over.
#[derive(Clone, Debug)]
pub(super) struct Inbound {
    pub(super) push: PushId,
    /// The publisher's name for it.
    pub(super) delivery: DeliveryId,
    pub(super) from: Publisher,
    /// When the answer must leave, whatever is known.
    pub(super) answer_by: Instant,
    pub(super) progress: InboundProgress,
}

/// Where the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Publisher {
    /// To this instance itself, which publishes.
    Here,
    /// Another one does, over this link.
    Link(LinkKey),
    /// It was answered already; its frames go on.
    Answered,
}

/// What is known of a delivery's terminals.
#[derive(Clone, Debug)]
pub(super) enum InboundProgress {
    /// Of terminals that were found by keys: each by itself.
    Keys {
        /// The terminals, in the order they were found.
        served: Few<ServedTerminal>,
        /// How many have no outcome yet.
        open: usize,
    },
    /// All terminals of this instance, or the members of topics, in a walk.
    Walk(Box<Broadcasting>),
    /// A terminal that is to be heard. `None`: it is not known what became of that.
    Session(Option<Hearing>),
}

/// One terminal of a delivery.
#[derive(Clone, Debug, Hash)]
pub(super) struct ServedTerminal {
    /// The index of its key among the addressees.
    pub(super) addressee: u32,
    pub(super) connection: ConnectionId,
    pub(super) fate: Fate,
}

/// What a delivery asks for one key.
#[derive(Clone, Copy, Debug)]
struct Share<'a> {
    delivery: InboundKey,
    push: PushId,
    /// The index of the key among the addressees.
    addressee: u32,
    key: &'a Key,
    deed: &'a Deed,
    /// The push as a record of its log, for followers.
    record: Option<&'a ChainedRecord>,
    /// The log of the key, if anybody follows it.
    log: Option<LogKey>,
    /// What their outcome waits for.
    until: Until,
    /// When the delivery is answered in any case.
    answer_by: Instant,
}

impl Deed {
    /// What the terminals are found by: a key, or as members of a topic. Neither: all are meant.
    pub(super) fn new(
        flaws: Flaws,
        push: PushId,
        (key, topic): (Option<&Key>, Option<&TopicId>),
        action: &Action,
    ) -> Self {
        match action {
            Action::Frame(payload) => {
                let payload = hooks::with_its_kind(flaws, payload);
                Self::Tell(match topic {
                    Some(topic) => Pushed::to_topic(push, topic.clone(), payload),
                    None => Pushed::new(push, key.cloned(), payload),
                })
            }
            Action::Close(code) => Self::Close(*code),
            Action::Join(topic) => Self::Join(topic.clone()),
            Action::Leave(topic) => Self::Leave(topic.clone()),
            // It is answered before anything is done.
            Action::List { .. } => Self::Close(CloseCode::ServiceRestart),
        }
    }
}

/// A push as a record of a log.
fn record(
    push: PushId,
    channel: Channel,
    Recorded { place, .. }: Recorded,
    action: &Action,
) -> Option<ChainedRecord> {
    let Action::Frame(payload) = action else {
        return None;
    };
    let pushed = Pushed::record(push, channel, place.position, payload.clone());
    Some(ChainedRecord { place, pushed })
}

impl Deliveries {
    /// Takes a delivery, of this instance or over a link, on which what is said takes so long to be
    /// answered.
    pub(crate) fn deliver(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        from: Publisher,
        round_trip: Duration,
        delivery: Delivery,
    ) {
        if let Action::List { order, limit } = &delivery.action {
            let listed = list::of(terminals, follow, &delivery.to, order, *limit);
            return self.answer(cx, from, delivery.id, listed);
        }
        let within = delivery.within.min(Config::DEADLINE_MAX);
        let answer_by = cx.now.mono + (within - margin(within, round_trip));
        let mut inbound = Inbound {
            push: delivery.push,
            delivery: delivery.id,
            from,
            answer_by,
            progress: InboundProgress::Keys {
                served: Few::new(),
                open: 0,
            },
        };
        let walk = |cx: &Context<'_>, terminals: &Terminals, route| {
            Broadcasting::new(cx.flaws, delivery.push, &delivery.action, route, terminals)
        };
        match delivery.to {
            Addressees::Session(session) => {
                inbound.progress = InboundProgress::Session(None);
                let key = self.begin_inbound(cx, inbound);
                self.hear(cx, key, session, delivery.action);
            }
            Addressees::Everyone => {
                let route = WalkRoute::Everyone;
                let by = PushedBy::Application;
                let walk = walk(cx, terminals, (route, by));
                self.begin_on_route(cx, follow, terminals, inbound, walk);
            }
            Addressees::Members { topics, except, by } => {
                let route = WalkRoute::of_members(topics, except);
                let walk = walk(cx, terminals, (route, by));
                self.begin_on_route(cx, follow, terminals, inbound, walk);
            }
            Addressees::Record {
                topic,
                except,
                by,
                record: recorded,
                breadth,
            } => {
                let channel = Channel::from(topic.clone());
                let route = WalkRoute::of_members(vec![topic], except);
                let walk = walk(cx, terminals, (route, by));
                let record = record(delivery.push, channel.clone(), recorded, &delivery.action);
                let followers = follow.find(&channel).map_or(0, |log| follow.crew(log)) as u64;
                let what = (recorded.until, breadth);
                let record = record.map(|record| WalkRecord::new(channel, record, what, followers));
                let walk = match record {
                    Some(record) => walk.of_record(record),
                    // There is no record but of a payload: it is the peer's word.
                    None => walk,
                };
                self.begin_on_route(cx, follow, terminals, inbound, walk);
            }
            Addressees::Keys(addressees) => {
                self.yield_to_others(cx.now.mono);
                let key = self.begin_inbound(cx, inbound);
                for (index, addressee) in (0..).zip(addressees) {
                    let found_by = (Some(&addressee.key), None);
                    let deed = Deed::new(cx.flaws, delivery.push, found_by, &delivery.action);
                    let channel = || Channel::from(&addressee.key);
                    let log = addressee.record.and_then(|_| follow.find(&channel()));
                    let record = addressee.record.and_then(|recorded| {
                        record(delivery.push, channel(), recorded, &delivery.action)
                    });
                    let share = Share {
                        delivery: key,
                        push: delivery.push,
                        addressee: index,
                        key: &addressee.key,
                        deed: &deed,
                        record: record.as_ref(),
                        log,
                        until: addressee
                            .record
                            .map_or(Until::Written, |record| record.until),
                        answer_by,
                    };
                    let (named, ask) = (&addressee.named, &addressee.ask);
                    self.serve(cx, follow, terminals, share, named, ask);
                }
                self.answer_if_complete(cx, key);
            }
        }
        // What was remembered of it may have pushed out what others wait for.
        self.take_outcomes(cx, terminals);
    }

    /// Has a terminal be heard that has said this at another instance.
    fn hear(
        &mut self,
        cx: &mut Context<'_>,
        delivery: InboundKey,
        session: SessionName,
        said: Action,
    ) {
        match said {
            Action::Frame(frame) => cx.out.push(Command::Hear(Box::new(RelayedFrame {
                delivery,
                session,
                frame,
            }))),
            Action::Close(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. } => {
                self.relayed(cx, delivery, Hearing::Gone);
            }
        }
    }

    /// What became of it.
    pub(crate) fn relayed(&mut self, cx: &mut Context<'_>, delivery: InboundKey, hearing: Hearing) {
        let inbound = self.inbound.get_mut(delivery);
        match inbound.map(|inbound| &mut inbound.progress) {
            Some(InboundProgress::Session(heard)) => {
                *heard = Some(hearing);
                self.answer_if_complete(cx, delivery);
            }
            // It was answered at its deadline.
            Some(InboundProgress::Keys { .. } | InboundProgress::Walk(_)) | None => {
                cx.stats.stale_events += 1;
            }
        }
    }

    fn begin_on_route(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        mut inbound: Inbound,
        broadcasting: Broadcasting,
    ) {
        inbound.progress = InboundProgress::Walk(Box::new(broadcasting));
        let key = self.begin_inbound(cx, inbound);
        self.begin_broadcast(cx, follow, terminals, key);
    }

    fn begin_inbound(&mut self, cx: &mut Context<'_>, inbound: Inbound) -> InboundKey {
        let answer_by = inbound.answer_by;
        let key = self.inbound.insert(inbound);
        cx.arm(answer_by, DeliverTimer::Inbound(key));
        key
    }

    /// Serves the terminals of one user: those that rows name, and those that are asked for.
    fn serve(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        share: Share<'_>,
        named: &[ConnectionId],
        ask: &Ask,
    ) {
        for connection in named {
            self.serve_one(cx, follow, terminals, share, *connection);
        }
        let greeted = || terminals.greeted_of(share.key).map(|found| found.id);
        let mut asked: Vec<ConnectionId> = match ask {
            Ask::Nobody => return,
            Ask::All => greeted().collect(),
            Ask::Only(connections) => {
                let selected = Selected::only(connections);
                greeted()
                    .filter(|connection| selected.contains(*connection))
                    .collect()
            }
        };
        let first = (self.repeats).begin_ask(cx.now.mono, share.push, share.key);
        if !first {
            asked.retain(|connection| self.repeats.knows(*connection, share.push));
        }
        if let Some(record) = share.record {
            // They know a repeat by its position, and get what comes before they are greeted.
            let followers = share.log.into_iter().flat_map(|log| follow.of_log(log));
            let position = record.place.position;
            let ids = followers.filter_map(|connection| {
                let id = terminals.get(connection)?.id;
                let log = share.log?;
                // As a plain push it comes to nobody who was not there the first time.
                let begins = follow.begins_behind(FollowerKey { connection, log }, position);
                (first || !begins || self.repeats.knows(id, share.push)).then_some(id)
            });
            asked.extend(ids);
            asked.sort_unstable();
            asked.dedup();
        }
        let named = Selected::only(named);
        for connection in asked {
            if !named.contains(connection) {
                self.serve_one(cx, follow, terminals, share, connection);
            }
        }
    }

    fn serve_one(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        share: Share<'_>,
        connection: ConnectionId,
    ) {
        let Some(inbound) = self.inbound.get_mut(share.delivery) else {
            cx.bug("a delivery ended while its terminals were being found");
            return;
        };
        let InboundProgress::Keys { served, open } = &mut inbound.progress else {
            cx.bug("a walk has users");
            return;
        };
        let index = u32::try_from(served.len()).unwrap_or(u32::MAX);
        let ticket = Ticket {
            delivery: share.delivery,
            index,
            push: share.push,
        };
        *open += 1;
        let follower = share.record.zip(share.log).and_then(|(record, log)| {
            let connection = terminals.find(connection, share.key)?;
            let follower = FollowerKey { connection, log };
            // It was greeted before it began to follow, and gets what stands before that as any other.
            let begins = follow.begins_behind(follower, record.place.position);
            (follow.has(follower) && !begins).then_some((record, follower))
        });
        served.push(ServedTerminal {
            addressee: share.addressee,
            connection,
            fate: match follower {
                Some(_) => Fate::new(share.until),
                None => Fate::Open,
            },
        });
        // A follower knows a repeat by its position.
        if let Some((record, key)) = follower {
            let when = (share.until, share.answer_by);
            self.serve_follower(cx, follow, terminals, (record, key), ticket, when);
            return;
        }
        let known = self.repeats.known(cx.now.mono, connection, ticket);
        let Some(known) = hooks::recognised(cx.flaws, known) else {
            return self.hand_over(cx, terminals, share, ticket, connection);
        };
        cx.stats.repeats += 1;
        if let Some(outcome) = known.outcome() {
            self.set_outcome(ticket, outcome);
        }
    }

    /// A record comes for one who follows its log. Until when its confirmation is waited for, if it is, is said at the end.
    /// Returns whether it was put into the queue.
    pub(super) fn serve_follower(
        &mut self,
        cx: &mut Context<'_>,
        follow: &mut Followers,
        terminals: &mut Terminals,
        (record, key): (&ChainedRecord, FollowerKey),
        ticket: Ticket,
        (until, answer_by): (Until, Instant),
    ) -> bool {
        let put = follow.record(cx, terminals, key, record, ticket);
        if let Err(outcome) = put {
            self.set_outcome(ticket, outcome);
            if outcome == Outcome::TooLarge {
                return false;
            }
        }
        let position = record.place.position;
        match until {
            Until::Written => {}
            Until::Acked => match follow.await_confirmation(cx, key, position, ticket, answer_by) {
                Confirmation::Given => self.set_outcome(ticket, Outcome::Acked),
                Confirmation::Awaited => {}
                Confirmation::Never => self.learn(ticket, Fate::unconfirmed),
            },
        }
        put.is_ok()
    }

    fn hand_over(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        share: Share<'_>,
        ticket: Ticket,
        connection: ConnectionId,
    ) {
        let Some(key) = terminals.find(connection, share.key) else {
            self.set_outcome(ticket, Outcome::Gone);
            return;
        };
        self.repeats.begin(cx.now.mono, connection, ticket.push);
        if let Some(outcome) = hooks::outcome_before_queued(cx.flaws) {
            self.set_outcome(ticket, outcome);
        }
        if let Err(outcome) = self.act(cx, terminals, key, share.deed, ticket) {
            self.repeats.end(connection, ticket.push, outcome);
            self.set_outcome(ticket, outcome);
        }
    }

    /// Does to one terminal what a push says. The ticket will be told.
    ///
    /// # Errors
    ///
    /// What became of it, if nothing will be told.
    pub(super) fn act(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        key: ConnectionKey,
        deed: &Deed,
        ticket: Ticket,
    ) -> Result<(), Outcome> {
        let acted = terminals.act(cx, key, deed, ticket);
        // Frames of other deliveries may have given way.
        self.take_outcomes(cx, terminals);
        acted
    }
}

/// How long before the publisher's deadline, until which so much is left, its answer leaves. What is left is
/// counted from the delivery's arrival, so that the margin is for both ways.
fn margin(within: Duration, round_trip: Duration) -> Duration {
    // A short deadline leaves time for frames to be written, but none that the way back needs.
    let most = (within / 2).max(round_trip * 5 / 4).min(within);
    let margin = Config::ANSWER_MARGIN.max(round_trip * Config::ANSWER_ROUND_TRIPS);
    margin.min(most)
}

impl Fingerprint for Inbound {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.push.fingerprint(now, hasher);
        self.delivery.fingerprint(now, hasher);
        std::hash::Hash::hash(&self.from, hasher);
        self.answer_by.fingerprint(now, hasher);
        match &self.progress {
            InboundProgress::Keys { served, .. } => std::hash::Hash::hash(served, hasher),
            InboundProgress::Walk(broadcasting) => broadcasting.fingerprint(now, hasher),
            InboundProgress::Session(heard) => std::hash::Hash::hash(heard, hasher),
        }
    }
}
