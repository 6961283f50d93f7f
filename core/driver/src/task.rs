//! Tasks whose panics are seen.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;

use futures_util::FutureExt as _;
use futures_util::future::{Either, poll_fn, select};

use crate::runtime::Runtime;

/// Starts a task that logs its own panic.
pub(crate) fn spawn<R: Runtime>(name: &'static str, task: impl Future<Output = ()> + 'static) {
    R::spawn(async move {
        if let Err(cause) = caught(task).await {
            tracing::error!(task = name, cause, "a task has panicked: this is a bug");
        }
    });
}

/// The future's output, or what its panic said. No `async fn`: that would hold the task twice, as
/// its argument and as what it awaits.
pub(crate) fn caught<T>(task: impl Future<Output = T>) -> impl Future<Output = Result<T, String>> {
    AssertUnwindSafe(task)
        .catch_unwind()
        .map(|ended| ended.map_err(|panic| cause(&*panic)))
}

/// The output of whichever ends first; the other is dropped. The first one is polled first.
pub(crate) async fn race<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    match select(pin!(first), pin!(second)).await {
        Either::Left((output, _)) | Either::Right((output, _)) => output,
    }
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

fn cause(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}
