//! How often an instance compares the heads of logs with where their followers stand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::config::Config;
use switchboard_core::directory::{LeaseState, SeenLease};
use switchboard_core::id::InstanceId;
use switchboard_core::time::Instant;

use super::lateness::stood_still;
use crate::checker::Watch;
use crate::ledger::{Excuse, FaultKind, Part, Scope};

/// Where more follow a log here, each record that one of them may have missed is one more reason.
const EACH_READS: usize = 8;
/// All logs that an instance of these worlds has are compared within this time when there is a reason.
const LAP: Duration = Duration::from_secs(1);

/// When one instance has asked for the heads of its logs, and what it has had for reasons.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadChecks {
    asked: BTreeMap<Channel, Instant>,
    /// When something happened after which followers may lack a record.
    reasons: Vec<Instant>,
    /// Who held a lease when they were last read.
    alive: BTreeSet<InstanceId>,
    /// Those whose leases are not there any more. While they are doubted they count as they were read last.
    gone: BTreeSet<InstanceId>,
    /// Readings at which they may have been forgotten.
    forgotten: Vec<Instant>,
}

impl HeadChecks {
    /// Something has happened after which followers may lack a record.
    pub(super) fn reason(&mut self, at: Instant) {
        if self.reasons.last() != Some(&at) {
            self.reasons.push(at);
        }
    }

    /// The leases were read: who has none any more may not have delivered all.
    pub(super) fn viewed(&mut self, now: Instant, config: &Config, leases: &[SeenLease]) {
        let alive = leases
            .iter()
            .filter(|seen| seen.remaining.is_some() && seen.lease.state != LeaseState::Released);
        let alive: BTreeSet<_> = alive.map(|seen| seen.instance).collect();
        let doubt = config.lease * 2 + config.directory_timeout * 2;
        if self.reasons.last().is_none_or(|last| *last + doubt < now) {
            self.gone.clear();
        }
        self.gone.extend(&self.alive);
        for seen in leases {
            self.gone.remove(&seen.instance);
        }
        if !self.gone.is_empty() {
            self.forgotten.push(now);
        }
        if !self.alive.is_subset(&alive) {
            self.reason(now);
        }
        self.alive = alive;
    }

    /// It asks for the heads of these logs. Returns one that it compares too often: a round of checks comes to
    /// each once, and when logs come and go there are a few within one.
    pub(super) fn ask<'a>(
        &mut self,
        watch: &mut Watch<'_>,
        host: usize,
        channels: &'a [Channel],
    ) -> Option<&'a Channel> {
        let now = watch.now();
        let config = watch.scene().config();
        let (check, again) = (config.log_check, again(config));
        let of_use = now.before(again + again);
        self.reasons.retain(|reason| *reason >= of_use);
        self.forgotten.retain(|reading| *reading >= of_use);
        let mut too_often = None;
        for channel in channels {
            // That of a topic is compared with each row of it as well.
            if let Channel::Topic(_) = channel {
                continue;
            }
            let Some(before) = self.asked.insert(channel.clone(), now) else {
                continue;
            };
            if now >= before + check / 4 || self.has_reason(watch, host, before) {
                watch.held();
                continue;
            }
            match disturbed(watch, host, before) {
                Some(excuse) => watch.excused(excuse),
                None if is_crowded(watch, host, channel) => {}
                None => too_often = Some(channel),
            }
        }
        too_often
    }

    /// Whether it had a reason since shortly before a moment, or has one once more, as the last publisher has
    /// learned by now that it was in doubt.
    fn has_reason(&self, watch: &Watch<'_>, host: usize, before: Instant) -> bool {
        let (from, until) = (before.before(LAP), watch.now());
        let again = again(watch.scene().config());
        let is_within = |at: Instant| from <= at && at <= until;
        let reasons = || self.reasons.iter().chain(&self.forgotten);
        reasons().any(|reason| is_within(*reason) || is_within(*reason + again))
            || stood_still(watch, host, from, until)
    }
}

/// All are compared once more so long after each reason.
fn again(config: &Config) -> Duration {
    config.lease + Config::DEADLINE_MAX
}

/// What of the directory, or of what others have said, makes more of it.
fn disturbed(watch: &Watch<'_>, host: usize, before: Instant) -> Option<Excuse> {
    let config = watch.scene().config();
    let from = before.before(LAP + config.directory_timeout * 3);
    let directory = watch.excuse(from, watch.now(), |excuse| {
        let lasts = matches!(
            excuse.kind,
            FaultKind::RedisEvicted | FaultKind::RedisEvictedTopic
        );
        excuse.kind.part() == Part::Directory && !lasts
    });
    directory.or_else(|| {
        let lied = |excuse: &Excuse| {
            let here = matches!(excuse.scope, Scope::Between(_, to) if to == host);
            excuse.kind == FaultKind::PeerLied && here
        };
        watch.excuse(Instant::START, watch.now(), lied)
    })
}

/// Whether so many follow a log here that its head is compared instead of each of them reading it.
fn is_crowded(watch: &Watch<'_>, host: usize, channel: &Channel) -> bool {
    let sessions = watch.scene().sessions().iter();
    let follow = sessions.filter(|session| {
        let here = session.life().is_some_and(|life| life.host == host);
        here && !session.asks_of(channel).is_empty()
    });
    follow.count() > EACH_READS
}
