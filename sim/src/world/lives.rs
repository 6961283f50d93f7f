//! Processes that start and end: each part learns of it in its turn.

use std::time::Duration;

use super::World;
use crate::context::VANISHED;
use crate::deployments::DeploymentStep;
use crate::ledger::{FaultKind, Scope};
use crate::observed::{Life, Observed};
use crate::schedule::{HowKilled, NewAddress};
use crate::vocabulary::deployment::Deployment;
use crate::vocabulary::happening::Input;

impl World {
    /// Starts an instance in a process that runs none.
    pub(super) fn start(&mut self, host: usize) {
        self.directory.renew_link(host);
        (self.hosts).start(&mut self.cx, host, self.schedule.flaw);
    }

    /// An instance is gone, with all its sockets.
    pub(super) fn end(&mut self, host: usize, vanished: bool) {
        let Self {
            cx,
            hosts,
            directory,
            network,
            terminals,
            ..
        } = self;
        let life = hosts.life(host);
        let inbox = hosts.end(host, vanished);
        directory.end_of_host(host);
        let notice = if vanished { VANISHED } else { Duration::ZERO };
        terminals.end_of_host(cx, host, notice);
        network.end_of_host(cx, life, !vanished);
        for input in inbox {
            self.unheard(life, &input);
        }
        for kind in [
            FaultKind::Pause,
            FaultKind::LongPause,
            FaultKind::Drain,
            FaultKind::RedisAway,
            FaultKind::RedisRefuses,
            FaultKind::RedisEvictedTopic,
        ] {
            (self.cx).fault_ends(kind, Some(Scope::Instance(host)));
        }
        self.cx.observe(Observed::Gone(life));
    }

    /// Something comes to an instance that is gone.
    pub(super) fn unheard(&mut self, life: Life, input: &Input) {
        let Self {
            cx,
            hosts,
            terminals,
            ..
        } = self;
        match *input {
            Input::Handshake(session) => {
                terminals.nobody_answers(cx, hosts, session, life.host);
            }
            Input::Event(_) | Input::AcceptLink(_) | Input::Push(_) | Input::Question(_) => {}
        }
    }

    pub(super) fn kill(&mut self, host: usize, how: HowKilled) {
        if !self.hosts.runs(host) {
            return;
        }
        let Self { cx, .. } = self;
        cx.fault(FaultKind::Kill, Scope::Instance(host), cx.now);
        self.end(host, how == HowKilled::Silent);
    }

    pub(super) fn restart(&mut self, host: usize, address: NewAddress) {
        if self.hosts.runs(host) {
            return;
        }
        self.hosts.readdress(&mut self.cx, host, address);
        self.start(host);
    }

    /// A rolling deployment begins.
    pub(super) fn deploy(&mut self, delay: Duration, spread: Duration, deadline: Duration) {
        let deployment = self.deployments.begin(delay, spread, deadline);
        self.deployment(deployment);
    }

    /// Goes on with a deployment.
    pub(super) fn deployment(&mut self, deployment: Deployment) {
        let Self {
            cx,
            hosts,
            deployments,
            ..
        } = self;
        let Some(step) = deployments.step(cx, hosts, &deployment) else {
            return;
        };
        match step {
            DeploymentStep::Drain(host) => {
                hosts.drain(cx, host, deployment.delay, deployment.spread);
            }
            DeploymentStep::Kill(host) => self.kill(host, HowKilled::Reset),
            DeploymentStep::Restart(host) => self.restart(host, NewAddress::Same),
            DeploymentStep::Wait => {}
        }
        let Self {
            cx,
            hosts,
            deployments,
            ..
        } = self;
        deployments.done(cx, hosts, deployment, step);
    }
}
