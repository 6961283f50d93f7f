//! Topics: which terminals of this instance are members of which.
//!
//! A terminal that joins is a member at once: what is pushed to the topic at this instance is queued for it. It is
//! *told* so when the directory knows that this instance has members, because only then does a push from
//! anywhere find it, and what is queued follows behind that. If the directory takes longer than a terminal is to wait, it is told that it is a
//! degraded member, and others ask for it as for a terminal that was greeted as degraded.

mod joins;
mod rights;
mod watching;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Bound;

use crate::base::fingerprint::Fingerprint;
use crate::base::pace::ActPace;
use crate::base::rng::{SeededHash, SeededMap};
use crate::config::Config;
use crate::event::Follow;
use crate::frame::{Attached, HelloLog, NotJoined, SharedPresence};
use crate::id::{ConnectionId, ConnectionKey, TopicId};
use crate::stats::{Gauges, Tables};
use crate::terminals::Terminals;
use crate::terminals::connection::{Connection, Following};
use crate::time::Instant;
use crate::vocabulary::delivery::{Ticket, TopicMarks};
use crate::vocabulary::terminal::Age;

/// The members of all topics at this instance.
#[derive(Clone, Debug)]
pub(super) struct Topics(SeededMap<TopicId, Members>);

/// The members of one topic at this instance. There is at least one.
#[derive(Clone, Debug, Default)]
struct Members {
    /// By the age of their connections: a walk meets each once, whoever comes or goes meanwhile.
    present: BTreeMap<Age, ConnectionKey>,
    /// By their names, in whose order they are listed, a page at a time.
    named: BTreeMap<ConnectionId, ConnectionKey>,
    /// Those of them that the directory does not know to be reachable.
    joining: BTreeMap<Age, ConnectionKey>,
    /// Those that are told who the others are, since they were told that they are members.
    watchers: BTreeMap<Age, ConnectionKey>,
}

/// What a connection has to do with topics.
#[derive(Clone, Debug)]
pub(super) struct Memberships {
    /// Topics that it joins when it is greeted.
    asked: Vec<AskedJoin>,
    of: Vec<TopicMembership>,
    /// Topics whose other members it wants to be told of: some of those above.
    watching: Vec<WatchedTopic>,
    /// What the directory has said of its user's topics: what is said again makes no member of a terminal that has left.
    known: Vec<KnownTopic>,
    /// The pace of its joins.
    pace: ActPace,
}

/// A topic that a terminal joins, at once or when it is greeted.
#[derive(Clone, Debug, Hash)]
struct AskedJoin {
    topic: TopicId,
    by: MemberBy,
    /// The push that makes it a member.
    ticket: Option<Ticket>,
    /// What it asks of the log of the topic.
    follow: Option<Box<Follow>>,
}

/// A topic of a terminal's user, as far as the directory has said and an application has told.
#[derive(Clone, Debug, Hash)]
struct KnownTopic {
    topic: TopicId,
    said: SaidOfTopic,
}

/// What was said of a topic last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SaidOfTopic {
    /// The directory: the user is to be in it.
    Kept,
    /// An application has taken it back. An answer may have been on its way then: the next one that names it says nothing.
    TakenBack,
}

/// A topic whose other members a terminal is told of.
#[derive(Clone, Debug, Hash)]
struct WatchedTopic {
    topic: TopicId,
    /// The sequence of what it was told last.
    told: u64,
}

/// One topic of one connection.
#[derive(Clone, Debug)]
pub(super) struct TopicMembership {
    pub(super) topic: TopicId,
    by: MemberBy,
    pub(super) stage: JoinStage,
    /// How far it is with the log of the topic.
    pub(super) following: Following,
}

/// By what a terminal is a member of a topic. Of several the last one counts: a membership ends with the end of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum MemberBy {
    /// Whoever judges that has allowed it to join this one.
    Allowance,
    /// Its token joins it.
    Right,
    /// The application joined it.
    Application,
}

/// What a terminal was to a topic that it is to have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftAs {
    /// It was told that it is a member.
    Member,
    /// It was about to be one, and was not told.
    Candidate,
    /// It knew of no membership: there was none, or only the application had asked for it.
    Stranger,
}

/// How far a membership is.
#[derive(Clone, Debug, Hash)]
pub(super) enum JoinStage {
    /// It waits until the directory knows of it, or until it is known where it stands in the log.
    Joining {
        /// When it is told that it is degraded.
        until: Instant,
        /// Pushes that make it a member.
        tickets: Vec<Ticket>,
    },
    /// It was told that pushes may miss it, and they still may.
    Degraded,
    /// It was told that it is a member.
    Joined,
}

/// What a terminal is told of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TopicWord {
    /// [`Outgoing::Joined`](crate::frame::Outgoing::Joined).
    Joined {
        topic: TopicId,
        degraded: bool,
        log: HelloLog,
    },
    /// [`Outgoing::TopicLog`](crate::frame::Outgoing::TopicLog), of a member that was told that it is one.
    Log(TopicId, Attached),
    /// [`Outgoing::Left`](crate::frame::Outgoing::Left).
    Left(TopicId),
    /// [`Outgoing::NotJoined`](crate::frame::Outgoing::NotJoined).
    NotJoined(TopicId, NotJoined),
    /// [`Outgoing::NotWatched`](crate::frame::Outgoing::NotWatched).
    NotWatched(TopicId, NotJoined),
    /// [`Outgoing::Presence`](crate::frame::Outgoing::Presence).
    Presence(SharedPresence),
}

impl Topics {
    pub(super) fn new(hash: &SeededHash) -> Self {
        Self(SeededMap::with_hasher(hash.clone()))
    }

    /// Removes a member. Returns whether it was the last one.
    fn remove(&mut self, topic: &TopicId, (id, age): (ConnectionId, Age)) -> bool {
        let Some(members) = self.0.get_mut(topic) else {
            return false;
        };
        members.present.remove(&age);
        members.named.remove(&id);
        members.joining.remove(&age);
        members.watchers.remove(&age);
        let was_last = members.present.is_empty();
        if was_last {
            self.0.remove(topic);
        }
        was_last
    }

    /// Members of a topic.
    fn members_of(&self, topic: &TopicId) -> usize {
        self.0.get(topic).map_or(0, |members| members.present.len())
    }

    /// Members of the topic that has the most.
    #[expect(clippy::disallowed_methods, reason = "a maximum has no order")]
    pub(super) fn most_members(&self) -> usize {
        let members = self.0.values().map(|members| members.present.len());
        members.max().unwrap_or(0)
    }

    fn count(&self, tables: &mut Tables) {
        tables.topics = self.0.len();
        (tables.members, tables.joining) = self.sums();
    }

    /// All memberships, and those that the directory does not know of.
    #[expect(clippy::disallowed_methods, reason = "a sum has no order")]
    fn sums(&self) -> (usize, usize) {
        self.0.values().fold((0, 0), |(members, joining), of| {
            (members + of.present.len(), joining + of.joining.len())
        })
    }
}

impl Memberships {
    const fn new() -> Self {
        Self {
            asked: Vec::new(),
            of: Vec::new(),
            watching: Vec::new(),
            known: Vec::new(),
            pace: ActPace::NEW,
        }
    }

    fn position(&self, topic: &TopicId) -> Option<usize> {
        (self.of.iter()).position(|membership| membership.topic == *topic)
    }

    /// Whether an application has asked for its membership, which begins when the terminal is greeted.
    fn is_asked_by_application(&self, topic: &TopicId) -> bool {
        let mut asked = self.asked.iter();
        asked.any(|it| it.topic == *topic && it.by == MemberBy::Application)
    }

    /// Whether it watches as many topics as it may, and not this one.
    fn watches_all(&self, topic: &TopicId, config: &Config) -> bool {
        self.watching.len() >= config.watched_topics
            && !self.watching.iter().any(|it| it.topic == *topic)
    }

    fn watched(&mut self, topic: &TopicId) -> Option<&mut WatchedTopic> {
        self.watching.iter_mut().find(|it| it.topic == *topic)
    }

    /// The membership in this topic, if there is one.
    pub(super) fn get(&self, topic: &TopicId) -> Option<&TopicMembership> {
        (self.of.iter()).find(|membership| membership.topic == *topic)
    }

    /// The membership in this topic, if there is one.
    pub(super) fn get_mut(&mut self, topic: &TopicId) -> Option<&mut TopicMembership> {
        (self.of.iter_mut()).find(|membership| membership.topic == *topic)
    }

    /// Whether it has asked for the log of a topic.
    pub(super) fn follow_any(&self) -> bool {
        let mut all = self.of.iter();
        all.any(|membership| membership.following.is_wanted())
    }

    /// When the first of its memberships is to be told that it is degraded.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let untils = self
            .of
            .iter()
            .filter_map(|membership| match membership.stage {
                JoinStage::Joining { until, .. } => Some(until),
                JoinStage::Degraded | JoinStage::Joined => None,
            });
        untils.min()
    }
}

impl AskedJoin {
    const fn new(topic: TopicId, by: MemberBy) -> Self {
        Self {
            topic,
            by,
            ticket: None,
            follow: None,
        }
    }
}

impl Connection {
    fn memberships(&mut self) -> &mut Memberships {
        (self.topics).get_or_insert_with(|| Box::new(Memberships::new()))
    }

    /// Whether it is a member of a topic, and was not told so.
    pub(super) fn is_joining(&self, topic: &TopicId) -> bool {
        let membership = (self.topics.as_ref()).and_then(|memberships| memberships.get(topic));
        membership.is_some_and(|membership| match membership.stage {
            JoinStage::Joining { .. } => true,
            JoinStage::Degraded | JoinStage::Joined => false,
        })
    }
}

impl Terminals {
    /// Whether this instance has members of a topic.
    pub(crate) fn has_members(&self, topic: &TopicId) -> bool {
        self.topics.0.contains_key(topic)
    }

    /// Whether a terminal may be a member of several of these topics.
    pub(crate) fn may_be_in_several(&self, connection: ConnectionKey, of: &TopicMarks) -> bool {
        let memberships = self.memberships_of(connection);
        let mut of_these = memberships.filter(|membership| of.may_be(&membership.topic));
        of_these.nth(1).is_some()
    }

    /// Whether a terminal waits to be told that it is a member of this topic, and was told so of another one of these.
    pub(crate) fn joins_as_another_of(
        &self,
        connection: ConnectionKey,
        topic: &TopicId,
        of: &TopicMarks,
    ) -> bool {
        !self.knows_to_be_member(connection, topic)
            && self.memberships_of(connection).any(|membership| {
                let was_told = match membership.stage {
                    JoinStage::Joining { .. } => false,
                    JoinStage::Degraded | JoinStage::Joined => true,
                };
                was_told && of.may_be(&membership.topic)
            })
    }

    fn memberships_of(&self, connection: ConnectionKey) -> impl Iterator<Item = &TopicMembership> {
        let memberships = (self.registry.get(connection)).and_then(|it| it.topics.as_ref());
        memberships
            .into_iter()
            .flat_map(|memberships| &memberships.of)
    }

    /// Whether a terminal was told that it is a member of a topic.
    pub(crate) fn knows_to_be_member(&self, connection: ConnectionKey, topic: &TopicId) -> bool {
        let connection = self.registry.get(connection);
        connection.is_some_and(|connection| !connection.is_joining(topic))
    }

    /// How many members of a topic this instance has.
    pub(crate) fn members(&self, topic: &TopicId) -> usize {
        (self.topics.0.get(topic)).map_or(0, |members| members.present.len())
    }

    /// The youngest member of a topic whose connection is older than `age`.
    pub(crate) fn next_older_member(
        &self,
        topic: &TopicId,
        age: Age,
    ) -> Option<(Age, ConnectionKey)> {
        let members = self.topics.0.get(topic)?;
        let (age, connection) = members.present.range(..age).next_back()?;
        Some((*age, *connection))
    }

    /// Members of a topic in the order of their names: those behind this one.
    pub(crate) fn members_behind(
        &self,
        topic: &TopicId,
        after: Option<ConnectionId>,
    ) -> impl Iterator<Item = (ConnectionId, ConnectionKey)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = self.topics.0.get(topic).into_iter();
        members.flat_map(move |members| {
            let behind = members.named.range((after, Bound::Unbounded));
            behind.map(|(id, key)| (*id, *key))
        })
    }

    /// Writes down what there is to see of topics.
    pub(super) fn gauge_topics(&self, gauges: &mut Gauges) {
        gauges.topics = self.topics.0.len();
        (gauges.members, _) = self.topics.sums();
    }

    /// Counts what is in the table of topics.
    pub(super) fn count_topics(&self, tables: &mut Tables) {
        self.topics.count(tables);
    }
}

impl Fingerprint for Memberships {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        (&self.asked, &self.watching, &self.known).hash(hasher);
        for TopicMembership {
            topic,
            by,
            stage,
            following,
        } in &self.of
        {
            topic.fingerprint(now, hasher);
            (by, following).hash(hasher);
            std::mem::discriminant(stage).hash(hasher);
            match stage {
                JoinStage::Joining { until, tickets } => {
                    until.fingerprint(now, hasher);
                    tickets.hash(hasher);
                }
                JoinStage::Degraded | JoinStage::Joined => {}
            }
        }
        self.pace.fingerprint(now, hasher);
    }
}
