//! What the items of a schedule do, and what each writes into the ledger.

use std::time::Duration;

use switchboard_core::event::Event;

use crate::ledger::{FaultKind, Scope};
use crate::observed::Quiescence;
use crate::pipe::Pipes;
use crate::queue::Input;
use crate::schedule::{Act, HowClosed, HowKilled, NewAddress, RedisAct};
use crate::world::World;

impl World {
    pub(crate) fn act(&mut self, act: &Act) {
        match act {
            Act::Connect { client, at, user } => self.connect(client, at.map(|host| host.0), user),
            Act::Close { client, how } => {
                if let Some(&session) = self.clients.get(client) {
                    self.leave(session, *how);
                }
            }
            Act::StopReading { client } => self.read_or_not(client, false),
            Act::Read { client } => self.read_or_not(client, true),
            Act::AllLeave => {
                for session in self.clients.clone().into_values() {
                    self.leave(session, HowClosed::Clean);
                }
            }
            Act::Push { at, to, name } => self.publish(at.0, to, name),
            Act::Repeat { at, name } => self.repeat(at.0, name),
            Act::Pause { host, span } => self.pause(host.0, *span),
            Act::Kill { host, how } => self.kill(host.0, *how),
            Act::Restart { host, address } => self.restart(host.0, *address),
            Act::Drain {
                host,
                delay,
                spread,
            } => {
                let (delay, spread) = (*delay, *spread);
                self.fault_opens(FaultKind::Drain, Scope::Instance(host.0));
                let life = self.life(host.0);
                self.input(life, Input::Event(Event::Drain { delay, spread }));
            }
            Act::Redis(act) => self.redis_acts(*act),
            Act::NextTrip {
                host,
                operation,
                fault,
            } => {
                let link = &mut self.processes[host.0].directory;
                link.faults.push((*operation, *fault));
            }
            Act::Cut { from, to, both } => {
                self.pipes.cuts.insert((from.0, to.0));
                if *both {
                    self.pipes.cuts.insert((to.0, from.0));
                }
                self.fault_opens(FaultKind::Cut, Scope::Between(from.0, to.0));
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
            Act::Heal => self.heal(),
            Act::ExpectConverged => self.quiesce(Quiescence::Converged),
            Act::ExpectAtRest => self.quiesce(Quiescence::AtRest),
        }
    }

    fn read_or_not(&mut self, client: &str, reads: bool) {
        let Some(&session) = self.clients.get(client) else {
            return;
        };
        let scope = Scope::Session(session);
        if reads {
            self.fault_ends(FaultKind::SlowReader, Some(scope));
        } else {
            self.fault_opens(FaultKind::SlowReader, scope);
        }
        self.set_reading(session, reads);
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

    fn kill(&mut self, host: usize, how: HowKilled) {
        if self.processes[host].instance.is_none() {
            return;
        }
        self.fault(FaultKind::Kill, Scope::Instance(host), self.now);
        self.end(host, how == HowKilled::Silent);
    }

    fn restart(&mut self, host: usize, address: NewAddress) {
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

    fn redis_acts(&mut self, act: RedisAct) {
        match act {
            RedisAct::Down => {
                self.fault_opens(FaultKind::RedisDown, Scope::All);
                self.redis.serves = false;
                self.break_all_directory_links();
            }
            RedisAct::Up => {
                self.redis.serves = true;
                self.fault_ends(FaultKind::RedisDown, None);
            }
            RedisAct::RestartEmpty => {
                self.fault(FaultKind::RedisWiped, Scope::All, self.now);
                self.redis.lose_everything();
                self.break_all_directory_links();
            }
            RedisAct::Failover(lost) => {
                self.fault(FaultKind::RedisFailover, Scope::All, self.now);
                self.redis.go_back(self.now, lost);
                self.break_all_directory_links();
            }
            RedisAct::Refuse(error, span) => {
                self.fault(FaultKind::RedisRefuses, Scope::All, self.now + span);
                self.redis.refuse(error, self.now + span);
            }
            RedisAct::Latency(latency) => {
                self.fault_ends(FaultKind::RedisSlow, None);
                self.fault_opens(FaultKind::RedisSlow, Scope::All);
                self.redis.latency = latency;
            }
        }
    }

    fn break_all_directory_links(&mut self) {
        for host in 0..self.processes.len() {
            self.break_directory(host);
        }
    }

    fn heal(&mut self) {
        self.redis.heal();
        self.pipes.cuts.clear();
        self.pipes.latency = Pipes::LATENCY;
        self.release_held();
        for process in &mut self.processes {
            process.directory.faults.clear();
        }
        for session in 0..self.sessions.len() {
            self.set_reading(session, true);
        }
        for kind in FaultKind::ALL.into_iter().filter(|kind| kind.is_healed()) {
            self.fault_ends(kind, None);
        }
    }
}
