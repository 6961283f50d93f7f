//! Deadlines of a thread that are set often and seldom reached, on one timer of the runtime. A timer for each would
//! cost a call of the operating system each, on some runtimes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::future::poll_fn;
use switchboard_core::time::Instant;

use crate::alarm::Alarm;
use crate::clock;
use crate::runtime::Runtime;

thread_local! {
    static DEADLINES: RefCell<Deadlines> = RefCell::default();
}

/// Those of one thread that are waited for.
#[derive(Default)]
struct Deadlines {
    /// By time, and by number among those of one time.
    waiting: BTreeMap<(Instant, u64), Waker>,
    made: u64,
    /// The task that [keeps](keep) them, and until when it sleeps.
    keeper: Option<(Waker, Option<Instant>)>,
}

/// Ends when a time has passed, or a little later. It waits where [`keep`] runs.
pub(crate) struct Deadline {
    due: Instant,
    /// Among those that wait.
    number: Option<u64>,
}

/// Ends those of this thread that have passed, for ever.
pub(crate) async fn keep<R: Runtime>() {
    let mut alarm = Alarm::<R>::default();
    poll_fn(|cx| {
        loop {
            for passed in DEADLINES.with_borrow_mut(|deadlines| deadlines.passed(clock::mono())) {
                passed.wake();
            }
            match DEADLINES.with_borrow_mut(|deadlines| deadlines.next(cx.waker())) {
                Some(next) => ready!(alarm.poll_at(next, cx)),
                None => return Poll::Pending,
            }
        }
    })
    .await
}

impl Deadlines {
    fn passed(&mut self, now: Instant) -> Vec<Waker> {
        let later = self.waiting.split_off(&(now, u64::MAX));
        let passed = std::mem::replace(&mut self.waiting, later);
        passed.into_values().collect()
    }

    /// The next one. Whoever keeps them sleeps until then.
    fn next(&mut self, keeper: &Waker) -> Option<Instant> {
        let next = self.waiting.keys().next().map(|(due, _)| *due);
        self.keeper = Some((keeper.clone(), next));
        next
    }

    /// Returns its number, and the waker that this one takes the place of: what is dropped with that may be a
    /// deadline.
    fn wait(&mut self, due: Instant, number: Option<u64>, waker: &Waker) -> (u64, Option<Waker>) {
        let number = number.unwrap_or_else(|| {
            self.made += 1;
            self.made
        });
        let replaced = self.waiting.insert((due, number), waker.clone());
        if let Some((keeper, next)) = &self.keeper
            && next.is_none_or(|next| due < next)
        {
            keeper.wake_by_ref();
        }
        (number, replaced)
    }
}

impl Deadline {
    /// Ends after this time.
    pub(crate) fn after(time: Duration) -> Self {
        Self {
            due: clock::mono() + time,
            number: None,
        }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if clock::mono() >= self.due {
            return Poll::Ready(());
        }
        let (due, number) = (self.due, self.number);
        let wait = |deadlines: &mut Deadlines| deadlines.wait(due, number, cx.waker());
        let (number, _replaced) = DEADLINES.with_borrow_mut(wait);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            DEADLINES.with_borrow_mut(|deadlines| deadlines.waiting.remove(&(self.due, number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::wake_count::WakeCount;

    #[test]
    fn who_keeps_deadlines_is_woken_for_an_earlier_one_and_ends_those_that_have_passed() {
        let [(keeper, keeping), (_, waiting)] = [(); 2].map(|()| WakeCount::new());
        let start = clock::mono();
        let next = |deadlines: &mut Deadlines| deadlines.next(&keeping);
        let mut deadlines = Deadlines::default();
        assert_eq!(next(&mut deadlines), None);
        let [soon, late] = [1, 2].map(|minutes| start + Duration::from_secs(60 * minutes));
        deadlines.wait(late, None, &waiting);
        assert_eq!(keeper.times(), 1);
        assert_eq!(next(&mut deadlines), Some(late));
        deadlines.wait(late, None, &waiting);
        assert_eq!(keeper.times(), 1);
        deadlines.wait(soon, None, &waiting);
        assert_eq!(keeper.times(), 2);
        assert!(deadlines.passed(start).is_empty());
        assert_eq!(deadlines.passed(soon).len(), 1);
        assert_eq!(next(&mut deadlines), Some(late));
        assert_eq!(deadlines.passed(late).len(), 2);
        assert_eq!(next(&mut deadlines), None);
    }

    #[test]
    fn a_deadline_that_is_given_up_is_waited_for_no_more() {
        let mut cx = Context::from_waker(Waker::noop());
        let waiting = || DEADLINES.with_borrow(|deadlines| deadlines.waiting.len());
        {
            let mut deadline = pin!(Deadline::after(Duration::from_secs(60)));
            assert!(deadline.as_mut().poll(&mut cx).is_pending());
            assert!(deadline.as_mut().poll(&mut cx).is_pending());
            assert_eq!(waiting(), 1);
        }
        assert_eq!(waiting(), 0);
        let passed = pin!(Deadline::after(Duration::ZERO));
        assert!(passed.poll(&mut cx).is_ready());
    }
}
