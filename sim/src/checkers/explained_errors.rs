//! `explained-errors`: what an instance logs as an error, a fault explains.

use switchboard_core::command::{Log, Severity};
use switchboard_core::time::Instant;

use super::allowance::{concerns, recovery};
use super::lateness::SLACK;
use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{Life, Observed, Topic};

/// An operator who reads an error has to do something. Where no fault was injected that asks for it,
/// nothing is to be done, and an instance that says so is wrong.
#[derive(Clone, Copy, Debug)]
pub struct ExplainedErrors;

impl Checker for ExplainedErrors {
    fn name(&self) -> &'static str {
        "explained-errors"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Log]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Logged { life, log } = event else {
            return;
        };
        match log.severity() {
            Severity::Info | Severity::Warning => return watch.held(),
            Severity::Error => {}
        }
        match explanation(watch, *life, log) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "i{} logs an error that nothing explains: {log:?}",
                life.host + 1
            )),
        }
    }
}

/// What explains an error of an instance.
fn explanation(watch: &Watch<'_>, life: Life, log: &Log) -> Option<Excuse> {
    let config = watch.scene().config();
    match log {
        // The answer was under way, or waited for an instance that stood still.
        Log::DirectoryRefused { .. } => {
            let since = awake_since(watch, life).before(config.directory_timeout);
            watch.excuse(since, watch.now(), |excuse| {
                let refuses = matches!(
                    excuse.kind,
                    FaultKind::RedisRefuses | FaultKind::RedisTrip
                );
                refuses && concerns(excuse, life.host)
            })
        }
        // It is cut off since its lease expired, or longer.
        Log::Isolated => {
            let since = awake_since(watch, life).before(config.isolation + recovery(config));
            watch.excuse(since, watch.now(), |excuse| {
                excuse.kind.part() == Part::Directory && concerns(excuse, life.host)
            })
        }
        // All instances know one secret.
        Log::WrongSecret { .. } => {
            let since = awake_since(watch, life).before(SLACK);
            watch.excuse(since, watch.now(), |excuse| {
                excuse.kind == FaultKind::Stranger && concerns(excuse, life.host)
            })
        }
        // And all are of one version.
        Log::WireVersion { .. }
        // These are no errors.
        | Log::Claimed { .. }
        | Log::Settled { .. }
        | Log::LeaseLost { .. }
        | Log::LeaseVanished { .. }
        | Log::DirectoryNotPrimary { .. }
        | Log::PeerUp { .. }
        | Log::PeerDown { .. }
        | Log::PeerMisbehaved { .. }
        | Log::SettingsDiffer { .. }
        | Log::Rejoined
        | Log::Unproven { .. } => None,
    }
}

/// When an instance began to stand still that has just woken up, or this moment.
fn awake_since(watch: &Watch<'_>, life: Life) -> Instant {
    let now = watch.now();
    let here = Scope::Instance(life.host);
    let lately = now.before(watch.scene().config().directory_timeout);
    let paused = watch.excuse(lately, now, |excuse| {
        excuse.kind.part() == Part::Process && excuse.scope == here
    });
    paused.map_or(now, |pause| pause.from)
}
