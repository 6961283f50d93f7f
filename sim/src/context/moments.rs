//! What waits for a moment of a push or of a client.

use std::time::Duration;

use crate::fingerprint::fingerprint;
use crate::schedule::{Act, Moment};

/// All items that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    awaited: Vec<Awaited>,
}

fingerprint!(Moments { awaited });

/// One item that waits.
#[derive(Clone, Debug)]
struct Awaited {
    moment: Moment,
    of: String,
    after: Duration,
    act: Box<Act>,
}

fingerprint!(Awaited {
    moment,
    of,
    after,
    act,
});

impl Moments {
    pub(super) fn wait_for(&mut self, moment: Moment, of: &str, after: Duration, act: &Act) {
        self.awaited.push(Awaited {
            moment,
            of: of.to_owned(),
            after,
            act: Box::new(act.clone()),
        });
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        self.awaited.clear();
    }

    /// The next item that waited for this moment of whom or what this says, and how long after it
    /// that happens. It waits no more.
    pub(super) fn come(
        &mut self,
        moment: Moment,
        is_of: impl Fn(&str) -> bool,
    ) -> Option<(Duration, Box<Act>)> {
        let come = |awaited: &Awaited| awaited.moment == moment && is_of(&awaited.of);
        let index = self.awaited.iter().position(come)?;
        let Awaited { after, act, .. } = self.awaited.remove(index);
        Some((after, act))
    }
}
