//! Strangers: they open links, do not know the secret, and repeat what they have listened to.

use std::collections::BTreeMap;

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
}

fingerprint!(Outsiders { speaking, heard });

/// Somebody at the other end of a link.
#[derive(Clone, Debug)]
struct Stranger {
    /// What is said next, last first.
    says: Vec<Bytes>,
    /// What was said last ends the link.
    ends: bool,
}

fingerprint!(Stranger { says, ends });

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

    /// Whether somebody speaks on this link.
    pub(super) fn has(&self, pipe: usize) -> bool {
        self.speaking.contains_key(&pipe)
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
        })
    }
}

impl Network {
    /// Somebody opens a link to a process.
    pub(crate) fn stranger(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        at: usize,
        says: StrangerWords,
    ) {
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
        let ends = false;
        self.strangers
            .speaking
            .insert(pipe, Stranger { says, ends });
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
                    self.send(cx, pipe, false, LinkContent::Batch(batch));
                }
            }
            LinkContent::Down(_) => {
                self.strangers.speaking.remove(&pipe);
            }
            LinkContent::Dial => {}
        }
    }
}
