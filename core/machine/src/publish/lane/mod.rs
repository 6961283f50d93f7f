//! A key's lane: the pushes of this publisher for one key, in the order they were handed in.
//!
//! Links are ordered, lookups are not: two lookups for one key could overtake each other. So a
//! lane has one lookup under way at most, and what comes meanwhile waits; all that waited shares the
//! next lookup, and is routed in order. A part that has ended stays in the lane until all before it
//! have ended: a second lookup of an earlier push must not serve a connection that a later one has
//! served.
//!
//! Terminals of this instance need no lookup, and are served at once. And nobody waits for rows beyond
//! a fraction of the deadline: from there on everybody is asked by key, so that a directory that hangs
//! costs a push no terminal.

use crate::base::few::Few;
use crate::context::Context;
use crate::directory::{Operation, Row};
use crate::id::{ConnectionId, DeliveryId};
use crate::key::Key;
use crate::message::Outcome;
use crate::publish::route::{self, Route};
use crate::publish::waiting::WaitsForView;
use crate::publish::{Publish, hooks};
use crate::time::Instant;
use crate::vocabulary::purpose::PublishPurpose;
use crate::vocabulary::standing::{Doubt, Sight, Standing};
use crate::wings::Wings;

mod append;
mod lanes;
mod part;
mod sending;
mod targets;

pub(super) use append::in_log_by;
pub(super) use lanes::Lanes;
use part::Lane;
use part::{Lookup, PartStage, Round, Target};
pub(super) use part::{Part, PartId, PartRecord, Sequence};
pub(super) use sending::tell_all_missed;

impl Publish {
    /// Begins the parts that wait, if the lane is free for them, and ends the lane if it is empty.
    pub(super) fn advance_lane(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>, key: &Key) {
        let turn = cx.turn;
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        lane.forget_ended();
        self.serve_here(cx, wings, key);
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        match &lane.lookup {
            Lookup::None => {}
            Lookup::Asked { turn: asked } if *asked == turn => {}
            Lookup::Asked { .. } | Lookup::Unjudged { .. } => return,
        }
        if lane.parts.is_empty() {
            if lane.lookup == Lookup::None {
                self.lanes.end(key);
            }
            return;
        }
        let waiting = lane.at_stage(PartStage::Waiting);
        if waiting.is_empty() {
            return;
        }
        if wings.membership.is_linked() && lane.lookup == Lookup::None {
            lane.lookup = Lookup::Asked { turn };
            let operation = Operation::Lookup { key: key.clone() };
            let purpose = PublishPurpose::Lookup { key: key.clone() };
            wings.membership.ask(operation, purpose);
        }
        for sequence in waiting {
            if let Some(part) = self.part_mut(key, sequence) {
                part.stage = PartStage::LookingUp;
            }
        }
        if !wings.membership.is_linked() {
            self.lookup_failed(cx, wings, key);
        }
    }

    /// Serves the terminals of this instance, for all parts that need not wait with that.
    fn serve_here(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>, key: &Key) {
        while let Some(sequence) = self.lanes.get_mut(key).and_then(Lane::serve_next) {
            let Some(part) = self.part_mut(key, sequence) else {
                return;
            };
            match part.stage {
                PartStage::Waiting | PartStage::LookingUp | PartStage::Routed => {
                    self.serve_part_here(cx, wings, key, sequence);
                }
                // A record is not told before it is one.
                PartStage::Appending | PartStage::Ended => {}
            }
        }
    }

    /// Serves the terminals of this instance for one part.
    fn serve_part_here(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        key: &Key,
        sequence: Sequence,
    ) {
        let here = cx.identity.instance;
        let Some(part) = self.part_mut(key, sequence) else {
            return;
        };
        let selected = part.selection.selected();
        let named: Few<_> = (wings.terminals.greeted_of(key))
            .map(|found| found.id)
            .filter(|connection| selected.contains(*connection))
            .filter(|connection| !part.targets.has(*connection))
            .map(|connection| (connection, None))
            .collect();
        if !named.is_empty() {
            self.send_part(cx, wings, key, sequence, here, named, false);
        }
    }

    fn part_mut(&mut self, key: &Key, sequence: Sequence) -> Option<&mut Part> {
        self.lanes.get_mut(key)?.get_mut(sequence)
    }

    /// The rows of a key have come.
    pub(super) fn looked_up(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        key: &Key,
        rows: Vec<(ConnectionId, Row)>,
    ) {
        let Some(lane) = self.lanes.get(key) else {
            return;
        };
        let since = lane.asked_since(cx.now.mono);
        let is_judged =
            |(_, row): &(_, Row)| match (wings.membership).standing(cx, row.instance, since) {
                Standing::Live { .. } => true,
                Standing::Outdated | Standing::Unknown => false,
            };
        if !rows.iter().all(is_judged) {
            self.wait_for_judgement(cx, wings, key, rows);
            return;
        }
        self.route_lane(cx, wings, key, since, &rows);
    }

    /// Routes all parts that waited for these rows. Rows of an instance that the view
    /// does not know are dead.
    fn route_lane(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        key: &Key,
        since: Instant,
        rows: &[(ConnectionId, Row)],
    ) {
        let mut doubt = wings.membership.doubt(cx, since);
        if rows.is_empty() && !hooks::doubts_an_empty_lookup(cx.flaws) {
            doubt = Doubt {
                instances: Vec::new(),
                sight: Sight::Clear,
            };
        }
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        lane.lookup = Lookup::None;
        let mut dead = None;
        for sequence in lane.at_stage(PartStage::LookingUp) {
            self.serve_here(cx, wings, key);
            let Some(part) = self.part_mut(key, sequence) else {
                continue;
            };
            part.degraded |= doubt.sight == Sight::Blind;
            let standing = |instance| wings.membership.standing(cx, instance, since);
            let plan = route::plan(rows, &part.selection, &doubt.instances, standing);
            self.follow(cx, wings, key, sequence, plan.routes);
            dead.get_or_insert(plan.dead);
        }
        for (connection, row) in dead.into_iter().flatten() {
            remove_dead_row(wings, key, connection, row);
        }
        self.advance_lane(cx, wings, key);
    }

    /// The lookup failed: everybody is asked by key.
    pub(super) fn lookup_failed(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>, key: &Key) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        lane.lookup = Lookup::None;
        for sequence in lane.at_stage(PartStage::LookingUp) {
            self.serve_here(cx, wings, key);
            self.ask_everybody(cx, wings, key, sequence);
        }
        self.advance_lane(cx, wings, key);
    }

    /// A push has waited for rows as long as its deadline allows. Earlier ones of its lane go with it, so
    /// that it does not overtake them.
    pub(super) fn part_hurries(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &PartId,
    ) {
        let PartId { key, sequence } = id;
        let Some(lane) = self.lanes.get(key) else {
            return;
        };
        // A second lookup is for those who may have moved, and began when that was known.
        let waits = |part: &Part| {
            let for_rows = part.stage.is_unrouted() && part.stage != PartStage::Appending;
            for_rows && part.round == Round::First
        };
        if !lane.get(*sequence).is_some_and(waits) {
            return self.record_hurries(cx, wings, id);
        }
        for earlier in lane.unrouted_up_to(*sequence) {
            self.serve_here(cx, wings, key);
            self.ask_everybody(cx, wings, key, earlier);
        }
        self.advance_lane(cx, wings, key);
    }

    /// Asks everybody by key, without rows.
    fn ask_everybody(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        key: &Key,
        sequence: Sequence,
    ) {
        let Some(part) = self.part_mut(key, sequence) else {
            return;
        };
        part.degraded = true;
        let everybody = wings.membership.everybody(cx, part.started);
        let routes = (everybody.into_iter())
            .map(|instance| Route {
                instance,
                named: Few::new(),
                ask: true,
            })
            .collect();
        self.follow(cx, wings, key, sequence, routes);
    }

    /// A fresh view decides about lanes that wait for it.
    pub(super) fn judge_lane(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>, key: &Key) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        let Lookup::Unjudged { rows } = std::mem::take(&mut lane.lookup) else {
            cx.bug("a lane waits for a view without rows");
            return;
        };
        let since = lane.asked_since(cx.now.mono);
        let is_outdated = |(_, row): &(_, Row)| {
            wings.membership.standing(cx, row.instance, since) == Standing::Outdated
        };
        if rows.iter().any(is_outdated) {
            self.wait_for_judgement(cx, wings, key, rows);
            return;
        }
        self.route_lane(cx, wings, key, since, &rows);
    }

    /// The rows are judged by a view that is asked for from this moment on.
    fn wait_for_judgement(
        &mut self,
        cx: &Context<'_>,
        wings: &mut Wings<'_>,
        key: &Key,
        rows: Vec<(ConnectionId, Row)>,
    ) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.lookup = Lookup::Unjudged { rows };
        }
        self.wait_for_view(cx, wings, WaitsForView::Lane(key.clone()));
    }

    /// Takes down what became of one terminal.
    pub(super) fn record(
        &mut self,
        PartId { key, sequence }: &PartId,
        delivery: DeliveryId,
        connection: ConnectionId,
        outcome: Outcome,
    ) {
        let Some(part) = self.part_mut(key, *sequence) else {
            return;
        };
        match part.targets.find(connection) {
            Some(target) if target.outcome.is_none() && target.delivery == delivery => {
                target.outcome = Some(outcome);
            }
            Some(_) => {}
            // The instance was asked by key.
            None => part.targets.push(Target {
                connection,
                delivery,
                row: None,
                outcome: Some(outcome),
            }),
        }
    }

    /// One delivery of a part was answered, or cannot be.
    pub(super) fn delivery_of_part_ended(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        PartId { key, sequence }: &PartId,
        delivery: DeliveryId,
    ) {
        let unanswered = hooks::outcome_of_unanswered(cx.flaws);
        let Some(part) = self.part_mut(key, *sequence) else {
            return;
        };
        if part.stage == PartStage::Ended {
            return;
        }
        part.unanswered -= 1;
        let mut gone = Vec::new();
        for target in part.targets.served_by(delivery) {
            let outcome = *target.outcome.get_or_insert(unanswered);
            if let (Outcome::Gone, Some(row)) = (outcome, target.row.take()) {
                gone.push((target.connection, row));
            }
        }
        // A terminal that follows the log and has moved reads it where it is.
        if !gone.is_empty() && part.round == Round::First && part.record == PartRecord::Plain {
            part.round = Round::Second;
            part.stage = match part.stage {
                // The lookup under way may be older than the move.
                PartStage::LookingUp | PartStage::Waiting | PartStage::Routed => PartStage::Waiting,
                PartStage::Appending | PartStage::Ended => part.stage,
            };
        }
        for (connection, row) in gone {
            remove_dead_row(wings, key, connection, row);
        }
        self.end_part_if_complete(cx, key, *sequence);
        self.advance_lane(cx, wings, key);
    }

    fn end_part_if_complete(&mut self, cx: &mut Context<'_>, key: &Key, sequence: Sequence) {
        let complete = (self.part_mut(key, sequence))
            .is_some_and(|part| part.stage == PartStage::Routed && part.unanswered == 0);
        if complete {
            self.end_part(cx, key, sequence);
        }
    }

    /// The push's deadline has come.
    pub(super) fn part_due(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        PartId { key, sequence }: &PartId,
    ) {
        let Some(part) = self.part_mut(key, *sequence) else {
            return;
        };
        match part.stage {
            PartStage::Waiting | PartStage::LookingUp | PartStage::Appending => {
                part.degraded = true;
            }
            PartStage::Routed => {}
            PartStage::Ended => return,
        }
        self.end_part(cx, key, *sequence);
        self.advance_lane(cx, wings, key);
    }

    fn end_part(&mut self, cx: &mut Context<'_>, key: &Key, sequence: Sequence) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        lane.end(sequence);
        let Some(part) = lane.get(sequence) else {
            return;
        };
        let (push, in_log) = (part.push, part.record.in_log());
        if let Some(open) = self.open.get_mut(push) {
            let terminals = part.targets.iter().map(|target| {
                let outcome = target.outcome.unwrap_or(Outcome::Unreachable);
                (target.connection, outcome)
            });
            open.take_into_receipt(cx.config, key, terminals, part.degraded);
        }
        self.log_into_receipt(push, key, in_log);
        self.one_finished(cx, push);
    }
}

fn remove_dead_row(wings: &mut Wings<'_>, key: &Key, connection: ConnectionId, row: Row) {
    if wings.membership.is_linked() {
        let operation = Operation::RemoveRow {
            key: key.clone(),
            connection,
            row,
        };
        wings.membership.ask(operation, PublishPurpose::RemoveRow);
    }
}
