//! What happens between instances.

use std::time::Duration;

use switchboard_core::forged::Forgery;

use super::faults::{FaultPlace, ms};
use super::topics::TOPICS;
use super::{FAULTS, HEAL, ScheduleMaker};
use crate::schedule::{Act, Host, PeerLie, StrangerWords, To, TopicAct};
use crate::settings::LINK_LATENCY;

impl ScheduleMaker {
    pub(super) fn cut(&mut self, place: FaultPlace) {
        let (from, to, both) = self.linked(place);
        self.put(place.at, Act::Cut { from, to, both });
        self.mend(place);
    }

    pub(super) fn clog(&mut self, place: FaultPlace) {
        let (from, to, both) = self.linked(place);
        self.put(place.at, Act::Clog { from, to, both });
        self.mend(place);
    }

    /// Half of the cuts and clogs last until everything heals.
    fn mend(&mut self, place: FaultPlace) {
        if self.below(2, "mended", place.nth) == 0 {
            let (from, to, both) = self.direction(place);
            self.put(place.until, Act::Mend { from, to, both });
        }
    }

    pub(super) fn half_open(&mut self, place: FaultPlace) {
        let (from, to, both) = self.linked(place);
        self.put(place.at, Act::HalfOpen { from, to, both });
    }

    pub(super) fn refuse_dials(&mut self, place: FaultPlace) {
        let (from, to) = (place.host, place.other);
        let span = place.until - place.at;
        self.put(place.at, Act::RefuseDials { from, to, span });
        self.push_after(place);
        if self.below(4, "and reset", place.nth) > 0 {
            let (one, other) = (place.host, place.other);
            self.put(place.at, Act::Reset { one, other });
        }
    }

    pub(super) fn reset(&mut self, place: FaultPlace) {
        let (one, other, _) = self.linked(place);
        self.put(place.at, Act::Reset { one, other });
    }

    pub(super) fn link_latency(&mut self, place: FaultPlace) {
        let latency = self.span(ms(1), ms(1000), "latency", place.nth);
        self.put(place.at, Act::LinkLatency(latency));
        self.put(place.until, Act::LinkLatency(LINK_LATENCY));
    }

    /// Somebody opens links who does not know the secret.
    pub(super) fn strangers(&mut self) {
        for nth in 0..self.count(8, "strangers", 0) {
            let at = self.moment(FAULTS.0, HEAL, "stranger", nth);
            let host = self.host("stranger", nth);
            let of = self.other_host(host, "listened to", nth);
            let words = [
                StrangerWords::Nonsense,
                StrangerWords::Misdirected(of),
                StrangerWords::Replayed(of),
                StrangerWords::Unproven(of),
                StrangerWords::Posing(of),
            ];
            let says = self.one_of(&words, "stranger", nth);
            if let StrangerWords::Posing(_) = says {
                self.dialled_anew(host, of, at, nth);
            }
            self.put(at, Act::Stranger { at: host, says });
        }
    }

    /// There is a link from one instance to another, which breaks at a moment; and soon there is something to say again.
    fn dialled_anew(&mut self, from: Host, to: Host, at: Duration, nth: u64) {
        self.push_between(from, to, at, nth);
        let (one, other) = (from, to);
        self.put(at, Act::Reset { one, other });
        let after = self.span(Duration::from_micros(10), ms(500), "dialled anew", nth);
        let at = self.later(at, after, "dialled anew", nth);
        let audience = self.someone_at(to, at, nth);
        self.push_linking(at, from, audience, &format!("z{nth}"));
    }

    /// Instances misbehave towards others, with pushes between the two of them. `topics`: and somebody asks who is a
    /// member of one.
    pub(super) fn lies(&mut self, topics: bool) {
        for nth in 0..self.count(6, "lies", 0) {
            let from = self.host("lies", nth);
            let to = self.other_host(from, "lied to", nth);
            let at = self.moment(FAULTS.0, FAULTS.1, "lies", nth);
            let span = self.span(ms(100), ms(20_000), "lies", nth);
            let lie = match self.one_of(&PeerLie::ALL, "lies", nth) {
                // It takes a tenth of a second to write each of them into the trace.
                PeerLie::Says(Forgery::Oversized) => PeerLie::Says(Forgery::TooMany),
                lie => lie,
            };
            self.put(
                at,
                Act::Lie {
                    from,
                    to,
                    lie,
                    span,
                },
            );
            for wish in 0..self.below(3, "watches among lies", nth) * u64::from(topics) {
                let nth = nth * 10 + wish;
                let after = self.span(ms(1), span, "watches among lies", nth);
                let topic = self.one_of(&TOPICS, "watches among lies", nth).to_owned();
                let (_, client) = self.client("watches among lies", nth);
                let does = TopicAct::Watch(topic);
                self.put(at + after, Act::OfTopic { client, does });
            }
            for push in 0..self.count(6, "among lies", nth) {
                let nth = nth * 10 + push;
                let (publisher, holder) = match self.below(2, "lied to or of", nth) {
                    0 => (from, to),
                    _ => (to, from),
                };
                let after = self.span(ms(1), span, "among lies", nth);
                let audience = self.someone_at(holder, at, nth);
                let name = format!("y{nth}");
                self.push_linking(at + after, publisher, audience, &name);
            }
        }
    }

    /// A direction, with a push that opens a link in it shortly before, mostly, and another one that
    /// meets the fault.
    fn linked(&mut self, place: FaultPlace) -> (Host, Host, bool) {
        let (from, to, both) = self.direction(place);
        if self.below(8, "linked", place.nth) > 0 {
            self.push_between(from, to, place.at, place.nth);
            self.push_after(place);
        }
        (from, to, both)
    }

    /// A push from one instance to another, after a fault between them began.
    fn push_after(&mut self, place: FaultPlace) {
        let FaultPlace {
            nth,
            at,
            host,
            other,
            ..
        } = place;
        let after = self.span(Duration::from_micros(10), ms(2000), "pushed after", nth);
        let at = self.later(at, after, "pushed after", nth);
        let to = self.someone_at(other, at, nth + 1);
        self.push_linking(at, host, to, &format!("a{nth}"));
    }

    /// A push from one instance to another, shortly before a moment: it opens a link between them.
    pub(super) fn push_between(&mut self, from: Host, to: Host, before: Duration, nth: u64) {
        let ahead = self.span(ms(5), ms(500), "pushed before", nth);
        let at = before.saturating_sub(ahead).max(FAULTS.0);
        let audience = self.someone_at(to, at, nth);
        self.push_linking(at, from, audience, &format!("l{nth}"));
    }

    pub(super) fn push_linking(&mut self, at: Duration, from: Host, to: To, name: &str) {
        let name = name.to_owned();
        self.push_at(at, from, to, name);
    }

    /// A user who has a terminal at an instance, or everyone.
    fn someone_at(&self, host: Host, at: Duration, nth: u64) -> To {
        let users = self.users_at(host, at);
        if users.is_empty() || self.below(4, "to everyone", nth) > 0 {
            return To::Everyone;
        }
        To::User(self.one_of(&users, "someone", nth).to_owned())
    }

    fn direction(&self, place: FaultPlace) -> (Host, Host, bool) {
        let both = self.below(2, "both", place.nth) == 0;
        (place.host, place.other, both)
    }
}
