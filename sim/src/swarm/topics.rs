//! Topics: in some schedules clients join and leave them, on top of all else.

use std::time::Duration;
use switchboard_core::message::PushedBy;

use super::faults::ms;
use super::lone::{QUIET, SHOWN};
use super::{CONVERGED, FAULTS, Focus, HEAL, ScheduleMaker};
use crate::schedule::{
    Act, Durability, Enrolment, ErrorReply, Host, HowClosed, Item, Moment, OperationKind, RedisAct,
    To, TopicAct, TripFault,
};

/// Tokens say this of topics before the first client connects.
const BEGIN: Duration = Duration::from_millis(400);
/// In one schedule of so many clients join topics.
const ONE_IN: u64 = 3;
/// Few, so that many members come and go with each; and so few members that the first and the last do.
pub(super) const TOPICS: [&str; 3] = ["news", "sport", "room-1"];
/// What tokens say of topics.
const CLAIMS: [&[&str]; 6] = [
    &["*"],
    &["*"],
    &["news", "*"],
    &["news", "room-*"],
    &["sport"],
    &["room-*"],
];
/// Rows are written and removed within milliseconds, and sometimes at once.
const SHORTLY: Duration = Duration::from_micros(10);
/// Pushes to topics of a world in which one thing goes wrong.
const LONE_PUSHES: u64 = 24;

impl ScheduleMaker {
    /// Whether any client joins a topic.
    pub(super) fn has_topics(&self, focus: Focus) -> bool {
        match focus {
            Focus::Anything | Focus::Logs => self.below(ONE_IN, "topics", 0) == 0,
            Focus::Topics => true,
        }
    }

    /// Clients join and leave topics, some of them again and again; applications have users do so; and there are
    /// pushes to topics, many of them just when somebody joins or leaves.
    pub(super) fn topics(&mut self) {
        self.claims();
        for nth in 0..self.count(40, "joins", 0) {
            let at = self.near(ms(1_500), HEAL, "joins", nth);
            self.joins_or_leaves(at, nth);
        }
        for nth in 0..self.count(6, "borders", 0) {
            let at = self.near(FAULTS.0, FAULTS.1, "border", nth);
            self.border(at, nth);
        }
        for nth in 0..self.below(5, "enrols", 0) {
            let at = self.near(FAULTS.0, FAULTS.1, "enrols", nth);
            self.enrols(at, nth);
        }
        for nth in 0..5 + self.count(40, "topic pushes", 0) {
            let at = self.near(FAULTS.0, HEAL, "topic push", nth);
            self.push_to_topics(at, nth);
        }
        for nth in 0..self.below(6, "when joined", 0) {
            self.push_when_joined(nth);
        }
        self.wishes_at_kicks();
        for nth in 0..self.below(3, "away", 0) {
            self.comes_back(nth);
        }
        for (index, topic) in TOPICS.into_iter().enumerate() {
            for host in (0..self.instances).map(Host) {
                let at = CONVERGED + ms(200);
                let name = format!("lastt{}.{}", index + 1, host.0 + 1);
                self.push_at(at, host, topics(&[topic]), name);
            }
        }
    }

    /// Clients follow the logs of topics and confirm what they hold of them; some begin anew, or leave and come again.
    pub(super) fn topic_followers(&mut self) {
        for client in 0..self.clients {
            for (nth, topic) in (client * 10..).zip(TOPICS) {
                if self.below(3, "follows topic", nth) == 0 {
                    continue;
                }
                let topic = topic.to_owned();
                let history = self.one_of(&[0, 0, 2, 5], "topic history", nth);
                let begin = self.near(BEGIN, FAULTS.0, "follows topic", nth);
                let does = TopicAct::Follow { topic, history };
                self.of_topic(begin, self.client_name(client), does);
            }
        }
        for nth in 0..self.count(20, "follows again", 0) {
            let (_, client) = self.client("follows again", nth);
            let topic = self.one_of(&TOPICS, "follows again", nth).to_owned();
            let history = self.one_of(&[0, 0, 2, 5], "history again", nth);
            let at = self.near(FAULTS.0, HEAL, "follows again", nth);
            self.of_topic(at, client, TopicAct::Follow { topic, history });
        }
        for time in 0..self.below(40, "confirms topic", 0) {
            let (_, client) = self.client("confirms topic", time);
            let topic = self.one_of(&TOPICS, "confirms topic", time).to_owned();
            let nth = self.one_of(&[1, 1, 1, 2, 5], "confirms nth", time);
            let at = self.near(FAULTS.0, HEAL, "confirms topic", time);
            self.of_topic(at, client, TopicAct::Confirm { topic, nth });
        }
        self.confirmations_at_borders();
    }

    /// Some confirm what they have of a topic while its row is written for them, or removed behind them.
    fn confirmations_at_borders(&mut self) {
        let crosses = |item: &Item| match &item.act {
            Act::OfTopic {
                client,
                does: TopicAct::Join(topic) | TopicAct::Leave(topic),
            } => Some((item.at, client.clone(), topic.clone())),
            _ => None,
        };
        let borders: Vec<_> = self.items.iter().filter_map(crosses).collect();
        for (number, (at, client, topic)) in (0..).zip(borders) {
            if self.below(3, "confirms at border", number) == 0 {
                let after = self.span(SHORTLY, ms(5), "confirms at border", number);
                self.of_topic(at + after, client, TopicAct::Confirm { topic, nth: 1 });
            }
        }
    }

    /// Those who are kicked want something of topics until they hear of it.
    fn wishes_at_kicks(&mut self) {
        let kicked = |item: &Item| match &item.act {
            Act::Kick {
                to: To::User(user), ..
            } => Some((item.at, user.clone())),
            _ => None,
        };
        let kicks: Vec<_> = self.items.iter().filter_map(kicked).collect();
        for (number, (at, user)) in (0..).zip(kicks) {
            for client in 0..self.clients {
                if self.user_of(client) != user {
                    continue;
                }
                let nth = number * 100 + client;
                let topic = self.one_of(&TOPICS, "wishes at kick", nth).to_owned();
                let after = self.span(SHORTLY * 10, ms(30), "wishes at kick", nth);
                let does = match self.below(2, "wishes what", nth) {
                    0 => TopicAct::Join(topic),
                    _ => TopicAct::Leave(topic),
                };
                self.of_topic(at + after, self.client_name(client), does);
            }
        }
    }

    /// Round trips fail that have to do with topics, and what instances say of one is thrown away.
    pub(super) fn faults_of_topics(&mut self) {
        if self.below(4, "topic evicted", 0) == 0 {
            let topic = self.one_of(&TOPICS, "topic evicted", 0).to_owned();
            let at = self.near(FAULTS.0, FAULTS.1, "topic evicted", 0);
            self.put(at, Act::Redis(RedisAct::EvictTopic(topic)));
        }
        for nth in 0..self.below(3, "ungreeted", 0) {
            self.enrols_before_greeting(nth);
        }
        for nth in 0..self.below(4, "topic trips", 0) {
            let at = self.near(FAULTS.0, FAULTS.1, "topic trip", nth);
            self.trip_of_topics(at, nth);
        }
    }

    /// Topics in a world in which one thing goes wrong: some are members when it does, and some join when it has.
    pub(super) fn lone_topics(&mut self) {
        self.claims();
        let begin = self.lease * QUIET;
        let end = begin + self.lease * SHOWN;
        for client in 0..self.clients {
            let at = match self.below(3, "lone joins", client) {
                0 => begin + self.span(Duration::from_micros(10), self.lease, "lone joins", client),
                _ => self.moment(ms(2_000), begin, "lone joins", client),
            };
            self.joins_or_leaves(at, client);
        }
        if self.below(2, "lone border", 0) == 0 {
            let after = self.span(Duration::from_micros(10), self.lease, "lone border", 0);
            self.border(begin + after, 0);
        }
        for nth in 0..LONE_PUSHES {
            let at = self.moment(begin, end, "lone topic push", nth);
            self.push_to_topics(at, nth);
        }
    }

    fn claims(&mut self) {
        for client in 0..self.clients {
            if self.below(5, "claims", client) == 0 {
                continue;
            }
            let claim = self.one_of(&CLAIMS, "claims", client);
            let claim = claim.iter().map(|&topic| topic.to_owned()).collect();
            self.of_topic(BEGIN, self.client_name(client), TopicAct::Claim(claim));
        }
    }

    fn joins_or_leaves(&mut self, at: Duration, nth: u64) {
        let (_, client) = self.client("who joins", nth);
        let topic = self.one_of(&TOPICS, "joins what", nth).to_owned();
        let does = match self.below(3, "leaves", nth) {
            0 => TopicAct::Leave(topic),
            _ if self.below(3, "watches", nth) == 0 => TopicAct::Watch(topic),
            _ => TopicAct::Join(topic),
        };
        self.of_topic(at, client, does);
    }

    /// Somebody, perhaps the only member there, leaves and joins in quick succession, while others push.
    fn border(&mut self, at: Duration, nth: u64) {
        let (_, client) = self.client("at border", nth);
        let topic = self.one_of(&TOPICS, "border of", nth);
        let mut at = at;
        for time in 0..2 + self.count(10, "crosses", nth) {
            let crossing = nth * 100 + time;
            let does = match time % 2 {
                0 => TopicAct::Join(topic.to_owned()),
                _ => TopicAct::Leave(topic.to_owned()),
            };
            self.of_topic(at, client.clone(), does);
            if self.below(2, "pushed at border", crossing) == 0 {
                let after = self.span(
                    Duration::from_micros(10),
                    ms(20),
                    "pushed at border",
                    crossing,
                );
                let host = self.host("pushes at border", crossing);
                self.push_at(at + after, host, topics(&[topic]), format!("tb{crossing}"));
            }
            at += self.span(
                Duration::from_micros(10),
                ms(300),
                "crosses after",
                crossing,
            );
        }
    }

    /// Somebody leaves a topic that another one watches, is back before he is taken for away, and leaves again; and then he
    /// who watches leaves.
    fn comes_back(&mut self, nth: u64) {
        let topic = self.one_of(&TOPICS, "away from", nth).to_owned();
        let (watcher, watches) = self.client("watches who is away", nth);
        let (_, goes) = self.client("is away", nth);
        let at = self.near(FAULTS.0, FAULTS.1, "away", nth);
        self.of_topic(at, watches.clone(), TopicAct::Watch(topic.clone()));
        self.of_topic(at, goes.clone(), TopicAct::Join(topic.clone()));
        let mut at = at;
        for time in 0..2 {
            at += self.span(ms(1_500), ms(8_000), "is there", nth * 10 + time);
            self.of_topic(at, goes.clone(), TopicAct::Leave(topic.clone()));
            at += self.span(ms(1_100), ms(3_500), "is away", nth * 10 + time);
            self.of_topic(at, goes.clone(), TopicAct::Join(topic.clone()));
        }
        // Others of the topic stay, perhaps.
        if self.below(2, "watches no more", nth) == 0 {
            let leaves = TopicAct::Leave(topic);
            self.of_topic(at + ms(500), self.client_name(watcher), leaves);
        }
    }

    /// An application enrols a user whose terminal has a row and was not greeted, because its instance does not learn of the
    /// row; and that one goes before it is.
    fn enrols_before_greeting(&mut self, nth: u64) {
        let (number, client) = self.client("ungreeted", nth);
        let at = self.near(FAULTS.0, FAULTS.1, "ungreeted", nth);
        let host = self.host("ungreeted", nth);
        let act = Act::NextTrip {
            host,
            operation: OperationKind::Register,
            fault: TripFault::ReplyLate,
        };
        self.put(at, act);
        let how = HowClosed::Sudden;
        let close = Act::Close {
            client: client.clone(),
            how,
        };
        self.put(at + Duration::from_micros(100), close);
        self.connect(at + ms(1), number, Some(host), None);
        let enrol = Act::Enrol {
            at: self.host("enrols ungreeted", nth),
            user: self.user_of(number).to_owned(),
            topic: self.one_of(&TOPICS, "ungreeted", nth).to_owned(),
            name: format!("eu{nth}"),
            how: Enrolment::Join,
            durable: false,
        };
        self.put(at + ms(30), enrol);
        let goes = self.span(ms(20), ms(1_500), "ungreeted", nth);
        self.put(at + ms(30) + goes, Act::Close { client, how });
    }

    /// An application enrols a user in more topics than a terminal may be in, where limits are tight.
    pub(super) fn enrols_in_all(&mut self) {
        let (client, _) = self.client("enrolled in all", 0);
        let user = self.user_of(client).to_owned();
        let mut at = self.near(FAULTS.0, FAULTS.1, "enrols in all", 0);
        for (nth, topic) in (0..).zip(TOPICS) {
            let act = Act::Enrol {
                at: self.host("enrols in all", nth),
                user: user.clone(),
                topic: topic.to_owned(),
                name: format!("ea{nth}"),
                how: Enrolment::Join,
                durable: true,
            };
            self.put(at, act);
            at += self.span(ms(1), ms(500), "enrols in all", nth);
        }
    }

    fn enrols(&mut self, at: Duration, nth: u64) {
        let (client, _) = self.client("enrolled", nth);
        let act = Act::Enrol {
            at: self.host("enrols", nth),
            user: self.user_of(client).to_owned(),
            topic: self.one_of(&TOPICS, "enrols for", nth).to_owned(),
            name: format!("e{nth}"),
            how: self.one_of(
                &[Enrolment::Join, Enrolment::Join, Enrolment::Leave],
                "how",
                nth,
            ),
            durable: self.below(3, "enrols for good", nth) == 0,
        };
        self.put(at, act);
    }

    /// A round trip fails that has to do with topics.
    fn trip_of_topics(&mut self, at: Duration, nth: u64) {
        let kinds = [
            OperationKind::EnterTopic,
            OperationKind::LeaveTopic,
            OperationKind::LookupTopic,
            OperationKind::KeepTopic,
        ];
        let error = self.one_of(&ErrorReply::ALL, "topic error", nth);
        let faults = [
            TripFault::RequestLost,
            TripFault::ReplyLost,
            TripFault::Late,
            TripFault::ReplyLate,
            TripFault::Torn,
            TripFault::Stray,
            TripFault::Refused(error),
        ];
        let act = Act::NextTrip {
            host: self.host("topic trip", nth),
            operation: self.one_of(&kinds, "topic operation", nth),
            fault: self.one_of(&faults, "topic trip", nth),
        };
        self.put(at, act);
    }

    fn push_to_topics(&mut self, at: Duration, nth: u64) {
        let host = self.host("topic publisher", nth);
        let to = self.to_topics(nth);
        self.push_at(at, host, to, format!("tm{}", nth + 1));
        if self.below(8, "topic repeat", nth) == 0 {
            let after = self.span(Duration::from_micros(100), ms(5_000), "topic repeat", nth);
            let at_host = self.host("repeats topic", nth);
            let name = format!("tm{}", nth + 1);
            self.put(at + after, Act::Repeat { at: at_host, name });
        }
    }

    fn to_topics(&self, nth: u64) -> To {
        let first = self.below(TOPICS.len() as u64, "to topic", nth) as usize;
        let mut of = vec![TOPICS[first].to_owned()];
        if self.below(4, "to two", nth) == 0 {
            of.push(TOPICS[(first + 1) % TOPICS.len()].to_owned());
        }
        let except = (self.below(5, "except", nth) == 0).then(|| self.client("except", nth).1);
        To::Topics { topics: of, except }
    }

    /// A push comes just when somebody was told that he has joined.
    fn push_when_joined(&mut self, nth: u64) {
        let (_, client) = self.client("when joined", nth);
        let push = Act::Push {
            at: self.host("when joined", nth),
            to: self.to_topics(1_000 + nth),
            name: format!("tj{nth}"),
            durable: Durability::Plain,
            by: PushedBy::Application,
            within: None,
        };
        let after = match self.below(2, "joined at once", nth) {
            0 => Duration::ZERO,
            _ => self.span(Duration::from_micros(1), ms(5), "when joined", nth),
        };
        let act = Act::On {
            moment: Moment::Joined,
            of: client,
            after,
            act: Box::new(push),
        };
        let at = self.near(ms(1_500), FAULTS.1, "when joined", nth);
        self.put(at, act);
    }

    fn of_topic(&mut self, at: Duration, client: String, does: TopicAct) {
        self.put(at, Act::OfTopic { client, does });
    }
}

fn topics(names: &[&str]) -> To {
    To::Topics {
        topics: names.iter().map(|&topic| topic.to_owned()).collect(),
        except: None,
    }
}
