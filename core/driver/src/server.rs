//! Starting and stopping a server.

use std::cell::RefCell;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io, thread};

use arc_swap::ArcSwap;
use async_channel::{Receiver, Sender};
use event_listener::Event as Signal;
use futures_channel::oneshot;
use switchboard_core::config::{ClusterSecret, ConfigError, Identity};
use switchboard_core::id::InstanceId;
use switchboard_core::{Instance, Seed};

use crate::admission::{Admission, Admitted};
use crate::api::ApiContext;
use crate::clock;
use crate::damper;
use crate::directory::{self, Troubles};
use crate::events::{Events, Queue};
use crate::handle::Handle;
use crate::http;
use crate::inbox::{self, Inbox, Posted};
use crate::listener::{self, Door};
use crate::login::Authenticator;
use crate::members::{Arrivals, Dropped, Member, Service, Shared};
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::task;
use crate::worker::{self, Local};

/// Bytes of heads of requests that are not complete, of all connections of one listener together, at
/// most. Most heads come in one piece and never count.
const HEADS: usize = 64 << 20;

/// A server that is to be started.
pub struct Builder<R: Runtime> {
    settings: Settings,
    authenticator: Option<Arc<dyn Authenticator>>,
    events: Option<usize>,
    runtime: PhantomData<R>,
}

/// A running server. Dropping it ends it at once; see [`Server::drain`] and [`Server::shutdown`].
pub struct Server {
    handle: Handle,
    threads: Arc<Threads>,
    events: Option<Events>,
    terminals: Option<SocketAddr>,
    api: Option<SocketAddr>,
    peer: SocketAddr,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting does not fit.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// An address cannot be listened at.
    #[error("cannot listen at {address} (`{field}`): {error}")]
    Listen {
        /// The setting.
        field: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// `terminals` is set, and nobody says who a terminal belongs to.
    #[error("`terminals` needs an authenticator")]
    NoAuthenticator,
    /// The operating system refuses something.
    #[error("cannot {doing}: {error}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// An instance died of a bug; the server has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance {instance} has died: {cause}")]
pub struct InstanceDied {
    /// Which.
    pub instance: InstanceId,
    /// What the panic said.
    pub cause: String,
}

impl<R: Runtime> Default for Builder<R> {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            authenticator: None,
            events: None,
            runtime: PhantomData,
        }
    }
}

impl<R: Runtime> Builder<R> {
    /// With these settings.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Who says who a terminal belongs to. Needed if [`Settings::terminals`] is set.
    #[must_use]
    pub fn authenticator(self, authenticator: impl Authenticator) -> Self {
        self.shared_authenticator(Arc::new(authenticator))
    }

    /// As [`Builder::authenticator`], of one that is shared.
    #[must_use]
    pub fn shared_authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Collects what happens to terminals, for [`Server::events`]. While `capacity` messages wait
    /// there, terminals are not read.
    #[must_use]
    pub fn events(mut self, capacity: usize) -> Self {
        self.events = Some(capacity);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// Names the setting that does not fit, or what the operating system refused.
    pub async fn start(mut self) -> Result<Server, StartError> {
        self.settings.validate()?;
        let settings = &mut self.settings;
        if settings.workers == 0 {
            settings.workers = thread::available_parallelism()
                .map_or(1, usize::from)
                .min(Settings::WORKERS_MAX);
        }
        if settings.terminals.is_some() && self.authenticator.is_none() {
            return Err(StartError::NoAuthenticator);
        }
        directory::prepare(&settings.directory);
        let doors = Doors::open(settings)?;
        let address = settings
            .advertise
            .clone()
            .unwrap_or_else(|| doors.peer.to_string());
        let mut instances = Vec::with_capacity(settings.workers);
        let mut members = Vec::with_capacity(settings.workers);
        let secret = settings.secret()?;
        for _ in 0..settings.workers {
            let (instance, member, inbox) = new_instance(settings, &address, &secret)?;
            members.push(Arc::new(member));
            instances.push((instance, inbox));
        }
        let (queue, events) = self.events.map(Queue::new).unzip();
        let admission = Admission::of(&self.settings, self.authenticator);
        let handle = Handle {
            shared: Arc::new(Shared {
                settings: self.settings.clone(),
                members,
                events: queue,
                troubles: Troubles::default(),
                admitted: ArcSwap::from_pointee(Admitted::new(admission)?),
                arrivals: Arrivals::new(),
                dropped: Dropped::default(),
                heads: Service::ALL.map(|_| inbox::Room::new(HEADS)),
            }),
        };
        let api = Arc::new(ApiContext::new(
            handle.clone(),
            &self.settings,
            doors.terminals,
            self.settings.name.as_deref().unwrap_or(&address),
        )?);
        let mut server = Server {
            threads: Arc::new(Threads::new(handle.clone())),
            handle,
            events,
            terminals: doors.terminals,
            api: doors.api,
            peer: doors.peer,
        };
        server.run::<R>(instances, &api, doors.all).await?;
        Ok(server)
    }
}

/// The listeners of a server.
struct Doors {
    all: Vec<Door>,
    terminals: Option<SocketAddr>,
    api: Option<SocketAddr>,
    peer: SocketAddr,
}

impl Doors {
    fn open(settings: &Settings) -> Result<Self, StartError> {
        let peer = Door::open(Service::Peers, settings.peer)?;
        let open = |service, address: Option<SocketAddr>| {
            address
                .map(|address| Door::open(service, address))
                .transpose()
        };
        let terminals = open(Service::Terminals, settings.terminals)?;
        let api = open(Service::Api, settings.api)?;
        Ok(Self {
            terminals: terminals.as_ref().map(|door| door.address),
            api: api.as_ref().map(|door| door.address),
            peer: peer.address,
            all: [Some(peer), terminals, api].into_iter().flatten().collect(),
        })
    }
}

fn new_instance(
    settings: &Settings,
    address: &str,
    secret: &ClusterSecret,
) -> Result<(Instance, Member, Receiver<Posted>), ConfigError> {
    let id = InstanceId::new(u64::from_le_bytes(crate::random_bytes()));
    let identity = Identity {
        instance: id,
        address: address.to_owned(),
        secret: secret.clone(),
    };
    let seed = Seed::new(crate::random_bytes());
    let instance = Instance::new(settings.core.clone(), identity, seed, clock::now())?;
    let (sender, inbox) = Inbox::new();
    Ok((instance, Member::new(id, sender), inbox))
}

impl Server {
    /// What the application calls.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where terminals connect.
    pub const fn terminals_addr(&self) -> Option<SocketAddr> {
        self.terminals
    }

    /// Where the HTTP API is.
    pub const fn api_addr(&self) -> Option<SocketAddr> {
        self.api
    }

    /// Where other instances connect.
    pub const fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// What happens to terminals, if [`Builder::events`] was called; at the first call.
    pub const fn events(&mut self) -> Option<Events> {
        self.events.take()
    }

    /// As [`Handle::drain`].
    pub async fn drain(&self, delay: Duration, spread: Duration) {
        self.handle.drain(delay, spread).await;
    }

    /// Waits until an instance dies of a bug: the whole server has ended then. Never returns while
    /// all is well.
    pub async fn died(&self) -> InstanceDied {
        loop {
            let changed = self.threads.changed.listen();
            if let Some(died) = self.threads.lock().died.clone() {
                return died;
            }
            changed.await;
        }
    }

    /// Closes what is left, removes rows and lease, and ends. Returns when all threads have ended.
    pub async fn shutdown(self) {
        self.handle.drain(Duration::ZERO, Duration::ZERO).await;
        self.threads.stop();
        loop {
            let changed = self.threads.changed.listen();
            if self.threads.lock().running == 0 {
                return;
            }
            changed.await;
        }
    }

    async fn run<R: Runtime>(
        &mut self,
        instances: Vec<(Instance, Receiver<Posted>)>,
        api: &Arc<ApiContext>,
        doors: Vec<Door>,
    ) -> Result<(), StartError> {
        let members = self.handle.shared.members.clone();
        let mut starts = Vec::with_capacity(members.len() + 1);
        for ((instance, inbox), me) in instances.into_iter().zip(members) {
            let (started, start) = oneshot::channel();
            let seat = Seated {
                instance,
                inbox,
                me,
                shared: Arc::clone(&self.handle.shared),
                api: Arc::clone(api),
                started,
            };
            self.spawn("switchboard", move |threads| threads.serve::<R>(seat))?;
            starts.push(start);
        }
        let (started, start) = oneshot::channel();
        self.spawn("accept", move |threads| threads.accept::<R>(doors, started))?;
        starts.push(start);
        for start in starts {
            if let Ok(Err(error)) = start.await {
                let doing = "set up the runtime";
                return Err(StartError::System { doing, error });
            }
        }
        Ok(())
    }

    fn spawn(
        &self,
        name: &str,
        life: impl FnOnce(&Threads) + Send + 'static,
    ) -> Result<(), StartError> {
        let threads = Arc::clone(&self.threads);
        threads.lock().running += 1;
        let spawned = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || life(&threads));
        if let Err(error) = spawned {
            self.threads.lock().running -= 1;
            let doing = "start a thread";
            return Err(StartError::System { doing, error });
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.threads.stop();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("handle", &self.handle)
            .field("peer", &self.peer)
            .finish()
    }
}

/// An instance on its way to its thread.
struct Seated {
    instance: Instance,
    inbox: Receiver<Posted>,
    me: Arc<Member>,
    shared: Arc<Shared>,
    api: Arc<ApiContext>,
    started: oneshot::Sender<io::Result<()>>,
}

/// Starts to accept at all listeners.
fn accept_all<R: Runtime>(shared: &Arc<Shared>, doors: Vec<Door>) -> io::Result<()> {
    for door in doors {
        let listener = R::listen(door.listener)?;
        let accept = listener::accept::<R>(Arc::clone(shared), door.service, listener);
        task::spawn::<R>("accept loop", accept);
    }
    Ok(())
}

/// Serves the sockets that come for this thread, and those that any thread may serve.
fn serve_arrivals<R: Runtime>(local: &Rc<Local>) {
    let own = Rc::clone(local);
    task::spawn::<R>("terminals that arrive", async move {
        while let Some(arrival) = own.me.arrivals.next().await {
            http::serve::<R>(&own, arrival);
            task::give_way().await;
        }
    });
    let any = Rc::clone(local);
    task::spawn::<R>("callers and peers that arrive", async move {
        while let Some(arrival) = any.shared.arrivals.next().await {
            http::serve::<R>(&any, arrival);
            task::give_way().await;
        }
    });
}

/// The threads of a server, and how they ended.
struct Threads {
    handle: Handle,
    state: Mutex<ThreadsState>,
    changed: Signal,
    /// Closed when the server ends.
    end: (Sender<Infallible>, Receiver<Infallible>),
}

#[derive(Default)]
struct ThreadsState {
    running: usize,
    died: Option<InstanceDied>,
}

impl Threads {
    fn new(handle: Handle) -> Self {
        Self {
            handle,
            state: Mutex::default(),
            changed: Signal::new(),
            end: async_channel::bounded(1),
        }
    }

    /// Ends all instances as they are.
    fn stop(&self) {
        self.end.0.close();
        self.handle.shared.arrivals.close();
        for member in &self.handle.shared.members {
            member.inbox.close();
            member.arrivals.close();
        }
        if let Some(events) = &self.handle.shared.events {
            events.end();
        }
    }

    /// The whole life of the thread that accepts. It serves nothing, so that whatever keeps an instance
    /// busy keeps nobody from those that are not.
    fn accept<R: Runtime>(&self, doors: Vec<Door>, started: oneshot::Sender<io::Result<()>>) {
        let shared = &self.handle.shared;
        let mut started = Some(started);
        let main = async {
            task::spawn::<R>("count of untold lines", async {
                loop {
                    R::sleep(damper::CATCH_UP).await;
                    damper::LOG.catch_up();
                }
            });
            directory::warn_of_eviction::<R>(&shared.settings.directory);
            let opened = accept_all::<R>(shared, doors);
            if let Some(started) = started.take() {
                // If nobody waits any more, the server ends.
                let _ = started.send(opened);
            }
            // Nothing is ever sent: it is closed.
            let _ = self.end.1.recv().await;
        };
        let ran = panic::catch_unwind(AssertUnwindSafe(|| R::run(main)));
        if let (Ok(Err(error)), Some(started)) = (&ran, started) {
            let _ = started.send(Err(io::Error::new(error.kind(), error.to_string())));
        }
        let cause = match ran {
            Err(_) => Some("the runtime of the listeners has panicked".to_owned()),
            Ok(Err(error)) => Some(error.to_string()),
            Ok(Ok(())) => None,
        };
        self.ended(shared.members[0].id, cause);
    }

    /// The whole life of an instance's thread.
    fn serve<R: Runtime>(&self, seated: Seated) {
        let id = seated.me.id;
        let inbox = seated.inbox.clone();
        let mut started = Some(seated.started);
        let local = Rc::new(Local {
            inbox: seated.me.inbox.clone(),
            shared: seated.shared,
            api: seated.api,
            me: seated.me,
            scratch: RefCell::default(),
        });
        let mut end = Ok(());
        let main = async {
            serve_arrivals::<R>(&local);
            if let Some(started) = started.take() {
                // If nobody waits any more, the inbox is closed too.
                let _ = started.send(Ok(()));
            }
            end = task::caught(worker::run::<R>(
                seated.instance,
                Rc::clone(&local),
                seated.inbox,
            ))
            .await;
        };
        let ran = panic::catch_unwind(AssertUnwindSafe(|| R::run(main)));
        if let (Ok(Err(error)), Some(started)) = (&ran, started) {
            let _ = started.send(Err(io::Error::new(error.kind(), error.to_string())));
        }
        let cause = match (end, ran) {
            (Err(cause), _) => Some(cause),
            (Ok(()), Err(_)) => Some("the runtime has panicked".to_owned()),
            (Ok(()), Ok(Err(error))) => Some(error.to_string()),
            (Ok(()), Ok(Ok(()))) => None,
        };
        // What still waits is dropped here: its callers are told that the server has stopped.
        inbox.close();
        while inbox.try_recv().is_ok() {}
        self.ended(id, cause);
    }

    fn ended(&self, instance: InstanceId, cause: Option<String>) {
        let mut state = self.lock();
        state.running -= 1;
        if state.running == 0 {
            damper::LOG.tell_all();
        }
        if let Some(cause) = cause {
            tracing::error!(%instance, cause, "an instance has died: the server ends");
            state.died.get_or_insert(InstanceDied { instance, cause });
            drop(state);
            self.stop();
        }
        self.changed.notify(usize::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, ThreadsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
