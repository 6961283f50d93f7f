//! What an instance wants done.

use bytes::Bytes;
use serde::Serialize;

use crate::difference::Difference;
use crate::directory::Operation;
use crate::event::{Answer, Notice};
use crate::frame::{CloseCode, Outgoing, Payload};
use crate::id::{CallId, ConnectionKey, Epoch, InboundKey, InstanceId, LinkKey, OpId, SessionName};

/// Something to be done. Commands of one connection, of one link and of the directory are executed
/// in the order given; everything else may run at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Command {
    /// Tell a terminal something, in its protocol. It may be kept until the next `Flush`.
    Send {
        /// The key of the connection.
        connection: ConnectionKey,
        /// What the terminal is told.
        outgoing: Outgoing,
    },
    /// Hand what was sent to the operating system, then report `Written`, once for each `Flush`.
    /// There is never a second `Flush` before that.
    Flush {
        /// The key of the connection.
        connection: ConnectionKey,
    },
    /// Send a ping, at once if that is possible.
    Ping {
        /// The key of the connection.
        connection: ConnectionKey,
    },
    /// Send what was sent before, then tell the terminal why, and end the connection as its transport
    /// does; then report `Closed`. No `Written` is expected any more.
    Close {
        /// The key of the connection.
        connection: ConnectionKey,
        /// Why, as the terminal is told.
        code: CloseCode,
    },
    /// Drop the socket at once; then report `Closed`.
    Abort {
        /// The key of the connection.
        connection: ConnectionKey,
    },
    /// The connection is over: its slot may be used again.
    Forget {
        /// The key of the connection.
        connection: ConnectionKey,
    },

    /// Send these operations to the directory as one pipeline, behind the earlier ones, and report
    /// their outcomes as one event.
    Directory(Box<RoundTrip>),
    /// The directory answered that it may have lost writes: drop its link and establish it anew.
    DirectoryReset,

    /// Open a link; report `LinkUp` or `LinkDown`.
    Dial {
        /// What the link is called in events and commands from here on.
        link: LinkKey,
        /// The instance that is expected, and its address.
        dial: Box<Dial>,
    },
    /// Send a batch, which arrives in one piece, then report `LinkWritten`. There is never a second
    /// one before that.
    LinkWrite {
        /// The key of the link.
        link: LinkKey,
        /// At most [`Config::BATCH_BYTES_MAX`](crate::config::Config::BATCH_BYTES_MAX) bytes; their
        /// meaning is between the instances.
        batch: Bytes,
    },
    /// The other end has proven that it is of the cluster. Before that it may be anybody, and says no
    /// more than a handshake has to: nothing larger is to be read for it.
    LinkProven {
        /// The key of the link.
        link: LinkKey,
    },
    /// Send what was written before, close the link, and forget its key. No event is expected.
    LinkClose {
        /// The key of the link.
        link: LinkKey,
    },

    /// Answer a call of the application, which is answered once.
    Answer {
        /// The number of the call.
        call: CallId,
        /// The answer, of the kind that the call asks for.
        answer: Box<Answer>,
    },
    /// Tell the application what has happened to a terminal.
    Notify(Box<Notice>),
    /// Write a line of the log, for the operator.
    Log(Box<Log>),
    /// The instance has ended: no connection, no row, no lease, no link is left, or cannot be
    /// removed because the directory is away.
    Drained,

    /// A terminal has not answered its ping: read what has come of it, then report `Probed`. It is what answers
    /// a ping where a transport lets terminals say nothing. There is never a second `Probe` before that, unless
    /// the terminal was pinged again.
    Probe {
        /// The key of the connection.
        connection: ConnectionKey,
    },
    /// Have a terminal be heard that has said this at another instance, and report
    /// [`Relayed`](crate::event::Event::Relayed).
    Hear(Box<RelayedFrame>),
}

/// What a terminal has said at another instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelayedFrame {
    /// The delivery that it came by.
    pub delivery: InboundKey,
    /// What the terminal names itself by.
    pub session: SessionName,
    /// What it has said.
    pub frame: Payload,
}

const _: () = assert!(
    size_of::<Command>() <= 56,
    "commands are moved often: keep them small"
);

/// Operations that share one round trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoundTrip {
    /// What the answer is to name: each trip has another.
    pub op: OpId,
    /// What is to be done, in this order.
    pub operations: Vec<Operation>,
    /// Which link it takes.
    #[serde(skip_serializing_if = "TripKind::is_ordered")]
    pub kind: TripKind,
}

/// Which link a round trip takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum TripKind {
    /// The directory link, behind the earlier ones.
    Ordered,
    /// One of its own, as the others would wait behind it. Each operation is a [`LogOperation::Confirm`], and the
    /// directory waits for a replica once for all of them, for [`Config::replica_wait`] at most. That this link fails says
    /// nothing of the other one: only this trip is lost. There is one at a time; another may be asked for when the
    /// instance has given the first up.
    ///
    /// [`LogOperation::Confirm`]: crate::directory::log::LogOperation::Confirm
    /// [`Config::replica_wait`]: crate::config::Config::replica_wait
    ForReplica,
}

impl TripKind {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands in references"
    )]
    const fn is_ordered(&self) -> bool {
        matches!(self, Self::Ordered)
    }
}

/// Where a link is to be opened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dial {
    /// The instance that is expected there.
    pub instance: InstanceId,
    /// Where the instance listens for links, as `host:port`.
    pub address: String,
}

/// Rare things that an operator wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Log {
    /// A lease was claimed.
    Claimed {
        /// The epoch of the claim, above all former ones of this instance.
        epoch: Epoch,
        /// Rows that are now written again.
        rows: usize,
    },
    /// All rows are written.
    Settled {
        /// The epoch under which they are, and to which the floor rises.
        epoch: Epoch,
    },
    /// The lease was lost: it had expired, or the directory lost it.
    LeaseLost {
        /// The epoch under which it was held.
        epoch: Epoch,
    },
    /// Another instance's lease vanished before its time: the directory was wiped.
    LeaseVanished {
        /// The instance whose lease it is.
        instance: InstanceId,
    },
    /// The directory does not serve as a primary.
    DirectoryNotPrimary {
        /// The server's error, as it came: READONLY, LOADING and the like.
        answer: String,
    },
    /// The directory refused an operation.
    DirectoryRefused {
        /// The server's error, as it came: OOM, NOREPLICAS, NOPERM and the like.
        answer: String,
    },
    /// A link to another instance is open.
    PeerUp {
        /// The id of the other instance.
        instance: InstanceId,
    },
    /// A link to another instance ended.
    PeerDown {
        /// The id of the other instance.
        instance: InstanceId,
    },
    /// A peer speaks another version of the links' protocol.
    WireVersion {
        /// The version that this instance speaks.
        ours: u16,
        /// The version that the peer speaks.
        theirs: u16,
        /// The id that it claims, if its first message has one.
        instance: Option<InstanceId>,
    },
    /// A peer could not prove that it knows the cluster's secret.
    WrongSecret {
        /// The id that it claims.
        instance: InstanceId,
    },
    /// A peer sent something that is not of the protocol.
    PeerMisbehaved {
        /// What it sent, in words.
        what: &'static str,
    },
    /// A peer has other settings where all instances should have the same.
    SettingsDiffer {
        /// The id of the other instance.
        instance: InstanceId,
        /// The settings that differ, with both values.
        differences: Vec<Difference>,
    },
    /// Cut off from the directory while it works for others: terminals are sent elsewhere.
    Isolated,
    /// The directory is reachable again after an isolation.
    Rejoined,
    /// Another instance has opened a link, was given the proof of this one, and has ended the link without one
    /// of its own.
    Unproven {
        /// The id that it claims, which is one of the cluster's.
        instance: InstanceId,
    },
}

/// How much an operator should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It belongs to normal operation.
    Info,
    /// Something went wrong that mends itself, or that others are to blame for.
    Warning,
    /// Somebody has to do something, or terminals are missed until then.
    Error,
}

impl Log {
    /// How much an operator should care.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Claimed { .. }
            | Self::Settled { .. }
            | Self::PeerUp { .. }
            | Self::PeerDown { .. }
            | Self::Rejoined => Severity::Info,
            Self::LeaseLost { .. }
            | Self::LeaseVanished { .. }
            | Self::DirectoryNotPrimary { .. }
            | Self::PeerMisbehaved { .. }
            | Self::SettingsDiffer { .. }
            | Self::Unproven { .. } => Severity::Warning,
            Self::DirectoryRefused { .. }
            | Self::WireVersion { .. }
            | Self::WrongSecret { .. }
            | Self::Isolated => Severity::Error,
        }
    }
}

/// Where an instance puts its commands: one list, owned and reused by the caller.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    commands: Vec<Command>,
}

impl Outbox {
    /// Without a command, and without memory for any.
    pub const fn new() -> Self {
        Self {
            commands: Vec::new(),
        }
    }

    /// Takes all commands, in their order. Its memory is kept for the next use.
    pub fn drain(&mut self) -> impl Iterator<Item = Command> + '_ {
        self.commands.drain(..)
    }

    /// The commands, in their order.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(crate) fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    pub(crate) fn log(&mut self, log: Log) {
        self.push(Command::Log(Box::new(log)));
    }
}
