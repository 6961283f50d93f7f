//! What happens to the directory's servers, and what it writes into the ledger.

use std::time::Duration;

use switchboard_core::id::{InstanceId, UserId};
use switchboard_core::time::Instant;

use crate::ledger::{FaultKind, Scope};
use crate::noise::{self, Purpose};
use crate::queue::Happening;
use crate::redis::{Former, ServerId};
use crate::schedule::{ClockStep, RedisAct};
use crate::world::World;

impl World {
    pub(crate) fn redis_acts(&mut self, act: &RedisAct) {
        let primary = self.redis.at_primary().server();
        match act {
            RedisAct::Down => {
                self.fault_opens(FaultKind::RedisDown, Scope::All);
                self.redis.set_reachable(false);
                self.break_links_to(primary);
            }
            RedisAct::Up => {
                self.redis.set_reachable(true);
                self.fault_ends(FaultKind::RedisDown, None);
            }
            RedisAct::RestartEmpty => {
                self.redis.restart_empty(self.now);
                self.redis_fault(FaultKind::RedisWiped);
                self.break_links_to(primary);
            }
            RedisAct::Save => self.redis.save(self.now),
            RedisAct::Restart => {
                self.redis.restart(self.now);
                self.redis_fault(FaultKind::RedisRestored);
                self.break_links_to(primary);
            }
            RedisAct::Failover { lost, former } => self.fail_over(*lost, *former),
            RedisAct::Refuse(error, span) => {
                // It is a fault when something is refused.
                self.fault_ends(FaultKind::RedisRefuses, None);
                self.redis.refuse(*error, self.now + *span);
            }
            RedisAct::EvictRows(user) => self.evict_rows(user),
            RedisAct::EvictLeases => {
                let any = self.leases().next().is_some();
                self.redis.evict_leases(self.now);
                if any {
                    self.redis_fault(FaultKind::RedisLostLeases);
                }
            }
            RedisAct::Clock(step) => {
                let live = self.live_leases();
                self.redis.step_clock(self.now, *step);
                // Backwards it ends none; but what had run out may come back to life.
                let ahead = matches!(step, ClockStep::Forward(_));
                if ahead || self.live_leases() != live {
                    self.redis_fault(FaultKind::RedisClock);
                }
                if let ClockStep::Back(span) = step {
                    // Leases last longer by as much, also those that an earlier step prolonged.
                    let kind = FaultKind::RedisClockBack;
                    let earlier = (self.ledger.entries().iter())
                        .filter(|entry| entry.kind == kind)
                        .map(|entry| entry.until);
                    let until = earlier.fold(self.now, Instant::max) + *span;
                    self.fault(kind, Scope::All, until);
                }
            }
            RedisAct::FlushScripts => {
                if self.redis.knows_scripts() {
                    self.redis_fault(FaultKind::RedisScripts);
                }
                self.redis.flush_scripts();
            }
            RedisAct::Latency(latency) => {
                self.redis_latency.set(self.now, *latency);
                self.fault_ends(FaultKind::RedisSlow, None);
                // Below that every round trip ends in time.
                if noise::at_most(*latency) * 2 >= self.config.directory_timeout {
                    self.fault_opens(FaultKind::RedisSlow, Scope::All);
                }
            }
        }
    }

    /// Says in the ledger that a server refuses, until it does so no more.
    pub(crate) fn redis_refuses(&mut self) {
        if let Some(until) = self.redis.refuses_until(self.now) {
            self.fault_shows(FaultKind::RedisRefuses, Scope::All, until);
        }
    }

    fn live_leases(&self) -> Vec<InstanceId> {
        let live = self.leases().filter(|seen| seen.remaining.is_some());
        live.map(|seen| seen.instance).collect()
    }

    fn redis_fault(&mut self, kind: FaultKind) {
        self.fault(kind, Scope::All, self.now);
    }

    /// Whose rows are thrown away is missed without a sign, until the sweep has written them again.
    fn evict_rows(&mut self, name: &str) {
        let Ok(user) = UserId::new(name) else {
            return;
        };
        if !self.redis.evict_rows(self.now, &user.clone().into()) {
            return;
        }
        for session in 0..self.sessions.len() {
            let this = &self.sessions[session];
            if *this.user() == user && this.is_open() {
                self.fault_opens(FaultKind::RedisEvicted, Scope::Session(session));
            }
        }
    }

    fn fail_over(&mut self, lost: Duration, former: Option<Duration>) {
        let Some(span) = former else {
            let former = self.redis.fail_over(self.now, lost, Former::Gone);
            self.redis_fault(FaultKind::RedisFailover);
            return self.break_links_to(former);
        };
        let demoted = self.now + span;
        let former = self.redis.fail_over(self.now, lost, Former::Answers);
        self.fault(FaultKind::RedisFailover, Scope::All, demoted);
        for host in self.linked_to(former) {
            if self.is_chosen(host, former) {
                self.break_directory(host);
                continue;
            }
            // It hears of the demotion with its next renewal, if the link is not closed.
            let renewal = self.config.lease_renewal + self.config.directory_timeout;
            let scope = Scope::Instance(host);
            self.fault(FaultKind::RedisSplit, scope, demoted + renewal);
            if span + renewal >= self.config.lease {
                self.fault(FaultKind::RedisLongSplit, scope, demoted + renewal);
            }
        }
        self.queue.put(demoted, Happening::Demotion(former));
    }

    /// A former primary becomes a replica, and closes about half of its connections.
    pub(crate) fn former_primary_ends(&mut self, former: ServerId) {
        self.redis.demote(former);
        for host in self.linked_to(former) {
            if self.is_chosen(host, former) {
                self.break_directory(host);
            }
        }
    }

    /// A coin for an instance's link to a former primary.
    fn is_chosen(&self, host: usize, former: ServerId) -> bool {
        let life = self.life(host);
        let ids = [
            host as u64,
            life.number.into(),
            former.get(),
            self.redis.is_replica(former).into(),
        ];
        self.noise.below(2, Purpose::FormerPrimary, &ids) == 0
    }

    fn break_links_to(&mut self, server: ServerId) {
        for host in self.linked_to(server) {
            self.break_directory(host);
        }
    }

    fn linked_to(&self, server: ServerId) -> Vec<usize> {
        let linked = |host: &usize| self.processes[*host].directory.server() == Some(server);
        (0..self.processes.len()).filter(linked).collect()
    }
}
