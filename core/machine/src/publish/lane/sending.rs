//! How a part leaves: what its plan calls for, in deliveries that it shares with other parts of its push.

use std::collections::BTreeSet;

use crate::base::few::Few;
use crate::channel::Channel;
use crate::context::Context;
use crate::delivery::{Addressee, Addressees, Ask, Delivery, Recorded};
use crate::directory::Row;
use crate::id::{ConnectionId, DeliveryId, InstanceId, PushKey};
use crate::key::Key;
use crate::publish::lane::part::{PartId, PartStage, Round, Sequence, ServedLater, Target};
use crate::publish::push::send;
use crate::publish::route::{Route, Selection};
use crate::publish::{Publish, hooks};
use crate::wings::Wings;

impl Publish {
    /// Sends what a part's plan calls for.
    pub(super) fn follow(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        key: &Key,
        sequence: Sequence,
        routes: Few<Route>,
    ) {
        let here = cx.identity.instance;
        let keeps_order = hooks::keeps_order_at_second_lookup(cx.flaws);
        for route in routes {
            let Some(lane) = self.lanes.get_mut(key) else {
                return;
            };
            let Some(part) = lane.get_mut(sequence) else {
                return;
            };
            part.degraded |= route.ask;
            let ask = match part.round {
                Round::First => route.ask,
                // Which terminals the later part has served there is unknown.
                Round::Second => route.ask && !lane.routed_later(sequence),
            };
            let Some(part) = lane.get(sequence) else {
                return;
            };
            let mut named = Few::new();
            if !route.named.is_empty() {
                // A record has its place in the log, whatever came before it.
                let later = match part.record.place() {
                    Some(_) => ServedLater::By(Vec::new()),
                    None => lane.served_later(sequence, route.instance, here),
                };
                named = (route.named.into_iter())
                    .filter(|(connection, _)| !part.targets.has(*connection))
                    .filter(|(connection, _)| !keeps_order || !later.has(*connection))
                    .map(|(connection, row)| (connection, Some(row)))
                    .collect();
            }
            if !named.is_empty() || ask {
                self.send_part(cx, wings, key, sequence, route.instance, named, ask);
            }
        }
        if let Some(part) = self.part_mut(key, sequence)
            && part.stage.is_unrouted()
        {
            part.stage = PartStage::Routed;
        }
        self.end_part_if_complete(cx, key, sequence);
    }

    /// Sends what a part is to one instance, with a delivery of the same push that has not left yet
    /// if there is one.
    #[expect(clippy::too_many_arguments, reason = "each names another thing")]
    pub(super) fn send_part(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        key: &Key,
        sequence: Sequence,
        to: InstanceId,
        named: Few<(ConnectionId, Option<Row>)>,
        ask: bool,
    ) {
        let Some(part) = self.part_mut(key, sequence) else {
            return;
        };
        let push = part.push;
        let until = self.open.get(push).map(|open| open.until);
        if (self.open.get(push)).is_some_and(|open| open.due <= cx.now.mono) {
            // No answer could come in time.
            if let Some(part) = self.part_mut(key, sequence) {
                part.degraded = true;
                if part.record.place().is_some() {
                    tell_missed(cx, wings, to, &Channel::from(key));
                }
            }
            return;
        }
        let Some(part) = self.part_mut(key, sequence) else {
            return;
        };
        if ask {
            part.asked.push(to);
        }
        let ask = match (&part.selection, ask) {
            (_, false) => Ask::Nobody,
            (Selection::All, true) => Ask::All,
            (Selection::Only(connections), true) => Ask::Only(connections.clone()),
        };
        part.unanswered += 1;
        let record = part.record.place().zip(until);
        let record = record.map(|(place, until)| Recorded { place, until });
        let addressee = Addressee {
            key: key.clone(),
            named: named.iter().map(|(connection, _)| *connection).collect(),
            ask,
            record,
        };
        let part = PartId {
            key: key.clone(),
            sequence,
        };
        match self.join_delivery(cx, wings, to, push, addressee, &part) {
            Ok(delivery) => self.note_targets(key, sequence, delivery, named),
            Err(addressee) => {
                let Some(open) = self.open.get(push) else {
                    cx.bug("a part of a push that has ended");
                    return;
                };
                let (push_id, due) = (open.receipt.push, open.due);
                let action = open.action.clone();
                let id = self.begin_delivery(push, to, Few::from_buf([part]));
                self.note_targets(key, sequence, id, named);
                let delivery = Delivery {
                    id,
                    push: push_id,
                    within: due.since(cx.now.mono),
                    action,
                    to: Addressees::Keys(Few::from_buf([addressee])),
                };
                send(cx, wings, to, delivery, due);
            }
        }
    }

    fn note_targets(
        &mut self,
        key: &Key,
        sequence: Sequence,
        delivery: DeliveryId,
        named: Few<(ConnectionId, Option<Row>)>,
    ) {
        if let Some(part) = self.part_mut(key, sequence) {
            for (connection, row) in named {
                part.targets.push(Target {
                    connection,
                    delivery,
                    row,
                    outcome: None,
                });
            }
        }
    }

    /// Adds an addressee to a delivery of the same push that has not left yet. Returns the
    /// addressee if there is none.
    fn join_delivery(
        &mut self,
        cx: &Context<'_>,
        wings: &mut Wings<'_>,
        to: InstanceId,
        push: PushKey,
        addressee: Addressee,
        part: &PartId,
    ) -> Result<DeliveryId, Addressee> {
        let fits = |id| matches!(self.deliveries.get(&id), Some(open) if open.push == push);
        let id = wings.peers.join_last(cx, to, addressee, fits)?;
        if let Some(delivery) = self.deliveries.get_mut(&id) {
            delivery.parts.push(part.clone());
        }
        Ok(id)
    }
}

/// A record is not delivered to these instances, nor here: whoever follows its log reads it.
pub(in crate::publish) fn tell_all_missed(
    cx: &mut Context<'_>,
    wings: &mut Wings<'_>,
    there: impl Iterator<Item = InstanceId>,
    channel: &Channel,
) {
    let here = cx.identity.instance;
    let instances: BTreeSet<_> = there.chain([here]).collect();
    for instance in instances {
        tell_missed(cx, wings, instance, channel);
    }
}

/// A record is not delivered to an instance that may have followers of it: they read it.
fn tell_missed(cx: &mut Context<'_>, wings: &mut Wings<'_>, to: InstanceId, channel: &Channel) {
    if to == cx.identity.instance {
        wings.follow.check_logs(cx, [channel]);
    } else {
        wings.peers.missed(cx, to, channel);
    }
}
