//! `suspicion-ends`: an instance takes itself for cut off only when that has lasted, and not for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::command::Log;
use switchboard_core::time::Instant;

use super::lateness::is_late;
use super::own_lease::OwnLease;
use crate::boundary::{Intake, Output};
use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Quiescence, Topic};

/// An instance sends its terminals elsewhere only when it has been without a lease for as long as the settings
/// say; it does so if all others have held theirs for so long; it takes terminals again as soon as it has
/// a lease; and when all has healed nobody is cut off.
#[derive(Clone, Debug, Default)]
pub struct SuspicionEnds {
    hosts: BTreeMap<usize, Suspicion>,
}

/// What an instance knows of itself.
#[derive(Clone, Copy, Debug)]
struct Suspicion {
    started: Instant,
    lease: OwnLease,
    isolated: bool,
    draining: bool,
    /// When something last came over a link.
    heard: Option<Instant>,
    /// It has a lease again since then, and has not said so.
    rejoins: Option<Instant>,
}

impl Checker for SuspicionEnds {
    fn name(&self) -> &'static str {
        "suspicion-ends"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Boundary, Topic::Lives, Topic::Time, Topic::Log]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let now = watch.now();
        match event {
            Observed::Started(life) => {
                let suspicion = Suspicion {
                    started: now,
                    lease: OwnLease::default(),
                    isolated: false,
                    draining: false,
                    heard: None,
                    rejoins: None,
                };
                self.hosts.insert(life.host, suspicion);
            }
            Observed::Gone(life) => {
                self.hosts.remove(&life.host);
            }
            Observed::Took { life, intake } => {
                if let Some(host) = self.hosts.get_mut(&life.host) {
                    host.take_in(now, watch.scene().config().lease, *intake);
                }
            }
            Observed::Gave {
                life,
                output: Output::Trip(trip),
            } => {
                if let Some(host) = self.hosts.get_mut(&life.host) {
                    host.lease.ask(now, trip);
                }
            }
            Observed::Logged { life, log } => {
                let Some(host) = self.hosts.get_mut(&life.host) else {
                    return;
                };
                match **log {
                    Log::Isolated => {
                        host.isolated = true;
                        // What grants it at the same moment may come after what it has suspected by.
                        let granted = host.lease.granted.filter(|(_, at)| *at < now);
                        let since = granted.map_or(host.started, |(_, at)| at);
                        if now < since + watch.scene().config().isolation {
                            let host = life.host + 1;
                            watch.violated(format!("i{host} takes itself for cut off too soon"));
                        } else {
                            watch.held();
                        }
                    }
                    Log::Rejoined => (host.isolated, host.rejoins) = (false, None),
                    _ => {}
                }
            }
            Observed::Tick => self.look(watch),
            _ => {}
        }
    }

    fn at_quiescence(&mut self, _: Quiescence, watch: &mut Watch<'_>) {
        self.look(watch);
        match self.hosts.iter().find(|(_, host)| host.isolated) {
            Some((host, _)) => watch.violated(format!("i{} is cut off for ever", host + 1)),
            None => watch.held(),
        }
    }
}

impl SuspicionEnds {
    fn look(&self, watch: &mut Watch<'_>) {
        let now = watch.now();
        let config = watch.scene().config();
        let holds = |host: &Suspicion| {
            let granted = host.lease.granted;
            granted.is_some_and(|(asked, _)| now < asked + config.lease)
        };
        for (number, host) in &self.hosts {
            if host
                .rejoins
                .is_some_and(|since| is_late(watch, *number, since))
            {
                return watch.violated(format!("i{} has a lease and stays cut off", number + 1));
            }
            let Some((asked, _)) = host.lease.granted else {
                continue;
            };
            if host.isolated || host.draining {
                continue;
            }
            // The first heartbeat after its lease has expired tells that it works elsewhere, and so does the
            // last before the time is over.
            let heartbeat = config.link_heartbeat;
            let due = asked + config.lease + config.isolation + heartbeat * 3;
            let heard = host.heard.is_some_and(|at| now < at + heartbeat * 2);
            let others = self.hosts.iter().filter(|(other, _)| *other != number);
            let told = heard && others.clone().all(|(_, other)| holds(other));
            if told && is_late(watch, *number, due) {
                let since = due.before(config.isolation + heartbeat * 3);
                let shaken = watch.excuse(since, now, |excuse| {
                    excuse.scope != crate::ledger::Scope::Instance(*number)
                });
                match shaken {
                    Some(excuse) => watch.excused(excuse),
                    None => {
                        watch.violated(format!("i{} does not see that it is cut off", number + 1))
                    }
                }
            }
        }
    }
}

impl Suspicion {
    fn take_in(&mut self, now: Instant, lasts: Duration, intake: Intake) {
        match intake {
            Intake::TripAnswered {
                op,
                in_time,
                lost,
                granted,
                refused,
                ..
            } => {
                let before = self.lease.granted;
                self.lease
                    .answered(now, lasts, op, in_time && !lost, granted, refused);
                let regained = self.lease.granted != before;
                if regained && self.isolated && !self.draining {
                    self.rejoins.get_or_insert(now);
                }
            }
            Intake::Drain { .. } => self.draining = true,
            Intake::LinkReceived { .. } => self.heard = Some(now),
            Intake::Accepted { .. }
            | Intake::LinkAccepted(_)
            | Intake::Opened(_)
            | Intake::Authenticated { .. }
            | Intake::Refreshed { .. }
            | Intake::Relayed
            | Intake::Heard(_)
            | Intake::Written(_)
            | Intake::Closed(_)
            | Intake::Probed { .. }
            | Intake::DirectoryUp
            | Intake::DirectoryDown
            | Intake::LinkUp(_)
            | Intake::LinkWritten(_)
            | Intake::LinkDown { .. }
            | Intake::Call { .. } => {}
        }
    }
}
