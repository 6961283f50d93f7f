//! The instances of this process, as each other and the application see them.

mod refusals;

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use async_channel::{Receiver, Sender, TryRecvError, TrySendError};
use event_listener::Event as Signal;
use switchboard_core::id::InstanceId;

use crate::admission::Admitted;
use crate::events::Queue;
use crate::inbox::{Inbox, Siblings};
use crate::permits::{ByteBudget, Dropped, Seat, Service, SocketPermit};
use crate::session_names::SessionNames;
use crate::settings::Settings;

pub(crate) use refusals::{LATE, Refusals};

/// Sockets that wait for one thread, at most, or for any. Nothing is accepted while they are so many.
const ARRIVALS: usize = 256;

/// A socket on its way to the thread that is to speak HTTP on it.
pub(crate) struct Arrival {
    pub(crate) service: Service,
    pub(crate) socket: TcpStream,
    pub(crate) permit: SocketPermit,
}

/// What all instances of a server share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) members: Vec<Arc<Member>>,
    pub(crate) events: Option<Arc<Queue>>,
    /// Where the listeners are.
    pub(crate) addresses: Addresses,
    /// The rules of admission. What asks more than once about one request takes a copy.
    pub(crate) admitted: Arc<ArcSwap<Admitted>>,
    /// Sockets that any thread may serve: one that is stuck takes none.
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) dropped: Arc<Dropped>,
    /// What has come of heads that are not complete, on all threads, by service.
    pub(crate) heads: [Arc<ByteBudget>; 3],
    /// What terminals name themselves by on other connections than their own.
    pub(crate) session_names: SessionNames,
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

impl Arrivals {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = async_channel::bounded(ARRIVALS);
        Self {
            sender,
            receiver,
            signal: Signal::new(),
        }
    }

    /// Returns it if there is no room.
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

impl Shared {
    /// For tests: of these instances, with all settings as they are by default.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn of(members: Vec<Arc<Member>>) -> Self {
        let admitted = Admitted::new(crate::Admission::default());
        Self {
            settings: Settings::default(),
            members,
            events: None,
            addresses: Addresses {
                terminals: None,
                api: None,
                peer: SocketAddr::from(([127, 0, 0, 1], 0)),
                advertised: "localhost:0".to_owned(),
            },
            admitted: Arc::new(ArcSwap::from_pointee(
                admitted.expect("nobody is a good list"),
            )),
            arrivals: Arc::new(Arrivals::new()),
            dropped: Arc::default(),
            heads: Service::ALL.map(|_| ByteBudget::new(0)),
            session_names: SessionNames::new(Settings::default().secret().expect("a random one")),
        }
    }

    /// All of them, for links within the process.
    pub(crate) fn siblings(&self) -> Siblings {
        let members = self.members.iter();
        Siblings::new(members.map(|member| (member.id, member.inbox.clone())))
    }

    /// The instance with the fewest terminals.
    pub(crate) fn emptiest(&self) -> &Arc<Member> {
        let emptiest = self.members.iter().min_by_key(|member| member.terminals());
        emptiest.expect("a server has at least one instance")
    }

    /// The instance that hands in all pushes for a user, or for a topic: so they keep their order.
    pub(crate) fn publisher(&self, name: Option<&[u8]>) -> &Arc<Member> {
        if let [only] = &*self.members {
            return only;
        }
        // Any spread will do, and nobody gains by making users collide.
        let spread = BuildHasherDefault::<DefaultHasher>::default();
        let hash = name.map_or(0, |name| spread.hash_one(name));
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
