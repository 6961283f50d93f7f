//! `given-up`: what is for another instance waits as long as something can come of it, and no longer.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use switchboard_core::command::Log;
use switchboard_core::config::Config;
use switchboard_core::forged::deliveries;
use switchboard_core::id::{DeliveryId, InstanceId, LinkKey};
use switchboard_core::message::{Action, Audience, Receipt};
use switchboard_core::time::Instant;

use super::lateness::{SLACK, stood_still};
use crate::boundary::{Intake, Output};
use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind, Scope};
use crate::observed::{HandIn, LinkStep, Observed, Topic};

/// A push to everyone waits for an instance only while there is a link to it, or one is being opened or expected; and a
/// delivery under which so many links have broken as it is worth leaves no more.
#[derive(Clone, Debug, Default)]
pub struct GivenUp {
    /// The ways from a process to instances.
    ways: BTreeMap<usize, Ways>,
    /// Deliveries from one process to another.
    sent: BTreeMap<(usize, usize), LeftFor>,
}

/// So many links break under a delivery, at most.
const BREAKS: u8 = 2;

/// Ways from one instance to others.
#[derive(Clone, Debug, Default)]
struct Ways {
    /// Links that it has dialled and that are not gone.
    dialled: BTreeMap<LinkKey, InstanceId>,
    /// Those to whom a link serves.
    open: BTreeSet<InstanceId>,
    /// When the last way to an instance went.
    gone: BTreeMap<InstanceId, Instant>,
}

/// What has left from one instance to another.
#[derive(Clone, Debug, Default)]
struct LeftFor {
    /// Batches since a link between the two broke last.
    batches: Vec<(Instant, Bytes)>,
    /// Deliveries that have left over links that broke: when the first one did, and how many since.
    broken: BTreeMap<DeliveryId, (Instant, u8)>,
}

impl Checker for GivenUp {
    fn name(&self) -> &'static str {
        "given-up"
    }

    fn topics(&self) -> &'static [Topic] {
        &[
            Topic::Boundary,
            Topic::Lives,
            Topic::Links,
            Topic::Log,
            Topic::Pushes,
        ]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Started(life) => {
                self.ways.insert(life.host, Ways::default());
                self.sent.retain(|(from, _), _| *from != life.host);
            }
            Observed::Took { life, intake } => {
                let Intake::LinkDown { link, .. } = intake else {
                    return;
                };
                let ways = self.ways.entry(life.host).or_default();
                ways.link_gone(*link, watch.now());
            }
            Observed::Gave { life, output } => {
                let ways = self.ways.entry(life.host).or_default();
                match output {
                    Output::Dial { link, instance } => {
                        ways.dialled.insert(*link, *instance);
                    }
                    Output::LinkClose(link) => ways.link_gone(*link, watch.now()),
                    _ => {}
                }
            }
            Observed::Logged { life, log } => {
                let ways = self.ways.entry(life.host).or_default();
                match **log {
                    Log::PeerUp { instance } => {
                        ways.open.insert(instance);
                    }
                    Log::PeerDown { instance } => {
                        ways.open.remove(&instance);
                        ways.gone.insert(instance, watch.now());
                        self.link_broke(watch, life.host, instance);
                    }
                    _ => {}
                }
            }
            Observed::Carried {
                from,
                to,
                step: LinkStep::Written | LinkStep::Stuck,
                batch,
            } => {
                let sent = self.sent.entry((*from, *to)).or_default();
                if let Some(delivery) = sent.leave(watch, batch) {
                    let lied = |excuse: &Excuse| {
                        let here = excuse.scope == Scope::Between(*from, *to);
                        here && excuse.kind == FaultKind::PeerLied
                    };
                    let lied = watch.excuse(Instant::START, watch.now(), lied);
                    match lied {
                        Some(excuse) => watch.excused(excuse),
                        None => watch.violated(format!(
                            "i{} sends {delivery:?} to i{}, under which {BREAKS} links have broken",
                            from + 1,
                            to + 1
                        )),
                    }
                }
            }
            Observed::Answered { hand_in, receipt } => self.answered(watch, *hand_in, receipt),
            _ => {}
        }
    }
}

impl GivenUp {
    /// A link that served has broken.
    fn link_broke(&mut self, watch: &mut Watch<'_>, from: usize, to: InstanceId) {
        let scene = watch.scene();
        let to = (scene.hosts()).find(|host| scene.instance_of(host.life()) == to);
        let Some(to) = to.map(|host| host.number()) else {
            return;
        };
        if let Some(sent) = self.sent.get_mut(&(from, to)) {
            sent.link_broke(watch.now());
            watch.held();
        }
    }

    /// A receipt that comes when its time is over has waited for somebody.
    fn answered(&self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let published = &watch.scene().pushes()[hand_in.push];
        let [handed_in] = published.times() else {
            // A repeat waits for the push before it.
            return;
        };
        let host = handed_in.life.host;
        let due = handed_in.at + published.deadline();
        let is_frame = matches!(published.action(), Action::Frame(_) | Action::Close(_));
        if *published.to() != Audience::Everyone || !is_frame || watch.now() < due {
            return;
        }
        let silent = receipt.instances.iter().filter(|outcome| !outcome.answered);
        let mut silent = silent.map(|outcome| outcome.instance);
        let Some(ways) = self.ways.get(&host) else {
            return;
        };
        // It may have been waited for until then.
        let lately = due.before(watch.scene().config().link_timeout + SLACK);
        if silent.any(|instance| ways.had_one(instance, lately))
            || stood_still(watch, host, handed_in.at, watch.now())
        {
            return watch.held();
        }
        if let Some(late) = last_answer_was_late(watch, host, handed_in.at) {
            return watch.excused(late);
        }
        watch.violated(format!(
            "the receipt of push {} has waited for instances to which there was no way",
            hand_in.push
        ));
    }
}

/// Why the last answer may have come at the very end: what lies between the publisher and another instance has kept it.
fn last_answer_was_late(watch: &Watch<'_>, publisher: usize, since: Instant) -> Option<Excuse> {
    watch.excuse(since, watch.now(), |excuse| {
        let keeps = matches!(
            excuse.kind,
            FaultKind::Cut
                | FaultKind::Clog
                | FaultKind::LinkSlow
                | FaultKind::LinkLate
                | FaultKind::PeerLied
        );
        keeps
            && match excuse.scope {
                Scope::All => true,
                Scope::Between(one, other) => one == publisher || other == publisher,
                Scope::Instance(_) | Scope::Session(_) => false,
            }
    })
}

impl Ways {
    fn link_gone(&mut self, link: LinkKey, now: Instant) {
        if let Some(instance) = self.dialled.remove(&link) {
            self.gone.insert(instance, now);
        }
    }

    /// Whether there was a way to an instance at some moment since.
    fn had_one(&self, instance: InstanceId, since: Instant) -> bool {
        let is_dialled = self.dialled.values().any(|other| *other == instance);
        let gone = self.gone.get(&instance);
        is_dialled || self.open.contains(&instance) || gone.is_some_and(|gone| *gone >= since)
    }
}

impl LeftFor {
    /// A batch leaves. Returns a delivery that should not.
    fn leave(&mut self, watch: &Watch<'_>, batch: &Bytes) -> Option<DeliveryId> {
        let now = watch.now();
        let lately = now.before(Config::DEADLINE_MAX);
        self.broken.retain(|_, (since, _)| *since >= lately);
        self.batches.retain(|(at, _)| *at >= lately);
        self.batches.push((now, batch.clone()));
        if self.broken.is_empty() {
            return None;
        }
        let worn_out = |delivery: &DeliveryId| {
            let broken = self.broken.get(delivery);
            broken.is_some_and(|(_, breaks)| *breaks >= BREAKS)
        };
        deliveries(batch).into_iter().find(worn_out)
    }

    /// A link has broken over which these have left.
    fn link_broke(&mut self, now: Instant) {
        let batches = std::mem::take(&mut self.batches);
        let left = batches.iter().flat_map(|(_, batch)| deliveries(batch));
        for delivery in left.collect::<BTreeSet<_>>() {
            let (_, breaks) = self.broken.entry(delivery).or_insert((now, 0));
            *breaks = breaks.saturating_add(1);
        }
    }
}
