//! What a terminal does in the topics to which it is subscribed, and the tokens by which it is.

use std::collections::BTreeSet;

use switchboard_core::frame::Payload;
use switchboard_core::id::{ConnectionId, TopicId, UserId};
use switchboard_core::topic::TopicJoin;

use super::super::code::ErrorCode;
use super::super::message::{
    ClientInfo, Empty, PresenceResult, PresenceStatsResult, Reply, SubRefreshResult,
    SubscribeRequest,
};
use super::{Asked, Errand, LoginRefused, Question, Session, Settings, SubscriptionEnd};
use crate::namespaces::{TopicAct, Whom};

impl Session {
    pub(super) fn publish(&mut self, id: u32, topic: TopicId, data: Vec<u8>) -> Errand {
        if self.forbids(&topic, TopicAct::Publish).is_some() {
            return self.refuse(id, ErrorCode::PermissionDenied);
        }
        self.asked = Some(Asked::Publish { id });
        let payload = self.payload(data);
        let Settings {
            namespaces,
            retention,
            ..
        } = &*self.settings;
        match namespaces.is_recovered(&topic) {
            true => {
                let retention = namespaces.retention(&topic, *retention);
                Errand::PublishDurably(topic, payload, retention)
            }
            false => Errand::Publish(topic, payload),
        }
    }

    /// What is sent as text comes to all as text, whatever they speak.
    fn payload(&self, data: Vec<u8>) -> Payload {
        let data = bytes::Bytes::from(data);
        Payload::text(data.clone()).unwrap_or_else(|_| Payload::binary(data))
    }

    /// It asks who the members of a topic are.
    pub(super) fn ask_of_members(&mut self, id: u32, topic: TopicId, asked: Asked) -> Errand {
        if let Some(error) = self.forbids(&topic, TopicAct::Presence) {
            return self.refuse(id, error);
        }
        self.asked = Some(asked);
        Errand::Ask(Question::Members(topic))
    }

    /// Why it may not do that in this topic, unless it may.
    pub(super) fn forbids(&self, topic: &TopicId, act: TopicAct) -> Option<ErrorCode> {
        match self.settings.namespaces.allowed(topic, act) {
            None => Some(ErrorCode::NotAvailable),
            Some(Whom::Members) if !self.subscriptions.has(topic) => {
                Some(ErrorCode::PermissionDenied)
            }
            Some(Whom::Members | Whom::Anybody) => None,
        }
    }

    /// It wants to be subscribed by a token for this topic.
    pub(super) fn subscribe_by(
        &mut self,
        id: u32,
        topic: TopicId,
        mut request: SubscribeRequest,
    ) -> Option<Errand> {
        let user = self.member()?.user.clone();
        let judged = topic.clone();
        let token = std::mem::take(&mut request.token);
        self.asked = Some(Asked::Subscription {
            id,
            topic,
            request: Box::new(request),
        });
        Some(Errand::JudgeSubscription(token, user, judged))
    }

    /// It has a new token for a topic.
    pub(super) fn renew(&mut self, id: u32, topic: TopicId, token: String) -> Option<Errand> {
        if !self.subscriptions.has(&topic) {
            return Some(self.refuse(id, ErrorCode::PermissionDenied));
        }
        if token.is_empty() {
            return Some(self.refuse(id, ErrorCode::BadRequest));
        }
        let user = self.member()?.user.clone();
        let judged = topic.clone();
        self.asked = Some(Asked::SubRefresh { id, topic });
        Some(Errand::JudgeSubscription(token, user, judged))
    }

    /// It is known whether a token for a topic counts, and until when. Returns what is to be done then.
    pub fn subscription_judged(
        &mut self,
        judged: Result<Option<SubscriptionEnd>, LoginRefused>,
    ) -> Option<Errand> {
        let (id, topic, brought) = match self.asked.take()? {
            Asked::Subscription { id, topic, request } => (id, topic, Some(request)),
            Asked::SubRefresh { id, topic } => (id, topic, None),
            other @ (Asked::Refresh { .. }
            | Asked::Presence { .. }
            | Asked::PresenceStats { .. }
            | Asked::TopicPresence { .. }
            | Asked::TopicPresenceStats { .. }
            | Asked::Publish { .. }
            | Asked::History { .. }) => {
                self.asked = Some(other);
                return None;
            }
        };
        let is_new = brought.is_some();
        let end = match judged {
            Ok(end) => end,
            Err(refused) => return Some(self.refuse(id, error_of(refused, is_new))),
        };
        // The application may have made it a member meanwhile, or none.
        match (is_new, self.subscriptions.has(&topic)) {
            (true, true) => return Some(self.refuse(id, ErrorCode::AlreadySubscribed)),
            (false, false) => return Some(self.refuse(id, ErrorCode::PermissionDenied)),
            (true, false) | (false, true) => {}
        }
        self.subscriptions.ends(&topic, end);
        if let Some(request) = brought {
            self.brings(&topic, &request);
            self.subscriptions.asks(topic.clone(), id, &request);
            return Some(Errand::Topic(self.wish_to_join(&topic, TopicJoin::Allowed)));
        }
        Some(Errand::Tell(self.encoding.encode(&Reply {
            id,
            sub_refresh: Some(SubRefreshResult {
                expires: end.is_some(),
                ttl: end.map_or(0, |end| end.ttl),
            }),
            ..Reply::default()
        })))
    }
}

/// A client whose token for a topic has expired asks for a new one, if it subscribes with it. Where it renews one with
/// it, every error that is not temporary is the end of its subscription.
const fn error_of(refused: LoginRefused, is_new: bool) -> ErrorCode {
    match refused {
        LoginRefused::Expired if is_new => ErrorCode::TokenExpired,
        LoginRefused::Expired | LoginRefused::Unavailable => ErrorCode::Internal,
        LoginRefused::Missing
        | LoginRefused::Malformed
        | LoginRefused::Invalid
        | LoginRefused::Forbidden => ErrorCode::PermissionDenied,
    }
}

/// The members of a topic that a terminal is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMembers {
    /// Some of them, or all.
    pub listed: Vec<(ConnectionId, UserId)>,
    /// How many there are.
    pub clients: u64,
}

impl TopicMembers {
    /// Whether they are listed all.
    pub(super) const fn are_listed(&self) -> bool {
        self.listed.len() as u64 >= self.clients
    }

    pub(super) fn presence(&self) -> PresenceResult {
        presence(self.listed.iter().map(|(client, user)| (*client, user)))
    }

    pub(super) fn stats(&self) -> PresenceStatsResult {
        let users: BTreeSet<_> = self.listed.iter().map(|(_, user)| user).collect();
        PresenceStatsResult {
            num_clients: u32::try_from(self.clients).unwrap_or(u32::MAX),
            num_users: u32::try_from(users.len()).unwrap_or(u32::MAX),
        }
    }
}

pub(super) fn presence<'a>(
    clients: impl Iterator<Item = (ConnectionId, &'a UserId)>,
) -> PresenceResult {
    let presence = clients.map(|(connection, user)| {
        let client = connection.to_string();
        let info = ClientInfo {
            user: user.to_string(),
            client: client.clone(),
        };
        (client, info)
    });
    PresenceResult {
        presence: presence.collect(),
    }
}

/// The answer to a publication.
pub(super) fn published(id: u32) -> Reply {
    Reply {
        id,
        publish: Some(Empty {}),
        ..Reply::default()
    }
}
