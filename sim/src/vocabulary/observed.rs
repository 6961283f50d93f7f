//! What a world tells its checkers.

use std::time::Duration;

use bytes::Bytes;
use switchboard_core::command::Log;
use switchboard_core::directory::{Operation, OperationResult, Row, SeenLease};
use switchboard_core::event::{Answer, Closure, Ending, Heard, Notice, Refused};
use switchboard_core::frame::{Attached, CloseCode, HelloLog, LogNews, Outgoing, Payload};
use switchboard_core::id::{Epoch, InstanceId, LinkKey, TopicId};
use switchboard_core::message::{PushRefused, Receipt};
use switchboard_core::position::Position;
use switchboard_core::topic::TopicWish;

use crate::boundary::{Intake, Met, Output};
use crate::fingerprint::timeless;
use crate::ledger::Excuse;
use crate::trace::InstanceLabel;

/// One life of one process: it runs one instance from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// The process, numbered as in the schedule, from zero.
    pub host: usize,
    /// Which of its lives, from 1.
    pub number: u32,
}

impl Life {
    /// As the trace names it.
    pub(crate) const fn place(self) -> InstanceLabel {
        InstanceLabel {
            host: self.host,
            life: self.number,
        }
    }
}

/// A push that was handed in: which push, and which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandIn {
    /// Its number: see [`Scene::pushes`](crate::Scene::pushes).
    pub push: usize,
    /// Zero the first time, one at its first repeat, and so on.
    pub time: usize,
}

impl HandIn {
    /// As a number, for [`Watch::call_at`](crate::checker::Watch::call_at).
    pub const fn as_number(self) -> u64 {
        (self.push as u64) << 32 | self.time as u64
    }

    /// From such a number.
    pub const fn from_number(number: u64) -> Self {
        Self {
            push: (number >> 32) as usize,
            time: (number & 0xFFFF_FFFF) as usize,
        }
    }
}

timeless!(HandIn, Life);

/// Something that has just happened. Sessions, processes and pushes are numbers into
/// [`Scene::sessions`](crate::Scene::sessions), [`Scene::hosts`](crate::Scene::hosts) and
/// [`Scene::pushes`](crate::Scene::pushes).
#[derive(Clone, Debug)]
pub enum Observed {
    /// An instance has started.
    Started(Life),
    /// An instance is gone, with all its sockets.
    Gone(Life),
    /// An instance has taken its inputs, served its timers, and its commands were executed.
    Turned(Life),
    /// An instance called `handle_timeout` so often in one turn that it was given up.
    Livelocked(Life),

    /// A client began to connect.
    Connecting {
        /// The session that begins with it.
        session: usize,
    },
    /// An instance has accepted the handshake.
    Accepted {
        /// The session that it accepts.
        session: usize,
    },
    /// An instance has refused the handshake.
    Refused {
        /// The session that it refuses.
        session: usize,
        /// The reason that the instance states.
        refused: Refused,
    },
    /// Nobody answered the handshake: there was no instance to connect to, or it was gone.
    NobodyThere {
        /// The session that finds nobody.
        session: usize,
    },
    /// The hello is with the operating system.
    Greeted {
        /// The session that it greets.
        session: usize,
        /// Whether the hello said that pushes may miss the terminal.
        degraded: bool,
    },
    /// The end of a session has begun, on whatever side.
    Ended {
        /// The session that ends.
        session: usize,
    },
    /// A frame with the content of a push is with the operating system.
    Written {
        /// The session whose socket it is written to.
        session: usize,
        /// The push's content, by which it is recognised.
        payload: Payload,
        /// The push that it belongs to, if there is one with this content.
        push: Option<usize>,
        /// Its place in the log, if it is told as a record.
        position: Option<Position>,
    },
    /// A frame with the content of a push has reached the terminal.
    Seen {
        /// The session of that terminal.
        session: usize,
        /// The push's content, by which it is recognised.
        payload: Payload,
        /// The push that it belongs to, if there is one with this content.
        push: Option<usize>,
        /// The topic that it is for. `None`: it is for the user, or for everyone.
        topic: Option<TopicId>,
        /// Its place in the log of the topic, or of the user, if it is told as a record.
        position: Option<Position>,
    },
    /// A terminal has been told where it stands in a log.
    LogHeard {
        /// The session of that terminal.
        session: usize,
        /// The topic of the log. `None`: it is its own.
        topic: Option<TopicId>,
        /// What it was told.
        word: LogWord,
    },
    /// A terminal confirms a record, and all that it was told before.
    Confirmed {
        /// The session of that terminal.
        session: usize,
        /// The topic of the log. `None`: it is its own.
        topic: Option<TopicId>,
        /// The position of the record, which it may have been told on an earlier session.
        position: Position,
    },
    /// A Close frame has reached the terminal.
    SeenClose {
        /// The session that it ends.
        session: usize,
        /// What it says.
        code: CloseCode,
    },

    /// An instance has taken in that a frame came from a terminal.
    Heard {
        /// The session of that terminal.
        session: usize,
        /// The kind of the frame.
        frame: Heard,
    },
    /// An instance takes in what a terminal wants of a topic.
    Wished {
        /// The session of that terminal.
        session: usize,
        /// What it wants.
        wish: TopicWish,
    },
    /// An instance has sent a frame for a terminal to its socket.
    Given {
        /// The session whose socket it is.
        session: usize,
        /// What it says.
        outgoing: Outgoing,
    },
    /// An instance ends a connection.
    Closing {
        /// The session that it ends.
        session: usize,
        /// With this Close frame, or without one.
        code: Option<CloseCode>,
    },
    /// An instance is about to take in that a socket has gone.
    Closed {
        /// The session whose socket it was.
        session: usize,
        /// How the socket ended.
        closure: Closure,
        /// What the instance says of the connection.
        account: Option<Account>,
    },
    /// An instance tells its application something.
    Noticed {
        /// The instance that tells it.
        life: Life,
        /// What it says.
        notice: Box<Notice>,
    },

    /// A push was handed in at an instance.
    HandedIn(HandIn),
    /// A push was answered with a receipt.
    Answered {
        /// The push, and which time it was.
        hand_in: HandIn,
        /// What it says.
        receipt: Box<Receipt>,
    },
    /// A push was refused.
    PushRefused {
        /// The push, and which time it was.
        hand_in: HandIn,
        /// The reason that the instance states.
        refused: PushRefused,
    },

    /// An instance has taken a question beside pushes.
    Asked {
        /// Its number: see [`Scene::questions`](crate::Scene::questions).
        question: usize,
    },
    /// It was answered.
    Told {
        /// The number of the question.
        question: usize,
        /// What the answer says.
        answer: Box<Answer>,
    },

    /// An instance is about to take something in.
    Met {
        /// The instance.
        life: Life,
        /// The state that it meets.
        met: Met,
    },
    /// The directory has executed an operation, or refused it.
    Executed(Box<Executed>),
    /// An instance has taken in an answer of the directory that tells the leases.
    Viewed {
        /// The instance that has read.
        life: Life,
        /// What it was told.
        leases: Vec<SeenLease>,
    },
    /// An instance was about to dial another and somebody else answered at the address.
    NotMe {
        /// The instance that dialled.
        dialler: Life,
        /// The instance that it wanted.
        wanted: InstanceId,
        /// The instance that was there.
        occupant: Life,
    },

    /// What a stranger has said on a link is about to be taken in, or what a peer has said that no peer says.
    StrangerSaid {
        /// The instance that takes it in.
        life: Life,
        /// The key of the link.
        link: LinkKey,
        /// No peer says that: the link must end.
        ends: bool,
    },
    /// A batch of an instance is on its way to another, or no more.
    Carried {
        /// The process that has written it.
        from: usize,
        /// The process at the other end of the link.
        to: usize,
        /// How far it is.
        step: LinkStep,
        /// What it says.
        batch: Bytes,
    },

    /// An instance tells its operator something.
    Logged {
        /// The instance that logs.
        life: Life,
        /// What it says, and how much an operator should care.
        log: Box<Log>,
    },
    /// An instance has taken something in.
    Took {
        /// The instance that takes it in.
        life: Life,
        /// What the instance has taken in.
        intake: Intake,
    },
    /// An instance wants something done.
    Gave {
        /// The instance that emits the command.
        life: Life,
        /// What the instance wants done.
        output: Output,
    },
    /// A fault has begun. Of one whose end is known, `until` says it.
    FaultBegan(Excuse),
    /// A fault has ended whose end was not known, or that was to last longer.
    FaultEnded(Excuse),
    /// Half a second has passed since the last such tick, or more if nothing that has to do with the
    /// directory, connections or faults has changed for so long that nothing is left to be noticed.
    Tick,
}

/// How far a batch is that an instance has written into a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStep {
    /// It was written.
    Written,
    /// Its link does not take it: it waits until a clog is mended.
    Stuck,
    /// Nothing passes: it waits until a cut is mended.
    Held,
    /// The other end takes it.
    Arrived,
    /// The link is gone, or carries nothing and nobody knows: it is lost.
    Lost,
}

/// What a terminal is told of where it stands in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWord {
    /// It begins here: its hello says so, or what follows on that.
    Attached(Attached),
    /// Something is missing, and it goes on from here.
    Gap(Position),
    /// Nothing is missing, and what came after this is to be forgotten.
    Back(Position),
}

impl LogWord {
    /// What a frame says of the log of a topic, or of that of the user.
    pub fn of(outgoing: &Outgoing) -> Option<(Option<&TopicId>, Self)> {
        match outgoing {
            Outgoing::Joined { topic, log, .. } => match log.as_deref()? {
                HelloLog::At(attached) => Some((Some(topic), Self::Attached(*attached))),
                HelloLog::NotAsked | HelloLog::Unknown => None,
            },
            Outgoing::TopicLog(topic, news) => {
                let word = match **news {
                    LogNews::At(attached) => Self::Attached(attached),
                    LogNews::Gap(position) => Self::Gap(position),
                    LogNews::Back(position) => Self::Back(position),
                };
                Some((Some(topic), word))
            }
            Outgoing::Hello {
                log: HelloLog::At(attached),
                ..
            }
            | Outgoing::Log(attached) => Some((None, Self::Attached(*attached))),
            Outgoing::Gap(position) => Some((None, Self::Gap(*position))),
            Outgoing::Back(position) => Some((None, Self::Back(*position))),
            Outgoing::Hello {
                log: HelloLog::NotAsked | HelloLog::Unknown,
                ..
            }
            | Outgoing::Record(_)
            | Outgoing::Pushed(_)
            | Outgoing::Received(_)
            | Outgoing::Left(_)
            | Outgoing::NotJoined(_, _)
            | Outgoing::NotWatched(_, _)
            | Outgoing::Presence(_) => None,
        }
    }
}

/// What something that happens has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Processes that start and end, and who is found at their addresses.
    Lives,
    /// Turns of instances. There are more of these than of all else together.
    Turns,
    /// Clients that connect, and how their sessions begin and end.
    Sessions,
    /// Frames that are written and seen.
    Frames,
    /// What instances take in of terminals, and what they say: to them, and of them.
    Words,
    /// Pushes that are handed in and answered.
    Pushes,
    /// Questions beside pushes, and their answers.
    Questions,
    /// Operations in the directory.
    Directory,
    /// Faults that begin and end.
    Faults,
    /// Time that passes.
    Time,
    /// Lines of instances' logs.
    Log,
    /// What instances take in and what they want done: beside turns most of what happens.
    Boundary,
    /// Batches on links, with what they say.
    Links,
    /// In which states instances take things in: for whoever counts.
    States,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Lives,
        Self::Turns,
        Self::Sessions,
        Self::Frames,
        Self::Words,
        Self::Pushes,
        Self::Questions,
        Self::Directory,
        Self::Faults,
        Self::Time,
        Self::Log,
        Self::Boundary,
        Self::Links,
        Self::States,
    ];
}

impl Observed {
    /// What it has to do with.
    pub const fn topic(&self) -> Topic {
        match self {
            Self::Started(_) | Self::Gone(_) | Self::NotMe { .. } => Topic::Lives,
            Self::Turned(_) | Self::Livelocked(_) => Topic::Turns,
            Self::Connecting { .. }
            | Self::Accepted { .. }
            | Self::Refused { .. }
            | Self::NobodyThere { .. }
            | Self::Greeted { .. }
            | Self::Ended { .. }
            | Self::SeenClose { .. } => Topic::Sessions,
            Self::Written { .. }
            | Self::Seen { .. }
            | Self::LogHeard { .. }
            | Self::Confirmed { .. } => Topic::Frames,
            Self::Heard { .. }
            | Self::Wished { .. }
            | Self::Given { .. }
            | Self::Closing { .. }
            | Self::Closed { .. }
            | Self::Noticed { .. } => Topic::Words,
            Self::HandedIn(_) | Self::Answered { .. } | Self::PushRefused { .. } => Topic::Pushes,
            Self::Asked { .. } | Self::Told { .. } => Topic::Questions,
            Self::Executed(_) | Self::Viewed { .. } => Topic::Directory,
            Self::FaultBegan(_) | Self::FaultEnded(_) => Topic::Faults,
            Self::Tick => Topic::Time,
            Self::Logged { .. } => Topic::Log,
            Self::Took { .. } | Self::Gave { .. } => Topic::Boundary,
            Self::StrangerSaid { .. } => Topic::Boundary,
            Self::Carried { .. } => Topic::Links,
            Self::Met { .. } => Topic::States,
        }
    }
}

/// What an instance says of a connection that ends, for counters and log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// How it ended.
    pub ending: Ending,
    /// How long it lived.
    pub lived: Duration,
    /// Messages that the terminal sent.
    pub messages: u64,
    /// Messages that it was told.
    pub frames: u64,
    /// Bytes of the payloads of the pushes among them.
    pub bytes: u64,
}

/// One operation in the directory.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The instance that asked for it. It may be gone by the time it is executed.
    pub life: Life,
    /// What was asked.
    pub operation: Operation,
    /// What came of it.
    pub outcome: OperationResult,
    /// Whether the present primary has executed it: a former one answers some for a while.
    pub at_primary: bool,
    /// What stood there, and what stands there.
    pub change: Change,
}

/// What an operation found and what it left.
#[derive(Clone, Debug)]
pub enum Change {
    /// It concerns no single entry, or cannot change any.
    None,
    /// The row of one connection.
    Row {
        /// What stood there before.
        before: Option<Row>,
        /// What stands there since.
        after: Option<Row>,
    },
    /// What an instance has said of a topic: under which epoch it has members.
    Topic {
        /// What stood there.
        before: Option<Epoch>,
        /// What stands there from here on.
        after: Option<Epoch>,
    },
    /// The lease of one instance.
    Lease {
        /// What stood there before.
        before: Option<SeenLease>,
        /// What stands there since.
        after: Option<SeenLease>,
    },
}

/// Why a world should be at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiescence {
    /// All faults have healed: from here on nothing is excused.
    Converged,
    /// All clients are gone as well.
    AtRest,
}
