//! What terminals may do in topics, by the beginnings of their names: one rule, whatever they speak.

use std::str::FromStr;

use switchboard_core::id::TopicId;
use switchboard_core::topic::{TopicJoin, TopicWish};

/// The rules of topics: those of the longest beginning that a name has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(Vec<Namespace>);

/// The topics whose names begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Namespace {
    prefix: String,
    allows: Vec<TopicAct>,
}

/// What terminals may do in a topic beside what their tokens allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicAct {
    /// Any client of Centrifuge may subscribe.
    Subscribe,
    /// Those of its members may publish that are clients of Centrifuge.
    Publish,
    /// Its members may see who they are.
    Presence,
    /// Clients of Centrifuge follow its log, may read it, and what they publish is a record of it.
    History,
    /// Those of its members that are clients of Centrifuge are told who comes and who leaves.
    JoinLeave,
}

/// What no namespace can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Namespaces::RULE)]
pub struct InvalidNamespace;

impl Namespaces {
    /// What each entry must be.
    pub const RULE: &str = "must list beginnings of topics with what clients may do there, as `chat:=publish+presence`: \
         of `subscribe`, `publish`, `presence`, `history` and `join_leave`; an empty beginning stands for all topics, and none comes twice";

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
        self.allow(topic.as_str(), TopicAct::History)
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
            Some(topic) if !self.allow(topic.as_str(), TopicAct::Presence) => {
                TopicWish::Forbidden(topic.clone())
            }
            Some(_) | None => wish,
        }
    }

    pub(crate) fn allow(&self, topic: &str, act: TopicAct) -> bool {
        let namespace = self.0.iter().find(|it| topic.starts_with(&it.prefix));
        namespace.is_some_and(|namespace| namespace.allows.contains(&act))
    }
}

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    fn from_str(text: &str) -> Result<Self, InvalidNamespace> {
        // A name may have the sign, an act has none.
        let (prefix, acts) = text.rsplit_once('=').ok_or(InvalidNamespace)?;
        let acts = acts.split('+').filter(|act| !act.is_empty());
        let allows = acts.map(|act| match act {
            "subscribe" => Ok(TopicAct::Subscribe),
            "publish" => Ok(TopicAct::Publish),
            "presence" => Ok(TopicAct::Presence),
            "history" => Ok(TopicAct::History),
            "join_leave" => Ok(TopicAct::JoinLeave),
            _ => Err(InvalidNamespace),
        });
        Ok(Self {
            prefix: prefix.to_owned(),
            allows: allows.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use switchboard_core::event::Follow;
    use switchboard_core::topic::TopicFollow;

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
        let allowed = |topic: &str| {
            use TopicAct::{History, JoinLeave, Presence, Publish, Subscribe};
            let acts = [Subscribe, Publish, Presence, History, JoinLeave];
            let allowed = acts.into_iter().filter(|act| rules.allow(topic, *act));
            allowed.collect::<Vec<_>>()
        };
        assert_eq!(allowed("news"), [TopicAct::Presence]);
        assert_eq!(allowed("chat:1"), [TopicAct::Publish, TopicAct::Presence]);
        assert_eq!(allowed("chat:staff:1"), []);
        assert_eq!(allowed("a=b"), [TopicAct::Subscribe]);
        assert_eq!(allowed("room:1"), [TopicAct::History, TopicAct::JoinLeave]);
        assert!(!Namespaces::default().allow("news", TopicAct::Presence));
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
            &["a=", "b=", "a=publish"],
            &[""],
        ] {
            assert_eq!(read(entries), Err(InvalidNamespace), "{entries:?}");
        }
    }
}
