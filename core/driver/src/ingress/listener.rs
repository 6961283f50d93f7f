//! Listening sockets: one accept loop for each, which hands every socket to the thread that is to
//! serve it.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::poll_fn;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::StartError;
use crate::log::{Cause, damped};
use crate::members::{Arrival, Arrivals, Member, Shared};
use crate::permits::{Capacity, Dropped, Farewell, Seat, Service, SocketPermit};
use crate::runtime::Runtime;
use crate::sockets::Sockets;
use crate::task::Portion;

/// How long nothing is accepted after the operating system refused: it has run out of descriptors
/// or memory, and every further attempt would fail at once.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// How long nothing is accepted while all threads have more sockets than they take.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Pauses for those who are sent away to hear it, at most. A thread that is not stuck needs one.
const FAREWELLS: usize = 20;

/// A thread that has not taken so many sockets is slower than one that has taken all.
const SLOW: usize = 4;

/// Connections that the operating system keeps until they are accepted: after a restart everybody
/// comes at once, and a dropped handshake is repeated a second later at the earliest.
const BACKLOG: i32 = 4096;

/// A bound listener and what it is for.
pub(crate) struct Door {
    service: Service,
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    /// Binds it. No `SO_REUSEPORT`: a second process at the same port is to fail.
    pub(crate) fn open(service: Service, address: SocketAddr) -> Result<Self, StartError> {
        match bind(address).and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => Ok(Self {
                service,
                listener,
                address,
            }),
            Err(error) => Err(StartError::Listen {
                field: service.setting(),
                address,
                error,
            }),
        }
    }

    /// Where it is.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its sockets are for.
    pub(crate) const fn name(&self) -> &'static str {
        self.service.name()
    }

    /// Registers the listener with the runtime of the thread. What is returned accepts until it is dropped.
    ///
    /// # Errors
    ///
    /// If the runtime cannot take it.
    pub(crate) fn accept<R: Runtime>(
        self,
        shared: &Shared,
    ) -> io::Result<impl Future<Output = ()> + use<R>> {
        let listener = R::listen(self.listener)?;
        Ok(accept::<R>(Accepting::new(shared), self.service, listener))
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of a former process that linger do not keep its successor from the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The sockets of one listener that speak HTTP, and of the terminals' listener all.
struct Hall {
    service: Service,
    limits: Sockets,
    inside: Arc<AtomicUsize>,
    spare: Arc<AtomicUsize>,
    places: Arc<AtomicUsize>,
    strangers: Strangers,
}

impl Hall {
    fn new(service: Service, limits: Sockets) -> Self {
        Self {
            service,
            limits,
            inside: Arc::default(),
            spare: Arc::default(),
            places: Arc::default(),
            strangers: Strangers::default(),
        }
    }

    /// What one more socket counts as. `None` if there is no room for it.
    fn admit(&mut self) -> Option<SocketPermit> {
        let inside = self.inside.load(Ordering::Relaxed);
        let (full, place) = match self.service {
            Service::Terminals => {
                let all = self.places.load(Ordering::Relaxed);
                let full = inside >= self.limits.handshakes || all >= self.limits.terminals;
                (full, (!full).then(|| Seat::take(&self.places)))
            }
            Service::Api => (inside >= self.limits.api, None),
            Service::Peers => {
                if self.is_overfull() {
                    return None;
                }
                if inside >= self.limits.peers {
                    self.strangers.send_away_oldest()?;
                }
                let room = Capacity::Until(self.strangers.add(self.limits.peers));
                return Some(self.permit(room, None));
            }
        };
        if !full {
            return Some(self.permit(Capacity::Enough, place));
        }
        let spare = self.spare.load(Ordering::Relaxed) < self.limits.spare;
        spare.then(|| self.permit(Capacity::Spare, None))
    }

    /// Whether as many as were to be there are sent away and still there: whoever is has its room until
    /// it hears that.
    fn is_overfull(&self) -> bool {
        let inside = self.inside.load(Ordering::Relaxed);
        self.service == Service::Peers && inside >= self.limits.peers.saturating_mul(2)
    }

    fn permit(&self, room: Capacity, place: Option<Seat>) -> SocketPermit {
        let counter = match room {
            Capacity::Enough | Capacity::Until(_) => &self.inside,
            Capacity::Spare => &self.spare,
        };
        SocketPermit {
            _listener: Seat::take(counter),
            member: None,
            place,
            room,
        }
    }
}

/// Sockets whose other end may be anybody, oldest first.
#[derive(Default)]
struct Strangers(VecDeque<Weak<Farewell>>);

impl Strangers {
    fn add(&mut self, limit: usize) -> Arc<Farewell> {
        if self.0.len() > limit.saturating_mul(2) {
            self.0.retain(|farewell| farewell.strong_count() > 0);
        }
        let farewell = Arc::default();
        self.0.push_back(Arc::downgrade(&farewell));
        farewell
    }

    /// `None` if there is nobody to send away.
    fn send_away_oldest(&mut self) -> Option<()> {
        loop {
            let oldest = self.0.pop_front()?.upgrade();
            if oldest.is_some_and(|farewell| farewell.say()) {
                return Some(());
            }
        }
    }
}

/// What accepted sockets are handed to, and how many there may be.
struct Accepting {
    limits: Sockets,
    members: Vec<Arc<Member>>,
    /// Sockets that any thread may serve.
    arrivals: Arc<Arrivals>,
    dropped: Arc<Dropped>,
}

impl Accepting {
    /// At a listener of a server.
    fn new(shared: &Shared) -> Self {
        Self {
            limits: shared.settings.sockets,
            members: shared.members.clone(),
            arrivals: Arc::clone(&shared.arrivals),
            dropped: Arc::clone(&shared.dropped),
        }
    }
}

/// Accepts until the task is dropped.
async fn accept<R: Runtime>(accepting: Accepting, service: Service, listener: R::Listener) {
    let mut hall = Hall::new(service, accepting.limits);
    let mut reserve = Reserve::default();
    // Filled again behind a connection that was accepted, and not before: what is given away is for the next one.
    reserve.fill();
    let mut portion = Portion::default();
    loop {
        poll_fn(|cx| portion.poll_take(cx)).await;
        for _ in 0..FAREWELLS {
            if !hall.is_overfull() {
                break;
            }
            R::sleep(FULL_PAUSE).await;
        }
        let socket = match R::accept(&listener).await {
            Ok((socket, _)) => socket,
            Err(error) if is_about_the_client(&error) => continue,
            Err(error) => {
                damped!(
                    WARN, Cause::one("connections not accepted", service.setting()), %error, ?service,
                    "connections cannot be accepted"
                );
                if !reserve.give() {
                    R::sleep(REFUSED_PAUSE).await;
                }
                continue;
            }
        };
        let permit = if reserve.is_full() {
            hall.admit()
        } else {
            None
        };
        let Some(permit) = permit else {
            accepting.dropped.count(service);
            continue;
        };
        let mut arrival = Arrival {
            service,
            socket,
            permit,
        };
        while let Some(back) = hand_over(&accepting, arrival) {
            arrival = back;
            R::sleep(FULL_PAUSE).await;
        }
    }
}

/// A descriptor that is kept to be given away when there are no others: then a connection can still
/// be accepted and closed, rather than wait for an answer that does not come.
#[derive(Default)]
struct Reserve(Option<Socket>);

impl Reserve {
    fn fill(&mut self) {
        if self.0.is_none() {
            self.0 = Socket::new(Domain::IPV4, Type::STREAM, None).ok();
        }
    }

    /// Whether there was one.
    fn give(&mut self) -> bool {
        self.0.take().is_some()
    }

    fn is_full(&mut self) -> bool {
        self.fill();
        self.0.is_some()
    }
}

/// Hands a socket to the thread that is to serve it: a terminal to the one with the fewest, and
/// not to one that does not take what it has; everything else to the first that takes it.
/// Returns it if there is no room anywhere.
fn hand_over(accepting: &Accepting, mut arrival: Arrival) -> Option<Arrival> {
    match arrival.service {
        Service::Terminals => {
            let mut members: Vec<_> = accepting.members.iter().collect();
            // Cached: the other threads change these figures while this one sorts.
            members.sort_by_cached_key(|member| (member.arrivals.len() / SLOW, member.terminals()));
            for member in members {
                arrival.permit.member = Some(member.seat());
                arrival = member.arrivals.push(arrival)?;
            }
            Some(arrival)
        }
        Service::Api | Service::Peers => accepting.arrivals.push(arrival),
    }
}

/// Whether a client went before it was accepted, which says nothing about the next one.
fn is_about_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use futures_util::FutureExt as _;
    use switchboard_core::config::{Config, Identity};
    use switchboard_core::id::InstanceId;
    use switchboard_core::{Instance, Seed};

    use super::*;
    use crate::clock;
    use crate::hasty::{Clients, Hasty};
    use crate::looping::Links;
    use crate::settings::Settings;
    use crate::tasks::Trust;

    /// What is given away when there are no descriptors is taken back when there are.
    #[test]
    fn a_reserve_is_given_once_and_filled_again() {
        let mut reserve = Reserve::default();
        assert!(!reserve.give());
        assert!(reserve.is_full());
        assert!(reserve.give());
        assert!(!reserve.give());
        assert!(reserve.is_full());
    }

    /// H08: whoever has proven itself stays; of the others the oldest goes.
    #[test]
    fn strangers_are_sent_away_oldest_first() {
        let mut strangers = Strangers::default();
        let [gone, member, oldest, newest] = std::array::from_fn(|_| strangers.add(2));
        drop(gone);
        member.never();
        assert_eq!(strangers.send_away_oldest(), Some(()));
        let said = |farewell: &Arc<Farewell>| farewell.is_said().now_or_never();
        let all = [&oldest, &member, &newest].map(said);
        assert_eq!(all, [Some(true), Some(false), None]);
        assert_eq!(strangers.send_away_oldest(), Some(()));
        assert_eq!(strangers.send_away_oldest(), None);
        // A socket that was told to go does not stay.
        oldest.never();
        assert_eq!(said(&oldest), Some(true));
    }

    /// H08: links that are proven leave their room to others, however many they are.
    #[test]
    fn a_link_that_is_proven_counts_as_a_newcomer_no_more() {
        let mut hall = hall(1);
        let mut links = Links::default();
        let mut served = Vec::new();
        let mut instance = instance();
        for _ in 0..3 {
            let permit = Arc::new(hall.admit().expect("the last one has proven itself"));
            let mut sent_away = Box::pin(Arc::clone(&permit).sent_away());
            assert!(sent_away.as_mut().now_or_never().is_none());
            let key = (instance.accept_link(clock::now())).expect("there is room for a link");
            links.insert(key, Trust::in_newcomer(), Some(permit));
            assert_eq!(hall.inside.load(Ordering::Relaxed), 1);
            links.proven(key);
            assert!(sent_away.as_mut().now_or_never().is_none());
            assert_eq!(hall.inside.load(Ordering::Relaxed), 0);
            served.push(sent_away);
        }
    }

    /// H10: those that were sent away and have not heard it are inside, and there are no more than twice as
    /// many as there are to be.
    #[test]
    fn those_who_do_not_hear_that_they_are_sent_away_have_a_limit_too() {
        let mut hall = hall(2);
        let mut inside: Vec<_> = (0..4).map_while(|_| hall.admit()).collect();
        assert_eq!(inside.len(), 4);
        assert!(hall.admit().is_none());
        inside.pop();
        assert!(hall.admit().is_some());
    }

    fn instance() -> Instance {
        let identity = Identity {
            instance: InstanceId::new(1),
            address: "127.0.0.1:1".to_owned(),
            secret: Settings::default().secret().expect("a random one"),
        };
        let seed = Seed::new([0; 32]);
        Instance::new(Config::default(), identity, seed, clock::now()).expect("it fits")
    }

    fn hall(peers: usize) -> Hall {
        let limits = Sockets {
            peers,
            ..Sockets::default()
        };
        Hall::new(Service::Peers, limits)
    }

    #[test]
    fn clients_that_come_and_go_without_end_leave_the_thread_to_others() {
        assert_eq!(pauses_of_two_turns(Clients::Gone), 0);
    }

    /// One descriptor is there to be given away, and then there is none: clients are not accepted, and the thread is not
    /// kept busy with that.
    #[test]
    fn without_descriptors_there_is_a_pause_before_the_next_attempt() {
        let pauses = pauses_of_two_turns(Clients::Refused);
        assert!(pauses > 2, "{pauses} pauses");
    }

    fn pauses_of_two_turns(clients: Clients) -> usize {
        let accepting = Accepting::new(&Shared::of(Vec::new()));
        let accepting = accept::<Hasty>(accepting, Service::Terminals, clients.arriving());
        let mut accepting = pin!(accepting);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(accepting.as_mut().poll(&mut cx).is_pending());
        }
        Hasty::pauses().len()
    }
}
