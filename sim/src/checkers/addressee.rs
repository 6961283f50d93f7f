//! `addressee`: a frame is for the user whose terminal gets it.

use std::time::Duration;

use switchboard_core::message::Audience;

use crate::checker::{Checker, Watch};
use crate::ledger::{FaultKind, Scope};
use crate::observed::{Observed, Topic};

/// A terminal gets only what is for its user.
#[derive(Clone, Copy, Debug)]
pub struct Addressee;

impl Checker for Addressee {
    fn name(&self) -> &'static str {
        "addressee"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Frames]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        if let Observed::Written { session, .. } = event {
            check_token(watch, *session);
        }
        let Observed::Seen {
            session,
            push: Some(push),
            ..
        } = event
        else {
            return;
        };
        let user = watch.scene().sessions()[*session].user();
        if let Audience::Topics { .. } = watch.scene().pushes()[*push].to() {
            // It is for `topic-members` to say.
            return;
        }
        if watch.scene().pushes()[*push].is_for(user) {
            watch.held();
        } else {
            watch.violated(format!("session {session} of {user} got push {push}"));
        }
    }
}

/// How long after its token a terminal may still be written to, beside the time that a Close frame
/// may take: the resolution of timers, and turns.
const GRACE: Duration = Duration::from_millis(50);

/// What is written to a terminal is written while its token is valid.
fn check_token(watch: &mut Watch<'_>, session: usize) {
    let this = &watch.scene().sessions()[session];
    let (Some(expires), Some(life)) = (this.expires(), this.life()) else {
        return;
    };
    if watch.now() <= expires + watch.scene().config().close_timeout + GRACE {
        return watch.held();
    }
    let paused = watch.excuse(expires, watch.now(), |excuse| match excuse.kind {
        FaultKind::Pause | FaultKind::LongPause => excuse.scope == Scope::Instance(life.host),
        _ => false,
    });
    match paused {
        Some(excuse) => watch.excused(excuse),
        None => watch.violated(format!("session {session} is written to after its token")),
    }
}
