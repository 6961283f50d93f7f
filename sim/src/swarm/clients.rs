//! Clients: those that come and go in every schedule, and what goes wrong with them.

use std::time::Duration;
use switchboard_core::message::PushedBy;

use super::faults::{FaultPlace, ms};
use super::{FAULTS, HEAL, ScheduleMaker, USERS};
use crate::schedule::{Act, Durability, FailedUpgrade, Host, HowClosed, Item, LateLogin, Sent, To};

/// Clients are known to log in behind their handshakes before the first of them connects.
const LATE_LOGINS: Duration = Duration::from_millis(400);

impl ScheduleMaker {
    /// In one of four schedules some clients say who they are behind their handshakes: soon, late, never, or
    /// without being believed.
    pub(super) fn late_logins(&mut self) {
        if self.below(4, "late logins", 0) > 0 {
            return;
        }
        for client in 0..self.clients {
            let span = self.span(
                Duration::from_millis(1),
                Duration::from_secs(12),
                "late login",
                client,
            );
            let login = match self.below(8, "late login", client) {
                0 | 1 => LateLogin::After(part(span, 100)),
                2 => LateLogin::After(span),
                3 => LateLogin::Wrongly(part(span, 10)),
                4 => LateLogin::Never,
                _ => continue,
            };
            let client = self.client_name(client);
            self.put(LATE_LOGINS, Act::LogIn { client, login });
        }
    }

    /// Each client connects, and some leave, come back and move; cleanly, all of it.
    pub(super) fn clients_come_and_go(&mut self) {
        for client in 0..self.clients {
            let at = self.moment(ms(1000), FAULTS.0, "connect", client);
            let host = self.somewhere(client * 100);
            self.connect(at, client, host, None);
            for time in 1..self.count(5, "times", client) {
                let nth = client * 100 + time;
                let at = self.moment(FAULTS.0, FAULTS.1, "goes", nth);
                let name = self.client_name(client);
                if self.below(2, "moves", nth) == 0 {
                    self.moves(at, client, HowClosed::Clean, nth);
                    continue;
                }
                let how = HowClosed::Clean;
                self.put(at, Act::Close { client: name, how });
                let away = self.span(ms(1), ms(20_000), "away", nth);
                let host = self.somewhere(nth);
                let at = self.later(at, away, "away", nth);
                self.connect(at, client, host, None);
            }
        }
    }

    pub(super) fn connect(
        &mut self,
        at: Duration,
        client: u64,
        host: Option<Host>,
        token: Option<Duration>,
    ) {
        let act = Act::Connect {
            client: self.client_name(client),
            at: host,
            user: self.user_of(client).to_owned(),
            token,
        };
        self.put(at, act);
    }

    fn moves(&mut self, at: Duration, client: u64, how: HowClosed, nth: u64) {
        let act = Act::Move {
            client: self.client_name(client),
            at: self.somewhere(nth),
            how,
        };
        self.put(at, act);
    }

    /// An instance, or the balancer's choice.
    pub(super) fn somewhere(&self, nth: u64) -> Option<Host> {
        let anywhere = self.below(2, "anywhere", nth) == 0;
        (!anywhere).then(|| self.host("at", nth))
    }

    /// A connection ends without a closing handshake, and perhaps without any sign; later its client
    /// is back, perhaps.
    pub(super) fn death(&mut self, place: FaultPlace) {
        let FaultPlace { nth, at, until, .. } = place;
        let (client, name) = self.client("dies", nth);
        let how = self.one_of(&[HowClosed::Sudden, HowClosed::Silent], "dies how", nth);
        self.put(at, Act::Close { client: name, how });
        if self.below(2, "is back", nth) == 0 {
            let host = self.somewhere(nth);
            self.connect(until, client, host, None);
        }
    }

    /// A client connects while its former connection is half open.
    pub(super) fn half_open_client(&mut self, place: FaultPlace) {
        let (client, _) = self.client("half open", place.nth);
        let host = self.somewhere(place.nth);
        self.connect(place.at, client, host, None);
    }

    pub(super) fn slow_reader(&mut self, place: FaultPlace) {
        let (_, client) = self.client("slow", place.nth);
        let reads = client.clone();
        let act = match self.below(2, "how slow", place.nth) {
            0 => Act::StopReading { client },
            _ => Act::ReadSlowly {
                client,
                every: self.span(ms(1), ms(2000), "every", place.nth),
            },
        };
        self.put(place.at, act);
        self.put(place.until, Act::Read { client: reads });
    }

    /// A terminal does not read, or slowly, and more comes for it than its queue holds where limits
    /// are tight.
    pub(super) fn flood(&mut self, place: FaultPlace) {
        let FaultPlace { nth, at, until, .. } = place;
        let (number, client) = self.client("flooded", nth);
        let to = To::User(self.user_of(number).to_owned());
        let flooded = client.clone();
        let act = match self.below(2, "how flooded", nth) {
            0 => Act::StopReading { client: flooded },
            _ => Act::ReadSlowly {
                client: flooded,
                every: self.span(ms(500), ms(3000), "flooded every", nth),
            },
        };
        self.put(at, act);
        let mut at = at;
        for push in 0..5 + self.count(10, "flood", nth) {
            let nth = nth * 100 + push;
            let next = self.span(ms(1), ms(1000), "in flood", nth);
            at = self.later(at, next, "in flood", nth);
            let act = Act::Push {
                at: self.host("floods", nth),
                to: to.clone(),
                name: format!("f{nth}"),
                durable: Durability::Plain,
                by: PushedBy::Application,
                within: None,
            };
            self.put(at, act);
        }
        self.put(until.max(at), Act::Read { client });
    }

    pub(super) fn storm(&mut self, place: FaultPlace) {
        let everywhere = self.below(2, "everywhere", place.nth) == 0;
        let at = (!everywhere).then_some(place.host);
        self.put(place.at, Act::Storm { at });
    }

    /// A user has many terminals.
    pub(super) fn crowd(&mut self, place: FaultPlace) {
        let FaultPlace { nth, at, .. } = place;
        let own = self.one_of(&USERS, "crowd", nth);
        let user = self.user(own, "crowd", nth).to_owned();
        let together = self.span(ms(1), ms(3000), "crowd within", nth);
        for terminal in 0..self.count(40, "crowd of", nth) {
            let after = self.moment(Duration::ZERO, together, "crowd", terminal);
            let act = Act::Connect {
                client: format!("x{}", terminal + 1),
                at: self.somewhere(10_000 + terminal),
                user: user.clone(),
                token: None,
            };
            let at = self.later(at, after, "crowd", terminal);
            self.put(at, act);
        }
    }

    /// A client connects with a token that expires soon.
    pub(super) fn token(&mut self, place: FaultPlace) {
        let (client, _) = self.client("token", place.nth);
        let host = self.somewhere(place.nth);
        let lasts = self.span(ms(1), ms(20_000), "token", place.nth);
        self.connect(place.at, client, host, Some(lasts));
        for time in 0..self.below(3, "prolongs", place.nth) {
            let nth = place.nth * 10 + time;
            let after = self.span(ms(1), lasts.max(ms(2)), "prolongs", nth);
            let token = self.span(ms(1), ms(20_000), "prolonged", nth);
            let client = self.client_name(client);
            self.put(place.at + after, Act::Prolong { client, token });
        }
    }

    /// In one of four schedules those who have just come show a new token, also while they wait for their rows.
    pub(super) fn early_prolongations(&mut self) {
        if self.below(4, "early prolongations", 0) > 0 {
            return;
        }
        let connects = |item: &Item| match &item.act {
            Act::Connect { client, .. } => Some((item.at, client.clone())),
            _ => None,
        };
        let connects: Vec<_> = self.items.iter().filter_map(connects).collect();
        for (nth, (at, client)) in (0..).zip(connects) {
            if self.below(2, "prolongs early", nth) == 0 {
                let after = self.span(ms(1), ms(5_000), "prolongs early", nth);
                let token = self.span(ms(5_000), ms(120_000), "prolonged early", nth);
                self.put(at + after, Act::Prolong { client, token });
            }
        }
    }

    /// In one of four schedules connections end before they are open, or never are.
    pub(super) fn failed_upgrades(&mut self) {
        if self.below(4, "failed upgrades", 0) > 0 {
            return;
        }
        for nth in 0..self.count(6, "failed upgrades", 0) {
            let user = self.one_of(&USERS, "fails", nth).to_owned();
            let act = Act::FailUpgrade {
                client: format!("f{}", nth + 1),
                at: self.somewhere(nth * 7),
                user,
                how: match self.below(3, "hangs", nth) {
                    0 => FailedUpgrade::Hangs,
                    _ => FailedUpgrade::Ends,
                },
            };
            let at = self.near(FAULTS.0, HEAL, "fails", nth);
            self.put(at, act);
        }
    }

    pub(super) fn misbehave(&mut self, place: FaultPlace) {
        let (_, client) = self.client("sends", place.nth);
        let messages = self.count(100, "messages", place.nth) as u32;
        let what = [
            Sent::Messages(messages),
            Sent::Malformed,
            Sent::Oversized,
            Sent::NotUtf8,
        ];
        let what = self.one_of(&what, "what", place.nth);
        self.put(place.at, Act::Send { client, what });
    }
}

/// A part of a span, in the microseconds in which schedules are written.
fn part(span: Duration, of: u64) -> Duration {
    Duration::from_micros(span.as_micros() as u64 / of)
}
