//! The pace at which tokens are judged that a terminal sends on its connection.

use std::time::Duration;

use switchboard_core::pace::ActPace;

use super::logins::Sleep;
use crate::clock;

/// Tokens for connections that are judged in a second, of one terminal. One comes in the life of the one before, and a
/// signature costs up to a tenth of a millisecond of the thread on which all the others are served.
pub(super) const LOGINS: u32 = 10;

/// How long one beyond the pace waits.
const PAUSE: Duration = Duration::from_secs(1);

/// What was judged of one terminal. For most that is nothing, and takes no room.
#[derive(Default)]
pub(super) struct TokenPace(Option<Box<ActPace>>);

impl TokenPace {
    /// What comes of judging one more: later, if that is beyond so many in a second.
    pub(super) fn paced<T, F>(
        &mut self,
        most: u32,
        sleep: Sleep,
        judged: F,
    ) -> impl Future<Output = T> + use<T, F>
    where
        F: Future<Output = T>,
    {
        let pace = (self.0).get_or_insert_with(|| Box::new(ActPace::NEW));
        let is_exceeded = pace.is_exceeded(clock::mono(), most);
        async move {
            if is_exceeded {
                sleep(PAUSE).await;
            }
            judged.await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;

    use super::*;

    /// H10: a signature costs whoever sends it nothing.
    #[test]
    fn of_many_tokens_at_once_the_last_ones_wait() {
        let endless: Sleep = |_| Box::pin(pending());
        let short: Sleep = |_| Box::pin(ready(()));
        let mut pace = TokenPace::default();
        let mut judged = |sleep| pace.paced(2, sleep, ready(())).now_or_never();
        assert_eq!([endless, endless].map(&mut judged), [Some(()), Some(())]);
        assert_eq!([endless, short].map(judged), [None, Some(())]);
    }
}
