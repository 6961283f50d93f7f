//! What waits for one terminal, if anything ever has.

use std::hash::Hasher;
use std::ops::{Deref, DerefMut};

use super::Outbound;
use crate::base::fingerprint::Fingerprint;
use crate::time::Instant;

/// An [`Outbound`] that takes memory of its own from when something is queued: there are many terminals, and for
/// most of them nothing waits.
#[derive(Clone, Debug, Default)]
pub(in crate::terminals) struct LazyOutbound(Option<Box<Outbound>>);

/// That of a terminal for which nothing waits.
static NOTHING: Outbound = Outbound::new();

impl LazyOutbound {
    /// Gives its memory back if nothing waits, and what waits next needs some anew.
    pub(in crate::terminals) fn rest(&mut self) {
        if self.is_bare() {
            self.0 = None;
        }
    }
}

impl Deref for LazyOutbound {
    type Target = Outbound;

    fn deref(&self) -> &Outbound {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for LazyOutbound {
    fn deref_mut(&mut self) -> &mut Outbound {
        self.0.get_or_insert_with(|| Box::new(Outbound::new()))
    }
}

impl Fingerprint for LazyOutbound {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        (**self).fingerprint(now, hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::Slots;
    use crate::frame::HelloLog;
    use crate::id::{ConnectionId, ConnectionKey};
    use crate::terminals::connection::Connection;

    #[test]
    fn a_terminal_that_is_told_nothing_after_its_hello_holds_no_queue() {
        let mut outbound = LazyOutbound::default();
        assert!(outbound.is_empty() && outbound.0.is_none());
        let id = ConnectionId::new(uuid::Uuid::nil());
        outbound.greet(id, false, HelloLog::NotAsked);
        outbound.rest();
        assert_eq!(outbound.next_batch().count(), 1);
        assert!(outbound.written().is_empty());
        outbound.rest();
        assert!(outbound.0.is_none());
    }

    /// There are many of them, and most are idle.
    #[test]
    fn a_connection_takes_a_quarter_of_a_kibibyte() {
        const { assert!(Slots::<ConnectionKey, Connection>::BYTES <= 256) };
    }
}
