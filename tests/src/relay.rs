//! A way to a server that a test can cut.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Passes TCP connections on to a port of this machine, until it is cut.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
}

impl Relay {
    /// A relay to this port.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                // One that cannot be passed on is closed, as at an address where nobody listens.
                let _ = stream.and_then(|stream| shared.pass_on(stream, port));
            }
        });
        Self { address, state }
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections, and closes new ones at once.
    pub fn cut(&self) {
        self.state.streams(|streams| {
            // Under the lock, so that no connection slips in between.
            self.state.cut.store(true, Ordering::SeqCst);
            for stream in streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Passes new connections on again.
    pub fn mend(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

#[derive(Debug, Default)]
struct State {
    cut: AtomicBool,
    ended: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl State {
    fn pass_on(&self, near: TcpStream, port: u16) -> io::Result<()> {
        let far = TcpStream::connect(("127.0.0.1", port))?;
        self.streams(|streams| {
            if self.cut.load(Ordering::SeqCst) {
                return Ok(());
            }
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
            streams.extend([near, far]);
            Ok(())
        })
    }

    fn streams<T>(&self, act: impl FnOnce(&mut Vec<TcpStream>) -> T) -> T {
        act(&mut self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
