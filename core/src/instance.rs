//! The instance: dispatch only.

use std::hash::Hasher;

use crate::command::Outbox;
use crate::config::{Config, ConfigError, Identity};
use crate::event::{Event, Handshake, Refused};
use crate::id::{ConnectionId, ConnectionKey, InstanceId, LinkKey};
use crate::rng::Seed;
use crate::stats::{Gauges, Stats};
use crate::time::{Instant, Now};

/// Skeleton.
#[derive(Clone, Debug)]
pub struct Instance {}

/// What a timeout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// Work of this turn is left: it is due at once.
    Turn,
    /// Something has a deadline.
    Deadline,
}

#[allow(unused_variables, clippy::todo)]
impl Instance {
    /// A new instance.
    ///
    /// # Errors
    ///
    /// Names the setting that does not fit.
    pub fn new(config: Config, identity: Identity, seed: Seed, now: Now) -> Result<Self, ConfigError> {
        todo!()
    }
    /// Takes a terminal that passed the authenticator, before the upgrade is answered.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn accept(&mut self, now: Now, handshake: Handshake, out: &mut Outbox) -> Result<ConnectionKey, Refused> {
        todo!()
    }
    /// Takes a link that another instance dialled. `None` if there are too many: close the socket.
    pub fn accept_link(&mut self, now: Now, out: &mut Outbox) -> Option<LinkKey> {
        todo!()
    }
    /// Handles one event.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Outbox) {
        todo!()
    }
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        todo!()
    }
    /// When `handle_timeout` is to be called.
    pub fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        todo!()
    }
    /// Hashes all that decides future behaviour.
    pub fn fingerprint(&self, now: Now, hasher: &mut impl Hasher) {
        todo!()
    }
    /// Its id.
    pub fn id(&self) -> InstanceId {
        todo!()
    }
    /// The UUID of a connection that is not forgotten.
    pub fn connection_id(&self, connection: ConnectionKey) -> Option<ConnectionId> {
        todo!()
    }
    /// Whether a balancer should send terminals here.
    pub fn is_ready(&self) -> bool {
        todo!()
    }
    /// Counters since the start.
    pub fn stats(&self) -> &Stats {
        todo!()
    }
    /// What it holds at present.
    pub fn gauges(&self) -> Gauges {
        todo!()
    }
}
