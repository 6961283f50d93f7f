//! `convergence`: after the faults the rows are those of the live connections.

use std::collections::BTreeSet;
use std::time::Duration;

use super::allowance::{evicted, not_yet_noticed};
use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Quiescence, Topic};

/// Where the schedule expects it, the directory and the connections are equal, without any excuse but
/// two: of a row that was evicted, which the sweep, which is slow, writes again; and of a terminal that went
/// without a sign, as long as its instance cannot have noticed.
#[derive(Clone, Copy, Debug)]
pub struct Convergence;

/// A row is removed within this time, if nothing delays that.
pub(super) const REMOVED: Duration = Duration::from_millis(100);

impl Checker for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn topics(&self) -> &'static [Topic] {
        &[]
    }

    fn on_event(&mut self, _: &Observed, _: &mut Watch<'_>) {}

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        match quiescence {
            Quiescence::Converged => {}
            Quiescence::AtRest => return,
        }
        let scene = watch.scene();
        let rows: BTreeSet<_> = scene.live_rows().into_keys().collect();
        let held: BTreeSet<_> = (scene.sessions().iter())
            .filter(|session| session.is_open() && session.greeted().is_some())
            .filter_map(|session| session.connection())
            .collect();
        let mut orphans = held.difference(&rows).filter(|id| {
            let session = scene.session_of(**id);
            session
                .and_then(|session| evicted(watch, session, watch.now()))
                .is_none()
        });
        let orphan = orphans.next();
        drop(orphans);
        if let Some(orphan) = orphan {
            let session = scene.session_of(*orphan);
            return watch.violated(format!("session {session:?} has no live row"));
        }
        let mut unnoticed = None;
        for ghost in rows.difference(&held) {
            let session = scene.session_of(*ghost);
            let ended = session.and_then(|session| scene.sessions()[session].ended());
            if ended.is_some_and(|ended| ended + REMOVED > watch.now()) {
                continue;
            }
            match session.and_then(|session| not_yet_noticed(watch, session)) {
                Some(excuse) => unnoticed = Some(excuse),
                None => {
                    return watch
                        .violated(format!("session {session:?} is gone and has a live row"));
                }
            }
        }
        match unnoticed {
            Some(excuse) => watch.excused(excuse),
            None => watch.held(),
        }
    }
}
