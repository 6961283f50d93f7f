//! What the items of a schedule do, and what each writes into the ledger.

use std::time::Duration;

use switchboard_core::event::Event;
use switchboard_core::time::Instant;

use crate::ledger::{FaultKind, Part, Scope};
use crate::observed::Quiescence;
use crate::pipe::Pipes;
use crate::queue::Input;
use crate::schedule::{Act, HowKilled, NewAddress, OperationKind, TripFault};
use crate::terminal::Pace;
use crate::world::{REDIS_LATENCY, World};

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
            Act::Close { client, how } => self.close_client(client, *how),
            Act::Send { client, what } => self.client_sends(client, *what),
            Act::StopReading { client } => self.reads(client, Pace::Never),
            Act::Read { client } => self.reads(client, Pace::AtOnce),
            Act::ReadSlowly { client, every } => self.reads(client, Pace::Every(*every)),
            Act::Storm { at } => self.storm(at.map(|host| host.0)),
            Act::BlindBalancer(span) => self.balancer_blind_until = self.now + *span,
            Act::AllLeave => self.all_leave(),
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
            Act::RedisAway { host, span } => self.directory_away(host.0, *span),
            Act::RedisRefuses { host, error, span } => {
                self.refuse_writes_of(host.0, *error, *span);
            }
            Act::NextTrip {
                host,
                operation,
                fault,
            } => self.plan_trip(host.0, *operation, *fault),
            Act::Cut { from, to, both } => self.cut(*from, *to, *both),
            Act::Clog { from, to, both } => self.clog(*from, *to, *both),
            Act::Mend { from, to, both } => self.mend(*from, *to, *both),
            Act::HalfOpen { from, to, both } => self.half_open(*from, *to, *both),
            Act::RefuseDials { from, to, span } => self.refuse_dials(*from, *to, *span),
            Act::Reset { one, other } => self.reset(*one, *other),
            Act::LinkLatency(latency) => self.link_latency(*latency),
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

    fn plan_trip(&mut self, host: usize, operation: OperationKind, fault: TripFault) {
        let link = &mut self.processes[host].directory;
        link.faults.push((operation, fault));
    }

    pub(crate) fn drain(&mut self, host: usize, delay: Duration, spread: Duration) {
        if self.processes[host].instance.is_none() {
            return;
        }
        self.fault_opens(FaultKind::Drain, Scope::Instance(host));
        let life = self.life(host);
        self.input(life, Input::Event(Box::new(Event::Drain { delay, spread })));
    }

    fn pause(&mut self, host: usize, span: Duration) {
        let until = self.now + span;
        let process = &mut self.processes[host];
        if process.instance.is_none() || until <= process.paused_until {
            return;
        }
        let stands_still = process.paused_until >= self.now;
        process.paused_until = until;
        let present = (self.ledger.entries().iter()).filter(|entry| {
            let here = entry.scope == Scope::Instance(host) && entry.until >= self.now;
            stands_still && here && entry.kind.part() == Part::Process
        });
        let since = present.map(|entry| entry.from).fold(self.now, Instant::min);
        // The last renewal may be as old as their period, and its round trip as its timeout.
        let renewed = self.config.lease_renewal + self.config.directory_timeout;
        let kind = if until.since(since) + renewed >= self.config.lease {
            FaultKind::LongPause
        } else {
            FaultKind::Pause
        };
        self.fault_since(kind, Scope::Instance(host), since, until);
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
        let mut recycled = false;
        match address {
            NewAddress::Same => {}
            NewAddress::New => {
                let life = self.processes[host].life;
                self.processes[host].address = format!("host{host}.{life}:1");
            }
            NewAddress::Of(other) if self.processes[other.0].instance.is_none() => {
                self.processes[host].address = self.processes[other.0].address.clone();
                recycled = other.0 != host;
            }
            NewAddress::Of(_) => {}
        }
        let taken = (self.processes.iter()).any(|process| {
            process.instance.is_some() && process.address == self.processes[host].address
        });
        if taken {
            recycled = false;
            let life = self.processes[host].life;
            self.processes[host].address = format!("host{host}.{life}:1");
        }
        if recycled {
            self.borne(FaultKind::RecycledAddress, Scope::Instance(host));
        }
        self.start(host);
    }

    fn heal(&mut self) {
        self.redis.heal();
        self.directory_back();
        self.redis_latency.set(self.now, REDIS_LATENCY);
        self.pipes.cuts.clear();
        self.pipes.clogs.clear();
        self.pipes.refusals.clear();
        self.pipes.latency.set(self.now, Pipes::LATENCY);
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
