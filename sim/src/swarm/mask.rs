//! Which kinds of faults there are, and which of them a seed has how often.

use super::ScheduleMaker;

/// Kinds of faults, each a bit of the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Kill,
    KillMidBatch,
    Pause,
    Drain,
    Deploy,
    Clock,
    Balancer,
    RedisDown,
    RestartEmpty,
    Snapshot,
    Failover,
    FormerPrimary,
    Evict,
    RedisClock,
    FlushScripts,
    Refuse,
    RedisLatency,
    Trip,
    Cut,
    Clog,
    HalfOpen,
    RefuseDials,
    Reset,
    LinkLatency,
    Death,
    HalfOpenClient,
    SlowReader,
    Storm,
    Crowd,
    Token,
    Misbehave,
    Kick,
    Repeat,
    Burst,
    Race,
    Flood,
    Away,
    RefuseOne,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 38] = [
        Self::Kill,
        Self::KillMidBatch,
        Self::Pause,
        Self::Drain,
        Self::Deploy,
        Self::Clock,
        Self::Balancer,
        Self::RedisDown,
        Self::RestartEmpty,
        Self::Snapshot,
        Self::Failover,
        Self::FormerPrimary,
        Self::Evict,
        Self::RedisClock,
        Self::FlushScripts,
        Self::Refuse,
        Self::RedisLatency,
        Self::Trip,
        Self::Cut,
        Self::Clog,
        Self::HalfOpen,
        Self::RefuseDials,
        Self::Reset,
        Self::LinkLatency,
        Self::Death,
        Self::HalfOpenClient,
        Self::SlowReader,
        Self::Storm,
        Self::Crowd,
        Self::Token,
        Self::Misbehave,
        Self::Kick,
        Self::Repeat,
        Self::Burst,
        Self::Race,
        Self::Flood,
        Self::Away,
        Self::RefuseOne,
    ];

    /// How often it happens in one schedule, at most. What disturbs everybody is rarer, so that the
    /// others can be seen beside it.
    const fn most(self) -> u64 {
        match self {
            Self::Deploy | Self::Crowd => 1,
            Self::RedisDown
            | Self::RestartEmpty
            | Self::Snapshot
            | Self::Failover
            | Self::FormerPrimary
            | Self::Evict
            | Self::RedisClock
            | Self::FlushScripts
            | Self::Refuse
            | Self::RedisLatency
            | Self::LinkLatency
            | Self::Storm
            | Self::Away
            | Self::RefuseOne => 3,
            Self::Kill
            | Self::KillMidBatch
            | Self::Pause
            | Self::Drain
            | Self::Clock
            | Self::Balancer
            | Self::Cut
            | Self::Clog
            | Self::HalfOpen
            | Self::RefuseDials
            | Self::Reset
            | Self::Burst
            | Self::Flood => 6,
            Self::Trip
            | Self::Death
            | Self::HalfOpenClient
            | Self::SlowReader
            | Self::Token
            | Self::Misbehave
            | Self::Kick
            | Self::Repeat
            | Self::Race => 12,
        }
    }
}

impl ScheduleMaker {
    /// Each kind is off with probability one half, or happens as often as its own rate says.
    pub(super) fn faults(&mut self) {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let index = index as u64;
            if self.below(2, "mask", index) == 0 {
                continue;
            }
            for time in 0..self.count(kind.most(), "count", index) {
                self.fault(kind, index * 100 + time);
            }
        }
    }
}
