//! What instances count, and what there was to count.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_core::command::Log;
use switchboard_core::event::Heard;
use switchboard_core::frame::Outgoing;
use switchboard_core::stats::Stats;

use crate::checker::Watch;
use crate::observed::{Life, Observed};

/// What each instance should have counted. What follows from faults that it alone knows of is left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    expected: BTreeMap<Life, Stats>,
    /// Instances at which a terminal has published what is durable: it is answered before it is over, and what becomes of it
    /// is counted later.
    publish: BTreeSet<Life>,
}

impl Counters {
    /// Takes in what there is to count.
    pub(super) fn take_in(&mut self, event: &Observed, watch: &Watch<'_>) {
        let scene = watch.scene();
        let of_session = |session: &usize| scene.sessions()[*session].life();
        match event {
            Observed::Accepted { session } => {
                self.count(of_session(session), |stats| stats.accepted += 1);
            }
            Observed::Heard { session, frame } => match frame {
                Heard::Control | Heard::Ack(_) => {}
                Heard::Message | Heard::Unwanted => {
                    self.count(of_session(session), |stats| stats.messages += 1);
                }
            },
            Observed::Given { session, outgoing } => self.count(of_session(session), |stats| {
                stats.frames += 1;
                if let Outgoing::Hello { degraded: true, .. } = outgoing {
                    stats.greeted_degraded += 1;
                }
            }),
            Observed::HandedIn(hand_in) => {
                let life = scene.pushes()[hand_in.push].times()[hand_in.time].life;
                self.count(Some(life), |stats| stats.pushes += 1);
            }
            Observed::PushRefused { hand_in, .. } => {
                let life = scene.pushes()[hand_in.push].times()[hand_in.time].life;
                self.count(Some(life), |stats| {
                    stats.pushes -= 1;
                    stats.pushes_refused += 1;
                });
            }
            Observed::Answered { hand_in, receipt } => {
                let published = &scene.pushes()[hand_in.push];
                let life = published.times()[hand_in.time].life;
                if published.is_answered_when_logged() {
                    self.publish.insert(life);
                }
                self.count(Some(life), |stats| {
                    stats.degraded += u64::from(receipt.degraded);
                    stats.outcomes.merge(&receipt.counts);
                });
            }
            Observed::Logged { life, log } => self.count(Some(*life), |stats| match **log {
                Log::Claimed { .. } => stats.settlings += 1,
                Log::PeerUp { .. } => stats.links_opened += 1,
                Log::SettingsDiffer { .. } => stats.peers_differ += 1,
                _ => {}
            }),
            _ => {}
        }
    }

    fn count(&mut self, life: Option<Life>, count: impl FnOnce(&mut Stats)) {
        if let Some(life) = life {
            count(self.expected.entry(life).or_default());
        }
    }

    /// What an instance that runs has counted otherwise than there was to count.
    pub(super) fn differ(&self, watch: &Watch<'_>) -> Option<String> {
        watch.scene().hosts().find_map(|host| {
            let counted = host.stats()?;
            let mut expected = self.expected.get(&host.life()).copied().unwrap_or_default();
            if self.publish.contains(&host.life()) {
                (expected.degraded, expected.outcomes) = (counted.degraded, counted.outcomes);
            }
            let expected = Stats {
                accepted: expected.accepted,
                greeted_degraded: expected.greeted_degraded,
                messages: expected.messages,
                frames: expected.frames,
                pushes: expected.pushes,
                pushes_refused: expected.pushes_refused,
                degraded: expected.degraded,
                outcomes: expected.outcomes,
                settlings: expected.settlings,
                links_opened: expected.links_opened,
                peers_differ: expected.peers_differ,
                ..*counted
            };
            let number = host.number() + 1;
            (expected != *counted)
                .then(|| format!("i{number} counts {counted:?}, not {expected:?}"))
        })
    }
}
