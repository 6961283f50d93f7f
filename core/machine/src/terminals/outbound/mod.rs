//! What waits for one terminal.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use crate::base::few::Few;
use crate::base::fingerprint::Fingerprint;
use crate::config::{Config, SlowConsumer};
use crate::frame::{HelloLog, LogNews, Messages, Outgoing, Pushed};
use crate::id::{ConnectionId, TopicId};
use crate::message::Outcome;
use crate::position::Position;
use crate::terminals::topics::TopicWord;
use crate::time::Instant;
use crate::vocabulary::delivery::Ticket;

mod lazy;
mod queued;

pub(super) use lazy::LazyOutbound;
use queued::Queued;

/// A queue, bounded by bytes and by frames. The frames at its front are with the driver until they
/// are written; the others wait here and leave as one batch. Switchboard's own frames take no room
/// from pushes and give way to none: the hello, which stands before all others, the answer to
/// the terminal's messages, of which at most one waits, whatever the terminal sends, and where a
/// follower stands, of which a few wait.
#[derive(Clone, Debug)]
pub(crate) struct Outbound {
    queue: VecDeque<Queued>,
    /// Bytes of the pushes in it.
    bytes: usize,
    /// How many pushes and records are in it.
    pushes: usize,
    /// Words of where a follower stands in it.
    words: usize,
    /// Words of topics in it.
    topic_words: usize,
    /// Those that it waits for: what stands behind the first does not leave.
    awaited: usize,
    in_flight: usize,
    /// The terminal's messages that are to be answered. The answer leaves with the next batch.
    unanswered: Option<Messages>,
}

/// Why a record is not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Until something is written.
    Yet,
    /// It is larger than the queue.
    Ever,
}

/// What became of an offered frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It waits. The tickets of the frames that gave way.
    Queued(Vec<Ticket>),
    /// There is no room for it.
    Refused,
    /// There will never be room for it.
    TooLarge,
    /// There is no room for it, and the terminal is to be closed.
    Close,
}

/// Words of where a follower stands that wait, at most: one for each of several records that are skipped in a row.
const WORDS: usize = 8;

/// Slots of an empty queue that are kept: a terminal that gets a message now and then allocates
/// nothing for it, and an idle one holds next to nothing.
const KEPT_SLOTS: usize = 4;

impl Outbound {
    pub(crate) const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            pushes: 0,
            words: 0,
            topic_words: 0,
            awaited: 0,
            in_flight: 0,
            unanswered: None,
        }
    }

    /// Queues a record of this size after encoding, if there is room. Nothing gives way to it: the log has it.
    pub(crate) fn offer_record(
        &mut self,
        pushed: Pushed,
        size: usize,
        ticket: Option<Ticket>,
        config: &Config,
    ) -> Result<(), NoRoom> {
        if pushed.payload().len() > config.queue_bytes {
            return Err(NoRoom::Ever);
        }
        if !self.has_room(size, config) {
            return Err(NoRoom::Yet);
        }
        self.bytes += size;
        self.pushes += 1;
        self.queue.push_back(Queued::Record {
            pushed,
            size,
            ticket,
        });
        Ok(())
    }

    /// The ticket will be told when the record at this position is written, if it waits here or is with the
    /// driver.
    ///
    /// # Errors
    ///
    /// What became of it, if the ticket will not be told: it is written, or another ticket will be.
    pub(crate) fn await_record(
        &mut self,
        position: Position,
        ticket: Ticket,
    ) -> Result<(), Outcome> {
        for queued in &mut self.queue {
            match queued {
                Queued::Record {
                    pushed, ticket: of, ..
                } if pushed.position() == Some(position) => {
                    if of.is_some() {
                        return Err(Outcome::Kept);
                    }
                    *of = Some(ticket);
                    return Ok(());
                }
                Queued::Record { .. }
                | Queued::Push { .. }
                | Queued::Hello { .. }
                | Queued::Word { .. }
                | Queued::Topic(_)
                | Queued::Awaited(_)
                | Queued::Received(_) => {}
            }
        }
        Err(Outcome::Written)
    }

    /// A follower is to be told where it stands in the log of its user, or in that of a topic.
    ///
    /// # Errors
    ///
    /// So many such words wait that this one is to be found out again when they are written.
    pub(crate) fn say(&mut self, topic: Option<TopicId>, news: LogNews) -> Result<(), NoRoom> {
        if self.words == WORDS {
            return Err(NoRoom::Yet);
        }
        self.words += 1;
        self.queue.push_back(Queued::Word { topic, news });
        Ok(())
    }

    /// The terminal is to be told something of a topic. That it is a member comes in the place that was kept for it.
    ///
    /// # Errors
    ///
    /// More such words wait than an honest terminal can cause: each topic that it may be a member of, joined and left.
    pub(super) fn say_of_topic(&mut self, word: TopicWord, config: &Config) -> Result<(), NoRoom> {
        if self.topic_words >= config.topic_words() {
            return Err(NoRoom::Yet);
        }
        self.topic_words += 1;
        let place = match &word {
            TopicWord::Joined { topic, .. } => self.place_of_word(topic),
            TopicWord::Log(..)
            | TopicWord::Left(_)
            | TopicWord::NotJoined(..)
            | TopicWord::NotWatched(..)
            | TopicWord::Presence(_) => None,
        };
        let word = Queued::Topic(word);
        match place.and_then(|place| self.queue.get_mut(place)) {
            Some(place) => {
                *place = word;
                self.awaited -= 1;
            }
            None => self.queue.push_back(word),
        }
        Ok(())
    }

    /// Neither what was queued last nor what is queued from here on leaves before the terminal is told that it is a member of
    /// this topic. There is one such place for each topic that it is about to be a member of, at most.
    pub(super) fn await_word(&mut self, topic: &TopicId) {
        if self.place_of_word(topic).is_none() {
            self.awaited += 1;
            let last = self.queue.len().saturating_sub(1).max(self.in_flight);
            self.queue.insert(last, Queued::Awaited(topic.clone()));
        }
    }

    /// The terminal will not be told that it is a member of this topic. What was pushed to it for that is dropped: the
    /// tickets, in order.
    pub(super) fn await_no_more(&mut self, topic: &TopicId) -> Vec<Ticket> {
        let Some(place) = self.place_of_word(topic) else {
            return Vec::new();
        };
        self.awaited -= 1;
        let behind = self.queue.split_off(place);
        let mut tickets = Vec::new();
        for queued in behind.into_iter().skip(1) {
            match &queued {
                Queued::Push { pushed, .. } if pushed.topic() == Some(topic) => {
                    tickets.extend(self.let_go(&queued));
                }
                Queued::Push { .. }
                | Queued::Hello { .. }
                | Queued::Word { .. }
                | Queued::Topic(_)
                | Queued::Awaited(_)
                | Queued::Received(_)
                | Queued::Record { .. } => self.queue.push_back(queued),
            }
        }
        tickets
    }

    /// The same, of all topics.
    pub(crate) fn await_nothing_more(&mut self) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        while let Some(topic) = self.first_awaited().map(|(_, topic)| topic.clone()) {
            tickets.extend(self.await_no_more(&topic));
        }
        tickets
    }

    fn place_of_word(&self, topic: &TopicId) -> Option<usize> {
        if self.awaited == 0 {
            return None;
        }
        let mut queue = self.queue.iter();
        queue.position(|queued| queued.awaited() == Some(topic))
    }

    fn first_awaited(&self) -> Option<(usize, &TopicId)> {
        if self.awaited == 0 {
            return None;
        }
        let mut queue = self.queue.iter().enumerate();
        queue.find_map(|(place, queued)| Some((place, queued.awaited()?)))
    }

    /// Queues a push of this size after encoding, if there is room by the policy. An empty queue takes
    /// whatever encoding has made of a payload that is within the limit: what is promised to the caller holds
    /// for each terminal, whatever its transport.
    pub(crate) fn offer(
        &mut self,
        pushed: Pushed,
        size: usize,
        ticket: Ticket,
        policy: SlowConsumer,
        config: &Config,
    ) -> Offered {
        if pushed.payload().len() > config.queue_bytes {
            return Offered::TooLarge;
        }
        let mut gave_way = Vec::new();
        if !self.has_room(size, config) {
            match policy {
                SlowConsumer::Close => return Offered::Close,
                SlowConsumer::DropNewest => return Offered::Refused,
                SlowConsumer::DropOldest => {
                    if !self.could_make_room(size, config) {
                        return Offered::Refused;
                    }
                    while !self.has_room(size, config) {
                        let waiting = self.queue.iter().skip(self.in_flight);
                        let oldest = waiting.take_while(|queued| queued.size().is_none()).count();
                        let Some(oldest) = self.queue.remove(self.in_flight + oldest) else {
                            break;
                        };
                        gave_way.extend(self.let_go(&oldest));
                    }
                }
            }
        }
        self.bytes += size;
        self.pushes += 1;
        self.queue.push_back(Queued::Push {
            pushed,
            size,
            ticket,
        });
        Offered::Queued(gave_way)
    }

    /// The terminal's messages up to now are to be answered. Returns whether no answer waited.
    pub(crate) const fn answer(&mut self, messages: Messages) -> bool {
        self.unanswered.replace(messages).is_none()
    }

    /// Puts the hello before all that wait: nothing has been written yet.
    pub(crate) fn greet(&mut self, connection: ConnectionId, degraded: bool, log: HelloLog) {
        debug_assert!(!self.is_writing(), "something overtakes the hello");
        self.queue.push_front(Queued::Hello {
            connection,
            degraded,
            log,
        });
    }

    /// Takes the next batch, if none is with the driver.
    pub(crate) fn next_batch(&mut self) -> impl Iterator<Item = Outgoing> {
        let batch = if self.in_flight == 0 {
            let mut end = (self.first_awaited()).map_or(self.queue.len(), |(place, _)| place);
            if let Some(messages) = self.unanswered.take() {
                self.queue.insert(end, Queued::Received(messages));
                end += 1;
            }
            self.in_flight = end;
            0..end
        } else {
            0..0
        };
        self.queue.range(batch).filter_map(Queued::outgoing)
    }

    /// The batch with the driver is written: its tickets, in order.
    pub(crate) fn written(&mut self) -> Few<Ticket> {
        let batch = std::mem::take(&mut self.in_flight);
        let mut tickets = Few::with_capacity(batch);
        let mut greeted = false;
        for _ in 0..batch {
            let Some(queued) = self.queue.pop_front() else {
                break;
            };
            greeted |= matches!(queued, Queued::Hello { .. });
            if let Some(ticket) = self.let_go(&queued) {
                tickets.push(ticket);
            }
        }
        if self.queue.is_empty() {
            if greeted {
                // Many a terminal is told nothing for a long time after its hello.
                self.queue = VecDeque::new();
            } else if self.queue.capacity() > KEPT_SLOTS {
                self.queue = VecDeque::with_capacity(KEPT_SLOTS);
            }
        }
        tickets
    }

    /// Records of a topic's log from this offset on are left out of the batch with the driver: their tickets, in order.
    pub(crate) fn withhold(&mut self, topic: &TopicId, from: u64) -> Vec<Ticket> {
        let batch = self.queue.range_mut(..self.in_flight);
        let tickets = batch.filter_map(|queued| match queued {
            Queued::Record { pushed, ticket, .. } => {
                let is_behind = |position: Position| position.offset() >= from;
                let is_left_out =
                    pushed.topic() == Some(topic) && pushed.position().is_some_and(is_behind);
                is_left_out.then(|| ticket.take()).flatten()
            }
            Queued::Hello { .. }
            | Queued::Word { .. }
            | Queued::Topic(_)
            | Queued::Awaited(_)
            | Queued::Received(_)
            | Queued::Push { .. } => None,
        });
        tickets.collect()
    }

    /// Drops what waits and is not with the driver: its tickets, in order.
    pub(crate) fn drop_waiting(&mut self) -> Vec<Ticket> {
        self.unanswered = None;
        self.awaited = 0;
        let waiting = self.queue.split_off(self.in_flight);
        (waiting.iter())
            .filter_map(|queued| self.let_go(queued))
            .collect()
    }

    /// Drops everything: the tickets, in order.
    pub(crate) fn drop_all(&mut self) -> Vec<Ticket> {
        let all = std::mem::replace(self, Self::new());
        all.queue.iter().filter_map(Queued::ticket).collect()
    }

    /// Whether a batch is with the driver.
    pub(crate) const fn is_writing(&self) -> bool {
        self.in_flight > 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.unanswered.is_none()
    }

    /// Whether it holds no memory either.
    fn is_bare(&self) -> bool {
        self.queue.capacity() == 0 && self.unanswered.is_none()
    }

    /// What waits or is with the driver, an answer included.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + usize::from(self.unanswered.is_some())
    }

    /// Whether there is room for more than a record or two.
    pub(crate) const fn is_roomy(&self, config: &Config) -> bool {
        self.pushes * 2 <= config.queue_frames
            && self.bytes * 2 <= config.queue_bytes
            && self.words * 2 <= WORDS
    }

    /// Bytes of pushes that wait or are with the driver.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Pushes that wait or are with the driver.
    pub(crate) const fn frames(&self) -> usize {
        self.pushes
    }

    const fn has_room(&self, bytes: usize, config: &Config) -> bool {
        self.pushes == 0
            || self.pushes < config.queue_frames && self.bytes + bytes <= config.queue_bytes
    }

    /// Whether there is room once all that waits has given way.
    fn could_make_room(&self, bytes: usize, config: &Config) -> bool {
        let held = (self.queue.iter().take(self.in_flight)).filter_map(Queued::size);
        let (frames, held) = held.fold((0, 0), |(frames, held), size| (frames + 1, held + size));
        frames == 0 || frames < config.queue_frames && held + bytes <= config.queue_bytes
    }

    /// A frame is in the queue no more.
    fn let_go(&mut self, queued: &Queued) -> Option<Ticket> {
        match queued {
            Queued::Word { .. } => self.words -= 1,
            Queued::Topic(_) => self.topic_words -= 1,
            Queued::Hello { .. }
            | Queued::Awaited(_)
            | Queued::Received(_)
            | Queued::Push { .. }
            | Queued::Record { .. } => {}
        }
        self.bytes -= queued.size()?;
        self.pushes -= 1;
        queued.ticket()
    }
}

impl Fingerprint for Outbound {
    fn fingerprint(&self, _: Instant, hasher: &mut impl Hasher) {
        hasher.write_usize(self.in_flight);
        self.unanswered.hash(hasher);
        for queued in &self.queue {
            queued.awaited().hash(hasher);
            queued.outgoing().hash(hasher);
            queued.ticket().hash(hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::slots::SlotKey;
    use crate::frame::Payload;
    use crate::id::{InboundKey, PushId};

    fn config(slow_consumer: SlowConsumer) -> Config {
        Config {
            queue_bytes: 30,
            queue_frames: 3,
            slow_consumer,
            ..Config::default()
        }
    }

    fn ticket(index: u32) -> Ticket {
        Ticket {
            delivery: InboundKey::new(0, 0),
            index,
            push: PushId::new(uuid::Uuid::nil()),
        }
    }

    fn push(bytes: usize) -> Pushed {
        let payload = Payload::binary(Bytes::from(vec![0; bytes]));
        Pushed::new(PushId::new(uuid::Uuid::nil()), None, payload)
    }

    fn pushed(bytes: usize) -> Outgoing {
        Outgoing::Pushed(push(bytes))
    }

    fn filled(config: &Config) -> Outbound {
        let mut outbound = Outbound::new();
        for index in 0..3 {
            let offered = outbound.offer(push(10), 10, ticket(index), config.slow_consumer, config);
            assert_eq!(offered, Offered::Queued(vec![]));
            if index == 0 {
                assert_eq!(outbound.next_batch().count(), 1);
            }
        }
        outbound
    }

    /// H24: what arrives during a write leaves as one batch, and never overtakes it.
    #[test]
    fn one_batch_at_a_time_is_with_the_driver() {
        let mut outbound = filled(&config(SlowConsumer::Close));
        assert_eq!(outbound.next_batch().count(), 0);
        assert_eq!(*outbound.written(), [ticket(0)]);
        assert_eq!(outbound.next_batch().count(), 2);
        assert_eq!(*outbound.written(), [ticket(1), ticket(2)]);
        assert_eq!((outbound.bytes(), outbound.frames()), (0, 0));
    }

    /// H23, H24: each policy does what its name says, and spares what is being written.
    #[test]
    fn a_full_queue_follows_its_policy() {
        let full = |policy| {
            let config = config(policy);
            filled(&config).offer(push(10), 10, ticket(9), config.slow_consumer, &config)
        };
        assert_eq!(full(SlowConsumer::Close), Offered::Close);
        assert_eq!(full(SlowConsumer::DropNewest), Offered::Refused);
        assert_eq!(
            full(SlowConsumer::DropOldest),
            Offered::Queued(vec![ticket(1)])
        );
    }

    /// H21: whatever comes for a terminal that is not greeted yet, its hello comes first, and once.
    #[test]
    fn a_hello_takes_no_room_and_gives_way_to_nothing() {
        let config = config(SlowConsumer::DropOldest);
        let mut outbound = Outbound::new();
        let connection = ConnectionId::new(uuid::Uuid::nil());
        outbound.greet(connection, false, HelloLog::NotAsked);
        let hello = Outgoing::Hello {
            connection,
            degraded: false,
            log: HelloLog::NotAsked,
        };
        for index in 0..3 {
            let offered =
                outbound.offer(push(10), 10, ticket(index), config.slow_consumer, &config);
            assert_eq!(offered, Offered::Queued(vec![]));
        }
        assert_eq!((outbound.bytes(), outbound.frames()), (30, 3));
        let offered = outbound.offer(push(10), 10, ticket(3), config.slow_consumer, &config);
        assert_eq!(offered, Offered::Queued(vec![ticket(0)]));
        let batch: Vec<_> = outbound.next_batch().collect();
        assert_eq!(batch, [hello, pushed(10), pushed(10), pushed(10)]);
        let offered = outbound.offer(push(10), 10, ticket(4), config.slow_consumer, &config);
        assert_eq!(offered, Offered::Refused, "the batch is with the driver");
        assert_eq!(*outbound.written(), [1, 2, 3].map(ticket));
        assert_eq!((outbound.bytes(), outbound.frames()), (0, 0));
    }

    /// H24: a terminal that sends much fills its own queue with nothing.
    #[test]
    fn an_answer_takes_no_room_and_stands_for_all_messages_before_it() {
        let config = config(SlowConsumer::DropOldest);
        let mut outbound = filled(&config);
        let first = |outbound: &mut Outbound| outbound.next_batch().next();
        let sent = |received| Messages {
            received,
            dropped: 0,
        };
        assert!(outbound.answer(sent(1)));
        assert!((2..=5000).all(|message| !outbound.answer(sent(message))));
        assert_eq!((outbound.bytes(), outbound.frames()), (30, 3));
        assert_eq!(*outbound.written(), [ticket(0)]);
        let batch: Vec<_> = outbound.next_batch().collect();
        assert_eq!(
            batch,
            [pushed(10), pushed(10), Outgoing::Received(sent(5000))]
        );
        assert!(
            outbound.answer(sent(5001)),
            "one is with the driver, none waits"
        );
        let offered = outbound.offer(push(10), 10, ticket(3), config.slow_consumer, &config);
        assert_eq!(offered, Offered::Queued(vec![]));
        assert_eq!(*outbound.written(), [ticket(1), ticket(2)]);
        assert_eq!(first(&mut outbound), Some(pushed(10)));
        assert_eq!(*outbound.written(), [ticket(3)]);
        assert!(outbound.is_empty());
        assert!(outbound.answer(sent(5002)) && !outbound.is_empty());
        assert_eq!(first(&mut outbound), Some(Outgoing::Received(sent(5002))));
        assert_eq!(*outbound.written(), []);
        assert_eq!((outbound.bytes(), outbound.frames()), (0, 0));
    }

    #[test]
    fn nothing_gives_way_to_a_frame_that_does_not_fit_beside_what_is_being_written() {
        let config = config(SlowConsumer::DropOldest);
        let mut outbound = filled(&config);
        let offered = outbound.offer(push(25), 25, ticket(3), config.slow_consumer, &config);
        assert_eq!(offered, Offered::Refused);
        assert_eq!(outbound.frames(), 3);
    }

    /// Whatever the policy: it is not the terminal's fault.
    #[test]
    fn a_frame_that_can_never_fit_costs_its_terminal_nothing() {
        for policy in [
            SlowConsumer::Close,
            SlowConsumer::DropNewest,
            SlowConsumer::DropOldest,
        ] {
            let config = config(policy);
            for mut outbound in [Outbound::new(), filled(&config)] {
                let frames = outbound.frames();
                let offered =
                    outbound.offer(push(31), 31, ticket(3), config.slow_consumer, &config);
                assert_eq!(offered, Offered::TooLarge);
                assert_eq!(outbound.frames(), frames);
            }
        }
    }

    /// Base64 makes four bytes of three, and each line of an event has a name before it.
    #[test]
    fn an_empty_queue_takes_what_encoding_has_made_larger_than_its_limit() {
        for (policy, behind) in [
            (SlowConsumer::Close, Offered::Close),
            (SlowConsumer::DropNewest, Offered::Refused),
            (SlowConsumer::DropOldest, Offered::Queued(vec![ticket(1)])),
        ] {
            let config = config(policy);
            let mut outbound = Outbound::new();
            outbound.greet(
                ConnectionId::new(uuid::Uuid::nil()),
                false,
                HelloLog::NotAsked,
            );
            let offered = outbound.offer(push(30), 40, ticket(1), config.slow_consumer, &config);
            assert_eq!(offered, Offered::Queued(vec![]), "{policy:?}");
            let offered = outbound.offer(push(30), 40, ticket(2), config.slow_consumer, &config);
            assert_eq!(offered, behind, "{policy:?}");
            assert_eq!((outbound.bytes(), outbound.frames()), (40, 1));
        }
    }
}
