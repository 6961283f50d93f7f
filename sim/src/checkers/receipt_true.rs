//! `receipt-true`: what a receipt says of a terminal had happened.

use switchboard_core::config::Config;
use switchboard_core::message::{Action, Outcome, TerminalOutcome};

use super::allowance::may_be_closing;
use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Topic};

/// A receipt names only terminals of its audience, and what it says of each is true.
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
        for terminal in &receipt.terminals {
            check(watch, hand_in.push, terminal);
        }
    }
}

fn check(watch: &mut Watch<'_>, push: usize, terminal: &TerminalOutcome) {
    let world = watch.world();
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
        Outcome::Queued | Outcome::Overflow | Outcome::Unreachable => true,
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
