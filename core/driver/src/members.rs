//! The instances of this process, as each other and the application see them.

use std::future::pending;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_channel::{Receiver, Sender, TryRecvError, TrySendError};
use bytes::Bytes;
use event_listener::Event as Signal;
use futures_channel::oneshot;
use hyper::upgrade::OnUpgrade;
use switchboard_core::event::{Answer, Event, Handshake, Refused};
use switchboard_core::id::{InstanceId, UserId};
use switchboard_core::message::Push;
use switchboard_core::stats::Levels;
use switchboard_protocol::Protocol;

use crate::admission::Admitted;
use crate::api::ApiService;
use crate::damper::{Cause, damped};
use crate::directory::Troubles;
use crate::events::Queue;
use crate::handle::Snapshot;
use crate::inbox::{self, Inbox};
use crate::listener::Farewell;
use crate::refusals::Refusals;
use crate::settings::Settings;

/// Sockets that wait for one thread, at most, or for any. Nothing is accepted while they are so many.
const ARRIVALS: usize = 256;

/// What comes to an instance from outside its own turn.
pub(crate) enum Input {
    /// Something happened to a socket, a link or the directory.
    Event(Event),
    /// A terminal wants to connect.
    Accept(Box<Accept>),
    /// Another instance opened a link.
    AcceptLink(LinkEnd),
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
    pub(crate) protocol: Protocol,
    pub(crate) session: Option<String>,
    pub(crate) upgrade: OnUpgrade,
    pub(crate) seat: Seat,
    /// Its place among the sockets of terminals, if it came through the listener for these.
    pub(crate) place: Option<Arc<Seat>>,
    pub(crate) answer: oneshot::Sender<Result<(), Refused>>,
}

/// One end of an open link, before it belongs to an instance's thread.
pub(crate) enum LinkEnd {
    /// A socket whose upgrade is done.
    Socket(Newcomer),
    /// A channel to an instance of this process.
    Channel(ChannelEnd),
}

/// The socket of somebody who may be anybody.
pub(crate) struct Newcomer {
    pub(crate) socket: TcpStream,
    /// What was read from it beyond the upgrade.
    pub(crate) read: Bytes,
    /// What it counts as until it has proven itself.
    pub(crate) entry: Arc<Entry>,
}

/// One end of a link within the process.
pub(crate) struct ChannelEnd {
    pub(crate) sender: Sender<Bytes>,
    pub(crate) receiver: Receiver<Bytes>,
}

/// What a listener's sockets are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Terminals,
    Api,
    Peers,
}

/// A socket on its way to the thread that is to speak HTTP on it.
pub(crate) struct Arrival {
    pub(crate) service: Service,
    pub(crate) socket: TcpStream,
    pub(crate) entry: Entry,
}

/// What a socket counts as while HTTP is spoken on it.
pub(crate) struct Entry {
    /// Among the sockets of its listener.
    pub(crate) _listener: Seat,
    /// Among the terminals of the instance that it was handed to.
    pub(crate) member: Option<Seat>,
    /// Among the sockets of terminals, for as long as it is open.
    pub(crate) place: Option<Arc<Seat>>,
    pub(crate) room: Room,
}

/// How much room its listener had for a socket.
#[derive(Clone)]
pub(crate) enum Room {
    /// Enough.
    Enough,
    /// None: it is told so, and of the API it gets what tells how the server does.
    Spare,
    /// Enough until others need it.
    Until(Arc<Farewell>),
}

impl Entry {
    /// Ends when others need its room. Once whoever is there has proven to be of the cluster, that
    /// never is, and the entry is given up.
    pub(crate) async fn sent_away(self: Arc<Self>) {
        let is_said = match &self.room {
            Room::Until(farewell) => farewell.is_said().await,
            Room::Enough | Room::Spare => pending().await,
        };
        if !is_said {
            drop(self);
            pending().await
        }
    }

    /// Whoever is there has proven to be of the cluster: it stays.
    pub(crate) fn stays(&self) {
        match &self.room {
            Room::Until(farewell) => farewell.never(),
            Room::Enough | Room::Spare => {}
        }
    }
}

/// What all instances of a server share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) members: Vec<Arc<Member>>,
    pub(crate) events: Option<Arc<Queue>>,
    pub(crate) troubles: Troubles,
    /// What answers at the API's listener.
    pub(crate) api: Option<Box<dyn ApiService>>,
    /// Where the listeners are.
    pub(crate) addresses: Addresses,
    /// Who may come in. Whoever asks more than once about one request takes a copy.
    pub(crate) admitted: ArcSwap<Admitted>,
    /// Sockets that any thread may serve: one that is stuck takes none.
    pub(crate) arrivals: Arrivals,
    pub(crate) dropped: Dropped,
    /// What has come of heads that are not complete, on all threads, by service.
    pub(crate) heads: [Arc<inbox::Room>; 3],
}

/// Where a server can be reached.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    pub(crate) terminals: Option<SocketAddr>,
    pub(crate) api: Option<SocketAddr>,
    pub(crate) peer: SocketAddr,
    /// What other instances dial.
    pub(crate) advertised: String,
}

/// A queue of sockets.
pub(crate) struct Arrivals {
    sender: Sender<Arrival>,
    receiver: Receiver<Arrival>,
    /// Something has come, or nothing more does. All who wait are told each time: a thread that is
    /// stuck does not hear it.
    signal: Signal,
}

/// Sockets that were closed unanswered, because their listener had no room, by service.
#[derive(Default)]
pub(crate) struct Dropped([AtomicU64; 3]);

/// One instance of this process, seen from other threads.
pub(crate) struct Member {
    pub(crate) id: InstanceId,
    pub(crate) inbox: Inbox,
    /// Sockets that this thread is to serve.
    pub(crate) arrivals: Arrivals,
    pub(crate) ready: AtomicBool,
    /// The handshakes that it was handed, and that were refused.
    pub(crate) refusals: Refusals,
    terminals: Arc<AtomicUsize>,
}

/// A place at an instance, or among the sockets of a listener: it counts as long as it exists.
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Arrivals {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = async_channel::bounded(ARRIVALS);
        Self {
            sender,
            receiver,
            signal: Signal::new(),
        }
    }

    /// Gives it back if there is no room.
    pub(crate) fn push(&self, arrival: Arrival) -> Option<Arrival> {
        match self.sender.try_send(arrival) {
            Ok(()) => {
                self.signal.notify(usize::MAX);
                None
            }
            Err(TrySendError::Full(arrival)) => Some(arrival),
            // The thread has ended: the socket is closed.
            Err(TrySendError::Closed(_)) => None,
        }
    }

    pub(crate) async fn next(&self) -> Option<Arrival> {
        loop {
            let signal = self.signal.listen();
            match self.receiver.try_recv() {
                Ok(arrival) => return Some(arrival),
                Err(TryRecvError::Closed) => return None,
                Err(TryRecvError::Empty) => signal.await,
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sender.len()
    }

    /// Nothing is served any more.
    pub(crate) fn close(&self) {
        self.sender.close();
        self.signal.notify(usize::MAX);
        while self.receiver.try_recv().is_ok() {}
    }
}

impl Dropped {
    pub(crate) fn count(&self, service: Service) {
        self.0[service as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, service: Service) -> u64 {
        self.0[service as usize].load(Ordering::Relaxed)
    }
}

impl Shared {
    /// For tests: of these instances, with all settings as they are by default.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn of(members: Vec<Arc<Member>>) -> Self {
        let admitted = Admitted::new(crate::Admission::default());
        Self {
            settings: Settings::default(),
            members,
            events: None,
            troubles: Troubles::default(),
            api: None,
            addresses: Addresses {
                terminals: None,
                api: None,
                peer: SocketAddr::from(([127, 0, 0, 1], 0)),
                advertised: "localhost:0".to_owned(),
            },
            admitted: ArcSwap::from_pointee(admitted.expect("nobody is a good list")),
            arrivals: Arrivals::new(),
            dropped: Dropped::default(),
            heads: Service::ALL.map(|_| inbox::Room::new(0)),
        }
    }

    /// A socket is closed unanswered, because there is no room for it.
    pub(crate) fn drop_one(&self, service: Service) {
        self.dropped.count(service);
        damped!(
            WARN,
            Cause::one("connections dropped", service.name()),
            listener = service.name(),
            "too many connections at once: one was closed unanswered"
        );
    }

    /// What has come of heads that are not complete, at the listener of a service.
    pub(crate) fn heads(&self, service: Service) -> &Arc<inbox::Room> {
        &self.heads[service as usize]
    }

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
    pub(crate) fn new(id: InstanceId, inbox: Inbox) -> Self {
        Self {
            id,
            inbox,
            arrivals: Arrivals::new(),
            ready: AtomicBool::new(false),
            refusals: Refusals::default(),
            terminals: Arc::default(),
        }
    }

    /// A place for one more terminal.
    pub(crate) fn seat(&self) -> Seat {
        Seat::take(&self.terminals)
    }

    pub(crate) fn terminals(&self) -> usize {
        self.terminals.load(Ordering::Relaxed)
    }
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::Terminals, Self::Api, Self::Peers];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Terminals => "terminals",
            Self::Api => "api",
            Self::Peers => "peers",
        }
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
