//! Tasks whose panics are seen.

use std::any::Any;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use async_channel::{Receiver, RecvError, Sender};
use futures_util::FutureExt as _;
use futures_util::future::poll_fn;

use crate::log::{Cause, damped};
use crate::runtime::Runtime;

/// Starts a task that logs its own panic.
pub(crate) fn spawn<R: Runtime>(name: &'static str, task: impl Future<Output = ()> + 'static) {
    R::spawn(async move {
        if let Err(cause) = caught(task).await {
            let task = name;
            damped!(
                ERROR,
                Cause::one("a task panicked", name),
                task,
                cause,
                "a task has panicked: this is a bug"
            );
        }
    });
}

/// A task without which its thread is of no use: if it panics, what that said is reported.
pub(crate) fn vital(
    name: &'static str,
    died: Sender<String>,
    task: impl Future<Output = ()>,
) -> impl Future<Output = ()> {
    caught(task).map(move |ended| {
        if let Err(cause) = ended {
            // One report is enough.
            let _ = died.try_send(format!("{name}: {cause}"));
        }
    })
}

/// What the report of a [`vital`] task says. Never ends while all is well.
pub(crate) async fn death(deaths: &Receiver<String>) -> String {
    match deaths.recv().await {
        Ok(cause) => cause,
        Err(RecvError) => pending().await,
    }
}

/// The future's output, or what its panic said. No `async fn`: that would hold the task twice, as
/// its argument and as what it awaits.
pub(crate) fn caught<T>(task: impl Future<Output = T>) -> impl Future<Output = Result<T, String>> {
    AssertUnwindSafe(task)
        .catch_unwind()
        .map(|ended| ended.map_err(|panic| cause(&*panic)))
}

/// The same of what is done here and now.
pub(crate) fn caught_at_once<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| cause(&*panic))
}

/// Lets the other tasks of the thread run.
pub(crate) async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a task may take of something that never makes it wait, before the other tasks of the thread
/// get their turn. Some runtimes see to that themselves; others let the task go on for ever.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    taken: u8,
}

impl Portion {
    /// Large enough that those who have little to say never notice: 64 KiB by chunks of 4 KiB.
    const SIZE: u8 = 16;

    /// Takes one. `Pending` when the portion is used up: the task is woken at once, for a new one.
    pub(crate) fn poll_take(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.taken == Self::SIZE {
            self.taken = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.taken += 1;
        Poll::Ready(())
    }
}

fn cause(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake_count::WakeCount;

    #[test]
    fn a_vital_task_that_panics_is_reported_and_one_that_ends_is_not() {
        let (died, deaths) = async_channel::bounded(1);
        let dead = || death(&deaths).now_or_never();
        vital("one that ends", died.clone(), async {}).now_or_never();
        assert_eq!(dead(), None);
        for cause in ["no luck", "none again"] {
            vital("a loop", died.clone(), async move { panic!("{cause}") }).now_or_never();
        }
        assert_eq!(dead().as_deref(), Some("a loop: no luck"));
        drop(died);
        assert_eq!(dead(), None);
    }

    #[test]
    fn a_portion_that_is_used_up_is_followed_by_the_next_one() {
        let (woken, waker) = WakeCount::new();
        let mut portion = Portion::default();
        for portions in 1..=3 {
            let mut take = || portion.poll_take(&Context::from_waker(&waker)).is_ready();
            let taken = std::iter::from_fn(|| take().then_some(())).count();
            assert_eq!(taken, usize::from(Portion::SIZE));
            assert_eq!(woken.times(), portions);
        }
    }
}
