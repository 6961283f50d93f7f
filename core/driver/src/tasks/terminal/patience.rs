//! How long a client is kept waiting for one answer.

use std::time::Duration;

use super::logins::Sleep;
use crate::runtime::race;

/// For the first answer that does not come, at most. Clients drop a connection with all that it has if one command is not
/// answered for 5 s, and what they say at once is answered one after the other.
const AT_FIRST: Duration = Duration::from_secs(2);

/// For the next, as long as none comes: a frame of thirty questions is answered within that time.
const IN_VAIN: Duration = Duration::from_millis(100);

/// How long one client waits for what it asks. Some of what is asked waits for a directory or a peer that may hang, or for
/// the questions of others: what it says behind that has to be answered all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It has waited for nothing in vain.
    Whole,
    /// It has, since it was last idle or got an answer.
    Worn,
}

impl Patience {
    /// What comes of an act in time, or this.
    pub(super) fn with<T>(
        self,
        sleep: Sleep,
        act: impl Future<Output = T>,
        too_late: T,
    ) -> impl Future<Output = T> {
        let span = match self {
            Self::Whole => AT_FIRST,
            Self::Worn => IN_VAIN,
        };
        race(act, async move {
            sleep(span).await;
            too_late
        })
    }

    /// What is left of it behind an answer, or behind none.
    pub(super) const fn behind(is_answered: bool) -> Self {
        match is_answered {
            true => Self::Whole,
            false => Self::Worn,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// One second has passed.
    fn a_second_later(span: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        match span <= Duration::from_secs(1) {
            true => Box::pin(ready(())),
            false => Box::pin(pending()),
        }
    }

    #[test]
    fn who_has_waited_in_vain_waits_for_less() {
        let mut cx = Context::from_waker(Waker::noop());
        for (patience, expected) in [
            (Patience::behind(true), Poll::Pending),
            (Patience::behind(false), Poll::Ready("too late")),
        ] {
            let waits = patience.with(a_second_later, pending(), "too late");
            assert_eq!(pin!(waits).poll(&mut cx), expected);
            let answered = patience.with(a_second_later, ready("an answer"), "too late");
            assert_eq!(pin!(answered).poll(&mut cx), Poll::Ready("an answer"));
        }
    }
}
