//! Of which rows an instance's lease has to say that they may be missing, as the directory's answers to it show.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::directory::{Lease, LeaseState, Operation, Reply};
use switchboard_core::id::Epoch;
use switchboard_core::time::Instant;

use crate::observed::Executed;

/// A row is first asked for so long after its terminal was accepted, at most.
const OPENING: Duration = Duration::from_secs(20);

/// What may be missing of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct MissingRows {
    /// The epoch of its last claim: what an earlier link has asked may come late, and counts for nothing.
    epoch: Option<Epoch>,
    /// What its last claim or renewal has left in the directory.
    written: Option<Lease>,
    /// What stood there before its last claim, as it knew and as the directory had it.
    before_claim: (Option<Lease>, Option<Lease>),
    /// The lease that it was last granted, and when it had asked for that.
    granted: Option<(Lease, Instant)>,
    /// Rows of terminals that were accepted since.
    since: Option<Instant>,
}

impl MissingRows {
    /// It claims a lease.
    pub(super) const fn claims(&mut self, epoch: Epoch) {
        self.epoch = Some(epoch);
    }

    /// The directory has executed something for it. Returns since when rows may be missing if its lease says that none
    /// is.
    pub(super) fn executed(&mut self, executed: &Executed) -> Option<Instant> {
        match (&executed.operation, &executed.outcome) {
            (Operation::Claim { lease, .. }, Ok(Reply::Claimed { replaced }))
                if Some(lease.epoch) == self.epoch =>
            {
                self.before_claim = (self.written.replace(lease.clone()), replaced.clone());
                None
            }
            (Operation::Renew { lease, .. }, Ok(Reply::Renewed))
                if Some(lease.epoch) == self.epoch =>
            {
                self.written = Some(lease.clone());
                if lease.state == LeaseState::Settling {
                    return None;
                }
                self.since.take()
            }
            _ => None,
        }
    }

    /// Its lease was granted that it had asked for then. `lasts`: a lease.
    pub(super) fn granted(
        &mut self,
        now: Instant,
        (asked, claims): (Instant, bool),
        lasts: Duration,
    ) {
        let Some(lease) = self.written.clone() else {
            return;
        };
        let former = self.granted.replace((lease, asked));
        if !claims {
            return;
        }
        let (written, replaced) = &self.before_claim;
        let lost = match former {
            // What stands there is what it knew: only a tail can be lost.
            Some((lease, asked)) if now < asked + lasts && replaced.is_some() => {
                let known = replaced == written || replaced.as_ref() == Some(&lease);
                known.then(|| asked.before(Config::FAILOVER_TAIL) + OPENING)
            }
            _ => None,
        };
        let lost = lost.unwrap_or(Instant::START);
        self.since = Some(self.since.map_or(lost, |since| since.min(lost)));
    }

    /// Since when terminals were accepted whose rows may be missing, at the earliest, if its lease says that rows are, and
    /// not all may be.
    pub(super) fn tail(&self) -> Option<Instant> {
        let says_so =
            (self.written.as_ref()).is_some_and(|lease| lease.state == LeaseState::Settling);
        let since = self.since.filter(|_| says_so)?;
        (since > Instant::START).then(|| since.before(OPENING))
    }

    /// All rows are back.
    pub(super) const fn settled(&mut self) {
        self.since = None;
    }
}
