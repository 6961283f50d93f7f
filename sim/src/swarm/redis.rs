//! What happens to the directory.

use super::Maker;
use super::faults::{Place, ms};
use crate::schedule::{Act, ErrorReply, OperationKind, RedisAct, TripFault};

impl Maker {
    pub(super) fn redis_down(&mut self, place: Place) {
        self.put(place.at, Act::Redis(RedisAct::Down));
        self.put(place.until, Act::Redis(RedisAct::Up));
    }

    pub(super) fn refuse(&mut self, place: Place) {
        let (error, span) = (self.error(place.nth), place.until - place.at);
        self.put(place.at, Act::Redis(RedisAct::Refuse(error, span)));
    }

    pub(super) fn redis_latency(&mut self, place: Place) {
        let latency = self.span(ms(1), ms(2000), "latency", place.nth);
        self.put(place.at, Act::Redis(RedisAct::Latency(latency)));
        self.put(place.until, Act::Redis(RedisAct::Latency(ms(1))));
    }

    pub(super) fn trip(&mut self, place: Place) {
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
        let fault = match self.below(6, "trip", nth) {
            0 => TripFault::RequestLost,
            1 => TripFault::ReplyLost,
            2 => TripFault::Late,
            3 => TripFault::Torn,
            4 => TripFault::Stray,
            _ => TripFault::Refused(self.error(nth)),
        };
        let act = Act::NextTrip {
            host,
            operation,
            fault,
        };
        self.put(place.at, act);
    }

    fn error(&self, nth: u64) -> ErrorReply {
        let errors = [
            ErrorReply::ReadOnly,
            ErrorReply::Loading,
            ErrorReply::OutOfMemory,
        ];
        self.one_of(&errors, "error", nth)
    }
}
