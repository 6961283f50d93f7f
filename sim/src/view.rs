//! What of a world can be read from outside: by checkers, and after a run.

use std::collections::BTreeMap;

use switchboard_core::config::Config;
use switchboard_core::directory::{Row, SeenLease};
use switchboard_core::id::{ConnectionId, InstanceId};
use switchboard_core::stats::{Gauges, Level, Stats};
use switchboard_core::time::Instant;

use crate::host::Process;
use crate::ledger::Ledger;
use crate::observed::Life;
use crate::record::Published;
use crate::terminal::Session;
use crate::world::World;

/// One process, as it is at this moment.
#[derive(Clone, Copy, Debug)]
pub struct HostView<'a> {
    world: &'a World,
    process: &'a Process,
    host: usize,
}

impl World {
    /// This moment.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The settings of all instances.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// All sessions that ever were, in the order in which their clients began to connect. Their
    /// place is their number.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The session that a connection belongs to.
    pub fn session_of(&self, connection: ConnectionId) -> Option<usize> {
        self.record.connections.get(&connection).copied()
    }

    /// All pushes, in the order in which they were first handed in. Their place is their number.
    pub fn pushes(&self) -> &[Published] {
        &self.record.pushes
    }

    /// The processes. Their place is their number, one below that in the schedule.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = HostView<'_>> {
        (self.processes.iter().enumerate()).map(|(host, process)| HostView {
            world: self,
            process,
            host,
        })
    }

    /// One process, if there is one of this number.
    pub fn host(&self, host: usize) -> Option<HostView<'_>> {
        let process = self.processes.get(host)?;
        Some(HostView {
            world: self,
            process,
            host,
        })
    }

    /// Whether a process is in this life.
    pub fn lives(&self, life: Life) -> bool {
        let process = &self.processes[life.host];
        process.instance.is_some() && process.life == life.number
    }

    /// The id of the instance in this life of a process.
    pub fn instance_of(&self, life: Life) -> InstanceId {
        self.instance_id(life)
    }

    /// The rows that readers take for live: their instance's lease has not run out, and their epoch
    /// is not below its floor.
    pub fn live_rows(&self) -> BTreeMap<ConnectionId, Row> {
        self.each_live_row().collect()
    }

    /// The same rows, in no order of connections: whoever looks at all of them at each tick can do
    /// without a map.
    pub fn each_live_row(&self) -> impl Iterator<Item = (ConnectionId, Row)> {
        let clock = self.redis.clock(self.now);
        let floors: Vec<_> = self.redis.primary().floors(clock).collect();
        self.rows().filter(move |(_, row)| {
            let is_above = |(instance, floor): &_| *instance == row.instance && row.epoch >= *floor;
            floors.iter().any(is_above)
        })
    }

    /// All rows, live or dead.
    pub fn rows(&self) -> impl Iterator<Item = (ConnectionId, Row)> {
        (self.redis.primary().rows(self.redis.clock(self.now)))
            .map(|(_, connection, row)| (connection, *row))
    }

    /// The row of a session's connection, live or dead.
    pub fn row_of(&self, session: usize) -> Option<Row> {
        let session = self.sessions.get(session)?;
        let clock = self.redis.clock(self.now);
        let key = session.user().clone().into();
        (self.redis.primary()).row(clock, &key, session.connection()?)
    }

    /// All leases, those that have run out too.
    pub fn leases(&self) -> impl Iterator<Item = SeenLease> {
        self.redis.primary().leases(self.redis.clock(self.now))
    }

    /// The lease of one instance, if the directory has it, run out or not.
    pub fn lease(&self, instance: InstanceId) -> Option<SeenLease> {
        let clock = self.redis.clock(self.now);
        self.redis.primary().lease(clock, instance)
    }

    /// Whether a row is live by the directory as it is at this moment.
    pub fn is_live(&self, row: Row) -> bool {
        self.lease(row.instance)
            .is_some_and(|seen| seen.remaining.is_some() && row.epoch >= seen.lease.floor)
    }

    /// What can be explained, and by what.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl<'a> HostView<'a> {
    /// Its number.
    pub const fn number(&self) -> usize {
        self.host
    }

    /// Its present life, or its last if it does not run.
    pub const fn life(&self) -> Life {
        Life {
            host: self.host,
            number: self.process.life,
        }
    }

    /// Whether its link to the directory leads to the present primary.
    pub fn asks_primary(&self) -> bool {
        let primary = self.world.redis.at_primary().server();
        self.process.directory.server() == Some(primary)
    }

    /// Whether its instance runs.
    pub const fn runs(&self) -> bool {
        self.process.instance.is_some()
    }

    /// What others dial.
    pub fn address(&self) -> &'a str {
        &self.process.address
    }

    /// It stands still until then, if that is to come.
    pub const fn paused_until(&self) -> Instant {
        self.process.paused_until
    }

    /// What its instance holds, if it runs.
    pub fn gauges(&self) -> Option<Gauges> {
        let instance = self.process.instance.as_ref()?;
        Some(instance.gauges(self.world.clock()))
    }

    /// The sessions whose connections its instance has not forgotten.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = usize> {
        (self.process.connections.values()).map(|connection| connection.session)
    }

    /// How full the tables and queues of its instance are, if it runs.
    pub fn levels(&self) -> Option<[Level; 9]> {
        Some(self.process.instance.as_ref()?.levels())
    }

    /// What its instance has counted, if it runs.
    pub fn stats(&self) -> Option<&'a Stats> {
        Some(self.process.instance.as_ref()?.stats())
    }
}
