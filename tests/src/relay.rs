//! A way to a server that a test can cut, and on which the server can be made to say something else.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Passes TCP connections on to a port of this machine, until it is cut.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<RelayState>,
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
        let state = Arc::new(RelayState::default());
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

    /// From here on, the byte behind this text is another one in all that the server says.
    pub fn alter(&self, text: &'static str, byte: u8) {
        self.state.set_altered(Some((text, byte)));
    }

    /// What the server says arrives as it is.
    pub fn restore(&self) {
        self.state.set_altered(None);
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
struct RelayState {
    cut: AtomicBool,
    ended: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    altered: Mutex<Option<(&'static str, u8)>>,
}

impl RelayState {
    fn set_altered(&self, altered: Option<(&'static str, u8)>) {
        *self.altered.lock().unwrap_or_else(PoisonError::into_inner) = altered;
    }

    /// Copies what the server says. An answer that is to be altered must come in one piece, as short
    /// ones do.
    fn answer(&self, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        let mut buffer = [0; 64 * 1024];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            let said = &mut buffer[..read];
            let altered = *self.altered.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((text, byte)) = altered {
                let found = said
                    .windows(text.len())
                    .position(|part| part == text.as_bytes());
                if let Some(behind) = found.and_then(|at| said.get_mut(at + text.len())) {
                    *behind = byte;
                }
            }
            to.write_all(said)?;
        }
    }

    fn pass_on(self: &Arc<Self>, near: TcpStream, port: u16) -> io::Result<()> {
        let far = TcpStream::connect(("127.0.0.1", port))?;
        self.streams(|streams| {
            if self.cut.load(Ordering::SeqCst) {
                return Ok(());
            }
            let (mut from, mut to) = (near.try_clone()?, far.try_clone()?);
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let (mut from, mut to) = (far.try_clone()?, near.try_clone()?);
            let state = Arc::clone(self);
            thread::spawn(move || {
                let _ = state.answer(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            streams.extend([near, far]);
            Ok(())
        })
    }

    fn streams<T>(&self, act: impl FnOnce(&mut Vec<TcpStream>) -> T) -> T {
        act(&mut self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
