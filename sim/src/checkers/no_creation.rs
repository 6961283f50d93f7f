//! `no-creation`: a frame was published, with this content.

use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Topic};

/// No terminal gets a frame that nobody published, or one that was changed on the way.
#[derive(Clone, Copy, Debug)]
pub struct NoCreation;

impl Checker for NoCreation {
    fn name(&self) -> &'static str {
        "no-creation"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Frames]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Seen {
            session,
            payload,
            push,
            ..
        } = event
        else {
            return;
        };
        match push {
            None => watch.violated(format!("session {session} got {payload:?}")),
            Some(push) if watch.scene().pushes()[*push].payload() != Some(payload) => {
                watch.violated(format!("session {session} got push {push} as {payload:?}"));
            }
            Some(_) => watch.held(),
        }
    }
}
