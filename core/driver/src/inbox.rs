//! What waits for one instance, bounded by number and by bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_channel::{Receiver, Sender};
use event_listener::Event as Signal;
use switchboard_core::event::Event;
use switchboard_core::message::{Action, Push};

use crate::members::Input;

/// Inputs that wait for one instance, at most; whoever sends more waits. Large enough for several
/// batches, small enough that what waits there is old by milliseconds.
const INPUTS: usize = 1024;

/// Bytes of payloads and batches that wait for one instance, at most. As much as one peer may have
/// on its way; a larger one comes alone.
const BYTES: usize = 64 << 20;

/// Where inputs are sent to.
#[derive(Clone)]
pub(crate) struct Inbox {
    inputs: Sender<Posted>,
    room: Arc<Room>,
}

/// An input, and the room that it takes.
pub(crate) struct Posted {
    pub(crate) input: Input,
    _held: Option<Held>,
}

/// The instance has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended;

impl Inbox {
    /// An empty one, and the end from which the instance takes.
    pub(crate) fn new() -> (Self, Receiver<Posted>) {
        let (inputs, receiver) = async_channel::bounded(INPUTS);
        let room = Room::new(BYTES);
        (Self { inputs, room }, receiver)
    }

    /// Waits until there is room.
    ///
    /// # Errors
    ///
    /// If the instance has ended.
    pub(crate) async fn send(&self, input: Input) -> Result<(), Ended> {
        let held = match bytes_of(&input) {
            0 => None,
            bytes => Some(self.room.take(bytes).await),
        };
        let posted = Posted { input, _held: held };
        self.inputs.send(posted).await.map_err(|_| Ended)
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.inputs.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inputs.is_closed()
    }
}

/// Bytes that others have chosen the number of.
fn bytes_of(input: &Input) -> usize {
    match input {
        Input::Event(Event::LinkReceived { batch, .. }) => batch.len(),
        Input::Push(push, _) => payload(push),
        Input::Event(_)
        | Input::Accept(_)
        | Input::AcceptLink(_)
        | Input::Connections(..)
        | Input::Instances(_)
        | Input::Snapshot(_)
        | Input::Levels(_)
        | Input::Drain { .. } => 0,
    }
}

fn payload(push: &Push) -> usize {
    match &push.action {
        Action::Frame(payload) => payload.len(),
        Action::Close(_) => 0,
    }
}

/// Room for so many bytes, shared by whoever needs some.
pub(crate) struct Room {
    used: AtomicUsize,
    limit: usize,
    freed: Signal,
}

/// Some of it, until it is dropped.
pub(crate) struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
            freed: Signal::new(),
        })
    }

    /// Takes some, if there is as much or nobody has any.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        self.has(bytes).then(|| Held {
            room: Arc::clone(self),
            bytes,
        })
    }

    /// Whether there is as much, or nobody has any. Then it is used.
    fn has(&self, bytes: usize) -> bool {
        let more = |used: usize| (used == 0 || used + bytes <= self.limit).then_some(used + bytes);
        (self.used)
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more)
            .is_ok()
    }

    /// Waits until there is as much.
    async fn take(self: &Arc<Self>, bytes: usize) -> Held {
        loop {
            if let Some(held) = self.try_take(bytes) {
                return held;
            }
            let freed = self.freed.listen();
            if let Some(held) = self.try_take(bytes) {
                return held;
            }
            freed.await;
        }
    }
}

impl Held {
    /// Takes some more, if there is as much. Returns whether there was.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let grown = self.room.has(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::AcqRel);
        // Whoever waits may need more than this: each looks by itself.
        self.room.freed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use futures_channel::oneshot;
    use switchboard_core::config::Config;
    use switchboard_core::frame::Payload;
    use switchboard_core::message::Audience;

    use super::*;

    /// H24: what peers send faster than the instance takes it waits with them, however few batches
    /// it is.
    #[test]
    fn an_inbox_is_full_by_bytes_long_before_it_is_by_number() {
        let (inbox, inputs) = Inbox::new();
        let mut cx = Context::from_waker(Waker::noop());
        let half = || send(&inbox, BYTES / 2);
        assert!(half().as_mut().poll(&mut cx).is_ready());
        assert!(half().as_mut().poll(&mut cx).is_ready());
        let mut third = half();
        assert!(third.as_mut().poll(&mut cx).is_pending());
        // What has no bytes is not held up.
        let mut small = pin!(inbox.send(Input::Event(Event::DirectoryUp)));
        assert!(small.as_mut().poll(&mut cx).is_ready());
        drop(inputs.try_recv().expect("the first one"));
        assert!(third.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn what_is_larger_than_the_room_comes_alone() {
        let room = Room::new(10);
        let large = room.try_take(11).expect("nobody else is there");
        assert!(room.try_take(1).is_none());
        drop(large);
        assert!(room.try_take(1).is_some());
    }

    type Sent<'a> = Pin<Box<dyn Future<Output = Result<(), Ended>> + 'a>>;

    fn send(inbox: &Inbox, bytes: usize) -> Sent<'_> {
        let push = Push {
            id: crate::new_push_id(),
            to: Audience::Everyone,
            action: Action::Frame(Payload::binary(vec![0; bytes].into())),
            deadline: Config::DEADLINE_DEFAULT,
        };
        let (answer, _) = oneshot::channel();
        Box::pin(inbox.send(Input::Push(Box::new(push), answer)))
    }
}
