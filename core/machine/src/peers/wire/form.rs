//! Messages as they are on the wire.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use super::{Message, Pulse, WireError};
use crate::channel::Channel;
use crate::delivery::{Addressees, Delivered, Delivery};
use crate::frame::{CloseCode, FrameKind, Payload};
use crate::id::{DeliveryId, PushId, TopicId, UserId};
use crate::message::{Action, ListOrder};
use crate::vocabulary::missed::MissedLogs;
use crate::vocabulary::service::Service;

/// A message: what is large is borrowed. One type for both directions, so that they cannot differ;
/// written, it borrows addressees and outcomes too.
#[derive(Serialize, Deserialize)]
pub(super) enum Form<'a, To, Done> {
    Proof([u8; 32]),
    Deliver {
        delivery: DeliveryId,
        push: PushId,
        within_millis: u32,
        #[serde(borrow)]
        action: ActionForm<'a>,
        to: To,
    },
    Delivered(Done),
    Heartbeat {
        directory: Service,
        pulse: Pulse,
    },
    Goodbye,
    Missed(MissedForm),
}

#[derive(Serialize, Deserialize)]
pub(super) enum MissedForm {
    OfUsers(BTreeSet<UserId>),
    All,
    Of {
        users: BTreeSet<UserId>,
        topics: BTreeSet<TopicId>,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) enum ActionForm<'a> {
    Frame {
        kind: FrameKind,
        #[serde(serialize_with = "as_bytes")]
        content: &'a [u8],
    },
    Close(CloseCode),
    Join(TopicId),
    Leave(TopicId),
    List {
        order: ListOrder,
        limit: u32,
    },
}

pub(super) type Sent<'a> = Form<'a, &'a Addressees, &'a Delivered>;
pub(super) type Received<'a> = Form<'a, Addressees, Delivered>;

impl<'a> From<&'a Message> for Sent<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Proof(proof) => Self::Proof(*proof),
            Message::Deliver(delivery) => Self::Deliver {
                delivery: delivery.id,
                push: delivery.push,
                within_millis: u32::try_from(delivery.within.as_millis()).unwrap_or(u32::MAX),
                action: ActionForm::from(&delivery.action),
                to: &delivery.to,
            },
            Message::Delivered(delivered) => Self::Delivered(delivered),
            Message::Heartbeat { directory, pulse } => Self::Heartbeat {
                directory: *directory,
                pulse: *pulse,
            },
            Message::Goodbye => Self::Goodbye,
            Message::Missed(logs) => Self::Missed(MissedForm::from(logs)),
        }
    }
}

impl From<&MissedLogs> for MissedForm {
    fn from(logs: &MissedLogs) -> Self {
        let channels = match logs {
            MissedLogs::All => return Self::All,
            MissedLogs::Of(channels) => channels,
        };
        let users = channels.iter().filter_map(Channel::user).cloned().collect();
        let topics: BTreeSet<_> = channels
            .iter()
            .filter_map(Channel::topic)
            .cloned()
            .collect();
        if topics.is_empty() {
            Self::OfUsers(users)
        } else {
            Self::Of { users, topics }
        }
    }
}

impl From<MissedForm> for MissedLogs {
    fn from(form: MissedForm) -> Self {
        let (users, topics) = match form {
            MissedForm::All => return Self::All,
            MissedForm::OfUsers(users) => (users, BTreeSet::new()),
            MissedForm::Of { users, topics } => (users, topics),
        };
        let users = users.into_iter().map(Channel::User);
        Self::Of(
            users
                .chain(topics.into_iter().map(Channel::Topic))
                .collect(),
        )
    }
}

impl<'a> From<&'a Action> for ActionForm<'a> {
    fn from(action: &'a Action) -> Self {
        match action {
            Action::Frame(payload) => Self::Frame {
                kind: payload.kind(),
                content: payload.bytes(),
            },
            Action::Close(code) => Self::Close(*code),
            Action::Join(topic) => Self::Join(topic.clone()),
            Action::Leave(topic) => Self::Leave(topic.clone()),
            Action::List { order, limit } => Self::List {
                order: order.clone(),
                limit: *limit,
            },
        }
    }
}

impl Received<'_> {
    /// `batch` is what this was decoded from.
    pub(super) fn into_message(self, batch: &Bytes) -> Result<Message, WireError> {
        Ok(match self {
            Self::Proof(proof) => Message::Proof(proof),
            Self::Deliver {
                delivery,
                push,
                within_millis,
                action,
                to,
            } => Message::Deliver(Delivery {
                id: delivery,
                push,
                within: Duration::from_millis(within_millis.into()),
                action: action.into_action(batch)?,
                to,
            }),
            Self::Delivered(delivered) => Message::Delivered(delivered),
            Self::Heartbeat { directory, pulse } => Message::Heartbeat { directory, pulse },
            Self::Goodbye => Message::Goodbye,
            Self::Missed(logs) => Message::Missed(logs.into()),
        })
    }
}

impl ActionForm<'_> {
    fn into_action(self, batch: &Bytes) -> Result<Action, WireError> {
        match self {
            Self::Frame { kind, content } => {
                let bytes = if content.len() >= batch.len() / 4 {
                    batch.slice_ref(content)
                } else {
                    Bytes::copy_from_slice(content)
                };
                let payload = Payload::new(kind, bytes)
                    .map_err(|_| WireError::Malformed("a text frame that is not UTF-8"))?;
                Ok(Action::Frame(payload))
            }
            Self::Close(code) => Ok(Action::Close(code)),
            Self::Join(topic) => Ok(Action::Join(topic)),
            Self::Leave(topic) => Ok(Action::Leave(topic)),
            Self::List { order, limit } => Ok(Action::List { order, limit }),
        }
    }
}

/// Writes a slice at once; as a sequence it would go byte by byte.
fn as_bytes<S: Serializer>(content: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(content)
}
