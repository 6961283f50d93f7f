//! The words of schedules: names, numbers, times.

use std::fmt::{self, Display};
use std::time::Duration;

use switchboard_core::config::SlowConsumer;
use switchboard_core::flaws::Flaw;
use switchboard_core::forged::Forgery;

use crate::schedule::{Host, HowClosed, Moment, PeerLie, Sent};

pub(super) type Read<T> = Result<T, String>;

pub(super) type Table<T> = &'static [(&'static str, T)];

pub(super) const HOW_CLOSED: Table<HowClosed> = &[
    ("clean", HowClosed::Clean),
    ("sudden", HowClosed::Sudden),
    ("silent", HowClosed::Silent),
];

pub(super) const POLICIES: Table<SlowConsumer> = &[
    ("close", SlowConsumer::Close),
    ("drop-oldest", SlowConsumer::DropOldest),
    ("drop-newest", SlowConsumer::DropNewest),
];

/// What a client sends beside messages.
pub(super) const SENT: Table<Sent> = &[
    ("malformed", Sent::Malformed),
    ("oversized", Sent::Oversized),
    ("not-utf8", Sent::NotUtf8),
];

pub(super) const MOMENTS: Table<Moment> = &[
    ("accept", Moment::Accept),
    ("register", Moment::Register),
    ("hello", Moment::Hello),
    ("unregister", Moment::Unregister),
    ("push", Moment::Push),
    ("lookup", Moment::Lookup),
    ("deliver", Moment::Deliver),
    ("delivered", Moment::Delivered),
    ("write", Moment::Write),
    ("receipt", Moment::Receipt),
    ("joined", Moment::Joined),
];

/// Bugs that can be switched on.
pub(super) const FLAWS: Table<Flaw> = &[
    ("unregister-by-user", Flaw::UnregisterByUser),
    ("hello-before-row", Flaw::HelloBeforeRow),
    ("lost-register-not-repeated", Flaw::LostRegisterNotRepeated),
    ("late-register-kept", Flaw::LateRegisterKept),
    ("lease-never-expires", Flaw::LeaseNeverExpires),
    ("empty-lookup-is-offline", Flaw::EmptyLookupIsOffline),
    ("lower-epoch-overwrites", Flaw::LowerEpochOverwrites),
    ("floor-raised-early", Flaw::FloorRaisedEarly),
    ("floor-never-raised", Flaw::FloorNeverRaised),
    ("up-too-early", Flaw::UpTooEarly),
    ("renewed-without-comparison", Flaw::RenewedWithoutComparison),
    (
        "no-doubt-after-reconnection",
        Flaw::NoDoubtAfterReconnection,
    ),
    ("row-before-claim", Flaw::RowBeforeClaim),
    ("unreachable-is-gone", Flaw::UnreachableIsGone),
    ("overtaken-by-second-lookup", Flaw::OvertakenBySecondLookup),
    ("queued-said-written", Flaw::QueuedSaidWritten),
    ("repeat-not-recognised", Flaw::RepeatNotRecognised),
    (
        "dead-row-without-comparison",
        Flaw::DeadRowWithoutComparison,
    ),
    (
        "token-checked-at-connect-only",
        Flaw::TokenCheckedAtConnectOnly,
    ),
    ("hello-waits-for-row", Flaw::HelloWaitsForRow),
    ("silent-overflow", Flaw::SilentOverflow),
    ("timer-left-after-close", Flaw::TimerLeftAfterClose),
    ("rowless-kept", Flaw::RowlessKept),
    ("kind-guessed", Flaw::KindGuessed),
    ("proof-of-other-end", Flaw::ProofOfOtherEnd),
    ("no-read-behind-row", Flaw::NoReadBehindRow),
    ("no-check-after-break", Flaw::NoCheckAfterBreak),
    ("no-periodic-check", Flaw::NoPeriodicCheck),
    ("head-not-greater", Flaw::HeadNotGreater),
    ("lower-offset-is-duplicate", Flaw::LowerOffsetIsDuplicate),
    ("live-during-replay", Flaw::LiveDuringReplay),
    ("held-and-forgotten", Flaw::HeldAndForgotten),
    ("overflow-stays-live", Flaw::OverflowStaysLive),
    ("overflow-moves", Flaw::OverflowMoves),
    ("unknown-starts-at-head", Flaw::UnknownStartsAtHead),
    ("repeat-delivers-nothing", Flaw::RepeatDeliversNothing),
    ("tag-from-push", Flaw::TagFromPush),
    (
        "numbers-instead-of-positions",
        Flaw::NumbersInsteadOfPositions,
    ),
    ("trimmed-is-known", Flaw::TrimmedIsKnown),
    ("repeats-while-kept", Flaw::RepeatsWhileKept),
    ("no-repeat-memory", Flaw::NoRepeatMemory),
    ("no-position-without-log", Flaw::NoPositionWithoutLog),
    ("keeps-one-fewer", Flaw::KeepsOneFewer),
    (
        "topic-left-without-comparison",
        Flaw::TopicLeftWithoutComparison,
    ),
    ("no-members-is-deleted", Flaw::NoMembersIsDeleted),
    ("joined-before-row", Flaw::JoinedBeforeRow),
    (
        "join-while-removing-forgotten",
        Flaw::JoinWhileRemovingForgotten,
    ),
    ("topics-not-settled", Flaw::TopicsNotSettled),
    ("ack-by-number", Flaw::AckByNumber),
    ("no-check-after-death", Flaw::NoCheckAfterDeath),
    ("replica-taken-for-granted", Flaw::ReplicaTakenForGranted),
    ("leaves-without-grace", Flaw::LeavesWithoutGrace),
    ("leaves-in-doubt", Flaw::LeavesInDoubt),
    ("leaves-again", Flaw::LeavesAgain),
    ("offset-without-nonce", Flaw::OffsetWithoutNonce),
    ("no-check-after-doubt", Flaw::NoCheckAfterDoubt),
    ("deleted-is-forgotten", Flaw::DeletedIsForgotten),
    ("lost-read-forgotten", Flaw::LostReadForgotten),
];

pub(super) const LIES: Table<PeerLie> = &[
    ("answers-twice", PeerLie::Says(Forgery::AnswersTwice)),
    ("answers-for-others", PeerLie::AnswersForOthers),
    ("answers-unasked", PeerLie::Says(Forgery::AnswersUnasked)),
    (
        "answers-otherwise",
        PeerLie::Says(Forgery::AnswersOtherwise),
    ),
    ("miscounts", PeerLie::Says(Forgery::AnswersMiscounted)),
    ("claims-written", PeerLie::Says(Forgery::AnswersWritten)),
    ("delivers-twice", PeerLie::Says(Forgery::DeliversTwice)),
    ("delivers-astray", PeerLie::Says(Forgery::DeliversAstray)),
    ("misses-others", PeerLie::Says(Forgery::MissesOthers)),
    ("misses-all", PeerLie::Says(Forgery::MissesAll)),
    ("proves-again", PeerLie::Says(Forgery::ProvesAgain)),
    ("says-goodbye", PeerLie::Says(Forgery::SaysGoodbye)),
    ("lies-of-directory", PeerLie::Says(Forgery::LiesOfDirectory)),
    ("lies-of-time", PeerLie::Says(Forgery::LiesOfTime)),
    ("cuts-short", PeerLie::Says(Forgery::CutShort)),
    ("too-many", PeerLie::Says(Forgery::TooMany)),
    ("oversized", PeerLie::Says(Forgery::Oversized)),
    ("greets-again", PeerLie::GreetsAgain),
    ("falls-silent", PeerLie::FallsSilent),
    ("is-late", PeerLie::IsLate),
];

pub(super) fn from_table<T: Copy>(table: Table<T>, word: &str) -> Read<T> {
    (table.iter().find(|(name, _)| *name == word))
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("`{word}` is none of {}", names(table)))
}

/// All words of a table.
pub(super) fn names<T>(table: Table<T>) -> String {
    let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

pub(super) fn name_of<T: PartialEq>(table: Table<T>, value: &T) -> &'static str {
    (table.iter().find(|(_, other)| other == value)).map_or("", |(name, _)| name)
}

pub(super) fn host(word: &str, instances: usize) -> Read<Host> {
    let number = word
        .strip_prefix('i')
        .and_then(|digits| digits.parse().ok());
    match number {
        Some(number) if (1..=instances).contains(&number) => Ok(Host(number - 1)),
        _ => Err(format!("`{word}` is none of i1 to i{instances}")),
    }
}

pub(super) fn number(word: &str) -> Read<u64> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| format!("`{word}` is not a number"))
}

pub(super) fn number32(word: &str) -> Read<u32> {
    u32::try_from(number(word)?).map_err(|_| format!("`{word}` is too large"))
}

/// Reads `3.000s` or `250ms`, to the microsecond.
pub(crate) fn span(word: &str) -> Read<Duration> {
    let invalid = || format!("`{word}` is not a time such as 3.000s or 250ms");
    let (digits, micros) = match word.strip_suffix("ms") {
        Some(digits) => (digits, 1000.0),
        None => (word.strip_suffix('s').ok_or_else(invalid)?, 1_000_000.0),
    };
    let value: f64 = digits.parse().map_err(|_| invalid())?;
    let micros = value * micros;
    if !(0.0..1e15).contains(&micros) {
        return Err(invalid());
    }
    Ok(Duration::from_micros(micros.round() as u64))
}

/// A time as [`span`] reads it.
pub(super) struct Span(pub(super) Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.subsec_micros();
        if micros.is_multiple_of(1000) {
            write!(f, "{}.{:03}s", self.0.as_secs(), micros / 1000)
        } else {
            write!(f, "{}.{micros:06}s", self.0.as_secs())
        }
    }
}

/// As a bug is called in schedules and reports.
pub(crate) fn flaw_name(flaw: Flaw) -> &'static str {
    name_of(FLAWS, &flaw)
}

/// All those names, as they are listed.
pub(crate) fn flaw_names() -> String {
    names(FLAWS)
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0 + 1)
    }
}
