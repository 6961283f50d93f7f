//! Strangers: they open links, or answer in somebody's place, do not know the secret, and repeat what they have
//! listened to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use switchboard_core::id::LinkKey;

use super::Network;
use super::pipe::{End, Handshake, Pipe, Shown};
use crate::context::Context;
use crate::fingerprint::fingerprint;
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::observed::{Life, Observed};
use crate::schedule::StrangerWords;
use crate::vocabulary::happening::LinkContent;

/// What no instance says first.
const NONSENSE: &[u8] = b"GET / HTTP/1.1";

/// Those who speak, and what they have listened to.
#[derive(Clone, Debug, Default)]
pub(super) struct Outsiders {
    /// By their links.
    speaking: BTreeMap<usize, Stranger>,
    /// What was said on the last link from one process to another.
    heard: BTreeMap<(usize, usize), Listened>,
    /// What was said first by the process that took the last link, to the one that dialled.
    answers: BTreeMap<(usize, Life), Bytes>,
    /// When the first dials the second, somebody else answers.
    posing: BTreeSet<(usize, usize)>,
}

fingerprint!(Outsiders {
    speaking,
    heard,
    answers,
    posing,
});

/// Somebody at the other end of a link.
#[derive(Clone, Debug)]
struct Stranger {
    /// It has opened the link.
    dials: bool,
    /// What is said next, last first.
    says: Vec<Bytes>,
    /// What was said last ends the link.
    ends: bool,
}

fingerprint!(Stranger { dials, says, ends });

/// What a dialler has said.
#[derive(Clone, Debug, Default)]
struct Listened {
    hello: Option<Bytes>,
    proof: Option<Bytes>,
    /// Something after that.
    message: Option<Bytes>,
}

fingerprint!(Listened {
    hello,
    proof,
    message,
});

impl Outsiders {
    /// A dialler says its first batch, its second, or a later one.
    pub(super) fn listen(&mut self, way: (usize, usize), nth: u32, batch: &Bytes) {
        let heard = self.heard.entry(way).or_default();
        let place = match nth {
            1 => &mut heard.hello,
            2 => &mut heard.proof,
            _ => &mut heard.message,
        };
        // Links are many, and of later messages one is as good as another.
        if nth <= 2 || place.is_none() {
            *place = Some(batch.clone());
        }
    }

    /// The process that was dialled says its first batch.
    pub(super) fn listen_to_answer(&mut self, way: (usize, Life), batch: &Bytes) {
        self.answers.insert(way, batch.clone());
    }

    /// An instance is gone: what it has answered, or was answered, shows that it is another one.
    pub(super) fn forget(&mut self, host: usize) {
        self.answers
            .retain(|(acceptor, dialler), _| ![*acceptor, dialler.host].contains(&host));
    }

    /// Whether somebody speaks on this link at this end.
    pub(super) fn is_at(&self, pipe: usize, dialler: bool) -> bool {
        (self.speaking.get(&pipe)).is_some_and(|stranger| stranger.dials == dialler)
    }

    /// Somebody answers in the place of a process that another one dials, if that was to happen. It is once.
    pub(super) fn poses(&mut self, pipe: usize, (dialler, acceptor): (Life, usize)) -> bool {
        if !self.posing.remove(&(dialler.host, acceptor)) {
            return false;
        }
        let Some(answer) = self.answers.get(&(acceptor, dialler)).cloned() else {
            return false;
        };
        let stranger = Stranger {
            dials: false,
            says: vec![answer],
            ends: false,
        };
        self.speaking.insert(pipe, stranger);
        true
    }

    /// Nobody answers in anybody's place any more.
    pub(super) fn heal(&mut self) {
        self.posing.clear();
    }

    /// What was said comes out of the link at an instance.
    pub(super) fn said(&self, cx: &mut Context, pipe: usize, life: Life, link: LinkKey) {
        if let Some(stranger) = self.speaking.get(&pipe) {
            let ends = stranger.ends;
            cx.borne(FaultKind::Stranger, Scope::Instance(life.host));
            cx.observe(Observed::StrangerSaid { life, link, ends });
        }
    }

    /// What one process has said first on its last link to another.
    pub(super) fn hello(&self, way: (usize, usize)) -> Option<&Bytes> {
        self.heard.get(&way)?.hello.as_ref()
    }

    /// What is to be said at a process, last first, if it can be.
    fn words(&self, at: usize, says: StrangerWords) -> Option<Vec<Bytes>> {
        let of = |from: usize| self.heard.get(&(from, at));
        Some(match says {
            StrangerWords::Nonsense => vec![Bytes::from_static(NONSENSE)],
            StrangerWords::Misdirected(from) => {
                let others = self
                    .heard
                    .iter()
                    .filter(|((of, to), _)| *of == from.0 && *to != at);
                vec![others.filter_map(|(_, heard)| heard.hello.clone()).next()?]
            }
            StrangerWords::Replayed(from) => {
                let heard = of(from.0)?;
                vec![heard.proof.clone()?, heard.hello.clone()?]
            }
            StrangerWords::Unproven(from) => {
                let heard = of(from.0)?;
                vec![heard.message.clone()?, heard.hello.clone()?]
            }
            StrangerWords::Posing(_) => return None,
        })
    }
}

impl Network {
    /// Somebody opens a link to a process, or will answer what that one dials.
    pub(crate) fn stranger(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        at: usize,
        says: StrangerWords,
    ) {
        if let StrangerWords::Posing(of) = says {
            self.strangers.posing.insert((at, of.0));
            return;
        }
        let (Some(instance), Some(says)) = (hosts.instance_id(at), self.strangers.words(at, says))
        else {
            return;
        };
        let pipe = self.pipes.len();
        let outside = Life {
            host: self.links.len(),
            number: 0,
        };
        self.pipes.push(Pipe {
            half_open: false,
            dialler: End::new(outside, None),
            acceptor: End::new(
                Life {
                    host: at,
                    number: 0,
                },
                None,
            ),
            address: hosts.address(at).to_owned(),
            expected: instance,
            shown: Shown::default(),
            handshake: Handshake::Begun,
            said: 0,
        });
        let stranger = Stranger {
            dials: true,
            says,
            ends: false,
        };
        self.strangers.speaking.insert(pipe, stranger);
        self.send(cx, pipe, false, LinkContent::Dial);
    }

    /// Something reaches somebody: after each answer comes the next thing that is said.
    pub(super) fn at_stranger(&mut self, cx: &mut Context, pipe: usize, content: &LinkContent) {
        match content {
            LinkContent::Up | LinkContent::Batch(_) | LinkContent::Nonsense(_) => {
                let Some(stranger) = self.strangers.speaking.get_mut(&pipe) else {
                    return;
                };
                if let Some(batch) = stranger.says.pop() {
                    stranger.ends = stranger.says.is_empty();
                    let to_dialler = !stranger.dials;
                    self.send(cx, pipe, to_dialler, LinkContent::Batch(batch));
                }
            }
            LinkContent::Down(_) => {
                self.strangers.speaking.remove(&pipe);
            }
            LinkContent::Dial => {}
        }
    }
}
