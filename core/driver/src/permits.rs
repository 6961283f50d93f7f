//! Permits: what a socket counts as while it is there, what bytes that wait may take, and whose turn it is.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use async_channel::{Receiver, Sender, bounded};
use event_listener::Event as Signal;

use crate::log::{Cause, damped};
use crate::task::give_way;

/// What a listener's sockets are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Terminals,
    Api,
    Peers,
}

/// What a socket counts as while HTTP is spoken on it.
pub(crate) struct SocketPermit {
    /// Among the sockets of its listener.
    pub(crate) _listener: Seat,
    /// Among the terminals of the instance that it was handed to.
    pub(crate) member: Option<Seat>,
    /// Among the sockets of terminals, for as long as it is open: it goes with the socket.
    pub(crate) place: Option<Seat>,
    pub(crate) room: Capacity,
}

/// How much room its listener had for a socket.
#[derive(Clone)]
pub(crate) enum Capacity {
    /// There is room, for as long as it stays.
    Enough,
    /// There is none: it is told so, and of the API it gets health and metrics alone.
    Spare,
    /// There is room until others need it.
    Until(Arc<Farewell>),
}

impl SocketPermit {
    /// Ends when others need its room. Once whoever is there has proven to be of the cluster, that
    /// never is, and the permit is given up.
    pub(crate) async fn sent_away(self: Arc<Self>) {
        let is_said = match &self.room {
            Capacity::Until(farewell) => farewell.is_said().await,
            Capacity::Enough | Capacity::Spare => pending().await,
        };
        if !is_said {
            drop(self);
            pending().await
        }
    }

    /// Whoever is there has proven to be of the cluster: it stays.
    pub(crate) fn stays(&self) {
        match &self.room {
            Capacity::Until(farewell) => farewell.never(),
            Capacity::Enough | Capacity::Spare => {}
        }
    }
}

/// A place at an instance, or among the sockets of a listener: it counts as long as it exists.
pub(crate) struct Seat(Arc<AtomicUsize>);

/// Tells a socket that others need its room. It is decided once whether that is said, or never.
#[derive(Default)]
pub(crate) struct Farewell {
    state: AtomicU8,
    decided: Signal,
}

impl Farewell {
    const OPEN: u8 = 0;
    const SAID: u8 = 1;
    const NEVER: u8 = 2;

    /// Whether it is said: it is not if that will never be, or was done before.
    pub(crate) fn say(&self) -> bool {
        self.decide(Self::SAID)
    }

    /// It will not be said, unless it was.
    pub(crate) fn never(&self) {
        self.decide(Self::NEVER);
    }

    /// Waits until it is decided. Returns whether it was said.
    pub(crate) async fn is_said(&self) -> bool {
        loop {
            let decided = self.decided.listen();
            match self.state.load(Ordering::Acquire) {
                Self::OPEN => decided.await,
                state => return state == Self::SAID,
            }
        }
    }

    fn decide(&self, state: u8) -> bool {
        let decided =
            (self.state).compare_exchange(Self::OPEN, state, Ordering::AcqRel, Ordering::Acquire);
        self.decided.notify(usize::MAX);
        decided.is_ok()
    }
}

/// Sockets that were closed unanswered, because their listener had no room, by service.
#[derive(Default)]
pub(crate) struct Dropped([AtomicU64; 3]);

impl Dropped {
    /// A socket is closed unanswered, because there is no room for it.
    pub(crate) fn count(&self, service: Service) {
        self.0[service as usize].fetch_add(1, Ordering::Relaxed);
        damped!(
            WARN,
            Cause::one("connections dropped", service.name()),
            listener = service.name(),
            "too many connections at once: one was closed unanswered"
        );
    }

    pub(crate) fn of(&self, service: Service) -> u64 {
        self.0[service as usize].load(Ordering::Relaxed)
    }
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::Terminals, Self::Api, Self::Peers];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Terminals => "terminals",
            Self::Api => "api",
            Self::Peers => "peers",
        }
    }

    /// The setting that names its address.
    pub(crate) const fn setting(self) -> &'static str {
        match self {
            Self::Terminals => "listen",
            Self::Api => "api",
            Self::Peers => "peer",
        }
    }
}

impl Seat {
    pub(crate) fn take(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Turns of those who want the same thing, first come first served.
pub(crate) struct Turns {
    waiting: Arc<AtomicUsize>,
    taken: Sender<()>,
    over: Receiver<()>,
}

/// One of them, until it is dropped.
pub(crate) struct Turn(Receiver<()>);

impl Turns {
    /// So many at a time.
    pub(crate) fn of(most: usize) -> Self {
        let (taken, over) = bounded(most);
        let waiting = Arc::default();
        Self {
            waiting,
            taken,
            over,
        }
    }

    /// Waits for one. A caller that has just had one, and wants the next, stands behind those whom its end has woken.
    pub(crate) async fn next(&self) -> Turn {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            give_way().await;
        }
        let _waits = Seat::take(&self.waiting);
        // It fails only when there is no receiver.
        let _ = self.taken.send(()).await;
        Turn(self.over.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

/// A budget of bytes, shared by all that need some.
pub(crate) struct ByteBudget {
    used: AtomicUsize,
    limit: usize,
    freed: Signal,
}

/// Some of it, until it is dropped.
pub(crate) struct Spent {
    room: Arc<ByteBudget>,
    bytes: usize,
}

impl ByteBudget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
            freed: Signal::new(),
        })
    }

    /// Takes some, if there is as much or nobody has any.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Spent> {
        self.has(bytes).then(|| Spent {
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
    pub(crate) async fn take(self: &Arc<Self>, bytes: usize) -> Spent {
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

impl Spent {
    /// Takes some more, if there is as much. Returns whether there was.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let grown = self.room.has(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::AcqRel);
        // Whoever waits may need more than this: each looks by itself.
        self.room.freed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// The end of a turn wakes who waits for it: until that one has looked nobody else has it.
    #[test]
    fn one_that_always_wants_another_turn_leaves_it_to_those_who_wait() {
        let turns = Turns::of(1);
        let mut cx = Context::from_waker(Waker::noop());
        let turn = |future: &mut Pin<Box<dyn Future<Output = Turn> + '_>>, cx: &mut Context<'_>| {
            match future.as_mut().poll(cx) {
                Poll::Ready(turn) => Some(turn),
                Poll::Pending => None,
            }
        };
        let wants = || -> Pin<Box<dyn Future<Output = Turn>>> { Box::pin(turns.next()) };
        let (mut first, mut waits) = (wants(), wants());
        let had = turn(&mut first, &mut cx).expect("nobody else has it");
        drop(first);
        assert!(turn(&mut waits, &mut cx).is_none());
        let mut again = wants();
        drop(had);
        assert!(turn(&mut again, &mut cx).is_none());
        assert!(turn(&mut waits, &mut cx).is_some());
    }

    #[test]
    fn what_is_larger_than_the_room_comes_alone() {
        let room = ByteBudget::new(10);
        let large = room.try_take(11).expect("nobody else is there");
        assert!(room.try_take(1).is_none());
        drop(large);
        assert!(room.try_take(1).is_some());
    }
}
