//! What a terminal asks that is served, and how it is answered.

use switchboard_core::channel::Channel as LogOf;
use switchboard_core::frame::Payload;
use switchboard_core::id::TopicId;
use switchboard_core::logs::{LogPage, LogQuery};

use super::super::EPOCH;
use super::super::code::ErrorCode;
use super::super::message::{
    Command, Empty, HistoryRequest, HistoryResult, PresenceStatsResult, Reply,
};
use super::acts::{presence, published};
use super::{Answered, Asked, Errand, HistoryOrder, Question, Session};
use crate::namespaces::TopicAct;

/// Bytes of the name of a channel, at most.
const CHANNEL_BYTES: usize = 255;

/// A channel, as a command names it.
enum Channel {
    /// That of the terminal's user.
    Own,
    /// That of everyone.
    Everyone,
    /// That of another user.
    Others,
    /// No channel at all.
    Unknown,
    Topic(TopicId),
}

impl Session {
    /// Serves a command that is to be answered. `None`: nothing is to be done for it.
    pub(super) fn request(&mut self, id: u32, command: Command) -> Option<Errand> {
        if let Some(refresh) = command.refresh {
            if refresh.token.is_empty() {
                return self.violation();
            }
            let user = self.member()?.user.clone();
            self.asked = Some(Asked::Refresh { id });
            return Some(Errand::Refresh(refresh.token, user));
        }
        match channel_of(&command) {
            Some("") => return self.violation(),
            // Nobody is subscribed to it.
            Some(long) if long.len() > CHANNEL_BYTES && command.unsubscribe.is_none() => {
                return Some(self.refuse(id, ErrorCode::BadRequest));
            }
            Some(_) | None => {}
        }
        if matches!(&command.publish, Some(request) if request.data.is_empty()) {
            return Some(self.refuse(id, ErrorCode::BadRequest));
        }
        let channel = channel_of(&command).map(|channel| self.channel(channel));
        match channel {
            None => Some(self.refuse(id, ErrorCode::NotAvailable)),
            Some(Channel::Topic(topic)) => {
                let command = self.keep_waiting(&topic, command)?;
                self.about_topic(id, command, topic)
            }
            Some(Channel::Own) => self.about_own(id, &command),
            Some(Channel::Everyone) => Some(self.about_served(id, &command)),
            Some(Channel::Others) => {
                Some(self.about_closed(id, &command, ErrorCode::PermissionDenied))
            }
            Some(Channel::Unknown) => {
                Some(self.about_closed(id, &command, ErrorCode::UnknownChannel))
            }
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
            Ok(_) if name.starts_with('#') => Channel::Others,
            Ok(topic) => Channel::Topic(topic),
            Err(_) => Channel::Unknown,
        }
    }

    pub(super) fn refuse(&self, id: u32, error: ErrorCode) -> Errand {
        Errand::Tell(self.refusal(id, error))
    }

    fn about_own(&mut self, id: u32, command: &Command) -> Option<Errand> {
        let asked = if command.presence.is_some() {
            Asked::Presence { id }
        } else if command.presence_stats.is_some() {
            Asked::PresenceStats { id }
        } else if let Some(request) = &command.history {
            let of = self.member()?.user.clone().into();
            return Some(self.about_history(id, of, request));
        } else {
            return Some(self.about_served(id, command));
        };
        let user = self.member()?.user.clone();
        self.asked = Some(asked);
        Some(Errand::Ask(Question::Connections(user)))
    }

    fn about_history(&mut self, id: u32, of: LogOf, request: &HistoryRequest) -> Errand {
        if request.reverse {
            if request.since.is_some() {
                // A log is read in one direction: what comes before a position would be all of it.
                return self.refuse(id, ErrorCode::NotAvailable);
            }
            let records = wanted(request).unwrap_or(LogQuery::LIMIT_MAX);
            return self.ask_newest(id, of, records.min(LogQuery::LIMIT_MAX));
        }
        let query = match oldest_first(request) {
            Ok(query) => query,
            Err(error) => return self.refuse(id, error),
        };
        let limit = wanted(request).map(|limit| limit as usize);
        let order = HistoryOrder::OldestFirst(limit);
        let asked = of.clone();
        self.asked = Some(Asked::History { id, of, order });
        Errand::Ask(Question::Log(asked, query))
    }

    /// What a terminal may not do with the channels to which the server subscribes it.
    fn about_served(&self, id: u32, command: &Command) -> Errand {
        let error = if command.subscribe.is_some() {
            ErrorCode::AlreadySubscribed
        } else if command.unsubscribe.is_some() || command.publish.is_some() {
            ErrorCode::PermissionDenied
        } else {
            ErrorCode::NotAvailable
        };
        self.refuse(id, error)
    }

    /// What a terminal may do with a channel to which nobody like it can be subscribed.
    fn about_closed(&self, id: u32, command: &Command, error: ErrorCode) -> Errand {
        match command.unsubscribe.is_some() {
            true => Errand::Tell(self.unsubscribed(id)),
            false => self.refuse(id, error),
        }
    }

    fn about_topic(&mut self, id: u32, command: Command, topic: TopicId) -> Option<Errand> {
        if let Some(request) = command.subscribe {
            return self.subscribe(id, topic, *request);
        }
        if let Some(request) = command.sub_refresh {
            return self.renew(id, topic, request.token);
        }
        Some(if command.unsubscribe.is_some() {
            self.unsubscribe(id, topic)
        } else if let Some(request) = command.publish {
            self.publish(id, topic, request.data)
        } else if command.presence.is_some() {
            self.ask_of_members(id, topic, Asked::TopicPresence { id })
        } else if command.presence_stats.is_some() {
            self.ask_of_members(id, topic, Asked::TopicPresenceStats { id })
        } else if let Some(request) = &command.history {
            self.history_of_topic(id, topic, request)
        } else {
            self.refuse(id, ErrorCode::NotAvailable)
        })
    }

    fn history_of_topic(&mut self, id: u32, topic: TopicId, request: &HistoryRequest) -> Errand {
        match self.forbids(&topic, TopicAct::History) {
            Some(error) => self.refuse(id, error),
            None => self.about_history(id, topic.into(), request),
        }
    }

    pub(super) fn unsubscribed(&self, id: u32) -> Payload {
        self.encoding.encode(&Reply {
            id,
            unsubscribe: Some(Empty {}),
            ..Reply::default()
        })
    }

    /// A question is answered. Returns what is to be done then.
    pub fn answered(&mut self, answered: Answered) -> Option<Errand> {
        let asked = self.asked.take()?;
        if let (Asked::History { id, of, order }, Answered::Log(page)) = (&asked, &answered)
            && let HistoryOrder::NewestFirst(records) = *order
            && page.has_more()
        {
            // An answer has a limit of bytes, by which the newest are left out: so many fewer are asked for.
            return Some(self.ask_newest(*id, of.clone(), records / 2));
        }
        let user = self.member()?.user.clone();
        let reply = match (asked, answered) {
            (Asked::Presence { id }, Answered::Connections(connections)) => Reply {
                id,
                presence: Some(presence(connections.iter().map(|client| (*client, &user)))),
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
            // A list of some of them is no list of the members, and says nothing of the number of users.
            (
                Asked::TopicPresence { id } | Asked::TopicPresenceStats { id },
                Answered::Members(members),
            ) if !members.are_listed() => {
                return Some(self.refuse(id, ErrorCode::NotAvailable));
            }
            (Asked::TopicPresence { id }, Answered::Members(members)) => Reply {
                id,
                presence: Some(members.presence()),
                ..Reply::default()
            },
            (Asked::TopicPresenceStats { id }, Answered::Members(members)) => Reply {
                id,
                presence_stats: Some(members.stats()),
                ..Reply::default()
            },
            (Asked::History { id, order, .. }, Answered::Log(page)) => {
                self.history(id, order, page)
            }
            (Asked::Publish { id }, Answered::Published) => published(id),
            (asked, answered) => {
                let error = match answered {
                    Answered::TooLarge => ErrorCode::BadRequest,
                    Answered::Overloaded => ErrorCode::TooManyRequests,
                    Answered::Unknown
                    | Answered::Connections(_)
                    | Answered::Members(_)
                    | Answered::Log(_)
                    | Answered::Published => ErrorCode::Internal,
                };
                return Some(self.refuse(asked.id(), error));
            }
        };
        Some(Errand::Tell(self.encoding.encode(&reply)))
    }

    /// Asks for so many of the last records of a log.
    fn ask_newest(&mut self, id: u32, of: LogOf, records: u32) -> Errand {
        let query = LogQuery {
            history: records,
            limit: records.max(1),
            ..LogQuery::default()
        };
        let order = HistoryOrder::NewestFirst(records);
        let asked = of.clone();
        self.asked = Some(Asked::History { id, of, order });
        Errand::Ask(Question::Log(asked, query))
    }

    fn history(&self, id: u32, order: HistoryOrder, page: LogPage) -> Reply {
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
        match order {
            HistoryOrder::OldestFirst(limit) => publications.truncate(limit.unwrap_or(usize::MAX)),
            HistoryOrder::NewestFirst(_) => publications.reverse(),
        }
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

/// The channel that a command is about.
fn channel_of(command: &Command) -> Option<&str> {
    let subscribe = command.subscribe.as_ref().map(|request| &request.channel);
    let publish = command.publish.as_ref().map(|request| &request.channel);
    let history = command.history.as_ref().map(|request| &request.channel);
    let renewal = command.sub_refresh.as_ref();
    let renewal = renewal.map(|request| &request.channel);
    let others = [
        &command.unsubscribe,
        &command.presence,
        &command.presence_stats,
    ];
    let others = others.into_iter().flatten().map(|request| &request.channel);
    let all = subscribe
        .into_iter()
        .chain(publish)
        .chain(history)
        .chain(renewal);
    all.chain(others).next().map(String::as_str)
}

/// How many records a request wants at most. A negative limit asks for all.
fn wanted(request: &HistoryRequest) -> Option<u32> {
    u32::try_from(request.limit).ok()
}

/// What is to be read for a request that wants the oldest first. A limit of 0 asks for the position alone.
fn oldest_first(request: &HistoryRequest) -> Result<LogQuery, ErrorCode> {
    let limit = wanted(request);
    let behind = match &request.since {
        Some(since) if since.epoch != EPOCH && !since.epoch.is_empty() => {
            return Err(ErrorCode::UnrecoverablePosition);
        }
        Some(since) if since.offset > 0 => Some(since.offset),
        Some(_) | None => None,
    };
    Ok(LogQuery {
        after: Vec::new(),
        behind,
        history: if limit == Some(0) { 0 } else { u32::MAX },
        limit: limit.map_or(LogQuery::LIMIT_MAX, |limit| {
            limit.clamp(1, LogQuery::LIMIT_MAX)
        }),
    })
}
