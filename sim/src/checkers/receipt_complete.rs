//! `receipt-complete`: a push gets one receipt, in time, and one that is not degraded names every
//! terminal.

use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::message::{Audience, InLog, Receipt};

use super::allowance::{channels, closing, evicted, evicted_topic};
use super::knowledge::Knowledge;
use crate::checker::{Checker, Watch};
use crate::ledger::Part;
use crate::observed::{HandIn, Observed, Topic};
use crate::publishing::{HandInProgress, HandedIn};

/// Exactly one receipt for each push, by its deadline; and a terminal that is missing from one that is
/// not degraded was not there. Nor was one that is missing from a degraded one that came before its deadline, when nothing
/// had happened for long.
#[derive(Clone, Debug, Default)]
pub struct ReceiptComplete {
    knowledge: Knowledge,
}

/// How much later than its deadline a receipt may be seen: the publisher's turn.
const SLACK: Duration = Duration::from_millis(5);

impl Checker for ReceiptComplete {
    fn name(&self) -> &'static str {
        "receipt-complete"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Pushes, Topic::Faults]
    }

    /// Twice what the swarm shows.
    fn excused_at_most(&self) -> f64 {
        0.01
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        self.knowledge.take_in(event, watch);
        match event {
            Observed::HandedIn(hand_in) => {
                let deadline = watch.scene().pushes()[hand_in.push].deadline();
                let due = watch.now() + deadline + SLACK;
                watch.call_at(due, hand_in.as_number());
            }
            Observed::Answered { hand_in, receipt } => {
                let HandIn { push, time } = *hand_in;
                match watch.scene().pushes()[push].times()[time].progress {
                    HandInProgress::OnItsWay | HandInProgress::Taken => {
                        self.names_all(watch, *hand_in, receipt)
                    }
                    HandInProgress::Answered | HandInProgress::Refused => {
                        watch.violated(format!("push {push} was answered twice"));
                    }
                }
            }
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let hand_in = HandIn::from_number(what);
        let handed_in = &watch.scene().pushes()[hand_in.push].times()[hand_in.time];
        match handed_in.progress {
            HandInProgress::Answered => return watch.held(),
            HandInProgress::Refused => return,
            HandInProgress::OnItsWay | HandInProgress::Taken => {}
        }
        let publisher = handed_in.life;
        if !watch.scene().lives(publisher) {
            return;
        }
        let wakes = (watch.scene().host(publisher.host)).map(|host| host.paused_until() + SLACK);
        if let Some(wakes) = wakes.filter(|wakes| *wakes > watch.now()) {
            return watch.call_at(wakes, what);
        }
        watch.violated(format!(
            "push {} at i{} has no receipt at its deadline",
            hand_in.push,
            publisher.host + 1
        ));
    }
}

impl ReceiptComplete {
    /// A receipt that is not degraded names every terminal that was there all the time.
    fn names_all(&self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let scene = watch.scene();
        let published = &scene.pushes()[hand_in.push];
        let handed_in = &published.times()[hand_in.time];
        let is_early = published.is_answered_when_logged() && !receipt.logged.is_empty();
        if receipt.truncated || is_early || *published.to() == Audience::Everyone {
            return;
        }
        // It may be degraded only because somebody lacks rows, who was asked, and has answered before the deadline.
        let is_complete = || watch.now() + SLACK < handed_in.at + published.deadline();
        if receipt.degraded && !(is_complete() && is_undisturbed(watch, handed_in)) {
            return;
        }
        let publisher = handed_in.life;
        for &session in &handed_in.reachable {
            let this = &scene.sessions()[session];
            let holder = this.life().map(|life| scene.instance_of(life));
            let named = (receipt.terminals.iter()).any(|t| Some(t.connection) == this.connection())
                || (receipt.instances.iter()).any(|one| Some(one.instance) == holder);
            if named {
                watch.held();
                continue;
            }
            let (true, Some(holder)) = (this.is_open(), this.life()) else {
                continue;
            };
            let left = |topic| this.standing(topic).has_left_since(handed_in.at);
            if published.topics().iter().any(left) {
                continue;
            }
            // What is in no log was told to nobody.
            let in_log = |channel: &Channel| {
                let mut logged = receipt.logged.iter();
                logged.any(|log| log.channel == *channel && is_at(log.logged))
            };
            if published.durable().is_some() && !channels(published, this).iter().all(in_log) {
                continue;
            }
            // What an instance that drains, a reader that is too slow, a kick or the end of a token is
            // about to end is no terminal any more, although its Close frame waits.
            let excuse = closing(watch, session)
                .or_else(|| evicted(watch, session, handed_in.at))
                .or_else(|| evicted_topic(watch, published, session, handed_in.at))
                .or_else(|| {
                    let publisher = self.knowledge.publisher(watch, hand_in);
                    self.knowledge.ignorance(watch, publisher, holder)
                });
            match excuse {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "the receipt of push {} at i{} does not name session \
                     {session} of {} at i{}",
                    hand_in.push,
                    publisher.host + 1,
                    this.user(),
                    holder.host + 1
                )),
            }
        }
    }
}

/// Whether nothing has happened for so long to the directory, nor to any instance, that each knows of the others who lacks
/// rows.
fn is_undisturbed(watch: &Watch<'_>, handed_in: &HandedIn) -> bool {
    let config = watch.scene().config();
    let from = (handed_in.at).before(config.lease * 2 + config.directory_timeout);
    let disturbed = watch.excuse(from, watch.now(), |excuse| match excuse.kind.part() {
        Part::Process | Part::Directory | Part::Life => true,
        Part::Links | Part::Terminal | Part::NoExcuse => false,
    });
    disturbed.is_none()
}

const fn is_at(in_log: InLog) -> bool {
    match in_log {
        InLog::At(_) => true,
        InLog::Expired | InLog::Unknown | InLog::Refused | InLog::Unlogged => false,
    }
}
