//! Listening sockets: one accept loop for each, which hands every socket to the thread that is to
//! serve it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::poll_fn;
use socket2::{Domain, Protocol, Socket, Type};

use crate::damper::{Cause, damped};
use crate::members::{Entry, Input, Member, Seat, Service, Shared};
use crate::runtime::Runtime;
use crate::server::StartError;
use crate::task::Portion;

/// How long nothing is accepted after the operating system refused: it has run out of descriptors
/// or memory, and every further attempt would fail at once.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

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

impl Service {
    /// The setting that names its address.
    const fn setting(self) -> &'static str {
        match self {
            Self::Terminals => "terminals",
            Self::Api => "api",
            Self::Peers => "peer",
        }
    }

    /// Sockets that speak HTTP at the same time, at most; further ones are closed at once. A
    /// terminal counts until its handshake is done, a link too.
    const fn limit(self) -> usize {
        match self {
            Self::Terminals => 16_384,
            Self::Api => 4096,
            Self::Peers => 1024,
        }
    }
}

/// Accepts until the task is dropped.
pub(crate) async fn accept<R: Runtime>(
    shared: Arc<Shared>,
    service: Service,
    listener: R::Listener,
) {
    let inside = Arc::new(AtomicUsize::new(0));
    let mut turn = 0;
    let mut portion = Portion::default();
    loop {
        poll_fn(|cx| portion.poll_take(cx)).await;
        let socket = match R::accept(&listener).await {
            Ok((socket, _)) => socket,
            Err(error) if is_about_the_client(&error) => continue,
            Err(error) => {
                damped!(
                    WARN, Cause::one("connections not accepted", service.setting()), %error, ?service,
                    "connections cannot be accepted"
                );
                R::sleep(REFUSED_PAUSE).await;
                continue;
            }
        };
        if inside.load(Ordering::Relaxed) >= service.limit() {
            continue;
        }
        turn += 1;
        let (member, seat) = choose(&shared, service, turn);
        let entry = Entry {
            _listener: Seat::take(&inside),
            _member: seat,
        };
        // It fails only when that instance has ended: then the socket is closed.
        let _ = member
            .inbox
            .send(Input::Serve(service, socket, entry))
            .await;
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

/// Terminals go to the instance with the fewest, everything else to each in turn.
fn choose(shared: &Shared, service: Service, turn: usize) -> (&Member, Option<Seat>) {
    match service {
        Service::Terminals => {
            let member = shared.emptiest();
            (member, Some(member.seat()))
        }
        Service::Api | Service::Peers => (&shared.members[turn % shared.members.len()], None),
    }
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
    use crate::settings::Settings;

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
        });
        let accepting = accept::<Hasty>(shared, Service::Terminals, Cell::default());
        let mut accepting = pin!(accepting);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(accepting.as_mut().poll(&mut cx).is_pending());
        }
    }
}
