//! One terminal: a future that reads and writes together, and the mailbox through which its
//! instance tells it what to do.

mod conversation;
mod logins;
mod patience;
mod questions;
mod renewal;
mod token_pace;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use event_listener::EventListener;
use futures_util::future::poll_fn;
use http::request::Parts;
use switchboard_core::event::{Closure, Event, Heard, Life};
use switchboard_core::frame::{CloseCode, Outgoing, Payload};
use switchboard_core::id::{ConnectionId, ConnectionKey, InstanceId, TopicId, UserId};
use switchboard_core::message::Hearing;
use switchboard_core::time::WallTime;
use switchboard_core::topic::TopicWish;
use switchboard_protocol::centrifuge::Names;
use switchboard_protocol::{Protocol, Said, centrifuge};

use crate::events::{NotTaken, Queue, TerminalEvent};
use crate::inbox::Reports;
use crate::log::{Cause, damped, journal};
use crate::permits::Seat;
use crate::runtime::{Runtime, race};
use crate::task::{caught, caught_at_once};
use crate::transport::{Carried, Carry, Incoming, LifeSign, Opens, Transport};
use conversation::Conversation;
pub(crate) use logins::Logins;
pub(crate) use questions::Questions;
use renewal::Renewal;

/// How long a terminal that broke the protocol has to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Frames that a terminal has said on other connections and that are not served, at most: more than clients send at once.
const HEARD_MAX: usize = 128;

/// Bytes of these, at most, unless it is one.
const HEARD_BYTES: usize = 128 << 10;

/// What an instance tells a terminal. It holds no more than core lets be under way: one batch of
/// frames and one ping.
#[derive(Default)]
pub(crate) struct Mailbox {
    letters: RefCell<Letters>,
    aborted: Cell<bool>,
}

/// What is in a mailbox.
#[derive(Default)]
struct Letters {
    orders: Vec<TerminalOrder>,
    /// What the terminal has said on other connections than its own. Few terminals ever do.
    #[expect(
        clippy::box_collection,
        reason = "there is one such field for each terminal"
    )]
    heard: Option<Box<VecDeque<Payload>>>,
    waker: Option<Waker>,
    /// The terminal, once its connection is open.
    terminal: Option<Weak<dyn AtOnce>>,
}

/// What an instance can have a terminal do without its task.
trait AtOnce {
    /// Does what stands in the mailbox. Not to be called while the task has its turn.
    fn do_at_once(&self) -> DoneAtOnce;
}

/// What has become of what stood in the mailbox.
enum DoneAtOnce {
    /// It is done. If a [`Flush`](TerminalOrder::Flush) was among it, all is with the operating system.
    All {
        /// Whether a `Flush` was among it.
        flushed: bool,
    },
    /// The task is to go on with it.
    NotAll,
}

/// One thing to do.
pub(crate) enum TerminalOrder {
    Send(Carried),
    /// To be said by its session.
    Tell(Box<Outgoing>),
    /// A record, of which its session is to know.
    Record {
        topic: Option<TopicId>,
        offset: u64,
        frame: Carried,
    },
    Flush,
    Ping,
    Probe,
    Close(CloseCode),
}

impl Mailbox {
    /// Something for the task to do.
    pub(crate) fn post(&self, order: TerminalOrder) {
        self.keep(order);
        self.wake();
    }

    /// Takes what the terminal has said on another connection than its own.
    pub(crate) fn hear(&self, frame: Payload) -> Hearing {
        let mut letters = self.letters.borrow_mut();
        let terminal = letters.terminal.as_ref();
        if self.aborted.get() || terminal.is_some_and(|terminal| terminal.strong_count() == 0) {
            return Hearing::Gone;
        }
        let heard = letters.heard.get_or_insert_default();
        let bytes: usize = heard.iter().map(Payload::len).sum();
        if heard.len() >= HEARD_MAX || (bytes > 0 && bytes + frame.len() > HEARD_BYTES) {
            return Hearing::Full;
        }
        heard.push_back(frame);
        drop(letters);
        self.wake();
        Hearing::Heard
    }

    /// What has come so, one frame after the other.
    fn next_heard(&self) -> Option<Payload> {
        let mut letters = self.letters.borrow_mut();
        let heard = letters.heard.as_mut()?;
        let next = heard.pop_front();
        if heard.is_empty() {
            letters.heard = None;
        }
        next
    }

    /// Something to do with what is posted next.
    pub(crate) fn keep(&self, order: TerminalOrder) {
        self.letters.borrow_mut().orders.push(order);
    }

    /// Has this done, and what was kept before it: here and now, or by the task if the terminal is busy or its socket
    /// full. Returns whether that was a [`Flush`](TerminalOrder::Flush) that has been done: of any other the
    /// task reports.
    #[must_use]
    pub(crate) fn post_at_once(&self, order: TerminalOrder) -> bool {
        self.keep(order);
        let terminal = self
            .letters
            .borrow()
            .terminal
            .as_ref()
            .and_then(Weak::upgrade);
        // The instance lives on if this panics, as it does if the terminal's task does.
        let done = terminal.map(|terminal| caught_at_once(|| terminal.do_at_once()));
        match done {
            Some(Ok(DoneAtOnce::All { flushed })) => flushed,
            Some(Ok(DoneAtOnce::NotAll)) | None => {
                self.wake();
                false
            }
            Some(Err(cause)) => {
                tell_of_panic(&cause);
                self.abort();
                false
            }
        }
    }

    /// Drops the socket at once.
    pub(crate) fn abort(&self) {
        self.aborted.set(true);
        self.wake();
    }

    fn wake(&self) {
        let waker = self.letters.borrow_mut().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn listen(&self, cx: &Context<'_>) {
        match &mut self.letters.borrow_mut().waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Ends when the instance wants no more of this terminal.
    pub(crate) async fn aborted(self: Rc<Self>) {
        poll_fn(|cx| {
            self.listen(cx);
            if self.aborted.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// What the terminals of one instance share.
pub(crate) struct TerminalContext {
    pub(crate) instance: InstanceId,
    pub(crate) reports: Reports,
    pub(crate) events: Option<Arc<Queue>>,
    /// The largest message that a terminal may send.
    pub(crate) frame_bytes: usize,
    /// Says who strangers are.
    pub(crate) logins: Rc<Logins>,
    pub(crate) questions: Rc<Questions>,
    /// How long a terminal stays that can renew its token.
    pub(crate) refresh_grace: Duration,
    /// The time between two pings of a terminal that answers them, at most.
    pub(crate) pinged_within: Duration,
    /// What one may join in a second.
    pub(crate) topic_joins: u32,
    /// What one may publish in a second.
    pub(crate) topic_publications: u32,
    pub(crate) sessions: Arc<centrifuge::Settings>,
    /// What frames are gathered in before they are written.
    pub(crate) scratch: RefCell<Vec<u8>>,
}

/// A terminal that is accepted, and what is known of it until its connection is open.
pub(crate) struct AcceptedTerminal<R: Runtime> {
    pub(crate) context: Rc<TerminalContext>,
    pub(crate) terminal: Terminal,
    pub(crate) opening: Opens<R>,
    /// When its token expires, by its handshake.
    pub(crate) expires: Option<WallTime>,
    /// The request of one that will say who it is.
    pub(crate) request: Option<Box<Parts>>,
    /// What it names itself by on other connections, if it says on these what it says.
    pub(crate) names: Option<Box<Names>>,
}

/// An accepted terminal.
pub(crate) struct Terminal {
    pub(crate) key: ConnectionKey,
    pub(crate) id: ConnectionId,
    /// `None`: it has not said who it is.
    pub(crate) user: Option<UserId>,
    pub(crate) protocol: Protocol,
    pub(crate) mailbox: Rc<Mailbox>,
    /// Given up when the task ends.
    pub(crate) _seat: Seat,
}

/// Waits for the end of the handshake and serves the terminal. Reports `Closed` exactly once, come what may.
///
/// This future exists once for each terminal, for as long as it stays. An `async fn` holds what it
/// is given to its end, whatever has become of it, so all of that is in one box.
pub(crate) async fn run<R: Runtime>(accepted: Box<AcceptedTerminal<R>>) {
    let context = Rc::clone(&accepted.context);
    let connection = accepted.terminal.key;
    let closure = match caught(serve(accepted)).await {
        Ok(HowServed::Reported) => return,
        Ok(HowServed::With(closure)) => closure,
        Err(cause) => {
            tell_of_panic(&cause);
            Closure::Abrupt
        }
    };
    let closed = Event::Closed {
        connection,
        closure,
    };
    // It fails only when the instance has ended.
    let _ = context.reports.send(closed).await;
}

fn tell_of_panic(cause: &str) {
    damped!(
        ERROR,
        Cause::all("the task of a terminal panicked"),
        cause,
        "the task of a terminal has panicked: this is a bug"
    );
}

enum HowServed {
    With(Closure),
    Reported,
}

async fn serve<R: Runtime>(mut accepted: Box<AcceptedTerminal<R>>) -> HowServed {
    match accepted.opening.as_mut().await {
        Some(opened) => opened.carry(TerminalService(accepted)).await,
        None => HowServed::With(Closure::Abrupt),
    }
}

/// Serves a terminal over whatever transport it has.
struct TerminalService<R: Runtime>(Box<AcceptedTerminal<R>>);

impl<R: Runtime> Carry for TerminalService<R> {
    type Output = HowServed;

    fn over<T: Transport>(self, open: impl FnOnce(usize) -> T) -> impl Future<Output = HowServed> {
        // Nothing is awaited here: what is large is in the box before the future is made.
        let Self(accepted) = self;
        let transport = open(accepted.context.frame_bytes);
        OpenTerminal::open(*accepted, transport).serve::<R>()
    }
}

/// A terminal as its task and its instance share it. Neither borrows it while it waits.
struct OpenTerminal<T>(RefCell<Pump<T>>);

struct Pump<T> {
    context: Rc<TerminalContext>,
    terminal: Terminal,
    transport: T,
    /// The first frame is on its way: `Connected` precedes what the terminal says.
    greeted: bool,
    flush_due: bool,
    probe_due: bool,
    held: Option<Box<HeldMessage>>,
    /// What it has said and is answered, if its protocol has sessions.
    conversation: Option<Box<Conversation>>,
    /// Its token, if it has none.
    renewal: Renewal,
    phase: Phase,
}

/// What waits for the application. Nothing is read until it has taken that.
enum HeldMessage {
    Untold(TerminalEvent),
    Waiting(TerminalEvent, Pin<Box<EventListener>>),
    /// It would be told what comes of a wish, and is too far behind.
    Wish(TopicWish, Pin<Box<EventListener>>),
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Open,
    /// A Close frame is sent; the terminal's is awaited.
    Closing,
    /// There is nothing more to read; what is queued is still written.
    Ending(Closure),
}

enum Step {
    Heard(Heard),
    Topic(TopicWish),
    Withheld(TopicId, u64),
    Written,
    Probed(Life),
    Ended(Closure),
}

impl Step {
    /// What the instance is told of it, if the terminal stays.
    fn event(self, connection: ConnectionKey) -> Result<Event, Closure> {
        Ok(match self {
            Self::Heard(heard) => Event::Heard {
                connection,
                frame: heard,
            },
            Self::Topic(wish) => Event::Topic { connection, wish },
            Self::Withheld(topic, from) => Event::Withheld {
                connection,
                topic,
                from,
            },
            Self::Written => Event::Written { connection },
            Self::Probed(life) => Event::Probed { connection, life },
            Self::Ended(closure) => return Err(closure),
        })
    }
}

impl<T: Transport> OpenTerminal<T> {
    fn open<R: Runtime>(mut accepted: AcceptedTerminal<R>, transport: T) -> Rc<Self> {
        let conversation = Conversation::begin(&mut accepted).map(Box::new);
        let mailbox = Rc::clone(&accepted.terminal.mailbox);
        let line = Rc::new(Self(RefCell::new(Pump {
            renewal: Renewal::of(accepted.expires),
            conversation,
            context: accepted.context,
            terminal: accepted.terminal,
            transport,
            greeted: false,
            flush_due: false,
            probe_due: false,
            held: None,
            phase: Phase::Open,
        })));
        let weak = Rc::downgrade(&line);
        mailbox.letters.borrow_mut().terminal = Some(weak);
        line
    }

    async fn serve<R: Runtime>(self: Rc<Self>) -> HowServed {
        // Nothing large is held while it waits, which it does for as long as the terminal stays.
        let mut told = {
            let pump = self.0.borrow();
            let connection = pump.terminal.key;
            pump.context.reports.send(Event::Opened { connection })
        };
        loop {
            // It fails only when the instance has ended.
            if told.await.is_err() {
                return HowServed::Reported;
            }
            let next = poll_fn(|cx| {
                let mut pump = self.0.borrow_mut();
                let step = ready!(pump.poll(cx));
                let event = step.event(pump.terminal.key);
                Poll::Ready(event.map(|event| pump.context.reports.send(event)))
            });
            told = match next.await {
                Ok(told) => told,
                Err(closure @ (Closure::Clean | Closure::Abrupt)) => {
                    return HowServed::With(closure);
                }
                Err(closure @ Closure::Violation(_)) => {
                    Box::pin(self.linger::<R>(closure)).await;
                    return HowServed::Reported;
                }
            };
        }
    }

    /// Reports the end of a terminal that broke the protocol, and gives it time to read why.
    async fn linger<R: Runtime>(self: Rc<Self>, closure: Closure) {
        let closed = {
            let pump = self.0.borrow();
            let connection = pump.terminal.key;
            pump.context.reports.send(Event::Closed {
                connection,
                closure,
            })
        };
        // It fails only when the instance has ended.
        let _ = closed.await;
        let read = poll_fn(|cx| self.0.borrow_mut().poll_linger(cx));
        race(read, R::sleep(LINGER)).await;
    }
}

impl<T: Transport> AtOnce for OpenTerminal<T> {
    fn do_at_once(&self) -> DoneAtOnce {
        self.0.borrow_mut().do_at_once()
    }
}

impl<T: Transport> Pump<T> {
    /// Does what stands in the mailbox, if nothing else waits. The task has nothing to do then, and need not be
    /// woken: whatever is left for it, it must be.
    fn do_at_once(&mut self) -> DoneAtOnce {
        let is_idle = self.phase == Phase::Open
            && self.held.is_none()
            && !self.renewal.is_held_up()
            && self.transport.is_flushed()
            && !self.terminal.mailbox.aborted.get();
        if !is_idle {
            return DoneAtOnce::NotAll;
        }
        // The waker is none of a task's: whatever waits is left to the task.
        self.take_orders(&mut Context::from_waker(Waker::noop()));
        let scratch = &mut self.context.scratch.borrow_mut();
        self.transport.try_flush(scratch);
        let conversation = self.conversation.as_ref();
        let is_done = self.phase == Phase::Open
            && !self.probe_due
            && !conversation.is_some_and(|it| it.is_due())
            && self.transport.is_flushed();
        match is_done {
            true => DoneAtOnce::All {
                flushed: std::mem::take(&mut self.flush_due),
            },
            false => DoneAtOnce::NotAll,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.terminal.mailbox.listen(cx);
        if self.terminal.mailbox.aborted.get() {
            return Poll::Ready(Step::Ended(Closure::Abrupt));
        }
        self.take_orders(cx);
        if let Some(step) = self.next_withheld() {
            return Poll::Ready(step);
        }
        let step = self.poll_socket(cx);
        if step.is_pending() && std::mem::take(&mut self.probe_due) {
            return Poll::Ready(self.probe());
        }
        step
    }

    /// `Pending` when all that has come is read.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            let blocked = match self.poll_write(cx) {
                Poll::Ready(Some(step)) => return Poll::Ready(step),
                Poll::Ready(None) => false,
                Poll::Pending => true,
            };
            if let Phase::Ending(_) = self.phase {
                return Poll::Pending;
            }
            if let Poll::Ready(step) = self.poll_input(cx) {
                return Poll::Ready(step);
            }
            if let Phase::Ending(_) = self.phase {
                continue;
            }
            // Reading may have queued an answer to a ping.
            if blocked || self.transport.is_flushed() {
                return Poll::Pending;
            }
        }
    }

    fn take_orders(&mut self, cx: &mut Context<'_>) {
        let orders = std::mem::take(&mut self.terminal.mailbox.letters.borrow_mut().orders);
        for order in orders {
            match (order, self.phase) {
                (TerminalOrder::Send(frame), Phase::Open) => {
                    self.greeted = true;
                    self.transport.send(&frame);
                }
                (TerminalOrder::Tell(outgoing), Phase::Open) => {
                    self.greeted = true;
                    self.tell(cx, &outgoing);
                }
                (
                    TerminalOrder::Record {
                        topic,
                        offset,
                        frame,
                    },
                    Phase::Open,
                ) => {
                    if self.is_sent(topic.as_ref(), offset) {
                        self.transport.send(&frame);
                    }
                }
                (TerminalOrder::Flush, Phase::Open) => self.flush_due = true,
                (TerminalOrder::Ping, Phase::Open) => {
                    self.tell_of_end();
                    self.ping();
                }
                (TerminalOrder::Probe, Phase::Open) => self.probe_due = true,
                (TerminalOrder::Close(code), Phase::Open) => {
                    self.phase = Phase::Closing;
                    self.flush_due = false;
                    self.probe_due = false;
                    // `Disconnected` is the last that the application hears of a terminal.
                    self.held = None;
                    self.say_goodbye(cx, code);
                }
                // Nothing may follow a Close frame, and the instance expects nothing after it.
                (_, Phase::Closing | Phase::Ending(_)) => {}
            }
        }
    }

    /// Signs of life of a terminal from which no frame has come. While the application or what it has asked holds it
    /// up nothing is read: its silence is not held against it.
    fn probe(&mut self) -> Step {
        let conversation = self.conversation.as_ref();
        let is_held_up = conversation.is_some_and(|it| it.is_held_up());
        if self.held.is_some() || is_held_up || self.renewal.is_held_up() {
            return Step::Probed(Life::Shown);
        }
        match self.transport.signs() {
            LifeSign::Missing => Step::Probed(Life::NotShown),
            LifeSign::Progress => Step::Probed(Life::Shown),
            LifeSign::Answer => Step::Probed(Life::Answered),
        }
    }

    /// `Ready(None)`: everything is written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let flushed = self
            .transport
            .poll_flush(cx, &mut self.context.scratch.borrow_mut());
        match (flushed, self.phase) {
            (_, Phase::Ending(Closure::Abrupt)) => Poll::Ready(Some(Step::Ended(Closure::Abrupt))),
            (Poll::Ready(Err(_)), Phase::Ending(closure)) => {
                Poll::Ready(Some(Step::Ended(closure)))
            }
            (Poll::Ready(Err(_)), Phase::Open | Phase::Closing) => {
                Poll::Ready(Some(Step::Ended(Closure::Abrupt)))
            }
            // It is told at once; the Close frame is written while it lingers.
            (
                Poll::Ready(Ok(())) | Poll::Pending,
                Phase::Ending(closure @ Closure::Violation(_)),
            ) => Poll::Ready(Some(Step::Ended(closure))),
            (Poll::Pending, _) => Poll::Pending,
            (Poll::Ready(Ok(())), Phase::Ending(closure)) => {
                let shut = self.transport.poll_shutdown(cx);
                shut.map(|_| Some(Step::Ended(closure)))
            }
            (Poll::Ready(Ok(())), Phase::Open | Phase::Closing) => {
                let written = std::mem::take(&mut self.flush_due);
                Poll::Ready(written.then_some(Step::Written))
            }
        }
    }

    /// `Pending` also when the terminal is not to be read, or has just ended.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.held.is_some() {
            return self.poll_held(cx);
        }
        if let Some(step) = ready!(self.poll_conversation(cx)) {
            return Poll::Ready(step);
        }
        ready!(self.poll_renewal(cx));
        if let Some(frame) = self.terminal.mailbox.next_heard() {
            return self.hold(cx, frame);
        }
        match self.transport.poll_read(cx) {
            Poll::Ready(Ok(Incoming::Control)) => Poll::Ready(Step::Heard(Heard::Control)),
            Poll::Ready(Ok(Incoming::Message(frame))) => self.hold(cx, frame),
            Poll::Ready(Err(closure)) => {
                self.end(cx, closure);
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn hold(&mut self, cx: &mut Context<'_>, frame: Payload) -> Poll<Step> {
        if self.phase != Phase::Open {
            // What comes after a Close frame goes nowhere.
            return Poll::Ready(Step::Heard(Heard::Control));
        }
        if let Some(conversation) = &mut self.conversation {
            conversation.hear(&frame);
            return Poll::Ready(Step::Heard(Heard::Control));
        }
        match self.terminal.protocol.decode(frame) {
            Said::Message(payload) => self.hold_message(cx, payload),
            Said::Ack(position) => Poll::Ready(Step::Heard(Heard::Ack(position))),
            Said::Topic(wish) => {
                let wish = self.context.sessions.namespaces.judge(wish);
                self.hold_wish(cx, wish)
            }
            Said::Token(token) => {
                self.renew(token);
                Poll::Ready(Step::Heard(Heard::Control))
            }
        }
    }

    fn hold_message(&mut self, cx: &mut Context<'_>, payload: Payload) -> Poll<Step> {
        let Terminal { id, user, .. } = &self.terminal;
        let Some(user) = user.clone() else {
            // Nobody has said anything before it says who it is.
            return Poll::Ready(Step::Heard(Heard::Unwanted));
        };
        journal::heard(self.context.instance, *id, &user, &payload);
        self.held = Some(Box::new(HeldMessage::Untold(TerminalEvent::Message {
            user,
            connection: *id,
            payload,
        })));
        self.poll_held(cx)
    }

    /// What it wants of a topic waits while the application is too far behind to be told what comes of that.
    fn hold_wish(&mut self, cx: &mut Context<'_>, wish: TopicWish) -> Poll<Step> {
        let queue = self.context.events.as_ref();
        let Some(calm) = queue.and_then(|queue| queue.until_calm()) else {
            return Poll::Ready(Step::Topic(wish));
        };
        self.held = Some(Box::new(HeldMessage::Wish(wish, Box::pin(calm))));
        self.poll_held(cx)
    }

    /// Hands the held message to the application.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if !self.greeted {
            return Poll::Pending;
        }
        loop {
            let event = match self.held.take().map(|held| *held) {
                Some(HeldMessage::Untold(event)) => event,
                Some(HeldMessage::Waiting(event, mut room)) => match room.as_mut().poll(cx) {
                    Poll::Ready(()) => event,
                    Poll::Pending => {
                        self.held = Some(Box::new(HeldMessage::Waiting(event, room)));
                        return Poll::Pending;
                    }
                },
                Some(HeldMessage::Wish(wish, mut calm)) => match calm.as_mut().poll(cx) {
                    Poll::Ready(()) => return self.hold_wish(cx, wish),
                    Poll::Pending => {
                        self.held = Some(Box::new(HeldMessage::Wish(wish, calm)));
                        return Poll::Pending;
                    }
                },
                None => return Poll::Ready(Step::Heard(Heard::Message)),
            };
            let Some(queue) = &self.context.events else {
                return Poll::Ready(Step::Heard(Heard::Unwanted));
            };
            match queue.offer(event) {
                Ok(()) => return Poll::Ready(Step::Heard(Heard::Message)),
                Err(NotTaken::Closed) => return Poll::Ready(Step::Heard(Heard::Unwanted)),
                Err(NotTaken::Full(event, room)) => {
                    self.held = Some(Box::new(HeldMessage::Waiting(event, Box::pin(room))));
                }
            }
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, closure: Closure) {
        if let Closure::Violation(code) = closure {
            self.say_goodbye(cx, code);
        }
        self.phase = Phase::Ending(closure);
    }

    /// Lets a terminal read why it was closed: a socket that is dropped with unread bytes resets
    /// the connection, and the Close frame is lost on the way.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self
            .transport
            .poll_flush(cx, &mut self.context.scratch.borrow_mut())
        {
            Poll::Ready(Ok(())) => {
                let _ = self.transport.poll_shutdown(cx);
            }
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => {}
        }
        self.transport.poll_discard(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    struct Broken;

    impl AtOnce for Broken {
        fn do_at_once(&self) -> DoneAtOnce {
            panic!("no luck")
        }
    }

    /// H14: the loop of an instance does this, for all of its terminals.
    #[test]
    fn a_terminal_that_panics_is_aborted_and_its_instance_lives() {
        let (mailbox, _terminal) = mailbox_of(Rc::new(Broken));
        assert!(!mailbox.post_at_once(TerminalOrder::Flush));
        assert_eq!(Rc::clone(&mailbox).aborted().now_or_never(), Some(()));
    }

    #[test]
    fn a_terminal_that_has_ended_hears_nothing() {
        let frame = || Payload::binary(bytes::Bytes::new());
        let (mailbox, terminal) = mailbox_of(Rc::new(Broken));
        assert_eq!(mailbox.hear(frame()), Hearing::Heard);
        drop(terminal);
        assert_eq!(mailbox.hear(frame()), Hearing::Gone);
    }

    fn mailbox_of(terminal: Rc<Broken>) -> (Rc<Mailbox>, Rc<Broken>) {
        let mailbox = Rc::<Mailbox>::default();
        let weak: Weak<dyn AtOnce> = Rc::<Broken>::downgrade(&terminal);
        mailbox.letters.borrow_mut().terminal = Some(weak);
        (mailbox, terminal)
    }
}
