//! What one peer is to get: deliveries that wait, and those that have left without an answer.
//!
//! What waits is bounded by bytes. What has left does not count any more, and comes back when its
//! link breaks, as far as there is room.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::channel::Channel;
use crate::delivery::{Addressee, Addressees, Ask, Breadth, Delivery};
use crate::id::DeliveryId;
use crate::peers::wire::{Batch, MAX_BATCH_BYTES, Message};
use crate::stats::Tables;
use crate::time::Instant;
use crate::vocabulary::missed::MissedLogs;

/// How many links may break under a delivery until it is given up.
const BREAKS: u8 = 2;
/// Bytes that a delivery, and each of its addressees, is taken for beside payload and names: it has
/// no more in a batch, with a user of 128 bytes.
const OVERHEAD: usize = 160;
/// Bytes of a connection's name after its length.
const NAME: usize = 17;

/// Deliveries to one peer.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    /// Deliveries that have not left, in order.
    waiting: VecDeque<QueuedDelivery>,
    /// The sizes of those in `waiting`, in bytes, by estimate.
    bytes: usize,
    /// Deliveries that have left and were not answered.
    unanswered: BTreeMap<DeliveryId, QueuedDelivery>,
    /// Logs of which records were to be delivered, and were not. The peer is to be told.
    missed: MissedLogs,
}

/// A delivery that has not left, or was not answered.
#[derive(Clone, Debug)]
struct QueuedDelivery {
    delivery: Delivery,
    /// Bytes that it is taken for.
    size: usize,
    /// When the receipt is due.
    due: Instant,
    /// Links that broke after it had left.
    breaks: u8,
}

impl Queue {
    /// Without deliveries and without logs that were missed.
    pub(super) const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            unanswered: BTreeMap::new(),
            missed: MissedLogs::NONE,
        }
    }

    /// Queues a delivery.
    ///
    /// # Errors
    ///
    /// Returns its id if there is no room.
    pub(super) fn push(
        &mut self,
        delivery: Delivery,
        due: Instant,
        limit: usize,
    ) -> Result<(), DeliveryId> {
        let size = size(&delivery);
        if self.bytes + size > limit || size > MAX_BATCH_BYTES {
            miss(&mut self.missed, &delivery);
            return Err(delivery.id);
        }
        self.bytes += size;
        self.waiting.push_back(QueuedDelivery {
            delivery,
            size,
            due,
            breaks: 0,
        });
        Ok(())
    }

    /// The delivery that was queued last, if it has not left.
    pub(super) fn last(&self) -> Option<&Delivery> {
        Some(&self.waiting.back()?.delivery)
    }

    /// Adds an addressee to the delivery that was queued last.
    ///
    /// # Errors
    ///
    /// Returns it if there is no room, in the queue or in a batch, or no delivery to users.
    pub(super) fn join(&mut self, addressee: Addressee, limit: usize) -> Result<(), Addressee> {
        let size = addressee_size(&addressee);
        if self.bytes + size > limit {
            return Err(addressee);
        }
        let Some(last) = self.waiting.back_mut() else {
            return Err(addressee);
        };
        if last.size + size > MAX_BATCH_BYTES {
            return Err(addressee);
        }
        match &mut last.delivery.to {
            Addressees::Everyone
            | Addressees::Members { .. }
            | Addressees::Record { .. }
            | Addressees::Session(_) => Err(addressee),
            Addressees::Keys(addressees) => {
                addressees.push(addressee);
                last.size += size;
                self.bytes += size;
                Ok(())
            }
        }
    }

    /// Moves into a batch what there is room for. Deliveries whose receipts are complete are
    /// forgotten: the receipts have said that they are unreachable.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        batch: &mut Batch,
        has_room: impl Fn(&Batch, &Message) -> bool,
    ) {
        while let Some(mut waiting) = self.waiting.pop_front() {
            if waiting.due.has_come(now) {
                self.bytes -= waiting.size;
                miss(&mut self.missed, &waiting.delivery);
                continue;
            }
            waiting.delivery.within = waiting.due.since(now);
            let message = Message::Deliver(waiting.delivery);
            let fits = has_room(batch, &message);
            if fits {
                batch.push(&message);
            }
            let Message::Deliver(delivery) = message else {
                break;
            };
            waiting.delivery = delivery;
            if !fits {
                self.waiting.push_front(waiting);
                break;
            }
            self.bytes -= waiting.size;
            (self.unanswered).insert(waiting.delivery.id, waiting);
        }
    }

    /// A delivery was answered, or its receipt is complete.
    pub(super) fn answered(&mut self, delivery: DeliveryId) {
        self.unanswered.remove(&delivery);
    }

    /// What had left over a link that is gone, and was not answered, waits again, in its order.
    /// `breaks` is how many links broke by that. Returns what is given up.
    pub(super) fn take_back(&mut self, breaks: u8, limit: usize) -> Vec<DeliveryId> {
        let mut failed = Vec::new();
        for (delivery, mut waiting) in std::mem::take(&mut self.unanswered).into_iter().rev() {
            waiting.breaks += breaks;
            let counts_twice = counts_twice(&waiting.delivery);
            if waiting.breaks >= BREAKS || counts_twice || self.bytes + waiting.size > limit {
                miss(&mut self.missed, &waiting.delivery);
                failed.push(delivery);
                continue;
            }
            self.bytes += waiting.size;
            self.waiting.push_front(waiting);
        }
        failed
    }

    /// Drops all that waits, and returns its ids.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = DeliveryId> {
        self.bytes = 0;
        let missed = &mut self.missed;
        (self.waiting.drain(..)).map(|waiting| {
            miss(missed, &waiting.delivery);
            waiting.delivery.id
        })
    }

    /// Forgets what waits for receipts that are complete.
    pub(super) fn forget_overdue(&mut self, now: Instant) {
        self.waiting.retain(|waiting| {
            if waiting.due.has_come(now) {
                miss(&mut self.missed, &waiting.delivery);
            }
            !waiting.due.has_come(now)
        });
        self.bytes = self.waiting.iter().map(|waiting| waiting.size).sum();
    }

    /// A record of this log is not delivered.
    pub(super) fn miss(&mut self, channel: &Channel) {
        self.missed.add(channel);
    }

    /// The logs of which records were not delivered.
    pub(super) const fn missed(&self) -> &MissedLogs {
        &self.missed
    }

    /// The peer knows which records were not delivered.
    pub(super) fn missed_is_told(&mut self) {
        self.missed = MissedLogs::NONE;
    }

    /// Whether deliveries have not left.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether nothing waits and everything was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.unanswered.is_empty()
    }

    /// Counts what is in it.
    pub(super) fn count(&self, tables: &mut Tables) {
        tables.queued += self.waiting.len();
        tables.queued_bytes += self.bytes;
        tables.unanswered += self.unanswered.len();
    }

    /// The size of the deliveries that have not left, in bytes, by estimate.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Deliveries that were not answered.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.waiting.len() + self.unanswered.len()
    }
}

/// A delivery does not reach its instance: records in it are missed there.
fn miss(missed: &mut MissedLogs, delivery: &Delivery) {
    match &delivery.to {
        Addressees::Everyone | Addressees::Members { .. } | Addressees::Session(_) => {}
        Addressees::Record { topic, .. } => missed.add(&topic.clone().into()),
        Addressees::Keys(addressees) => {
            let records = addressees.iter().filter(|one| one.record.is_some());
            records.for_each(|one| missed.add(&one.key.clone().into()));
        }
    }
}

/// Whether an instance that gets it again does not know it again.
const fn counts_twice(delivery: &Delivery) -> bool {
    match delivery.to {
        Addressees::Session(_) => true,
        Addressees::Keys(_)
        | Addressees::Everyone
        | Addressees::Members { .. }
        | Addressees::Record { .. } => false,
    }
}

fn size(delivery: &Delivery) -> usize {
    let payload = match &delivery.action {
        crate::message::Action::Frame(payload) => payload.len(),
        crate::message::Action::Close(_) | crate::message::Action::List { .. } => 0,
        crate::message::Action::Join(topic) | crate::message::Action::Leave(topic) => {
            topic.as_bytes().len()
        }
    };
    let addressees = match &delivery.to {
        Addressees::Everyone | Addressees::Session(_) => 0,
        Addressees::Members { topics, .. } => topics
            .iter()
            .map(|topic| NAME + topic.as_bytes().len())
            .sum(),
        Addressees::Record { topic, breadth, .. } => {
            let marks = match breadth {
                Breadth::OneTopic => 0,
                Breadth::SeveralTopics(marks) => size_of::<u16>() * marks.len(),
            };
            OVERHEAD + topic.as_bytes().len() + marks
        }
        Addressees::Keys(addressees) => addressees.iter().map(addressee_size).sum(),
    };
    OVERHEAD + payload + addressees
}

fn addressee_size(addressee: &Addressee) -> usize {
    let asked = match &addressee.ask {
        Ask::Nobody | Ask::All => 0,
        Ask::Only(connections) => connections.len(),
    };
    OVERHEAD + NAME * (addressee.named.len() + asked)
}

impl Fingerprint for Queue {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.waiting.fingerprint(now, hasher);
        self.unanswered.fingerprint(now, hasher);
        self.missed.hash(hasher);
    }
}

impl Fingerprint for QueuedDelivery {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.delivery.id.fingerprint(now, hasher);
        self.delivery.push.fingerprint(now, hasher);
        self.delivery.action.fingerprint(now, hasher);
        self.delivery.to.hash(hasher);
        self.due.fingerprint(now, hasher);
        hasher.write_u8(self.breaks);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use smallvec::smallvec;

    use super::*;
    use crate::frame::Payload;
    use crate::id::{ConnectionId, PushId, UserId};
    use crate::message::Action;
    use crate::peers::wire::encoded_size_hint;

    const DUE: Instant = Instant::from_nanos(1_000_000_000);

    fn addressee(names: usize) -> Addressee {
        Addressee {
            key: UserId::new("ann").expect("a user").into(),
            named: smallvec![ConnectionId::new(uuid::Uuid::nil()); names],
            ask: Ask::Nobody,
            record: None,
        }
    }

    fn deliver() -> Delivery {
        Delivery {
            id: DeliveryId::new(1),
            push: PushId::new(uuid::Uuid::nil()),
            within: Duration::ZERO,
            action: Action::Frame(Payload::binary(vec![0; 100].into())),
            to: Addressees::Keys(smallvec![addressee(1)]),
        }
    }

    /// H24: the names in a delivery count, and what was counted is taken off again.
    #[test]
    fn addressees_that_join_count_until_the_delivery_has_left() {
        let limit = 2000;
        let mut queue = Queue::new();
        assert_eq!(queue.push(deliver(), DUE, limit), Ok(()));
        let alone = queue.bytes();
        assert_eq!(queue.join(addressee(10), limit), Ok(()));
        assert!(queue.bytes() > alone + 160);
        assert_eq!(queue.join(addressee(100), limit), Err(addressee(100)));
        let full = queue.bytes();
        let mut batch = Batch::new();
        queue.leave(Instant::START, &mut batch, |_, _| true);
        assert_eq!((queue.bytes(), queue.waits(), queue.open()), (0, false, 1));
        assert_eq!(queue.take_back(1, limit), []);
        assert_eq!(queue.bytes(), full);
        queue.forget_overdue(DUE);
        assert_eq!((queue.bytes(), queue.is_idle()), (0, true));
    }

    /// A batch that no peer takes would break the link, and the next one.
    #[test]
    fn a_delivery_never_outgrows_a_batch() {
        let limit = usize::MAX;
        let mut queue = Queue::new();
        assert_eq!(queue.push(deliver(), DUE, limit), Ok(()));
        let mut joined = 0;
        while queue.join(addressee(100_000), limit).is_ok() {
            joined += 1;
        }
        let last = queue.last().expect("it waits").clone();
        let size = encoded_size_hint(&Message::Deliver(last));
        assert!(joined > 10 && size <= MAX_BATCH_BYTES, "{joined}: {size}");
    }

    /// A delivery under which links keep breaking is given up.
    #[test]
    fn a_delivery_survives_one_broken_link() {
        let mut queue = Queue::new();
        assert_eq!(queue.push(deliver(), DUE, 2000), Ok(()));
        let mut batch = Batch::new();
        queue.leave(Instant::START, &mut batch, |_, _| true);
        assert_eq!(queue.take_back(1, 2000), []);
        queue.leave(Instant::START, &mut batch, |_, _| true);
        assert_eq!(queue.take_back(1, 2000), [DeliveryId::new(1)]);
        assert!(queue.is_idle());
    }
}
