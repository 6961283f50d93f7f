//! The way of a push through an instance: whom it must reach is a matter of terminals and of the
//! directory, and so is what its receipt explains.

use switchboard_core::event::Answer;
use switchboard_core::id::CallId;
use switchboard_core::message::Push;

use super::World;
use crate::observed::{HandIn, Life};
use crate::schedule::Moment;

impl World {
    /// An instance takes a push.
    pub(super) fn take_push(&mut self, life: Life, hand_in: HandIn) -> (CallId, Push) {
        let HandIn { push, time } = hand_in;
        let Self {
            cx,
            directory,
            terminals,
            publishing,
            ..
        } = self;
        let published = &publishing.pushes()[push];
        let reachable = terminals.reachable(cx, directory, published, time);
        let taken = publishing.taken(cx, life, hand_in, reachable);
        terminals.excuse_kicked(cx, &publishing.pushes()[push]);
        publishing.moment(cx, Moment::Push, push);
        self.tell_checkers();
        taken
    }

    /// An instance answers a call.
    pub(super) fn answered(&mut self, call: CallId, answer: &Answer) {
        let Some((hand_in, progress)) = self.publishing.answered(&mut self.cx, call, answer) else {
            return;
        };
        // Whoever is told of the answer sees the push wait.
        self.tell_checkers();
        let Self {
            cx,
            terminals,
            publishing,
            ..
        } = self;
        if let Answer::Push(Ok(receipt)) = answer {
            let due = &publishing.hand_in(hand_in).reachable;
            terminals.excuse_overflowed(cx, receipt, due);
        }
        publishing.settle(cx, hand_in, progress);
    }
}
