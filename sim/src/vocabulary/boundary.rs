//! What crosses the boundary of an instance: what it takes in and what it wants done, without the content.

use std::time::Duration;

use switchboard_core::Instance;
use switchboard_core::channel::Channel;
use switchboard_core::command::{Command, RoundTrip, TripKind};
use switchboard_core::directory::log::LogOperation;
use switchboard_core::directory::{Operation, OperationError, OperationResult, Reply};
use switchboard_core::event::{Answer, Event, Life as Sign, LinkFailure, Notice};
use switchboard_core::frame::{CloseCode, Outgoing};
use switchboard_core::id::{
    CallId, ConnectionId, ConnectionKey, Epoch, InstanceId, LinkKey, OpId, PushId, TopicId,
};
use switchboard_core::time::{Instant, Now, WallTime};
use switchboard_core::topic::TopicWish;

/// What an instance takes in.
#[derive(Clone, Copy, Debug)]
pub enum Intake {
    /// It has accepted a terminal, whose token expires then.
    Accepted {
        /// The key that it returns.
        connection: ConnectionKey,
        /// By the instance's clocks.
        expires: Option<Instant>,
        /// Whether it knows who the terminal is.
        known: bool,
    },
    /// It has accepted a link.
    LinkAccepted(LinkKey),
    /// [`Event::Opened`].
    Opened(ConnectionKey),
    /// [`Event::Authenticated`].
    Authenticated {
        /// The connection of that terminal.
        connection: ConnectionKey,
        /// When its token expires, by the instance's clocks.
        expires: Option<Instant>,
    },
    /// [`Event::Refreshed`].
    Refreshed {
        /// The connection of that terminal.
        connection: ConnectionKey,
        /// When its token expires, by the instance's clocks.
        expires: Option<Instant>,
    },
    /// [`Event::Relayed`].
    Relayed,
    /// [`Event::Heard`].
    Heard(ConnectionKey),
    /// [`Event::Written`].
    Written(ConnectionKey),
    /// [`Event::Closed`].
    Closed(ConnectionKey),
    /// [`Event::Probed`].
    Probed {
        /// The connection of that terminal.
        connection: ConnectionKey,
        /// Whether the terminal has shown life.
        shown: bool,
    },
    /// [`Event::DirectoryUp`].
    DirectoryUp,
    /// [`Event::DirectoryDown`], or a round trip that was lost with its link.
    DirectoryDown,
    /// [`Event::Directory`], answered.
    TripAnswered {
        /// The number of the round trip.
        op: OpId,
        /// Whether the instance has not given it up before.
        in_time: bool,
        /// Its link is lost: the server that has answered does not serve as a primary.
        lost: bool,
        /// The lease was claimed or renewed by it.
        granted: bool,
        /// The lease was given back by it.
        released: bool,
        /// It has read the instance's own lease, and there is none.
        vanished: bool,
        /// A bit for each operation that the directory has refused; the last one also for all that follow.
        refused: u64,
    },
    /// [`Event::LinkUp`].
    LinkUp(LinkKey),
    /// [`Event::LinkReceived`].
    LinkReceived {
        /// The key of the link.
        link: LinkKey,
        /// How the directory serves the sender, if the batch says that and nothing else.
        service: Option<Service>,
    },
    /// [`Event::LinkWritten`].
    LinkWritten(LinkKey),
    /// [`Event::LinkDown`].
    LinkDown {
        /// The key of the link.
        link: LinkKey,
        /// How the link ended.
        failure: LinkFailure,
    },
    /// A call that is to be answered.
    Call {
        /// Its number.
        call: CallId,
        /// Its kind.
        kind: CallKind,
    },
    /// [`Event::Drain`].
    Drain {
        /// The time before the first terminal is closed.
        delay: Duration,
        /// The time over which terminals are closed.
        spread: Duration,
    },
}

/// How the directory serves an instance, as it says on its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Its lease says what there is to say.
    Full,
    /// Rows are missing of which its lease does not say so yet.
    Behind,
    /// It holds no lease.
    None,
    /// It holds no lease, and has no terminals.
    Vacant,
}

impl Service {
    /// By its place in the protocol of links.
    const fn of(place: u8) -> Option<Self> {
        match place {
            0 => Some(Self::Full),
            1 => Some(Self::Behind),
            2 => Some(Self::None),
            3 => Some(Self::Vacant),
            _ => None,
        }
    }
}

/// A kind of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// [`Event::Push`], with its deadline.
    Push(Duration),
    /// [`Event::Connections`].
    Connections,
    /// [`Event::Log`].
    Log,
    /// [`Event::Instances`].
    Instances,
    /// [`Event::Relay`].
    Relay,
}

/// What an instance wants done. Lines of its log are [`Observed::Logged`](super::observed::Observed::Logged).
#[derive(Clone, Debug)]
pub enum Output {
    /// The hello is sent.
    Hello {
        /// The connection that it is for.
        connection: ConnectionKey,
        /// Whether the hello says that pushes may miss the terminal.
        degraded: bool,
    },
    /// Anything else is sent.
    Send(ConnectionKey),
    /// [`Command::Flush`].
    Flush(ConnectionKey),
    /// [`Command::Ping`].
    Ping(ConnectionKey),
    /// [`Command::Probe`].
    Probe(ConnectionKey),
    /// [`Command::Close`].
    Close {
        /// The key of the connection.
        connection: ConnectionKey,
        /// The reason that the terminal is told.
        code: CloseCode,
    },
    /// [`Command::Abort`].
    Abort(ConnectionKey),
    /// [`Command::Forget`].
    Forget(ConnectionKey),
    /// The application is told that a terminal is there.
    Connected(ConnectionKey),
    /// The application is told something of a terminal that is there.
    Noticed(ConnectionKey),
    /// The application is told that it is gone.
    Disconnected(ConnectionKey),
    /// [`Command::Directory`].
    Trip(Box<TripOutline>),
    /// [`Command::DirectoryReset`].
    DirectoryReset,
    /// [`Command::Dial`].
    Dial {
        /// The link's key.
        link: LinkKey,
        /// The instance that is expected.
        instance: InstanceId,
    },
    /// [`Command::LinkWrite`].
    LinkWrite {
        /// The key of the link.
        link: LinkKey,
        /// What is written, but for times, if it says only that the instance lives.
        word: Option<[u8; 2]>,
    },
    /// [`Command::LinkProven`].
    LinkProven(LinkKey),
    /// [`Command::LinkClose`].
    LinkClose(LinkKey),
    /// [`Command::Hear`].
    Hear,
    /// [`Command::Answer`].
    Answer {
        /// The number of the call.
        call: CallId,
        /// The kind of the answer; a push has no deadline here.
        kind: CallKind,
    },
    /// [`Command::Log`].
    Log,
    /// [`Command::Drained`].
    Drained,
}

/// What a round trip asks for.
#[derive(Clone, Debug)]
pub struct TripOutline {
    /// Its number.
    pub op: OpId,
    /// Which link it takes.
    pub kind: TripKind,
    /// How many operations it has.
    pub operations: usize,
    /// Rows to be written, each with its epoch.
    pub registers: Vec<(ConnectionId, Epoch)>,
    /// So many times all leases are read.
    pub views: usize,
    /// The lease is claimed, renewed or released, by the operation at this place.
    pub lease: Option<(usize, LeaseStep)>,
    /// Rows are removed.
    pub unregisters: bool,
    /// Rows are read, of users or of topics.
    pub looks_up: bool,
    /// Rows of topics are written or removed.
    pub topics: Vec<TopicStep>,
    /// Heads of these logs are read.
    pub heads: Vec<Channel>,
    /// These pushes are appended to these logs.
    pub appends: Vec<(Channel, PushId)>,
}

/// What happens to the row of a topic.
#[derive(Clone, Debug)]
pub struct TopicStep {
    /// By the operation at this place.
    pub place: usize,
    /// The topic.
    pub topic: TopicId,
    /// Whose row it is.
    pub instance: InstanceId,
    /// The epoch under which it is written, or compared and removed.
    pub epoch: Epoch,
    /// It is written, and not removed.
    pub enters: bool,
}

/// The state of a part before it takes something in, and what that is.
#[derive(Clone, Debug)]
pub enum Met {
    /// Of a link.
    Link(&'static str, &'static str),
    /// Of a terminal.
    Terminal(&'static str, &'static str),
    /// Of the row of a topic.
    Topic(&'static str, &'static str),
    /// Of the lease.
    Lease(&'static str, &'static str),
    /// An answer of the directory, of which the intake says more.
    Answer {
        /// The state of the lease.
        lease: &'static str,
        /// The states of the rows of topics.
        topics: Vec<(TopicId, &'static str)>,
    },
}

impl Met {
    /// What an event meets.
    pub(crate) fn of(instance: &Instance, event: &Event) -> Vec<Self> {
        let terminal = |key, event| {
            let state = instance.terminal_state(key);
            state
                .map(|state| Self::Terminal(state, event))
                .into_iter()
                .collect()
        };
        let link = |key, event| {
            let state = instance.link_state(key);
            state
                .map(|state| Self::Link(state, event))
                .into_iter()
                .collect()
        };
        let lease = |event| Self::Lease(instance.lease_state(), event);
        let all_topics = |event| {
            instance
                .topic_states()
                .map(move |(_, state)| Self::Topic(state, event))
        };
        match event {
            Event::Opened { connection } => terminal(*connection, "opened"),
            Event::Authenticated { connection, .. } => terminal(*connection, "authenticated"),
            Event::Refreshed { connection, .. } => terminal(*connection, "refreshed"),
            Event::Heard { connection, .. } => terminal(*connection, "heard"),
            Event::Written { connection } => terminal(*connection, "written"),
            Event::Withheld { connection, .. } => terminal(*connection, "withheld"),
            Event::Closed { connection, .. } => terminal(*connection, "closed"),
            Event::Probed { connection, .. } => terminal(*connection, "probed"),
            Event::Topic { connection, wish } => {
                let (topic, event) = match wish {
                    TopicWish::Join(topic)
                    | TopicWish::Watch(topic)
                    | TopicWish::JoinAllowed(topic) => (topic, "joins"),
                    TopicWish::Follow(wish) => (&wish.topic, "follows"),
                    TopicWish::Ack(topic, _) => (topic, "confirms"),
                    TopicWish::Leave(topic) => (topic, "leaves"),
                    TopicWish::Lapse(topic) => (topic, "lapses"),
                    TopicWish::WatchAsMember(topic) => (topic, "watches"),
                    TopicWish::Forbidden(topic) => (topic, "is refused"),
                };
                let known = instance.topic_states().find(|(one, _)| *one == topic);
                let state = known.map_or("absent", |(_, state)| state);
                let mut met: Vec<Self> = terminal(*connection, "wishes");
                met.push(Self::Topic(state, event));
                met
            }
            Event::LinkUp { link: key } => link(*key, "up"),
            Event::LinkReceived { link: key, .. } => link(*key, "received"),
            Event::LinkWritten { link: key } => link(*key, "written"),
            Event::LinkDown { link: key, .. } => link(*key, "down"),
            Event::DirectoryUp => {
                let topics = all_topics("directory-up");
                topics.chain([lease("directory-up")]).collect()
            }
            Event::DirectoryDown => {
                let topics = all_topics("directory-down");
                topics.chain([lease("directory-down")]).collect()
            }
            Event::Directory { .. } => {
                let topics = instance.topic_states();
                let topics = topics.map(|(topic, state)| (topic.clone(), state));
                vec![Self::Answer {
                    lease: instance.lease_state(),
                    topics: topics.collect(),
                }]
            }
            Event::Drain { .. } => vec![lease("drain")],
            Event::Push { .. }
            | Event::Connections { .. }
            | Event::Log { .. }
            | Event::Relay { .. }
            | Event::Relayed { .. }
            | Event::Instances { .. } => Vec::new(),
        }
    }
}

/// What happens to the own lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// It is claimed, under this epoch.
    Claim(Epoch),
    /// It is renewed.
    Renew {
        /// It says what it did before.
        unchanged: bool,
    },
    /// It is given back.
    Release,
}

impl LeaseStep {
    /// Whether it is a claim.
    pub const fn claims(self) -> bool {
        match self {
            Self::Claim(_) => true,
            Self::Renew { .. } | Self::Release => false,
        }
    }
}

impl Intake {
    /// What an event is at a moment, which the wall clock is that of the instance at. `in_time`: an answer of the
    /// directory that the instance has waited for.
    pub(crate) fn of(event: &Event, now: Now, in_time: bool) -> Self {
        match event {
            Event::Opened { connection } => Self::Opened(*connection),
            Event::Authenticated { connection, login } => Self::Authenticated {
                connection: *connection,
                expires: login.expires.map(|expires| end_of(now, expires)),
            },
            Event::Refreshed {
                connection,
                expires,
                ..
            } => Self::Refreshed {
                connection: *connection,
                expires: expires.map(|expires| end_of(now, expires)),
            },
            Event::Heard { connection, .. } => Self::Heard(*connection),
            Event::Topic { connection, .. } | Event::Withheld { connection, .. } => {
                Self::Heard(*connection)
            }
            Event::Written { connection } => Self::Written(*connection),
            Event::Closed { connection, .. } => Self::Closed(*connection),
            Event::Probed { connection, life } => Self::Probed {
                connection: *connection,
                shown: matches!(life, Sign::Shown),
            },
            Event::DirectoryUp => Self::DirectoryUp,
            Event::DirectoryDown
            | Event::Directory {
                outcomes: Err(_), ..
            } => Self::DirectoryDown,
            Event::Directory {
                op,
                outcomes: Ok(outcomes),
            } => {
                let refused = outcomes.iter().enumerate().filter(|(_, one)| one.is_err());
                let refused = refused.fold(0, |all, (index, _)| all | 1 << index.min(63));
                let grants = |one: &OperationResult| {
                    matches!(one, Ok(Reply::Claimed { .. } | Reply::Renewed))
                };
                let elsewhere =
                    |one: &OperationResult| matches!(one, Err(OperationError::NotPrimary(_)));
                Self::TripAnswered {
                    op: *op,
                    in_time,
                    lost: outcomes.iter().any(elsewhere),
                    granted: outcomes.iter().any(grants),
                    released: outcomes
                        .iter()
                        .any(|one| matches!(one, Ok(Reply::Released(true)))),
                    vanished: outcomes
                        .iter()
                        .any(|one| matches!(one, Ok(Reply::Lease(None)))),
                    refused,
                }
            }
            Event::LinkUp { link } => Self::LinkUp(*link),
            Event::LinkReceived { link, batch } => Self::LinkReceived {
                link: *link,
                service: word(batch).and_then(|[_, service]| Service::of(service)),
            },
            Event::LinkWritten { link } => Self::LinkWritten(*link),
            Event::LinkDown { link, failure } => Self::LinkDown {
                link: *link,
                failure: *failure,
            },
            Event::Push { call, push } => Self::Call {
                call: *call,
                kind: CallKind::Push(push.deadline),
            },
            Event::Connections { call, .. } => Self::Call {
                call: *call,
                kind: CallKind::Connections,
            },
            Event::Log { call, .. } => Self::Call {
                call: *call,
                kind: CallKind::Log,
            },
            Event::Relay { call, .. } => Self::Call {
                call: *call,
                kind: CallKind::Relay,
            },
            Event::Relayed { .. } => Self::Relayed,
            Event::Instances { call } => Self::Call {
                call: *call,
                kind: CallKind::Instances,
            },
            Event::Drain { delay, spread } => Self::Drain {
                delay: *delay,
                spread: *spread,
            },
        }
    }
}

impl Output {
    /// What a command is.
    pub(crate) fn of(command: &Command) -> Self {
        match command {
            Command::Send {
                connection,
                outgoing: Outgoing::Hello { degraded, .. },
            } => Self::Hello {
                connection: *connection,
                degraded: *degraded,
            },
            Command::Send { connection, .. } => Self::Send(*connection),
            Command::Flush { connection } => Self::Flush(*connection),
            Command::Ping { connection } => Self::Ping(*connection),
            Command::Probe { connection } => Self::Probe(*connection),
            Command::Close { connection, code } => Self::Close {
                connection: *connection,
                code: *code,
            },
            Command::Abort { connection } => Self::Abort(*connection),
            Command::Forget { connection } => Self::Forget(*connection),
            Command::Directory(trip) => Self::Trip(Box::new(TripOutline::of(trip))),
            Command::DirectoryReset => Self::DirectoryReset,
            Command::Dial { link, dial } => Self::Dial {
                link: *link,
                instance: dial.instance,
            },
            Command::LinkWrite { link, batch } => Self::LinkWrite {
                link: *link,
                word: word(batch),
            },
            Command::LinkProven { link } => Self::LinkProven(*link),
            Command::LinkClose { link } => Self::LinkClose(*link),
            Command::Hear(_) => Self::Hear,
            Command::Answer { call, answer } => Self::Answer {
                call: *call,
                kind: match &**answer {
                    Answer::Push(_) => CallKind::Push(Duration::ZERO),
                    Answer::Connections(_) => CallKind::Connections,
                    Answer::Log(_) => CallKind::Log,
                    Answer::Instances(_) => CallKind::Instances,
                    Answer::Relayed(_) => CallKind::Relay,
                },
            },
            Command::Notify(notice) => match &**notice {
                Notice::Connected { connection, .. } => Self::Connected(*connection),
                Notice::Acked { connection, .. } | Notice::Member { connection, .. } => {
                    Self::Noticed(*connection)
                }
                Notice::Disconnected { connection, .. } => Self::Disconnected(*connection),
            },
            Command::Log(_) => Self::Log,
            Command::Drained => Self::Drained,
        }
    }
}

impl TripOutline {
    /// One of so many operations, of which none is known to ask for anything.
    pub const fn new(op: OpId, kind: TripKind, operations: usize) -> Self {
        Self {
            op,
            kind,
            operations,
            registers: Vec::new(),
            views: 0,
            lease: None,
            unregisters: false,
            looks_up: false,
            topics: Vec::new(),
            heads: Vec::new(),
            appends: Vec::new(),
        }
    }

    fn of(trip: &RoundTrip) -> Self {
        let mut outline = Self::new(trip.op, trip.kind, trip.operations.len());
        for (place, operation) in trip.operations.iter().enumerate() {
            match operation {
                Operation::Register {
                    connection, row, ..
                } => outline.registers.push((*connection, row.epoch)),
                Operation::View => outline.views += 1,
                Operation::Claim { lease, .. } => {
                    outline.lease = Some((place, LeaseStep::Claim(lease.epoch)));
                }
                Operation::Renew {
                    expected, lease, ..
                } => {
                    let unchanged = (expected.epoch, expected.floor, expected.state)
                        == (lease.epoch, lease.floor, lease.state);
                    outline.lease = Some((place, LeaseStep::Renew { unchanged }));
                }
                Operation::Release { .. } => outline.lease = Some((place, LeaseStep::Release)),
                Operation::Unregister { .. } => outline.unregisters = true,
                Operation::Lookup { .. } | Operation::LookupTopic { .. } => outline.looks_up = true,
                Operation::EnterTopic {
                    topic,
                    instance,
                    epoch,
                }
                | Operation::LeaveTopic {
                    topic,
                    instance,
                    epoch,
                } => outline.topics.push(TopicStep {
                    place,
                    topic: topic.clone(),
                    instance: *instance,
                    epoch: *epoch,
                    enters: matches!(operation, Operation::EnterTopic { .. }),
                }),
                Operation::Log {
                    channel,
                    operation: LogOperation::Head,
                } => outline.heads.push(channel.clone()),
                Operation::Log {
                    channel,
                    operation: LogOperation::Append { push, .. },
                } => outline.appends.push((channel.clone(), *push)),
                Operation::RemoveRow { .. }
                | Operation::KeepTopic { .. }
                | Operation::ReadLease { .. }
                | Operation::Log { .. } => {}
            }
        }
        outline
    }
}

/// The variant of a heartbeat in the protocol of links.
const HEARTBEAT: u8 = 3;

/// What a batch says of how the directory serves its sender, if it is one heartbeat and nothing else. The
/// moments that follow are left out.
fn word(batch: &[u8]) -> Option<[u8; 2]> {
    let (&[tag, service], rest) = batch.split_first_chunk()?;
    let rest = after_number(rest)?;
    let ends = match rest {
        [0] => true,
        [1, echo @ ..] => after_number(echo).and_then(after_number)?.is_empty(),
        _ => false,
    };
    (tag == HEARTBEAT && ends).then_some([tag, service])
}

/// What follows a number of variable length.
fn after_number(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.iter().position(|byte| *byte < 0x80)?;
    bytes.get(last + 1..)
}

/// When a token expires.
fn end_of(now: Now, expires: WallTime) -> Instant {
    let left = expires.as_millis().saturating_sub(now.wall.as_millis());
    now.mono + Duration::from_millis(left)
}
