//! The thread that the process begins with.

use std::future::Future;

use switchboard_driver::runtime::Runtime;

use crate::failure::Failure;

/// Runs on this thread; servers have threads of their own.
pub(crate) fn wait_for<R: Runtime, T>(
    main: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let doing = "to wait for events";
    let mut result = None;
    R::run(async { result = Some(main.await) })
        .map_err(|error| Failure::System { doing, error })?;
    result.unwrap_or_else(|| unreachable!("a runtime runs its main future to the end"))
}
