//! SIGTERM, SIGINT and SIGHUP, on whatever runtime: a thread waits for them.

use std::future::pending;
use std::{io, thread};

use async_channel::Receiver;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;

/// Signals that nobody has taken yet, at most: the first drains, and the second ends.
const UNHEARD: usize = 2;

/// The signals that ask a process to end, and the one that asks it to read its settings again.
/// Listened for from the moment this is made, so that none that comes while the server starts is
/// missed, and none kills it.
pub(crate) struct Signals {
    heard: Receiver<Signal>,
    hangups: Receiver<()>,
    listening: iterator::Handle,
}

/// One that asks to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Asks what has no settings: its window was closed.
    HangUp,
    Terminate,
    Interrupt,
}

impl Signals {
    /// Listens for them.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut signals = iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let listening = signals.handle();
        let (sender, heard) = async_channel::bounded(UNHEARD);
        // One that waits stands for all that come meanwhile.
        let (hang_up, hangups) = async_channel::bounded(1);
        let listen = move || {
            for number in signals.forever() {
                // Whatever else comes changes nothing.
                let _ = match number {
                    SIGHUP => hang_up.try_send(()).is_ok(),
                    SIGINT => sender.try_send(Signal::Interrupt).is_ok(),
                    _ => sender.try_send(Signal::Terminate).is_ok(),
                };
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)?;
        Ok(Self {
            heard,
            hangups,
            listening,
        })
    }

    /// Waits until the settings are to be read again.
    pub(crate) async fn hangup(&self) {
        if self.hangups.recv().await.is_err() {
            pending().await
        }
    }

    /// Waits for the next one that asks to end.
    pub(crate) async fn next(&self) -> Signal {
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
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::HangUp => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// The name in capitals, such as `SIGHUP`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HangUp => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}
