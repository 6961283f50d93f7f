//! What waits for one instance, bounded by number and by bytes.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender, TrySendError};
use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::future::{Either, ready};
use http::request::Parts;
use switchboard_core::channel::Channel;
use switchboard_core::event::{Answer, Event, Handshake, Login, Refused};
use switchboard_core::frame::{EncodedSize, Payload};
use switchboard_core::id::{ConnectionKey, InstanceId, SessionName, UserId};
use switchboard_core::logs::LogRequest;
use switchboard_core::message::{Action, Hearing, Push};
use switchboard_core::stats::Levels;
use switchboard_protocol::Protocol;

use crate::figures::Snapshot;
use crate::permits::{ByteBudget, Seat, SocketPermit, Spent, Turn};
use crate::queue::{Giver, QueueClosed, Taker, queue};
use crate::task::give_way;
use crate::transport::Opening;

/// Inputs that wait for one instance, at most; whoever sends more waits. Large enough for several
/// batches, small enough that what waits there is old by milliseconds.
const INPUTS: usize = 1024;

/// Bytes of payloads and batches that wait for one instance, at most. As much as one peer may have
/// on its way; a larger one comes alone.
const BYTES: usize = 64 << 20;

/// What comes to an instance from outside its own turn.
pub(crate) enum Input {
    /// Something happened to a socket, a link or the directory.
    Event(Event),
    /// A terminal wants to connect.
    Accept(Box<Accept>),
    /// A terminal that was accepted as a stranger has logged in.
    LogIn(Box<LoggedIn>),
    /// A terminal has said something on another connection than its own.
    Hear(Box<Relayed>),
    /// The same, of a terminal of an instance of another process.
    PassOn(Box<PassedOn>, oneshot::Sender<Answer>),
    /// Another instance opened a link.
    AcceptLink(LinkEnd),
    /// The application hands in a push.
    Push(Box<Push>, Caller),
    /// The application asks for a user's connections.
    Connections(UserId, Caller),
    /// The application wants something of a user's log.
    Log(Channel, LogRequest, Caller),
    /// The application asks for all instances.
    Instances(oneshot::Sender<Answer>),
    /// The application asks for figures.
    Snapshot(oneshot::Sender<Snapshot>),
    /// A scraper asks how full tables and queues are.
    Levels(oneshot::Sender<Levels>),
    /// The application wants the instance to end; the channel is dropped when it is drained.
    Drain {
        delay: Duration,
        spread: Duration,
        drained: oneshot::Sender<()>,
    },
}

/// Whoever waits for what the instance answers.
pub(crate) struct Caller {
    answer: oneshot::Sender<Answer>,
    /// That of a terminal that asks: it is over when the instance has done with the question, whether or not the terminal
    /// has waited for that.
    _turn: Option<Turn>,
}

impl Caller {
    /// One who asks when it is its turn.
    pub(crate) const fn in_turn(answer: oneshot::Sender<Answer>, turn: Turn) -> Self {
        Self {
            answer,
            _turn: Some(turn),
        }
    }

    /// Tells it the answer. It may have gone.
    pub(crate) fn tell(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

impl From<oneshot::Sender<Answer>> for Caller {
    /// One who asks whenever it wants.
    fn from(answer: oneshot::Sender<Answer>) -> Self {
        Self {
            answer,
            _turn: None,
        }
    }
}

/// A terminal that may connect, before the answer to its handshake.
pub(crate) struct Accept {
    pub(crate) who: Who,
    pub(crate) protocol: Protocol,
    pub(crate) session: Option<String>,
    /// What it has said already, if its first frame came with its request.
    pub(crate) first: Option<Payload>,
    pub(crate) opening: Opening,
    pub(crate) seat: Seat,
    pub(crate) answer: oneshot::Sender<Result<(), Refused>>,
}

/// A terminal that wants to connect.
pub(crate) enum Who {
    /// One of which the authenticator knows whose it is.
    Known(Handshake),
    /// One that says who it is behind the handshake.
    Stranger {
        /// How large pushes are in its protocol, over its transport.
        size: EncodedSize,
        /// Its request, which may have something to say to the authenticator as well.
        request: Box<Parts>,
    },
}

/// A stranger who is one no more.
pub(crate) struct LoggedIn {
    pub(crate) connection: ConnectionKey,
    pub(crate) login: Login,
    pub(crate) session: Option<String>,
}

/// A frame of a terminal that came on another connection than its own.
pub(crate) struct Relayed {
    pub(crate) session: SessionName,
    pub(crate) frame: Payload,
    pub(crate) answer: oneshot::Sender<Hearing>,
}

/// The same, of a terminal of another instance.
pub(crate) struct PassedOn {
    pub(crate) to: InstanceId,
    pub(crate) session: SessionName,
    pub(crate) frame: Payload,
}

/// One end of an open link, before it belongs to an instance's thread.
pub(crate) enum LinkEnd {
    /// A socket whose upgrade is done.
    Socket(Newcomer),
    /// A channel to an instance of this process.
    Channel(ChannelEnd),
}

/// The socket of somebody who may be anybody.
pub(crate) struct Newcomer {
    pub(crate) socket: TcpStream,
    /// What was read from it beyond the upgrade.
    pub(crate) read: Bytes,
    /// What it counts as until it has proven itself.
    pub(crate) permit: Arc<SocketPermit>,
}

/// One end of a link within the process.
pub(crate) struct ChannelEnd {
    pub(crate) sender: Sender<Bytes>,
    pub(crate) receiver: Receiver<Bytes>,
}

/// Where inputs are sent to.
#[derive(Clone)]
pub(crate) struct Inbox {
    inputs: Giver<Posted>,
    room: Arc<ByteBudget>,
}

/// An input, and the room that it takes.
pub(crate) struct Posted {
    pub(crate) input: Input,
    _held: Option<Spent>,
}

/// The instance has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InstanceEnded;

/// What became of an input that was not to wait.
enum Attempt {
    Sent,
    Ended,
    NoRoom(Input),
}

impl Inbox {
    /// An empty one, and the end from which the instance takes.
    pub(crate) fn new() -> (Self, Taker<Posted>) {
        let (inputs, taker) = queue(INPUTS);
        let room = ByteBudget::new(BYTES);
        (Self { inputs, room }, taker)
    }

    /// Sends at once if there is room, and waits for it otherwise.
    ///
    /// # Errors
    ///
    /// If the instance has ended.
    pub(crate) fn send(
        &self,
        input: Input,
    ) -> impl Future<Output = Result<(), InstanceEnded>> + use<> {
        // Each terminal holds this future in that of its task, for as long as it is connected. What waits is large, and
        // rare: it is in a box.
        match self.try_send(input) {
            Attempt::Sent => Either::Left(ready(Ok(()))),
            Attempt::Ended => Either::Left(ready(Err(InstanceEnded))),
            Attempt::NoRoom(input) => Either::Right(Box::pin(self.clone().wait(input))),
        }
    }

    fn try_send(&self, input: Input) -> Attempt {
        let held = match bytes_of(&input) {
            0 => None,
            bytes => match self.room.try_take(bytes) {
                Some(held) => Some(held),
                None => return Attempt::NoRoom(input),
            },
        };
        match self.inputs.try_give(Posted { input, _held: held }) {
            Ok(()) => Attempt::Sent,
            Err(TrySendError::Closed(_)) => Attempt::Ended,
            Err(TrySendError::Full(posted)) => Attempt::NoRoom(posted.input),
        }
    }

    async fn wait(self, input: Input) -> Result<(), InstanceEnded> {
        let held = match bytes_of(&input) {
            0 => None,
            bytes => Some(self.room.take(bytes).await),
        };
        let posted = Posted { input, _held: held };
        let sent = self.inputs.give(posted).await;
        // Others that wait were woken with this one, behind it. A sender that always has more to send would take all
        // of the room that there is before they look for theirs.
        give_way().await;
        sent.map_err(|QueueClosed| InstanceEnded)
    }

    /// Takes no more inputs: the instance has ended.
    pub(crate) fn close(&self) {
        self.inputs.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inputs.is_closed()
    }
}

/// The way of what a task reports to its instance.
#[derive(Clone)]
pub(crate) struct Reports(Inbox);

/// The instances of this process, as a link to one of them finds it.
pub(crate) struct Siblings(Vec<(InstanceId, Inbox)>);

impl Reports {
    pub(crate) const fn to(inbox: Inbox) -> Self {
        Self(inbox)
    }

    /// Waits until there is room.
    ///
    /// # Errors
    ///
    /// If the instance has ended.
    pub(crate) fn send(
        &self,
        event: Event,
    ) -> impl Future<Output = Result<(), InstanceEnded>> + use<> {
        self.0.send(Input::Event(event))
    }

    /// Where other inputs are sent to.
    pub(crate) const fn inbox(&self) -> &Inbox {
        &self.0
    }
}

impl Siblings {
    pub(crate) fn new(inboxes: impl Iterator<Item = (InstanceId, Inbox)>) -> Self {
        Self(inboxes.collect())
    }

    /// The inbox of an instance, if it is of this process.
    pub(crate) fn get(&self, id: InstanceId) -> Option<&Inbox> {
        let found = self.0.iter().find(|(sibling, _)| *sibling == id);
        found.map(|(_, inbox)| inbox)
    }
}

/// Bytes that others have chosen the number of.
fn bytes_of(input: &Input) -> usize {
    match input {
        Input::Event(Event::LinkReceived { batch, .. }) => batch.len(),
        Input::Push(push, _) => payload(push),
        Input::Hear(relayed) => relayed.frame.len(),
        Input::PassOn(passed, _) => passed.frame.len(),
        Input::Event(_)
        | Input::Accept(_)
        | Input::LogIn(_)
        | Input::AcceptLink(_)
        | Input::Connections(..)
        | Input::Log(..)
        | Input::Instances(_)
        | Input::Snapshot(_)
        | Input::Levels(_)
        | Input::Drain { .. } => 0,
    }
}

fn payload(push: &Push) -> usize {
    match &push.action {
        Action::Frame(payload) => payload.len(),
        Action::Close(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use futures_channel::oneshot;
    use switchboard_core::config::Config;
    use switchboard_core::message::{Audience, PushedBy};

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
        drop(inputs.try_take().expect("the first one"));
        // It is sent, and gives way to others.
        assert!(third.as_mut().poll(&mut cx).is_pending());
        assert!(third.as_mut().poll(&mut cx).is_ready());
    }

    /// H37: whoever is there first takes one place of those that become free, and not all of them, however much it has.
    #[test]
    fn one_that_always_has_more_to_send_leaves_room_to_others_that_wait() {
        let (inbox, inputs) = Inbox::new();
        let mut cx = Context::from_waker(Waker::noop());
        let event = || Input::Event(Event::DirectoryUp);
        let mut flood = pin!(async {
            while inbox.send(event()).await.is_ok() {
                assert!(inputs.len() <= INPUTS);
            }
        });
        assert!(flood.as_mut().poll(&mut cx).is_pending());
        assert_eq!(inputs.len(), INPUTS);
        let mut others: Vec<_> = (0..3).map(|_| Box::pin(inbox.send(event()))).collect();
        for other in &mut others {
            assert!(other.as_mut().poll(&mut cx).is_pending());
        }
        for _ in 0..INPUTS / 4 {
            inputs.try_take().expect("it is full");
        }
        // They are woken in the order in which they came.
        let room = INPUTS / 4;
        assert!(flood.as_mut().poll(&mut cx).is_pending());
        for other in &mut others {
            assert!(other.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(inputs.len(), INPUTS - room + 1 + others.len());
        for other in &mut others {
            assert!(other.as_mut().poll(&mut cx).is_ready());
        }
        // What is left is its own.
        assert!(flood.as_mut().poll(&mut cx).is_pending());
        assert_eq!(inputs.len(), INPUTS);
    }

    type Sent<'a> = Pin<Box<dyn Future<Output = Result<(), InstanceEnded>> + 'a>>;

    fn send(inbox: &Inbox, bytes: usize) -> Sent<'_> {
        let push = Push {
            id: crate::new_push_id(),
            to: Audience::Everyone,
            action: Action::Frame(Payload::binary(vec![0; bytes].into())),
            deadline: Config::DEADLINE_DEFAULT,
            durable: None,
            by: PushedBy::Application,
        };
        let (answer, _) = oneshot::channel();
        Box::pin(inbox.send(Input::Push(Box::new(push), answer.into())))
    }
}
