//! One terminal that speaks the Centrifuge protocol: what it has said, and how it is answered.
//!
//! ```text
//! Fresh -> LoggingIn -> Joining -> Live
//!              |
//!              +-> Refused
//! ```
//!
//! It waits for nothing itself: what it cannot know is an [`Errand`] of its holder's, and the answer is handed in.
//! Commands are served one after the other, in their order.

mod acts;
mod members;
mod recovery;
mod request;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::Retention;
use switchboard_core::event::Follow;
use switchboard_core::frame::{Attached, CloseCode, HelloLog, Outgoing, Payload, Recovery};
use switchboard_core::id::{ConnectionId, TopicId, UserId};
use switchboard_core::logs::{LogPage, LogQuery};
use switchboard_core::position::Position;
use switchboard_core::time::WallTime;
use switchboard_core::topic::TopicWish;

use super::code::{self, ErrorCode};
use super::message::{
    Command, ConnectRequest, ConnectResult, Disconnect, Push, RefreshResult, Reply, Subscribe,
    SubscribeRequest, SubscribeResult,
};
use super::{EPOCH, EVERYONE, Encoding, of_user, published};
use crate::{Farewell, Namespaces};
pub use acts::TopicMembers;
use subscriptions::{Subscriptions, Waiting};

/// What a client is told of the server that it speaks to.
const VERSION: &str = concat!("Switchboard ", env!("CARGO_PKG_VERSION"));

/// One terminal of the protocol.
#[derive(Debug)]
pub struct Session {
    encoding: Encoding,
    settings: Arc<Settings>,
    names: Option<Names>,
    stage: Stage,
    /// What was said and is not served.
    commands: VecDeque<Command>,
    /// The frame by which it has said who it is, if that says more. It is read anew when it is known who says it: empty
    /// commands, of which many fit into a frame, are large as soon as they are read.
    behind_login: Option<Payload>,
    /// The command that waits for its answer.
    asked: Option<Asked>,
    pings: Pings,
    /// Topics to which it is subscribed.
    subscriptions: Subscriptions,
    /// What it has said of topics before it was answered.
    waiting: Waiting,
    /// What is wanted for it that it has not said.
    wishes: VecDeque<TopicWish>,
    /// It is to be closed.
    closing: Option<CloseCode>,
}

/// How a terminal is asked whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pings {
    /// By frames of the protocol, of which so many were not answered. More than one is open if the terminal answers late.
    Frames { open: u32 },
    /// By what the transport has for that.
    OfTransport,
}

/// What sessions have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time between two pings, at most.
    pub ping_interval: Duration,
    /// How long a terminal stays subscribed whose token for that has expired: it renews it then.
    pub refresh_grace: Duration,
    /// What clients may do in topics.
    pub namespaces: Namespaces,
    /// What logs keep of what clients publish, unless a namespace says otherwise.
    pub retention: Retention,
    /// Topics to which one is subscribed at the same time, at most.
    pub connection_topics: usize,
}

/// Until when a terminal may be subscribed to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionEnd {
    /// By the wall clock.
    pub at: WallTime,
    /// In so many seconds.
    pub ttl: u32,
}

/// What a terminal names itself by where what it says comes on other connections than its own. On its own it answers
/// no pings either: that it takes them is known without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The terminal. It is a secret between the two.
    pub session: String,
    /// The instance that has it.
    pub node: String,
}

#[derive(Debug)]
enum Stage {
    /// It has not said who it is.
    Fresh,
    /// It has said so, and nobody has judged it.
    LoggingIn {
        id: u32,
        /// The offsets that it has brought, by channel.
        brought: BTreeMap<String, u64>,
        /// By a token that it has said, and can say anew.
        by_token: bool,
    },
    /// It is believed, and waits for its hello.
    Joining {
        id: u32,
        member: Box<Member>,
        /// The offset that it brought.
        brought: Option<u64>,
    },
    /// It is served.
    Live { member: Box<Member> },
    /// It was told why it is not served, and is not heard any more.
    Refused,
}

/// A terminal that is served, and the user that it belongs to.
#[derive(Debug)]
struct Member {
    user: UserId,
    channel: String,
    client: Option<ConnectionId>,
    /// Seconds until its token expires.
    ttl: Option<u32>,
    /// The offset of the last record that it was sent, or where it was told that it stands in its channel. `None`: it
    /// was not told.
    stands_at: Option<u64>,
}

#[derive(Debug)]
enum Asked {
    Refresh {
        id: u32,
    },
    Subscription {
        id: u32,
        topic: TopicId,
        request: Box<SubscribeRequest>,
    },
    SubRefresh {
        id: u32,
        topic: TopicId,
    },
    Publish {
        id: u32,
    },
    Presence {
        id: u32,
    },
    PresenceStats {
        id: u32,
    },
    TopicPresence {
        id: u32,
    },
    TopicPresenceStats {
        id: u32,
    },
    History {
        id: u32,
        of: Channel,
        order: HistoryOrder,
    },
}

impl Asked {
    /// The id of the command.
    const fn id(&self) -> u32 {
        match self {
            Self::Refresh { id }
            | Self::Subscription { id, .. }
            | Self::SubRefresh { id, .. }
            | Self::Publish { id }
            | Self::Presence { id }
            | Self::PresenceStats { id }
            | Self::TopicPresence { id }
            | Self::TopicPresenceStats { id }
            | Self::History { id, .. } => *id,
        }
    }
}

/// Which records of its log a terminal wants, and how.
#[derive(Clone, Copy, Debug)]
enum HistoryOrder {
    /// The oldest first, and so many of them.
    OldestFirst(Option<usize>),
    /// The newest first: so many of the last.
    NewestFirst(u32),
}

/// What is to be done for a session, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The terminal is to be told this.
    Tell(Payload),
    /// Who has this token? Answered by [`Session::logged_in`] or [`Session::not_logged_in`]. It is empty if the
    /// terminal has sent none: its request may say who it is.
    LogIn(String),
    /// Until when does this token count, and is it of this user? Answered by [`Session::refreshed`] or
    /// [`Session::not_logged_in`].
    Refresh(String, UserId),
    /// A message for the application.
    Message(Payload),
    /// The terminal wants to join or to leave a topic. The answer is something that it is [told](Session::told).
    Topic(TopicWish),
    /// Does this token of a terminal of this user allow it to be subscribed to the topic, and until when? Answered by
    /// [`Session::subscription_judged`].
    JudgeSubscription(String, UserId, TopicId),
    /// To be pushed to a topic. Answered by [`Session::answered`].
    Publish(TopicId, Payload),
    /// To be pushed to a topic, as a record of its log, which is to keep so much from then on, if that is not what all
    /// keep. Answered by [`Session::answered`].
    PublishDurably(TopicId, Payload, Option<Retention>),
    /// Answered by [`Session::answered`].
    Ask(Question),
    /// The connection is to be closed.
    Close(CloseCode),
}

/// What a session wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The connections of a user.
    Connections(UserId),
    /// Some of the log of a user or of a topic.
    Log(Channel, LogQuery),
    /// Where the log of a topic ends, and whether it knows the position of this offset: a page without records.
    Stand(TopicId, Option<u64>),
    /// The members of a topic.
    Members(TopicId),
}

impl Question {
    /// Whether it is about a topic, and not about the terminal's own user.
    pub const fn is_about_topic(&self) -> bool {
        match self {
            Self::Connections(_) | Self::Log(Channel::User(_), _) => false,
            Self::Log(Channel::Topic(_), _) | Self::Stand(..) | Self::Members(_) => true,
        }
    }
}

/// The answer to a question, or to a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The connections of the terminal's user, by their UUIDs.
    Connections(Vec<ConnectionId>),
    /// Some of the log.
    Log(LogPage),
    /// The members of a topic.
    Members(TopicMembers),
    /// It is on its way, or a record.
    Published,
    /// It is larger than a push may be.
    TooLarge,
    /// Too much waits for an answer.
    Overloaded,
    /// Nobody can say at present.
    Unknown,
}

/// Why a terminal is not who it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefused {
    /// It has not said who it is.
    Missing,
    /// It has not said clearly who it is.
    Malformed,
    /// What it sent does not count here.
    Invalid,
    /// It counted here, and has expired.
    Expired,
    /// It is known who it is, and it may not connect.
    Forbidden,
    /// Nobody can say at present.
    Unavailable,
}

/// What comes of what a terminal is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing: its protocol has no word for it.
    Nothing,
    /// It is this frame, to be sent as it is.
    Frame(Payload),
    /// Some, in this order.
    Frames(Vec<Payload>),
    /// The connection is to be closed.
    Close(CloseCode),
}

impl Session {
    pub(crate) fn new(encoding: Encoding, settings: Arc<Settings>, names: Option<Names>) -> Self {
        Self {
            encoding,
            settings,
            names,
            stage: Stage::Fresh,
            commands: VecDeque::new(),
            behind_login: None,
            asked: None,
            pings: Pings::Frames { open: 0 },
            subscriptions: Subscriptions::default(),
            waiting: Waiting::default(),
            wishes: VecDeque::new(),
            closing: None,
        }
    }

    /// The session of a terminal that is pinged by its transport, and by no frame of the protocol, which it would have to
    /// answer.
    #[must_use]
    pub fn pinged_by_transport(self) -> Self {
        Self {
            pings: Pings::OfTransport,
            ..self
        }
    }

    /// A frame came from the terminal.
    pub fn hear(&mut self, frame: &Payload) {
        let is_over = self.closing.is_some() || matches!(self.stage, Stage::Refused);
        let is_unwanted = self.encoding.is_one_way() && !matches!(self.stage, Stage::Fresh);
        if is_over || is_unwanted {
            return;
        }
        match self.encoding.decode(frame) {
            Ok(mut commands) => {
                if matches!(self.stage, Stage::Fresh) && self.commands.is_empty() {
                    self.behind_login = (commands.len() > 1).then(|| frame.clone());
                    commands.truncate(1);
                }
                self.commands.extend(commands);
            }
            Err(super::Malformed) => self.close(CloseCode::ProtocolError),
        }
    }

    /// What it has said with its login is to be served, before what it has said since.
    fn hear_what_came_with_login(&mut self) {
        let Some(frame) = self.behind_login.take() else {
            return;
        };
        // It was read before.
        let commands = self.encoding.decode(&frame).unwrap_or_default();
        for command in commands.into_iter().skip(1).rev() {
            self.commands.push_front(command);
        }
    }

    /// Whether a ping, or what it was told, has left something to do.
    pub fn is_due(&self) -> bool {
        self.subscriptions.have_expired() || !self.wishes.is_empty()
    }

    /// Whether something that it said is not served yet: no more is to be read of it.
    pub fn is_busy(&self) -> bool {
        let is_waiting = self.asked.is_some() || self.waiting.is_full();
        let has_said_more = !self.commands.is_empty() || self.behind_login.is_some();
        is_waiting || has_said_more || self.closing.is_some()
    }

    /// What is to be done next. `None`: nothing, until it says more, is answered, or is told something.
    pub fn next_errand(&mut self) -> Option<Errand> {
        loop {
            if let Some(topic) = self.subscriptions.next_expired() {
                return Some(Errand::Topic(TopicWish::Lapse(topic)));
            }
            if let Some(code) = self.closing {
                self.commands.clear();
                return Some(Errand::Close(code));
            }
            if let Some(wish) = self.wishes.pop_front() {
                return Some(Errand::Topic(wish));
            }
            let waits = matches!(self.stage, Stage::LoggingIn { .. } | Stage::Joining { .. });
            if waits || self.asked.is_some() || self.waiting.is_full() {
                return None;
            }
            let Some(command) = self.commands.pop_front() else {
                // A frame may have had many.
                self.commands = VecDeque::new();
                return None;
            };
            if let Some(errand) = self.serve(command) {
                return Some(errand);
            }
        }
    }

    /// The terminal is whom it says, for so many seconds. Returns what it wants of the user's log. `joins`: the topics
    /// that it joins when it is greeted: the first of them, as many as it may be subscribed to.
    pub fn logged_in(&mut self, user: UserId, ttl: Option<u32>, mut joins: Vec<TopicId>) -> Follow {
        joins.truncate(self.settings.connection_topics);
        let stage = std::mem::replace(&mut self.stage, Stage::Refused);
        let Stage::LoggingIn {
            id,
            brought: mut by_channel,
            by_token,
        } = stage
        else {
            self.stage = stage;
            return Follow::default();
        };
        // Whoever was known by its handshake has no token to renew, and would give up where it is asked for one.
        let ttl = ttl.filter(|_| by_token);
        self.subscriptions.begin_by_server(&joins);
        let channel = of_user(&user);
        let brought = by_channel.remove(&channel);
        self.follow_by_server(&joins, &by_channel);
        let member = Box::new(Member {
            user,
            channel,
            client: None,
            ttl,
            stands_at: None,
        });
        self.stage = Stage::Joining {
            id,
            member,
            brought,
        };
        Follow {
            behind: brought,
            ..Follow::default()
        }
    }

    /// The terminal is not whom it says. Returns what it is told.
    pub fn not_logged_in(&mut self, refused: LoginRefused) -> Option<Payload> {
        let refreshing = matches!(self.asked, Some(Asked::Refresh { .. }));
        let id = match (self.asked.take(), &self.stage) {
            (Some(Asked::Refresh { id }), _) => id,
            (None, Stage::LoggingIn { id, .. }) => *id,
            (Some(_) | None, _) => return None,
        };
        if self.encoding.is_one_way() {
            // It has no answer to look at.
            self.close(match refused {
                LoginRefused::Expired => CloseCode::TokenExpired,
                LoginRefused::Unavailable => CloseCode::ServiceRestart,
                LoginRefused::Forbidden => CloseCode::Forbidden,
                LoginRefused::Missing | LoginRefused::Malformed | LoginRefused::Invalid => {
                    CloseCode::InvalidToken
                }
            });
            return None;
        }
        let (error, code) = match refused {
            LoginRefused::Invalid => {
                self.close(CloseCode::InvalidToken);
                return None;
            }
            LoginRefused::Forbidden => {
                self.close(CloseCode::Forbidden);
                return None;
            }
            // An error would be the end for a client: with a connection that expires it gets a token and connects anew.
            LoginRefused::Expired if refreshing => {
                self.close(CloseCode::TokenExpired);
                return None;
            }
            LoginRefused::Missing => (ErrorCode::Unauthorized, CloseCode::InvalidToken),
            LoginRefused::Malformed => (ErrorCode::BadRequest, CloseCode::ProtocolError),
            LoginRefused::Expired => (ErrorCode::TokenExpired, CloseCode::TokenExpired),
            LoginRefused::Unavailable => (ErrorCode::Internal, CloseCode::ServiceRestart),
        };
        if !refreshing {
            // Clients go by the answer. Nobody is kept who goes by none, and the number says the same.
            self.stage = Stage::Refused;
            self.close(code);
        }
        Some(self.refusal(id, error))
    }

    /// The terminal's new token counts for so many seconds. Returns what it is told.
    pub fn refreshed(&mut self, ttl: Option<u32>) -> Option<Payload> {
        let Some(Asked::Refresh { id }) = self.asked.take() else {
            return None;
        };
        let client = self.member()?.client;
        Some(self.encoding.encode(&Reply {
            id,
            refresh: Some(RefreshResult {
                client: client.map_or_else(String::new, |client| client.to_string()),
                version: VERSION.to_owned(),
                expires: ttl.is_some(),
                ttl: ttl.unwrap_or(0),
            }),
            ..Reply::default()
        }))
    }

    /// What the terminal is told, if it takes a session to say it.
    pub fn told(&mut self, outgoing: &Outgoing) -> Told {
        match outgoing {
            Outgoing::Hello {
                connection, log, ..
            } => self.greet(*connection, *log),
            Outgoing::Log(attached) => self.place(*attached),
            Outgoing::Gap(_) => {
                self.close(CloseCode::PositionLost);
                Told::Close(CloseCode::PositionLost)
            }
            // What it holds stays what it holds, and what comes has offsets of its own.
            Outgoing::Back(_) | Outgoing::Received(_) => Told::Nothing,
            Outgoing::Presence(presence) => self.members_told(presence),
            Outgoing::TopicLog(topic, news) => self.log_news(topic, **news),
            Outgoing::Joined { topic, log, .. } => {
                let told = self.joined(topic, log.as_deref());
                self.release(topic);
                told
            }
            Outgoing::Left(topic) => {
                let told = self.left(topic);
                self.release(topic);
                told
            }
            Outgoing::NotJoined(topic, why) => {
                let told = self.not_joined(topic, *why);
                self.release(topic);
                told
            }
            Outgoing::NotWatched(topic, why) => {
                self.not_watched(topic, *why);
                Told::Nothing
            }
            Outgoing::Pushed(pushed) | Outgoing::Record(pushed) => {
                let stands_at = match pushed.topic() {
                    Some(topic) => self.stands_in(topic),
                    None => self.member().and_then(|member| member.stands_at),
                };
                let offset = pushed.position().map(Position::offset).or(stands_at);
                Told::Frame(published(self.encoding, pushed, offset.unwrap_or(0)))
            }
        }
    }

    /// The terminal is about to be sent a record with this offset, of the log of a topic or of its user. Returns whether it
    /// is to be.
    pub fn is_sent(&mut self, topic: Option<&TopicId>, offset: u64) -> bool {
        if let Some(topic) = topic {
            return self.is_sent_of(topic, offset);
        }
        if let Stage::Live { member } = &mut self.stage {
            member.stands_at = Some(offset);
        }
        true
    }

    /// A ping, unless that is the transport's. Those of its subscriptions end whose tokens have expired for so long that they
    /// were not renewed, and what it has asked too fast it asks again.
    pub fn ping(&mut self, now: WallTime) -> Option<Payload> {
        self.subscriptions.expire(now, self.settings.refresh_grace);
        self.watch_again();
        match &mut self.pings {
            Pings::Frames { open } => {
                *open = open.saturating_add(1);
                Some(self.encoding.encode(&Reply::default()))
            }
            Pings::OfTransport => None,
        }
    }

    /// What the terminal is told before it is closed, and how it is closed. Where it waits for the answer to its login
    /// that is the answer: by an error that is `temporary` it is to come again, a bit later each time.
    pub fn farewell(&self, code: CloseCode) -> (Option<Payload>, Farewell) {
        let farewell = code::farewell(code);
        match (&self.stage, code) {
            // It has said in time who it is, and nobody has judged it.
            (Stage::LoggingIn { id, .. }, CloseCode::NotAuthenticated) => {
                let answer = match self.encoding.is_one_way() {
                    true => self.announced(code::SERVER_ERROR),
                    false => self.refusal(*id, ErrorCode::Internal),
                };
                (Some(answer), code::SERVER_ERROR)
            }
            (Stage::Joining { id, .. }, CloseCode::TooManyConnections)
                if !self.encoding.is_one_way() =>
            {
                let answer = self.refusal(*id, ErrorCode::TooManyConnections);
                (Some(answer), farewell)
            }
            // It was answered.
            (Stage::Refused, CloseCode::ServiceRestart) => (None, code::SERVER_ERROR),
            (Stage::Refused, _) => (None, farewell),
            _ if code::is_announced(code) => (Some(self.announced(farewell)), farewell),
            _ => (None, farewell),
        }
    }

    fn announced(&self, Farewell { number, reason }: Farewell) -> Payload {
        self.encoding.encode(&Reply {
            push: Some(Push {
                disconnect: Some(Disconnect {
                    code: number.into(),
                    reason: reason.to_owned(),
                }),
                ..Push::default()
            }),
            ..Reply::default()
        })
    }

    fn close(&mut self, code: CloseCode) {
        self.closing.get_or_insert(code);
    }

    fn member(&self) -> Option<&Member> {
        match &self.stage {
            Stage::Joining { member, .. } | Stage::Live { member } => Some(member),
            Stage::Fresh | Stage::LoggingIn { .. } | Stage::Refused => None,
        }
    }

    fn refusal(&self, id: u32, error: ErrorCode) -> Payload {
        self.encoding.encode(&Reply {
            id,
            error: Some(error.error()),
            ..Reply::default()
        })
    }

    fn greet(&mut self, connection: ConnectionId, log: HelloLog) -> Told {
        let stage = std::mem::replace(&mut self.stage, Stage::Refused);
        let Stage::Joining {
            id,
            mut member,
            brought,
        } = stage
        else {
            self.stage = stage;
            return Told::Nothing;
        };
        let of_user = match log {
            HelloLog::At(attached) => {
                member.stands_at = Some(attached.position.offset());
                placed(attached, brought.is_some())
            }
            // It keeps what it holds. It cannot be told that nothing is missing.
            HelloLog::Unknown | HelloLog::NotAsked => match brought {
                Some(offset) => {
                    member.stands_at = Some(offset);
                    SubscribeResult {
                        recoverable: true,
                        positioned: true,
                        epoch: EPOCH.to_owned(),
                        offset,
                        was_recovering: true,
                        ..SubscribeResult::default()
                    }
                }
                None => unplaced(),
            },
        };
        let topics = self
            .subscriptions
            .names()
            .map(|topic| (topic.to_string(), self.stand_of(topic)));
        let mut subs: BTreeMap<_, _> = topics.collect();
        subs.insert(EVERYONE.to_owned(), unplaced());
        subs.insert(member.channel.clone(), of_user);
        member.client = Some(connection);
        let (ping, pong) = match self.pings {
            Pings::Frames { .. } => {
                let is_answered = self.names.is_none() && !self.encoding.is_one_way();
                (seconds(self.settings.ping_interval), is_answered)
            }
            Pings::OfTransport => (0, false),
        };
        let (session, node) = match &self.names {
            Some(Names { session, node }) => (session.clone(), node.clone()),
            None => Default::default(),
        };
        let result = ConnectResult {
            client: connection.to_string(),
            version: VERSION.to_owned(),
            expires: member.ttl.is_some(),
            ttl: member.ttl.unwrap_or(0),
            subs,
            ping,
            pong,
            session,
            node,
        };
        self.stage = Stage::Live { member };
        self.hear_what_came_with_login();
        Told::Frame(self.encoding.encode(&Reply {
            id,
            connect: Some(result),
            ..Reply::default()
        }))
    }

    /// It is known where the terminal stands, which its hello could not say.
    fn place(&mut self, attached: Attached) -> Told {
        let Stage::Live { member } = &mut self.stage else {
            return Told::Nothing;
        };
        if member.stands_at.is_some() {
            // It was told that something may be missing, and goes on with what is kept.
            return Told::Nothing;
        }
        member.stands_at = Some(attached.position.offset());
        let channel = member.channel.clone();
        Told::Frame(self.encoding.encode(&Reply {
            push: Some(Push {
                channel,
                subscribe: Some(Subscribe {
                    recoverable: true,
                    epoch: EPOCH.to_owned(),
                    offset: attached.position.offset(),
                    positioned: true,
                }),
                ..Push::default()
            }),
            ..Reply::default()
        }))
    }

    /// Serves a command. `None`: nothing is to be done for it.
    fn serve(&mut self, command: Command) -> Option<Errand> {
        let id = command.id;
        match &self.stage {
            Stage::Refused => return None,
            Stage::Fresh => match command.connect {
                Some(connect) if id > 0 => return Some(self.connect(id, *connect)),
                Some(_) | None => return self.violation(),
            },
            Stage::LoggingIn { .. } | Stage::Joining { .. } | Stage::Live { .. } => {}
        }
        if command.connect.is_some() {
            return self.violation();
        }
        if let Some(send) = command.send {
            // What is no text is none of the client's own.
            let message = match self.encoding {
                Encoding::Json | Encoding::OneWay => Payload::text(send.data.into()).ok(),
                Encoding::Protobuf => Some(Payload::binary(send.data.into())),
            };
            return message.map(Errand::Message);
        }
        if id == 0 {
            return match command == Command::default() {
                true => self.pong(),
                false => self.violation(),
            };
        }
        self.request(id, command)
    }

    fn violation(&mut self) -> Option<Errand> {
        self.close(CloseCode::ProtocolError);
        None
    }

    fn pong(&mut self) -> Option<Errand> {
        match &mut self.pings {
            Pings::Frames { open: 0 } | Pings::OfTransport => self.violation(),
            Pings::Frames { open } => {
                // One answer is a sign of life, whatever it is the answer to.
                *open -= 1;
                None
            }
        }
    }

    fn connect(&mut self, id: u32, connect: ConnectRequest) -> Errand {
        let ConnectRequest { token, subs } = connect;
        let by_token = !token.is_empty();
        let brought = subs.into_iter();
        let brought = brought.filter_map(|(name, sub)| Some((name, recovery::brought(&sub)?)));
        self.stage = Stage::LoggingIn {
            id,
            brought: brought.collect(),
            by_token,
        };
        Errand::LogIn(token)
    }
}

/// A subscription without a position. It says something all the same: in Protobuf a map leaves out what says nothing,
/// and a client finds no value then.
fn unplaced() -> SubscribeResult {
    SubscribeResult {
        epoch: EPOCH.to_owned(),
        ..SubscribeResult::default()
    }
}

/// Where a terminal stands in its channel.
fn placed(attached: Attached, was_recovering: bool) -> SubscribeResult {
    SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: EPOCH.to_owned(),
        offset: attached.position.offset(),
        // What it has missed follows as publications, each behind the one before.
        recovered: attached.recovery == Recovery::Resumed,
        was_recovering,
        ..SubscribeResult::default()
    }
}

/// Rounded up: a client waits for longer than that.
fn seconds(span: Duration) -> u32 {
    let seconds = span.as_millis().div_ceil(1000);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
