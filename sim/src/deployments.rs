//! Rolling deployments: what each instance is told in its turn.

use std::time::Duration;

use crate::context::Context;
use crate::fingerprint::fingerprint;
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::vocabulary::deployment::{Deployment, DeploymentStage};
use crate::vocabulary::happening::Happening;

/// The deployments of a world, of which the last one counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deployments {
    /// So many have begun or were given up.
    number: u64,
}

fingerprint!(Deployments { number });

/// What a deployment does to an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DeploymentStep {
    /// The instance is told to end.
    Drain(usize),
    /// It has not ended by the deadline.
    Kill(usize),
    /// It has ended, and starts again.
    Restart(usize),
    /// The instance is waited for.
    Wait,
}

/// How often it is looked at what an instance does.
const LOOK: Duration = Duration::from_millis(50);

impl Deployments {
    /// A deployment begins, and ends those before.
    pub(crate) const fn begin(
        &mut self,
        delay: Duration,
        spread: Duration,
        deadline: Duration,
    ) -> Deployment {
        self.end();
        Deployment {
            number: self.number,
            delay,
            spread,
            deadline,
            stage: DeploymentStage::Next(0),
        }
    }

    /// Those that are under way end.
    pub(crate) const fn end(&mut self) {
        self.number += 1;
    }

    /// What a deployment does, if it is not over.
    pub(crate) fn step(
        &self,
        cx: &mut Context,
        hosts: &Hosts,
        deployment: &Deployment,
    ) -> Option<DeploymentStep> {
        if deployment.number != self.number {
            return None;
        }
        match deployment.stage {
            DeploymentStage::Next(host) if host >= hosts.len() => None,
            DeploymentStage::Next(host) => {
                if hosts.runs(host) {
                    cx.borne(FaultKind::Deployed, Scope::Instance(host));
                }
                Some(DeploymentStep::Drain(host))
            }
            DeploymentStage::Draining(life, until) if hosts.lives(life) => {
                if cx.now >= until {
                    Some(DeploymentStep::Kill(life.host))
                } else {
                    Some(DeploymentStep::Wait)
                }
            }
            DeploymentStage::Draining(life, _) => Some(DeploymentStep::Restart(life.host)),
            DeploymentStage::Starting(..) => Some(DeploymentStep::Wait),
        }
    }

    /// The step of a deployment is done, and it is looked after a while what came of it.
    pub(crate) fn done(
        &self,
        cx: &mut Context,
        hosts: &Hosts,
        deployment: Deployment,
        step: DeploymentStep,
    ) {
        let until = cx.now + deployment.deadline;
        let stage = match (step, deployment.stage) {
            (DeploymentStep::Drain(host), _) => DeploymentStage::Draining(hosts.life(host), until),
            (DeploymentStep::Restart(host), _) => {
                DeploymentStage::Starting(hosts.life(host), until)
            }
            (DeploymentStep::Wait, DeploymentStage::Starting(life, until))
                if hosts.is_ready(life.host) || cx.now >= until =>
            {
                DeploymentStage::Next(life.host + 1)
            }
            (DeploymentStep::Kill(_) | DeploymentStep::Wait, stage) => stage,
        };
        let next = Deployment {
            stage,
            ..deployment
        };
        cx.put(cx.now + LOOK, Happening::Deploy(Box::new(next)));
    }
}
