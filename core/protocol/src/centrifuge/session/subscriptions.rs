//! The topics to which a terminal is subscribed: by itself, or by the server.

use std::collections::{BTreeMap, VecDeque};

use switchboard_core::frame::{NotJoined, Payload};
use switchboard_core::id::TopicId;
use switchboard_core::topic::TopicWish;

use super::super::code::{ErrorCode, SERVER_UNSUBSCRIBE};
use super::super::message::{Command, Push, Reply, Subscribe, SubscribeResult, Unsubscribe};
use super::{Deed, Session, Told};

/// Topics by their names.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(BTreeMap<TopicId, Subscription>);

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
enum Subscription {
    /// The server has subscribed it, or is about to: it was told so.
    ByServer,
    /// It has asked for it in this command.
    Asked(u32),
    /// It has subscribed itself.
    ByItself,
    /// It has asked in this command to be subscribed no longer.
    Leaving(u32),
}

impl Subscriptions {
    /// The topics to which the server subscribes a terminal when it greets it.
    pub(super) fn by_server(topics: impl IntoIterator<Item = TopicId>) -> Self {
        let topics = topics.into_iter();
        Self(
            topics
                .map(|topic| (topic, Subscription::ByServer))
                .collect(),
        )
    }

    /// Whether a command about a topic is not answered.
    fn is_pending(&self, topic: &TopicId) -> bool {
        match self.0.get(topic) {
            Some(Subscription::Asked(_) | Subscription::Leaving(_)) => true,
            Some(Subscription::ByServer | Subscription::ByItself) | None => false,
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(TopicId::as_str)
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

    pub(super) fn subscribe(&mut self, id: u32, topic: TopicId) -> Deed {
        if self.subscriptions.0.contains_key(&topic) {
            return Deed::Tell(self.refusal(id, ErrorCode::AlreadySubscribed));
        }
        (self.subscriptions.0).insert(topic.clone(), Subscription::Asked(id));
        Deed::Topic(TopicWish::Join(topic))
    }

    pub(super) fn unsubscribe(&mut self, id: u32, topic: TopicId) -> Deed {
        match self.subscriptions.0.get(&topic).copied() {
            Some(Subscription::ByItself) => {
                (self.subscriptions.0).insert(topic.clone(), Subscription::Leaving(id));
                Deed::Topic(TopicWish::Leave(topic))
            }
            Some(Subscription::ByServer) => {
                Deed::Tell(self.refusal(id, ErrorCode::PermissionDenied))
            }
            // It would have waited.
            Some(Subscription::Asked(_) | Subscription::Leaving(_)) | None => {
                Deed::Tell(self.unsubscribed(id))
            }
        }
    }

    /// The terminal is a member of a topic.
    pub(super) fn joined(&mut self, topic: &TopicId) -> Told {
        let before = self.subscriptions.0.get(topic).copied();
        let (now, told) = match before {
            Some(Subscription::Asked(id)) => {
                let reply = Reply {
                    id,
                    subscribe: Some(SubscribeResult::default()),
                    ..Reply::default()
                };
                (
                    Subscription::ByItself,
                    Told::Frame(self.encoding.encode(&reply)),
                )
            }
            Some(
                same @ (Subscription::ByServer | Subscription::ByItself | Subscription::Leaving(_)),
            ) => (same, Told::Nothing),
            None => {
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
        self.subscriptions.0.insert(topic.clone(), now);
        told
    }

    /// The terminal is no member of a topic any more.
    pub(super) fn left(&mut self, topic: &TopicId) -> Told {
        match self.subscriptions.0.get(topic).copied() {
            Some(Subscription::Leaving(id)) => {
                self.subscriptions.0.remove(topic);
                Told::Frame(self.unsubscribed(id))
            }
            Some(Subscription::ByServer | Subscription::ByItself) => {
                self.subscriptions.0.remove(topic);
                Told::Frame(self.unsubscribe_push(topic))
            }
            Some(Subscription::Asked(_)) | None => Told::Nothing,
        }
    }

    /// The terminal does not become a member of a topic.
    pub(super) fn not_joined(&mut self, topic: &TopicId, why: NotJoined) -> Told {
        match self.subscriptions.0.get(topic).copied() {
            Some(Subscription::Asked(id)) => {
                self.subscriptions.0.remove(topic);
                let error = match why {
                    NotJoined::NotAllowed => ErrorCode::PermissionDenied,
                    NotJoined::TooMany => ErrorCode::LimitExceeded,
                    NotJoined::TooFast => ErrorCode::TooManyRequests,
                };
                Told::Frame(self.refusal(id, error))
            }
            Some(Subscription::ByServer) => {
                self.subscriptions.0.remove(topic);
                Told::Frame(self.unsubscribe_push(topic))
            }
            Some(Subscription::ByItself | Subscription::Leaving(_)) | None => Told::Nothing,
        }
    }

    fn unsubscribe_push(&self, topic: &TopicId) -> Payload {
        let (code, reason) = SERVER_UNSUBSCRIBE;
        let push = Push {
            unsubscribe: Some(Unsubscribe {
                code,
                reason: reason.to_owned(),
            }),
            ..Push::default()
        };
        self.of_topic(topic, push)
    }

    fn of_topic(&self, topic: &TopicId, push: Push) -> Payload {
        self.encoding.encode(&Reply {
            push: Some(Push {
                channel: topic.to_string(),
                ..push
            }),
            ..Reply::default()
        })
    }
}
