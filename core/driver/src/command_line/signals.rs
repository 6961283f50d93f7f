//! SIGTERM and SIGINT, on whatever runtime: a thread waits for them.

use std::future::pending;
use std::{io, thread};

use async_channel::Receiver;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator;

/// Signals that nobody has taken yet, at most: the first drains, and the second ends.
const UNHEARD: usize = 2;

/// The signals that ask a process to end. Listened for from the moment this is made, so that none
/// that comes while the server starts is missed.
pub(super) struct Signals {
    heard: Receiver<Signal>,
    listening: iterator::Handle,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Terminate,
    Interrupt,
}

impl Signals {
    /// Listens for them.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub(super) fn listen() -> io::Result<Self> {
        let mut signals = iterator::Signals::new([SIGTERM, SIGINT])?;
        let listening = signals.handle();
        let (sender, heard) = async_channel::bounded(UNHEARD);
        let listen = move || {
            for number in signals.forever() {
                let signal = match number {
                    SIGINT => Signal::Interrupt,
                    _ => Signal::Terminate,
                };
                // Whatever else comes changes nothing.
                let _ = sender.try_send(signal);
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)?;
        Ok(Self { heard, listening })
    }

    /// Waits for the next one.
    pub(super) async fn next(&self) -> Signal {
        match self.heard.recv().await {
            Ok(signal) => signal,
            Err(async_channel::RecvError) => pending().await,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listening.close();
    }
}

impl Signal {
    /// The status with which shells report a process that the signal ended.
    pub(super) fn status(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}
