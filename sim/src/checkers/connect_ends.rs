//! `connect-ends`: each connect ends in a hello or a definite refusal.

use std::time::Duration;

use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{Observed, Topic};

/// Nobody who connects is left waiting: within the grace of the hello there is one, or an end. One that says
/// behind the handshake who it is has time for that first. The hello says `degraded` only if something was wrong.
#[derive(Clone, Copy, Debug)]
pub struct ConnectEnds;

/// The ways of the handshake and of the hello, and the instance's turns.
pub(super) const WAYS: Duration = Duration::from_millis(1000);

impl Checker for ConnectEnds {
    fn name(&self) -> &'static str {
        "connect-ends"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Sessions]
    }

    /// Twice what the swarm shows: they are hellos that say `degraded`.
    fn excused_at_most(&self) -> f64 {
        0.1
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Connecting { session } => {
                let within = watch.scene().config().hello_grace + WAYS;
                watch.call_at(watch.now() + within, *session as u64);
            }
            Observed::Greeted {
                session,
                degraded: true,
            } => match not_in_time(watch, *session) {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "the hello of session {session} is degraded, and nothing was wrong"
                )),
            },
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let session = what as usize;
        let this = &watch.scene().sessions()[session];
        if this.greeted().is_some() || this.ended().is_some() {
            return watch.held();
        }
        // Where nobody answers there is no Switchboard to judge: its client gives up in the end.
        if this.is_silent() || this.is_unanswered() {
            return;
        }
        let config = watch.scene().config();
        let mut within = config.hello_grace + WAYS;
        if !this.is_known_by_handshake() {
            within += config.authentication_timeout + WAYS;
            let due = this.began() + within;
            if due > watch.now() {
                return watch.call_at(due, what);
            }
        }
        let holder = this.life();
        let wakes = holder.and_then(|life| watch.scene().host(life.host));
        let wakes = wakes.map(|host| host.paused_until());
        if let Some(wakes) = wakes.filter(|wakes| *wakes + within > watch.now()) {
            return watch.call_at(wakes + within, what);
        }
        let unread = |excuse: &Excuse| {
            excuse.kind.part() == Part::Terminal && excuse.scope == Scope::Session(session)
        };
        let began = this.began();
        match watch.excuse(began, watch.now(), unread) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "session {session} of {} has neither a hello nor a refusal",
                this.user()
            )),
        }
    }
}

/// Why a row may not have been written in time: the directory was disturbed, the instance stood still or
/// has only just started. A terminal that does not read gets its hello long after that.
pub(super) fn not_in_time(watch: &Watch<'_>, session: usize) -> Option<Excuse> {
    let scene = watch.scene();
    let holder = scene.sessions()[session].life();
    let holder = holder.map(|life| Scope::Instance(life.host));
    let from = watch.now().before(scene.config().lease * 2);
    watch.excuse(from, watch.now(), |excuse| {
        let here = excuse.scope == Scope::All || Some(excuse.scope) == holder;
        match excuse.kind.part() {
            Part::Directory | Part::Process => here,
            Part::Life => here && excuse.kind == FaultKind::Start,
            Part::Terminal => excuse.scope == Scope::Session(session),
            Part::Links | Part::NoExcuse => false,
        }
    })
}
