//! `addressee`: a frame is for the user whose terminal gets it.

use crate::checker::{Checker, Watch};
use crate::observed::Observed;

/// A terminal gets only what is for its user.
#[derive(Clone, Copy, Debug)]
pub struct Addressee;

impl Checker for Addressee {
    fn name(&self) -> &'static str {
        "addressee"
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        let Observed::Seen {
            session,
            push: Some(push),
            ..
        } = event
        else {
            return;
        };
        let user = watch.world().sessions()[*session].user();
        if watch.world().pushes()[*push].is_for(user) {
            watch.held();
        } else {
            watch.violated(format!("session {session} of {user} got push {push}"));
        }
    }
}
