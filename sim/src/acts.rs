//! What the items of a schedule do, and what each writes into the ledger.

use std::time::Duration;

use switchboard_core::event::Event;

use crate::ledger::{FaultKind, Scope};
use crate::observed::Quiescence;
use crate::pipe::Pipes;
use crate::queue::Input;
use crate::schedule::{Act, Host, HowClosed, HowKilled, NewAddress};
use crate::terminal::Pace;
use crate::world::{REDIS_LATENCY, World};

/// A link that is silent for so many heartbeats is taken for dead.
const SILENT_HEARTBEATS: u32 = 3;

impl World {
    pub(crate) fn act(&mut self, act: &Act) {
        match act {
            Act::Connect {
                client,
                at,
                user,
                token,
            } => self.connect(client, at.map(|host| host.0), user, *token),
            Act::Move { client, at, how } => self.move_client(client, at.map(|host| host.0), *how),
            Act::Close { client, how } => {
                if let Some(&session) = self.clients.get(client) {
                    self.leave(session, *how);
                }
            }
            Act::Send { client, what } => {
                if let Some(&session) = self.clients.get(client) {
                    self.terminal_sends(session, *what);
                }
            }
            Act::StopReading { client } => self.reads(client, Pace::Never),
            Act::Read { client } => self.reads(client, Pace::AtOnce),
            Act::ReadSlowly { client, every } => self.reads(client, Pace::Every(*every)),
            Act::Storm { at } => self.storm(at.map(|host| host.0)),
            Act::BlindBalancer(span) => self.balancer_blind_until = self.now + *span,
            Act::AllLeave => {
                for session in self.clients.clone().into_values() {
                    self.leave(session, HowClosed::Clean);
                }
            }
            Act::Push { at, to, name } => self.publish(at.0, to, name),
            Act::Repeat { at, name } => self.repeat(at.0, name),
            Act::Pause { host, span } => self.pause(host.0, *span),
            Act::Kick { at, to, name } => self.kick(at.0, to, name),
            Act::StepClock { host, step } => self.step_clock(host.0, *step),
            Act::Kill { host, how } => self.kill(host.0, *how),
            Act::KillMidBatch {
                host,
                how,
                commands,
            } => self.doom(host.0, *commands, *how),
            Act::Restart { host, address } => self.restart(host.0, *address),
            Act::Drain {
                host,
                delay,
                spread,
            } => self.drain(host.0, *delay, *spread),
            Act::Deploy {
                delay,
                spread,
                deadline,
            } => self.deploy(*delay, *spread, *deadline),
            Act::Redis(act) => self.redis_acts(act),
            Act::NextTrip {
                host,
                operation,
                fault,
            } => {
                let link = &mut self.processes[host.0].directory;
                link.faults.push((*operation, *fault));
            }
            Act::Cut { from, to, both } => {
                self.pipes.cuts.extend(directions(*from, *to, *both));
                self.fault_opens(FaultKind::Cut, Scope::Between(from.0, to.0));
            }
            Act::Clog { from, to, both } => {
                self.pipes.clogs.extend(directions(*from, *to, *both));
                self.fault_opens(FaultKind::Clog, Scope::Between(from.0, to.0));
            }
            Act::Mend { from, to, both } => self.mend(*from, *to, *both),
            Act::HalfOpen { from, to, both } => {
                let scope = Scope::Between(from.0, to.0);
                let noticed = self.now + self.config.link_heartbeat * SILENT_HEARTBEATS;
                self.fault(FaultKind::HalfOpen, scope, noticed);
                self.break_silently(from.0, to.0, *both);
            }
            Act::RefuseDials { from, to, span } => {
                let until = self.now + *span;
                self.pipes.refusals.insert((from.0, to.0), until);
                let scope = Scope::Between(from.0, to.0);
                self.fault(FaultKind::DialsRefused, scope, until);
            }
            Act::Reset { one, other } => {
                let scope = Scope::Between(one.0, other.0);
                self.fault(FaultKind::LinkReset, scope, self.now);
                self.reset_links(one.0, other.0);
            }
            Act::LinkLatency(latency) => {
                self.pipes.latency = *latency;
                self.fault_opens(FaultKind::LinkSlow, Scope::All);
            }
            Act::On {
                moment,
                of,
                after,
                act,
            } => self.wait_for(*moment, of, *after, act),
            Act::Heal => self.heal(),
            Act::ExpectConverged => self.quiesce(Quiescence::Converged),
            Act::ExpectAtRest => self.quiesce(Quiescence::AtRest),
        }
    }

    fn reads(&mut self, client: &str, pace: Pace) {
        let Some(&session) = self.clients.get(client) else {
            return;
        };
        let scope = Scope::Session(session);
        self.fault_ends(FaultKind::SlowReader, Some(scope));
        if pace != Pace::AtOnce {
            self.fault_opens(FaultKind::SlowReader, scope);
        }
        self.set_pace(session, pace);
    }

    pub(crate) fn drain(&mut self, host: usize, delay: Duration, spread: Duration) {
        self.fault_opens(FaultKind::Drain, Scope::Instance(host));
        let life = self.life(host);
        self.input(life, Input::Event(Box::new(Event::Drain { delay, spread })));
    }

    fn mend(&mut self, from: Host, to: Host, both: bool) {
        for direction in directions(from, to, both) {
            self.pipes.cuts.remove(&direction);
            self.pipes.clogs.remove(&direction);
        }
        let Pipes { cuts, clogs, .. } = &self.pipes;
        let ended = [(FaultKind::Cut, cuts), (FaultKind::Clog, clogs)].map(|(kind, pairs)| {
            let stays = pairs.contains(&(from.0, to.0)) || pairs.contains(&(to.0, from.0));
            (!stays).then_some(kind)
        });
        for kind in ended.into_iter().flatten() {
            for (one, other) in [(from.0, to.0), (to.0, from.0)] {
                self.fault_ends(kind, Some(Scope::Between(one, other)));
            }
        }
        self.release_held();
    }

    fn pause(&mut self, host: usize, span: Duration) {
        let until = self.now + span;
        let process = &mut self.processes[host];
        process.paused_until = process.paused_until.max(until);
        // The last renewal may be as old as their period, and its round trip as its timeout.
        let renewed = self.config.lease_renewal + self.config.directory_timeout;
        let kind = if span + renewed >= self.config.lease {
            FaultKind::LongPause
        } else {
            FaultKind::Pause
        };
        self.fault(kind, Scope::Instance(host), until);
    }

    pub(crate) fn kill(&mut self, host: usize, how: HowKilled) {
        if self.processes[host].instance.is_none() {
            return;
        }
        self.fault(FaultKind::Kill, Scope::Instance(host), self.now);
        self.end(host, how == HowKilled::Silent);
    }

    pub(crate) fn restart(&mut self, host: usize, address: NewAddress) {
        if self.processes[host].instance.is_some() {
            return;
        }
        match address {
            NewAddress::Same => {}
            NewAddress::New => {
                let life = self.processes[host].life;
                self.processes[host].address = format!("host{host}.{life}:1");
            }
            NewAddress::Of(other) if self.processes[other.0].instance.is_none() => {
                self.processes[host].address = self.processes[other.0].address.clone();
            }
            NewAddress::Of(_) => {}
        }
        let taken = (self.processes.iter()).any(|process| {
            process.instance.is_some() && process.address == self.processes[host].address
        });
        if taken {
            let life = self.processes[host].life;
            self.processes[host].address = format!("host{host}.{life}:1");
        }
        self.fault_ends(FaultKind::Drain, Some(Scope::Instance(host)));
        self.start(host);
    }

    fn heal(&mut self) {
        self.redis.heal();
        self.redis_latency = REDIS_LATENCY;
        self.pipes.cuts.clear();
        self.pipes.clogs.clear();
        self.pipes.refusals.clear();
        self.pipes.latency = Pipes::LATENCY;
        self.release_held();
        self.spare();
        self.end_deployments();
        self.waiting.clear();
        self.balancer_blind_until = self.now;
        for session in 0..self.sessions.len() {
            self.set_pace(session, Pace::AtOnce);
        }
        for kind in FaultKind::ALL.into_iter().filter(|kind| kind.is_healed()) {
            self.fault_ends(kind, None);
        }
    }
}

/// From the one to the other, and perhaps back.
fn directions(from: Host, to: Host, both: bool) -> impl Iterator<Item = (usize, usize)> {
    let there = (from.0, to.0);
    let back = (to.0, from.0);
    [Some(there), both.then_some(back)].into_iter().flatten()
}
