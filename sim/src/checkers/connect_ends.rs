//! `connect-ends`: each connect ends in a hello or a definite refusal.

use std::time::Duration;

use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, Part, Scope};
use crate::observed::Observed;

/// Nobody who connects is left waiting: within the grace of the hello there is one, or an end.
#[derive(Clone, Copy, Debug)]
pub struct ConnectEnds;

/// The ways of the handshake and of the hello, and the instance's turns.
const WAYS: Duration = Duration::from_millis(1000);

impl Checker for ConnectEnds {
    fn name(&self) -> &'static str {
        "connect-ends"
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        if let Observed::Connecting { session } = event {
            let within = watch.world().config().hello_grace + WAYS;
            watch.call_at(watch.now() + within, *session as u64);
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let session = what as usize;
        let this = &watch.world().sessions()[session];
        if this.greeted().is_some() || this.ended().is_some() {
            return watch.held();
        }
        // Where nobody answers there is no Switchboard to judge: its client gives up in the end.
        if this.is_silent() || this.is_unanswered() {
            return;
        }
        let holder = this.life();
        let wakes = holder.and_then(|life| watch.world().host(life.host));
        let wakes = wakes.map(|host| host.paused_until());
        let within = watch.world().config().hello_grace + WAYS;
        if let Some(wakes) = wakes.filter(|wakes| *wakes + within > watch.now()) {
            return watch.call_at(wakes + within, what);
        }
        let unread = |excuse: &Excuse| {
            excuse.kind.part() == Part::Terminal && excuse.scope == Scope::Session(session)
        };
        let began = watch.now().before(WAYS * 4);
        match watch.excuse(began, watch.now(), unread) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "session {session} of {} has neither a hello nor a refusal",
                this.user()
            )),
        }
    }
}
