//! `doubt`: what an instance has reason to doubt, its answers say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::command::Log;
use switchboard_core::directory::{LeaseState, SeenLease};
use switchboard_core::event::Answer;
use switchboard_core::id::{Epoch, InstanceId, LinkKey, OpId};
use switchboard_core::message::{ChannelLog, InLog};
use switchboard_core::time::Instant;

use super::allowance::started;
use super::lateness::{SLACK, running};
use super::own_lease::{OwnLease, StepOutcome};
use crate::boundary::{Intake, LeaseStep, Output, Service, TripOutline};
use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind, Scope};
use crate::observed::{HandIn, Life, Observed, Topic};

/// For a lease after each of these causes an instance cannot tell who is offline from whose row is lost, and
/// says `degraded` of all that it takes in: its directory link is a new one; its lease is lost; the directory
/// refuses it a lease or a renewal, or lets it wait for one too long; the lease of another ends sooner than it
/// was seen to, or sooner than it can since it was claimed, or has vanished. So it does as long as another one
/// tells it on their link that rows are missing, or has a link and no lease any more, and until that one says
/// goodbye: then it has no terminals any more. What comes earlier, and what ends a doubt sooner, is not judged
/// here.
#[derive(Clone, Debug, Default)]
pub struct Doubt {
    hosts: BTreeMap<usize, Doubting>,
    pushes: BTreeMap<HandIn, Vec<Reason>>,
    questions: BTreeMap<usize, Vec<Reason>>,
    /// Hosts of instances that have taken themselves for cut off. They may say that they have no terminals any more, and
    /// nobody doubts them from there on.
    isolated: BTreeSet<usize>,
}

/// What an instance doubts, and why.
#[derive(Clone, Copy, Debug)]
struct Reason {
    /// The host of that instance. `None`: everybody.
    of: Option<usize>,
    cause: Cause,
}

/// Why an instance is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    NewLink,
    LeaseLost,
    ClaimRefused,
    ClaimTimedOut,
    RenewalRefused,
    RenewalTimedOut,
    EndsSooner,
    Vanished,
    SaysBehind,
    RunsOut,
}

impl Cause {
    const fn words(self) -> &'static str {
        match self {
            Self::NewLink => "its link to the directory was a new one",
            Self::LeaseLost => "it had lost its lease",
            Self::ClaimRefused => "the directory had refused it a lease",
            Self::ClaimTimedOut => "it had waited in vain for a lease",
            Self::RenewalRefused => "the directory had refused to renew its lease",
            Self::RenewalTimedOut => "it had waited in vain for the renewal of its lease",
            Self::EndsSooner => "the lease of another ended sooner than it was seen to",
            Self::Vanished => "the lease of another had vanished before its time",
            Self::SaysBehind => "another said on its link that it is to be asked",
            Self::RunsOut => "the lease of another had run out to which there was a link",
        }
    }
}

/// What an instance has gone through.
#[derive(Clone, Debug, Default)]
struct Doubting {
    /// It has had a link to the directory, and has one at present.
    links: (u32, bool),
    lease: OwnLease,
    /// Readings of the leases under way, and when they were asked for.
    readings: BTreeMap<OpId, Instant>,
    /// When that reading was asked for whose answer has just come.
    answered: Option<Instant>,
    /// Everybody is doubted until then.
    everyone: Option<(Instant, Cause)>,
    others: BTreeMap<InstanceId, Other>,
    /// Links that it has dialled, and to whom.
    dialled: BTreeMap<LinkKey, InstanceId>,
    /// Those of them over which it was last told that rows are missing.
    behind: BTreeSet<LinkKey>,
    /// Those of them whose acceptor has proven itself, and whether it has confirmed the link as well.
    proven: BTreeMap<LinkKey, bool>,
}

/// Another instance, as it was last read.
#[derive(Clone, Copy, Debug)]
struct Other {
    lease: (Epoch, Instant),
    /// When that was asked for.
    read: Instant,
    /// There is a lease, though it may have run out.
    is_there: bool,
    /// It is doubted until then.
    doubted: Option<(Instant, Cause)>,
}

impl Checker for Doubt {
    fn name(&self) -> &'static str {
        "doubt"
    }

    fn topics(&self) -> &'static [Topic] {
        &[
            Topic::Boundary,
            Topic::Lives,
            Topic::Log,
            Topic::Directory,
            Topic::Pushes,
            Topic::Questions,
        ]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Started(life) => {
                self.hosts.insert(life.host, Doubting::default());
            }
            Observed::Gone(life) => {
                self.hosts.remove(&life.host);
            }
            Observed::Took { life, intake } => {
                if let Some(doubting) = self.hosts.get_mut(&life.host) {
                    doubting.take_in(watch, life.host, *intake);
                }
            }
            Observed::Viewed { life, leases } => {
                if let Some(doubting) = self.hosts.get_mut(&life.host) {
                    doubting.view(watch, *life, leases);
                }
            }
            Observed::Gave { life, output } => {
                if let Some(doubting) = self.hosts.get_mut(&life.host) {
                    doubting.give(watch, life.host, output);
                }
            }
            Observed::Logged { life, log } => {
                if matches!(**log, Log::Isolated) {
                    self.isolated.insert(life.host);
                }
                let lost = matches!(**log, Log::LeaseLost { .. });
                if let Some(doubting) = self.hosts.get_mut(&life.host).filter(|_| lost) {
                    doubting.lease = OwnLease::default();
                    doubting.doubts(watch.now(), watch, Cause::LeaseLost);
                }
            }
            Observed::HandedIn(hand_in) => {
                let life = watch.scene().pushes()[hand_in.push].times()[hand_in.time].life;
                let reasons = self.reasons(watch, life);
                self.pushes.insert(*hand_in, reasons);
            }
            Observed::Asked { question } => {
                let life = watch.scene().questions()[*question].life();
                let reasons = self.reasons(watch, life);
                self.questions.insert(*question, reasons);
            }
            Observed::Answered { hand_in, receipt } => {
                let published = &watch.scene().pushes()[hand_in.push];
                // What is in the log already reaches nobody but through it, and nor does what expired there.
                let repeated = published.durable().is_some() && published.times().len() > 1;
                let kept = |log: &ChannelLog| matches!(log.logged, InLog::At(_));
                let routed = !repeated && receipt.logged.iter().all(kept);
                let reasons = self.pushes.remove(hand_in).filter(|_| routed);
                let life = published.times()[hand_in.time].life;
                let reasons = self.lasting(watch, life, reasons);
                judge(
                    watch,
                    "receipt of push",
                    hand_in.push,
                    &reasons,
                    receipt.degraded,
                );
            }
            Observed::Told { question, answer } => {
                let reasons = self.questions.remove(question);
                let life = watch.scene().questions()[*question].life();
                let reasons = self.lasting(watch, life, reasons);
                if let Answer::Connections(Ok(list)) = &**answer {
                    judge(
                        watch,
                        "answer to question",
                        *question,
                        &reasons,
                        list.degraded,
                    );
                }
            }
            _ => {}
        }
    }
}

fn judge(watch: &mut Watch<'_>, what: &str, number: usize, reasons: &[Reason], degraded: bool) {
    let lasts = |reason: &&Reason| reason.of.is_none_or(|of| !may_have_gone(watch, of));
    match reasons.iter().find(lasts) {
        None => {}
        Some(_) if degraded => watch.held(),
        Some(reason) => watch.violated(format!(
            "the {what} {number} is not degraded, although {}",
            reason.cause.words()
        )),
    }
}

impl Doubt {
    /// What has not ended by the answer: another one may have said that it has no terminals, or is forgotten with its link.
    fn lasting(&self, watch: &Watch<'_>, life: Life, reasons: Option<Vec<Reason>>) -> Vec<Reason> {
        let mut reasons = reasons.unwrap_or_default();
        let present = (self.hosts.get(&life.host)).map(|doubting| doubting.reasons(watch));
        let present = present.unwrap_or_default();
        reasons.retain(|reason| {
            let is_vacant = reason.of.is_some_and(|of| self.isolated.contains(&of));
            let lasts =
                (present.iter()).any(|other| (other.of, other.cause) == (reason.of, reason.cause));
            reason.cause != Cause::RunsOut || (lasts && !is_vacant)
        });
        reasons
    }

    /// Why an instance doubts something that it takes in.
    fn reasons(&mut self, watch: &Watch<'_>, life: Life) -> Vec<Reason> {
        let Some(doubting) = self.hosts.get_mut(&life.host) else {
            return Vec::new();
        };
        doubting.time_out(watch, life.host, SLACK);
        doubting.reasons(watch)
    }
}

impl Doubting {
    fn take_in(&mut self, watch: &Watch<'_>, host: usize, intake: Intake) {
        let now = watch.now();
        self.time_out(watch, host, SLACK);
        match intake {
            Intake::DirectoryUp => {
                let (links, _) = self.links;
                self.unlinked();
                self.links = (links + 1, true);
                if links > 0 {
                    self.doubts(now, watch, Cause::NewLink);
                }
            }
            Intake::DirectoryDown => self.unlinked(),
            Intake::TripAnswered { lost: true, .. } => self.unlinked(),
            Intake::TripAnswered {
                op,
                in_time,
                granted,
                refused,
                ..
            } => {
                self.answered = self.readings.remove(&op);
                let before = self.lease.step.map(|step| step.outcome);
                let lasts = watch.scene().config().lease;
                (self.lease).answered(now, lasts, op, in_time, granted, refused);
                let Some(step) = self.lease.step.filter(|step| Some(step.outcome) != before) else {
                    return;
                };
                if let (StepOutcome::Refused(_), Some(cause)) = (step.outcome, refusal(step.step)) {
                    self.doubts(now, watch, cause);
                }
            }
            Intake::LinkReceived { link, service } => {
                if let Some(is_open) = self.proven.get_mut(&link) {
                    *is_open = true;
                }
                match service {
                    Some(Service::Behind | Service::None) if self.dialled.contains_key(&link) => {
                        self.behind.insert(link);
                    }
                    // What else it has heard may be of the same instance.
                    Some(_) | None => self.behind.clear(),
                }
            }
            Intake::LinkDown { link, .. } => self.link_gone(link),
            Intake::Accepted { .. }
            | Intake::LinkAccepted(_)
            | Intake::Opened(_)
            | Intake::Authenticated { .. }
            | Intake::Refreshed { .. }
            | Intake::Relayed
            | Intake::Heard(_)
            | Intake::Written(_)
            | Intake::Closed(_)
            | Intake::Probed { .. }
            | Intake::LinkUp(_)
            | Intake::LinkWritten(_)
            | Intake::Call { .. }
            | Intake::Drain { .. } => {}
        }
    }

    fn give(&mut self, watch: &Watch<'_>, host: usize, output: &Output) {
        match output {
            Output::Trip(trip) => {
                // It may ask once more in the turn in which it has given up.
                let slack = match trip.lease {
                    Some((_, LeaseStep::Claim(_) | LeaseStep::Renew { .. })) => Duration::ZERO,
                    Some((_, LeaseStep::Release)) | None => SLACK,
                };
                self.time_out(watch, host, slack);
                self.ask(watch.now(), trip);
            }
            // The link is as good as gone.
            Output::DirectoryReset => self.unlinked(),
            Output::Dial { link, instance } => {
                self.dialled.insert(*link, *instance);
            }
            Output::LinkProven(link) if self.dialled.contains_key(link) => {
                self.proven.insert(*link, false);
            }
            Output::LinkClose(link) => self.link_gone(*link),
            Output::Hello { .. }
            | Output::Send(_)
            | Output::Noticed(_)
            | Output::Flush(_)
            | Output::Ping(_)
            | Output::Probe(_)
            | Output::Close { .. }
            | Output::Abort(_)
            | Output::Forget(_)
            | Output::Connected(_)
            | Output::Disconnected(_)
            | Output::LinkWrite { .. }
            | Output::LinkProven(_)
            | Output::Answer { .. }
            | Output::Log
            | Output::Hear
            | Output::Drained => {}
        }
    }

    fn ask(&mut self, now: Instant, trip: &TripOutline) {
        if trip.views > 0 {
            self.readings.insert(trip.op, now);
        }
        self.lease.ask(now, trip);
    }

    /// Nothing that was asked has a known outcome.
    fn unlinked(&mut self) {
        self.links.1 = false;
        self.lease = OwnLease::default();
        self.readings.clear();
        self.answered = None;
    }

    fn link_gone(&mut self, link: LinkKey) {
        self.dialled.remove(&link);
        self.behind.remove(&link);
        self.proven.remove(&link);
    }

    fn doubts(&mut self, from: Instant, watch: &Watch<'_>, cause: Cause) {
        let until = from + watch.scene().config().lease;
        if self.everyone.is_none_or(|(other, _)| other < until) {
            self.everyone = Some((until, cause));
        }
    }

    /// Notes that what was asked for the lease has not been answered in time. `slack`: how much later it is
    /// given up, perhaps.
    fn time_out(&mut self, watch: &Watch<'_>, host: usize, slack: Duration) {
        let Some(step) = self.lease.step.as_mut() else {
            return;
        };
        if !self.links.1 || step.outcome != StepOutcome::Asked {
            return;
        }
        let due = step.at + watch.scene().config().directory_timeout;
        if watch.now() < running(watch, host, due) + slack {
            return;
        }
        step.outcome = StepOutcome::Unknown;
        let cause = match step.step {
            LeaseStep::Claim(_) => Cause::ClaimTimedOut,
            LeaseStep::Renew { .. } => Cause::RenewalTimedOut,
            LeaseStep::Release => return,
        };
        self.doubts(due, watch, cause);
    }

    /// The leases were read.
    fn view(&mut self, watch: &Watch<'_>, life: Life, leases: &[SeenLease]) {
        let Some(asked) = self.answered.take() else {
            return;
        };
        let (now, own) = (watch.now(), watch.scene().instance_of(life));
        let config = watch.scene().config();
        for seen in leases.iter().filter(|seen| seen.instance != own) {
            let before = self.others.remove(&seen.instance);
            if seen.lease.state == LeaseState::Released {
                continue;
            }
            let until = seen.remaining.map_or(Instant::START, |left| asked + left);
            let doubted = before.and_then(|before| {
                let slack = match seen.remaining {
                    Some(_) => config.directory_timeout,
                    None => Duration::ZERO,
                };
                let (epoch, ended) = before.lease;
                let sooner = until.max(asked) + slack + SLACK < ended;
                let claimed = seen.lease.epoch > epoch;
                let too_soon = claimed && until <= asked && asked < before.read + config.lease;
                if (sooner || too_soon) && stays(watch, seen.instance) {
                    return Some((now + config.lease, Cause::EndsSooner));
                }
                // A higher epoch shows that it has noticed what there was to notice.
                before.doubted.filter(|_| seen.lease.epoch == epoch)
            });
            let lease = (seen.lease.epoch, until);
            let other = Other {
                lease,
                read: asked,
                is_there: true,
                doubted,
            };
            self.others.insert(seen.instance, other);
        }
        for (instance, other) in &mut self.others {
            if leases.iter().any(|seen| seen.instance == *instance) {
                continue;
            }
            let (_, until) = other.lease;
            if until > asked + SLACK && stays(watch, *instance) {
                other.doubted = Some((now + config.lease, Cause::Vanished));
            }
            other.lease.1 = Instant::START;
            other.is_there = false;
        }
        let is_known = |other: &Other| other.doubted.is_some_and(|(until, _)| until > now);
        self.others
            .retain(|_, other| other.is_there || is_known(other));
    }

    fn reasons(&self, watch: &Watch<'_>) -> Vec<Reason> {
        let now = watch.now();
        let everyone = self.everyone.map(|doubted| (None, doubted));
        // A goodbye ends the doubt.
        let others = (self.others.iter()).filter(|(instance, _)| stays(watch, **instance));
        let others = others.filter_map(|(of, other)| Some((host_of(watch, *of), other.doubted?)));
        let lasting = everyone.into_iter().chain(others);
        let lasting = lasting.filter(|(_, (until, _))| *until > now);
        let lasting = lasting.map(|(of, (_, cause))| Reason { of, cause });
        let behind = self.behind.iter().filter_map(|link| {
            let of = *self.dialled.get(link)?;
            let lives = self.others.get(&of)?.lease.1 > now;
            let of = host_of(watch, of).filter(|_| lives)?;
            Some(Reason {
                of: Some(of),
                cause: Cause::SaysBehind,
            })
        });
        let run_out = self.proven.iter().filter_map(|(link, is_open)| {
            let instance = *self.dialled.get(link).filter(|_| *is_open)?;
            let other = self.others.get(&instance).filter(|other| other.is_there)?;
            let is_over = other.lease.1 + SLACK < now;
            let doubted = is_over && stays(watch, instance);
            doubted.then_some(Reason {
                of: Some(host_of(watch, instance)?),
                cause: Cause::RunsOut,
            })
        });
        lasting.chain(behind).chain(run_out).collect()
    }
}

/// What is in doubt if the directory refuses this.
const fn refusal(step: LeaseStep) -> Option<Cause> {
    match step {
        LeaseStep::Claim(_) => Some(Cause::ClaimRefused),
        LeaseStep::Renew { .. } => Some(Cause::RenewalRefused),
        LeaseStep::Release => None,
    }
}

/// The host on which an instance runs, or has run last.
fn host_of(watch: &Watch<'_>, instance: InstanceId) -> Option<usize> {
    let scene = watch.scene();
    let host = (scene.hosts()).find(|host| scene.instance_of(host.life()) == instance)?;
    Some(host.number())
}

/// Whether an instance runs and cannot have said to others that it goes, nor anybody in its place.
fn stays(watch: &Watch<'_>, instance: InstanceId) -> bool {
    let host = host_of(watch, instance).and_then(|host| watch.scene().host(host));
    host.is_some_and(|host| host.runs() && !may_have_gone(watch, host.number()))
}

/// Whether the instance of a host may have said to others that it goes, or somebody in its place: an earlier life of the
/// process says nothing of this one, and who has been told so reads the lease again.
fn may_have_gone(watch: &Watch<'_>, host: usize) -> bool {
    let lately = watch.now().before(watch.scene().config().lease * 2);
    let life = watch.scene().host(host).map(|host| host.life());
    let begun = life.and_then(|life| started(watch, life));
    let since = begun.map_or(lately, |begun| begun.min(lately));
    let goes = |excuse: &Excuse| match excuse.scope {
        Scope::Instance(this) => {
            excuse.kind == FaultKind::Drain && this == host && excuse.until >= since
        }
        Scope::Between(from, _) => {
            excuse.kind == FaultKind::PeerLied && from == host && excuse.until >= lately
        }
        Scope::All | Scope::Session(_) => false,
    };
    watch.excuse(Instant::START, watch.now(), goes).is_some()
}
