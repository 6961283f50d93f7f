//! What members of a topic are told of those who come and leave.

use std::collections::BTreeMap;

use switchboard_core::frame::{NotJoined, Payload, Presence, PresenceNews};
use switchboard_core::id::{TopicId, UserId};
use switchboard_core::topic::TopicWish;

use super::super::message::{ClientInfo, MemberNews, Push};
use super::{Session, Told};
use crate::namespaces::TopicAct;

/// Topics of which a terminal is told who comes and leaves.
#[derive(Debug, Default)]
pub(super) struct WatchedTopics(BTreeMap<TopicId, Watching>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watching {
    /// It has asked who is there.
    Asked,
    /// It has asked too fast, and does so again.
    Late,
    /// It is one topic too many, or it is no member any more: it is not told.
    Refused,
    /// It was told that it has come itself.
    Told,
}

impl WatchedTopics {
    pub(super) fn remove(&mut self, topic: &TopicId) {
        self.0.remove(topic);
    }
}

impl Session {
    /// A member of a topic asks who the others are, if it is to be told of them. It asks once.
    pub(super) fn watch(&mut self, topic: &TopicId) {
        let is_wanted = (self.settings.namespaces)
            .allowed(topic, TopicAct::JoinLeave)
            .is_some();
        let watched = &mut self.subscriptions.watched.0;
        if is_wanted && !watched.contains_key(topic) {
            watched.insert(topic.clone(), Watching::Asked);
            (self.wishes).push_back(TopicWish::WatchAsMember(topic.clone()));
        }
    }

    /// A terminal is not told who the members of a topic are. It is one all the same.
    pub(super) fn not_watched(&mut self, topic: &TopicId, why: NotJoined) {
        if let Some(watching @ Watching::Asked) = self.subscriptions.watched.0.get_mut(topic) {
            *watching = match why {
                NotJoined::TooFast => Watching::Late,
                NotJoined::TooMany | NotJoined::NotAllowed | NotJoined::Full => Watching::Refused,
            };
        }
    }

    /// Asks again where it was asked too fast.
    pub(super) fn watch_again(&mut self) {
        for (topic, watching) in &mut self.subscriptions.watched.0 {
            if *watching == Watching::Late {
                *watching = Watching::Asked;
                (self.wishes).push_back(TopicWish::WatchAsMember(topic.clone()));
            }
        }
    }

    /// There is news of the members of a topic. The terminal asks itself who was there before it.
    pub(super) fn members_told(&mut self, Presence { topic, news, .. }: &Presence) -> Told {
        let Some(member) = self.member() else {
            return Told::Nothing;
        };
        let own = member.user.clone();
        let client = member.client.map_or_else(String::new, |it| it.to_string());
        let Some(watching) = self.subscriptions.watched.0.get_mut(topic) else {
            return Told::Nothing;
        };
        let frames = match news {
            PresenceNews::Users(_) | PresenceNews::Count(_) if *watching == Watching::Asked => {
                *watching = Watching::Told;
                vec![self.member_push(topic, (&own, client), true)]
            }
            PresenceNews::Users(_) | PresenceNews::Count(_) => Vec::new(),
            PresenceNews::Changed { joined, left } => {
                let others = |users: &[UserId], has_joined| {
                    let others = users.iter().filter(|user| **user != own);
                    let push = |user| self.member_push(topic, (user, String::new()), has_joined);
                    others.map(push).collect::<Vec<_>>()
                };
                [others(joined, true), others(left, false)].concat()
            }
        };
        match frames.is_empty() {
            true => Told::Nothing,
            false => Told::Frames(frames),
        }
    }

    fn member_push(
        &self,
        topic: &TopicId,
        (user, client): (&UserId, String),
        has_joined: bool,
    ) -> Payload {
        let news = Some(MemberNews {
            info: Some(ClientInfo {
                user: user.to_string(),
                client,
            }),
        });
        let push = match has_joined {
            true => Push {
                join: news,
                ..Push::default()
            },
            false => Push {
                leave: news,
                ..Push::default()
            },
        };
        self.of_topic(topic, push)
    }
}
