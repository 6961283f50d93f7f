//! What terminals ask about their users.

use async_channel::{Receiver, Sender, bounded};
use futures_channel::oneshot;
use switchboard_core::event::Answer;
use switchboard_core::id::UserId;
use switchboard_core::logs::{LogAnswer, LogRequest};
use switchboard_protocol::centrifuge::{Answered, Question};

use crate::inbox::{Inbox, Input};

/// Questions of terminals that an instance has not answered, at most; the others wait for their turn. It is half of what
/// an instance asks of logs at the same time: the other half is for the application, however much terminals ask.
const UNDER_WAY: usize = 8;

/// The turns of those who ask, first come first served.
pub(crate) struct Questions {
    asked: Sender<()>,
    answered: Receiver<()>,
}

/// One of them, until it is dropped.
struct Turn<'a>(&'a Receiver<()>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_recv();
    }
}

impl Questions {
    pub(crate) fn new() -> Self {
        let (asked, answered) = bounded(UNDER_WAY);
        Self { asked, answered }
    }

    async fn turn(&self) -> Turn<'_> {
        // It fails only when there is no receiver.
        let _ = self.asked.send(()).await;
        Turn(&self.answered)
    }

    /// What the instance answers. `None` if it says nothing of it.
    pub(super) async fn ask(
        &self,
        inbox: &Inbox,
        user: UserId,
        question: Question,
    ) -> Option<Answered> {
        let _turn = self.turn().await;
        let (answer, answered) = oneshot::channel();
        let input = match question {
            Question::Connections => Input::Connections(user, answer),
            Question::Log(query) => Input::Log(user, LogRequest::Read(query), answer),
        };
        inbox.send(input).await.ok()?;
        match answered.await.ok()? {
            Answer::Connections(Ok(found)) => {
                let connections = found.connections.iter();
                let connections = connections.map(|info| info.connection).collect();
                Some(Answered::Connections(connections))
            }
            Answer::Log(Ok(LogAnswer::Page(page))) => Some(Answered::Log(page)),
            Answer::Connections(Err(_))
            | Answer::Log(Ok(LogAnswer::Deleted { .. }) | Err(_))
            | Answer::Push(_)
            | Answer::Instances(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// H24: what terminals ask leaves room for what the application asks.
    #[test]
    fn a_few_questions_are_under_way_and_the_others_wait_for_their_turn() {
        let questions = Questions::new();
        let (inbox, inputs) = Inbox::new();
        let mut cx = Context::from_waker(Waker::noop());
        let ask = || {
            let user = UserId::new("ann").expect("a user");
            Box::pin(questions.ask(&inbox, user, Question::Connections))
        };
        let mut asked: Vec<_> = (0..=UNDER_WAY).map(|_| ask()).collect();
        for question in &mut asked {
            assert!(pin!(question).poll(&mut cx).is_pending());
        }
        assert_eq!(inputs.len(), UNDER_WAY);
        // Whoever asked has gone.
        drop(asked.remove(0));
        assert!(pin!(&mut asked[UNDER_WAY - 1]).poll(&mut cx).is_pending());
        assert_eq!(inputs.len(), UNDER_WAY + 1);
    }
}
