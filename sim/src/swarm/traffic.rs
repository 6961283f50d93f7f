//! Pushes, and the end of every schedule.

use std::time::Duration;

use switchboard_core::config::Config;

use super::heal::healing;
use super::{AT_REST, CONVERGED, FAULTS, HEAL, LEAVE, ScheduleMaker, USERS};
use crate::schedule::{Act, Host, HowClosed, Item, To};

impl ScheduleMaker {
    pub(super) fn pushes(&mut self) {
        let pushes = 10 + self.below(50, "pushes", 0);
        for push in 0..pushes {
            let at = self.near(FAULTS.0, HEAL, "push", push);
            let host = self.host("publisher", push);
            self.push(at, host, push);
        }
    }

    /// Applications ask who is where, also of an instance that comes or goes.
    pub(super) fn questions(&mut self) {
        for question in 0..self.below(20, "questions", 0) {
            let at = self.near(Duration::from_millis(1), HEAL, "question", question);
            let host = self.host("asked", question);
            let act = match self.below(3, "of what", question) {
                0 => Act::Instances { at: host },
                _ => Act::Where {
                    at: host,
                    user: self.one_of(&USERS, "of whom", question).to_owned(),
                },
            };
            self.put(at, act);
        }
    }

    /// Half of the pushes are to be answered sooner than usual.
    pub(super) fn deadlines(&mut self) {
        let mut items = std::mem::take(&mut self.items);
        for (nth, item) in (0..).zip(&mut items) {
            if let Act::Push { within, .. } = &mut item.act
                && within.is_none()
                && self.below(2, "within", nth) == 0
            {
                let soon = Duration::from_millis(1_500);
                *within = Some(self.span(soon, Config::DEADLINE_DEFAULT, "within", nth));
            }
        }
        self.items = items;
    }

    /// Pushes to users come while others are on their way to everyone.
    pub(super) fn pushes_meanwhile(&mut self) {
        let to_everyone = |item: &Item| match &item.act {
            Act::Push {
                at,
                to: To::Everyone,
                ..
            } => Some((item.at, *at)),
            _ => None,
        };
        let broadcasts: Vec<_> = self.items.iter().filter_map(to_everyone).collect();
        for (nth, (at, host)) in (0..).zip(broadcasts) {
            for time in 0..self.below(3, "meanwhile", nth) {
                let push = nth * 10 + time;
                let after = self.span(
                    Duration::from_micros(100),
                    Duration::from_millis(60),
                    "meanwhile",
                    push,
                );
                let user = self.user(self.one_of(&USERS, "meanwhile", push), "meanwhile", push);
                let to = To::User(user.to_owned());
                self.push_at(at + after, host, to, format!("mw{push}"));
            }
        }
    }

    fn push(&mut self, at: Duration, host: Host, nth: u64) {
        let user = match self.below(2, "latest", nth) {
            0 => self.latest_user(at),
            _ => None,
        };
        let user = user.unwrap_or(self.below(USERS.len() as u64, "to", nth) as usize);
        let to = match self.below(12, "audience", nth) {
            0 => To::Everyone,
            1 | 2 => To::Users(vec![
                USERS[user].to_owned(),
                USERS[(user + 1) % USERS.len()].to_owned(),
            ]),
            _ => To::User(USERS[user].to_owned()),
        };
        let name = format!("m{}", nth + 1);
        self.push_at(at, host, to, name);
    }

    /// The user whose terminal connected last before this moment: its row is the youngest.
    fn latest_user(&self, at: Duration) -> Option<usize> {
        let connects = self.items.iter().filter(|item| item.at <= at);
        let (_, latest) = connects
            .filter_map(|item| match &item.act {
                Act::Connect { user, .. } => Some((item.at, user)),
                _ => None,
            })
            .max()?;
        USERS.iter().position(|user| user == latest)
    }

    pub(super) fn end(&mut self) {
        self.items.extend(healing(self.instances, HEAL));
        for client in 0..self.clients.min(4) {
            let act = Act::Move {
                client: self.client_name(client),
                at: self.somewhere(50 + client * 100),
                how: HowClosed::Clean,
            };
            self.put(HEAL + Duration::from_secs(2), act);
        }
        self.put(CONVERGED, Act::ExpectConverged);
        for (index, user) in USERS.into_iter().enumerate() {
            for host in (0..self.instances).map(Host) {
                let at = CONVERGED + Duration::from_millis(100);
                let name = format!("last{}.{}", index + 1, host.0 + 1);
                let to = To::User(user.to_owned());
                self.push_at(at, host, to, name);
            }
        }
        self.put(LEAVE, Act::AllLeave);
        self.put(AT_REST, Act::ExpectAtRest);
    }
}
