//! A rolling deployment: one instance after the other is drained, ended and started again.

use std::time::Duration;

use switchboard_core::time::Instant;

use crate::fingerprint::{Fingerprint, Print, fingerprint};
use crate::observed::Life;

/// How far a deployment has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deployment {
    /// Which one. A later one, and the heal, end those before.
    pub(crate) number: u64,
    /// The time before the first terminal is closed.
    pub(crate) delay: Duration,
    /// The time over which terminals are closed.
    pub(crate) spread: Duration,
    /// The time until an instance is killed, and as long again for the new one to be ready.
    pub(crate) deadline: Duration,
    pub(crate) stage: DeploymentStage,
}

fingerprint!(Deployment {
    number,
    delay,
    spread,
    deadline,
    stage,
});

#[derive(Clone, Copy, Debug)]
pub(crate) enum DeploymentStage {
    /// This process is next.
    Next(usize),
    /// An instance drains, and is killed at this moment.
    Draining(Life, Instant),
    /// An instance starts; from this moment on nobody waits for it.
    Starting(Life, Instant),
}

impl Fingerprint for DeploymentStage {
    fn fingerprint(&self, to: &mut Print) {
        match self {
            Self::Next(host) => (0_u32, *host).fingerprint(to),
            Self::Draining(life, at) => (1_u32, *life, *at).fingerprint(to),
            Self::Starting(life, at) => (2_u32, *life, *at).fingerprint(to),
        }
    }
}
