//! What the instances of a server say of themselves.

use switchboard_core::id::InstanceId;
use switchboard_core::stats::{Gauges, Levels, Stats};

/// The figures of one instance of this process, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// The id of the instance.
    pub instance: InstanceId,
    /// Counters since its start.
    pub stats: Stats,
    /// How much it holds at this moment.
    pub gauges: Gauges,
    /// Whether a balancer should send terminals to it.
    pub ready: bool,
    /// Terminals by the name of their transport, those included that it still completes handshakes with or ends.
    pub transports: [(&'static str, u64); 3],
}

/// All figures of one instance, for a scraper.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Which of the server's instances, counted from 0.
    pub worker: usize,
    /// Counters, and what it holds.
    pub snapshot: Snapshot,
    /// How full each of its tables and queues is.
    pub levels: Levels,
    /// Handshakes that were refused, by the code of the answer.
    pub refused: Vec<(&'static str, u64)>,
}

/// What the instances of a server have answered within a time.
#[derive(Clone, Debug)]
pub struct Answers<T> {
    /// In the order of the instances.
    pub answers: Vec<T>,
    /// Those that did not answer.
    pub silent: Vec<SilentInstance>,
}

/// An instance that did not answer in time.
#[derive(Clone, Copy, Debug)]
pub struct SilentInstance {
    /// Which of the server's instances, counted from 0.
    pub worker: usize,
    /// The instance's id, new at each start.
    pub instance: InstanceId,
}
