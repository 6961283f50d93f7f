//! What goes wrong between instances, and what it writes into the ledger.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::event::LinkFailure;

use super::pipe::{Handshake, Pipe};
use super::{Network, StuckBatch};
use crate::context::Context;
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::noise;
use crate::schedule::Host;
use crate::settings::LINK_LATENCY;
use crate::vocabulary::happening::Happening;

impl Network {
    /// It is a fault when it holds something back, and so is a clog.
    pub(crate) fn cut(&mut self, from: Host, to: Host, both: bool) {
        self.cuts.extend(directions(from, to, both));
    }

    /// What is written stays there.
    pub(crate) fn clog(&mut self, from: Host, to: Host, both: bool) {
        self.clogs.extend(directions(from, to, both));
    }

    /// What is cut or clogged between two processes is so no more.
    pub(crate) fn mend(
        &mut self,
        cx: &mut Context,
        hosts: &Hosts,
        from: Host,
        to: Host,
        both: bool,
    ) {
        for (from, to) in directions(from, to, both) {
            self.cuts.remove(&(from, to));
            self.clogs.remove(&(from, to));
            for kind in [FaultKind::Cut, FaultKind::Clog] {
                cx.fault_ends(kind, Some(Scope::Between(from, to)));
            }
        }
        self.release(cx, hosts);
    }

    /// The links between two processes carry nothing any more. The first learns that they are gone,
    /// unless neither does.
    pub(crate) fn half_open(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        from: Host,
        to: Host,
        neither_learns: bool,
    ) {
        let (one, other) = (from.0, to.0);
        let carries = |pipe: &Pipe| pipe.is_between(one, other) && pipe.carries();
        if !self.pipes.iter().any(carries) {
            return;
        }
        let noticed = cx.now + cx.config.link_heartbeat * Config::SILENT_HEARTBEATS;
        let scope = Scope::Between(one, other);
        cx.fault(FaultKind::HalfOpen, scope, noticed);
        self.ends_dials(cx, carries);
        for index in 0..self.pipes.len() {
            let pipe = &mut self.pipes[index];
            if !pipe.is_between(one, other) {
                continue;
            }
            let dialled = pipe.dialler.life.host == one;
            pipe.half_open = true;
            if !neither_learns {
                self.down(cx, hosts, index, dialled, LinkFailure::Broken);
            }
        }
    }

    /// For a while dials are refused. It is a fault when one is.
    pub(crate) fn refuse_dials(&mut self, cx: &mut Context, from: Host, to: Host, span: Duration) {
        let pair = (from.0, to.0);
        self.refusals.insert(pair, cx.now + span);
        let scope = Scope::Between(from.0, to.0);
        cx.fault_ends(FaultKind::DialsRefused, Some(scope));
    }

    /// All links between two processes break at once. With one that is still being opened an attempt to open
    /// it has failed.
    pub(crate) fn reset(&mut self, cx: &mut Context, hosts: &mut Hosts, one: Host, other: Host) {
        let (one, other) = (one.0, other.0);
        let between = |pipe: &Pipe| pipe.is_between(one, other) && pipe.is_open();
        if !self.pipes.iter().any(between) {
            return;
        }
        cx.fault(FaultKind::LinkReset, Scope::Between(one, other), cx.now);
        self.ends_dials(cx, between);
        for index in 0..self.pipes.len() {
            if self.pipes[index].is_between(one, other) {
                self.down(cx, hosts, index, true, LinkFailure::Broken);
                self.down(cx, hosts, index, false, LinkFailure::Broken);
            }
        }
    }

    /// Attempts to open these links have failed.
    fn ends_dials(&self, cx: &mut Context, which: impl Fn(&Pipe) -> bool) {
        let begun = |pipe: &&Pipe| which(pipe) && pipe.handshake != Handshake::Over;
        if let Some(pipe) = self.pipes.iter().find(begun) {
            let (from, to) = (pipe.dialler.life.host, pipe.acceptor.life.host);
            cx.fault(FaultKind::DialsRefused, Scope::Between(from, to), cx.now);
        }
    }

    /// The base of the delay between instances is another one.
    pub(crate) fn set_latency(&mut self, cx: &mut Context, latency: Duration) {
        // Nothing overtakes what may have been sent before.
        let through = cx.now + noise::at_most(self.latency.base());
        self.latency.set(cx.now, latency);
        // A link is opened in six ways, of which two are stalled at most.
        let opened = noise::at_most(latency) * 2 + latency.saturating_mul(8);
        let are_slow = opened >= cx.config.link_timeout;
        cx.ways_are_slow(FaultKind::LinkSlow, are_slow, through);
    }

    /// Nothing is cut, clogged or refused, and links are as fast as by default.
    pub(crate) fn heal(&mut self, cx: &mut Context, hosts: &Hosts) {
        self.strangers.heal();
        self.cuts.clear();
        self.clogs.clear();
        self.refusals.clear();
        self.lies.end();
        self.latency.set(cx.now, LINK_LATENCY);
        self.release(cx, hosts);
    }

    /// What waited behind cuts and clogs that are no more goes on its way. What a cut has held
    /// arrives at once: it was sent before all that is still under way.
    fn release(&mut self, cx: &mut Context, hosts: &Hosts) {
        for (pipe, at_dialler, content) in std::mem::take(&mut self.held) {
            let happening = Happening::OutOfPipe {
                pipe,
                at_dialler,
                content,
            };
            cx.put(cx.now, happening);
        }
        for StuckBatch { life, link, batch } in std::mem::take(&mut self.stuck) {
            if hosts.lives(life) {
                self.write(cx, life, link, batch);
            }
        }
    }
}

/// From the one to the other, and perhaps back.
fn directions(from: Host, to: Host, both: bool) -> impl Iterator<Item = (usize, usize)> {
    let there = (from.0, to.0);
    let back = (to.0, from.0);
    [Some(there), both.then_some(back)].into_iter().flatten()
}
