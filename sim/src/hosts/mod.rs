//! The processes: each runs one real instance and takes its inputs in turns.

mod lives;
mod turns;

use std::collections::BTreeSet;

use switchboard_core::Instance;
use switchboard_core::id::InstanceId;
use switchboard_core::stats::{Gauges, Levels, Stats, Tables};
use switchboard_core::time::{Instant, Now, WallTime};

use crate::context::Context;
use crate::fingerprint::{Fingerprint as _, Print};
use crate::ledger::{FaultKind, Scope};
use crate::observed::Life;
use crate::schedule::{ClockStep, HowKilled};
use crate::vocabulary::happening::Input;

/// All processes. Their place is their number.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    processes: Vec<Process>,
}

/// A process of the world, through all its restarts.
#[derive(Clone, Debug)]
struct Process {
    life: u32,
    /// What others dial.
    address: String,
    /// `None` while it does not run.
    instance: Option<Box<Instance>>,
    /// It went without a sign: nobody answers at its address.
    vanished: bool,
    paused_until: Instant,
    inbox: Vec<Input>,
    turn: Option<Instant>,
    timer: Option<Instant>,
    /// How its machine's wall clock differs from the right one, in milliseconds.
    wall_offset: i64,
    /// It dies after so many commands.
    dies: Option<(u32, HowKilled)>,
}

impl Process {
    fn new(number: usize) -> Self {
        Self {
            life: 0,
            address: format!("host{number}:1"),
            instance: None,
            vanished: false,
            paused_until: Instant::START,
            inbox: Vec::new(),
            turn: None,
            timer: None,
            wall_offset: 0,
            dies: None,
        }
    }
}

impl Hosts {
    /// So many, of which none runs.
    pub(crate) fn new(number: usize) -> Self {
        Self {
            processes: (0..number).map(Process::new).collect(),
        }
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.processes.len()
    }

    /// The present life of a process, or its last if it does not run.
    pub(crate) fn life(&self, host: usize) -> Life {
        Life {
            host,
            number: self.processes[host].life,
        }
    }

    /// Whether a process is in this life.
    pub(crate) fn lives(&self, life: Life) -> bool {
        let process = &self.processes[life.host];
        process.instance.is_some() && process.life == life.number
    }

    /// Whether a process runs.
    pub(crate) fn runs(&self, host: usize) -> bool {
        self.processes[host].instance.is_some()
    }

    /// Whether a process went without a sign.
    pub(crate) fn has_vanished(&self, host: usize) -> bool {
        self.processes[host].vanished
    }

    /// Whether an instance says that it takes connections.
    pub(crate) fn is_ready(&self, host: usize) -> bool {
        let instance = self.processes[host].instance.as_ref();
        instance.is_some_and(|instance| instance.is_ready())
    }

    /// The id of the instance that a process runs.
    pub(crate) fn instance_id(&self, host: usize) -> Option<InstanceId> {
        let instance = self.processes[host].instance.as_ref()?;
        Some(instance.id())
    }

    /// The host at an address: one that runs, or else one that did.
    pub(crate) fn occupant(&self, address: &str) -> Option<usize> {
        let at = |running: bool| {
            (self.processes.iter()).position(|process| {
                process.address == address && process.instance.is_some() == running
            })
        };
        at(true).or_else(|| at(false))
    }

    /// What others dial.
    pub(crate) fn address(&self, host: usize) -> &str {
        &self.processes[host].address
    }

    /// A process stands still until then, if that is to come.
    pub(crate) fn paused_until(&self, host: usize) -> Instant {
        self.processes[host].paused_until
    }

    /// What an instance holds, if it runs.
    pub(crate) fn gauges(&self, cx: &Context, host: usize) -> Option<Gauges> {
        let instance = self.processes[host].instance.as_ref()?;
        Some(instance.gauges(cx.clock()))
    }

    /// How full the tables and queues of an instance are, if it runs.
    pub(crate) fn levels(&self, host: usize) -> Option<Levels> {
        Some(self.processes[host].instance.as_ref()?.levels())
    }

    /// How many entries each table and queue of an instance has, if it runs.
    pub(crate) fn tables(&self, host: usize) -> Option<Tables> {
        Some(self.processes[host].instance.as_ref()?.tables())
    }

    /// What an instance has counted, if it runs.
    pub(crate) fn stats(&self, host: usize) -> Option<&Stats> {
        Some(self.processes[host].instance.as_ref()?.stats())
    }

    /// The clocks that an instance sees.
    pub(crate) fn clock_of(&self, cx: &Context, host: usize) -> Now {
        let Now { mono, wall } = cx.clock();
        let wall = wall.as_millis();
        let wall = wall.saturating_add_signed(self.processes[host].wall_offset);
        Now {
            mono,
            wall: WallTime::from_millis(wall),
        }
    }

    /// The wall clock of an instance's machine is set.
    pub(crate) fn step_clock(&mut self, cx: &mut Context, host: usize, step: ClockStep) {
        let by = match step {
            ClockStep::Forward(by) => by.as_millis() as i64,
            ClockStep::Back(by) => -(by.as_millis() as i64),
        };
        let offset = &mut self.processes[host].wall_offset;
        *offset = offset.saturating_add(by);
        if self.processes[host].instance.is_some() {
            cx.borne(FaultKind::WallClock, Scope::Instance(host));
        }
    }

    /// The instances that run, without the world around them.
    pub(crate) fn into_instances(self) -> impl Iterator<Item = Instance> {
        let processes = self.processes.into_iter();
        processes.filter_map(|process| Some(*process.instance?))
    }

    /// Feeds each process to a print, and in the midst of it what other parts hold of that process.
    pub(crate) fn fingerprint(&self, to: &mut Print, mut held_of: impl FnMut(usize, &mut Print)) {
        self.processes.len().fingerprint(to);
        for (host, process) in self.processes.iter().enumerate() {
            let Process {
                life,
                address,
                instance,
                vanished,
                paused_until,
                inbox,
                turn,
                timer,
                wall_offset,
                dies,
            } = process;
            life.fingerprint(to);
            address.fingerprint(to);
            instance.fingerprint(to);
            vanished.fingerprint(to);
            paused_until.fingerprint(to);
            held_of(host, to);
            inbox.fingerprint(to);
            turn.fingerprint(to);
            timer.fingerprint(to);
            wall_offset.fingerprint(to);
            dies.fingerprint(to);
        }
    }

    /// Addresses that running instances have.
    fn taken_addresses(&self) -> BTreeSet<&str> {
        let running = (self.processes.iter()).filter(|process| process.instance.is_some());
        running.map(|process| process.address.as_str()).collect()
    }
}
