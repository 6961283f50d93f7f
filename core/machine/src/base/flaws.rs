//! Bugs that can be switched on, so that the simulator can show that it finds them.
//!
//! A wing, or the directory in memory, asks for them in its `hooks.rs`: each function there is named after what is normally
//! done, and does something else under a bug, so that production code reads as if there were none.
//! Without the feature `flaws`, `Flaws::has` is `false` at compile time and nothing of a bug is
//! left; with it a new instance still has none, until `Instance::with_flaws` gives it some.

/// One bug. Each is one that somebody could well write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// Unregister deletes all rows of the user.
    UnregisterByUser,
    /// A terminal is greeted before its row is written.
    HelloBeforeRow,
    /// A register whose answer does not come is not repeated.
    LostRegisterNotRepeated,
    /// A register that is answered when its connection has gone is not followed by an unregister.
    LateRegisterKept,
    /// The directory never lets a lease expire.
    LeaseNeverExpires,
    /// A user without rows is offline, although instances are in doubt.
    EmptyLookupIsOffline,
    /// A row of a lower epoch replaces one of a higher epoch.
    LowerEpochOverwrites,
    /// The floor rises when settling begins.
    FloorRaisedEarly,
    /// The floor does not rise when settling ends.
    FloorNeverRaised,
    /// A lease says `up` before its rows are written again after a wipe.
    UpTooEarly,
    /// A renewal writes the lease, whatever stands there.
    RenewedWithoutComparison,
    /// Nobody is doubted after the own link was re-established.
    NoDoubtAfterReconnection,
    /// Rows are written while the claim of their epoch is not answered.
    RowBeforeClaim,
    /// A terminal whose instance cannot be reached, or is somebody else, is gone.
    UnreachableIsGone,
    /// A second lookup serves terminals that a later push has served.
    OvertakenBySecondLookup,
    /// A frame that was queued is told as written.
    QueuedSaidWritten,
    /// A push that was written is not recognised when it comes again.
    RepeatNotRecognised,
    /// A dead row is removed whatever stands in its place.
    DeadRowWithoutComparison,
    /// A token is looked at when its terminal connects, and never again.
    TokenCheckedAtConnectOnly,
    /// A terminal is greeted when its row is written, however long that takes.
    HelloWaitsForRow,
    /// A frame that finds no room in its queue is dropped, and nobody is told.
    SilentOverflow,
    /// The timer of a connection whose closing handshake has taken too long is armed again.
    TimerLeftAfterClose,
    /// A connection that has no row when its socket goes is not forgotten.
    RowlessKept,
    /// A frame is sent as text whenever it could be text.
    KindGuessed,
    /// A dialler proves itself as the other end does.
    ProofOfOtherEnd,
    /// A log is not read behind the writing of a row: what came before the row, or while it was missing, is not
    /// looked for.
    NoReadBehindRow,
    /// No log is checked when a link to a peer breaks, nor when it is named on the next one.
    NoCheckAfterBreak,
    /// No log is checked without a reason.
    NoPeriodicCheck,
    /// A check reads only if the head is greater than where a follower stands.
    HeadNotGreater,
    /// A record of a lower offset than that where a follower stands is taken for a duplicate.
    LowerOffsetIsDuplicate,
    /// What comes while a log is read goes out at once.
    LiveDuringReplay,
    /// What is held back in vain is dropped, and not read again.
    HeldAndForgotten,
    /// A follower without room for a record does not fall behind.
    OverflowStaysLive,
    /// A follower stands behind a record for which it had no room.
    OverflowMoves,
    /// A follower at an unknown position goes on at the head, as if it stood there.
    UnknownStartsAtHead,
    /// A durable push that is in the log already is delivered to nobody.
    RepeatDeliversNothing,
    /// The nonce of an append is made of the push id, so that a repeat has the same.
    TagFromPush,
    /// Records are counted, and one of the next number is the next one.
    NumbersInsteadOfPositions,
    /// The base stays where it is when records are trimmed.
    TrimmedIsKnown,
    /// A push is remembered only while its record is kept.
    RepeatsWhileKept,
    /// No push is remembered in a log.
    NoRepeatMemory,
    /// A log that is not there does not begin when it is read.
    NoPositionWithoutLog,
    /// A log keeps a record fewer than it is to.
    KeepsOneFewer,
    /// What an instance says of a topic is taken back, whatever stands there.
    TopicLeftWithoutComparison,
    /// A publisher takes back what an instance says of a topic when it answers that it has no members.
    NoMembersIsDeleted,
    /// A terminal is told that it has joined before the directory knows that its instance has members.
    JoinedBeforeRow,
    /// A topic that gets members while what was said of it is taken back is not written again.
    JoinWhileRemovingForgotten,
    /// Settling writes no topics.
    TopicsNotSettled,
    /// A confirmation is taken for all records of lower offsets.
    AckByNumber,
    /// No log is checked when an instance is gone without a goodbye.
    NoCheckAfterDeath,
    /// A replica that was waited for is taken to have the record, whatever the directory says.
    ReplicaTakenForGranted,
    /// Whoever is not read as a member of a topic has left at once.
    LeavesWithoutGrace,
    /// Whoever is not read as a member of a topic has left, although an instance has not answered.
    LeavesInDoubt,
    /// Whoever has left a topic is told of as one who has left with each further reading.
    LeavesAgain,
    /// The offset of a record is the next number, or the time if that is later: the nonce makes its tag alone.
    OffsetWithoutNonce,
    /// No log is checked when everybody is doubted, neither at once nor when the doubt is over.
    NoCheckAfterDoubt,
    /// A log that is deleted forgets the pushes that were in it.
    DeletedIsForgotten,
    /// A read of a log that is lost with its link is not asked for again.
    LostReadForgotten,
}

/// Which bugs an instance, or a directory in memory, has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaws(#[cfg(feature = "flaws")] u64);

#[cfg(not(feature = "flaws"))]
impl Flaws {
    pub(crate) const NONE: Self = Self();

    pub(crate) const fn has(self, _: Flaw) -> bool {
        false
    }
}

#[cfg(feature = "flaws")]
impl Flaws {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn has(self, flaw: Flaw) -> bool {
        self.0 & flaw.bit() != 0
    }
}

#[cfg(feature = "flaws")]
impl FromIterator<Flaw> for Flaws {
    fn from_iter<Iter: IntoIterator<Item = Flaw>>(flaws: Iter) -> Self {
        Self(flaws.into_iter().fold(0, |bits, flaw| bits | flaw.bit()))
    }
}

#[cfg(feature = "flaws")]
impl Flaw {
    /// All flaws.
    pub const ALL: [Self; 58] = [
        Self::UnregisterByUser,
        Self::HelloBeforeRow,
        Self::LostRegisterNotRepeated,
        Self::LateRegisterKept,
        Self::LeaseNeverExpires,
        Self::EmptyLookupIsOffline,
        Self::LowerEpochOverwrites,
        Self::FloorRaisedEarly,
        Self::FloorNeverRaised,
        Self::UpTooEarly,
        Self::RenewedWithoutComparison,
        Self::NoDoubtAfterReconnection,
        Self::RowBeforeClaim,
        Self::UnreachableIsGone,
        Self::OvertakenBySecondLookup,
        Self::QueuedSaidWritten,
        Self::RepeatNotRecognised,
        Self::DeadRowWithoutComparison,
        Self::TokenCheckedAtConnectOnly,
        Self::HelloWaitsForRow,
        Self::SilentOverflow,
        Self::TimerLeftAfterClose,
        Self::RowlessKept,
        Self::KindGuessed,
        Self::ProofOfOtherEnd,
        Self::NoReadBehindRow,
        Self::NoCheckAfterBreak,
        Self::NoPeriodicCheck,
        Self::HeadNotGreater,
        Self::LowerOffsetIsDuplicate,
        Self::LiveDuringReplay,
        Self::HeldAndForgotten,
        Self::OverflowStaysLive,
        Self::OverflowMoves,
        Self::UnknownStartsAtHead,
        Self::RepeatDeliversNothing,
        Self::TagFromPush,
        Self::NumbersInsteadOfPositions,
        Self::TrimmedIsKnown,
        Self::RepeatsWhileKept,
        Self::NoRepeatMemory,
        Self::NoPositionWithoutLog,
        Self::KeepsOneFewer,
        Self::TopicLeftWithoutComparison,
        Self::NoMembersIsDeleted,
        Self::JoinedBeforeRow,
        Self::JoinWhileRemovingForgotten,
        Self::TopicsNotSettled,
        Self::AckByNumber,
        Self::NoCheckAfterDeath,
        Self::ReplicaTakenForGranted,
        Self::LeavesWithoutGrace,
        Self::LeavesInDoubt,
        Self::LeavesAgain,
        Self::OffsetWithoutNonce,
        Self::NoCheckAfterDoubt,
        Self::DeletedIsForgotten,
        Self::LostReadForgotten,
    ];

    const fn bit(self) -> u64 {
        1 << self as u32
    }
}
