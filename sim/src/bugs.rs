//! The catalogue: bugs that can be switched on in the core, and which invariants must catch each
//! within how many seeds of the swarm. Each of our invariants catches one at least.

use switchboard_core::flaws::Flaw;

use crate::checkers;
use crate::report::Violation;
use crate::schedule::Schedule;
use crate::swarm;
use crate::trial::Trial;

/// One bug of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// What is switched on.
    pub flaw: Flaw,
    /// As it is called in schedules and reports.
    pub name: &'static str,
    caught_by: &'static [(&'static str, Depth)],
    /// Why somebody could well write it.
    pub tempting: &'static str,
}

/// A checker that must catch a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Catch {
    /// Its name.
    pub invariant: &'static str,
    /// How hard that is.
    pub depth: Depth,
}

/// How hard a bug is to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// One thing that goes wrong is enough.
    Shallow,
    /// Several things must come together.
    Deep,
}

impl Depth {
    /// Seeds of the swarm within which such a bug must be found.
    pub const fn budget(self) -> u64 {
        match self {
            Self::Shallow => 50,
            Self::Deep => 5000,
        }
    }
}

/// All bugs.
pub fn catalogue() -> impl Iterator<Item = Bug> {
    Flaw::ALL.into_iter().map(Bug::of)
}

/// The names of all bugs, as they are listed.
pub fn names() -> String {
    let names: Vec<_> = catalogue().map(|bug| bug.name).collect();
    names.join(", ")
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hunt {
    /// Seeds that were run, the one included that found it.
    pub seeds: u64,
    /// The seed at which the invariant was violated, and what was seen.
    pub found: Option<(u64, Violation)>,
    /// Seeds that fail without the bug as well: they show another one.
    pub sick: Vec<u64>,
}

impl Bug {
    /// Which checkers must catch it, each by itself.
    pub fn catches(&self) -> impl Iterator<Item = Catch> {
        (self.caught_by.iter()).map(|&(invariant, depth)| Catch { invariant, depth })
    }

    /// The schedule that the swarm makes of a seed, with this bug.
    pub fn schedule(&self, seed: u64) -> Schedule {
        Schedule {
            flaw: Some(self.flaw),
            ..swarm::schedule(seed)
        }
    }

    /// Runs seeds from the first one on until one of the bug's checkers, which watches alone, is
    /// violated: as many as its budget allows, as long as the caller says so.
    pub fn hunt(&self, by: Catch, from: u64, mut go_on: impl FnMut() -> bool) -> Hunt {
        let mut hunt = Hunt::default();
        let trial = by.trial();
        for seed in (from..).take(by.depth.budget() as usize) {
            if !go_on() {
                break;
            }
            hunt.seeds += 1;
            let schedule = self.schedule(seed);
            let Some(violation) = trial.run(&schedule).violation else {
                continue;
            };
            if !is_clean(&schedule) {
                hunt.sick.push(seed);
            } else if violation.checker == by.invariant {
                hunt.found = Some((seed, violation));
                break;
            }
        }
        hunt
    }

    /// Whether a schedule violates what a checker watches for, and nothing without the bug.
    pub fn is_shown_by(&self, by: Catch, schedule: &Schedule) -> bool {
        schedule.flaw == Some(self.flaw)
            && (by.trial().run(schedule).violation)
                .is_some_and(|violation| violation.checker == by.invariant)
            && is_clean(schedule)
    }

    /// The bug of this name.
    pub fn named(name: &str) -> Option<Self> {
        catalogue().find(|bug| bug.name == name)
    }

    /// The entry of a flaw.
    pub const fn of(flaw: Flaw) -> Self {
        use Depth::{Deep, Shallow};
        let (name, caught_by, tempting): (_, &'static [_], _) = match flaw {
            Flaw::UnregisterByUser => (
                "unregister-by-user",
                &[
                    ("orphan-debt", Shallow),
                    ("hello-means-reachable", Shallow),
                    ("all-terminals", Shallow),
                ],
                "a user with one terminal is the usual case, and one key is deleted more easily than a field",
            ),
            Flaw::HelloBeforeRow => (
                "hello-before-row",
                &[("receipt-complete", Deep)],
                "the terminal is greeted a round trip sooner",
            ),
            Flaw::LostRegisterNotRepeated => (
                "lost-register-not-repeated",
                &[("convergence", Deep)],
                "the slow sweep will write it in any case",
            ),
            Flaw::LateRegisterKept => (
                "late-register-kept",
                &[("ghost-debt", Deep), ("no-resurrection", Deep)],
                "the connection is gone, so its answer seems to concern nobody",
            ),
            Flaw::LeaseNeverExpires => (
                "lease-never-expires",
                &[("ghost-debt", Shallow)],
                "in every test instances say goodbye",
            ),
            Flaw::EmptyLookupIsOffline => (
                "empty-lookup-is-offline",
                &[("receipt-complete", Deep)],
                "no rows, no terminals: what else should it mean",
            ),
            Flaw::LowerEpochOverwrites => (
                "lower-epoch-overwrites",
                &[("fencing", Deep)],
                "a plain HSET is one command and needs no script",
            ),
            Flaw::FloorRaisedEarly => (
                "floor-raised-early",
                &[("receipt-complete", Deep), ("fencing", Deep)],
                "the claim has a place for the floor, and one write fewer is needed",
            ),
            Flaw::FloorNeverRaised => (
                "floor-never-raised",
                &[("ghost-debt", Deep)],
                "everything is delivered without it",
            ),
            Flaw::UpTooEarly => (
                "up-too-early",
                &[("receipt-complete", Deep)],
                "the lease is held, so the instance is up",
            ),
            Flaw::RenewedWithoutComparison => (
                "renewed-without-comparison",
                &[("fencing", Deep)],
                "a SET with an expiry is how leases are written everywhere",
            ),
            Flaw::NoDoubtAfterReconnection => (
                "no-doubt-after-reconnection",
                &[("receipt-complete", Deep)],
                "a link that broke says nothing about the others",
            ),
            Flaw::RowBeforeClaim => (
                "row-before-claim",
                &[("fencing", Deep)],
                "the epoch is known when the claim is asked for, and a round trip is saved",
            ),
            Flaw::UnreachableIsGone => (
                "unreachable-is-gone",
                &[("fencing", Shallow), ("recycled-address", Shallow)],
                "whoever answers `not me` or nothing at all will not deliver anything",
            ),
            Flaw::OvertakenBySecondLookup => (
                "overtaken-by-second-lookup",
                &[("order", Deep)],
                "the second lookup finds a terminal, so the push is delivered there",
            ),
            Flaw::QueuedSaidWritten => (
                "queued-said-written",
                &[("receipt-true", Shallow)],
                "a write into a buffer returns at once and looks like a success",
            ),
            Flaw::RepeatNotRecognised => (
                "repeat-not-recognised",
                &[("no-duplicate", Shallow)],
                "nothing repeats a push while all links hold",
            ),
            Flaw::DeadRowWithoutComparison => (
                "dead-row-without-comparison",
                &[("fencing", Deep)],
                "the row was just read",
            ),
            Flaw::TokenCheckedAtConnectOnly => (
                "token-checked-at-connect-only",
                &[("addressee", Deep)],
                "whoever was let in has shown who he is",
            ),
            Flaw::HelloWaitsForRow => (
                "hello-waits-for-row",
                &[("connect-ends", Deep)],
                "the hello says `reachable`, so it has to wait for the row",
            ),
            Flaw::SilentOverflow => (
                "silent-overflow",
                &[("limits", Deep)],
                "the policy is to drop the frame, and dropped it is",
            ),
            Flaw::TimerLeftAfterClose => (
                "timer-left-after-close",
                &[("hygiene", Deep)],
                "the connection is there until its socket has gone, so its timer is as well",
            ),
            Flaw::RowlessKept => (
                "rowless-kept",
                &[("empty-at-rest", Deep)],
                "a connection is forgotten when its row is removed, and every connection has a row",
            ),
            Flaw::KindGuessed => (
                "kind-guessed",
                &[("no-creation", Shallow)],
                "what is UTF-8 is text, and nobody has to say so",
            ),
        };
        Self {
            flaw,
            name,
            caught_by,
            tempting,
        }
    }
}

impl Catch {
    /// The file in which a schedule is kept that shows a bug to this checker.
    pub fn file_name(self, bug: Bug) -> String {
        format!("{}.{}.txt", bug.name, self.invariant)
    }

    /// Only this checker watches.
    fn trial(self) -> Trial {
        Trial::watched_by(checkers::named(self.invariant).into_iter().collect())
    }
}

/// Whether a schedule violates nothing without its bug.
fn is_clean(schedule: &Schedule) -> bool {
    let mended = Schedule {
        flaw: None,
        ..schedule.clone()
    };
    swarm::run(&mended).violation.is_none()
}
