//! What a terminal asks that is served, and how it is answered.

use switchboard_core::frame::Payload;
use switchboard_core::id::{ConnectionId, TopicId};
use switchboard_core::logs::{LogPage, LogQuery};

use super::super::EPOCH;
use super::super::code::ErrorCode;
use super::super::message::{
    ClientInfo, Command, Empty, HistoryRequest, HistoryResult, PresenceResult, PresenceStatsResult,
    Reply,
};
use super::{Answered, Asked, Deed, Question, Session};

/// Bytes of the name of a channel, at most.
const CHANNEL_BYTES: usize = 255;

/// A channel, as a command names it.
enum Channel {
    /// That of the terminal's user.
    Own,
    /// That of everyone.
    Everyone,
    /// That of another user, or no channel at all.
    Unknown,
    Topic(TopicId),
}

impl Session {
    /// Serves a command that is to be answered. `None`: nothing is to be done for it.
    pub(super) fn request(&mut self, id: u32, command: Command) -> Option<Deed> {
        if let Some(refresh) = command.refresh {
            if refresh.token.is_empty() {
                return self.violation();
            }
            let user = self.member()?.user.clone();
            self.asked = Some(Asked::Refresh { id });
            return Some(Deed::Refresh(refresh.token, user));
        }
        if channel_of(&command).is_some_and(|channel| channel.len() > CHANNEL_BYTES) {
            return Some(self.refuse(id, ErrorCode::BadRequest));
        }
        let channel = channel_of(&command).map(|channel| self.channel(channel));
        match channel {
            None => Some(self.refuse(id, ErrorCode::NotAvailable)),
            Some(Channel::Topic(topic)) => {
                let command = self.keep_waiting(&topic, command)?;
                Some(self.about_topic(id, &command, topic))
            }
            Some(Channel::Own) => self.about_own(id, &command),
            Some(Channel::Everyone) => Some(self.about_served(id, &command)),
            Some(Channel::Unknown) => Some(self.about_unknown(id, &command)),
        }
    }

    fn channel(&self, name: &str) -> Channel {
        if name == super::EVERYONE {
            return Channel::Everyone;
        }
        if self.member().is_some_and(|member| member.channel == name) {
            return Channel::Own;
        }
        match TopicId::new(name) {
            // It would be mistaken for the channel of a user.
            Ok(_) if name.starts_with('#') => Channel::Unknown,
            Ok(topic) => Channel::Topic(topic),
            Err(_) => Channel::Unknown,
        }
    }

    fn refuse(&self, id: u32, error: ErrorCode) -> Deed {
        Deed::Tell(self.refusal(id, error))
    }

    fn about_own(&mut self, id: u32, command: &Command) -> Option<Deed> {
        let (asked, question) = if command.presence.is_some() {
            (Asked::Presence { id }, Question::Connections)
        } else if command.presence_stats.is_some() {
            (Asked::PresenceStats { id }, Question::Connections)
        } else if let Some(request) = &command.history {
            match asked_history(id, request) {
                Ok(asked) => asked,
                Err(error) => return Some(self.refuse(id, error)),
            }
        } else {
            return Some(self.about_served(id, command));
        };
        let user = self.member()?.user.clone();
        self.asked = Some(asked);
        Some(Deed::Ask(user, question))
    }

    /// What a terminal may not do with the channels to which the server subscribes it.
    fn about_served(&self, id: u32, command: &Command) -> Deed {
        let error = if command.subscribe.is_some() {
            ErrorCode::AlreadySubscribed
        } else if command.unsubscribe.is_some() || command.publish.is_some() {
            ErrorCode::PermissionDenied
        } else {
            ErrorCode::NotAvailable
        };
        self.refuse(id, error)
    }

    fn about_unknown(&self, id: u32, command: &Command) -> Deed {
        if command.unsubscribe.is_some() {
            return Deed::Tell(self.unsubscribed(id));
        }
        let error = match command.subscribe.is_some() {
            true => ErrorCode::UnknownChannel,
            false => ErrorCode::NotAvailable,
        };
        self.refuse(id, error)
    }

    fn about_topic(&mut self, id: u32, command: &Command, topic: TopicId) -> Deed {
        if command.subscribe.is_some() {
            self.subscribe(id, topic)
        } else if command.unsubscribe.is_some() {
            self.unsubscribe(id, topic)
        } else if command.publish.is_some() {
            // Whoever pushes does so through the API.
            self.refuse(id, ErrorCode::PermissionDenied)
        } else {
            self.refuse(id, ErrorCode::NotAvailable)
        }
    }

    pub(super) fn unsubscribed(&self, id: u32) -> Payload {
        self.encoding.encode(&Reply {
            id,
            unsubscribe: Some(Empty {}),
            ..Reply::default()
        })
    }

    /// A question is answered. Returns what the terminal is told.
    pub fn answered(&mut self, answered: Answered) -> Option<Payload> {
        let asked = self.asked.take()?;
        let user = self.member()?.user.to_string();
        let reply = match (asked, answered) {
            (Asked::Presence { id }, Answered::Connections(connections)) => Reply {
                id,
                presence: Some(presence(&user, &connections)),
                ..Reply::default()
            },
            (Asked::PresenceStats { id }, Answered::Connections(connections)) => Reply {
                id,
                presence_stats: Some(PresenceStatsResult {
                    num_clients: u32::try_from(connections.len()).unwrap_or(u32::MAX),
                    num_users: u32::from(!connections.is_empty()),
                }),
                ..Reply::default()
            },
            (Asked::History { id, reverse, limit }, Answered::Log(page)) => {
                self.history(id, reverse, limit, page)
            }
            (
                Asked::Presence { id }
                | Asked::PresenceStats { id }
                | Asked::History { id, .. }
                | Asked::Refresh { id },
                Answered::Connections(_) | Answered::Log(_) | Answered::Unknown,
            ) => return Some(self.refusal(id, ErrorCode::Internal)),
        };
        Some(self.encoding.encode(&reply))
    }

    fn history(&self, id: u32, reverse: bool, limit: Option<usize>, page: LogPage) -> Reply {
        if page.after.is_none() {
            return Reply {
                id,
                error: Some(ErrorCode::UnrecoverablePosition.error()),
                ..Reply::default()
            };
        }
        let head = page.head.offset();
        let readable = page.records.into_iter().filter_map(|record| {
            let payload = record.payload?;
            let offset = record.position.offset();
            Some(self.encoding.publication(record.push, offset, &payload))
        });
        let mut publications: Vec<_> = readable.collect();
        if reverse {
            publications.reverse();
        }
        publications.truncate(limit.unwrap_or(usize::MAX));
        Reply {
            id,
            history: Some(HistoryResult {
                publications,
                epoch: EPOCH.to_owned(),
                offset: head,
            }),
            ..Reply::default()
        }
    }
}

fn presence(user: &str, connections: &[ConnectionId]) -> PresenceResult {
    let presence = connections.iter().map(|connection| {
        let client = connection.to_string();
        let info = ClientInfo {
            user: user.to_owned(),
            client: client.clone(),
        };
        (client, info)
    });
    PresenceResult {
        presence: presence.collect(),
    }
}

/// The channel that a command is about.
fn channel_of(command: &Command) -> Option<&str> {
    let subscribe = command.subscribe.as_ref().map(|request| &request.channel);
    let publish = command.publish.as_ref().map(|request| &request.channel);
    let history = command.history.as_ref().map(|request| &request.channel);
    let others = [
        &command.unsubscribe,
        &command.presence,
        &command.presence_stats,
        &command.sub_refresh,
    ];
    let others = others.into_iter().flatten().map(|request| &request.channel);
    let all = subscribe.into_iter().chain(publish).chain(history);
    all.chain(others).next().map(String::as_str)
}

/// What is to be read for a request. A limit of 0 asks for the position alone, a negative one for all.
fn asked_history(id: u32, request: &HistoryRequest) -> Result<(Asked, Question), ErrorCode> {
    let limit = usize::try_from(request.limit).ok();
    let wanted = limit.map_or(LogQuery::LIMIT_MAX, |limit| {
        u32::try_from(limit).unwrap_or(u32::MAX)
    });
    let read = wanted.clamp(1, LogQuery::LIMIT_MAX);
    let behind = match &request.since {
        Some(since) if since.epoch != EPOCH && !since.epoch.is_empty() => {
            return Err(ErrorCode::UnrecoverablePosition);
        }
        Some(since) if since.offset > 0 => Some(since.offset),
        Some(_) | None => None,
    };
    let query = LogQuery {
        after: Vec::new(),
        behind,
        history: match (request.reverse, limit) {
            (true, Some(_)) => wanted,
            (false, Some(0)) => 0,
            (true | false, _) => u32::MAX,
        },
        limit: match request.reverse && behind.is_some() {
            true => LogQuery::LIMIT_MAX,
            false => read,
        },
    };
    let reverse = request.reverse;
    Ok((Asked::History { id, reverse, limit }, Question::Log(query)))
}
