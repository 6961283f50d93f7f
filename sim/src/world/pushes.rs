//! The way of a push through an instance: whom it must reach is a matter of terminals and of the
//! directory, and so is what its receipt explains.

use switchboard_core::event::{Answer, Event};
use switchboard_core::id::{CallId, UserId};
use switchboard_core::message::{Action, Audience, Push};

use super::World;
use crate::observed::{HandIn, Life};
use crate::publishing::Asked;
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
        let mut reachable = terminals.reachable(cx, directory, published, time);
        // A member that is told to leave may have left already.
        if let Audience::Topics { topics, .. } = published.to() {
            reachable.retain(|session| {
                let user = terminals.sessions()[*session].user();
                !(topics.iter()).any(|topic| {
                    publishing.is_under_way(cx.now, user, &Action::Leave(topic.clone()))
                })
            });
        }
        let taken = publishing.taken(cx, life, hand_in, reachable);
        terminals.excuse_kicked(cx, &publishing.pushes()[push]);
        publishing.moment(cx, Moment::Push, push);
        self.tell_checkers();
        taken
    }

    /// An instance takes a question beside pushes.
    pub(super) fn take_question(&mut self, number: usize) -> Event {
        let Self {
            cx,
            directory,
            terminals,
            publishing,
            ..
        } = self;
        let reachable = match publishing.questions()[number].what() {
            Asked::Connections(user) => {
                let is_for = |other: &UserId| other == user;
                terminals.reachable_since(cx, directory, cx.now, true, is_for)
            }
            Asked::Log(_) | Asked::Deletion(_) | Asked::Instances => Vec::new(),
        };
        let event = publishing.asked(cx, number, reachable);
        self.tell_checkers();
        event
    }

    /// An instance answers a call.
    pub(super) fn answered(&mut self, call: CallId, answer: &Answer) {
        if self.publishing.told(&mut self.cx, call, answer) {
            return;
        }
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
        publishing.settle(cx, hand_in, progress, answer);
    }
}
