//! `receipt-true`: what a receipt says had happened.

use switchboard_core::config::Config;
use switchboard_core::message::{Action, Audience, Counts, Outcome, Receipt, TerminalOutcome};

use super::allowance::{may_be_closing, on_the_way};
use crate::checker::{Checker, Watch};
use crate::ledger::{FaultKind, Part, Scope};
use crate::observed::{HandIn, Observed, Topic};

/// A receipt names only terminals of its audience, each once, and what it says of each is true. What
/// is no success has a reason: nobody is unreachable, no frame queued and no receipt degraded without
/// a fault.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptTrue;

impl Checker for ReceiptTrue {
    fn name(&self) -> &'static str {
        "receipt-true"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Pushes]
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        let Observed::Answered { hand_in, receipt } = event else {
            return;
        };
        if let Some(what) = miscounts(watch, *hand_in, receipt) {
            watch.violated(format!("the receipt of push {} {what}", hand_in.push));
        }
        if receipt.degraded && !may_doubt(watch, *hand_in) {
            let push = hand_in.push;
            watch.violated(format!(
                "the receipt of push {push} is degraded, and nothing was wrong"
            ));
        }
        for terminal in &receipt.terminals {
            check(watch, *hand_in, terminal);
        }
    }
}

/// What is wrong with the numbers of a receipt.
fn miscounts(watch: &Watch<'_>, hand_in: HandIn, receipt: &Receipt) -> Option<&'static str> {
    let everyone = *watch.world().pushes()[hand_in.push].to() == Audience::Everyone;
    if everyone || receipt.truncated {
        return None;
    }
    let mut named: Vec<_> = (receipt.terminals.iter())
        .map(|terminal| terminal.connection)
        .collect();
    named.sort_unstable();
    named.dedup();
    if named.len() != receipt.terminals.len() {
        return Some("names a terminal twice");
    }
    let count = |outcome| {
        let same = receipt
            .terminals
            .iter()
            .filter(|terminal| terminal.outcome == outcome);
        same.count() as u64
    };
    let counts = Counts {
        written: count(Outcome::Written),
        queued: count(Outcome::Queued),
        gone: count(Outcome::Gone),
        overflow: count(Outcome::Overflow),
        unreachable: count(Outcome::Unreachable),
    };
    (counts != receipt.counts).then_some("counts others than it names")
}

/// Whether something could be in doubt while a push was routed.
fn may_doubt(watch: &Watch<'_>, hand_in: HandIn) -> bool {
    let world = watch.world();
    let published = &world.pushes()[hand_in.push];
    let everyone = *published.to() == Audience::Everyone;
    let handed_in = &published.times()[hand_in.time];
    // Doubt lasts for a lease after its cause, and causes are noticed within a lease.
    let from = handed_in.at.before(world.config().lease * 3);
    let reason = watch.excuse(from, watch.now(), |excuse| match excuse.kind.part() {
        Part::Directory | Part::Process | Part::Life => true,
        // Nobody answers for the terminals of an instance that cannot be reached.
        Part::Links => everyone,
        Part::Terminal | Part::NoExcuse => false,
    });
    reason.is_some()
}

fn check(watch: &mut Watch<'_>, hand_in: HandIn, terminal: &TerminalOutcome) {
    let world = watch.world();
    let push = hand_in.push;
    let id = terminal.connection;
    let Some(session) = world.session_of(id) else {
        return watch.violated(format!(
            "the receipt of push {push} names {id:?}, which never was"
        ));
    };
    let (this, published) = (&world.sessions()[session], &world.pushes()[push]);
    let is_true = match terminal.outcome {
        Outcome::Written => match published.action() {
            Action::Frame(_) => this.has_written(published.id()),
            Action::Close(_) => !this.is_open(),
        },
        Outcome::Gone => {
            !this.is_open() || may_be_closing(watch, session) || is_being_kicked(watch, session)
        }
        Outcome::Queued => may_wait(watch, hand_in, session),
        Outcome::Unreachable => may_be_out_of_reach(watch, hand_in, session),
        // Whether the queue can have been full is for `limits` to say.
        Outcome::Overflow => true,
    };
    if is_true && *this.user() == terminal.user && published.is_for(this.user()) {
        watch.held();
    } else {
        watch.violated(format!(
            "the receipt of push {push} says {terminal:?} of session {session} of {}",
            this.user()
        ));
    }
}

/// Whether a frame for a terminal may wait until the deadline: it reads slowly or not at all, is being
/// closed, one of the two instances stands still or goes away, or the links between them were disturbed.
fn may_wait(watch: &Watch<'_>, hand_in: HandIn, session: usize) -> bool {
    let world = watch.world();
    let handed_in = &world.pushes()[hand_in.push].times()[hand_in.time];
    let holder = world.sessions()[session].life();
    let reason = watch.excuse(
        handed_in.at.before(world.config().close_timeout),
        watch.now(),
        |excuse| match excuse.scope {
            Scope::Session(other) => other == session,
            Scope::Instance(host) => {
                let holds = holder.is_some_and(|life| life.host == host);
                let stands_still = excuse.kind.part() == Part::Process;
                (holds && excuse.kind == FaultKind::Drain)
                    || (stands_still && (holds || host == handed_in.life.host))
            }
            Scope::All | Scope::Between(..) => false,
        },
    );
    reason.is_some()
        || !world.sessions()[session].is_open()
        || on_the_way(watch, handed_in, session).is_some()
}

/// Whether an instance may not have answered for a terminal: it or the publisher has only just started,
/// goes away, is gone, stands still, or something is wrong with the links between them or with the directory, which
/// says where that instance is.
fn may_be_out_of_reach(watch: &Watch<'_>, hand_in: HandIn, session: usize) -> bool {
    let world = watch.world();
    let handed_in = &world.pushes()[hand_in.push].times()[hand_in.time];
    let this = &world.sessions()[session];
    let Some(holder) = this
        .life()
        .filter(|life| world.lives(*life) && this.is_open())
    else {
        return true;
    };
    let from = handed_in.at.before(world.config().lease * 2);
    let reason = watch.excuse(from, watch.now(), |excuse| match excuse.scope {
        Scope::Instance(host) if host == holder.host || host == handed_in.life.host => {
            let comes_or_goes = matches!(excuse.kind, FaultKind::Start | FaultKind::Drain);
            comes_or_goes || excuse.kind.part() == Part::Directory
        }
        Scope::All => excuse.kind.part() == Part::Directory,
        Scope::Instance(_) | Scope::Between(..) | Scope::Session(_) => false,
    });
    reason.is_some() || on_the_way(watch, handed_in, session).is_some()
}

/// Whether a kick of this user is under way: it reaches those too who connect while it looks them up
/// once more.
fn is_being_kicked(watch: &Watch<'_>, session: usize) -> bool {
    let world = watch.world();
    let user = world.sessions()[session].user();
    let lasts = Config::DEADLINE_DEFAULT + world.config().close_timeout;
    (world.pushes().iter()).any(|push| {
        let kicks = match push.action() {
            Action::Close(_) => push.is_for(user),
            Action::Frame(_) => false,
        };
        kicks && (push.times().iter()).any(|time| time.at + lasts > watch.now())
    })
}
