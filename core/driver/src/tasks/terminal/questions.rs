//! What terminals ask, and what they publish.

use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;
use switchboard_core::config::Config;
use switchboard_core::directory::log::Retention;
use switchboard_core::event::Answer;
use switchboard_core::frame::Payload;
use switchboard_core::id::TopicId;
use switchboard_core::logs::{LogAnswer, LogRequest};
use switchboard_core::message::{
    Action, Audience, Counts, Durable, InLog, ListOrder, Push, PushRefused, PushedBy, Receipt,
};
use switchboard_protocol::centrifuge::{Answered, Question, TopicMembers};

use super::logins::Sleep;
use crate::inbox::{Caller, Inbox, Input};
use crate::permits::Turns;
use crate::runtime::race;

/// Questions of terminals that an instance has not answered, at most; the others wait for their turn. It is half of what
/// an instance asks of logs at the same time: the other half is for the application, however much terminals ask.
pub(super) const UNDER_WAY: usize = 8;

/// An instance refuses a push at once. Whoever has heard nothing for so long takes it for accepted.
const REFUSED_WITHIN: Duration = Duration::from_millis(100);

/// What terminals of an instance ask, each in its turn.
pub(crate) struct Questions(Turns);

impl Questions {
    pub(crate) fn new() -> Self {
        Self(Turns::of(UNDER_WAY))
    }

    /// What the instance answers.
    pub(super) async fn ask(&self, inbox: &Inbox, question: Question) -> Answered {
        let turn = self.0.next().await;
        let (answer, answered) = oneshot::channel();
        let answer = Caller::in_turn(answer, turn);
        let input = match question {
            Question::Connections(user) => Input::Connections(user, answer),
            Question::Log(channel, query) => Input::Log(channel, LogRequest::Read(query), answer),
            Question::Stand(topic, behind) => {
                Input::Log(topic.into(), LogRequest::Stand { behind }, answer)
            }
            Question::Members(topic) => Input::Push(Box::new(listing(topic)), answer),
        };
        if inbox.send(input).await.is_err() {
            return Answered::Unknown;
        }
        match answered.await {
            // Some may be missing: it is to ask later.
            Ok(Answer::Connections(Ok(found))) if found.degraded => Answered::Unknown,
            Ok(Answer::Push(Ok(receipt))) if receipt.degraded => Answered::Unknown,
            Ok(Answer::Connections(Ok(found))) => {
                let connections = found.connections.iter();
                Answered::Connections(connections.map(|info| info.connection).collect())
            }
            Ok(Answer::Log(Ok(LogAnswer::Page(page)))) => Answered::Log(page),
            Ok(Answer::Push(Ok(receipt))) => Answered::Members(members(&receipt)),
            Ok(
                Answer::Connections(Err(_))
                | Answer::Log(Ok(LogAnswer::Deleted { .. } | LogAnswer::Head(_)) | Err(_))
                | Answer::Push(Err(_))
                | Answer::Instances(_)
                | Answer::Relayed(_),
            )
            | Err(_) => Answered::Unknown,
        }
    }
}

/// A push that lists the members of a topic.
fn listing(topic: TopicId) -> Push {
    Push {
        action: Action::List {
            order: ListOrder::Connections { after: None },
            limit: Action::LIST_MAX,
        },
        // Nobody waits for longer, and it has its turn for so long.
        deadline: Config::PRESENCE_DEADLINE,
        ..to_members(topic, Payload::binary(Bytes::new()))
    }
}

fn members(receipt: &Receipt) -> TopicMembers {
    let listed = receipt.listed.iter();
    let listed = listed.filter_map(|member| Some((member.connection?, member.user.clone())));
    TopicMembers {
        listed: listed.collect(),
        clients: receipt.counts.written,
    }
}

fn to_members(topic: TopicId, payload: Payload) -> Push {
    let to = Audience::Topics {
        topics: vec![topic],
        except: None,
    };
    Push::new(crate::new_push_id(), to, payload)
}

/// A push of what a terminal publishes.
pub(super) fn publication(topic: TopicId, payload: Payload) -> Push {
    Push {
        deadline: Config::PUBLICATION_DEADLINE,
        by: PushedBy::Terminal,
        ..to_members(topic, payload)
    }
}

/// A push of what a terminal publishes as a record.
pub(super) fn record(topic: TopicId, payload: Payload, retention: Option<Retention>) -> Push {
    Push {
        durable: Some(Durable {
            retention,
            ..Durable::default()
        }),
        ..publication(topic, payload)
    }
}

/// Has the instance push what a terminal publishes. A plain push is answered by a refusal, or, after 100 ms without one,
/// as taken: members that take it slowly hold up nobody who publishes. One that is to be a record is answered when
/// it is known whether it is one.
pub(super) async fn publish(inbox: &Inbox, sleep: Sleep, publication: Push) -> Answered {
    let is_durable = publication.durable.is_some();
    let (answer, answered) = oneshot::channel();
    let input = Input::Push(Box::new(publication), answer.into());
    if inbox.send(input).await.is_err() {
        return Answered::Unknown;
    }
    let judged = async {
        match answered.await {
            Ok(Answer::Push(Err(PushRefused::TooLarge { .. }))) => Answered::TooLarge,
            Ok(Answer::Push(Err(PushRefused::DirectoryAway))) => Answered::Unknown,
            Ok(Answer::Push(Err(_))) => Answered::Overloaded,
            Ok(Answer::Push(Ok(receipt))) if is_durable => match is_logged(&receipt) {
                true => Answered::Published,
                false => Answered::Unknown,
            },
            Ok(Answer::Push(Ok(receipt))) if is_crowded_out(&receipt.counts) => {
                Answered::Overloaded
            }
            Ok(_) => Answered::Published,
            Err(_) => Answered::Unknown,
        }
    };
    let taken = async {
        sleep(REFUSED_WITHIN).await;
        Answered::Published
    };
    match is_durable {
        true => judged.await,
        false => race(judged, taken).await,
    }
}

fn is_logged(receipt: &Receipt) -> bool {
    let mut logs = receipt.logged.iter();
    logs.any(|log| matches!(log.logged, InLog::At(_) | InLog::Expired))
}

/// Whether nobody has got it, for want of room.
fn is_crowded_out(counts: &Counts) -> bool {
    counts.overflow > 0 && counts.written == 0 && counts.queued == 0
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use switchboard_core::id::UserId;
    use switchboard_core::message::Connections;

    use super::*;
    use crate::tasks::terminal::patience::Patience;

    /// Whoever hears a short list takes it for all.
    #[test]
    fn a_list_that_may_not_be_all_is_none() {
        let questions = Questions::new();
        let (inbox, inputs) = Inbox::new();
        let mut cx = Context::from_waker(Waker::noop());
        for degraded in [false, true] {
            let user = UserId::new("ann").expect("a user");
            let asked = questions.ask(&inbox, Question::Connections(user));
            let mut asked = pin!(asked);
            assert!(asked.as_mut().poll(&mut cx).is_pending());
            let posted = inputs.try_take().expect("it is asked");
            let Input::Connections(_, answer) = posted.input else {
                panic!("it is asked something else");
            };
            let found = Connections {
                degraded,
                connections: Vec::new(),
            };
            answer.tell(Answer::Connections(Ok(found)));
            let expected = match degraded {
                true => Answered::Unknown,
                false => Answered::Connections(Vec::new()),
            };
            assert_eq!(asked.as_mut().poll(&mut cx), Poll::Ready(expected));
        }
    }

    /// Where others wait for a directory that hangs, nobody behind them waits without end.
    #[test]
    fn who_has_no_turn_in_time_is_told_that_nobody_can_say() {
        let questions = Questions::new();
        let (inbox, inputs) = Inbox::new();
        let mut cx = Context::from_waker(Waker::noop());
        let ask = || {
            let user = UserId::new("ann").expect("a user");
            Box::pin(questions.ask(&inbox, Question::Connections(user)))
        };
        let mut others: Vec<_> = (0..UNDER_WAY).map(|_| ask()).collect();
        for question in &mut others {
            assert!(pin!(question).poll(&mut cx).is_pending());
        }
        let passes: Sleep = |_| Box::pin(std::future::ready(()));
        let asked = Patience::Whole.with(passes, ask(), Answered::Unknown);
        assert_eq!(pin!(asked).poll(&mut cx), Poll::Ready(Answered::Unknown));
        // And keeps nobody else from asking.
        assert!(inputs.try_take().is_some());
        assert!(pin!(&mut ask()).poll(&mut cx).is_pending());
        assert_eq!(inputs.len(), UNDER_WAY);
    }

    /// H24: what terminals ask leaves room for what the application asks.
    #[test]
    fn a_few_questions_are_under_way_and_the_others_wait_for_their_turn() {
        let questions = Questions::new();
        let (inbox, inputs) = Inbox::new();
        let mut cx = Context::from_waker(Waker::noop());
        let ask = || {
            let user = UserId::new("ann").expect("a user");
            Box::pin(questions.ask(&inbox, Question::Connections(user)))
        };
        let mut asked: Vec<_> = (0..=UNDER_WAY).map(|_| ask()).collect();
        for question in &mut asked {
            assert!(pin!(question).poll(&mut cx).is_pending());
        }
        assert_eq!(inputs.len(), UNDER_WAY);
        // Whoever asked has gone: the instance has the question all the same.
        drop(asked.drain(..UNDER_WAY));
        assert!(pin!(&mut asked[0]).poll(&mut cx).is_pending());
        assert_eq!(inputs.len(), UNDER_WAY);
        // It has done with one.
        assert!(inputs.try_take().is_some());
        assert!(pin!(&mut asked[0]).poll(&mut cx).is_pending());
        assert_eq!(inputs.len(), UNDER_WAY);
    }
}
