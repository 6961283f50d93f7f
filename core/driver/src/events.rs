//! What happens to terminals, for the application.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_listener::{Event as Signal, EventListener};
use switchboard_core::event::Disconnected;
use switchboard_core::frame::Payload;
use switchboard_core::id::{ConnectionId, TopicId, UserId};
use switchboard_core::position::Position;

/// Something that happened to a terminal. `Connected` comes first, `Disconnected` last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalEvent {
    /// A terminal was greeted.
    Connected {
        /// The user that the terminal belongs to.
        user: UserId,
        /// The UUID of the connection.
        connection: ConnectionId,
        /// What its login named.
        session: Option<String>,
    },
    /// A terminal sent a message.
    Message {
        /// The user that the terminal belongs to.
        user: UserId,
        /// The UUID of the connection.
        connection: ConnectionId,
        /// What it sent.
        payload: Payload,
    },
    /// A terminal that follows a log has confirmed a record, and all that it was told of that log before on this connection.
    /// While one of these waits for the application, a later one of the same terminal and log takes its place.
    Acked {
        /// The user that the terminal belongs to.
        user: UserId,
        /// The UUID of the connection.
        connection: ConnectionId,
        /// The record's position in the log.
        position: Position,
        /// The topic whose log it is. `None`: it is that of the user.
        topic: Option<TopicId>,
    },
    /// A terminal was told that it is a member of a topic. While one of these or of the next waits for the application,
    /// a later one of the same terminal and topic takes its place.
    Joined {
        /// The user that the terminal belongs to.
        user: UserId,
        /// The UUID of the connection.
        connection: ConnectionId,
        /// The topic that it is a member of.
        topic: TopicId,
    },
    /// A terminal is a member of a topic no longer. One that disconnects leaves all of its topics, and this is not said.
    Left {
        /// The user that the terminal belongs to.
        user: UserId,
        /// The UUID of the connection.
        connection: ConnectionId,
        /// The topic that it was a member of.
        topic: TopicId,
    },
    /// A greeted terminal is gone.
    Disconnected {
        /// The user that the terminal belongs to.
        user: UserId,
        /// The UUID of the connection.
        connection: ConnectionId,
        /// What its login named.
        session: Option<String>,
        /// How its connection ended.
        reason: Disconnected,
    },
}

impl TerminalEvent {
    pub(crate) const fn membership(
        user: UserId,
        connection: ConnectionId,
        topic: TopicId,
        is_member: bool,
    ) -> Self {
        match is_member {
            true => Self::Joined {
                user,
                connection,
                topic,
            },
            false => Self::Left {
                user,
                connection,
                topic,
            },
        }
    }
}

/// The stream of what happens at a server. While it is full of messages, terminals are not read.
/// Once it is dropped, messages go nowhere, and terminals are told so.
pub struct Events(Arc<Queue>);

impl Events {
    /// Waits for the next one. `None` once the server has ended and all were taken.
    pub async fn next(&mut self) -> Option<TerminalEvent> {
        loop {
            let arrival = self.0.arrived.listen();
            match self.0.take() {
                Taken::Event(event) => return Some(event),
                Taken::Ended => return None,
                Taken::Empty => arrival.await,
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.0.end();
        self.0.discard();
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// Connects, disconnects, confirmations and memberships that may wait for an application that does not read. Beyond it no
/// terminal is accepted, so that what waits is bounded: of those that are connected one notice each is to come, and one
/// for each topic that they are a member of, or follow. At about 200 bytes each this is 20 MB.
const NOTICES_MAX: usize = 100_000;

/// Beyond so many, terminals that want to join or leave a topic wait with that: they choose how many notices come of it.
/// Half of all, so that nobody else is kept out by them.
const WISHES_MAX: usize = NOTICES_MAX / 2;

/// The queue between instances and application. Messages wait outside while it is full; notices
/// never do, because an instance does not wait and no notice may be lost.
pub(crate) struct Queue {
    state: Mutex<State>,
    capacity: usize,
    arrived: Signal,
    room: Signal,
    /// Fewer notices wait than wishes have to wait for.
    calmed: Signal,
}

struct State {
    events: VecDeque<TerminalEvent>,
    messages: usize,
    /// The last record that each terminal has confirmed of which a confirmation waits, by the topic whose log it is.
    confirmed: HashMap<(ConnectionId, Option<TopicId>), Position>,
    /// Whether each terminal is a member of each topic of which a notice waits.
    members: HashMap<(ConnectionId, TopicId), bool>,
    open: bool,
}

impl State {
    fn notices(&self) -> usize {
        self.events.len() - self.messages
    }
}

/// Why a message was not taken.
pub(crate) enum NotTaken {
    /// Try again when this ends.
    Full(TerminalEvent, EventListener),
    /// The application listens no longer: it has dropped its [`Events`].
    Closed,
}

enum Taken {
    Event(TerminalEvent),
    Empty,
    Ended,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> (Arc<Self>, Events) {
        let queue = Arc::new(Self {
            state: Mutex::new(State {
                events: VecDeque::new(),
                messages: 0,
                confirmed: HashMap::new(),
                members: HashMap::new(),
                open: true,
            }),
            capacity: capacity.max(1),
            arrived: Signal::new(),
            room: Signal::new(),
            calmed: Signal::new(),
        });
        (Arc::clone(&queue), Events(queue))
    }

    /// Whether the application is too far behind to take more terminals.
    pub(crate) fn is_overwhelmed(&self) -> bool {
        self.lock().notices() > NOTICES_MAX
    }

    /// Whether it is too far behind to be told what comes of the wishes of terminals. They ask again when what is
    /// returned ends.
    pub(crate) fn until_calm(&self) -> Option<EventListener> {
        let state = self.lock();
        // Listening under the lock: what is taken later is not missed.
        (state.open && state.notices() >= WISHES_MAX).then(|| self.calmed.listen())
    }

    pub(crate) fn notify(&self, event: TerminalEvent) {
        let mut state = self.lock();
        if !state.open {
            return;
        }
        if let TerminalEvent::Acked {
            connection,
            position,
            topic,
            ..
        } = &event
            && (state
                .confirmed
                .insert((*connection, topic.clone()), *position))
            .is_some()
        {
            // The one that waits says it.
            return;
        }
        let membership = match &event {
            TerminalEvent::Joined {
                connection, topic, ..
            } => Some((*connection, topic.clone(), true)),
            TerminalEvent::Left {
                connection, topic, ..
            } => Some((*connection, topic.clone(), false)),
            TerminalEvent::Connected { .. }
            | TerminalEvent::Message { .. }
            | TerminalEvent::Acked { .. }
            | TerminalEvent::Disconnected { .. } => None,
        };
        if let Some((connection, topic, is_member)) = membership
            && (state.members.insert((connection, topic), is_member)).is_some()
        {
            return;
        }
        state.events.push_back(event);
        drop(state);
        self.arrived.notify(1);
    }

    pub(crate) fn offer(&self, message: TerminalEvent) -> Result<(), NotTaken> {
        let mut state = self.lock();
        if !state.open {
            return Err(NotTaken::Closed);
        }
        if state.messages >= self.capacity {
            // Listening under the lock: a place that becomes free later is not missed.
            return Err(NotTaken::Full(message, self.room.listen()));
        }
        state.messages += 1;
        state.events.push_back(message);
        drop(state);
        self.arrived.notify(1);
        Ok(())
    }

    /// The server has ended, or nobody listens.
    pub(crate) fn end(&self) {
        self.lock().open = false;
        self.arrived.notify(usize::MAX);
        self.room.notify(usize::MAX);
        self.calmed.notify(usize::MAX);
    }

    /// Nobody will read what waits: it holds no terminal up, and no memory.
    fn discard(&self) {
        let mut state = self.lock();
        state.events = VecDeque::new();
        state.messages = 0;
        state.confirmed = HashMap::new();
        state.members = HashMap::new();
    }

    fn take(&self) -> Taken {
        let mut state = self.lock();
        let notices = state.notices();
        let Some(mut event) = state.events.pop_front() else {
            return if state.open {
                Taken::Empty
            } else {
                Taken::Ended
            };
        };
        let is_message = matches!(event, TerminalEvent::Message { .. });
        if notices == WISHES_MAX && !is_message {
            self.calmed.notify(usize::MAX);
        }
        match &mut event {
            TerminalEvent::Message { .. } => {
                state.messages -= 1;
                drop(state);
                self.room.notify(1);
            }
            TerminalEvent::Acked {
                connection,
                position,
                topic,
                ..
            } => {
                let log = (*connection, topic.clone());
                if let Some(last) = state.confirmed.remove(&log) {
                    *position = last;
                }
            }
            TerminalEvent::Joined {
                user,
                connection,
                topic,
            }
            | TerminalEvent::Left {
                user,
                connection,
                topic,
            } => {
                let last = state.members.remove(&(*connection, topic.clone()));
                if let Some(is_member) = last {
                    let (user, topic) = (user.clone(), topic.clone());
                    event = TerminalEvent::membership(user, *connection, topic, is_member);
                }
            }
            TerminalEvent::Connected { .. } | TerminalEvent::Disconnected { .. } => {}
        }
        Taken::Event(event)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn messages_wait_outside_while_the_queue_is_full_and_notices_never_do() {
        let (queue, mut events) = Queue::new(1);
        assert!(queue.offer(message()).is_ok());
        let Err(NotTaken::Full(held, room)) = queue.offer(message()) else {
            panic!("the queue takes one message")
        };
        queue.notify(connected());
        assert_eq!(events.next().now_or_never().flatten(), Some(message()));
        assert!(
            room.now_or_never().is_some(),
            "the place that became free is announced"
        );
        assert!(queue.offer(held).is_ok());
        assert_eq!(events.next().now_or_never().flatten(), Some(connected()));
        assert_eq!(events.next().now_or_never().flatten(), Some(message()));
    }

    #[test]
    fn of_the_confirmations_of_a_terminal_the_last_one_waits() {
        let (queue, mut events) = Queue::new(1);
        let mut next = || events.next().now_or_never().flatten();
        for number in 1..=3 {
            queue.notify(acked(number));
        }
        queue.notify(connected());
        assert_eq!(next(), Some(acked(3)));
        queue.notify(acked(4));
        assert_eq!((next(), next()), (Some(connected()), Some(acked(4))));
        assert_eq!(next(), None);
    }

    #[test]
    fn of_the_news_of_a_membership_the_last_one_waits() {
        let (queue, mut events) = Queue::new(1);
        let mut next = || events.next().now_or_never().flatten();
        queue.notify(member("news", true));
        queue.notify(member("sport", true));
        queue.notify(member("news", false));
        assert_eq!(next(), Some(member("news", false)));
        assert_eq!(next(), Some(member("sport", true)));
        queue.notify(member("news", true));
        assert_eq!((next(), next()), (Some(member("news", true)), None));
    }

    #[test]
    fn what_happened_before_the_end_is_still_read() {
        let (queue, mut events) = Queue::new(1);
        queue.notify(connected());
        queue.end();
        assert_eq!(events.next().now_or_never(), Some(Some(connected())));
        assert_eq!(events.next().now_or_never(), Some(None));
    }

    #[test]
    fn a_dropped_stream_holds_no_terminal_up() {
        let (queue, events) = Queue::new(1);
        drop(events);
        assert!(matches!(queue.offer(message()), Err(NotTaken::Closed)));
    }

    #[test]
    fn a_stream_that_is_dropped_far_behind_keeps_no_terminal_out() {
        let (queue, events) = Queue::new(1);
        for _ in 0..=NOTICES_MAX {
            queue.notify(connected());
        }
        assert!(queue.is_overwhelmed());
        drop(events);
        assert!(!queue.is_overwhelmed());
    }

    /// H24: each topic is a notice of its own, and terminals choose how many there are.
    #[test]
    fn wishes_wait_for_an_application_that_is_far_behind_and_keep_nobody_out() {
        let (queue, mut events) = Queue::new(1);
        let mut wishes = 0;
        while wishes < 2 * NOTICES_MAX && queue.until_calm().is_none() {
            queue.notify(member(&wishes.to_string(), true));
            wishes += 1;
        }
        assert!(!queue.is_overwhelmed(), "{wishes} wishes");
        let wait = || queue.until_calm().expect("it is far behind");
        let (mut first, mut second) = (wait(), wait());
        assert!((&mut first).now_or_never().is_none());
        assert!(events.next().now_or_never().is_some());
        assert_eq!(
            [first, second].map(|calm| calm.now_or_never()),
            [Some(()); 2]
        );
        assert!(queue.until_calm().is_none());
        queue.notify(connected());
        second = queue.until_calm().expect("it is far behind again");
        drop(events);
        assert_eq!(second.now_or_never(), Some(()));
        assert!(queue.until_calm().is_none(), "nobody is told any more");
    }

    fn member(topic: &str, is_member: bool) -> TerminalEvent {
        let connection = ConnectionId::new(Uuid::nil());
        TerminalEvent::membership(user(), connection, TopicId::new(topic).unwrap(), is_member)
    }

    fn user() -> UserId {
        UserId::new("alice").unwrap()
    }

    fn connected() -> TerminalEvent {
        TerminalEvent::Connected {
            user: user(),
            connection: ConnectionId::new(Uuid::nil()),
            session: None,
        }
    }

    fn acked(number: u64) -> TerminalEvent {
        TerminalEvent::Acked {
            user: user(),
            connection: ConnectionId::new(Uuid::nil()),
            position: Position::new(number, 0).unwrap(),
            topic: None,
        }
    }

    fn message() -> TerminalEvent {
        TerminalEvent::Message {
            user: user(),
            connection: ConnectionId::new(Uuid::nil()),
            payload: Payload::binary(bytes::Bytes::new()),
        }
    }
}
