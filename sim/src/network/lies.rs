//! Peers that know the secret and misbehave: what they say on their links is not what an instance says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use switchboard_core::forged::{self, Forgery};
use switchboard_core::id::ConnectionId;
use switchboard_core::time::Instant;

use super::strangers::Outsiders;
use crate::context::Context;
use crate::fingerprint::fingerprint;
use crate::ledger::{FaultKind, Scope};
use crate::schedule::PeerLie;
use crate::vocabulary::happening::LinkContent;

/// How much later than it is said that comes out which a peer keeps back: longer than any push waits by default.
const LATE: Duration = Duration::from_secs(6);

/// What ends a link is said once in so long: a link that ends is opened anew at once, and much of it is long.
const AGAIN: Duration = Duration::from_secs(1);

/// Who misbehaves towards whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Lies {
    told: BTreeMap<(usize, usize), Vec<Told>>,
    /// The terminals of which one process has asked another last, where somebody answers for others.
    asked: BTreeMap<(usize, usize), BTreeSet<ConnectionId>>,
}

fingerprint!(Lies { told, asked });

/// One way to misbehave.
#[derive(Clone, Copy, Debug)]
struct Told {
    lie: PeerLie,
    /// Not before this moment.
    from: Instant,
    until: Instant,
}

fingerprint!(Told { lie, from, until });

/// What comes out of a link in place of what was to be said.
#[derive(Debug)]
pub(super) struct TwistedWords {
    /// One after the other.
    pub(super) pieces: Vec<LinkContent>,
    /// By how much later it comes out.
    pub(super) later: Duration,
}

impl Lies {
    /// One process misbehaves towards another until a moment.
    pub(super) fn begin(&mut self, way: (usize, usize), lie: PeerLie, until: Instant) {
        let from = Instant::START;
        let lies = self.told.entry(way).or_default();
        lies.push(Told { lie, from, until });
    }

    /// Ends all misbehaviour.
    pub(super) fn end(&mut self) {
        self.told.clear();
        self.asked.clear();
    }

    /// A process says something to another, and whoever answers that one for others listens.
    fn listen(&mut self, way: (usize, usize), batch: &Bytes) {
        let (asks, of) = way;
        let mut lies = self
            .told
            .iter()
            .filter(|((from, to), _)| *to == asks && *from != of);
        let listens = |told: &Told| told.lie == PeerLie::AnswersForOthers;
        if lies.any(|(_, told)| told.iter().any(listens)) {
            let named = forged::named(batch);
            if !named.is_empty() {
                self.asked.insert(way, named.into_iter().collect());
            }
        }
    }

    /// The terminals of which one process has asked others than this one last.
    fn of_others(&self, (from, to): (usize, usize)) -> Vec<ConnectionId> {
        let asked = self.asked.iter();
        let of_others = asked.filter(|((asks, of), _)| *asks == to && *of != from);
        of_others
            .flat_map(|(_, named)| named.iter().copied())
            .collect()
    }

    /// What a process says to another in place of a batch.
    pub(super) fn said(
        &mut self,
        cx: &mut Context,
        way: (usize, usize),
        heard: &Outsiders,
        batch: Bytes,
    ) -> TwistedWords {
        self.listen(way, &batch);
        let others = self.of_others(way);
        let mut said = TwistedWords {
            pieces: vec![LinkContent::Batch(batch)],
            later: Duration::ZERO,
        };
        let Some(lies) = self.told.get_mut(&way) else {
            return said;
        };
        lies.retain(|told| told.until > cx.now);
        let now = cx.now;
        for told in lies.iter_mut().filter(|told| told.from <= now) {
            if said.twist(told.lie, way, heard, &others) {
                if said.ends() {
                    told.from = now + AGAIN;
                }
                // What it has kept back, or not said, is missing for longer.
                let until = told.until + LATE;
                cx.fault_shows(FaultKind::PeerLied, Scope::Between(way.0, way.1), until);
            }
        }
        said
    }
}

impl TwistedWords {
    /// Whether the link ends by it.
    fn ends(&self) -> bool {
        let is_nonsense = |piece: &LinkContent| matches!(piece, LinkContent::Nonsense(_));
        self.pieces.iter().any(is_nonsense)
    }

    /// Returns whether it is another one afterwards.
    fn twist(
        &mut self,
        lie: PeerLie,
        way: (usize, usize),
        heard: &Outsiders,
        others: &[ConnectionId],
    ) -> bool {
        match lie {
            PeerLie::Says(forgery) => {
                let mut differs = false;
                for piece in &mut self.pieces {
                    if let LinkContent::Batch(batch) = piece
                        && let Some(forged) = forgery.of(batch)
                    {
                        *piece = match forgery.is_nonsense() {
                            true => LinkContent::Nonsense(forged),
                            false => LinkContent::Batch(forged),
                        };
                        differs = true;
                    }
                }
                differs
            }
            PeerLie::GreetsAgain => {
                let is_talk = |piece: &LinkContent| match piece {
                    LinkContent::Batch(batch) => Forgery::has_occasion(batch),
                    LinkContent::Nonsense(_)
                    | LinkContent::Dial
                    | LinkContent::Up
                    | LinkContent::Down(_) => false,
                };
                // Alone it would be a greeting.
                let talks = !self.pieces.is_empty() && self.pieces.iter().all(is_talk);
                let hello = heard.hello(way).filter(|_| talks).cloned();
                let greets = hello.is_some();
                self.pieces.extend(hello.map(LinkContent::Nonsense));
                greets
            }
            PeerLie::AnswersForOthers => {
                let mut differs = false;
                for piece in &mut self.pieces {
                    if let LinkContent::Batch(batch) = piece
                        && let Some(forged) = forged::for_others(batch, others)
                    {
                        *batch = forged;
                        differs = true;
                    }
                }
                differs
            }
            PeerLie::FallsSilent => {
                self.pieces.clear();
                true
            }
            PeerLie::IsLate => {
                self.later = LATE;
                true
            }
        }
    }
}
