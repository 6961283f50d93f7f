//! The topics to which a terminal is subscribed: by itself, or by the server.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use switchboard_core::frame::{CloseCode, HelloLog, NotJoined, Payload};
use switchboard_core::id::TopicId;
use switchboard_core::logs::LogPage;
use switchboard_core::time::WallTime;
use switchboard_core::topic::{TopicJoin, TopicWish};

use super::super::code::{ErrorCode, SERVER_UNSUBSCRIBE, SUBSCRIPTION_EXPIRED};
use super::super::message::{
    Command, Push, Reply, Subscribe, SubscribeRequest, SubscribeResult, Unsubscribe,
};
use super::members::WatchedTopics;
use super::recovery::FollowedLog;
use super::{Errand, Session, SubscriptionEnd, Told};
use crate::namespaces::TopicAct;

/// Topics by their names.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    topics: BTreeMap<TopicId, Subscription>,
    /// When those end that it has by tokens of their own.
    ends: BTreeMap<TopicId, SubscriptionEnd>,
    /// Those that have ended so, and that it is still a member of.
    expired: Vec<TopicId>,
    /// What it knows of the logs of those with a history.
    pub(super) logs: BTreeMap<TopicId, FollowedLog>,
    /// What was found in them before its login.
    pub(super) found: BTreeMap<TopicId, LogPage>,
    /// Of which it is told who comes and leaves.
    pub(super) watched: WatchedTopics,
}

/// Commands about topics that wait for the answer to the one before about the same topic. Clients do not wait for it:
/// one that leaves a topic and joins it again says both at once.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<(TopicId, Command)>);

/// Commands that wait, at most, before no more is read of the terminal.
const WAITING_MAX: usize = 128;

impl Waiting {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= WAITING_MAX
    }

    /// Moves those about a topic that is answered to the front of those that are to be served.
    fn release(&mut self, topic: &TopicId, commands: &mut VecDeque<Command>) {
        let all = std::mem::take(&mut self.0).into_iter();
        let (released, waiting): (VecDeque<_>, _) = all.partition(|(about, _)| about == topic);
        self.0 = waiting;
        for (_, command) in released.into_iter().rev() {
            commands.push_front(command);
        }
    }
}

/// What a terminal has to do with a topic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subscription {
    /// The server has subscribed it, or is about to: it was told so.
    ByServer,
    /// It has asked for it in this command, and wants to go on where it was.
    Asked { id: u32, recovers: bool },
    /// It has subscribed itself.
    ByItself,
    /// It has asked in this command to be subscribed no longer.
    Leaving(u32),
    /// Its token for the topic has expired, and it is about to be subscribed no longer.
    Expired,
    /// It has missed something, was told that it is subscribed no longer, and is about to be.
    Lost,
}

impl Subscriptions {
    /// The topics to which the server subscribes a terminal when it greets it.
    pub(super) fn begin_by_server(&mut self, topics: &[TopicId]) {
        let topics = topics.iter();
        let topics = topics.map(|topic| (topic.clone(), Subscription::ByServer));
        self.topics = topics.collect();
    }

    /// Whether it is subscribed to a topic.
    pub(super) fn has(&self, topic: &TopicId) -> bool {
        match self.topics.get(topic) {
            Some(Subscription::ByServer | Subscription::ByItself) => true,
            Some(
                Subscription::Asked { .. }
                | Subscription::Leaving(_)
                | Subscription::Expired
                | Subscription::Lost,
            )
            | None => false,
        }
    }

    /// Whether the server has subscribed it to a topic.
    pub(super) fn is_by_server(&self, topic: &TopicId) -> bool {
        matches!(self.get(topic), Some(Subscription::ByServer))
    }

    pub(super) fn get(&self, topic: &TopicId) -> Option<Subscription> {
        self.topics.get(topic).copied()
    }

    pub(super) fn set(&mut self, topic: &TopicId, subscription: Subscription) {
        self.topics.insert(topic.clone(), subscription);
    }

    /// It asks for a topic in this command.
    pub(super) fn asks(&mut self, topic: TopicId, id: u32, request: &SubscribeRequest) {
        let recovers = request.recover;
        (self.topics).insert(topic, Subscription::Asked { id, recovers });
    }

    /// Its subscription to a topic ends then, or not by itself. An earlier end counts no longer.
    pub(super) fn ends(&mut self, topic: &TopicId, end: Option<SubscriptionEnd>) {
        self.expired.retain(|expired| expired != topic);
        match end {
            Some(end) => self.ends.insert(topic.clone(), end),
            None => self.ends.remove(topic),
        };
    }

    /// Finds those whose tokens have expired for so long. One that it has asked for and does not have yet ends later.
    pub(super) fn expire(&mut self, now: WallTime, grace: Duration) {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let is_over =
            |end: &SubscriptionEnd| end.at.as_millis().saturating_add(grace) <= now.as_millis();
        let topics = &self.topics;
        let is_had = |topic: &TopicId| match topics.get(topic) {
            Some(Subscription::Asked { .. }) => false,
            Some(
                Subscription::ByServer
                | Subscription::ByItself
                | Subscription::Leaving(_)
                | Subscription::Expired
                | Subscription::Lost,
            )
            | None => true,
        };
        let is_over = |topic: &TopicId, end: &mut SubscriptionEnd| is_over(end) && is_had(topic);
        let over = self.ends.extract_if(.., is_over);
        self.expired.extend(over.map(|(topic, _)| topic));
    }

    /// Whether there are some.
    pub(super) fn have_expired(&self) -> bool {
        !self.expired.is_empty()
    }

    /// One that has ended, if it is still subscribed to it.
    pub(super) fn next_expired(&mut self) -> Option<TopicId> {
        while let Some(topic) = self.expired.pop() {
            if let Some(of @ Subscription::ByItself) = self.topics.get_mut(&topic) {
                *of = Subscription::Expired;
                return Some(topic);
            }
        }
        None
    }

    fn remove(&mut self, topic: &TopicId) {
        self.topics.remove(topic);
        self.ends.remove(topic);
        self.logs.remove(topic);
        self.watched.remove(topic);
    }

    /// Whether a command about a topic is not answered.
    fn is_pending(&self, topic: &TopicId) -> bool {
        match self.topics.get(topic) {
            Some(
                Subscription::Asked { .. }
                | Subscription::Leaving(_)
                | Subscription::Expired
                | Subscription::Lost,
            ) => true,
            Some(Subscription::ByServer | Subscription::ByItself) | None => false,
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &TopicId> {
        self.topics.keys()
    }
}

impl Session {
    /// Keeps a command until the one before about the same topic is answered. Returns it if there is none.
    pub(super) fn keep_waiting(&mut self, topic: &TopicId, command: Command) -> Option<Command> {
        if !self.subscriptions.is_pending(topic) {
            return Some(command);
        }
        self.waiting.0.push_back((topic.clone(), command));
        None
    }

    /// Something has come of a topic: what waits for it is served, if it was that.
    pub(super) fn release(&mut self, topic: &TopicId) {
        if !self.waiting.0.is_empty() && !self.subscriptions.is_pending(topic) {
            self.waiting.release(topic, &mut self.commands);
        }
    }

    pub(super) fn subscribe(
        &mut self,
        id: u32,
        topic: TopicId,
        request: SubscribeRequest,
    ) -> Option<Errand> {
        if self.subscriptions.topics.contains_key(&topic) {
            return Some(Errand::Tell(self.refusal(id, ErrorCode::AlreadySubscribed)));
        }
        if !request.token.is_empty() {
            return self.subscribe_by(id, topic, request);
        }
        self.brings(&topic, &request);
        self.subscriptions.asks(topic.clone(), id, &request);
        let join = match self.forbids(&topic, TopicAct::Subscribe) {
            None => TopicJoin::Allowed,
            Some(_) => TopicJoin::ByRight,
        };
        Some(Errand::Topic(self.wish_to_join(&topic, join)))
    }

    pub(super) fn unsubscribe(&mut self, id: u32, topic: TopicId) -> Errand {
        match self.subscriptions.topics.get(&topic).copied() {
            Some(Subscription::ByItself) => {
                (self.subscriptions.topics).insert(topic.clone(), Subscription::Leaving(id));
                Errand::Topic(TopicWish::Leave(topic))
            }
            Some(Subscription::ByServer) => {
                Errand::Tell(self.refusal(id, ErrorCode::PermissionDenied))
            }
            // It would have waited.
            Some(
                Subscription::Asked { .. }
                | Subscription::Leaving(_)
                | Subscription::Expired
                | Subscription::Lost,
            )
            | None => Errand::Tell(self.unsubscribed(id)),
        }
    }

    /// The terminal is a member of a topic, and stands there in its log.
    pub(super) fn joined(&mut self, topic: &TopicId, log: Option<&HelloLog>) -> Told {
        let before = self.subscriptions.topics.get(topic).copied();
        let (now, told) = match before {
            Some(Subscription::Asked { id, .. }) if self.is_unrecovered(topic, log) => {
                self.wishes.push_back(TopicWish::Lapse(topic.clone()));
                let refusal = self.refusal(id, ErrorCode::UnrecoverablePosition);
                (Subscription::Lost, Told::Frame(refusal))
            }
            Some(Subscription::Asked { id, recovers }) => {
                let stand = self.stand_told(topic, log);
                let end = self.subscriptions.ends.get(topic);
                let result = SubscribeResult {
                    // Also where nothing is recovered: it has to know that it may have missed something.
                    was_recovering: recovers,
                    expires: end.is_some(),
                    ttl: end.map_or(0, |end| end.ttl),
                    ..stand
                };
                let reply = Reply {
                    id,
                    subscribe: Some(result),
                    ..Reply::default()
                };
                (
                    Subscription::ByItself,
                    Told::Frame(self.encoding.encode(&reply)),
                )
            }
            // It is a member by more than the token that has expired.
            Some(Subscription::Expired) => (Subscription::ByItself, Told::Nothing),
            Some(same @ (Subscription::ByServer | Subscription::ByItself)) => {
                let told = match log {
                    Some(HelloLog::At(attached)) => self.placed_in(topic, *attached),
                    Some(HelloLog::Unknown | HelloLog::NotAsked) | None => Told::Nothing,
                };
                (same, told)
            }
            Some(same @ Subscription::Leaving(_)) => (same, Told::Nothing),
            // It is a member by more than what it has asked for, which is not ended for it: it comes back as one.
            Some(same @ Subscription::Lost) => {
                self.close(CloseCode::PositionLost);
                (same, Told::Close(CloseCode::PositionLost))
            }
            None => {
                self.follow_for_application(topic);
                let push = Push {
                    subscribe: Some(Subscribe::default()),
                    ..Push::default()
                };
                (
                    Subscription::ByServer,
                    Told::Frame(self.of_topic(topic, push)),
                )
            }
        };
        // What it was told may have changed it.
        if !matches!(self.subscriptions.get(topic), Some(Subscription::Lost)) {
            self.subscriptions.set(topic, now);
        }
        if self.subscriptions.has(topic) {
            self.watch(topic);
        }
        told
    }

    /// The terminal is no member of a topic any more.
    pub(super) fn left(&mut self, topic: &TopicId) -> Told {
        match self.subscriptions.topics.get(topic).copied() {
            Some(Subscription::Leaving(id)) => {
                self.subscriptions.remove(topic);
                Told::Frame(self.unsubscribed(id))
            }
            Some(Subscription::ByServer | Subscription::ByItself) => {
                self.subscriptions.remove(topic);
                Told::Frame(self.unsubscribe_push(topic, SERVER_UNSUBSCRIBE))
            }
            Some(Subscription::Expired) => {
                self.subscriptions.remove(topic);
                Told::Frame(self.unsubscribe_push(topic, SUBSCRIPTION_EXPIRED))
            }
            Some(Subscription::Lost) => {
                self.subscriptions.remove(topic);
                Told::Nothing
            }
            // It was taken back before it counted.
            Some(Subscription::Asked { id, .. }) => {
                self.subscriptions.remove(topic);
                Told::Frame(self.refusal(id, ErrorCode::PermissionDenied))
            }
            None => Told::Nothing,
        }
    }

    /// The terminal does not become a member of a topic.
    pub(super) fn not_joined(&mut self, topic: &TopicId, why: NotJoined) -> Told {
        match self.subscriptions.topics.get(topic).copied() {
            Some(Subscription::Asked { id, .. }) => {
                self.subscriptions.remove(topic);
                let error = match why {
                    NotJoined::NotAllowed => ErrorCode::PermissionDenied,
                    NotJoined::TooMany | NotJoined::Full => ErrorCode::LimitExceeded,
                    NotJoined::TooFast => ErrorCode::TooManyRequests,
                };
                Told::Frame(self.refusal(id, error))
            }
            Some(Subscription::ByServer) => match why {
                NotJoined::TooFast => self.wish_refused(topic),
                NotJoined::NotAllowed | NotJoined::TooMany | NotJoined::Full => {
                    self.subscriptions.remove(topic);
                    Told::Frame(self.unsubscribe_push(topic, SERVER_UNSUBSCRIBE))
                }
            },
            Some(
                Subscription::ByItself
                | Subscription::Leaving(_)
                | Subscription::Expired
                | Subscription::Lost,
            )
            | None => Told::Nothing,
        }
    }

    pub(super) fn unsubscribe_push(&self, topic: &TopicId, (code, reason): (u32, &str)) -> Payload {
        let push = Push {
            unsubscribe: Some(Unsubscribe {
                code,
                reason: reason.to_owned(),
            }),
            ..Push::default()
        };
        self.of_topic(topic, push)
    }

    pub(super) fn of_topic(&self, topic: &TopicId, push: Push) -> Payload {
        self.encoding.encode(&Reply {
            push: Some(Push {
                channel: topic.to_string(),
                ..push
            }),
            ..Reply::default()
        })
    }
}
