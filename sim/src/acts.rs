//! What the items of a schedule do, and what each writes into the ledger.

use std::time::Duration;

use switchboard_core::event::Event;

use crate::ledger::{FaultKind, Ledger, Scope};
use crate::pipe::Pipes;
use crate::queue::Input;
use crate::schedule::{Act, HowClosed, HowKilled, NewAddress};
use crate::world::{REDIS_LATENCY, World};

/// How long after a cut or a broken link a push may still fail: links are dialled anew with growing
/// pauses.
const REDIAL: Duration = Duration::from_secs(10);

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
                self.open_fault(FaultKind::Drain, Scope::Instance(host.0));
                let life = self.life(host.0);
                self.input(life, Input::Event(Event::Drain { delay, spread }));
            }
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
                self.pipes.cuts.insert((from.0, to.0));
                if *both {
                    self.pipes.cuts.insert((to.0, from.0));
                }
                self.open_fault(FaultKind::Cut, Scope::Between(from.0, to.0));
            }
            Act::Reset { one, other } => {
                let scope = Scope::Between(one.0, other.0);
                let until = self.now + REDIAL;
                self.ledger
                    .write(FaultKind::LinkReset, scope, self.now, until);
                self.reset_links(one.0, other.0);
            }
            Act::LinkLatency(latency) => {
                self.pipes.latency = *latency;
                self.open_fault(FaultKind::LinkSlow, Scope::All);
            }
            Act::Heal => self.heal(),
            Act::ExpectConverged => self.expect_converged(),
            Act::ExpectAtRest => self.expect_at_rest(),
        }
    }

    pub(crate) fn open_fault(&mut self, kind: FaultKind, scope: Scope) {
        self.ledger.write(kind, scope, self.now, Ledger::OPEN);
    }

    fn read_or_not(&mut self, client: &str, reads: bool) {
        let Some(&session) = self.clients.get(client) else {
            return;
        };
        let scope = Scope::Session(session);
        if reads {
            self.ledger
                .end(FaultKind::SlowReader, Some(scope), self.now);
        } else {
            self.open_fault(FaultKind::SlowReader, scope);
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
        let healed = until + self.recovery();
        self.ledger
            .write(kind, Scope::Instance(host), self.now, healed);
    }

    fn kill(&mut self, host: usize, how: HowKilled) {
        if self.processes[host].instance.is_none() {
            return;
        }
        let healed = self.now + self.config.lease + self.recovery();
        self.ledger
            .write(FaultKind::Kill, Scope::Instance(host), self.now, healed);
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
        self.ledger
            .end(FaultKind::Drain, Some(Scope::Instance(host)), self.now);
        self.start(host);
    }

    fn heal(&mut self) {
        let healed = self.healed_at();
        self.redis.heal();
        self.redis_latency = REDIS_LATENCY;
        for kind in FaultKind::ALL {
            if kind.is_of_directory() {
                self.ledger.end(kind, None, healed);
            }
        }
        self.pipes.cuts.clear();
        self.pipes.latency = Pipes::LATENCY;
        self.release_held();
        for kind in [FaultKind::Cut, FaultKind::LinkSlow] {
            self.ledger.end(kind, None, self.now + REDIAL);
        }
        for process in &mut self.processes {
            process.directory.faults.clear();
        }
        for session in 0..self.sessions.len() {
            self.set_reading(session, true);
        }
        self.ledger
            .end(FaultKind::SlowReader, None, self.now + REDIS_LATENCY);
    }
}
