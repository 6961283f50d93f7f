//! The excuse ledger: each fault writes what happened, where, and from when to when. What that
//! explains, and for how long after it, is for each checker to say. What hits nothing writes nothing.

use switchboard_core::time::Instant;

/// A kind of fault, or of what follows from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// An instance was killed.
    Kill,
    /// An instance has just started: nobody knows it and it knows nobody.
    Start,
    /// An instance stood still, and its lease cannot have expired of that.
    Pause,
    /// An instance stood still for so long that its lease may have expired.
    LongPause,
    /// An instance was told to end.
    Drain,
    /// The directory could not be reached.
    RedisDown,
    /// The directory lost everything.
    RedisWiped,
    /// The directory lost its last writes.
    RedisFailover,
    /// The directory restarted with an old snapshot.
    RedisRestored,
    /// After a failover an instance went on with the former primary.
    RedisSplit,
    /// And for so long that its lease may have expired for the others.
    RedisLongSplit,
    /// The directory threw rows away without a sign.
    RedisEvicted,
    /// The directory threw away what an instance says of its members of a topic.
    RedisEvictedTopic,
    /// The directory threw the log of a user away.
    RedisLostLog,
    /// The directory threw all leases away.
    RedisLostLeases,
    /// The directory's clock jumped: leases end earlier, or have come back to life.
    RedisClock,
    /// It jumped back: leases last longer.
    RedisClockBack,
    /// The directory forgot the scripts.
    RedisScripts,
    /// The directory refused to serve.
    RedisRefuses,
    /// The directory was slow.
    RedisSlow,
    /// The directory answered in time, and so slowly that two round trips, one after the other, may take longer than a
    /// hello, or the word that a terminal has joined a topic, waits for it.
    RedisLags,
    /// The directory could not be reached from one instance.
    RedisAway,
    /// One round trip to the directory went wrong.
    RedisTrip,
    /// Nothing passed between two instances.
    Cut,
    /// A link broke.
    LinkReset,
    /// The links between two instances carried nothing, until that was noticed.
    HalfOpen,
    /// What was written into the links between two instances did not leave.
    Clog,
    /// One instance's attempts to open a link to another were refused.
    DialsRefused,
    /// Links were slow.
    LinkSlow,
    /// What one instance said to another was under way for longer than half of the time that is left at
    /// least for the answer to a delivery: the way was slower than when their link was opened.
    LinkLate,
    /// A client connected, and its handshake did not end.
    Unopened,
    /// A terminal did not read.
    SlowReader,
    /// A terminal's queue was full, as a receipt said. Whether it can have been is for `limits` to say.
    Overflowed,
    /// A terminal was told to end.
    Kicked,
    /// A terminal's token expired.
    TokenExpired,
    /// Sockets of terminals were reset, of many at once.
    Storm,
    /// A client ended its connection with a reset.
    SuddenEnd,
    /// A client went without a sign.
    SilentEnd,
    /// A client connected while it had a connection, which stayed half open.
    HalfOpenClient,
    /// A client was moved to another connection.
    Moved,
    /// A client sent what its driver refuses.
    Misbehaved,
    /// The wall clock of an instance's machine was set.
    WallClock,
    /// The balancer chose an instance that takes no connections.
    BlindBalancer,
    /// A push was handed in once more.
    Repeated,
    /// An instance was drained by a rolling deployment.
    Deployed,
    /// An instance was killed when it had executed a part of a batch.
    KilledMidBatch,
    /// An instance took over the address of another.
    RecycledAddress,
    /// Somebody else answered at the address of an instance that was dialled.
    NotMe,
    /// Somebody who does not know the secret said something on a link.
    Stranger,
    /// An instance misbehaved on its links to another.
    PeerLied,
    /// Something happened at a moment of a push or of a client for which it had waited.
    // The last one: a test counts up to it.
    AtMoment,
}

impl FaultKind {
    /// All kinds of faults.
    pub const ALL: [Self; 51] = [
        Self::Kill,
        Self::Start,
        Self::Pause,
        Self::LongPause,
        Self::Drain,
        Self::RedisDown,
        Self::RedisWiped,
        Self::RedisFailover,
        Self::RedisRestored,
        Self::RedisSplit,
        Self::RedisLongSplit,
        Self::RedisEvicted,
        Self::RedisEvictedTopic,
        Self::RedisLostLog,
        Self::RedisLostLeases,
        Self::RedisClock,
        Self::RedisClockBack,
        Self::RedisScripts,
        Self::RedisRefuses,
        Self::RedisSlow,
        Self::RedisLags,
        Self::RedisAway,
        Self::RedisTrip,
        Self::Cut,
        Self::LinkReset,
        Self::HalfOpen,
        Self::Clog,
        Self::DialsRefused,
        Self::LinkSlow,
        Self::LinkLate,
        Self::Unopened,
        Self::SlowReader,
        Self::Overflowed,
        Self::Kicked,
        Self::TokenExpired,
        Self::Storm,
        Self::SuddenEnd,
        Self::SilentEnd,
        Self::HalfOpenClient,
        Self::Moved,
        Self::Misbehaved,
        Self::WallClock,
        Self::BlindBalancer,
        Self::Repeated,
        Self::Deployed,
        Self::KilledMidBatch,
        Self::RecycledAddress,
        Self::NotMe,
        Self::Stranger,
        Self::PeerLied,
        Self::AtMoment,
    ];

    /// What it concerns.
    pub const fn part(self) -> Part {
        match self {
            Self::Kill | Self::Start | Self::Drain => Part::Life,
            Self::Pause | Self::LongPause => Part::Process,
            Self::RedisDown
            | Self::RedisWiped
            | Self::RedisFailover
            | Self::RedisRestored
            | Self::RedisSplit
            | Self::RedisLongSplit
            | Self::RedisEvicted
            | Self::RedisLostLeases
            | Self::RedisClock
            | Self::RedisScripts
            | Self::RedisRefuses
            | Self::RedisSlow
            | Self::RedisAway
            | Self::RedisTrip
            | Self::RedisClockBack => Part::Directory,
            Self::Cut
            | Self::LinkReset
            | Self::HalfOpen
            | Self::Clog
            | Self::DialsRefused
            | Self::LinkSlow
            | Self::PeerLied => Part::Links,
            Self::Unopened
            | Self::SlowReader
            | Self::Overflowed
            | Self::Kicked
            | Self::TokenExpired => Part::Terminal,
            Self::LinkLate
            | Self::Storm
            | Self::SuddenEnd
            | Self::SilentEnd
            | Self::HalfOpenClient
            | Self::Moved
            | Self::Misbehaved
            | Self::WallClock
            | Self::BlindBalancer
            | Self::Repeated
            | Self::Deployed
            | Self::KilledMidBatch
            | Self::RecycledAddress
            | Self::NotMe
            | Self::RedisEvictedTopic
            | Self::RedisLags
            | Self::RedisLostLog
            | Self::Stranger
            | Self::AtMoment => Part::NoExcuse,
        }
    }

    /// Whether it is a fault. The start of an instance is none, but explains what one does.
    pub const fn is_fault(self) -> bool {
        !matches!(self, Self::Start)
    }

    /// Whether `heal` ends it.
    pub const fn is_healed(self) -> bool {
        matches!(
            self,
            Self::RedisDown
                | Self::RedisRefuses
                | Self::RedisSlow
                | Self::RedisLags
                | Self::Cut
                | Self::Clog
                | Self::DialsRefused
                | Self::LinkSlow
                | Self::Unopened
                | Self::SlowReader
        )
    }
}

/// What a kind of fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Whether an instance is there.
    Life,
    /// A process that runs, and its pace.
    Process,
    /// The directory, or the way to it.
    Directory,
    /// What is between instances.
    Links,
    /// A terminal, what is between it and its instance, or whether it may stay.
    Terminal,
    /// What Switchboard bears without loss: it explains nothing but what a checker says by its kind.
    NoExcuse,
}

/// What a fault concerns. Instances are numbered as in the schedule, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All instances and sessions.
    All,
    /// One instance.
    Instance(usize),
    /// What is between two instances.
    Between(usize, usize),
    /// One session of a client.
    Session(usize),
}

/// An entry of the ledger: a fault, where it was and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excuse {
    /// The kind of what happened.
    pub kind: FaultKind,
    /// What it concerns.
    pub scope: Scope,
    /// When it began.
    pub from: Instant,
    /// When it ended, or [`Ledger::OPEN`].
    pub until: Instant,
}

/// All faults of a run, in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<Excuse>,
}

impl Ledger {
    /// The end of a fault that has not ended.
    pub const OPEN: Instant = Instant::from_nanos(u64::MAX);

    /// The first entry that overlaps an interval and passes the filter.
    pub fn find(
        &self,
        from: Instant,
        until: Instant,
        filter: impl Fn(&Excuse) -> bool,
    ) -> Option<Excuse> {
        (self.entries.iter())
            .find(|entry| entry.from <= until && entry.until >= from && filter(entry))
            .copied()
    }

    /// Whether a fault of this kind lasts in this scope beyond a moment.
    pub(crate) fn lasts(&self, kind: FaultKind, scope: Scope, beyond: Instant) -> bool {
        (self.entries.iter())
            .any(|entry| entry.kind == kind && entry.scope == scope && entry.until > beyond)
    }

    /// Writes an entry.
    pub(crate) fn write(&mut self, entry: Excuse) {
        self.entries.push(entry);
    }

    /// The faults of a kind that last end, in one scope or in all. Returns their entries.
    pub(crate) fn end(
        &mut self,
        now: Instant,
        kind: FaultKind,
        scope: Option<Scope>,
    ) -> Vec<Excuse> {
        let last = self.entries.iter_mut().filter(|entry| {
            let here = scope.is_none_or(|scope| scope == entry.scope);
            entry.kind == kind && entry.until > now && here
        });
        last.map(|entry| {
            entry.until = now;
            *entry
        })
        .collect()
    }

    /// All entries, in the order in which they were written.
    pub fn entries(&self) -> &[Excuse] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_listed_once_and_in_order() {
        for (index, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{kind:?}");
        }
        assert_eq!(FaultKind::ALL.len(), FaultKind::AtMoment as usize + 1);
    }
}
