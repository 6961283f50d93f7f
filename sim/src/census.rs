//! The directory beside the connections: debts while the world runs, equality when it has healed.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_core::directory::Row;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::id::ConnectionId;
use switchboard_core::time::Instant;

use crate::ledger::{Excuse, FaultKind, Scope};
use crate::report::Invariant;
use crate::world::World;

/// The rows that readers take for live, at a moment of the directory's clock.
pub(crate) fn live_rows(
    directory: &MemoryDirectory,
    clock: Instant,
) -> BTreeMap<ConnectionId, Row> {
    let floors: BTreeMap<_, _> = (directory.leases(clock))
        .filter(|seen| seen.remaining.is_some())
        .map(|seen| (seen.instance, seen.lease.floor))
        .collect();
    (directory.rows(clock))
        .filter(|(_, _, row)| (floors.get(&row.instance)).is_some_and(|floor| row.epoch >= *floor))
        .map(|(_, connection, row)| (connection, *row))
        .collect()
}

impl World {
    /// The rows that readers take for live.
    pub(crate) fn live_rows(&self) -> BTreeMap<ConnectionId, Row> {
        live_rows(self.redis.primary(), self.redis.clock(self.now))
    }

    /// Whether a connection is open and greeted, and its instance has no reason to give it up.
    pub(crate) fn is_held(&self, connection: ConnectionId) -> bool {
        let Some(&session) = self.oracle.connections.get(&connection) else {
            return false;
        };
        let this = &self.sessions[session];
        let holder = this.life.map_or(0, |life| life.host);
        this.is_open() && this.greeted.is_some() && !self.may_be_closing(session, holder)
    }

    /// Compares the directory with the connections while faults may explain differences.
    pub(crate) fn census(&mut self) {
        let rows = self.live_rows();
        for session in 0..self.sessions.len() {
            let this = &self.sessions[session];
            let (Some(id), Some(life), Some((_, false))) = (this.id, this.life, this.greeted)
            else {
                continue;
            };
            if rows.contains_key(&id) {
                let scope = Scope::Session(session);
                self.ledger.cut(FaultKind::RedisEvicted, scope, self.now);
                continue;
            }
            if !this.is_open()
                || self.is_evicted(session)
                || self.is_excused(Some(life.host))
                || self.may_be_closing(session, life.host)
            {
                continue;
            }
            let what = format!(
                "session {session} of {} at i{} was greeted and has no live row",
                this.user,
                life.host + 1
            );
            return self.violated(Invariant::OrphanDebt, what);
        }
        for id in rows.keys() {
            let Some(&session) = self.oracle.connections.get(id) else {
                continue;
            };
            let this = &self.sessions[session];
            let host = this.life.map(|life| life.host);
            let Some(ended) = this.ended else {
                continue;
            };
            if self.now > ended + self.ghost_limit()
                && !self.is_excused(host)
                && !self.leases_last_longer()
            {
                let what = format!(
                    "session {session} of {} ended and has a live row",
                    this.user
                );
                return self.violated(Invariant::GhostDebt, what);
            }
        }
    }

    /// How long a row may outlive its connection: until the lease of a dead instance has run out,
    /// or a socket that nobody reads is given up.
    fn ghost_limit(&self) -> std::time::Duration {
        self.config.lease + self.config.close_timeout + self.config.directory_timeout * 3
    }

    /// Whether the row of a session was thrown away, and may not have been written again.
    fn is_evicted(&self, session: usize) -> bool {
        let evicted = |excuse: &Excuse| {
            excuse.kind == FaultKind::RedisEvicted && excuse.scope == Scope::Session(session)
        };
        self.ledger.find(self.now, self.now, evicted).is_some()
    }

    /// Whether the directory's clock has jumped back not long ago.
    fn leases_last_longer(&self) -> bool {
        let back = |excuse: &Excuse| excuse.kind == FaultKind::RedisClockBack;
        self.ledger.find(self.now, self.now, back).is_some()
    }

    /// Whether a fault explains that the directory and an instance differ.
    fn is_excused(&self, host: Option<usize>) -> bool {
        self.ledger
            .find(self.now, self.now, |excuse| {
                let here = match excuse.scope {
                    Scope::All => true,
                    Scope::Instance(other) => Some(other) == host,
                    Scope::Between(..) | Scope::Session(_) => false,
                };
                let paused = [FaultKind::Pause, FaultKind::LongPause].contains(&excuse.kind);
                here && (excuse.kind.is_of_directory() || paused)
            })
            .is_some()
    }

    /// Whether an instance may have given up a connection although its Close frame still waits:
    /// because it drains, or because the terminal is too slow.
    pub(crate) fn may_be_closing(&self, session: usize, host: usize) -> bool {
        self.ledger
            .find(self.now, self.now, |excuse| {
                (excuse.kind == FaultKind::Drain && excuse.scope == Scope::Instance(host))
                    || (excuse.kind == FaultKind::SlowReader
                        && excuse.scope == Scope::Session(session))
            })
            .is_some()
    }

    /// The rows are those of the live connections, without any excuse.
    pub(crate) fn expect_converged(&mut self) {
        let rows: BTreeSet<_> = self.live_rows().into_keys().collect();
        let held: BTreeSet<_> = (self.sessions.iter())
            .filter(|session| session.is_open() && session.greeted.is_some())
            .filter_map(|session| session.id)
            .collect();
        let orphan = held.difference(&rows).find(|id| {
            let session = self.oracle.connections.get(id);
            !session.is_some_and(|session| self.is_evicted(*session))
        });
        if let Some(orphan) = orphan {
            let session = self.oracle.connections.get(orphan);
            let what = format!("session {session:?} has no live row");
            return self.violated(Invariant::Convergence, what);
        }
        if let Some(ghost) = rows.difference(&held).next() {
            let session = self.oracle.connections.get(ghost);
            let what = format!("session {session:?} is gone and has a live row");
            self.violated(Invariant::Convergence, what);
        }
    }

    /// Nothing is left of any connection or push.
    pub(crate) fn expect_at_rest(&mut self) {
        let now = self.clock();
        let busy = (self.processes.iter().enumerate()).find_map(|(host, process)| {
            let gauges = process.instance.as_ref()?.gauges(now);
            (gauges.connections + gauges.users + gauges.pushes > 0).then_some((host, gauges))
        });
        if let Some((host, gauges)) = busy {
            let what = format!("i{} still has {gauges:?}", host + 1);
            return self.violated(Invariant::EmptyAtRest, what);
        }
        let rows = self.live_rows().len();
        if rows > 0 {
            let what = format!("{rows} rows are left");
            self.violated(Invariant::EmptyAtRest, what);
        }
    }

    /// The end of what a fault that ends now disturbs in the directory.
    pub(crate) fn healed_at(&self) -> Instant {
        self.now + self.recovery()
    }
}
