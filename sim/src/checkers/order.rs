//! `order`: a terminal gets the pushes of one instance for one user in their order.

use std::collections::BTreeMap;

use switchboard_core::message::Audience;

use crate::checker::{Checker, Watch};
use crate::observed::{Life, Observed};

/// Per publishing instance, user and connection, pushes come in the order they were handed in.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The last push of each instance that a session got.
    last: BTreeMap<(usize, Life), u64>,
}

impl Checker for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        let Observed::Seen {
            session,
            push: Some(push),
            ..
        } = event
        else {
            return;
        };
        let published = &watch.world().pushes()[*push];
        // What was handed in more than once may have come from either, and pushes to everyone have
        // a pace of their own.
        let [only] = published.times() else {
            return;
        };
        if *published.to() == Audience::Everyone {
            return;
        }
        let before = self.last.insert((*session, only.life), only.sequence);
        if before > Some(only.sequence) {
            watch.violated(format!(
                "session {session} got push {push} of i{} after a later one",
                only.life.host + 1
            ));
        } else {
            watch.held();
        }
    }
}
