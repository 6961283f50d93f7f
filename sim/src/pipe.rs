//! What is between instances: links, and the addresses at which they are opened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use switchboard_core::command::Dial;
use switchboard_core::event::{Event, LinkFailure};
use switchboard_core::id::{InstanceId, LinkKey};
use switchboard_core::time::Instant;

use crate::fingerprint::fingerprint;
use crate::host::WRITE;
use crate::ledger::{FaultKind, Scope};
use crate::noise::{Latency, Purpose};
use crate::observed::{Life, Observed};
use crate::queue::{Content, Happening, Input};
use crate::schedule::Moment;
use crate::world::World;

/// All links that ever were.
#[derive(Clone, Debug)]
pub(crate) struct Pipes {
    /// Nothing passes from the first to the second.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// The base of the delay.
    pub(crate) latency: Latency,
    pipes: Vec<Pipe>,
    /// What is written from the first to the second does not leave.
    pub(crate) clogs: BTreeSet<(usize, usize)>,
    /// Until when what the first dials at the second is refused.
    pub(crate) refusals: BTreeMap<(usize, usize), Instant>,
    /// What waits for a cut to be healed.
    held: Vec<(usize, bool, Content)>,
    /// What waits for a clog to be mended.
    stuck: Vec<Stuck>,
}

fingerprint!(Pipes {
    cuts,
    latency,
    pipes,
    clogs,
    refusals,
    held,
    stuck,
});

/// A link that is silent for so many heartbeats is taken for dead.
pub(crate) const SILENT_HEARTBEATS: u32 = 3;

impl Pipes {
    /// The base of the delay as it is by default.
    pub(crate) const LATENCY: Duration = Duration::from_micros(300);

    /// Whether one of two processes has a link to the other, or dials it.
    pub(crate) fn linked(&self, one: usize, other: usize) -> bool {
        (self.pipes.iter()).any(|pipe| pipe.is_between(one, other) && pipe.is_open())
    }

    /// Whether such a link carries what is sent.
    pub(crate) fn carry(&self, one: usize, other: usize) -> bool {
        let carries = |pipe: &Pipe| pipe.is_open() && !pipe.half_open;
        (self.pipes.iter()).any(|pipe| pipe.is_between(one, other) && carries(pipe))
    }
}

impl Default for Pipes {
    fn default() -> Self {
        Self {
            cuts: BTreeSet::new(),
            latency: Latency::new(Self::LATENCY),
            pipes: Vec::new(),
            clogs: BTreeSet::new(),
            refusals: BTreeMap::new(),
            held: Vec::new(),
            stuck: Vec::new(),
        }
    }
}

/// A batch that its link does not take.
#[derive(Clone, Debug)]
struct Stuck {
    life: Life,
    link: LinkKey,
    batch: Bytes,
}

fingerprint!(Stuck { life, link, batch });

#[derive(Clone, Debug)]
struct Pipe {
    /// It carries nothing any more, and nobody was told.
    half_open: bool,
    dialler: End,
    acceptor: End,
    address: String,
    expected: InstanceId,
}

fingerprint!(Pipe {
    half_open,
    dialler,
    acceptor,
    address,
    expected,
});

#[derive(Clone, Debug)]
struct End {
    life: Life,
    key: Option<LinkKey>,
    open: bool,
    /// The last message towards it arrives then.
    last: Instant,
}

fingerprint!(End {
    life,
    key,
    open,
    last,
});

impl Pipe {
    fn is_between(&self, one: usize, other: usize) -> bool {
        let ends = (self.dialler.life.host, self.acceptor.life.host);
        ends == (one, other) || ends == (other, one)
    }

    /// Whether somebody has it for open, or waits for it to open.
    const fn is_open(&self) -> bool {
        let accepted = self.acceptor.open && self.acceptor.key.is_some();
        self.dialler.open || accepted
    }

    const fn end(&mut self, dialler: bool) -> &mut End {
        if dialler {
            &mut self.dialler
        } else {
            &mut self.acceptor
        }
    }
}

impl World {
    pub(crate) fn dial(&mut self, life: Life, link: LinkKey, dial: &Dial) {
        let down = |failure| Event::LinkDown { link, failure };
        let Some(host) = self.occupant(&dial.address) else {
            self.tell(
                life,
                self.pipes.latency.base() * 2,
                down(LinkFailure::Broken),
            );
            return;
        };
        let refused = self.pipes.refusals.get(&(life.host, host)).copied();
        if let Some(until) = refused.filter(|until| *until > self.now) {
            let scope = Scope::Between(life.host, host);
            self.fault_shows(FaultKind::DialsRefused, scope, until);
            self.tell(
                life,
                self.pipes.latency.base() * 2,
                down(LinkFailure::Broken),
            );
            return;
        }
        if self.processes[host].vanished {
            // Nobody says no: the instance's own timeout ends it.
            return;
        }
        let end = |life, key| End {
            life,
            key,
            open: true,
            last: Instant::START,
        };
        let pipe = self.pipes.pipes.len();
        self.pipes.pipes.push(Pipe {
            half_open: false,
            dialler: end(life, Some(link)),
            acceptor: end(Life { host, number: 0 }, None),
            address: dial.address.clone(),
            expected: dial.instance,
        });
        self.processes[life.host].links.insert(link, pipe);
        self.send_through(pipe, false, Content::Dial);
    }

    /// A batch is written into a link.
    pub(crate) fn write_link(&mut self, life: Life, link: LinkKey, batch: Bytes) {
        let Some(&pipe) = self.processes[life.host].links.get(&link) else {
            self.tell(life, WRITE, Event::LinkWritten { link });
            return;
        };
        let by_dialler = self.is_dialler(pipe, life.host, link);
        let to = self.pipes.pipes[pipe].end(!by_dialler).life.host;
        if self.pipes.clogs.contains(&(life.host, to)) {
            self.fault_opens(FaultKind::Clog, Scope::Between(life.host, to));
            self.pipes.stuck.push(Stuck { life, link, batch });
            return;
        }
        self.tell(life, WRITE, Event::LinkWritten { link });
        self.send_through(pipe, !by_dialler, Content::Batch(batch));
    }

    pub(crate) fn link_accepted(&mut self, life: Life, pipe: usize, key: Option<LinkKey>) {
        let Some(key) = key else {
            self.send_through(pipe, true, Content::Down(LinkFailure::Broken));
            return;
        };
        self.pipes.pipes[pipe].acceptor.key = Some(key);
        self.processes[life.host].links.insert(key, pipe);
        self.send_through(pipe, true, Content::Up);
    }

    /// An instance has closed its end, or is gone.
    pub(crate) fn end_of_pipe(&mut self, host: usize, link: LinkKey, pipe: usize, told: bool) {
        let by_dialler = self.is_dialler(pipe, host, link);
        self.pipes.pipes[pipe].end(by_dialler).open = false;
        if told {
            let content = Content::Down(LinkFailure::Broken);
            self.send_through(pipe, !by_dialler, content);
        }
    }

    /// All links between two processes break at once.
    pub(crate) fn reset_links(&mut self, one: usize, other: usize) {
        for pipe in 0..self.pipes.pipes.len() {
            if self.pipes.pipes[pipe].is_between(one, other) {
                self.pipe_down(pipe, true, LinkFailure::Broken);
                self.pipe_down(pipe, false, LinkFailure::Broken);
            }
        }
    }

    /// The links between two processes carry nothing any more. `one` learns that they are gone,
    /// unless neither does.
    pub(crate) fn break_silently(&mut self, one: usize, other: usize, neither_learns: bool) {
        for index in 0..self.pipes.pipes.len() {
            let pipe = &mut self.pipes.pipes[index];
            if !pipe.is_between(one, other) {
                continue;
            }
            let dialled = pipe.dialler.life.host == one;
            pipe.half_open = true;
            if !neither_learns {
                self.pipe_down(index, dialled, LinkFailure::Broken);
            }
        }
    }

    /// What waited behind cuts and clogs that are no more goes on its way. What a cut has held
    /// arrives at once: it was sent before all that is still under way.
    pub(crate) fn release_held(&mut self) {
        for (pipe, at_dialler, content) in std::mem::take(&mut self.pipes.held) {
            let happening = Happening::OutOfPipe {
                pipe,
                at_dialler,
                content,
            };
            self.queue.put(self.now, happening);
        }
        for Stuck { life, link, batch } in std::mem::take(&mut self.pipes.stuck) {
            if self.lives(life) {
                self.write_link(life, link, batch);
            }
        }
    }

    pub(crate) fn out_of_pipe(&mut self, index: usize, at_dialler: bool, content: Content) {
        let pipe = &mut self.pipes.pipes[index];
        if pipe.half_open {
            return;
        }
        let to = pipe.end(at_dialler).life.host;
        let from = pipe.end(!at_dialler).life.host;
        if self.pipes.cuts.contains(&(from, to)) {
            self.fault_opens(FaultKind::Cut, Scope::Between(from, to));
            self.pipes.held.push((index, at_dialler, content));
            return;
        }
        match content {
            Content::Dial => self.dialled(index),
            Content::Down(failure) => self.pipe_down(index, at_dialler, failure),
            Content::Up | Content::Batch(_) => {
                let End {
                    life, key, open, ..
                } = *self.pipes.pipes[index].end(at_dialler);
                let (Some(link), true) = (key, open) else {
                    return;
                };
                let event = match content {
                    Content::Batch(batch) => {
                        self.moment_of_content(Moment::Delivered, &batch);
                        Event::LinkReceived { link, batch }
                    }
                    Content::Up | Content::Dial | Content::Down(_) => Event::LinkUp { link },
                };
                self.input(life, Input::Event(Box::new(event)));
            }
        }
    }

    fn dialled(&mut self, index: usize) {
        let pipe = &self.pipes.pipes[index];
        let refusal = match self.occupant(&pipe.address) {
            None => Some(LinkFailure::Broken),
            Some(host) => match &self.processes[host].instance {
                None if self.processes[host].vanished => return,
                None => Some(LinkFailure::Broken),
                Some(instance) if instance.id() != pipe.expected => {
                    let (dialler, wanted) = (pipe.dialler.life, pipe.expected);
                    let occupant = self.life(host);
                    self.borne(FaultKind::NotMe, Scope::Instance(dialler.host));
                    self.observe(Observed::NotMe {
                        dialler,
                        wanted,
                        occupant,
                    });
                    Some(LinkFailure::NotMe)
                }
                Some(_) => {
                    let life = self.life(host);
                    self.pipes.pipes[index].acceptor.life = life;
                    self.input(life, Input::AcceptLink(index));
                    None
                }
            },
        };
        if let Some(failure) = refusal {
            self.send_through(index, true, Content::Down(failure));
        }
    }

    fn pipe_down(&mut self, index: usize, at_dialler: bool, failure: LinkFailure) {
        let end = self.pipes.pipes[index].end(at_dialler);
        let was_open = std::mem::take(&mut end.open);
        let (life, Some(link), true) = (end.life, end.key, was_open) else {
            return;
        };
        if self.lives(life) {
            self.processes[life.host].links.remove(&link);
            self.input(
                life,
                Input::Event(Box::new(Event::LinkDown { link, failure })),
            );
        }
    }

    fn send_through(&mut self, index: usize, to_dialler: bool, content: Content) {
        let pipe = &self.pipes.pipes[index];
        let (from, to) = (pipe.dialler.life.host, pipe.acceptor.life.host);
        let ids = [from as u64, to as u64, to_dialler.into()];
        let latency = &self.pipes.latency;
        let at = latency.arrival(self.noise, self.now, Purpose::Link, &ids);
        let end = self.pipes.pipes[index].end(to_dialler);
        end.last = end.last.max(at);
        self.queue.put(
            end.last,
            Happening::OutOfPipe {
                pipe: index,
                at_dialler: to_dialler,
                content,
            },
        );
    }

    fn is_dialler(&self, pipe: usize, host: usize, link: LinkKey) -> bool {
        let dialler = &self.pipes.pipes[pipe].dialler;
        dialler.life == self.life(host) && dialler.key == Some(link)
    }

    /// Who is at an address: one who runs, or else one who did.
    fn occupant(&self, address: &str) -> Option<usize> {
        let at = |running: bool| {
            (self.processes.iter()).position(|process| {
                process.address == address && process.instance.is_some() == running
            })
        };
        at(true).or_else(|| at(false))
    }
}
