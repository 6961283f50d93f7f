//! A terminal's connection from the answer to its handshake to the task that serves it.

use std::any::Any;
use std::io::{self, IoSlice};
use std::pin::Pin;

use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use hyper::upgrade::{OnUpgrade, Upgraded};

use super::{Carry, TransportKind};
use crate::permits::Seat;
use crate::runtime::{Runtime, race};
use crate::streams::Foreign;

/// A connection whose handshake is being answered.
pub(crate) struct Opening {
    kind: TransportKind,
    coming: Coming,
}

enum Coming {
    /// From a listener of ours: the [`Wire`] of the runtime's stream.
    Own(oneshot::Receiver<Box<dyn Any + Send>>),
    /// From the embedder's HTTP server.
    Upgrade(OnUpgrade),
}

/// Ends with a connection whose handshake is done, or with none if that has failed.
pub(crate) type Opens<R> = Pin<Box<dyn Future<Output = Option<Box<Opened<R>>>>>>;

/// Hands a connection to the task that waits for it.
pub(crate) struct Handover(oneshot::Sender<Box<dyn Any + Send>>);

/// A stream whose handshake is answered.
pub(crate) struct Wire<S> {
    pub(crate) stream: S,
    /// What was read from it beyond the request.
    pub(crate) read: Bytes,
    pub(crate) kernel: Kernel<S>,
    /// Its place among the sockets of terminals, if it came through the listener for these.
    pub(crate) place: Option<Seat>,
}

/// What a transport asks of the operating system itself, about its stream.
#[derive(Debug)]
pub(crate) struct Kernel<S> {
    /// How much of what was written the other end has not acknowledged, if it tells.
    pub(crate) unacknowledged: fn(&S) -> Option<usize>,
    /// [`Runtime::try_write`], of a stream that has such a thing.
    pub(crate) try_write: Option<TryWrite<S>>,
}

/// As [`Runtime::try_write`]: returns how many bytes the operating system has taken.
pub(crate) type TryWrite<S> = fn(&S, &[IoSlice<'_>]) -> io::Result<usize>;

impl<S> Kernel<S> {
    /// A stream of the runtime's own.
    pub(crate) fn of<R: Runtime<Stream = S>>() -> Self {
        Self {
            unacknowledged: R::unacknowledged,
            try_write: Some(R::try_write),
        }
    }

    /// A stream of which only its owner knows what it is.
    pub(crate) fn unknown() -> Self {
        Self {
            unacknowledged: |_| None,
            try_write: None,
        }
    }
}

/// A connection whose handshake is done.
pub(crate) struct Opened<R: Runtime> {
    kind: TransportKind,
    stream: OpenedStream<R>,
}

enum OpenedStream<R: Runtime> {
    /// From a listener of ours.
    Own(Wire<R::Stream>),
    /// From the embedder's HTTP server, whatever its streams are.
    Foreign(Upgraded),
}

impl Opening {
    /// Of a connection that a listener of ours hands over.
    pub(crate) fn own(kind: TransportKind) -> (Handover, Self) {
        let (sender, receiver) = oneshot::channel();
        let coming = Coming::Own(receiver);
        (Handover(sender), Self { kind, coming })
    }

    /// Of a connection that the embedder's HTTP server upgrades.
    pub(crate) const fn upgrade(kind: TransportKind, upgrade: OnUpgrade) -> Self {
        let coming = Coming::Upgrade(upgrade);
        Self { kind, coming }
    }

    /// The transport that is to be spoken on it.
    pub(crate) const fn kind(&self) -> TransportKind {
        self.kind
    }

    /// Waits for it, unless something else ends before. Boxed, and so is what comes: whoever waits holds both for as
    /// long as the terminal stays.
    pub(crate) fn opened<R: Runtime>(self, unless: impl Future<Output = ()> + 'static) -> Opens<R> {
        Box::pin(race(self.wait(), unless.map(|()| None)))
    }

    async fn wait<R: Runtime>(self) -> Option<Box<Opened<R>>> {
        let stream = match self.coming {
            Coming::Own(coming) => {
                let wire = coming.await.ok()?.downcast();
                debug_assert!(wire.is_ok(), "a listener's streams are the runtime's");
                OpenedStream::Own(*wire.ok()?)
            }
            Coming::Upgrade(upgrade) => OpenedStream::Foreign(upgrade.await.ok()?),
        };
        let kind = self.kind;
        Some(Box::new(Opened { kind, stream }))
    }
}

impl Handover {
    /// The handshake is answered. If the task has gone, so has the terminal.
    pub(crate) fn done<S: Send + 'static>(self, wire: Wire<S>) {
        let _ = self.0.send(Box::new(wire));
    }
}

impl<R: Runtime> Opened<R> {
    /// Has the terminal served. No `async fn`: each terminal would hold the stream twice.
    #[expect(
        clippy::boxed_local,
        reason = "the box of one that is open goes here, and not with its terminal"
    )]
    pub(crate) fn carry<C: Carry>(self: Box<Self>, carry: C) -> impl Future<Output = C::Output> {
        let Self { kind, stream } = *self;
        match stream {
            OpenedStream::Own(wire) => Either::Left(kind.carry(wire, carry)),
            OpenedStream::Foreign(upgraded) => {
                let wire = Wire {
                    stream: Foreign::new(upgraded),
                    read: Bytes::new(),
                    kernel: Kernel::unknown(),
                    place: None,
                };
                Either::Right(kind.carry(wire, carry))
            }
        }
    }
}
