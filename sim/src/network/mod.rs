//! What is between instances: links, and the addresses at which they are opened.

mod faults;
mod lies;
mod pipe;
mod strangers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use switchboard_core::command::Dial;
use switchboard_core::event::{Event, LinkFailure};
use switchboard_core::id::LinkKey;
use switchboard_core::time::Instant;

use crate::context::{Context, WRITE};
use crate::fingerprint::{Fingerprint as _, Print, fingerprint};
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::noise::{Latency, Purpose};
use crate::observed::{Life, LinkStep, Observed, Topic};
use crate::schedule::{Moment, PeerLie};
use crate::settings::LINK_LATENCY;
use crate::vocabulary::happening::{Happening, Input, LinkContent};

use lies::Lies;
use pipe::{End, Handshake, Pipe, Shown};
use strangers::Outsiders;

/// All links that ever were.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Nothing passes from the first to the second.
    cuts: BTreeSet<(usize, usize)>,
    /// The base of the delay.
    latency: Latency,
    pipes: Vec<Pipe>,
    /// What is written from the first to the second does not leave.
    clogs: BTreeSet<(usize, usize)>,
    /// Until when what the first dials at the second is refused.
    refusals: BTreeMap<(usize, usize), Instant>,
    /// What waits for a cut to be healed.
    held: Vec<(usize, bool, LinkContent)>,
    /// What waits for a clog to be mended.
    stuck: Vec<StuckBatch>,
    /// The pipe of each link of each process.
    links: Vec<BTreeMap<LinkKey, usize>>,
    strangers: Outsiders,
    lies: Lies,
}

fingerprint!(Network {
    cuts,
    latency,
    pipes,
    clogs,
    refusals,
    held,
    stuck,
    strangers,
    lies,
} without { links });

/// A batch that its link does not take.
#[derive(Clone, Debug)]
struct StuckBatch {
    life: Life,
    link: LinkKey,
    batch: Bytes,
}

fingerprint!(StuckBatch { life, link, batch });

impl Network {
    /// Between so many processes.
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            cuts: BTreeSet::new(),
            latency: Latency::new(LINK_LATENCY),
            pipes: Vec::new(),
            clogs: BTreeSet::new(),
            refusals: BTreeMap::new(),
            held: Vec::new(),
            stuck: Vec::new(),
            links: vec![BTreeMap::new(); hosts],
            strangers: Outsiders::default(),
            lies: Lies::default(),
        }
    }

    /// An instance dials another.
    pub(crate) fn dial(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        life: Life,
        link: LinkKey,
        dial: &Dial,
    ) {
        let failure = LinkFailure::Broken;
        let down = Event::LinkDown { link, failure };
        let Some(host) = hosts.occupant(&dial.address) else {
            return cx.tell(life, self.latency.base() * 2, down);
        };
        let refused = self.refusals.get(&(life.host, host)).copied();
        if let Some(until) = refused.filter(|until| *until > cx.now) {
            let scope = Scope::Between(life.host, host);
            cx.fault_shows(FaultKind::DialsRefused, scope, until);
            return cx.tell(life, self.latency.base() * 2, down);
        }
        if hosts.has_vanished(host) {
            // Nobody says no: the instance's own timeout ends it.
            return;
        }
        let pipe = self.pipes.len();
        self.pipes.push(Pipe {
            half_open: false,
            dialler: End::new(life, Some(link)),
            acceptor: End::new(Life { host, number: 0 }, None),
            address: dial.address.clone(),
            expected: dial.instance,
            shown: Shown::default(),
            handshake: Handshake::Begun,
            said: 0,
        });
        self.links[life.host].insert(link, pipe);
        self.send(cx, pipe, false, LinkContent::Dial);
    }

    /// The other end of a link has shown an instance who it is.
    pub(crate) fn proven(&mut self, life: Life, link: LinkKey) {
        if let Some(&pipe) = self.links[life.host].get(&link)
            && !self.pipes[pipe].is_dialled_by(life, link)
        {
            self.pipes[pipe].handshake = Handshake::Proven;
        }
    }

    /// A batch is written into a link.
    pub(crate) fn write(&mut self, cx: &mut Context, life: Life, link: LinkKey, batch: Bytes) {
        let Some(&pipe) = self.links[life.host].get(&link) else {
            return cx.tell(life, WRITE, Event::LinkWritten { link });
        };
        let by_dialler = self.pipes[pipe].is_dialled_by(life, link);
        let other = self.pipes[pipe].end(!by_dialler).life;
        let to = other.host;
        if by_dialler {
            let said = &mut self.pipes[pipe].said;
            *said = said.saturating_add(1);
            self.strangers.listen((life.host, to), *said, &batch);
        } else if self.pipes[pipe].handshake == Handshake::Begun {
            self.strangers.listen_to_answer((life.host, other), &batch);
        }
        let clogged = self.clogs.contains(&(life.host, to));
        if clogged {
            carried(cx, (life.host, to), LinkStep::Stuck, &batch);
            cx.fault_opens(FaultKind::Clog, Scope::Between(life.host, to));
            self.stuck.push(StuckBatch { life, link, batch });
            return;
        }
        cx.tell(life, WRITE, Event::LinkWritten { link });
        let said = self.lies.said(cx, (life.host, to), &self.strangers, batch);
        for content in said.pieces {
            if let LinkContent::Batch(batch) | LinkContent::Nonsense(batch) = &content {
                carried(cx, (life.host, to), LinkStep::Written, batch);
            }
            let end = self.pipes[pipe].end(!by_dialler);
            end.last = end.last.max(cx.now + said.later);
            self.send(cx, pipe, !by_dialler, content);
        }
    }

    /// An instance misbehaves towards another for so long.
    pub(crate) fn lie(&mut self, cx: &Context, way: (usize, usize), lie: PeerLie, span: Duration) {
        self.lies.begin(way, lie, cx.now + span);
    }

    /// An instance has taken the socket of a link, or refused it.
    pub(crate) fn accepted(
        &mut self,
        cx: &mut Context,
        life: Life,
        pipe: usize,
        key: Option<LinkKey>,
    ) {
        let Some(key) = key else {
            let down = LinkContent::Down(LinkFailure::Broken);
            return self.send(cx, pipe, true, down);
        };
        self.pipes[pipe].acceptor.key = Some(key);
        self.links[life.host].insert(key, pipe);
        self.send(cx, pipe, true, LinkContent::Up);
    }

    /// An instance closes a link.
    pub(crate) fn close(&mut self, cx: &mut Context, life: Life, link: LinkKey) {
        if let Some(pipe) = self.links[life.host].remove(&link) {
            self.end_of_pipe(cx, life, link, pipe, true);
        }
    }

    /// An instance is gone, with all its links. The other ends are told so, or not.
    pub(crate) fn end_of_host(&mut self, cx: &mut Context, life: Life, told: bool) {
        self.strangers.forget(life.host);
        for (link, pipe) in std::mem::take(&mut self.links[life.host]) {
            self.end_of_pipe(cx, life, link, pipe, told);
        }
    }

    fn end_of_pipe(
        &mut self,
        cx: &mut Context,
        life: Life,
        link: LinkKey,
        pipe: usize,
        told: bool,
    ) {
        let by_dialler = self.pipes[pipe].is_dialled_by(life, link);
        self.pipes[pipe].end(by_dialler).open = false;
        if told {
            let content = LinkContent::Down(LinkFailure::Broken);
            self.send(cx, pipe, !by_dialler, content);
        }
    }

    /// Something comes out of a link.
    pub(crate) fn arrives(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        pipe: usize,
        at_dialler: bool,
        content: LinkContent,
    ) {
        let this = &mut self.pipes[pipe];
        let to = this.end(at_dialler).life.host;
        let from = this.end(!at_dialler).life.host;
        let way = (from, to);
        if this.half_open {
            if let LinkContent::Batch(batch) | LinkContent::Nonsense(batch) = &content {
                carried(cx, way, LinkStep::Lost, batch);
            }
            return;
        }
        if self.cuts.contains(&(from, to)) {
            cx.fault_opens(FaultKind::Cut, Scope::Between(from, to));
            if let LinkContent::Batch(batch) | LinkContent::Nonsense(batch) = &content {
                carried(cx, way, LinkStep::Held, batch);
            }
            self.held.push((pipe, at_dialler, content));
            return;
        }
        if self.strangers.is_at(pipe, at_dialler) {
            return self.at_stranger(cx, pipe, &content);
        }
        match content {
            LinkContent::Dial => self.dialled(cx, hosts, pipe),
            LinkContent::Down(failure) => self.down(cx, hosts, pipe, at_dialler, failure),
            LinkContent::Nonsense(batch) => {
                let opened = self.pipes[pipe].end(at_dialler).opened();
                let step = opened.map_or(LinkStep::Lost, |_| LinkStep::Arrived);
                carried(cx, way, step, &batch);
                if let Some((life, link)) = opened {
                    let ends = true;
                    cx.observe(Observed::StrangerSaid { life, link, ends });
                    hosts.event(cx, life, Event::LinkReceived { link, batch });
                }
            }
            LinkContent::Batch(batch) => {
                let this = &mut self.pipes[pipe];
                if at_dialler && this.handshake == Handshake::Proven {
                    this.handshake = Handshake::Over;
                    // Both go over to it.
                    for scope in [Scope::Between(from, to), Scope::Between(to, from)] {
                        cx.fault_ends(FaultKind::HalfOpen, Some(scope));
                    }
                }
                let opened = this.end(at_dialler).opened();
                if let Some((life, link)) = opened {
                    self.strangers.said(cx, pipe, life, link);
                }
                let step = opened.map_or(LinkStep::Lost, |_| LinkStep::Arrived);
                carried(cx, way, step, &batch);
                if let Some((life, link)) = opened {
                    cx.moment_of_content(Moment::Delivered, &batch);
                    hosts.event(cx, life, Event::LinkReceived { link, batch });
                }
            }
            LinkContent::Up => {
                if let Some((life, link)) = self.pipes[pipe].end(at_dialler).opened() {
                    hosts.event(cx, life, Event::LinkUp { link });
                }
            }
        }
    }

    fn dialled(&mut self, cx: &mut Context, hosts: &mut Hosts, index: usize) {
        let pipe = &self.pipes[index];
        let refusal = match hosts.occupant(&pipe.address) {
            None => Some(LinkFailure::Broken),
            Some(host) => match hosts.instance_id(host) {
                None if hosts.has_vanished(host) => return,
                None => Some(LinkFailure::Broken),
                Some(instance)
                    if instance != pipe.expected && !self.strangers.is_at(index, true) =>
                {
                    let (dialler, wanted) = (pipe.dialler.life, pipe.expected);
                    let occupant = hosts.life(host);
                    cx.borne(FaultKind::NotMe, Scope::Instance(dialler.host));
                    cx.observe(Observed::NotMe {
                        dialler,
                        wanted,
                        occupant,
                    });
                    Some(LinkFailure::NotMe)
                }
                Some(_) if self.strangers.poses(index, (pipe.dialler.life, host)) => {
                    let scope = Scope::Between(self.pipes[index].dialler.life.host, host);
                    let until = cx.now + cx.config.link_timeout;
                    cx.fault(FaultKind::DialsRefused, scope, until);
                    return self.send(cx, index, true, LinkContent::Up);
                }
                Some(_) => {
                    let life = hosts.life(host);
                    self.pipes[index].acceptor.life = life;
                    hosts.input(cx, life, Input::AcceptLink(index));
                    None
                }
            },
        };
        if let Some(failure) = refusal {
            self.send(cx, index, true, LinkContent::Down(failure));
        }
    }

    /// One end of a pipe learns that it is gone.
    fn down(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        index: usize,
        at_dialler: bool,
        failure: LinkFailure,
    ) {
        let end = self.pipes[index].end(at_dialler);
        let was_open = std::mem::take(&mut end.open);
        let (life, Some(link), true) = (end.life, end.key, was_open) else {
            return;
        };
        if hosts.lives(life) {
            self.links[life.host].remove(&link);
            hosts.event(cx, life, Event::LinkDown { link, failure });
        }
    }

    fn send(&mut self, cx: &mut Context, index: usize, to_dialler: bool, content: LinkContent) {
        let pipe = &mut self.pipes[index];
        let (from, to) = (pipe.dialler.life.host, pipe.acceptor.life.host);
        let ids = [from as u64, to as u64, to_dialler.into()];
        let latency = &self.latency;
        let at = latency.arrival(cx.noise, cx.now, Purpose::Link, &ids);
        pipe.shown.note(latency.base());
        let allowed = cx.now + pipe.shown.allows();
        let end = pipe.end(to_dialler);
        end.last = end.last.max(at);
        let at = end.last;
        if at > allowed {
            let scope = match to_dialler {
                true => Scope::Between(to, from),
                false => Scope::Between(from, to),
            };
            cx.fault_shows(FaultKind::LinkLate, scope, at);
        }
        cx.put(
            at,
            Happening::OutOfPipe {
                pipe: index,
                at_dialler: to_dialler,
                content,
            },
        );
    }

    /// Feeds the links of one process to a print.
    pub(crate) fn fingerprint_links(&self, host: usize, to: &mut Print) {
        self.links[host].fingerprint(to);
    }
}

/// Tells how far a batch is, if any checker is told of that.
fn carried(cx: &mut Context, (from, to): (usize, usize), step: LinkStep, batch: &Bytes) {
    if cx.watches(Topic::Links) {
        cx.observe(Observed::Carried {
            from,
            to,
            step,
            batch: batch.clone(),
        });
    }
}
