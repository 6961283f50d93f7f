//! What will happen in a world, and what reaches an instance, a link's end or a terminal by it.

use std::hash::Hash as _;

use bytes::Bytes;
use switchboard_core::command::RoundTrip;
use switchboard_core::directory::OperationResult;
use switchboard_core::event::{Event, LinkFailure};
use switchboard_core::frame::{CloseCode, Outgoing};
use switchboard_core::id::{ConnectionKey, OpId};

use super::deployment::Deployment;
use crate::fingerprint::{Fingerprint, Print};
use crate::observed::{HandIn, Life};
use crate::redis::{Connection, ServerId};
use crate::schedule::Act;
use crate::settings::content;

/// Something that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// An item of the schedule.
    Item(usize),
    /// An instance takes its inputs and serves its timers.
    Turn(Life),
    /// A timer of an instance may be due.
    Timer(Life),
    /// Something reaches an instance.
    Input(Life, Input),
    /// An instance tries to open its directory link.
    OpenDirectory(Life),
    /// A round trip reaches the directory.
    Request {
        life: Life,
        /// The directory link that it came over, and where that led.
        link: u32,
        connection: Connection,
        trip: Box<RoundTrip>,
    },
    /// The answer to a round trip reaches the instance.
    Reply {
        life: Life,
        link: u32,
        op: OpId,
        outcomes: Vec<OperationResult>,
    },
    /// A former primary becomes a replica.
    Demotion(ServerId),
    /// What waited for a moment.
    Act(Box<Act>),
    /// The next step of a rolling deployment.
    Deploy(Box<Deployment>),
    /// A client connects anew whose session has ended.
    Reconnect(usize),
    /// A client gives up that nobody answers.
    Unanswered(usize),
    /// A client says who it is.
    LogsIn(usize),
    /// A client's token expires.
    TokenEnds(usize),
    /// A terminal that reads slowly has made room.
    SlowRead(Life, ConnectionKey),
    /// Something comes out of a link.
    OutOfPipe {
        pipe: usize,
        /// At its dialler's end.
        at_dialler: bool,
        content: LinkContent,
    },
    /// Something reaches a terminal.
    AtTerminal { session: usize, seen: Seen },
    /// A checker wanted to be called.
    Deadline { checker: usize, what: u64 },
    /// Checkers are told that time passes.
    Tick,
}

/// What reaches an instance.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// An event of the core's. It is large, and what happens is moved often.
    Event(Box<Event>),
    /// The handshake of a terminal.
    Handshake(usize),
    /// The socket of a link that another instance dialled.
    AcceptLink(usize),
    /// A push that a caller hands in.
    Push(HandIn),
    /// A question beside pushes, by its number.
    Question(usize),
}

/// What comes out of a link.
#[derive(Clone, Debug)]
pub(crate) enum LinkContent {
    /// The dialler's request for a link.
    Dial,
    /// Bytes of one `LinkWrite`.
    Batch(Bytes),
    /// What a peer says that no peer says: it ends the link.
    Nonsense(Bytes),
    /// The link is open.
    Up,
    /// The link is gone.
    Down(LinkFailure),
}

/// What a terminal sees.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// The hello, a push, or the answer to messages.
    Frame(Outgoing),
    /// A ping, which it may answer.
    Ping,
    /// A Close frame.
    Close(CloseCode),
    /// A reset, or a refusal.
    Reset,
}

impl Fingerprint for Happening {
    fn fingerprint(&self, to: &mut Print) {
        std::mem::discriminant(self).hash(&mut to.hasher);
        match self {
            Self::Item(index) => index.fingerprint(to),
            Self::Turn(life) | Self::Timer(life) | Self::OpenDirectory(life) => {
                life.fingerprint(to);
            }
            Self::Input(life, input) => {
                life.fingerprint(to);
                input.fingerprint(to);
            }
            Self::Request {
                life,
                link,
                connection,
                trip,
            } => {
                (*life, *link, *connection).fingerprint(to);
                trip.fingerprint(to);
            }
            Self::Reply {
                life,
                link,
                op,
                outcomes,
            } => {
                (*life, *link, *op).fingerprint(to);
                outcomes.fingerprint(to);
            }
            Self::Demotion(server) => server.fingerprint(to),
            Self::Act(act) => act.fingerprint(to),
            Self::Deploy(deployment) => deployment.fingerprint(to),
            Self::Reconnect(session)
            | Self::Unanswered(session)
            | Self::LogsIn(session)
            | Self::TokenEnds(session) => {
                session.fingerprint(to);
            }
            Self::SlowRead(life, key) => (*life, *key).fingerprint(to),
            Self::OutOfPipe {
                pipe,
                at_dialler,
                content,
            } => {
                (*pipe, *at_dialler).fingerprint(to);
                content.fingerprint(to);
            }
            Self::AtTerminal { session, seen } => {
                session.fingerprint(to);
                seen.fingerprint(to);
            }
            Self::Deadline { checker, what } => (*checker, *what).fingerprint(to),
            Self::Tick => {}
        }
    }
}

impl Fingerprint for Input {
    fn fingerprint(&self, to: &mut Print) {
        std::mem::discriminant(self).hash(&mut to.hasher);
        match self {
            Self::Event(event) => event.fingerprint(to),
            Self::Handshake(number) | Self::AcceptLink(number) | Self::Question(number) => {
                number.fingerprint(to);
            }
            Self::Push(hand_in) => hand_in.fingerprint(to),
        }
    }
}

impl Fingerprint for LinkContent {
    fn fingerprint(&self, to: &mut Print) {
        std::mem::discriminant(self).hash(&mut to.hasher);
        match self {
            Self::Dial | Self::Up => {}
            Self::Batch(batch) | Self::Nonsense(batch) => batch.fingerprint(to),
            Self::Down(failure) => failure.fingerprint(to),
        }
    }
}

impl Fingerprint for Seen {
    fn fingerprint(&self, to: &mut Print) {
        std::mem::discriminant(self).hash(&mut to.hasher);
        match self {
            Self::Frame(outgoing) => content(outgoing).fingerprint(to),
            Self::Ping | Self::Reset => {}
            Self::Close(code) => code.fingerprint(to),
        }
    }
}
