//! The catalogue: bugs that can be switched on in the core, and which invariants must catch each
//! within how many seeds of the swarm. Each of our invariants catches one at least, but for
//! those that watch the boundary of an instance, which have tests of their own, and for two that slips show.
//!
//! One bug of logs has no place in the core, and so no entry: that the answer of an earlier connection's read is taken.
//! A read goes over the directory link that is in order. The slot of the connection that asked is free when its row was
//! removed, and that is asked for behind the read and answered behind it, or both end with the link. Were it otherwise,
//! the generation in the key of the connection would still tell them apart, and the number of the read, of which an
//! instance gives each once, those of one connection that follows a log anew.

use switchboard_core::flaws::Flaw;

use crate::checkers;
use crate::report::Violation;
use crate::schedule::Schedule;
use crate::swarm;
use crate::text;
use crate::trial::Trial;

/// One bug of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bug {
    /// What is switched on.
    pub flaw: Flaw,
    caught_by: &'static [Catch],
    /// Why somebody could well write it.
    pub tempting: &'static str,
}

/// A checker that must catch a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Catch {
    /// The checker's name.
    pub invariant: &'static str,
    /// How hard that is.
    pub depth: Depth,
    /// Where it is looked for.
    pub worlds: Worlds,
}

/// The schedules in which a bug is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worlds {
    /// Those of the swarm.
    Swarm,
    /// Those of the swarm with followers.
    Followed,
    /// The same, and no log is checked without a reason within the run.
    Unchecked,
    /// Those of the swarm with members of topics.
    Topical,
    /// Those in which few do little, and what logs rest on fails close to it.
    Few,
    /// The same, and no log is checked without a reason within the run.
    FewUnchecked,
    /// Those in which a log has two histories.
    Histories,
    /// Those in which a follower does not read, and no log is checked without a reason.
    SlowReader,
    /// Those in which a record is appended late, and no log is checked without a reason.
    Floating,
    /// Those in which instances with members of a topic do not hear each other.
    Unheard,
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
    CATALOGUE.into_iter()
}

/// The names of all bugs, as they are listed.
pub fn names() -> String {
    text::flaw_names()
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
    /// As it is called in schedules and reports.
    pub fn name(&self) -> &'static str {
        text::flaw_name(self.flaw)
    }

    /// Which checkers must catch it, each by itself.
    pub fn catches(&self) -> impl Iterator<Item = Catch> {
        self.caught_by.iter().copied()
    }

    /// The schedule of a seed in which this bug is looked for.
    pub fn schedule(&self, by: Catch, seed: u64) -> Schedule {
        let schedule = match by.worlds {
            Worlds::Swarm => swarm::schedule(seed),
            Worlds::Followed => swarm::followed(seed),
            Worlds::Unchecked => swarm::unchecked(seed),
            Worlds::Topical => swarm::topical(seed),
            Worlds::Few => swarm::few(seed),
            Worlds::FewUnchecked => swarm::few_unchecked(seed),
            Worlds::Histories => swarm::histories(seed),
            Worlds::SlowReader => swarm::slow_reader(seed),
            Worlds::Floating => swarm::floating(seed),
            Worlds::Unheard => swarm::unheard(seed),
        };
        Schedule {
            flaw: Some(self.flaw),
            ..schedule
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
            let schedule = self.schedule(by, seed);
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
        catalogue().find(|bug| bug.name() == name)
    }

    /// The entry of a flaw.
    pub const fn of(flaw: Flaw) -> Self {
        CATALOGUE[flaw as usize]
    }
}

impl Catch {
    /// The file in which a schedule is kept that shows a bug to this checker.
    pub fn file_name(self, bug: Bug) -> String {
        format!("{}.{}.txt", bug.name(), self.invariant)
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

/// All bugs, in the order of [`Flaw::ALL`].
const CATALOGUE: [Bug; Flaw::ALL.len()] = [
    Bug {
        flaw: Flaw::UnregisterByUser,
        caught_by: &[
            shallow("orphan-debt"),
            shallow("hello-means-reachable"),
            shallow("all-terminals"),
            shallow("lists-true"),
        ],
        tempting: "a user with one terminal is the usual case, and one key is deleted more easily than a field",
    },
    Bug {
        flaw: Flaw::HelloBeforeRow,
        caught_by: &[deep("receipt-complete")],
        tempting: "the terminal is greeted a round trip sooner",
    },
    Bug {
        flaw: Flaw::LostRegisterNotRepeated,
        caught_by: &[deep("convergence")],
        tempting: "the slow sweep will write it in any case",
    },
    Bug {
        flaw: Flaw::LateRegisterKept,
        caught_by: &[deep("ghost-debt"), deep("no-resurrection")],
        tempting: "the connection is gone, so its answer seems to concern nobody",
    },
    Bug {
        flaw: Flaw::LeaseNeverExpires,
        caught_by: &[shallow("ghost-debt")],
        tempting: "in every test instances say goodbye",
    },
    Bug {
        flaw: Flaw::EmptyLookupIsOffline,
        caught_by: &[deep("receipt-complete")],
        tempting: "no rows, no terminals: what else should it mean",
    },
    Bug {
        flaw: Flaw::LowerEpochOverwrites,
        caught_by: &[deep("fencing")],
        tempting: "a plain HSET is one command and needs no script",
    },
    Bug {
        flaw: Flaw::FloorRaisedEarly,
        caught_by: &[deep("receipt-complete"), deep("fencing")],
        tempting: "the claim has a place for the floor, and one write fewer is needed",
    },
    Bug {
        flaw: Flaw::FloorNeverRaised,
        caught_by: &[deep("ghost-debt")],
        tempting: "everything is delivered without it",
    },
    Bug {
        flaw: Flaw::UpTooEarly,
        caught_by: &[deep("directory-rate")],
        tempting: "the lease is held, so the instance is up",
    },
    Bug {
        flaw: Flaw::RenewedWithoutComparison,
        caught_by: &[deep("fencing")],
        tempting: "a SET with an expiry is how leases are written everywhere",
    },
    Bug {
        flaw: Flaw::NoDoubtAfterReconnection,
        caught_by: &[deep("receipt-complete")],
        tempting: "a link that broke says nothing about the others",
    },
    Bug {
        flaw: Flaw::RowBeforeClaim,
        caught_by: &[deep("fencing")],
        tempting: "the epoch is known when the claim is asked for, and a round trip is saved",
    },
    Bug {
        flaw: Flaw::UnreachableIsGone,
        caught_by: &[shallow("fencing"), shallow("recycled-address")],
        tempting: "whoever answers `not me` or nothing at all will not deliver anything",
    },
    Bug {
        flaw: Flaw::OvertakenBySecondLookup,
        caught_by: &[deep("order")],
        tempting: "the second lookup finds a terminal, so the push is delivered there",
    },
    Bug {
        flaw: Flaw::QueuedSaidWritten,
        caught_by: &[shallow("receipt-true")],
        tempting: "a write into a buffer returns at once and looks like a success",
    },
    Bug {
        flaw: Flaw::RepeatNotRecognised,
        caught_by: &[shallow("no-duplicate")],
        tempting: "nothing repeats a push while all links hold",
    },
    Bug {
        flaw: Flaw::DeadRowWithoutComparison,
        caught_by: &[deep("fencing")],
        tempting: "the row was just read",
    },
    Bug {
        flaw: Flaw::TokenCheckedAtConnectOnly,
        caught_by: &[shallow("addressee")],
        tempting: "whoever was let in has shown who he is",
    },
    Bug {
        flaw: Flaw::HelloWaitsForRow,
        caught_by: &[shallow("connect-ends")],
        tempting: "the hello says `reachable`, so it has to wait for the row",
    },
    Bug {
        flaw: Flaw::SilentOverflow,
        caught_by: &[deep("limits")],
        tempting: "the policy is to drop the frame, and dropped it is",
    },
    Bug {
        flaw: Flaw::TimerLeftAfterClose,
        caught_by: &[shallow("hygiene")],
        tempting: "the connection is there until its socket has gone, so its timer is as well",
    },
    Bug {
        flaw: Flaw::RowlessKept,
        caught_by: &[shallow("empty-at-rest")],
        tempting: "a connection is forgotten when its row is removed, and every connection has a row",
    },
    Bug {
        flaw: Flaw::KindGuessed,
        caught_by: &[shallow("no-creation"), shallow("terminal-told")],
        tempting: "what is UTF-8 is text, and nobody has to say so",
    },
    Bug {
        flaw: Flaw::ProofOfOtherEnd,
        caught_by: &[shallow("explained-errors")],
        tempting: "both ends prove the same secret over the same nonces, so one proof looks enough",
    },
    Bug {
        flaw: Flaw::NoReadBehindRow,
        caught_by: &[few_unchecked("log-complete")],
        tempting: "the log is read when the terminal attaches, and what comes later is pushed to it",
    },
    Bug {
        flaw: Flaw::NoCheckAfterBreak,
        caught_by: &[few_unchecked("log-complete")],
        tempting: "whoever published over that link repeats what was lost",
    },
    Bug {
        flaw: Flaw::NoPeriodicCheck,
        caught_by: &[followed("log-complete")],
        tempting: "there is an event for everything that can go wrong",
    },
    Bug {
        flaw: Flaw::HeadNotGreater,
        caught_by: &[few("log-complete")],
        tempting: "a head that is not beyond the position has nothing new",
    },
    Bug {
        flaw: Flaw::LowerOffsetIsDuplicate,
        caught_by: &[few_unchecked("receipt-true")],
        tempting: "offsets rise, so a lower one has been there",
    },
    Bug {
        flaw: Flaw::LiveDuringReplay,
        caught_by: &[unchecked("log-complete")],
        tempting: "it is on its way to the terminal already, so why hold it back",
    },
    Bug {
        flaw: Flaw::HeldAndForgotten,
        caught_by: &[unchecked("log-complete")],
        tempting: "the predecessor comes within moments",
    },
    Bug {
        flaw: Flaw::OverflowStaysLive,
        caught_by: &[plotted(Worlds::SlowReader, "log-complete")],
        tempting: "a queue that is full has room again soon",
    },
    Bug {
        flaw: Flaw::OverflowMoves,
        caught_by: &[followed("log-complete")],
        tempting: "the record is dealt with, and the next one can come",
    },
    Bug {
        flaw: Flaw::UnknownStartsAtHead,
        caught_by: &[followed("log-complete")],
        tempting: "whatever that position was, the terminal wants what comes from here on",
    },
    Bug {
        flaw: Flaw::RepeatDeliversNothing,
        caught_by: &[followed("receipt-complete")],
        tempting: "it was delivered the first time",
    },
    Bug {
        flaw: Flaw::TagFromPush,
        caught_by: &[plotted(Worlds::Histories, "log-complete")],
        tempting: "the push has an id that is random already",
    },
    Bug {
        flaw: Flaw::NumbersInsteadOfPositions,
        caught_by: &[few_unchecked("receipt-true")],
        tempting: "records are numbered, and the next one has the next number",
    },
    Bug {
        flaw: Flaw::TrimmedIsKnown,
        caught_by: &[followed("log-complete"), followed("log-read-true")],
        tempting: "the base says where the log began",
    },
    Bug {
        flaw: Flaw::RepeatsWhileKept,
        caught_by: &[followed("one-payload")],
        tempting: "the record itself knows its push, and nothing else has to be kept",
    },
    Bug {
        flaw: Flaw::NoRepeatMemory,
        caught_by: &[followed("one-payload")],
        tempting: "publishers do not repeat what was answered",
    },
    Bug {
        flaw: Flaw::NoPositionWithoutLog,
        caught_by: &[followed("no-false-gap")],
        tempting: "a read that writes is a surprise, and there is nothing to read",
    },
    Bug {
        flaw: Flaw::KeepsOneFewer,
        caught_by: &[followed("log-durable")],
        tempting: "what has reached its limit has to give way",
    },
    Bug {
        flaw: Flaw::TopicLeftWithoutComparison,
        caught_by: &[topical("fencing")],
        tempting: "rows of connections are removed without their epoch as well",
    },
    Bug {
        flaw: Flaw::NoMembersIsDeleted,
        caught_by: &[topical("fencing"), topical("joined-means-reachable")],
        tempting: "dead rows are removed by whoever reads them, and this one has been proven wrong",
    },
    Bug {
        flaw: Flaw::JoinedBeforeRow,
        caught_by: &[topical("joined-means-reachable")],
        tempting: "the terminal is a member at its instance at once, and is told a round trip sooner",
    },
    Bug {
        flaw: Flaw::JoinWhileRemovingForgotten,
        caught_by: &[topical("joins-end")],
        tempting: "a row that is not absent needs no write, and a row of a connection is never removed and wanted",
    },
    Bug {
        flaw: Flaw::TopicsNotSettled,
        caught_by: &[topical("topic-rows"), topical("joined-means-reachable")],
        tempting: "connections have rows, and settling goes through the connections",
    },
    Bug {
        flaw: Flaw::AckByNumber,
        caught_by: &[followed("ack-true")],
        tempting: "who has the record of this number has those of lower ones",
    },
    Bug {
        flaw: Flaw::NoCheckAfterDeath,
        caught_by: &[few_unchecked("log-complete")],
        tempting: "who is dead appends nothing any more",
    },
    Bug {
        flaw: Flaw::ReplicaTakenForGranted,
        caught_by: &[followed("replicated-true")],
        tempting: "the primary has the record, and its replicas have it a moment later",
    },
    Bug {
        flaw: Flaw::LeavesWithoutGrace,
        caught_by: &[topical("presence-true")],
        tempting: "who is not there has left",
    },
    Bug {
        flaw: Flaw::LeavesInDoubt,
        caught_by: &[plotted(Worlds::Unheard, "presence-true")],
        tempting: "what all who have answered know is what is known",
    },
    Bug {
        flaw: Flaw::LeavesAgain,
        caught_by: &[topical("no-double-leave")],
        tempting: "he is missing in each reading, and who is back is a member again",
    },
    Bug {
        flaw: Flaw::OffsetWithoutNonce,
        caught_by: &[plotted(Worlds::Histories, "log-complete")],
        tempting: "the tag tells histories apart, so the offset can be a plain number",
    },
    Bug {
        flaw: Flaw::NoCheckAfterDoubt,
        caught_by: &[plotted(Worlds::Floating, "log-complete")],
        tempting: "settling reads all logs, so nothing is left to be looked for",
    },
    Bug {
        flaw: Flaw::DeletedIsForgotten,
        caught_by: &[followed("one-payload")],
        tempting: "what is deleted is gone, with all of its keys",
    },
    Bug {
        flaw: Flaw::LostReadForgotten,
        caught_by: &[followed("resumes-end")],
        tempting: "each row is written again behind a new link, and its log is read with it",
    },
];

/// One thing that goes wrong is enough for this checker.
const fn shallow(invariant: &'static str) -> Catch {
    Catch {
        invariant,
        depth: Depth::Shallow,
        worlds: Worlds::Swarm,
    }
}

/// Several things must come together.
const fn deep(invariant: &'static str) -> Catch {
    Catch {
        invariant,
        depth: Depth::Deep,
        worlds: Worlds::Swarm,
    }
}

/// Several things must come together where terminals follow their logs.
const fn followed(invariant: &'static str) -> Catch {
    Catch {
        worlds: Worlds::Followed,
        ..deep(invariant)
    }
}

/// The same, where the bug is not mended by a check that comes without a reason.
const fn unchecked(invariant: &'static str) -> Catch {
    Catch {
        worlds: Worlds::Unchecked,
        ..deep(invariant)
    }
}

/// Several things must come together where terminals are members of topics.
const fn topical(invariant: &'static str) -> Catch {
    Catch {
        worlds: Worlds::Topical,
        ..deep(invariant)
    }
}

/// Several things must come together, and little may happen besides.
const fn few(invariant: &'static str) -> Catch {
    Catch {
        worlds: Worlds::Few,
        ..deep(invariant)
    }
}

/// The same, where the bug is not mended by a check that comes without a reason.
const fn few_unchecked(invariant: &'static str) -> Catch {
    Catch {
        worlds: Worlds::FewUnchecked,
        ..deep(invariant)
    }
}

/// So much must come together that it happens in a world with a plot.
const fn plotted(worlds: Worlds, invariant: &'static str) -> Catch {
    Catch {
        worlds,
        ..deep(invariant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flaw_has_its_entry() {
        for (index, flaw) in Flaw::ALL.into_iter().enumerate() {
            assert_eq!(flaw as usize, index);
            assert_eq!(Bug::of(flaw).flaw, flaw);
        }
    }
}
