//! One terminal that speaks the Centrifuge protocol: what it has said, and how it is answered.
//!
//! ```text
//! Fresh -> LoggingIn -> Joining -> Live
//!              |
//!              +-> Refused
//! ```
//!
//! It waits for nothing itself: what it cannot know is a [`Deed`] of who holds it, and the answer is handed in.
//! Commands are served one after the other, in their order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use switchboard_core::event::Follow;
use switchboard_core::frame::{Attached, CloseCode, HelloLog, Outgoing, Payload, Recovery};
use switchboard_core::id::{ConnectionId, UserId};
use switchboard_core::logs::{LogPage, LogQuery};
use switchboard_core::position::Position;

use super::code::{self, ErrorCode};
use super::message::{
    ClientInfo, Command, ConnectRequest, ConnectResult, Disconnect, Empty, HistoryRequest,
    HistoryResult, PresenceResult, PresenceStatsResult, Push, RefreshResult, Reply, Subscribe,
    SubscribeRequest, SubscribeResult,
};
use super::{EPOCH, EVERYONE, Encoding, of_user, published};
use crate::Farewell;

/// What a client is told of the server that it speaks to.
const VERSION: &str = concat!("Switchboard ", env!("CARGO_PKG_VERSION"));

/// Bytes of the name of a channel, at most.
const CHANNEL_BYTES: usize = 255;

/// One terminal of the protocol.
#[derive(Debug)]
pub struct Session {
    encoding: Encoding,
    settings: Settings,
    stage: Stage,
    /// What was said and is not served.
    commands: VecDeque<Command>,
    /// The command that waits for its answer.
    asked: Option<Asked>,
    /// Pings that were not answered. More than one is open if the terminal answers late.
    open_pings: u32,
    /// It is to be closed.
    closing: Option<CloseCode>,
}

/// What sessions have in common.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The time between two pings, at most.
    pub ping_interval: Duration,
}

#[derive(Debug)]
enum Stage {
    /// It has not said who it is.
    Fresh,
    /// It has said so, and nobody has judged it.
    LoggingIn {
        id: u32,
        subs: BTreeMap<String, SubscribeRequest>,
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

/// Who is served.
#[derive(Debug)]
struct Member {
    user: UserId,
    channel: String,
    client: Option<ConnectionId>,
    /// Seconds until its token runs out.
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
    Presence {
        id: u32,
    },
    PresenceStats {
        id: u32,
    },
    History {
        id: u32,
        reverse: bool,
        limit: Option<usize>,
    },
}

/// What is to be done for a session, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
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
    /// Answered by [`Session::answered`].
    Ask(UserId, Question),
    /// The connection is to be closed.
    Close(CloseCode),
}

/// What a session wants to know of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The user's connections.
    Connections,
    /// Some of the user's log.
    Log(LogQuery),
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The user's connections.
    Connections(Vec<ConnectionId>),
    /// Some of the user's log.
    Log(LogPage),
    /// Nobody can say at present.
    Unknown,
}

/// Why a terminal is not who it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefused {
    /// It has not said who it is.
    Missing,
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
    /// A frame.
    Frame(Payload),
    /// The connection is to be closed.
    Close(CloseCode),
}

impl Session {
    pub(crate) fn new(encoding: Encoding, settings: Settings) -> Self {
        Self {
            encoding,
            settings,
            stage: Stage::Fresh,
            commands: VecDeque::new(),
            asked: None,
            open_pings: 0,
            closing: None,
        }
    }

    /// A frame came from the terminal.
    pub fn hear(&mut self, frame: &Payload) {
        if self.closing.is_some() || matches!(self.stage, Stage::Refused) {
            return;
        }
        match self.encoding.decode(frame) {
            Ok(commands) => self.commands.extend(commands),
            Err(super::Malformed) => self.close(CloseCode::ProtocolError),
        }
    }

    /// Whether something that it said is not served yet: no more is to be read of it.
    pub fn is_busy(&self) -> bool {
        self.asked.is_some() || !self.commands.is_empty() || self.closing.is_some()
    }

    /// What is to be done next. `None`: nothing, until it says more, is answered, or is told something.
    pub fn next_deed(&mut self) -> Option<Deed> {
        loop {
            if let Some(code) = self.closing {
                self.commands.clear();
                return Some(Deed::Close(code));
            }
            let waits = matches!(self.stage, Stage::LoggingIn { .. } | Stage::Joining { .. });
            if waits || self.asked.is_some() {
                return None;
            }
            let Some(command) = self.commands.pop_front() else {
                // A frame may have had many.
                self.commands = VecDeque::new();
                return None;
            };
            if let Some(deed) = self.serve(command) {
                return Some(deed);
            }
        }
    }

    /// The terminal is whom it says, for so many seconds. Returns what it wants of the user's log.
    pub fn logged_in(&mut self, user: UserId, ttl: Option<u32>) -> Follow {
        let stage = std::mem::replace(&mut self.stage, Stage::Refused);
        let Stage::LoggingIn {
            id,
            mut subs,
            by_token,
        } = stage
        else {
            self.stage = stage;
            return Follow::default();
        };
        // Whoever was known by its handshake has no token to renew, and would give up where it is asked for one.
        let ttl = ttl.filter(|_| by_token);
        let channel = of_user(&user);
        let brought = (subs.remove(&channel)).filter(|sub| sub.recover);
        let brought = brought.map(|sub| match sub.epoch == EPOCH || sub.epoch.is_empty() {
            true => sub.offset,
            // It is of another server. No position is at the beginning of time.
            false => 0,
        });
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
        let error = match refused {
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
            LoginRefused::Missing => ErrorCode::Unauthorized,
            LoginRefused::Expired => ErrorCode::TokenExpired,
            LoginRefused::Unavailable => ErrorCode::Internal,
        };
        if !refreshing {
            self.stage = Stage::Refused;
            self.commands.clear();
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
            Outgoing::Joined { .. } | Outgoing::Left(_) | Outgoing::NotJoined(..) => Told::Nothing,
            Outgoing::Pushed(pushed) | Outgoing::Record(pushed) => {
                let stands_at = self.member().and_then(|member| member.stands_at);
                let offset = pushed.position().map(Position::offset).or(stands_at);
                Told::Frame(published(self.encoding, pushed, offset.unwrap_or(0)))
            }
        }
    }

    /// The terminal is sent a record with this offset.
    pub fn is_sent(&mut self, offset: u64) {
        if let Stage::Live { member } = &mut self.stage {
            member.stands_at = Some(offset);
        }
    }

    /// A ping.
    pub fn ping(&mut self) -> Payload {
        self.open_pings = self.open_pings.saturating_add(1);
        self.encoding.encode(&Reply::default())
    }

    /// What the terminal is told before it is closed.
    pub fn farewell(&self, code: CloseCode) -> Option<Payload> {
        if !code::is_announced(code) {
            return None;
        }
        let Farewell { number, reason } = code::farewell(code);
        Some(self.encoding.encode(&Reply {
            push: Some(Push {
                disconnect: Some(Disconnect {
                    code: number.into(),
                    reason: reason.to_owned(),
                }),
                ..Push::default()
            }),
            ..Reply::default()
        }))
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
        let subs = BTreeMap::from([
            (member.channel.clone(), of_user),
            (EVERYONE.to_owned(), unplaced()),
        ]);
        member.client = Some(connection);
        let result = ConnectResult {
            client: connection.to_string(),
            version: VERSION.to_owned(),
            expires: member.ttl.is_some(),
            ttl: member.ttl.unwrap_or(0),
            subs,
            ping: seconds(self.settings.ping_interval),
            pong: true,
        };
        self.stage = Stage::Live { member };
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
    fn serve(&mut self, command: Command) -> Option<Deed> {
        let id = command.id;
        match &self.stage {
            Stage::Refused => return None,
            Stage::Fresh => match command.connect {
                Some(connect) if id > 0 => return Some(self.connect(id, connect)),
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
                Encoding::Json => Payload::text(send.data.into()).ok(),
                Encoding::Protobuf => Some(Payload::binary(send.data.into())),
            };
            return message.map(Deed::Message);
        }
        if id == 0 {
            return match command == Command::default() {
                true => self.pong(),
                false => self.violation(),
            };
        }
        self.request(id, command)
    }

    fn violation(&mut self) -> Option<Deed> {
        self.close(CloseCode::ProtocolError);
        None
    }

    fn pong(&mut self) -> Option<Deed> {
        match self.open_pings {
            0 => self.violation(),
            _ => {
                // One answer is a sign of life, whatever it is the answer to.
                self.open_pings -= 1;
                None
            }
        }
    }

    fn connect(&mut self, id: u32, connect: ConnectRequest) -> Deed {
        let ConnectRequest { token, subs } = connect;
        let by_token = !token.is_empty();
        self.stage = Stage::LoggingIn { id, subs, by_token };
        Deed::LogIn(token)
    }

    /// Serves a command that is to be answered.
    fn request(&mut self, id: u32, command: Command) -> Option<Deed> {
        if let Some(refresh) = command.refresh {
            if refresh.token.is_empty() {
                return self.violation();
            }
            let user = self.member()?.user.clone();
            self.asked = Some(Asked::Refresh { id });
            return Some(Deed::Refresh(refresh.token, user));
        }
        let channel = channel_of(&command);
        let member = self.member()?;
        if channel.is_some_and(|channel| channel.len() > CHANNEL_BYTES) {
            return Some(Deed::Tell(self.refusal(id, ErrorCode::BadRequest)));
        }
        let is_own = channel == Some(member.channel.as_str());
        let is_subscribed = is_own || channel == Some(EVERYONE);
        let user = member.user.clone();
        let (asked, question) = match () {
            () if is_own && command.presence.is_some() => {
                (Asked::Presence { id }, Question::Connections)
            }
            () if is_own && command.presence_stats.is_some() => {
                (Asked::PresenceStats { id }, Question::Connections)
            }
            () if is_own && command.history.is_some() => {
                let request = command.history.unwrap_or_default();
                match asked_history(id, &request) {
                    Ok(asked) => asked,
                    Err(error) => return Some(Deed::Tell(self.refusal(id, error))),
                }
            }
            () => {
                let deed = self.refuse(id, &command, is_subscribed);
                return Some(Deed::Tell(deed));
            }
        };
        self.asked = Some(asked);
        Some(Deed::Ask(user, question))
    }

    /// Answers what there is not.
    fn refuse(&self, id: u32, command: &Command, is_subscribed: bool) -> Payload {
        let error = match command {
            Command {
                subscribe: Some(_), ..
            } => match is_subscribed {
                true => ErrorCode::AlreadySubscribed,
                false => ErrorCode::UnknownChannel,
            },
            Command {
                unsubscribe: Some(_),
                ..
            } => match is_subscribed {
                true => ErrorCode::PermissionDenied,
                false => {
                    return self.encoding.encode(&Reply {
                        id,
                        unsubscribe: Some(Empty {}),
                        ..Reply::default()
                    });
                }
            },
            Command {
                publish: Some(_), ..
            } if is_subscribed => ErrorCode::PermissionDenied,
            _ => ErrorCode::NotAvailable,
        };
        self.refusal(id, error)
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

/// Rounded up: a client waits for longer than that.
fn seconds(span: Duration) -> u32 {
    let seconds = span.as_millis().div_ceil(1000);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use switchboard_core::frame::{Attached, HelloLog, Recovery};
    use switchboard_core::position::Position;
    use uuid::Uuid;

    use super::*;

    const EXPIRES: Option<u32> = Some(60);

    /// A session after this connect command, and what it was told.
    fn connected(connect: &str) -> (Session, String) {
        let ping_interval = Duration::from_secs(25);
        let mut session = Session::new(Encoding::Json, Settings { ping_interval });
        session.hear(&Payload::from(connect.to_owned()));
        assert!(matches!(session.next_deed(), Some(Deed::LogIn(_))));
        let _follow = session.logged_in(UserId::new("ann").expect("a user"), EXPIRES);
        let position = Position::new(7, 1).expect("in range");
        let told = session.told(&Outgoing::Hello {
            connection: ConnectionId::new(Uuid::from_u128(7)),
            degraded: false,
            log: HelloLog::At(Attached {
                position,
                recovery: Recovery::Anew,
            }),
        });
        let Told::Frame(frame) = told else {
            panic!("{told:?}");
        };
        let text = String::from_utf8(frame.bytes().to_vec());
        (session, text.expect("JSON"))
    }

    #[test]
    fn a_client_is_told_when_its_token_expires_if_it_has_sent_one() {
        let (_, told) = connected(r#"{"id":1,"connect":{"token":"a token"}}"#);
        assert!(told.contains("expires"), "{told}");
        let (_, told) = connected(r#"{"id":1,"connect":{}}"#);
        assert!(!told.contains("expires"), "{told}");
    }

    #[test]
    fn a_client_that_renews_an_expired_token_is_to_connect_anew() {
        let (mut session, _) = connected(r#"{"id":1,"connect":{"token":"a token"}}"#);
        let refresh = r#"{"id":2,"refresh":{"token":"another"}}"#;
        session.hear(&Payload::from(refresh.to_owned()));
        assert!(matches!(session.next_deed(), Some(Deed::Refresh(..))));
        assert_eq!(session.not_logged_in(LoginRefused::Expired), None);
        let closed = Deed::Close(CloseCode::TokenExpired);
        assert_eq!(session.next_deed(), Some(closed));
    }
}
