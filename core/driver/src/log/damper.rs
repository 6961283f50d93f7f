//! One line a cause and interval.
//!
//! Some lines of the log are written whenever a stranger or a fault pleases: a wrong hello at the
//! peers' port, a refused handshake, a row that Redis does not take, a link that comes and goes. Each
//! of them has a [`Cause`]. The first line of a cause is written at once; those of the [`INTERVAL`]
//! that follows are counted. The next line that is written says how many there were, as `untold`; if
//! nothing more happens, a line of the damper's own does. So a cause writes one line an interval, and
//! nothing is missing from the count.
//!
//! What is not written is there at DEBUG: whoever asks for that wants each of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;

/// The time between two lines of a cause.
const INTERVAL: Duration = Duration::from_secs(10);

/// How often [`Damper::catch_up`] is to be called.
pub(crate) const CATCH_UP: Duration = Duration::from_secs(1);

/// Causes that are told apart at the same time. Beyond them, the further ones of a kind are one: a
/// cluster of a thousand instances that falls apart writes no more than this.
const CAUSES: usize = 1024;

/// The damper on the log of this process.
pub(crate) static LOG: Damper = Damper::new();

/// Writes a line to the log; at DEBUG, if its cause has written one lately.
///
/// The level, the [`Cause`](crate::log::Cause), and the line as the macros of `tracing` take it, which
/// the caller depends on itself.
#[macro_export]
macro_rules! damped {
    ($level:ident, $cause:expr, $($line:tt)+) => {
        match $crate::log::due(tracing::Level::$level, $cause) {
            Some(untold) => tracing::event!(tracing::Level::$level, untold, $($line)+),
            None => tracing::event!(tracing::Level::DEBUG, $($line)+),
        }
    };
}

/// Why a line is written, again and again perhaps. Lines of one cause are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    kind: &'static str,
    which: Cow<'static, str>,
}

impl Cause {
    /// All of a kind are one cause.
    pub const fn all(kind: &'static str) -> Self {
        let which = Cow::Borrowed("");
        Self { kind, which }
    }

    /// One of a kind. What a stranger can choose does not tell causes apart: he would have as many
    /// lines as he likes.
    pub fn one(kind: &'static str, which: impl Into<Cow<'static, str>>) -> Self {
        let which = which.into();
        Self { kind, which }
    }
}

/// Which causes have written a line lately, and what has happened since.
pub(crate) struct Damper(Mutex<BTreeMap<Cause, Told>>);

#[derive(Clone, Copy)]
struct Told {
    level: Level,
    at: Instant,
    untold: u64,
}

impl Told {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < INTERVAL
    }
}

/// How often a cause came without a line.
pub type Untold = Option<NonZeroU64>;

/// Whether a cause that has come up writes a line, and how often it came without one before; what
/// [`damped!`](crate::damped) asks.
pub fn due(level: Level, cause: Cause) -> Option<Untold> {
    LOG.due(level, cause)
}

impl Damper {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn due(&self, level: Level, cause: Cause) -> Option<Untold> {
        self.due_at(Instant::now(), level, cause)
    }

    fn due_at(&self, now: Instant, level: Level, cause: Cause) -> Option<Untold> {
        let mut all = self.lock();
        let cause = if all.len() < CAUSES || all.contains_key(&cause) {
            cause
        } else {
            Cause::one(cause.kind, "others")
        };
        let fresh = Told {
            level,
            at: now,
            untold: 0,
        };
        match all.get_mut(&cause) {
            Some(told) if told.is_recent(now) => {
                told.untold += 1;
                None
            }
            Some(told) => Some(NonZeroU64::new(std::mem::replace(told, fresh).untold)),
            None => {
                all.insert(cause, fresh);
                Some(None)
            }
        }
    }

    /// Tells how often causes came that do not come any more.
    pub(crate) fn catch_up(&self) {
        // A cause that still comes says it by itself until then.
        let silent = INTERVAL + CATCH_UP;
        self.tell(self.silent_for(silent, Instant::now()));
    }

    /// Tells all that is untold: the process ends.
    pub(crate) fn tell_all(&self) {
        self.tell(self.silent_for(Duration::ZERO, Instant::now()));
    }

    /// Causes whose last line is so old, with what is untold of them. They are forgotten.
    fn silent_for(&self, time: Duration, now: Instant) -> BTreeMap<Cause, Told> {
        let mut all = self.lock();
        let is_silent = |told: &Told| now.saturating_duration_since(told.at) >= time;
        let silent = all.extract_if(.., |_, told| is_silent(told));
        silent.filter(|(_, told)| told.untold > 0).collect()
    }

    fn tell(&self, causes: BTreeMap<Cause, Told>) {
        /// A macro takes no level that is known at run time only.
        macro_rules! line {
            ($level:ident, $kind:expr, $which:expr, $untold:expr) => {
                tracing::event!(
                    Level::$level,
                    untold = $untold,
                    which = $which,
                    "{}: more of the same, not told one by one",
                    $kind
                )
            };
        }
        for (Cause { kind, which }, Told { level, untold, .. }) in causes {
            let which = Some(&*which).filter(|which| !which.is_empty());
            match level {
                Level::ERROR => line!(ERROR, kind, which, untold),
                Level::WARN => line!(WARN, kind, which, untold),
                _ => line!(INFO, kind, which, untold),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Cause, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H55: a stranger who knocks a thousand times writes two lines, and is counted a thousand times.
    #[test]
    fn a_cause_writes_one_line_an_interval_with_a_count() {
        let damper = Damper::new();
        let start = Instant::now();
        let stranger = || Cause::all("a stranger");
        let knock = |at| damper.due_at(at, Level::WARN, stranger());
        assert_eq!(knock(start), Some(None));
        assert!((0..998).all(|_| knock(start + INTERVAL / 2).is_none()));
        assert_eq!(knock(start + INTERVAL), Some(NonZeroU64::new(998)));
        assert_eq!(knock(start + INTERVAL), None);
        assert_eq!(knock(start + 2 * INTERVAL), Some(NonZeroU64::new(1)));
        assert_eq!(knock(start + 3 * INTERVAL), Some(None));
    }

    #[test]
    fn what_is_untold_of_a_cause_that_does_not_come_any_more_is_told_once() {
        let damper = Damper::new();
        let start = Instant::now();
        for cause in [Cause::all("often"), Cause::all("often"), Cause::all("once")] {
            damper.due_at(start, Level::INFO, cause);
        }
        let silent = |at| damper.silent_for(INTERVAL, at);
        assert!(silent(start + INTERVAL / 2).is_empty());
        let told: Vec<_> = silent(start + INTERVAL).into_iter().collect();
        let [(cause, told)] = told.as_slice() else {
            panic!("one cause came twice")
        };
        assert_eq!((cause, told.untold), (&Cause::all("often"), 1));
        assert!(damper.lock().is_empty(), "nothing is remembered of either");
    }

    #[test]
    fn causes_are_told_apart_and_beyond_a_limit_those_of_a_kind_are_not() {
        let damper = Damper::new();
        let now = Instant::now();
        let told = |n: usize| {
            let cause = Cause::one("peer", n.to_string());
            damper.due_at(now, Level::INFO, cause).is_some()
        };
        let lines = (0..2 * CAUSES).filter(|&n| told(n)).count();
        assert_eq!(lines, CAUSES + 1);
        assert!(
            damper
                .due_at(now, Level::INFO, Cause::all("link"))
                .is_some()
        );
    }
}
