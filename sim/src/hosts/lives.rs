//! How processes start, stand still and end.

use std::time::Duration;

use switchboard_core::config::{ClusterSecret, Identity};
use switchboard_core::event::Event;
use switchboard_core::flaws::Flaw;
use switchboard_core::time::Instant;
use switchboard_core::{Instance, Seed};

use super::{Hosts, Process};
use crate::context::Context;
use crate::ledger::{FaultKind, Part, Scope};
use crate::noise::Purpose;
use crate::observed::{Life, Observed};
use crate::schedule::{HowKilled, NewAddress};
use crate::vocabulary::happening::{Happening, Input};

/// What a start can explain.
const START: Duration = Duration::from_secs(3);
/// The secret of the cluster.
const SECRET: &[u8] = b"the simulator's own secret";

impl Hosts {
    /// Starts an instance in a process that runs none.
    pub(crate) fn start(&mut self, cx: &mut Context, host: usize, flaw: Option<Flaw>) {
        let number = self.processes[host].life + 1;
        let life = Life { host, number };
        let identity = Identity {
            instance: cx.instance_id(life),
            address: self.processes[host].address.clone(),
            secret: ClusterSecret::new(SECRET).expect("it is long enough"),
        };
        let mut seed = [0; 32];
        for (word, bytes) in seed.chunks_exact_mut(8).enumerate() {
            let ids = [host as u64, number.into(), word as u64];
            bytes.copy_from_slice(&cx.noise.draw(Purpose::InstanceSeed, &ids).to_le_bytes());
        }
        let now = self.clock_of(cx, host);
        let instance = Instance::new(cx.real_config.clone(), identity, Seed::new(seed), now)
            .expect("the settings follow from a lease of a second or more")
            .with_flaws(flaw.into_iter().collect());
        let before = &mut self.processes[host];
        let address = std::mem::take(&mut before.address);
        let wall_offset = before.wall_offset;
        self.processes[host] = Process {
            life: number,
            address,
            wall_offset,
            instance: Some(Box::new(instance)),
            ..Process::new(host)
        };
        cx.fault(FaultKind::Start, Scope::Instance(host), cx.now + START);
        cx.observe(Observed::Started(life));
        cx.put(cx.now, Happening::OpenDirectory(life));
    }

    /// A process runs no instance any more. Returns what had come and was not taken in.
    pub(crate) fn end(&mut self, host: usize, vanished: bool) -> Vec<Input> {
        let process = &mut self.processes[host];
        process.instance = None;
        process.vanished = vanished;
        std::mem::take(&mut process.inbox)
    }

    /// A process that does not run gets another address, at which nobody is who runs.
    pub(crate) fn readdress(&mut self, cx: &mut Context, host: usize, address: NewAddress) {
        let fresh = format!("host{host}.{}:1", self.processes[host].life);
        let mut recycled = false;
        match address {
            NewAddress::Same => {}
            NewAddress::New => self.processes[host].address.clone_from(&fresh),
            NewAddress::Of(other) if !self.runs(other.0) => {
                self.processes[host].address = self.processes[other.0].address.clone();
                recycled = other.0 != host;
            }
            NewAddress::Of(_) => {}
        }
        if (self.taken_addresses()).contains(self.processes[host].address.as_str()) {
            recycled = false;
            self.processes[host].address = fresh;
        }
        if recycled {
            cx.borne(FaultKind::RecycledAddress, Scope::Instance(host));
        }
    }

    /// A process stands still for a while.
    pub(crate) fn pause(&mut self, cx: &mut Context, host: usize, span: Duration) {
        let until = cx.now + span;
        let process = &mut self.processes[host];
        if process.instance.is_none() || until <= process.paused_until {
            return;
        }
        // Between two pauses so near to each other no round trip is asked for and answered.
        let lately = cx.now.before(Duration::from_millis(2));
        let stands_still = process.paused_until >= lately;
        process.paused_until = until;
        let present = (cx.ledger().entries().iter()).filter(|entry| {
            let here = entry.scope == Scope::Instance(host) && entry.until >= lately;
            stands_still && here && entry.kind.part() == Part::Process
        });
        let since = present.map(|entry| entry.from).fold(cx.now, Instant::min);
        // The last renewal may be as old as their period, and its round trip as its timeout.
        let renewed = cx.config.lease_renewal + cx.config.directory_timeout;
        let kind = if until.since(since) + renewed >= cx.config.lease {
            FaultKind::LongPause
        } else {
            FaultKind::Pause
        };
        cx.fault_since(kind, Scope::Instance(host), since, until);
    }

    /// An instance is told to end.
    pub(crate) fn drain(
        &mut self,
        cx: &mut Context,
        host: usize,
        delay: Duration,
        spread: Duration,
    ) {
        if !self.runs(host) {
            return;
        }
        cx.fault_opens(FaultKind::Drain, Scope::Instance(host));
        self.event(cx, self.life(host), Event::Drain { delay, spread });
    }

    /// A process is to be killed after so many commands.
    pub(crate) fn doom(&mut self, host: usize, commands: u32, how: HowKilled) {
        let process = &mut self.processes[host];
        if process.instance.is_some() {
            process.dies = Some((commands, how));
        }
    }

    /// No process is to be killed.
    pub(crate) fn spare(&mut self) {
        for process in &mut self.processes {
            process.dies = None;
        }
    }

    /// How a process is to be killed before its next command, of a batch of which it has executed so
    /// many.
    pub(crate) fn dies(
        &mut self,
        cx: &mut Context,
        host: usize,
        executed: usize,
    ) -> Option<HowKilled> {
        match &mut self.processes[host].dies {
            None => None,
            Some((0, how)) => {
                let how = *how;
                if executed > 0 {
                    cx.borne(FaultKind::KilledMidBatch, Scope::Instance(host));
                }
                Some(how)
            }
            Some((commands, _)) => {
                *commands -= 1;
                None
            }
        }
    }
}
