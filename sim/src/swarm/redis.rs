//! What happens to the directory.

use std::time::Duration;

use super::faults::{FaultPlace, ms};
use super::{FAULTS, ScheduleMaker, USERS};
use crate::schedule::{Act, ClockStep, ErrorReply, OperationKind, RedisAct, TripFault};
use crate::settings::REDIS_LATENCY;

impl ScheduleMaker {
    pub(super) fn redis_down(&mut self, place: FaultPlace) {
        self.put(place.at, Act::Redis(RedisAct::Down));
        self.put(place.until, Act::Redis(RedisAct::Up));
    }

    pub(super) fn snapshot(&mut self, place: FaultPlace) {
        self.put(place.at, Act::Redis(RedisAct::Save));
        self.put(place.until, Act::Redis(RedisAct::Restart));
    }

    pub(super) fn failover(&mut self, place: FaultPlace) {
        let (lost, former) = (place.until - place.at, None);
        self.put(place.at, Act::Redis(RedisAct::Failover { lost, former }));
    }

    pub(super) fn former_primary(&mut self, place: FaultPlace) {
        let former = Some(place.until - place.at);
        let lost = self.span(ms(1), ms(5000), "lag", place.nth);
        self.put(place.at, Act::Redis(RedisAct::Failover { lost, former }));
    }

    pub(super) fn evict(&mut self, place: FaultPlace) {
        let act = match self.below(4, "evicted", place.nth) {
            0 => RedisAct::EvictLeases,
            user => {
                let own = USERS[user as usize];
                RedisAct::EvictRows(self.user(own, "evicted", place.nth).to_owned())
            }
        };
        self.put(place.at, Act::Redis(act));
    }

    pub(super) fn redis_clock(&mut self, place: FaultPlace) {
        let by = place.until - place.at;
        let step = match self.below(2, "step", place.nth) {
            0 => ClockStep::Forward(by),
            _ => ClockStep::Back(by),
        };
        self.put(place.at, Act::Redis(RedisAct::Clock(step)));
    }

    pub(super) fn refuse(&mut self, place: FaultPlace) {
        let error = self.error(place.nth);
        let span = self.refused_for(place);
        self.put(place.at, Act::Redis(RedisAct::Refuse(error, span)));
    }

    pub(super) fn refuse_one(&mut self, place: FaultPlace) {
        let error = self.one_of(&ErrorReply::OF_WRITES, "error", place.nth);
        let act = Act::RedisRefuses {
            host: place.host,
            error,
            span: self.refused_for(place),
        };
        self.put(place.at, act);
    }

    /// Half of all refusals last until the doubt that comes with the first has ended, and leases have
    /// expired.
    fn refused_for(&self, place: FaultPlace) -> Duration {
        let long = match self.below(2, "refused", place.nth) {
            0 => Duration::ZERO,
            _ => self.lease * 4,
        };
        (place.until + long).min(FAULTS.1) - place.at
    }

    pub(super) fn redis_latency(&mut self, place: FaultPlace) {
        let latency = self.span(ms(1), ms(2000), "latency", place.nth);
        self.put(place.at, Act::Redis(RedisAct::Latency(latency)));
        self.put(place.until, Act::Redis(RedisAct::Latency(REDIS_LATENCY)));
    }

    pub(super) fn trip(&mut self, place: FaultPlace) {
        let (host, nth) = (place.host, place.nth);
        let operation = match self.below(10, "operation", nth) {
            0 => OperationKind::Any,
            1 | 2 => OperationKind::Register,
            3 | 4 => OperationKind::Unregister,
            5 => OperationKind::Lookup,
            6 => OperationKind::RemoveRow,
            7 => OperationKind::View,
            8 => OperationKind::Claim,
            _ => OperationKind::Renew,
        };
        let fault = match self.below(7, "trip", nth) {
            0 => TripFault::RequestLost,
            1 => TripFault::ReplyLost,
            2 => TripFault::Late,
            3 => TripFault::Torn,
            4 => TripFault::Stray,
            5 => TripFault::ReplyLate,
            _ => TripFault::Refused(self.error(nth)),
        };
        let act = Act::NextTrip {
            host,
            operation,
            fault,
        };
        self.put(place.at, act);
    }

    /// One instance cannot reach the directory, for so long that it is isolated or not.
    pub(super) fn away(&mut self, place: FaultPlace) {
        let long = match self.below(2, "away", place.nth) {
            0 => Duration::ZERO,
            _ => self.lease * 2,
        };
        let until = (place.until + long).min(FAULTS.1);
        let act = Act::RedisAway {
            host: place.host,
            span: until - place.at,
        };
        self.put(place.at, act);
    }

    fn error(&self, nth: u64) -> ErrorReply {
        self.one_of(&ErrorReply::ALL, "error", nth)
    }
}
