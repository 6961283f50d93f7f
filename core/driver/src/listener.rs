//! Listening sockets: one accept loop for each, which hands every socket to the thread that is to
//! serve it.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use event_listener::Event as Signal;
use futures_util::future::poll_fn;
use socket2::{Domain, Protocol, Socket, Type};

use crate::damper::{Cause, damped};
use crate::members::{Arrival, Entry, Room, Seat, Service, Shared};
use crate::runtime::Runtime;
use crate::server::StartError;
use crate::sockets::Sockets;
use crate::task::Portion;

/// How long nothing is accepted after the operating system refused: it has run out of descriptors
/// or memory, and every further attempt would fail at once.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// How long nothing is accepted while all threads have more sockets than they take.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// A thread that has not taken so many sockets is slower than one that has taken all.
const SLOW: usize = 4;

/// Connections that the operating system keeps until they are accepted: after a restart everybody
/// comes at once, and a dropped handshake is repeated a second later at the earliest.
const BACKLOG: i32 = 4096;

/// A bound listener and what it is for.
pub(crate) struct Door {
    pub(crate) service: Service,
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
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
    fn admit(&mut self) -> Option<Entry> {
        let inside = self.inside.load(Ordering::Relaxed);
        let (full, place) = match self.service {
            Service::Terminals => {
                let all = self.places.load(Ordering::Relaxed);
                let full = inside >= self.limits.handshakes || all >= self.limits.terminals;
                (full, (!full).then(|| Arc::new(Seat::take(&self.places))))
            }
            Service::Api => (inside >= self.limits.api, None),
            Service::Peers => {
                if inside >= self.limits.peers {
                    self.strangers.send_away_oldest()?;
                }
                let room = Room::Until(self.strangers.add(self.limits.peers));
                return Some(self.entry(room, None));
            }
        };
        if !full {
            return Some(self.entry(Room::Enough, place));
        }
        let spare = self.spare.load(Ordering::Relaxed) < self.limits.spare;
        spare.then(|| self.entry(Room::Spare, None))
    }

    fn entry(&self, room: Room, place: Option<Arc<Seat>>) -> Entry {
        let counter = match room {
            Room::Enough | Room::Until(_) => &self.inside,
            Room::Spare => &self.spare,
        };
        Entry {
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

/// Tells a socket that others need its room.
#[derive(Default)]
pub(crate) struct Farewell {
    said: AtomicBool,
    never: AtomicBool,
    signal: Signal,
}

impl Farewell {
    fn say(&self) {
        self.said.store(true, Ordering::Release);
        self.signal.notify(usize::MAX);
    }

    /// It will not be said.
    pub(crate) fn never(&self) {
        self.never.store(true, Ordering::Release);
    }

    /// Ends when it is said.
    pub(crate) async fn heard(&self) {
        loop {
            let signal = self.signal.listen();
            if self.said.load(Ordering::Acquire) {
                return;
            }
            signal.await;
        }
    }
}

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
            if let Some(farewell) = oldest.filter(|one| !one.never.load(Ordering::Acquire)) {
                farewell.say();
                return Some(());
            }
        }
    }
}

impl Service {
    /// The setting that names its address.
    const fn setting(self) -> &'static str {
        match self {
            Self::Terminals => "terminals",
            Self::Api => "api",
            Self::Peers => "peer",
        }
    }
}

/// Accepts until the task is dropped.
pub(crate) async fn accept<R: Runtime>(
    shared: Arc<Shared>,
    service: Service,
    listener: R::Listener,
) {
    let mut hall = Hall::new(service, shared.settings.sockets);
    let mut reserve = Reserve::default();
    let mut portion = Portion::default();
    loop {
        poll_fn(|cx| portion.poll_take(cx)).await;
        reserve.fill();
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
        let entry = if reserve.is_full() {
            hall.admit()
        } else {
            None
        };
        let Some(entry) = entry else {
            shared.drop_one(service);
            continue;
        };
        let mut arrival = Arrival {
            service,
            socket,
            entry,
        };
        while let Some(back) = hand_over(&shared, arrival) {
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
/// not to one that does not take what it has; everything else to whoever is the first to take it.
/// Gives it back if there is no room anywhere.
fn hand_over(shared: &Shared, mut arrival: Arrival) -> Option<Arrival> {
    match arrival.service {
        Service::Terminals => {
            let mut members: Vec<_> = shared.members.iter().collect();
            members.sort_by_key(|member| (member.arrivals.len() / SLOW, member.terminals()));
            for member in members {
                arrival.entry.member = Some(member.seat());
                arrival = member.arrivals.push(arrival)?;
            }
            Some(arrival)
        }
        Service::Api | Service::Peers => shared.arrivals.push(arrival),
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
    use std::cell::Cell;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use arc_swap::ArcSwap;

    use super::*;
    use crate::admission::{Admission, Admitted};
    use crate::directory::Troubles;
    use crate::hasty::Hasty;
    use crate::inbox;
    use crate::members::{Arrivals, Dropped};
    use crate::settings::Settings;

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
        let said = |farewell: &Farewell| farewell.said.load(Ordering::Relaxed);
        assert!(said(&oldest) && !said(&member) && !said(&newest));
        assert_eq!(strangers.send_away_oldest(), Some(()));
        assert_eq!(strangers.send_away_oldest(), None);
    }

    #[test]
    fn clients_that_come_and_go_without_end_leave_the_thread_to_others() {
        let shared = Arc::new(Shared {
            settings: Settings::default(),
            members: Vec::new(),
            events: None,
            troubles: Troubles::default(),
            admitted: ArcSwap::from_pointee(
                Admitted::new(Admission::default()).expect("nobody is a good list"),
            ),
            arrivals: Arrivals::new(),
            dropped: Dropped::default(),
            heads: inbox::Room::new(0),
        });
        let accepting = accept::<Hasty>(shared, Service::Terminals, Cell::default());
        let mut accepting = pin!(accepting);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(accepting.as_mut().poll(&mut cx).is_pending());
        }
    }
}
