//! What happens to instances.

use std::time::Duration;

use super::mask::Kind;
use super::{FAULTS, ScheduleMaker};
use crate::schedule::{Act, ClockStep, Host, HowKilled, NewAddress, RedisAct, To};

/// Where and when a fault happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultPlace {
    pub(super) nth: u64,
    pub(super) at: Duration,
    /// Some time later, when it may end.
    pub(super) until: Duration,
    pub(super) host: Host,
    /// Another instance.
    pub(super) other: Host,
}

pub(super) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl ScheduleMaker {
    pub(super) fn fault(&mut self, kind: Kind, nth: u64) {
        let at = self.near(FAULTS.0, FAULTS.1, "fault", nth);
        let span = self.span(ms(50), ms(15_000), "span", nth);
        let host = self.host("host", nth);
        let place = FaultPlace {
            nth,
            at,
            until: self.later(at, span, "until", nth),
            host,
            other: self.other_host(host, "other", nth),
        };
        match kind {
            Kind::Kill => self.kill(place),
            Kind::KillMidBatch => self.kill_mid_batch(place),
            Kind::Pause => self.pause(place),
            Kind::Drain => self.drain(place),
            Kind::Deploy => self.deploy(place),
            Kind::Clock => self.clock(place),
            Kind::Balancer => self.balancer(place),
            Kind::RedisDown => self.redis_down(place),
            Kind::RestartEmpty => self.put(at, Act::Redis(RedisAct::RestartEmpty)),
            Kind::Snapshot => self.snapshot(place),
            Kind::Failover => self.failover(place),
            Kind::FormerPrimary => self.former_primary(place),
            Kind::Evict => self.evict(place),
            Kind::RedisClock => self.redis_clock(place),
            Kind::FlushScripts => self.put(at, Act::Redis(RedisAct::FlushScripts)),
            Kind::Refuse => self.refuse(place),
            Kind::RedisLatency => self.redis_latency(place),
            Kind::Trip => self.trip(place),
            Kind::Cut => self.cut(place),
            Kind::Clog => self.clog(place),
            Kind::HalfOpen => self.half_open(place),
            Kind::RefuseDials => self.refuse_dials(place),
            Kind::Reset => self.reset(place),
            Kind::LinkLatency => self.link_latency(place),
            Kind::Death => self.death(place),
            Kind::HalfOpenClient => self.half_open_client(place),
            Kind::SlowReader => self.slow_reader(place),
            Kind::Storm => self.storm(place),
            Kind::Crowd => self.crowd(place),
            Kind::Token => self.token(place),
            Kind::Misbehave => self.misbehave(place),
            Kind::Kick => self.kick(place),
            Kind::Repeat => self.repeat(place),
            Kind::Burst => self.burst(place),
            Kind::Race => self.race(place),
            Kind::Flood => self.flood(place),
            Kind::Away => self.away(place),
            Kind::RefuseOne => self.refuse_one(place),
        }
    }

    fn kill(&mut self, place: FaultPlace) {
        let (host, how) = (place.host, self.how_killed(place.nth));
        self.put(place.at, Act::Kill { host, how });
        self.restart(place);
    }

    fn kill_mid_batch(&mut self, place: FaultPlace) {
        let act = self.killed_mid_batch(place);
        self.put(place.at, act);
        // It has a batch to execute.
        let soon = self.span(Duration::from_micros(10), ms(50), "batch", place.nth);
        let at = self.later(place.at, soon, "batch", place.nth);
        let name = format!("d{}", place.nth);
        self.push_linking(at, place.host, To::Everyone, &name);
        self.restart(place);
    }

    pub(super) fn killed_mid_batch(&self, place: FaultPlace) -> Act {
        Act::KillMidBatch {
            host: place.host,
            how: self.how_killed(place.nth),
            commands: self.below(12, "commands", place.nth) as u32,
        }
    }

    fn pause(&mut self, place: FaultPlace) {
        let act = self.paused(place);
        self.put(place.at, act);
    }

    pub(super) fn paused(&self, place: FaultPlace) -> Act {
        let span = match self.below(4, "pause", place.nth) {
            0 => self.lease / 2,
            1 => self.lease,
            2 => self.lease * 2,
            _ => place.until - place.at,
        };
        let host = place.host;
        Act::Pause { host, span }
    }

    fn drain(&mut self, place: FaultPlace) {
        let act = self.drained(place);
        self.put(place.at, act);
        if self.below(2, "comes back", place.nth) == 0 {
            self.restart(place);
        }
    }

    pub(super) fn drained(&self, place: FaultPlace) -> Act {
        Act::Drain {
            host: place.host,
            delay: self.span(ms(1), ms(500), "delay", place.nth),
            spread: self.span(ms(1), ms(2000), "spread", place.nth),
        }
    }

    fn deploy(&mut self, place: FaultPlace) {
        let nth = place.nth;
        let act = Act::Deploy {
            delay: self.span(ms(1), ms(500), "delay", nth),
            spread: self.span(ms(1), ms(5000), "spread", nth),
            deadline: self.span(ms(100), ms(6000), "deadline", nth),
        };
        self.put(place.at, act);
    }

    fn clock(&mut self, place: FaultPlace) {
        let by = self.span(ms(10), ms(3_600_000), "by", place.nth);
        let step = match self.below(2, "clock", place.nth) {
            0 => ClockStep::Forward(by),
            _ => ClockStep::Back(by),
        };
        let host = place.host;
        self.put(place.at, Act::StepClock { host, step });
    }

    /// The balancer is blind, and a client comes that has lost its connection.
    fn balancer(&mut self, place: FaultPlace) {
        let FaultPlace { nth, at, until, .. } = place;
        self.put(at, Act::BlindBalancer(until - at));
        let client = self.below(self.clients, "blindly", nth);
        let after = self.span(ms(1), ms(2000), "blind", nth);
        let at = self.later(at, after, "blindly", nth);
        self.connect(at, client, None, None);
    }

    fn restart(&mut self, place: FaultPlace) {
        let host = place.host;
        let address = match self.below(4, "address", place.nth) {
            0 => NewAddress::New,
            1 => return self.recycle(place),
            _ => NewAddress::Same,
        };
        self.put(place.until, Act::Restart { host, address });
    }

    /// An instance starts at the address of another, to which there were links, and which starts
    /// elsewhere later.
    fn recycle(&mut self, place: FaultPlace) {
        let FaultPlace {
            nth, host, other, ..
        } = place;
        let third = self.other_host(other, "third", nth);
        self.push_between(third, other, place.until, nth);
        let free = self.later(place.until, ms(1), "free", nth);
        for host in [host, other] {
            let how = self.how_killed(nth + host.0 as u64);
            self.put(free, Act::Kill { host, how });
        }
        let gone = self.span(ms(1), ms(5000), "gone", nth);
        let taken = self.later(free, gone, "taken", nth);
        let address = NewAddress::Of(other);
        self.put(taken, Act::Restart { host, address });
        self.push_between(third, other, taken, nth + 50);
        let away = self.span(ms(1), ms(5000), "away", nth);
        let back = self.later(taken, away, "back", nth);
        let address = NewAddress::New;
        self.put(
            back,
            Act::Restart {
                host: other,
                address,
            },
        );
    }

    fn how_killed(&self, nth: u64) -> HowKilled {
        match self.below(3, "kill", nth) {
            0 => HowKilled::Silent,
            _ => HowKilled::Reset,
        }
    }
}
