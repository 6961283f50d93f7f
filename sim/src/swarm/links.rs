//! What happens between instances.

use super::Maker;
use super::faults::{Place, ms};
use crate::schedule::{Act, Host};

impl Maker {
    pub(super) fn cut(&mut self, place: Place) {
        let (from, to, both) = self.direction(place);
        self.put(place.at, Act::Cut { from, to, both });
        self.mend(place);
    }

    pub(super) fn clog(&mut self, place: Place) {
        let (from, to, both) = self.direction(place);
        self.put(place.at, Act::Clog { from, to, both });
        self.mend(place);
    }

    /// Half of the cuts and clogs last until everything heals.
    fn mend(&mut self, place: Place) {
        if self.below(2, "mended", place.nth) == 0 {
            let (from, to, both) = self.direction(place);
            self.put(place.until, Act::Mend { from, to, both });
        }
    }

    pub(super) fn half_open(&mut self, place: Place) {
        let (from, to, both) = self.direction(place);
        self.put(place.at, Act::HalfOpen { from, to, both });
    }

    pub(super) fn refuse_dials(&mut self, place: Place) {
        let (from, to) = (place.host, place.other);
        let span = place.until - place.at;
        self.put(place.at, Act::RefuseDials { from, to, span });
        if self.below(2, "and reset", place.nth) == 0 {
            self.reset(place);
        }
    }

    pub(super) fn reset(&mut self, place: Place) {
        let (one, other) = (place.host, place.other);
        self.put(place.at, Act::Reset { one, other });
    }

    pub(super) fn link_latency(&mut self, place: Place) {
        let latency = self.span(ms(1), ms(1000), "latency", place.nth);
        self.put(place.at, Act::LinkLatency(latency));
        self.put(place.until, Act::LinkLatency(ms(1)));
    }

    fn direction(&self, place: Place) -> (Host, Host, bool) {
        let both = self.below(2, "both", place.nth) == 0;
        (place.host, place.other, both)
    }
}
