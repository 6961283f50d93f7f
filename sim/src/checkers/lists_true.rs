//! `lists-true`: what instances answer to questions beside pushes.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_core::directory::{LeaseState, SeenLease};
use switchboard_core::event::Answer;
use switchboard_core::id::{InstanceId, UserId};
use switchboard_core::message::{ConnectionInfo, Connections, InstanceInfo, PushRefused};
use switchboard_core::time::Instant;

use super::allowance::{closing, evicted, given_up, is_being_kicked};
use super::knowledge::{Asking, Knowledge};
use super::receipt_true::in_doubt;
use crate::checker::{Checker, Watch};
use crate::ledger::{FaultKind, Part, Scope};
use crate::observed::{Life, Observed, Topic};
use crate::publishing::{Asked, HandInProgress};

/// A list of a user's connections has each that is there, and none that is not, with where it is and when it
/// connected; or it says that something is in doubt, and something is. A list of instances has the one that
/// answers, with what its lease says, and each of the others as the directory told it last. Each question is
/// answered once.
#[derive(Clone, Debug, Default)]
pub struct ListsTrue {
    knowledge: Knowledge,
    /// What each instance was told last of the leases, and when.
    viewed: BTreeMap<Life, (Instant, Vec<SeenLease>)>,
    /// The same when a question was taken, by question: more may be told in the turn in which it is answered.
    viewed_then: BTreeMap<usize, (Instant, Vec<SeenLease>)>,
    /// By question: when its instance had last read a view of the primary.
    viewed_before: BTreeMap<usize, Instant>,
    answered: BTreeSet<usize>,
}

impl Checker for ListsTrue {
    fn name(&self) -> &'static str {
        "lists-true"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Questions, Topic::Faults]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        self.knowledge.take_in(event, watch);
        match event {
            Observed::Viewed { life, leases } => {
                self.viewed.insert(*life, (watch.now(), leases.clone()));
            }
            Observed::Asked { question } => {
                let life = watch.scene().questions()[*question].life();
                if let Some(viewed) = self.viewed.get(&life) {
                    self.viewed_then.insert(*question, viewed.clone());
                }
                if let Some(viewed) = self.knowledge.viewed(life) {
                    self.viewed_before.insert(*question, viewed);
                }
            }
            Observed::Told { question, answer } => {
                if !self.answered.insert(*question) {
                    watch.violated(format!("question {question} is answered twice"));
                }
                self.told(watch, *question, answer);
            }
            _ => {}
        }
    }
}

impl ListsTrue {
    fn told(&self, watch: &mut Watch<'_>, question: usize, answer: &Answer) {
        let wrong = match (watch.scene().questions()[question].what(), answer) {
            (Asked::Connections(user), Answer::Connections(Ok(list))) => {
                match connections(watch, question, user, list) {
                    None => return self.is_complete(watch, question, list),
                    wrong => wrong,
                }
            }
            // Whether so much waits for the directory is not seen from outside: limits are large, or tight.
            (Asked::Connections(_), Answer::Connections(Err(PushRefused::Overloaded))) => None,
            (Asked::Instances, Answer::Instances(list)) => self.instances(watch, question, list),
            // What it says is for `log-read-true` to judge.
            (Asked::Log(_) | Asked::Deletion(_), Answer::Log(_)) => None,
            (Asked::Connections(_) | Asked::Log(_) | Asked::Deletion(_) | Asked::Instances, _) => {
                Some("is of another kind".to_owned())
            }
        };
        match wrong {
            None => watch.held(),
            Some(what) => watch.violated(format!(
                "the answer to question {question} {what}: {answer:?}"
            )),
        }
    }

    /// A list that is not degraded names every connection that is there, and one that is has a reason.
    fn is_complete(&self, watch: &mut Watch<'_>, question: usize, list: &Connections) {
        let scene = watch.scene();
        let asked = &scene.questions()[question];
        if list.degraded {
            return match in_doubt(watch, asked.life(), asked.at(), false) {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "the answer to question {question} is degraded, and nothing was wrong"
                )),
            };
        }
        let asking = Asking {
            life: asked.life(),
            at: asked.at(),
            viewed: self.viewed_before.get(&question).copied(),
        };
        for &session in asked.reachable() {
            let this = &scene.sessions()[session];
            let (true, Some(holder), Some(id)) = (this.is_open(), this.life(), this.connection())
            else {
                continue;
            };
            if list.connections.iter().any(|info| info.connection == id) {
                watch.held();
                continue;
            }
            let excuse = closing(watch, session)
                .or_else(|| evicted(watch, session, asked.at()))
                .or_else(|| self.knowledge.ignorance(watch, asking, holder));
            match excuse {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "the answer to question {question} at i{} is not degraded and does not name session \
                     {session} of {} at i{}",
                    asked.life().host + 1,
                    this.user(),
                    holder.host + 1
                )),
            }
        }
    }

    /// What is wrong with a list of instances.
    fn instances(
        &self,
        watch: &Watch<'_>,
        question: usize,
        list: &[InstanceInfo],
    ) -> Option<String> {
        let scene = watch.scene();
        let life = scene.questions()[question].life();
        if !list.is_sorted_by(|one, next| one.instance < next.instance) {
            return Some("names instances twice, or not in order".to_owned());
        }
        let mut these = list.iter().filter(|info| info.this);
        let (Some(this), None) = (these.next(), these.next()) else {
            return Some("does not say which instance it is of".to_owned());
        };
        if let Some(what) = wrong_of_itself(watch, question, this) {
            return Some(format!("says of its own instance {what}"));
        }
        let nothing = (Instant::START, Vec::new());
        let (at, leases) = self.viewed_then.get(&question).unwrap_or(&nothing);
        let passed = watch.now().since(*at);
        let unknown = list.iter().filter(|info| !info.this).find(|info| {
            let told = leases.iter().find(|seen| seen.instance == info.instance);
            !told.is_some_and(|seen| {
                let lasts = seen.remaining.is_some_and(|left| left > passed);
                lasts && seen.lease == info.lease && seen.load == info.load
            })
        });
        if let Some(info) = unknown {
            return Some(format!("says of {:?} what nobody told it", info.instance));
        }
        // The time that remains counts from when it was asked for, which may be long ago.
        let slack = scene.config().directory_timeout;
        let stood_still = watch.excuse(at.before(slack), watch.now(), |excuse| {
            excuse.kind.part() == Part::Process && excuse.scope == Scope::Instance(life.host)
        });
        if stood_still.is_some() {
            return None;
        }
        let missing = leases.iter().find(|seen| {
            let lasts = seen.remaining.is_some_and(|left| left > passed + slack);
            let goes = seen.lease.state == LeaseState::Released
                || says_goodbye(watch, *at, seen)
                || may_have_lied(watch, *at, life.host, seen.instance);
            lasts && !goes && list.iter().all(|info| info.instance != seen.instance)
        });
        missing.map(|seen| format!("leaves out {:?}", seen.instance))
    }
}

/// Whether an instance may have said goodbye to another one, and have gone on.
fn may_have_lied(watch: &Watch<'_>, since: Instant, to: usize, instance: InstanceId) -> bool {
    let scene = watch.scene();
    let lie = watch.excuse(since, watch.now(), |excuse| match excuse.scope {
        Scope::Between(from, other) if excuse.kind == FaultKind::PeerLied => {
            let liar = scene.host(from).map(|host| scene.instance_of(host.life()));
            other == to && liar == Some(instance)
        }
        Scope::All | Scope::Instance(_) | Scope::Between(..) | Scope::Session(_) => false,
    });
    lie.is_some()
}

/// What is wrong with a list of connections, whether or not it is complete.
fn connections(
    watch: &Watch<'_>,
    question: usize,
    user: &UserId,
    list: &Connections,
) -> Option<String> {
    let scene = watch.scene();
    if !(list.connections).is_sorted_by(|one, next| one.connection < next.connection) {
        return Some("names connections twice, or not in order".to_owned());
    }
    let asked = scene.questions()[question].at();
    let wrong = |info: &&ConnectionInfo| {
        let Some(session) = scene.session_of(info.connection) else {
            return true;
        };
        let this = &scene.sessions()[session];
        let holder = this.life().map(|life| scene.instance_of(life));
        let is_so = this.user() == user
            && holder == Some(info.instance)
            && this.connected() == Some(info.connected);
        !is_so || !may_be_there(watch, session, asked)
    };
    let info = list.connections.iter().find(wrong)?;
    Some(format!("names {:?} as it is not", info.connection))
}

/// Whether a session may have been listed since a moment: it was there, or its instance or the directory could
/// not know that it was not.
fn may_be_there(watch: &Watch<'_>, session: usize, since: Instant) -> bool {
    let scene = watch.scene();
    let this = &scene.sessions()[session];
    let Some(ended) = this.ended() else {
        return true;
    };
    if ended + given_up(scene.config()) >= since {
        return true;
    }
    let holder = this.life().map(|life| life.host);
    let disturbed = watch.excuse(ended.before(scene.config().lease), watch.now(), |excuse| {
        let of_all = excuse.scope == Scope::All;
        let here = holder.is_some_and(|host| excuse.scope == Scope::Instance(host));
        match excuse.kind.part() {
            Part::Directory => of_all || here,
            Part::Process | Part::Life => here && excuse.kind != FaultKind::Start,
            Part::Links | Part::Terminal | Part::NoExcuse => false,
        }
    });
    disturbed.is_some()
}

/// What is wrong with what an instance says of itself.
fn wrong_of_itself(
    watch: &Watch<'_>,
    question: usize,
    info: &InstanceInfo,
) -> Option<&'static str> {
    let scene = watch.scene();
    let asked = &scene.questions()[question];
    let life = asked.life();
    let host = scene.host(life.host)?;
    let gauges = host.gauges()?;
    if info.instance != scene.instance_of(life) || info.lease.address != host.address() {
        return Some("that it is another");
    }
    if info.lease.floor > info.lease.epoch || info.lease.epoch.get() > gauges.epoch {
        return Some("an epoch that it does not have");
    }
    let drains = |since: Instant| {
        let drained = watch.excuse(since, watch.now(), |excuse| {
            excuse.kind == FaultKind::Drain && excuse.scope == Scope::Instance(life.host)
        });
        drained.is_some_and(|excuse| excuse.from < since || since == Instant::START)
    };
    match info.lease.state {
        LeaseState::Up if drains(asked.put()) => return Some("that it stays"),
        LeaseState::Draining if !drains(Instant::START) => return Some("that it goes"),
        LeaseState::Released => return Some("that it has no lease"),
        LeaseState::Up | LeaseState::Draining | LeaseState::Settling => {}
    }
    // What was taken at the same moment may have come before or after.
    let taken = |so: fn(&Instant, &Instant) -> bool| {
        let times = scene.pushes().iter().flat_map(|push| push.times());
        let these = times.filter(|time| {
            let waits = matches!(
                time.progress,
                HandInProgress::Taken | HandInProgress::Answered
            );
            time.life == life && waits && so(&time.at, &asked.at())
        });
        these.count() as u64
    };
    if !(taken(Instant::lt)..=taken(Instant::le)).contains(&info.load.pushes) {
        return Some("pushes that it has not taken, or fewer");
    }
    let here = || {
        scene
            .sessions()
            .iter()
            .enumerate()
            .filter(|(_, this)| this.life() == Some(life))
    };
    let held = here().filter(|(_, this)| this.connection().is_some());
    let open = here().filter(|(number, this)| {
        let came_before = this.accepted().is_some_and(|at| at < asked.at());
        // Its end may have been decided in this very turn.
        let ends = closing(watch, *number).is_some() || is_being_kicked(watch, *number);
        came_before && this.is_open() && !ends
    });
    let there = open.count() as u64..=held.count() as u64;
    (!there.contains(&info.load.connections)).then_some("other connections than it has")
}

/// Whether an instance may have said to others since a moment that it goes.
fn says_goodbye(watch: &Watch<'_>, since: Instant, seen: &SeenLease) -> bool {
    let scene = watch.scene();
    let host = scene
        .hosts()
        .find(|host| scene.instance_of(host.life()) == seen.instance);
    let Some(host) = host.filter(|host| host.runs()) else {
        return true;
    };
    let drains = watch.excuse(since, watch.now(), |excuse| {
        excuse.kind == FaultKind::Drain && excuse.scope == Scope::Instance(host.number())
    });
    drains.is_some()
}
