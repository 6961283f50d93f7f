//! What timers are for: each wing has its own, and the instance hands each to its wing.
//!
//! They stand here because one table has them all, in the `Context` that every wing is given: it lies below the
//! wings and cannot know what they declare.

use crate::id::{ConnectionKey, InboundKey, InstanceId, LinkKey, OpId, PushKey};

/// A timer of some wing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Terminals(TerminalsTimer),
    Membership(MembershipTimer),
    Publish(PublishTimer),
    Follow(FollowTimer),
    Deliver(DeliverTimer),
    Drain(DrainTimer),
    Peers(PeersTimer),
    Presence(PresenceTimer),
}

/// Something is due for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TerminalsTimer(pub(crate) ConnectionKey);

/// Something is due for a lease, of rows, of the view or of a round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MembershipTimer {
    /// A round trip has taken too long.
    Trip(OpId),
    /// The lease is claimed or renewed.
    Lease,
    /// The others' leases are read.
    View,
    /// The next part of all rows is written again.
    Sweep,
    /// The next rows of settling are written.
    Settle,
    /// Refused rows are tried again.
    Retry,
    /// Members of topics are told that the directory knows of them.
    Tell,
}

/// Something is due for pushes that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublishTimer {
    /// A push has waited for the directory for long enough, or its receipt is due.
    Push(PushKey),
    /// Appends that were not answered are asked for again.
    Append,
}

/// Something is due for logs that are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowTimer {
    /// The next logs are checked.
    Check,
    /// All logs are checked once more.
    Recheck,
    /// Records that were held back are given up.
    Release,
    /// After a read that failed, logs are read again.
    Pause,
}

/// Something is due for deliveries and broadcasts to terminals here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliverTimer {
    /// The publisher of this delivery must know.
    Inbound(InboundKey),
    /// The next terminals of the broadcasts are served.
    Broadcast,
}

/// The timer of a drain: its next step is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrainTimer;

/// What a timer of the peers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeersTimer {
    /// A link's handshake or heartbeat.
    Link(LinkKey),
    /// The link of its own that an instance is expected to open.
    Peer(InstanceId),
}

/// Members of topics are read, or those that watch them are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PresenceTimer;

impl From<PresenceTimer> for Timer {
    fn from(timer: PresenceTimer) -> Self {
        Self::Presence(timer)
    }
}

impl From<TerminalsTimer> for Timer {
    fn from(timer: TerminalsTimer) -> Self {
        Self::Terminals(timer)
    }
}

impl From<MembershipTimer> for Timer {
    fn from(timer: MembershipTimer) -> Self {
        Self::Membership(timer)
    }
}

impl From<PublishTimer> for Timer {
    fn from(timer: PublishTimer) -> Self {
        Self::Publish(timer)
    }
}

impl From<FollowTimer> for Timer {
    fn from(timer: FollowTimer) -> Self {
        Self::Follow(timer)
    }
}

impl From<DeliverTimer> for Timer {
    fn from(timer: DeliverTimer) -> Self {
        Self::Deliver(timer)
    }
}

impl From<DrainTimer> for Timer {
    fn from(timer: DrainTimer) -> Self {
        Self::Drain(timer)
    }
}

impl From<PeersTimer> for Timer {
    fn from(timer: PeersTimer) -> Self {
        Self::Peers(timer)
    }
}
