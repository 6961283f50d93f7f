//! A bounded queue from which one task takes.
//!
//! To wait at a channel of several takers makes a listener for each wait and takes it out again at each wake. Here the
//! one who takes leaves a waker. Those who wait for room do so at the channel, in the order in which they came.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_channel::{Receiver, Sender, TryRecvError, TrySendError};
use futures_util::task::AtomicWaker;

/// Where items are put in.
pub(crate) struct Giver<T> {
    // Before the bell: its end closes the queue, and that is to be heard.
    items: Sender<T>,
    bell: Bell,
}

/// Where items are taken out, by one task at a time: of two that wait the first would not be woken. Clones are for a
/// task that follows one that has ended.
pub(crate) struct Taker<T> {
    items: Receiver<T>,
    waker: Arc<AtomicWaker>,
}

/// Whoever gives has closed the queue, or has gone; or whoever takes has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueClosed;

/// Wakes the one who takes, and once more with the end of each who gives: which of several ends last cannot be seen
/// where they end at the same time.
#[derive(Clone)]
struct Bell(Arc<AtomicWaker>);

/// A queue that holds so many items at most.
pub(crate) fn queue<T>(size: usize) -> (Giver<T>, Taker<T>) {
    let (sender, receiver) = async_channel::bounded(size);
    let waker = Arc::new(AtomicWaker::new());
    let giver = Giver {
        items: sender,
        bell: Bell(Arc::clone(&waker)),
    };
    let items = receiver;
    (giver, Taker { items, waker })
}

impl<T> Giver<T> {
    /// Puts an item in if there is room.
    ///
    /// # Errors
    ///
    /// Gives it back if there is none, or nobody takes any more.
    pub(crate) fn try_give(&self, item: T) -> Result<(), TrySendError<T>> {
        self.items.try_send(item)?;
        self.bell.ring();
        Ok(())
    }

    /// Puts an item in when there is room.
    ///
    /// # Errors
    ///
    /// If nobody takes any more.
    pub(crate) async fn give(&self, item: T) -> Result<(), QueueClosed> {
        self.items.send(item).await.map_err(|_| QueueClosed)?;
        self.bell.ring();
        Ok(())
    }

    /// Puts nothing in any more.
    pub(crate) fn close(&self) {
        self.items.close();
        self.bell.ring();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.items.is_closed()
    }
}

impl<T> Taker<T> {
    /// The next item, if it is there.
    pub(crate) fn try_take(&self) -> Option<T> {
        self.items.try_recv().ok()
    }

    /// The next item; `None` when the queue is closed and empty.
    pub(crate) async fn take(&self) -> Option<T> {
        poll_fn(|cx| self.poll_take(cx)).await
    }

    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        let attempt = || match self.items.try_recv() {
            Ok(item) => Poll::Ready(Some(item)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Closed) => Poll::Ready(None),
        };
        let first = attempt();
        if first.is_ready() {
            return first;
        }
        self.waker.register(cx.waker());
        // It may have come before whoever gave it knew whom to wake.
        attempt()
    }

    /// Takes nothing any more, and drops what is there.
    pub(crate) fn end(&self) {
        self.items.close();
        while self.try_take().is_some() {}
        // Those who give may live on, and would keep the task.
        drop(self.waker.take());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.items.is_closed()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

impl<T> Clone for Giver<T> {
    fn clone(&self) -> Self {
        Self {
            items: self.items.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<T> Clone for Taker<T> {
    fn clone(&self) -> Self {
        Self {
            items: self.items.clone(),
            waker: Arc::clone(&self.waker),
        }
    }
}

impl Bell {
    fn ring(&self) {
        self.0.wake();
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Wake, Waker};
    use std::thread::{self, Thread};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::wake_count::WakeCount;

    #[test]
    fn whoever_takes_is_woken_by_what_comes_by_what_has_waited_and_by_the_end() {
        let (giver, taker) = queue(2);
        let (woken, waker) = WakeCount::new();
        let cx = Context::from_waker(&waker);
        let mut times = 0;
        let mut is_woken = || std::mem::replace(&mut times, woken.times()) < woken.times();

        assert!(taker.poll_take(&cx).is_pending());
        assert!(!is_woken());
        assert!(giver.try_give(1).is_ok());
        assert!(is_woken());
        assert_eq!(taker.poll_take(&cx), Poll::Ready(Some(1)));
        assert!(taker.poll_take(&cx).is_pending());

        assert_eq!([2, 3].map(|item| giver.try_give(item).is_ok()), [true; 2]);
        let mut late = pin!(giver.give(4));
        assert_eq!((&mut late).now_or_never(), None);
        for item in [2, 3] {
            assert_eq!(taker.poll_take(&cx), Poll::Ready(Some(item)));
        }
        assert!(taker.poll_take(&cx).is_pending());
        is_woken();
        assert_eq!((&mut late).now_or_never(), Some(Ok(())));
        assert!(is_woken());
        assert_eq!(taker.poll_take(&cx), Poll::Ready(Some(4)));

        assert!(taker.poll_take(&cx).is_pending());
        giver.close();
        assert!(is_woken());
        assert_eq!(taker.poll_take(&cx), Poll::Ready(None));
        assert_eq!(giver.give(5).now_or_never(), Some(Err(QueueClosed)));
    }

    #[test]
    fn whoever_takes_is_woken_when_the_last_one_who_gives_has_gone() {
        let (giver, taker) = queue::<()>(1);
        let another = giver.clone();
        let (woken, waker) = WakeCount::new();
        let cx = Context::from_waker(&waker);
        assert!(taker.poll_take(&cx).is_pending());
        drop(giver);
        assert!(taker.poll_take(&cx).is_pending());
        let before = woken.times();
        drop(another);
        assert_eq!(woken.times(), before + 1);
        assert_eq!(taker.poll_take(&cx), Poll::Ready(None));
    }

    #[test]
    fn whoever_waits_for_room_is_told_that_nobody_takes_any_more() {
        for end in [Taker::end, |_: &Taker<u8>| {}] {
            let (giver, taker) = queue(1);
            let (woken, waker) = WakeCount::new();
            assert!(taker.poll_take(&Context::from_waker(&waker)).is_pending());
            assert!(giver.try_give(1).is_ok());
            let mut late = pin!(giver.give(2));
            assert_eq!((&mut late).now_or_never(), None);
            end(&taker);
            drop(taker);
            assert_eq!((&mut late).now_or_never(), Some(Err(QueueClosed)));
            assert!(giver.is_closed() && giver.try_give(3).is_err());
            drop(waker);
            let kept = Arc::strong_count(&woken);
            assert_eq!(kept, 1, "the waker of a task that takes no more is kept");
        }
    }

    #[test]
    fn whoever_follows_one_that_has_ended_is_woken_in_its_place() {
        let (giver, taker) = queue(1);
        let [(first, waker), (second, next)] = [(); 2].map(|()| WakeCount::new());
        let follower = taker.clone();
        assert!(taker.poll_take(&Context::from_waker(&waker)).is_pending());
        drop(taker);
        assert!(follower.poll_take(&Context::from_waker(&next)).is_pending());
        assert!(giver.try_give(1).is_ok());
        assert_eq!([first, second].map(|woken| woken.times()), [0, 1]);
    }

    #[test]
    fn nothing_that_other_threads_give_is_lost() {
        const EACH: u64 = 10_000;
        let (giver, taker) = queue(3);
        let givers = [0, 1].map(|first| {
            let giver = giver.clone();
            thread::spawn(move || {
                let all = (0..EACH).map(|number| first + 2 * number);
                all.map(|number| block_on(giver.give(number)))
                    .all(|given| given.is_ok())
            })
        });
        drop(giver);
        let mut last = [None; 2];
        while let Some(number) = block_on(taker.take()) {
            let last = &mut last[(number % 2) as usize];
            assert!(last.is_none_or(|last| last + 2 == number));
            *last = Some(number);
        }
        assert_eq!(last, [Some(2 * EACH - 2), Some(2 * EACH - 1)]);
        for giver in givers {
            assert!(giver.join().expect("it ends"));
        }
    }

    struct Parked(Thread);

    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }
}
