//! When something that an instance is to do at a moment is late.

use std::time::Duration;

use switchboard_core::time::Instant;

use crate::checker::Watch;
use crate::ledger::{Excuse, Part, Scope};

/// How much later than at its moment an instance does what it is to do: timers fire at the end of a tick
/// of about a millisecond, and the instance has a turn within two slots after that.
pub(super) const SLACK: Duration = Duration::from_millis(2);

/// Whether what a process was to do at a moment is late by now, or is late where it is done at this moment.
/// While it stands still it does nothing; what has become due it does as soon as it goes on.
pub(super) fn is_late(watch: &Watch<'_>, host: usize, due: Instant) -> bool {
    let now = watch.now();
    now > due + SLACK && now > running(watch, host, due) + SLACK
}

/// When a process does what it is to do at a moment: then, or as soon as it goes on if it stands still.
pub(super) fn running(watch: &Watch<'_>, host: usize, due: Instant) -> Instant {
    let mut due = due;
    loop {
        let stands_still = |excuse: &Excuse| {
            let here = excuse.scope == Scope::Instance(host);
            here && excuse.kind.part() == Part::Process && excuse.until > due
        };
        match watch.excuse(due, due + SLACK, stands_still) {
            Some(pause) => due = pause.until,
            None => return due,
        }
    }
}

/// When a process went on for the last time that stood still at some moment of an interval.
pub(super) fn went_on(
    watch: &Watch<'_>,
    host: usize,
    from: Instant,
    until: Instant,
) -> Option<Instant> {
    let entries = watch.scene().ledger().entries().iter();
    let pauses = entries.filter(|entry| {
        entry.scope == Scope::Instance(host)
            && entry.kind.part() == Part::Process
            && entry.from <= until
            && entry.until >= from
    });
    pauses.map(|pause| pause.until).max()
}

/// Whether a process stood still at some moment of an interval.
pub(super) fn stood_still(watch: &Watch<'_>, host: usize, from: Instant, until: Instant) -> bool {
    let here = |excuse: &Excuse| {
        excuse.scope == Scope::Instance(host) && excuse.kind.part() == Part::Process
    };
    watch.excuse(from, until, here).is_some()
}
