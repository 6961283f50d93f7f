//! Starting and stopping a server.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, thread};

use arc_swap::ArcSwap;
use futures_channel::oneshot;
use switchboard_core::config::{ClusterSecret, ConfigError, Identity};
use switchboard_core::id::InstanceId;
use switchboard_core::{Instance, Seed};

use crate::admission::{Admission, Admitted};
use crate::api::ApiService;
use crate::clock;
use crate::error::{Died, StartError};
use crate::events::{Events, Queue};
use crate::handle::Handle;
use crate::inbox::{Inbox, Posted};
use crate::ingress::Door;
use crate::login::Authenticator;
use crate::members::{Addresses, Arrivals, Member, Shared};
use crate::permits::{ByteBudget, Service};
use crate::queue::Taker;
use crate::runtime::Runtime;
use crate::session_names::SessionNames;
use crate::settings::{ProcessConfig, Settings};
use crate::threads::{Seated, Threads};

/// Bytes of heads of requests that are not complete, of all connections of one listener together, at
/// most. Most heads come in one piece and never count.
const HEADS: usize = 64 << 20;

/// A server that is to be started.
pub struct Builder<R: Runtime> {
    settings: Settings,
    authenticator: Option<Arc<dyn Authenticator>>,
    api: Option<Arc<dyn ApiService>>,
    events: Option<usize>,
    runtime: PhantomData<R>,
}

/// A running server. Dropping it ends it at once; see [`Server::drain`] and [`Server::shutdown`].
pub struct Server {
    handle: Handle,
    threads: Arc<Threads>,
    events: Option<Events>,
}

impl<R: Runtime> Default for Builder<R> {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            authenticator: None,
            api: None,
            events: None,
            runtime: PhantomData,
        }
    }
}

impl<R: Runtime> Builder<R> {
    /// Takes these settings in place of the defaults, and of those that were given before.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// What says to which user a terminal belongs. Needed if [`ProcessConfig::listen`] is set.
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

    /// What answers at the API's listener. Needed if [`ProcessConfig::api`] is set.
    #[must_use]
    pub fn api(self, service: impl ApiService) -> Self {
        self.shared_api(Arc::new(service))
    }

    /// As [`Builder::api`], of one that is shared.
    #[must_use]
    pub fn shared_api(mut self, service: Arc<dyn ApiService>) -> Self {
        self.api = Some(service);
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
        let process = &mut settings.process;
        if process.workers == 0 {
            process.workers = thread::available_parallelism()
                .map_or(1, usize::from)
                .min(Settings::WORKERS_MAX);
        }
        if process.listen.is_some() && self.authenticator.is_none() {
            return Err(StartError::NoAuthenticator);
        }
        if process.api.is_some() && self.api.is_none() {
            return Err(StartError::NoApi);
        }
        let doors = Doors::open(&settings.process)?;
        let addresses = doors.addresses(settings);
        let mut instances = Vec::with_capacity(settings.process.workers);
        let mut members = Vec::with_capacity(settings.process.workers);
        let secret = settings.secret()?;
        for _ in 0..settings.process.workers {
            let (instance, member, inbox) = new_instance(settings, &addresses.advertised, &secret)?;
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
                addresses,
                admitted: Arc::new(ArcSwap::from_pointee(Admitted::new(admission)?)),
                arrivals: Arc::new(Arrivals::new()),
                dropped: Arc::default(),
                heads: Service::ALL.map(|_| ByteBudget::new(HEADS)),
                session_names: SessionNames::new(secret),
            }),
        };
        let mut server = Server {
            threads: Arc::new(Threads::new(Arc::clone(&handle.shared))),
            handle,
            events,
        };
        server.run::<R>(instances, self.api, doors.all).await?;
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
    fn open(process: &ProcessConfig) -> Result<Self, StartError> {
        let peer = Door::open(Service::Peers, process.peer)?;
        let open = |service, address: Option<SocketAddr>| {
            address
                .map(|address| Door::open(service, address))
                .transpose()
        };
        let terminals = open(Service::Terminals, process.listen)?;
        let api = open(Service::Api, process.api)?;
        Ok(Self {
            terminals: terminals.as_ref().map(|door| door.address()),
            api: api.as_ref().map(|door| door.address()),
            peer: peer.address(),
            all: [Some(peer), terminals, api].into_iter().flatten().collect(),
        })
    }

    /// Where they are, and what other instances are told.
    fn addresses(&self, settings: &Settings) -> Addresses {
        let advertised = settings.process.advertise.clone();
        Addresses {
            terminals: self.terminals,
            api: self.api,
            peer: self.peer,
            advertised: advertised.unwrap_or_else(|| self.peer.to_string()),
        }
    }
}

fn new_instance(
    settings: &Settings,
    address: &str,
    secret: &ClusterSecret,
) -> Result<(Instance, Member, Taker<Posted>), ConfigError> {
    let id = InstanceId::new(u64::from_le_bytes(crate::random_bytes()));
    let identity = Identity {
        instance: id,
        address: address.to_owned(),
        secret: secret.clone(),
    };
    let seed = Seed::new(crate::random_bytes());
    let instance = Instance::new(settings.core.clone(), identity, seed, clock::now())?
        .with_strangers_at_most(settings.strangers());
    let (sender, inbox) = Inbox::new();
    Ok((instance, Member::new(id, sender), inbox))
}

impl Server {
    /// What the application calls.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where terminals connect, by the operating system. `None` without a listener for them.
    pub fn terminals_addr(&self) -> Option<SocketAddr> {
        self.handle.terminals_addr()
    }

    /// Where the API is.
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.handle.shared.addresses.api
    }

    /// Where other instances connect.
    pub fn peer_addr(&self) -> SocketAddr {
        self.handle.shared.addresses.peer
    }

    /// What happens to terminals, if [`Builder::events`] was called; at the first call.
    pub const fn events(&mut self) -> Option<Events> {
        self.events.take()
    }

    /// As [`Handle::drain`].
    pub async fn drain(&self, delay: Duration, spread: Duration) {
        self.handle.drain(delay, spread).await;
    }

    /// Waits until an instance or the listeners die of a bug: the whole server has ended then. Never
    /// returns while all is well.
    pub async fn died(&self) -> Died {
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
        instances: Vec<(Instance, Taker<Posted>)>,
        api: Option<Arc<dyn ApiService>>,
        doors: Vec<Door>,
    ) -> Result<(), StartError> {
        let members = self.handle.shared.members.clone();
        let troubles = Arc::default();
        let mut starts = Vec::with_capacity(members.len() + 1);
        for ((instance, inbox), me) in instances.into_iter().zip(members) {
            let (started, start) = oneshot::channel();
            let seat = Seated {
                instance,
                inbox,
                me,
                shared: Arc::clone(&self.handle.shared),
                api: api.clone(),
                troubles: Arc::clone(&troubles),
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
            .field("peer", &self.peer_addr())
            .finish()
    }
}
