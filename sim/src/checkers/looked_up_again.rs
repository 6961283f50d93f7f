//! `looked-up-again`: a terminal that has gone may just have moved, and the rows of its user are read once more.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::directory::Operation;
use switchboard_core::key::Key;
use switchboard_core::message::{Outcome, Receipt};
use switchboard_core::time::Instant;

use super::allowance::lied;
use crate::checker::{Checker, Watch};
use crate::observed::{HandIn, Life, Observed, Topic};

/// A receipt that says without doubt that a terminal at another instance has gone rests on two lookups at
/// least: one that named it, and one since then.
#[derive(Clone, Debug, Default)]
pub struct LookedUpAgain {
    lookups: BTreeMap<(Life, Key), Vec<Instant>>,
}

/// No push waits for so long.
const KEPT: Duration = Duration::from_secs(60);

impl Checker for LookedUpAgain {
    fn name(&self) -> &'static str {
        "looked-up-again"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Pushes]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Executed(executed) => {
                if let (Operation::Lookup { key }, Ok(_)) = (&executed.operation, &executed.outcome)
                {
                    let times = self
                        .lookups
                        .entry((executed.life, key.clone()))
                        .or_default();
                    times.retain(|at| *at + KEPT > watch.now());
                    times.push(watch.now());
                }
            }
            Observed::Answered { hand_in, receipt } if !receipt.degraded => {
                self.judge(watch, *hand_in, receipt);
            }
            _ => {}
        }
    }
}

impl LookedUpAgain {
    fn judge(&self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let scene = watch.scene();
        let published = &scene.pushes()[hand_in.push];
        if published.durable().is_some() {
            // A terminal that has moved reads it in the log.
            return;
        }
        let handed_in = &published.times()[hand_in.time];
        let publisher = handed_in.life;
        let gone = (receipt.terminals.iter()).filter(|one| one.outcome == Outcome::Gone);
        for terminal in gone {
            let session = scene.session_of(terminal.connection);
            let holder = session.and_then(|session| scene.sessions()[session].life());
            if holder.is_none_or(|holder| holder.host == publisher.host) {
                continue;
            }
            let times = self.lookups.get(&(publisher, terminal.user.clone().into()));
            let since = (times.into_iter().flatten()).filter(|at| **at >= handed_in.at);
            if since.count() < 2 {
                // Who was not asked may have said so, after the rows were looked up again for another user.
                if let Some(lie) = lied(watch, handed_in, None) {
                    watch.excused(lie);
                    continue;
                }
                return watch.violated(format!(
                    "push {} finds a terminal of {} gone, and does not look where it is",
                    hand_in.push, terminal.user
                ));
            }
            watch.held();
        }
    }
}
