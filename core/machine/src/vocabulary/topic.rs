//! Which topics a terminal is to be, or may become, a member of.

use serde::Serialize;

use crate::event::Follow;
use crate::id::{InvalidTopic, TopicId};
use crate::position::Position;

/// What a terminal has to do with topics, by its token or its authenticator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct TopicRights {
    /// Topics that it joins when it is greeted.
    pub joins: Vec<TopicId>,
    /// Topics that it may join by itself. It may leave all.
    pub may_join: Vec<TopicPattern>,
}

/// Rights that terminals share: a clone allocates nothing, so that what all may do costs nothing for each.
#[expect(
    clippy::disallowed_types,
    reason = "nobody changes what is shared here, as with a push"
)]
pub type SharedRights = std::sync::Arc<TopicRights>;

/// One topic, or all whose names begin alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum TopicPattern {
    /// The topic of this name.
    One(TopicId),
    /// Those whose names begin with this, which may be nothing at all.
    Prefix(String),
}

/// What a terminal wants of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum TopicWish {
    /// To be a member of it.
    Join(TopicId),
    /// To be a member of it, and to be told who the others are. From a member: to be told of them anew.
    Watch(TopicId),
    /// To be told anew who the others are, as a member of it. It makes no member of one that is none, and its refusal
    /// ends no membership: it is [`NotWatched`](crate::frame::Outgoing::NotWatched).
    WatchAsMember(TopicId),
    /// Something that whoever judges that does not allow: it is told so.
    Forbidden(TopicId),
    /// To be one no longer.
    Leave(TopicId),
    /// To be one no longer if it is one by [`JoinAllowed`](Self::JoinAllowed) alone: that has expired.
    Lapse(TopicId),
    /// To be a member of it, as whoever judges that allows beside what its rights say.
    JoinAllowed(TopicId),
    /// To be a member of it, and to follow its log. From one who does: to begin anew.
    Follow(Box<TopicFollow>),
    /// To confirm the record of its log at this position, and all that it was told of that log before.
    Ack(TopicId, Position),
}

/// A terminal that wants to be a member of a topic and to follow its log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct TopicFollow {
    /// The topic to join, and whose log to follow.
    pub topic: TopicId,
    /// How it becomes a member.
    pub join: TopicJoin,
    /// What it asks of the log.
    pub ask: Follow,
}

/// How a terminal becomes a member of a topic by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum TopicJoin {
    /// By what it may do.
    ByRight,
    /// By what somebody else has allowed.
    Allowed,
    /// By what it may do, and it is to be told who the other members are.
    Watching,
    /// It is one, or is to be one when it is greeted, whatever it has said itself. It is no join that its pace counts:
    /// there is no more than one for each membership.
    AsMember,
}

impl TopicRights {
    /// The rights of a claim: a list of topics and of patterns with a trailing `*`. A terminal joins the topics that
    /// it names, and may join those that it matches.
    ///
    /// # Errors
    ///
    /// If a name is not that of a topic.
    pub fn of_claim<'a>(claim: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidTopic> {
        let mut rights = Self::default();
        for text in claim {
            let pattern: TopicPattern = text.parse()?;
            if let TopicPattern::One(topic) = &pattern {
                rights.joins.push(topic.clone());
            }
            rights.may_join.push(pattern);
        }
        Ok(rights)
    }

    /// Whether nothing is said of any topic.
    pub const fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.may_join.is_empty()
    }

    /// Whether the terminal may be a member of this topic.
    pub(crate) fn cover(&self, topic: &TopicId) -> bool {
        self.joins.contains(topic) || self.allow(topic)
    }

    /// Whether the terminal may join this topic by itself.
    pub(crate) fn allow(&self, topic: &TopicId) -> bool {
        self.may_join.iter().any(|pattern| pattern.matches(topic))
    }
}

impl TopicPattern {
    fn matches(&self, topic: &TopicId) -> bool {
        match self {
            Self::One(one) => one == topic,
            Self::Prefix(prefix) => topic.as_str().starts_with(prefix.as_str()),
        }
    }
}

impl std::str::FromStr for TopicPattern {
    type Err = InvalidTopic;

    /// A trailing `*` stands for any rest.
    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Prefix(String::new())),
            // What no topic can begin with is no pattern.
            Some(prefix) => {
                TopicId::new(&format!("{prefix}x")).map(|_| Self::Prefix(prefix.to_owned()))
            }
            None => TopicId::new(text).map(Self::One),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_joins_what_it_names_and_allows_what_it_matches() {
        let rights = TopicRights::of_claim(["news", "room-*"]).expect("names");
        let topic = |name| TopicId::new(name).expect("a name");
        assert_eq!(rights.joins, [topic("news")]);
        for (name, allowed) in [
            ("news", true),
            ("newsroom", false),
            ("room-", true),
            ("room-7", true),
            ("room", false),
        ] {
            assert_eq!(rights.allow(&topic(name)), allowed, "{name}");
        }
        let all = TopicRights::of_claim(["*"]).expect("all");
        assert!(all.allow(&topic("anything")) && all.joins.is_empty());
        assert_eq!(TopicRights::of_claim([""]), Err(InvalidTopic::Empty));
        assert!(TopicRights::of_claim(["a\u{7}*"]).is_err());
    }
}
