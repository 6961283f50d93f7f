//! What goes wrong with the directory, and what it writes into the ledger.

use std::time::Duration;

use switchboard_core::id::{InstanceId, TopicId, UserId};
use switchboard_core::time::Instant;

use super::Directory;
use crate::context::Context;
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::noise::{self, Purpose};
use crate::redis::{Former, ServerId};
use crate::schedule::{ClockStep, ErrorReply, LogOf, OperationKind, RedisAct, TripFault};
use crate::settings::REDIS_LATENCY;
use crate::vocabulary::happening::Happening;

impl Directory {
    /// Something happens to the servers. Returns the user whose rows they have thrown away.
    pub(crate) fn act(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        act: &RedisAct,
    ) -> Option<UserId> {
        let primary = self.redis.at_primary().server();
        match act {
            RedisAct::Down => {
                cx.fault_opens(FaultKind::RedisDown, Scope::All);
                self.redis.set_reachable(false);
                self.break_links_to(cx, hosts, primary);
            }
            RedisAct::Up => {
                self.redis.set_reachable(true);
                cx.fault_ends(FaultKind::RedisDown, None);
            }
            RedisAct::RestartEmpty => {
                self.redis.restart_empty(cx.now);
                cx.fault(FaultKind::RedisWiped, Scope::All, cx.now);
                self.break_links_to(cx, hosts, primary);
            }
            RedisAct::Save => self.redis.save(cx.now),
            RedisAct::Restart => {
                self.redis.restart(cx.now);
                cx.fault(FaultKind::RedisRestored, Scope::All, cx.now);
                self.break_links_to(cx, hosts, primary);
            }
            RedisAct::Failover { lost, former } => self.fail_over(cx, hosts, *lost, *former),
            RedisAct::Refuse(error, span) => {
                // It is a fault when something is refused.
                cx.fault_ends(FaultKind::RedisRefuses, None);
                self.redis.refuse(*error, cx.now + *span);
            }
            RedisAct::EvictRows(user) => return self.evict_rows(cx, user),
            RedisAct::EvictLog(of) => self.evict_log(cx, of),
            RedisAct::EvictTopic(topic) => self.evict_topic(cx, hosts, topic),
            RedisAct::EvictLeases => {
                let any = self.leases(cx.now).next().is_some();
                self.redis.evict_leases(cx.now);
                if any {
                    cx.fault(FaultKind::RedisLostLeases, Scope::All, cx.now);
                }
            }
            RedisAct::Clock(step) => self.step_clock(cx, *step),
            RedisAct::FlushScripts => {
                if self.redis.knows_scripts() {
                    cx.fault(FaultKind::RedisScripts, Scope::All, cx.now);
                }
                self.redis.flush_scripts();
            }
            RedisAct::Latency(latency) => {
                // Nothing overtakes what may have been asked before.
                let through = cx.now + noise::at_most(self.latency.base());
                self.latency.set(cx.now, *latency);
                // Below that every round trip ends in time.
                let is_slow = noise::at_most(*latency) * 2 >= cx.config.directory_timeout;
                cx.ways_are_slow(FaultKind::RedisSlow, is_slow, through);
                // There and back, twice; that all four ways are as slow as one may be does not happen.
                let lags = noise::at_most(*latency) * 3 >= cx.config.hello_grace;
                cx.ways_are_slow(FaultKind::RedisLags, lags, through);
            }
        }
        None
    }

    /// The directory cannot be reached from an instance for a while.
    pub(crate) fn away(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        host: usize,
        span: Duration,
    ) {
        if !hosts.runs(host) {
            return;
        }
        let link = &mut self.links[host];
        link.away_until = link.away_until.max(cx.now + span);
        let scope = Scope::Instance(host);
        cx.fault_ends(FaultKind::RedisAway, Some(scope));
        cx.fault_opens(FaultKind::RedisAway, scope);
        self.break_link(cx, hosts, host);
    }

    /// The directory refuses the writes of an instance for a while. It is a fault when one is refused.
    pub(crate) fn refuse_writes_of(
        &mut self,
        cx: &mut Context,
        host: usize,
        error: ErrorReply,
        span: Duration,
    ) {
        cx.fault_ends(FaultKind::RedisRefuses, Some(Scope::Instance(host)));
        self.links[host].refused = Some((error, cx.now + span));
    }

    /// Something will happen to the next round trip of an instance that holds such an operation.
    pub(crate) fn plan(&mut self, host: usize, operation: OperationKind, fault: TripFault) {
        self.links[host].faults.push((operation, fault));
    }

    /// It can be reached from everywhere, refuses nobody, and is as fast as by default. What was
    /// planned for round trips does not happen.
    pub(crate) fn heal(&mut self, cx: &Context) {
        self.redis.heal();
        for link in &mut self.links {
            link.refused = None;
            link.away_until = cx.now;
            link.faults.clear();
        }
        self.latency.set(cx.now, REDIS_LATENCY);
    }

    /// A former primary becomes a replica, and closes about half of its connections.
    pub(crate) fn demote(&mut self, cx: &mut Context, hosts: &mut Hosts, former: ServerId) {
        self.redis.demote(former);
        for host in self.linked_to(former) {
            if self.is_chosen(cx, hosts, host, former) {
                self.break_link(cx, hosts, host);
            }
        }
    }

    /// The user whose rows are thrown away, if there were any.
    fn evict_rows(&mut self, cx: &Context, name: &str) -> Option<UserId> {
        let user = UserId::new(name).ok()?;
        let key = user.clone().into();
        self.redis.evict_rows(cx.now, &key).then_some(user)
    }

    /// What instances say of a topic is thrown away: their members are missed without a sign, until they say it again.
    fn evict_topic(&mut self, cx: &mut Context, hosts: &Hosts, name: &str) {
        let Ok(topic) = TopicId::new(name) else {
            return;
        };
        let said: Vec<_> = (0..self.links.len())
            .filter(|host| {
                let instance = hosts.instance_id(*host);
                instance.is_some_and(|it| self.entered(cx.now, &topic, it).is_some())
            })
            .collect();
        self.redis.evict_topic(cx.now, &topic);
        for host in said {
            self.evicted.insert((host, topic.clone()));
            cx.fault_opens(FaultKind::RedisEvictedTopic, Scope::Instance(host));
        }
    }

    /// An instance has said of a topic what is so, or a new one says nothing.
    pub(super) fn topic_is_said(&mut self, cx: &mut Context, host: usize, topic: &TopicId) {
        if self.evicted.remove(&(host, topic.clone()))
            && !self.evicted.iter().any(|(other, _)| *other == host)
        {
            let scope = Scope::Instance(host);
            cx.fault_ends(FaultKind::RedisEvictedTopic, Some(scope));
        }
    }

    /// A log is thrown away.
    fn evict_log(&mut self, cx: &mut Context, of: &LogOf) {
        if let Some(channel) = of.channel()
            && self.redis.evict_log(cx.now, &channel)
        {
            cx.fault(FaultKind::RedisLostLog, Scope::All, cx.now);
        }
    }

    fn step_clock(&mut self, cx: &mut Context, step: ClockStep) {
        let live = self.holders(cx.now);
        self.redis.step_clock(cx.now, step);
        // Backwards it ends none; but what had expired may come back to life.
        let ahead = matches!(step, ClockStep::Forward(_));
        if ahead || self.holders(cx.now) != live {
            cx.fault(FaultKind::RedisClock, Scope::All, cx.now);
        }
        if let ClockStep::Back(span) = step {
            // Leases last longer by as much, also those that an earlier step prolonged.
            let kind = FaultKind::RedisClockBack;
            let earlier = (cx.ledger().entries().iter())
                .filter(|entry| entry.kind == kind)
                .map(|entry| entry.until);
            let until = earlier.fold(cx.now, Instant::max) + span;
            cx.fault(kind, Scope::All, until);
        }
    }

    /// Whose leases have not expired.
    fn holders(&self, now: Instant) -> Vec<InstanceId> {
        let live = (self.leases(now)).filter(|seen| seen.remaining.is_some());
        live.map(|seen| seen.instance).collect()
    }

    fn fail_over(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        lost: Duration,
        former: Option<Duration>,
    ) {
        let Some(span) = former else {
            let former = self.redis.fail_over(cx.now, lost, Former::Gone);
            cx.fault(FaultKind::RedisFailover, Scope::All, cx.now);
            return self.break_links_to(cx, hosts, former);
        };
        let demoted = cx.now + span;
        let former = self.redis.fail_over(cx.now, lost, Former::Answers);
        cx.fault(FaultKind::RedisFailover, Scope::All, demoted);
        for host in self.linked_to(former) {
            if self.is_chosen(cx, hosts, host, former) {
                self.break_link(cx, hosts, host);
                continue;
            }
            // It hears of the demotion with its next renewal, if the link is not closed.
            let renewal = cx.config.lease_renewal + cx.config.directory_timeout;
            let scope = Scope::Instance(host);
            cx.fault(FaultKind::RedisSplit, scope, demoted + renewal);
            if span + renewal >= cx.config.lease {
                cx.fault(FaultKind::RedisLongSplit, scope, demoted + renewal);
            }
        }
        cx.put(demoted, Happening::Demotion(former));
    }

    /// A coin for an instance's link to a former primary.
    fn is_chosen(&self, cx: &Context, hosts: &Hosts, host: usize, former: ServerId) -> bool {
        let life = hosts.life(host);
        let ids = [
            host as u64,
            life.number.into(),
            former.get(),
            self.redis.is_replica(former).into(),
        ];
        cx.noise.below(2, Purpose::FormerPrimary, &ids) == 0
    }

    fn break_links_to(&mut self, cx: &mut Context, hosts: &mut Hosts, server: ServerId) {
        for host in self.linked_to(server) {
            self.break_link(cx, hosts, host);
        }
    }

    fn linked_to(&self, server: ServerId) -> Vec<usize> {
        let linked = |host: &usize| self.links[*host].server() == Some(server);
        (0..self.links.len()).filter(linked).collect()
    }
}
