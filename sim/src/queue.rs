//! The event queue: what will happen, by time and then by the order in which it was put in.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::hash::Hash as _;

use bytes::Bytes;
use slab::Slab;
use switchboard_core::command::RoundTrip;
use switchboard_core::directory::Outcome;
use switchboard_core::event::{Event, LinkFailure};
use switchboard_core::frame::{CloseCode, Payload};
use switchboard_core::id::{ConnectionKey, OpId};
use switchboard_core::time::Instant;

use crate::deploy::Deployment;
use crate::fingerprint::{Fingerprint, Print};
use crate::observed::{HandIn, Life};
use crate::redis::{Connection, ServerId};
use crate::schedule::Act;
use crate::schedule::Item;

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
        outcomes: Vec<Outcome>,
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
    /// A client's token runs out.
    TokenEnds(usize),
    /// A terminal that reads slowly has made room.
    SlowRead(Life, ConnectionKey),
    /// Something comes out of a link.
    OutOfPipe {
        pipe: usize,
        /// At its dialler's end.
        at_dialler: bool,
        content: Content,
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
    /// A push.
    Push(HandIn),
}

/// What comes out of a link.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// The dialler's request for a link.
    Dial,
    /// A batch.
    Batch(Bytes),
    /// The link is open.
    Up,
    /// The link is gone.
    Down(LinkFailure),
}

/// What a terminal sees.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A frame.
    Frame(Payload),
    /// A ping.
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
            Self::Reconnect(session) | Self::Unanswered(session) | Self::TokenEnds(session) => {
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
            Self::Handshake(number) | Self::AcceptLink(number) => number.fingerprint(to),
            Self::Push(hand_in) => hand_in.fingerprint(to),
        }
    }
}

impl Fingerprint for Content {
    fn fingerprint(&self, to: &mut Print) {
        std::mem::discriminant(self).hash(&mut to.hasher);
        match self {
            Self::Dial | Self::Up => {}
            Self::Batch(batch) => batch.fingerprint(to),
            Self::Down(failure) => failure.fingerprint(to),
        }
    }
}

impl Fingerprint for Seen {
    fn fingerprint(&self, to: &mut Print) {
        std::mem::discriminant(self).hash(&mut to.hasher);
        match self {
            Self::Frame(payload) => payload.fingerprint(to),
            Self::Ping | Self::Reset => {}
            Self::Close(code) => code.fingerprint(to),
        }
    }
}

/// When something will happen, and what or where that is.
#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    at: Instant,
    sequence: u64,
    what: T,
}

impl<T> Entry<T> {
    /// By time, and then by the order in which they were put in. One number: a heap compares all the
    /// time, and cannot guess what comes of it.
    const fn key(&self) -> u128 {
        (self.at.as_nanos() as u128) << 64 | self.sequence as u128
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }

    fn lt(&self, other: &Self) -> bool {
        self.key() < other.key()
    }

    fn le(&self, other: &Self) -> bool {
        self.key() <= other.key()
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

/// The heap, and a list beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// Each with its place in `kept`: what happens is large, and a heap moves what it holds.
    heap: BinaryHeap<Reverse<Entry<usize>>>,
    kept: Slab<Happening>,
    /// The last one first. Turns are two in five of all that happens, and each instance has one at
    /// most that is to come: a short list takes less than the heap.
    turns: Vec<Entry<Life>>,
    sequence: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        let sequence = self.sequence;
        if let Happening::Turn(what) = happening {
            let turn = Entry { at, sequence, what };
            let place = self.turns.iter().rposition(|other| turn < *other);
            let place = place.map_or(0, |place| place + 1);
            self.turns.insert(place, turn);
            return;
        }
        let what = self.kept.insert(happening);
        self.heap.push(Reverse(Entry { at, sequence, what }));
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<(Instant, Happening)> {
        if self.is_turn_next() {
            let turn = self.turns.pop()?;
            return Some((turn.at, Happening::Turn(turn.what)));
        }
        let Reverse(entry) = self.heap.pop()?;
        Some((entry.at, self.kept.remove(entry.what)))
    }

    /// Feeds what will happen to a print, in its order: items by what they do. What checkers asked for
    /// is their own affair.
    pub(crate) fn fingerprint(&self, items: &[Item], to: &mut Print) {
        let turn = |turn: &Entry<Life>| (turn.key(), turn.at, Happening::Turn(turn.what));
        let kept = |Reverse(entry): &Reverse<Entry<usize>>| {
            (entry.key(), entry.at, self.kept[entry.what].clone())
        };
        let turns = self.turns.iter().map(turn);
        let mut entries: Vec<_> = self.heap.iter().map(kept).chain(turns).collect();
        entries.sort_unstable_by_key(|(key, ..)| *key);
        for (_, at, happening) in entries {
            if let Happening::Deadline { .. } | Happening::Tick = happening {
                continue;
            }
            at.fingerprint(to);
            match happening {
                Happening::Item(index) => items[index].act.fingerprint(to),
                other => other.fingerprint(to),
            }
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        if self.is_turn_next() {
            return Some(self.turns.last()?.at);
        }
        Some(self.heap.peek()?.0.at)
    }

    fn is_turn_next(&self) -> bool {
        match (self.turns.last(), self.heap.peek()) {
            (Some(turn), Some(Reverse(entry))) => turn.key() < entry.key(),
            (turn, _) => turn.is_some(),
        }
    }
}
