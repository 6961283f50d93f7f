//! `no-duplicate`: a terminal gets a push once at most.

use std::collections::BTreeSet;

use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Topic};

/// However often and wherever a push is repeated: no connection gets it twice.
#[derive(Clone, Debug, Default)]
pub struct NoDuplicate {
    /// Sessions, and the pushes that each got.
    got: BTreeSet<(usize, usize)>,
}

impl Checker for NoDuplicate {
    fn name(&self) -> &'static str {
        "no-duplicate"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Frames]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Seen {
            session,
            push: Some(push),
            ..
        } = event
        else {
            return;
        };
        if self.got.insert((*session, *push)) {
            watch.held();
        } else {
            watch.violated(format!("session {session} got push {push} twice"));
        }
    }
}
