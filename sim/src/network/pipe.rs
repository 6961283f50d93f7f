//! One link: two ends, each of which may be open.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::id::{InstanceId, LinkKey};
use switchboard_core::time::Instant;

use crate::fingerprint::{fingerprint, timeless};
use crate::observed::Life;

#[derive(Clone, Debug)]
pub(super) struct Pipe {
    /// It carries nothing any more, and nobody was told.
    pub(super) half_open: bool,
    pub(super) dialler: End,
    pub(super) acceptor: End,
    /// What was dialled.
    pub(super) address: String,
    /// The instance that should be there.
    pub(super) expected: InstanceId,
    /// The base of the delay on it.
    pub(super) shown: Shown,
    /// How far the two are.
    pub(super) handshake: Handshake,
    /// Batches of the dialler.
    pub(super) said: u32,
}

/// How far the two ends of a link are with proving who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Handshake {
    /// The acceptor has not seen that the dialler is who it says.
    Begun,
    /// It has, and the dialler has not heard of that.
    Proven,
    /// Both know who the other is.
    Over,
}

timeless!(Handshake);

/// What its messages can have shown of a way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// The smallest base of their delays so far.
    base: Option<Duration>,
}

fingerprint!(Shown { base });

impl Shown {
    /// A message leaves.
    pub(super) fn note(&mut self, base: Duration) {
        self.base = Some(self.base.unwrap_or(base).min(base));
    }

    /// How long a message may take each way, so that the answer to a delivery leaves early enough: every
    /// round trip that was measured took both ways at least, and the shortest counts.
    pub(super) fn allows(self) -> Duration {
        let round_trip = self.base.unwrap_or_default() * 2;
        Config::ANSWER_MARGIN.max(round_trip * Config::ANSWER_ROUND_TRIPS) / 2
    }
}

fingerprint!(Pipe {
    half_open,
    dialler,
    acceptor,
    address,
    expected,
    shown,
    handshake,
    said,
});

/// One end of a pipe.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) life: Life,
    pub(super) key: Option<LinkKey>,
    pub(super) open: bool,
    /// The last message towards it arrives then.
    pub(super) last: Instant,
}

fingerprint!(End {
    life,
    key,
    open,
    last,
});

impl Pipe {
    pub(super) fn is_between(&self, one: usize, other: usize) -> bool {
        let ends = (self.dialler.life.host, self.acceptor.life.host);
        ends == (one, other) || ends == (other, one)
    }

    /// Whether somebody has it for open, or waits for it to open.
    pub(super) const fn is_open(&self) -> bool {
        let accepted = self.acceptor.open && self.acceptor.key.is_some();
        self.dialler.open || accepted
    }

    /// Whether it carries what is sent.
    pub(super) const fn carries(&self) -> bool {
        self.is_open() && !self.half_open
    }

    /// Whether an instance has dialled it, and calls it so.
    pub(super) fn is_dialled_by(&self, life: Life, link: LinkKey) -> bool {
        self.dialler.life == life && self.dialler.key == Some(link)
    }

    pub(super) const fn end(&mut self, dialler: bool) -> &mut End {
        if dialler {
            &mut self.dialler
        } else {
            &mut self.acceptor
        }
    }
}

impl End {
    pub(super) const fn new(life: Life, key: Option<LinkKey>) -> Self {
        Self {
            life,
            key,
            open: true,
            last: Instant::START,
        }
    }

    /// Whose it is and what that instance calls it, if it is open.
    pub(super) fn opened(&self) -> Option<(Life, LinkKey)> {
        let link = self.key.filter(|_| self.open)?;
        Some((self.life, link))
    }
}
