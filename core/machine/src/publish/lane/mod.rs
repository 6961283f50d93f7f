//! A user's lane: the pushes of this publisher for one user, in the order they were handed in.
//!
//! Links are ordered, lookups are not: two lookups for one user could overtake each other. So a
//! lane has one lookup under way at most, and what comes meanwhile waits; all that waited shares the
//! next lookup, and is routed in order. A part that has ended stays in the lane until all before it
//! have ended: a second lookup of an earlier push must not serve a connection that a later one has
//! served.
//!
//! Terminals of this instance need no lookup, and are served at once. And nobody waits for rows beyond
//! a fraction of the deadline: from there on everybody is asked by user, so that a directory that hangs
//! costs a push no terminal.

use crate::base::flaws::Flaw;
use crate::command::Outbox;
use crate::delivery::{Addressee, Addressees, Ask, Deliver};
use crate::directory::{Operation, Row};
use crate::id::{ConnectionId, DeliveryId, InstanceId, PushKey, UserId};
use crate::instance::Instance;
use crate::membership::standing::Standing;
use crate::message::Outcome;
use crate::publish::purpose::Purpose;
use crate::publish::push::WaitsForView;
use crate::publish::route::{self, Hop, Selection};
use crate::terminals::connection::Connection;
use crate::time::{Instant, Now};

mod part;
mod targets;

pub(crate) use part::{Lane, Part, Sequence};
use part::{Lookup, Round, Stage, Target};

impl Instance {
    /// Begins the parts that wait, if the lane is free for them, and ends the lane if it is empty.
    pub(crate) fn advance_lane(&mut self, now: Now, user: &UserId, out: &mut Outbox) {
        let turn = self.base.turn;
        let Some(lane) = self.publish.pushes.lanes.get_mut(user) else {
            return;
        };
        lane.forget_ended();
        self.serve_here(now, user, out);
        let Some(lane) = self.publish.pushes.lanes.get_mut(user) else {
            return;
        };
        match &lane.lookup {
            Lookup::None => {}
            Lookup::Asked { turn: asked } if *asked == turn => {}
            Lookup::Asked { .. } | Lookup::Unjudged { .. } => return,
        }
        if lane.parts.is_empty() {
            if lane.lookup == Lookup::None {
                self.publish.pushes.lanes.remove(user);
            }
            return;
        }
        let waiting = lane.at_stage(Stage::Waiting);
        if waiting.is_empty() {
            return;
        }
        if self.membership.is_linked() && lane.lookup == Lookup::None {
            lane.lookup = Lookup::Asked { turn };
            let operation = Operation::Lookup {
                key: user.clone().into(),
            };
            let purpose = Purpose::Lookup { user: user.clone() };
            self.membership.ask(operation, purpose);
        }
        for sequence in waiting {
            if let Some(part) = self.part_mut(user, sequence) {
                part.stage = Stage::LookingUp;
            }
        }
        if !self.membership.is_linked() {
            self.lookup_failed(now, user, out);
        }
    }

    /// Serves the terminals of this instance, for all parts that need not wait with that.
    fn serve_here(&mut self, now: Now, user: &UserId, out: &mut Outbox) {
        while let Some(sequence) = self
            .publish
            .pushes
            .lanes
            .get_mut(user)
            .and_then(Lane::serve_next)
        {
            let local: Vec<_> = self
                .terminals
                .greeted_of(user)
                .map(Connection::id)
                .collect();
            let here = self.base.identity.instance;
            let Some(part) = self.part_mut(user, sequence) else {
                return;
            };
            if part.stage == Stage::Ended {
                continue;
            }
            let selected = part.selection.selected();
            let named: Vec<_> = (local.into_iter())
                .filter(|connection| selected.contains(*connection))
                .filter(|connection| !part.targets.has(*connection))
                .map(|connection| (connection, None))
                .collect();
            if !named.is_empty() {
                self.send_hop(now, user, sequence, here, named, false, out);
            }
        }
    }

    fn part_mut(&mut self, user: &UserId, sequence: Sequence) -> Option<&mut Part> {
        self.publish.pushes.lanes.get_mut(user)?.get_mut(sequence)
    }

    /// The rows of a user have come.
    pub(crate) fn looked_up(
        &mut self,
        now: Now,
        user: &UserId,
        rows: Vec<(ConnectionId, Row)>,
        out: &mut Outbox,
    ) {
        let Some(lane) = self.publish.pushes.lanes.get(user) else {
            return;
        };
        let since = lane.asked_since(now.mono);
        let unjudged = rows
            .iter()
            .any(|(_, row)| self.standing(row.instance, since, now) == Standing::Unknown);
        if unjudged {
            self.wait_for_judgement(now, user, rows);
            return;
        }
        self.route_lane(now, user, since, &rows, out);
    }

    /// What rows of an instance are worth.
    pub(crate) fn standing(&self, instance: InstanceId, since: Instant, now: Now) -> Standing {
        if instance == self.base.identity.instance {
            // Whether the connection is here is seen when it is served.
            return Standing::Live {
                floor: crate::id::Epoch::ZERO,
                doubtful: false,
            };
        }
        self.membership.view().standing(instance, since, now.mono)
    }

    /// Routes all parts that waited for these rows. Whom the view does not know is dead.
    fn route_lane(
        &mut self,
        now: Now,
        user: &UserId,
        since: Instant,
        rows: &[(ConnectionId, Row)],
        out: &mut Outbox,
    ) {
        let mut doubtful = self.membership.view().doubtful(since, now.mono);
        let mut blind = (self.membership).is_blind(&self.base.config, since, now.mono);
        if rows.is_empty() && self.base.flaws.has(Flaw::EmptyLookupIsOffline) {
            (doubtful, blind) = (Vec::new(), false);
        }
        let Some(lane) = self.publish.pushes.lanes.get_mut(user) else {
            return;
        };
        lane.lookup = Lookup::None;
        let mut dead = None;
        for sequence in lane.at_stage(Stage::LookingUp) {
            self.serve_here(now, user, out);
            let Some(part) = self.part_mut(user, sequence) else {
                continue;
            };
            part.degraded |= blind;
            let selection = part.selection.clone();
            let plan = route::plan(rows, &selection, &doubtful, |instance| {
                match self.standing(instance, since, now) {
                    Standing::Unknown => Standing::Dead,
                    known @ (Standing::Live { .. } | Standing::Dead) => known,
                }
            });
            self.follow(now, user, sequence, plan.hops, out);
            dead.get_or_insert(plan.dead);
        }
        for (connection, row) in dead.into_iter().flatten() {
            self.remove_dead_row(user, connection, row);
        }
        self.advance_lane(now, user, out);
    }

    fn remove_dead_row(&mut self, user: &UserId, connection: ConnectionId, row: Row) {
        if self.membership.is_linked() {
            let operation = Operation::RemoveRow {
                key: user.clone().into(),
                connection,
                row,
            };
            self.membership.ask(operation, Purpose::RemoveRow);
        }
    }

    /// Sends what a part's plan calls for.
    fn follow(
        &mut self,
        now: Now,
        user: &UserId,
        sequence: Sequence,
        hops: Vec<Hop>,
        out: &mut Outbox,
    ) {
        let here = self.base.identity.instance;
        let overtakes = self.base.flaws.has(Flaw::OvertakenBySecondLookup);
        for hop in hops {
            let Some(lane) = self.publish.pushes.lanes.get_mut(user) else {
                return;
            };
            let Some(part) = lane.get_mut(sequence) else {
                return;
            };
            part.degraded |= hop.ask;
            let ask = match part.round {
                Round::First => hop.ask,
                // Nobody can say whom the later part has served there.
                Round::Second => hop.ask && !lane.routed_later(sequence),
            };
            let Some(part) = lane.get(sequence) else {
                return;
            };
            let mut named = Vec::new();
            if !hop.named.is_empty() {
                let later = lane.served_later(sequence, hop.instance, here);
                named = (hop.named.into_iter())
                    .filter(|(connection, _)| !part.targets.has(*connection))
                    .filter(|(connection, _)| overtakes || !later.has(*connection))
                    .map(|(connection, row)| (connection, Some(row)))
                    .collect();
            }
            if !named.is_empty() || ask {
                self.send_hop(now, user, sequence, hop.instance, named, ask, out);
            }
        }
        if let Some(part) = self.part_mut(user, sequence)
            && part.stage.is_unrouted()
        {
            part.stage = Stage::Routed;
        }
        self.end_part_if_complete(user, sequence, out);
    }

    /// Sends one part's delivery to one instance.
    #[expect(clippy::too_many_arguments, reason = "each names another thing")]
    fn send_hop(
        &mut self,
        now: Now,
        user: &UserId,
        sequence: Sequence,
        to: InstanceId,
        named: Vec<(ConnectionId, Option<Row>)>,
        ask: bool,
        out: &mut Outbox,
    ) {
        let Some(part) = self.part_mut(user, sequence) else {
            return;
        };
        let key = part.push;
        if ask {
            part.asked.push(to);
        }
        let ask = match (&part.selection, ask) {
            (_, false) => Ask::Nobody,
            (Selection::All, true) => Ask::All,
            (Selection::Only(connections), true) => Ask::Only(connections.clone()),
        };
        part.hops += 1;
        let addressee = Addressee {
            user: user.clone(),
            named: named.iter().map(|(connection, _)| *connection).collect(),
            ask,
        };
        let place = (user.clone(), sequence);
        match self.join_delivery(to, key, addressee, &place) {
            Ok(hop) => self.note_targets(user, sequence, hop, named),
            Err(addressee) => {
                let Some(pending) = self.publish.pushes.get(key) else {
                    self.bug("a part of a push that has ended");
                    return;
                };
                let (push, due) = (pending.receipt.push, pending.due);
                let action = pending.action.clone();
                let delivery = self.publish.pushes.begin_hop(key, to, vec![place]);
                self.note_targets(user, sequence, delivery, named);
                let deliver = Deliver {
                    delivery,
                    push,
                    within: due.since(now.mono),
                    action,
                    to: Addressees::Users(vec![addressee]),
                };
                self.send_delivery(now, to, deliver, due, out);
            }
        }
    }

    fn note_targets(
        &mut self,
        user: &UserId,
        sequence: Sequence,
        hop: DeliveryId,
        named: Vec<(ConnectionId, Option<Row>)>,
    ) {
        if let Some(part) = self.part_mut(user, sequence) {
            for (connection, row) in named {
                part.targets.push(Target {
                    connection,
                    hop,
                    row,
                    outcome: None,
                });
            }
        }
    }

    /// Adds an addressee to a delivery of the same push that has not left yet. Gives the addressee
    /// back if there is none.
    fn join_delivery(
        &mut self,
        to: InstanceId,
        push: PushKey,
        addressee: Addressee,
        place: &(UserId, Sequence),
    ) -> Result<DeliveryId, Addressee> {
        let limit = self.base.config.link_queue_bytes;
        let Some(delivery) = self.peers.last_waiting(to).map(|last| last.delivery) else {
            return Err(addressee);
        };
        match self.publish.pushes.hop_mut(delivery) {
            Some(hop) if hop.push == push => {
                self.peers.join_last(to, addressee, limit)?;
                hop.parts.push(place.clone());
                Ok(delivery)
            }
            Some(_) | None => Err(addressee),
        }
    }

    /// The lookup failed: everybody is asked by user.
    pub(crate) fn lookup_failed(&mut self, now: Now, user: &UserId, out: &mut Outbox) {
        let Some(lane) = self.publish.pushes.lanes.get_mut(user) else {
            return;
        };
        lane.lookup = Lookup::None;
        for sequence in lane.at_stage(Stage::LookingUp) {
            self.serve_here(now, user, out);
            self.ask_everybody(now, user, sequence, out);
        }
        self.advance_lane(now, user, out);
    }

    /// A push has waited for rows as long as its deadline allows. Earlier ones of its lane go with it, so
    /// that it does not overtake them.
    pub(crate) fn part_hurries(
        &mut self,
        now: Now,
        user: &UserId,
        sequence: Sequence,
        out: &mut Outbox,
    ) {
        let Some(lane) = self.publish.pushes.lanes.get(user) else {
            return;
        };
        // A second lookup is for those who may have moved, and began when that was known.
        let waits = |part: &Part| part.stage.is_unrouted() && part.round == Round::First;
        if !lane.get(sequence).is_some_and(waits) {
            return;
        }
        for earlier in lane.unrouted_up_to(sequence) {
            self.serve_here(now, user, out);
            self.ask_everybody(now, user, earlier, out);
        }
        self.advance_lane(now, user, out);
    }

    /// Asks everybody by user, without rows.
    fn ask_everybody(&mut self, now: Now, user: &UserId, sequence: Sequence, out: &mut Outbox) {
        let Some(part) = self.part_mut(user, sequence) else {
            return;
        };
        part.degraded = true;
        let since = part.started;
        let hops = (self
            .membership
            .view()
            .everybody(since, now.mono)
            .into_iter())
        .map(|instance| Hop {
            instance,
            named: Vec::new(),
            ask: true,
        })
        .collect();
        self.follow(now, user, sequence, hops, out);
    }

    /// A fresh view decides about lanes that wait for it.
    pub(crate) fn judge_lane(&mut self, now: Now, user: &UserId, out: &mut Outbox) {
        let Some(lane) = self.publish.pushes.lanes.get_mut(user) else {
            return;
        };
        let Lookup::Unjudged { rows } = std::mem::take(&mut lane.lookup) else {
            self.bug("a lane waits for a view without rows");
            return;
        };
        let since = lane.asked_since(now.mono);
        // A view that was long on its way shows leases that may have been renewed since.
        let outdated = rows.iter().any(|(_, row)| {
            self.membership.view().was_alive(row.instance)
                && self.standing(row.instance, since, now) == Standing::Unknown
        });
        if outdated {
            self.wait_for_judgement(now, user, rows);
            return;
        }
        self.route_lane(now, user, since, &rows, out);
    }

    /// The rows are judged by a view that is asked for from this moment on.
    fn wait_for_judgement(&mut self, now: Now, user: &UserId, rows: Vec<(ConnectionId, Row)>) {
        if let Some(lane) = self.publish.pushes.lanes.get_mut(user) {
            lane.lookup = Lookup::Unjudged { rows };
        }
        self.wait_for_view(now, WaitsForView::Lane(user.clone()));
    }

    /// Takes down what became of one terminal.
    pub(crate) fn record(
        &mut self,
        user: &UserId,
        sequence: Sequence,
        hop: DeliveryId,
        connection: ConnectionId,
        outcome: Outcome,
    ) {
        let Some(part) = self.part_mut(user, sequence) else {
            return;
        };
        match part.targets.find(connection) {
            Some(target) if target.outcome.is_none() && target.hop == hop => {
                target.outcome = Some(outcome);
            }
            Some(_) => {}
            // The instance was asked by user.
            None => part.targets.push(Target {
                connection,
                hop,
                row: None,
                outcome: Some(outcome),
            }),
        }
    }

    /// One delivery of a part was answered, or cannot be.
    pub(crate) fn hop_ended(
        &mut self,
        now: Now,
        user: &UserId,
        sequence: Sequence,
        hop: DeliveryId,
        out: &mut Outbox,
    ) {
        let mut unanswered = Outcome::Unreachable;
        if self.base.flaws.has(Flaw::UnreachableIsGone) {
            unanswered = Outcome::Gone;
        }
        let Some(part) = self.part_mut(user, sequence) else {
            return;
        };
        if part.stage == Stage::Ended {
            return;
        }
        part.hops -= 1;
        let mut gone = Vec::new();
        for target in part.targets.served_by(hop) {
            let outcome = *target.outcome.get_or_insert(unanswered);
            if let (Outcome::Gone, Some(row)) = (outcome, target.row.take()) {
                gone.push((target.connection, row));
            }
        }
        if !gone.is_empty() && part.round == Round::First {
            part.round = Round::Second;
            part.stage = match part.stage {
                // The lookup under way may be older than the move.
                Stage::LookingUp | Stage::Waiting | Stage::Routed => Stage::Waiting,
                Stage::Ended => Stage::Ended,
            };
        }
        for (connection, row) in gone {
            self.remove_dead_row(user, connection, row);
        }
        self.end_part_if_complete(user, sequence, out);
        self.advance_lane(now, user, out);
    }

    fn end_part_if_complete(&mut self, user: &UserId, sequence: Sequence, out: &mut Outbox) {
        let complete = (self.part_mut(user, sequence))
            .is_some_and(|part| part.stage == Stage::Routed && part.hops == 0);
        if complete {
            self.end_part(user, sequence, out);
        }
    }

    /// The push's deadline has come.
    pub(crate) fn part_due(
        &mut self,
        now: Now,
        user: &UserId,
        sequence: Sequence,
        out: &mut Outbox,
    ) {
        let Some(part) = self.part_mut(user, sequence) else {
            return;
        };
        match part.stage {
            Stage::Waiting | Stage::LookingUp => part.degraded = true,
            Stage::Routed => {}
            Stage::Ended => return,
        }
        self.end_part(user, sequence, out);
        self.advance_lane(now, user, out);
    }

    fn end_part(&mut self, user: &UserId, sequence: Sequence, out: &mut Outbox) {
        let Some(part) = self.part_mut(user, sequence) else {
            return;
        };
        part.stage = Stage::Ended;
        let (push, degraded) = (part.push, part.degraded);
        let terminals: Vec<_> = (part.targets.iter())
            .map(|target| {
                let outcome = target.outcome.unwrap_or(Outcome::Unreachable);
                (target.connection, outcome)
            })
            .collect();
        self.take_into_receipt(push, user, terminals.into_iter(), degraded);
        self.part_of_push_ended(push, out);
    }
}
