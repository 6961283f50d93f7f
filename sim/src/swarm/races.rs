//! Faults that are aimed at a moment: a move, a kill or a cut in every phase of a push.

use std::time::Duration;
use switchboard_core::message::PushedBy;

use super::ScheduleMaker;
use super::faults::{FaultPlace, ms};
use crate::schedule::{Act, Durability, HowClosed, Moment, OperationKind, To, TripFault};

impl ScheduleMaker {
    /// Pushes for a user follow each other closely, and the first lookup is slow or lost.
    pub(super) fn burst(&mut self, place: FaultPlace) {
        let FaultPlace { nth, at, host, .. } = place;
        let faults = [
            TripFault::Late,
            TripFault::ReplyLost,
            TripFault::RequestLost,
            TripFault::Stray,
        ];
        let act = Act::NextTrip {
            host,
            operation: OperationKind::Lookup,
            fault: self.one_of(&faults, "slow lookup", nth),
        };
        self.put(at, act);
        let to = self.aimed_at(nth);
        let mut at = at;
        for push in 0..2 + self.count(10, "burst", nth) {
            let name = format!("b{nth}.{push}");
            let nth = nth * 100 + push;
            let next = self.span(Duration::from_micros(10), ms(300), "in burst", nth);
            at = self.later(at, next, "in burst", nth);
            let to = to.clone();
            self.push_at(at, host, to, name);
        }
    }

    /// Something happens in the middle of a push, or a push in the middle of a connect or a move.
    pub(super) fn race(&mut self, place: FaultPlace) {
        let FaultPlace {
            nth, host, other, ..
        } = place;
        let (client, name) = self.client("races", nth);
        // It is at another instance when the push is handed in.
        self.put(
            place.at,
            Act::Move {
                client: name.clone(),
                at: Some(other),
                how: HowClosed::Clean,
            },
        );
        let there = self.span(ms(30), ms(1000), "there", nth);
        let at = self.later(place.at, there, "there", nth);
        let push = Act::Push {
            at: host,
            to: To::User(self.user_of(client).to_owned()),
            name: format!("r{nth}"),
            durable: Durability::Plain,
            by: PushedBy::Application,
            within: None,
        };
        let after = match self.below(2, "at once", nth) {
            0 => Duration::ZERO,
            _ => self.span(Duration::from_micros(1), ms(5), "race", nth),
        };
        if self.below(3, "which race", nth) == 0 {
            let waiting = Act::On {
                moment: self.one_of(&Moment::OF_CLIENT, "phase of client", nth),
                of: name,
                after,
                act: Box::new(push),
            };
            self.put(at, waiting);
            let act = self.moves_on(client, nth);
            self.put(at, act);
        } else {
            let act = match self.below(8, "what races", nth) {
                0 => self.killed_mid_batch(place),
                1 => self.paused(place),
                2 => self.drained(place),
                3 => Act::Reset { one: host, other },
                _ => self.moves_on(client, nth),
            };
            let waiting = Act::On {
                moment: self.one_of(&Moment::OF_PUSH, "phase of push", nth),
                of: format!("r{nth}"),
                after,
                act: Box::new(act),
            };
            self.put(at, waiting);
            self.put(at, push);
        }
    }

    fn moves_on(&self, client: u64, nth: u64) -> Act {
        let how = [HowClosed::Clean, HowClosed::Sudden, HowClosed::Silent];
        Act::Move {
            client: self.client_name(client),
            at: Some(self.host("moves to", nth)),
            how: self.one_of(&how, "moves how", nth),
        }
    }

    /// A push is handed in again, at another instance mostly.
    pub(super) fn repeat(&mut self, place: FaultPlace) {
        let FaultPlace { nth, at, host, .. } = place;
        let (to, name) = (self.aimed_at(nth), format!("t{nth}"));
        let again = match self.below(4, "same", nth) {
            0 => host,
            _ => place.other,
        };
        let repeated = name.clone();
        self.push_at(at, host, to, name);
        for time in 0..self.count(3, "repeats", nth) {
            let nth = nth * 10 + time;
            let after = self.span(Duration::from_micros(100), ms(5000), "later", nth);
            let at = self.later(at, after, "later", nth);
            let name = repeated.clone();
            self.put(at, Act::Repeat { at: again, name });
        }
    }

    pub(super) fn kick(&mut self, place: FaultPlace) {
        let act = Act::Kick {
            at: place.host,
            to: self.aimed_at(place.nth),
            name: format!("k{}", place.nth),
        };
        self.put(place.at, act);
    }

    fn aimed_at(&self, nth: u64) -> To {
        let (client, _) = self.client("aimed at", nth);
        To::User(self.user_of(client).to_owned())
    }
}
