//! A timer for deadlines that are set often and seldom reached.

use std::pin::Pin;
use std::task::{Context, Poll};

use switchboard_core::time::Instant;

use crate::clock;
use crate::runtime::Runtime;

/// One sleep of the runtime for deadlines of which only the last one set counts. A later deadline than the one that it
/// sleeps for costs nothing but a spurious wake: to register a timer may wake a thread, and does so on some
/// runtimes.
pub(crate) struct Alarm<R: Runtime> {
    armed: Option<(Instant, Pin<Box<R::Sleep>>)>,
}

impl<R: Runtime> Default for Alarm<R> {
    fn default() -> Self {
        Self { armed: None }
    }
}

impl<R: Runtime> Alarm<R> {
    /// `Ready` when this deadline has passed. Until then the task is woken when it has, or before.
    pub(crate) fn poll_at(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let (until, sleep) = match &mut self.armed {
                Some(armed) if armed.0 <= due => armed,
                armed => {
                    let sleep = R::sleep(due.since(clock::mono()));
                    armed.insert((due, Box::pin(sleep)))
                }
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let is_due = *until == due;
            self.armed = None;
            if is_due {
                return Poll::Ready(());
            }
        }
    }
}
