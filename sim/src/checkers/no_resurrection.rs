//! `no-resurrection`: the row of a connection that is gone does not come back to stay.

use super::allowance::differs;
use crate::checker::{Checker, Watch};
use crate::observed::{Change, Observed, Topic};
use switchboard_core::directory::Operation;

/// A late write may bring back the row of a connection that has ended; it is removed, or dead by its
/// epoch, a few round trips later. If its instance is gone, the lease ends it.
#[derive(Clone, Copy, Debug)]
pub struct NoResurrection;

/// Round trips until a late write is answered and what it wrote is removed.
const TRIPS: u32 = 3;

impl Checker for NoResurrection {
    fn name(&self) -> &'static str {
        "no-resurrection"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Executed(executed) = event else {
            return;
        };
        let (
            Operation::Register { connection, .. },
            Change::Row {
                before: None,
                after: Some(_),
            },
        ) = (&executed.operation, &executed.change)
        else {
            return;
        };
        let scene = watch.scene();
        let ended = |session: &usize| scene.sessions()[*session].ended().is_some();
        let Some(session) = scene.session_of(*connection).filter(ended) else {
            return;
        };
        watch.sometimes(LATE);
        let trips = scene.config().directory_timeout * TRIPS;
        watch.call_at(watch.now() + trips, session as u64);
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let session = what as usize;
        let scene = watch.scene();
        let this = &scene.sessions()[session];
        if !scene.row_of(session).is_some_and(|row| scene.is_live(row)) {
            return watch.held();
        }
        // Of an instance that is gone nobody removes it: it dies with the lease.
        let gone = this.life().filter(|life| !scene.lives(*life));
        let lease = gone.and_then(|life| scene.lease(scene.instance_of(life)));
        if let Some(left) = lease.and_then(|lease| lease.remaining) {
            return watch.call_at(watch.now() + left, what);
        }
        match this.life().and_then(|life| differs(watch, life)) {
            Some(excuse) => {
                watch.excused(excuse);
                let trips = scene.config().directory_timeout * TRIPS;
                watch.call_at(watch.now() + trips, what);
            }
            None => watch.violated(format!(
                "session {session} of {} had ended, its row came back and stays",
                this.user()
            )),
        }
    }

    fn probes(&self) -> &'static [&'static str] {
        &[LATE]
    }
}

const LATE: &str = "a row is written after its connection has ended";
