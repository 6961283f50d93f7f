//! Rolling deployments: one instance after the other is drained, ended and started again.

use std::time::Duration;

use switchboard_core::time::Instant;

use crate::fingerprint::{Fingerprint, Print, fingerprint};
use crate::ledger::{FaultKind, Scope};
use crate::observed::Life;
use crate::queue::Happening;
use crate::schedule::{HowKilled, NewAddress};
use crate::world::World;

/// How far one has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deployment {
    /// Which one. A later one, and the heal, end those before.
    number: u64,
    delay: Duration,
    spread: Duration,
    deadline: Duration,
    stage: Stage,
}

fingerprint!(Deployment {
    number,
    delay,
    spread,
    deadline,
    stage,
});

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// This process is next.
    Next(usize),
    /// An instance drains, and is killed at this moment.
    Draining(Life, Instant),
    /// An instance starts; from this moment on nobody waits for it.
    Starting(Life, Instant),
}

impl Fingerprint for Stage {
    fn fingerprint(&self, to: &mut Print) {
        match self {
            Self::Next(host) => (0_u32, *host).fingerprint(to),
            Self::Draining(life, at) => (1_u32, *life, *at).fingerprint(to),
            Self::Starting(life, at) => (2_u32, *life, *at).fingerprint(to),
        }
    }
}

/// How often it is looked at what an instance does.
const LOOK: Duration = Duration::from_millis(50);

impl World {
    pub(crate) fn deploy(&mut self, delay: Duration, spread: Duration, deadline: Duration) {
        self.end_deployments();
        self.deployment(Deployment {
            number: self.deployments,
            delay,
            spread,
            deadline,
            stage: Stage::Next(0),
        });
    }

    pub(crate) const fn end_deployments(&mut self) {
        self.deployments += 1;
    }

    /// Goes on with a deployment.
    pub(crate) fn deployment(&mut self, deployment: Deployment) {
        if deployment.number != self.deployments {
            return;
        }
        let Deployment {
            delay,
            spread,
            deadline,
            ..
        } = deployment;
        let stage = match deployment.stage {
            Stage::Next(host) if host >= self.processes.len() => return,
            Stage::Next(host) => {
                if self.processes[host].instance.is_some() {
                    self.borne(FaultKind::Deployed, Scope::Instance(host));
                }
                self.drain(host, delay, spread);
                Stage::Draining(self.life(host), self.now + deadline)
            }
            Stage::Draining(life, until) if self.lives(life) => {
                if self.now >= until {
                    self.kill(life.host, HowKilled::Reset);
                }
                deployment.stage
            }
            Stage::Draining(life, _) => {
                self.restart(life.host, NewAddress::Same);
                Stage::Starting(self.life(life.host), self.now + deadline)
            }
            Stage::Starting(life, until) => {
                let instance = self.processes[life.host].instance.as_ref();
                let ready = instance.is_some_and(|instance| instance.is_ready());
                if ready || self.now >= until {
                    Stage::Next(life.host + 1)
                } else {
                    deployment.stage
                }
            }
        };
        let next = Happening::Deploy(Box::new(Deployment {
            stage,
            ..deployment
        }));
        self.queue.put(self.now + LOOK, next);
    }
}
