//! Panics in a run: caught, told in one line, and not printed.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// A panic in a run.
pub(crate) struct Caught {
    /// The checker that was being asked; `None` if it was the core, or the world around it.
    pub(crate) checker: Option<&'static str>,
    /// Where it was, and what it said.
    pub(crate) what: String,
}

thread_local! {
    /// Whether this thread runs a trial, whose panics are nobody's but its own.
    static IN_TRIAL: Cell<bool> = const { Cell::new(false) };
    static WHAT: RefCell<Option<String>> = const { RefCell::new(None) };
    static CHECKER: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Does something, and catches its panic. Nothing is printed of it.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Caught> {
    note_those_in_trials();
    CHECKER.take();
    let before = IN_TRIAL.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    IN_TRIAL.set(before);
    result.map_err(|_| Caught {
        checker: CHECKER.take(),
        what: WHAT.take().unwrap_or_default(),
    })
}

/// Asks a checker something. If it panics, it is known who it was.
pub(crate) fn blaming(checker: &'static str, ask: impl FnOnce()) {
    struct Blame(&'static str);

    impl Drop for Blame {
        fn drop(&mut self) {
            CHECKER.set(Some(self.0));
        }
    }

    let blame = Blame(checker);
    ask();
    // Only a panic comes to its end.
    std::mem::forget(blame);
}

/// From here on the panics of threads that run a trial are noted, and all others go where they went.
/// It is done once: taking a hook away again would race with other threads.
fn note_those_in_trials() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |info| {
            if IN_TRIAL.get() {
                WHAT.set(Some(in_one_line(info)));
            } else {
                others(info);
            }
        }));
    });
}

fn in_one_line(info: &PanicHookInfo<'_>) -> String {
    let said = info.payload_as_str().unwrap_or_default();
    match info.location() {
        Some(at) => format!("{said} ({}:{})", at.file(), at.line()),
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_line() {
        let caught = catch(|| panic!("nobody is {}", "there")).err().unwrap();
        assert_eq!(caught.checker, None);
        assert!(
            caught
                .what
                .starts_with("nobody is there (sim/src/panics.rs:")
                || caught.what.starts_with("nobody is there (src/panics.rs:"),
            "{}",
            caught.what
        );
    }

    #[test]
    fn who_panicked_is_known_until_the_next_run() {
        let caught = catch(|| blaming("order", || panic!("nobody is there")));
        assert_eq!(caught.err().unwrap().checker, Some("order"));
        let caught = catch(|| {
            blaming("order", || ());
            panic!("nobody is there");
        });
        let caught: Result<(), Caught> = caught;
        assert_eq!(caught.err().unwrap().checker, None);
        assert!(catch(|| 7).is_ok_and(|number| number == 7));
    }
}
