//! What terminals may do in topics, by the beginnings of their names: one rule, whatever they speak.

use std::str::FromStr;
use std::time::Duration;

use switchboard_core::config::duration;
use switchboard_core::directory::log::Retention;
use switchboard_core::id::TopicId;
use switchboard_core::topic::{TopicJoin, TopicWish};

/// The rules of topics: those of the longest beginning that a name has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(Vec<Namespace>);

/// The topics whose names begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Namespace {
    prefix: String,
    allows: Vec<(TopicAct, Whom)>,
    keeps: Keeps,
}

/// What a log keeps from a publication on, where it is not what all keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Keeps {
    age: Option<Duration>,
    records: Option<u32>,
}

/// What terminals may do in a topic beside what their tokens allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicAct {
    /// Clients of Centrifuge may subscribe.
    Subscribe,
    /// Clients of Centrifuge may publish.
    Publish,
    /// They may see who its members are.
    Presence,
    /// Clients of Centrifuge follow its log, may read it, and what they publish is a record of it.
    History,
    /// Clients of Centrifuge are told who comes and who leaves.
    JoinLeave,
}

/// Who may do something in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whom {
    /// Its members.
    Members,
    /// Each client of Centrifuge that is connected, and its members.
    Anybody,
}

/// What no namespace can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Namespaces::RULE)]
pub struct InvalidNamespace;

impl Namespaces {
    /// What each entry must be.
    pub const RULE: &str = "must list beginnings of topics with what clients may do there, as `chat:=publish+presence`: \
         of `subscribe`, `publish`, `publish_any`, `presence`, `presence_any`, `history`, `history_any` and `join_leave`; a \
         history may say how long logs keep their records, how many, or both, as `history:5m:50`; an empty beginning stands for all \
         topics, and none comes twice";

    /// What a history may have logs keep.
    pub const HISTORY_RULE: &str = "must have a history keep at least 1 record and 1 s, and at most `log_records_max` and `log_age_max`";

    /// Reads the setting. An entry is `PREFIX=ACT+ACT`.
    ///
    /// # Errors
    ///
    /// If one is something else, or a beginning comes twice.
    pub fn new(entries: &[String]) -> Result<Self, InvalidNamespace> {
        let namespaces = entries.iter().map(|entry| entry.parse());
        let mut namespaces = namespaces.collect::<Result<Vec<Namespace>, _>>()?;
        // The longest comes first that a name has; those that are equal stand side by side.
        namespaces.sort_by(|one, other| {
            let key = |it: &Namespace| (std::cmp::Reverse(it.prefix.len()), it.prefix.clone());
            key(one).cmp(&key(other))
        });
        let repeats = namespaces
            .array_windows()
            .any(|[one, other]| one.prefix == other.prefix);
        match repeats {
            true => Err(InvalidNamespace),
            false => Ok(Self(namespaces)),
        }
    }

    /// Whether clients of Centrifuge follow the log of a topic, and recover from it what they have missed.
    pub(crate) fn is_recovered(&self, topic: &TopicId) -> bool {
        self.allowed(topic, TopicAct::History).is_some()
    }

    /// What the log of a topic is to keep from a publication on, if that is not what all keep.
    pub(crate) fn retention(&self, topic: &TopicId, usual: Retention) -> Option<Retention> {
        self.of(topic)?.keeps.instead_of(usual)
    }

    /// What logs are to keep, where that is not what all keep.
    pub fn retentions(&self, usual: Retention) -> impl Iterator<Item = Retention> {
        let all = self.0.iter();
        all.filter_map(move |namespace| namespace.keeps.instead_of(usual))
    }

    /// What becomes of a wish that a terminal has said itself: to see who the members are is not allowed everywhere.
    pub fn judge(&self, wish: TopicWish) -> TopicWish {
        let sees = match &wish {
            TopicWish::Watch(topic) => Some(topic),
            TopicWish::Follow(follow) => match follow.join {
                TopicJoin::Watching => Some(&follow.topic),
                TopicJoin::ByRight | TopicJoin::Allowed | TopicJoin::AsMember => None,
            },
            // Whoever wishes that for a terminal has asked before.
            TopicWish::WatchAsMember(_)
            | TopicWish::Join(_)
            | TopicWish::JoinAllowed(_)
            | TopicWish::Forbidden(_)
            | TopicWish::Leave(_)
            | TopicWish::Lapse(_)
            | TopicWish::Ack(..) => None,
        };
        match sees {
            Some(topic) if self.allowed(topic, TopicAct::Presence).is_none() => {
                TopicWish::Forbidden(topic.clone())
            }
            Some(_) | None => wish,
        }
    }

    /// Who may do that in this topic, if anybody may.
    pub(crate) fn allowed(&self, topic: &TopicId, act: TopicAct) -> Option<Whom> {
        let allows = self.of(topic)?.allows.iter();
        let allows = allows.filter(|(of, _)| *of == act);
        allows.map(|(_, whom)| *whom).max()
    }

    fn of(&self, topic: &TopicId) -> Option<&Namespace> {
        let mut all = self.0.iter();
        all.find(|it| topic.as_str().starts_with(&it.prefix))
    }
}

impl Keeps {
    fn instead_of(self, usual: Retention) -> Option<Retention> {
        (self != Self::default()).then(|| Retention {
            age: self.age.unwrap_or(usual.age),
            records: self.records.unwrap_or(usual.records),
            ..usual
        })
    }
}

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    fn from_str(text: &str) -> Result<Self, InvalidNamespace> {
        // A name may have the sign, an act has none.
        let (prefix, acts) = text.rsplit_once('=').ok_or(InvalidNamespace)?;
        let acts = acts.split('+').filter(|act| !act.is_empty());
        let acts = acts.map(|act| {
            act.split_once(':')
                .map_or((act, None), |(act, kept)| (act, Some(kept)))
        });
        let mut namespace = Self {
            prefix: prefix.to_owned(),
            allows: Vec::new(),
            keeps: Keeps::default(),
        };
        for (act, kept) in acts {
            let allowed = act_of(act).ok_or(InvalidNamespace)?;
            namespace.allows.push(allowed);
            let Some(kept) = kept else {
                continue;
            };
            // Two that say something else would contradict each other.
            let is_first = namespace.keeps == Keeps::default();
            if allowed.0 != TopicAct::History || !is_first {
                return Err(InvalidNamespace);
            }
            namespace.keeps = kept.parse()?;
        }
        Ok(namespace)
    }
}

fn act_of(word: &str) -> Option<(TopicAct, Whom)> {
    Some(match word {
        "subscribe" => (TopicAct::Subscribe, Whom::Anybody),
        "publish" => (TopicAct::Publish, Whom::Members),
        "publish_any" => (TopicAct::Publish, Whom::Anybody),
        "presence" => (TopicAct::Presence, Whom::Members),
        "presence_any" => (TopicAct::Presence, Whom::Anybody),
        "history" => (TopicAct::History, Whom::Members),
        "history_any" => (TopicAct::History, Whom::Anybody),
        "join_leave" => (TopicAct::JoinLeave, Whom::Members),
        _ => return None,
    })
}

impl FromStr for Keeps {
    type Err = InvalidNamespace;

    fn from_str(text: &str) -> Result<Self, InvalidNamespace> {
        let age = |text: &str| duration::parse(text).map_err(|_| InvalidNamespace);
        // A number without a unit is one of records.
        let records = |text: &str| text.parse::<u32>().map_err(|_| InvalidNamespace);
        Ok(match text.split_once(':') {
            Some((first, second)) => Self {
                age: Some(age(first)?),
                records: Some(records(second)?),
            },
            None => match records(text) {
                Ok(records) => Self {
                    age: None,
                    records: Some(records),
                },
                Err(InvalidNamespace) => Self {
                    age: Some(age(text)?),
                    records: None,
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use switchboard_core::event::Follow;
    use switchboard_core::topic::TopicFollow;

    use super::TopicAct::{History, JoinLeave, Presence, Publish, Subscribe};
    use super::Whom::{Anybody, Members};
    use super::*;

    fn read(entries: &[&str]) -> Result<Namespaces, InvalidNamespace> {
        let entries: Vec<_> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        Namespaces::new(&entries)
    }

    #[test]
    fn the_longest_beginning_of_a_name_counts() {
        let rules = read(&[
            "=presence",
            "chat:=publish+presence",
            "chat:staff:=",
            "a=b=subscribe",
            "room:=history+join_leave",
        ]);
        let rules = rules.expect("they are rules");
        assert_eq!(acts(&rules, "news"), [(Presence, Members)]);
        let chat = [(Publish, Members), (Presence, Members)];
        assert_eq!(acts(&rules, "chat:1"), chat);
        assert_eq!(acts(&rules, "chat:staff:1"), []);
        assert_eq!(acts(&rules, "a=b"), [(Subscribe, Anybody)]);
        let room = [(History, Members), (JoinLeave, Members)];
        assert_eq!(acts(&rules, "room:1"), room);
        assert_eq!(acts(&Namespaces::default(), "news"), []);
    }

    #[test]
    fn what_anybody_may_do_members_may_as_well() {
        let rules = read(&["=publish_any+publish+presence_any+history+history_any"]);
        let all = [(Publish, Anybody), (Presence, Anybody), (History, Anybody)];
        assert_eq!(acts(&rules.expect("a rule"), "news"), all);
    }

    #[test]
    fn a_history_may_say_what_its_logs_keep() {
        let rules = read(&[
            "=history",
            "both:=history:5m:50",
            "age:=publish+history_any:1h+history",
            "records:=history:2",
        ]);
        let rules = rules.expect("they are rules");
        let usual = Retention::default();
        let kept = |name: &str| {
            let topic = TopicId::new(name).expect("a topic");
            let kept = rules.retention(&topic, usual)?;
            assert_eq!(kept.bytes, usual.bytes);
            Some((kept.age.as_secs(), kept.records))
        };
        assert_eq!(kept("news"), None);
        assert_eq!(kept("both:1"), Some((300, 50)));
        assert_eq!(kept("age:1"), Some((3600, usual.records)));
        assert_eq!(kept("records:1"), Some((usual.age.as_secs(), 2)));
        assert_eq!(rules.retentions(usual).count(), 3);
    }

    #[test]
    fn members_see_each_other_where_that_is_allowed() {
        let rules = read(&["chat:=presence"]).expect("a rule");
        let topic = |name: &str| TopicId::new(name).expect("a topic");
        let [chat, news] = ["chat:1", "news"].map(topic);
        let seen = TopicWish::Watch(chat);
        assert_eq!(rules.judge(seen.clone()), seen);
        let unseen = rules.judge(TopicWish::Watch(news.clone()));
        assert_eq!(unseen, TopicWish::Forbidden(news.clone()));
        let follow = |join| {
            let (topic, ask) = (news.clone(), Follow::default());
            TopicWish::Follow(TopicFollow { topic, join, ask }.into())
        };
        let unseen = rules.judge(follow(TopicJoin::Watching));
        assert_eq!(unseen, TopicWish::Forbidden(news.clone()));
        let followed = follow(TopicJoin::ByRight);
        assert_eq!(rules.judge(followed.clone()), followed);
        let joined = TopicWish::Join(news);
        assert_eq!(rules.judge(joined.clone()), joined);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for entries in [
            &["chat:"][..],
            &["chat:=write"],
            &["chat:=subscribe_any"],
            &["chat:=publish:5"],
            &["chat:=history:"],
            &["chat:=history:5:5m"],
            &["chat:=history:5m:5:5"],
            &["chat:=history:-1"],
            &["chat:=history:5+history_any:6"],
            &["a=", "b=", "a=publish"],
            &[""],
        ] {
            assert_eq!(read(entries), Err(InvalidNamespace), "{entries:?}");
        }
    }

    fn acts(rules: &Namespaces, topic: &str) -> Vec<(TopicAct, Whom)> {
        let topic = TopicId::new(topic).expect("a topic");
        let acts = [Subscribe, Publish, Presence, History, JoinLeave];
        let allowed = acts.map(|act| Some((act, rules.allowed(&topic, act)?)));
        allowed.into_iter().flatten().collect()
    }
}
