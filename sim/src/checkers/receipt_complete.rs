//! `receipt-complete`: a push gets one receipt, in time, and one that is not degraded names every
//! terminal.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::message::{Audience, Receipt};

use super::allowance::recovery;
use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind, Scope};
use crate::observed::{HandIn, Observed};
use crate::record::Progress;

/// Exactly one receipt for each push, by its deadline; and who is missing from one that is not
/// degraded was not there.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptComplete;

/// How much later than its deadline a receipt may be seen: the publisher's turn.
const SLACK: Duration = Duration::from_millis(5);

impl Checker for ReceiptComplete {
    fn name(&self) -> &'static str {
        "receipt-complete"
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        match event {
            Observed::HandedIn(hand_in) => {
                let due = watch.now() + Config::DEADLINE_DEFAULT + SLACK;
                watch.call_at(due, hand_in.as_number());
            }
            Observed::Answered { hand_in, receipt } => {
                let HandIn { push, time } = *hand_in;
                match watch.world().pushes()[push].times()[time].progress {
                    Progress::OnItsWay | Progress::Taken => names_all(watch, *hand_in, receipt),
                    Progress::Answered | Progress::Refused => {
                        watch.violated(format!("push {push} was answered twice"));
                    }
                }
            }
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let hand_in = HandIn::from_number(what);
        let handed_in = &watch.world().pushes()[hand_in.push].times()[hand_in.time];
        match handed_in.progress {
            Progress::Answered => return watch.held(),
            Progress::Refused => return,
            Progress::OnItsWay | Progress::Taken => {}
        }
        let publisher = handed_in.life;
        if !watch.world().lives(publisher) {
            return;
        }
        let wakes = (watch.world().host(publisher.host)).map(|host| host.paused_until() + SLACK);
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

/// A receipt that is not degraded names every terminal that was there all the time.
fn names_all(watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
    let world = watch.world();
    let published = &world.pushes()[hand_in.push];
    if receipt.degraded || receipt.truncated || *published.to() == Audience::Everyone {
        return;
    }
    let handed_in = &published.times()[hand_in.time];
    let publisher = handed_in.life.host;
    for &session in &handed_in.reachable {
        let this = &world.sessions()[session];
        let named = (receipt.terminals.iter()).any(|t| Some(t.connection) == this.connection());
        if named {
            watch.held();
            continue;
        }
        if !this.is_open() {
            continue;
        }
        let from = handed_in.at.before(world.config().lease * 2);
        let holder = this.life().map_or(publisher, |life| life.host);
        // What an instance that drains, a reader that is too slow, a kick or the end of a token is
        // about to end is no terminal any more, although its Close frame waits.
        let excuse = watch.excuse(from, watch.now(), |excuse| match excuse.kind {
            FaultKind::LongPause | FaultKind::RedisLongSplit => [publisher, holder]
                .map(Scope::Instance)
                .contains(&excuse.scope),
            FaultKind::Drain => excuse.scope == Scope::Instance(holder),
            FaultKind::SlowReader
            | FaultKind::Kicked
            | FaultKind::TokenExpired
            | FaultKind::RedisEvicted => excuse.scope == Scope::Session(session),
            // It reads what the others do not write.
            FaultKind::RedisSplit => {
                excuse.scope == Scope::Instance(publisher) && excuse.until >= handed_in.at
            }
            _ => false,
        });
        match excuse.or_else(|| blindness(watch, publisher, hand_in)) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "the receipt of push {} at i{} is not degraded and does not name session \
                 {session} of {}",
                hand_in.push,
                publisher + 1,
                this.user()
            )),
        }
    }
}

/// Whether an instance started when the directory had just failed: whose lease is missing or has
/// run out is nobody whom it knows and could doubt.
fn blindness(watch: &Watch<'_>, host: usize, hand_in: HandIn) -> Option<Excuse> {
    let world = watch.world();
    let at = world.pushes()[hand_in.push].times()[hand_in.time].at;
    let from = at.before(world.config().lease * 2);
    let lost = |excuse: &Excuse| excuse.kind.is_of_directory() && excuse.scope == Scope::All;
    watch.excuse(from.before(recovery(world.config())), watch.now(), lost)?;
    watch.excuse(from, watch.now(), |excuse| {
        excuse.kind == FaultKind::Start && excuse.scope == Scope::Instance(host)
    })
}
