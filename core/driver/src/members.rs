//! The instances of this process, as each other and the application see them.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_channel::Sender;
use bytes::Bytes;
use futures_channel::oneshot;
use hyper::upgrade::OnUpgrade;
use switchboard_core::event::{Answer, Event, Handshake, Refused};
use switchboard_core::id::{InstanceId, UserId};
use switchboard_core::message::Push;
use switchboard_core::stats::Levels;

use crate::admission::Admitted;
use crate::directory::Troubles;
use crate::events::Queue;
use crate::handle::Snapshot;
use crate::refusals::Refusals;
use crate::settings::Settings;

/// Inputs that wait for one instance, at most; whoever sends more waits. Large enough for several
/// batches, small enough that what waits there is old by milliseconds.
pub(crate) const INBOX: usize = 1024;

/// What comes to an instance from outside its own turn.
pub(crate) enum Input {
    /// Something happened to a socket, a link or the directory.
    Event(Event),
    /// A terminal wants to connect.
    Accept(Box<Accept>),
    /// Another instance opened a link.
    AcceptLink(LinkEnd),
    /// A socket that this instance's thread is to serve HTTP on.
    Serve(Service, TcpStream, Entry),
    /// The application hands in a push.
    Push(Box<Push>, oneshot::Sender<Answer>),
    /// The application asks for a user's connections.
    Connections(UserId, oneshot::Sender<Answer>),
    /// The application asks for all instances.
    Instances(oneshot::Sender<Answer>),
    /// The application asks for figures.
    Snapshot(oneshot::Sender<Snapshot>),
    /// A scraper asks how full tables and queues are.
    Levels(oneshot::Sender<Levels>),
    /// The application wants the instance to end; the channel is dropped when it is drained.
    Drain {
        delay: Duration,
        spread: Duration,
        drained: oneshot::Sender<()>,
    },
}

/// A terminal that passed the authenticator, before the answer to its handshake.
pub(crate) struct Accept {
    pub(crate) handshake: Handshake,
    pub(crate) session: Option<String>,
    pub(crate) upgrade: OnUpgrade,
    pub(crate) seat: Seat,
    pub(crate) answer: oneshot::Sender<Result<(), Refused>>,
}

/// One end of an open link, before it belongs to an instance's thread.
pub(crate) enum LinkEnd {
    /// A socket whose upgrade is done, and what was read from it beyond that.
    Socket(TcpStream, Bytes),
    /// A channel to an instance of this process.
    Channel(ChannelEnd),
}

/// One end of a link within the process.
pub(crate) struct ChannelEnd {
    pub(crate) sender: Sender<Bytes>,
    pub(crate) receiver: async_channel::Receiver<Bytes>,
}

/// What a listener's sockets are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Terminals,
    Api,
    Peers,
}

/// What a socket counts as while HTTP is spoken on it.
pub(crate) struct Entry {
    /// Among the sockets of its listener.
    pub(crate) _listener: Seat,
    /// Among the terminals of the instance that it was handed to.
    pub(crate) _member: Option<Seat>,
}

/// What all instances of a server share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) members: Vec<Arc<Member>>,
    pub(crate) events: Option<Arc<Queue>>,
    pub(crate) troubles: Troubles,
    /// Who may come in. Whoever asks more than once about one request takes a copy.
    pub(crate) admitted: ArcSwap<Admitted>,
}

/// One instance of this process, seen from other threads.
pub(crate) struct Member {
    pub(crate) id: InstanceId,
    pub(crate) inbox: Sender<Input>,
    pub(crate) ready: AtomicBool,
    /// The handshakes that it was handed, and that were refused.
    pub(crate) refusals: Refusals,
    terminals: Arc<AtomicUsize>,
}

/// A place at an instance, or among the sockets of a listener: it counts as long as it exists.
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Shared {
    /// The instance with this id, if it is of this process.
    pub(crate) fn member(&self, id: InstanceId) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The instance with the fewest terminals.
    pub(crate) fn emptiest(&self) -> &Arc<Member> {
        let emptiest = self.members.iter().min_by_key(|member| member.terminals());
        emptiest.expect("a server has at least one instance")
    }

    /// The instance that hands in all pushes for a user: so they keep their order.
    pub(crate) fn publisher(&self, user: Option<&UserId>) -> &Arc<Member> {
        // FNV-1a: any spread will do, and nobody gains by making users collide.
        let hash = user.map_or(0, |user| {
            user.as_bytes()
                .iter()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                    (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
                })
        });
        let index = usize::try_from(hash % self.members.len() as u64).unwrap_or(0);
        &self.members[index]
    }
}

impl Member {
    pub(crate) fn new(id: InstanceId, inbox: Sender<Input>) -> Self {
        Self {
            id,
            inbox,
            ready: AtomicBool::new(false),
            refusals: Refusals::default(),
            terminals: Arc::default(),
        }
    }

    /// A place for one more terminal.
    pub(crate) fn seat(&self) -> Seat {
        Seat::take(&self.terminals)
    }

    fn terminals(&self) -> usize {
        self.terminals.load(Ordering::Relaxed)
    }
}

impl Seat {
    pub(crate) fn take(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
