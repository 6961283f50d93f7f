//! Topics: which terminals of this instance are members of which.
//!
//! A terminal that joins is a member at once: what is pushed to the topic at this instance reaches it. It is
//! *told* so when the directory knows that this instance has members, because only then does a push from
//! anywhere find it. If the directory takes longer than a terminal is to wait, it is told that it is a
//! degraded member, and others ask for it as for a terminal that was greeted as degraded.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::base::pace::ActPace;
use crate::base::rng::{SeededHash, SeededMap};
use crate::command::Command;
use crate::config::Config;
use crate::context::Context;
use crate::event::{Follow, Notice};
use crate::frame::{Attached, HelloLog, NotJoined, SharedPresence};
use crate::id::{ConnectionId, ConnectionKey, TopicId};
use crate::message::Outcome;
use crate::stats::{Gauges, Tables};
use crate::terminals::Terminals;
use crate::terminals::connection::{Connection, Following};
use crate::time::Instant;
use crate::topic::{SharedRights, TopicFollow, TopicJoin, TopicWish};
use crate::vocabulary::delivery::{FrameOutcome, Ticket};
use crate::vocabulary::effect::Effect;
use crate::vocabulary::terminal::{Age, TerminalChange};

/// The members of all topics at this instance.
#[derive(Clone, Debug)]
pub(super) struct Topics(SeededMap<TopicId, Members>);

/// The members of one topic at this instance. There is at least one.
#[derive(Clone, Debug, Default)]
struct Members {
    /// By the age of their connections: a walk meets each once, whoever comes or goes meanwhile.
    present: BTreeMap<Age, ConnectionKey>,
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
    /// Topics of its user as the directory said last, and those that an application has taken back since: what is
    /// said again makes no member of a terminal that has left.
    known: Vec<TopicId>,
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
    /// By its token.
    Right,
    /// By the application.
    Application,
}

/// What a terminal was to a topic that it is to have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftAs {
    /// It was told that it is a member.
    Member,
    /// It was about to be one, and was not told.
    Candidate,
    /// Neither.
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

/// How a terminal wants to become a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JoinWish {
    /// By what it may do.
    Join,
    /// By what somebody else has allowed.
    Allowed,
    /// By what it may do, and it is to be told who the other members are.
    Watch,
    /// It is one, and is to be told who the others are.
    WatchAsMember,
    /// Somebody else has not allowed it.
    Forbidden,
}

impl JoinWish {
    /// Whether it is to be told who the other members are.
    const fn watches(self) -> bool {
        match self {
            Self::Watch | Self::WatchAsMember => true,
            Self::Join | Self::Allowed | Self::Forbidden => false,
        }
    }
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
    fn remove(&mut self, topic: &TopicId, age: Age) -> bool {
        let Some(members) = self.0.get_mut(topic) else {
            return false;
        };
        members.present.remove(&age);
        members.joining.remove(&age);
        members.watchers.remove(&age);
        let was_last = members.present.is_empty();
        if was_last {
            self.0.remove(topic);
        }
        was_last
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

    /// Whether it watches as many topics as it may, and not this one.
    fn watches_all(&self, topic: &TopicId, config: &Config) -> bool {
        self.watching.len() >= config.watched_topics
            && !self.watching.iter().any(|it| it.topic == *topic)
    }

    fn watched(&mut self, topic: &TopicId) -> Option<&mut WatchedTopic> {
        self.watching.iter_mut().find(|it| it.topic == *topic)
    }

    /// One of them.
    pub(super) fn get(&self, topic: &TopicId) -> Option<&TopicMembership> {
        (self.of.iter()).find(|membership| membership.topic == *topic)
    }

    /// One of them.
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
}

impl Terminals {
    /// A terminal wants to join or to leave a topic.
    pub(crate) fn topic_wished(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        wish: TopicWish,
    ) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        connection.heard(cx.now.mono);
        if !connection.is_open() {
            return;
        }
        match wish {
            TopicWish::Join(topic) => self.join_wished(cx, key, (topic, None), JoinWish::Join),
            TopicWish::JoinAllowed(topic) => {
                self.join_wished(cx, key, (topic, None), JoinWish::Allowed);
            }
            TopicWish::Watch(topic) => self.join_wished(cx, key, (topic, None), JoinWish::Watch),
            TopicWish::WatchAsMember(topic) => {
                self.join_wished(cx, key, (topic, None), JoinWish::WatchAsMember);
            }
            TopicWish::Forbidden(topic) => {
                self.join_wished(cx, key, (topic, None), JoinWish::Forbidden);
            }
            TopicWish::Follow(wish) => {
                let TopicFollow { topic, join, ask } = *wish;
                let wish = match join {
                    TopicJoin::ByRight => JoinWish::Join,
                    TopicJoin::Allowed => JoinWish::Allowed,
                    TopicJoin::Watching => JoinWish::Watch,
                };
                self.join_wished(cx, key, (topic, Some(ask.into())), wish);
            }
            TopicWish::Ack(topic, position) => {
                if connection.is_live() {
                    cx.emit(Effect::Acked(key, Some(topic), position));
                } else {
                    cx.stats.log_acks_dropped += 1;
                }
            }
            TopicWish::Leave(topic) => {
                let _left = self.leave(cx, key, &topic);
                self.say_of_topic(cx, key, TopicWord::Left(topic));
            }
            TopicWish::Lapse(topic) => self.allowance_ended(cx, key, topic),
        }
    }

    /// A terminal wants to be a member of a topic. Whom an application has made one may ask who the others are, and for the
    /// log, whatever it may join by itself.
    fn join_wished(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        (topic, follow): (TopicId, Option<Box<Follow>>),
        wish: JoinWish,
    ) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let is_live = connection.is_live();
        let by_right = (connection.rights.as_ref()).is_some_and(|rights| rights.allow(&topic));
        let memberships = connection.memberships();
        let is_member = memberships.position(&topic).is_some();
        let may = match wish {
            JoinWish::Join if follow.is_none() => by_right,
            JoinWish::Allowed => true,
            JoinWish::Forbidden => false,
            JoinWish::WatchAsMember => is_member,
            JoinWish::Join | JoinWish::Watch => by_right || is_member,
        };
        let refused = if (memberships.pace).is_exceeded(cx.now.mono, cx.config.topic_joins) {
            Some(NotJoined::TooFast)
        } else if !may {
            Some(NotJoined::NotAllowed)
        } else if !is_live && memberships.asked.len() >= cx.config.connection_topics
            || wish.watches() && memberships.watches_all(&topic, cx.config)
        {
            Some(NotJoined::TooMany)
        } else {
            None
        };
        if let Some(why) = refused {
            cx.stats.topic_joins_refused += 1;
            let word = match wish {
                JoinWish::WatchAsMember => TopicWord::NotWatched(topic, why),
                JoinWish::Join | JoinWish::Allowed | JoinWish::Watch | JoinWish::Forbidden => {
                    TopicWord::NotJoined(topic, why)
                }
            };
            return self.say_of_topic(cx, key, word);
        }
        if wish.watches() && memberships.watched(&topic).is_none() {
            let topic = topic.clone();
            memberships.watching.push(WatchedTopic { topic, told: 0 });
        }
        let by = match wish {
            JoinWish::Join | JoinWish::Watch if by_right => MemberBy::Right,
            // A member already, by whatever that is.
            JoinWish::Join
            | JoinWish::Watch
            | JoinWish::WatchAsMember
            | JoinWish::Allowed
            | JoinWish::Forbidden => MemberBy::Allowance,
        };
        let asked = AskedJoin {
            follow,
            ..AskedJoin::new(topic, by)
        };
        if is_live {
            self.join_untold(cx, key, asked);
        } else {
            memberships.asked.push(asked);
        }
    }

    /// What has allowed a terminal to be a member of a topic counts no longer. One by something else stays, and is told
    /// that it is one.
    fn allowance_ended(&mut self, cx: &mut Context<'_>, key: ConnectionKey, topic: TopicId) {
        let memberships = (self.registry.get(key)).and_then(|found| found.topics.as_ref());
        let membership = memberships.and_then(|all| all.of.get(all.position(&topic)?));
        match membership.map(|membership| (membership.by, &membership.stage)) {
            Some((MemberBy::Allowance, _)) | None => {
                let _left = self.leave(cx, key, &topic);
                self.say_of_topic(cx, key, TopicWord::Left(topic));
            }
            // It is told when the directory knows.
            Some((MemberBy::Right | MemberBy::Application, JoinStage::Joining { .. })) => {}
            Some((MemberBy::Right | MemberBy::Application, JoinStage::Degraded)) => {
                self.say_joined(cx, key, topic, true);
            }
            Some((MemberBy::Right | MemberBy::Application, JoinStage::Joined)) => {
                self.say_joined(cx, key, topic, false);
            }
        }
    }

    /// The token of a terminal is another one. What is not allowed by it any more ends, and it joins what this one names
    /// and the one before did not.
    pub(super) fn rights_replaced(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        rights: Option<SharedRights>,
    ) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let before = std::mem::replace(&mut connection.rights, rights.clone());
        if before == rights || !connection.is_open() {
            return;
        }
        let is_lost = |topic: &TopicId, by: MemberBy| {
            by == MemberBy::Right && !rights.as_ref().is_some_and(|rights| rights.cover(topic))
        };
        let lost = connection.topics.as_ref().map(|memberships| {
            let joined = memberships.of.iter().map(|it| (&it.topic, it.by));
            let asked = memberships.asked.iter().map(|it| (&it.topic, it.by));
            let lost = joined
                .chain(asked)
                .filter(|(topic, by)| is_lost(topic, *by));
            lost.map(|(topic, _)| topic.clone())
                .collect::<BTreeSet<_>>()
        });
        for topic in lost.into_iter().flatten() {
            self.end_membership(cx, key, topic);
        }
        let named = rights.iter().flat_map(|rights| rights.joins.iter());
        let was_named = |topic: &TopicId| {
            before
                .as_ref()
                .is_some_and(|before| before.joins.contains(topic))
        };
        let most = cx.config.connection_topics + 1;
        for topic in named.filter(|topic| !was_named(topic)).take(most) {
            let connection = self.registry.get(key).filter(|found| found.is_live());
            // Until it is greeted it has joined nothing of what its token names.
            let Some(connection) = connection else { return };
            let memberships = connection.topics.as_ref();
            if memberships.is_none_or(|all| all.position(topic).is_none()) {
                self.join_untold(cx, key, AskedJoin::new(topic.clone(), MemberBy::Right));
            }
        }
    }

    /// Ends a membership that a terminal has not ended itself, which is told what it has to know of that.
    fn end_membership(&mut self, cx: &mut Context<'_>, key: ConnectionKey, topic: TopicId) {
        match self.leave(cx, key, &topic) {
            LeftAs::Member => self.say_of_topic(cx, key, TopicWord::Left(topic)),
            LeftAs::Candidate => {
                let word = TopicWord::NotJoined(topic, NotJoined::NotAllowed);
                self.say_of_topic(cx, key, word);
            }
            LeftAs::Stranger => {}
        }
    }

    /// A terminal was greeted: it joins what its token says, and what it has asked for meanwhile.
    pub(super) fn join_at_greeting(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let id = connection.id;
        let memberships = connection.topics.as_mut();
        let asked = memberships.map(|memberships| std::mem::take(&mut memberships.asked));
        let rights = connection.rights.clone();
        // One more than it may have says that there are too many.
        let most = cx.config.connection_topics + 1;
        let joins = rights.iter().flat_map(|rights| rights.joins.iter());
        let by_right = |topic: &TopicId| AskedJoin::new(topic.clone(), MemberBy::Right);
        let joins = joins.take(most).map(by_right);
        for asked in joins.chain(asked.into_iter().flatten()) {
            let ticket = asked.ticket;
            if let Err(outcome) = self.join(cx, key, asked) {
                self.conclude(id, ticket, outcome);
            }
        }
    }

    /// The directory says which topics the terminals of a user are to be members of, with the row of this one.
    pub(crate) fn topics_of_user(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topics: Vec<TopicId>,
    ) {
        let Some(connection) = self.registry.get_mut(key).filter(|found| found.is_open()) else {
            return;
        };
        let known = std::mem::replace(&mut connection.memberships().known, topics.clone());
        for topic in topics {
            if !known.contains(&topic) {
                self.join_when_greeted(cx, key, topic);
            }
        }
    }

    /// The directory says that the terminals of a user are to be members of no topic.
    pub(crate) fn no_topics_of_user(&mut self, key: ConnectionKey) {
        let connection = self.registry.get_mut(key);
        if let Some(memberships) = connection.and_then(|found| found.topics.as_mut()) {
            memberships.known = Vec::new();
        }
    }

    /// Makes a terminal a member of a topic, as soon as it is greeted.
    fn join_when_greeted(&mut self, cx: &mut Context<'_>, key: ConnectionKey, topic: TopicId) {
        let Some(connection) = self.registry.get_mut(key).filter(|found| found.is_open()) else {
            return;
        };
        let is_live = connection.is_live();
        let by = MemberBy::Application;
        let memberships = connection.memberships();
        if let Some(at) = memberships.position(&topic) {
            memberships.of[at].by = by;
            return;
        }
        if is_live {
            self.join_untold(cx, key, AskedJoin::new(topic, by));
        } else if let Some(asked) = memberships.asked.iter_mut().find(|it| it.topic == topic) {
            asked.by = by;
        } else {
            memberships.asked.push(AskedJoin::new(topic, by));
        }
    }

    /// An application makes a terminal a member of a topic. The ticket will be told when it is one.
    ///
    /// # Errors
    ///
    /// What became of it, if the ticket will not be told.
    pub(super) fn join_for_application(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: TopicId,
        ticket: Ticket,
    ) -> Result<(), Outcome> {
        let connection = self.registry.get_mut(key);
        let Some(connection) = connection.filter(|found| found.is_present()) else {
            return Err(Outcome::Gone);
        };
        let asked = AskedJoin {
            ticket: Some(ticket),
            ..AskedJoin::new(topic, MemberBy::Application)
        };
        if connection.is_live() {
            return self.join(cx, key, asked);
        }
        // It has a row already, or gets one: it is there, and joins when it is greeted.
        let memberships = connection.memberships();
        if memberships.asked.len() >= cx.config.connection_topics {
            return Err(Outcome::Overflow);
        }
        memberships.asked.push(asked);
        Ok(())
    }

    /// An application ends the membership of a terminal, which is told.
    pub(super) fn leave_for_application(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: &TopicId,
    ) {
        let Some(connection) = self
            .registry
            .get_mut(key)
            .filter(|found| found.is_present())
        else {
            return;
        };
        // An answer of the directory that is under way may say otherwise.
        let known = &mut connection.memberships().known;
        if !known.contains(topic) {
            known.push(topic.clone());
        }
        self.end_membership(cx, key, topic.clone());
    }

    /// Makes a greeted terminal a member of a topic. The ticket will be told when it is one.
    ///
    /// # Errors
    ///
    /// What became of it, if the ticket will not be told.
    fn join(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        AskedJoin {
            topic,
            by,
            ticket,
            follow,
        }: AskedJoin,
    ) -> Result<(), Outcome> {
        // What it was told before may have closed it.
        let Some(connection) = self.registry.get_mut(key).filter(|found| found.is_live()) else {
            return Err(Outcome::Gone);
        };
        let age = connection.age;
        let memberships = connection.memberships();
        if let Some(at) = memberships.position(&topic) {
            let membership = &mut memberships.of[at];
            membership.by = membership.by.max(by);
            if let Some(follow) = follow {
                membership.wants_log(cx, key, follow);
            }
            let degraded = match &mut membership.stage {
                JoinStage::Joining { tickets, .. } => {
                    tickets.extend(ticket);
                    return Ok(());
                }
                JoinStage::Degraded => true,
                JoinStage::Joined => false,
            };
            self.say_joined(cx, key, topic, degraded);
            return Err(if degraded {
                Outcome::Queued
            } else {
                Outcome::Written
            });
        }
        if memberships.of.len() >= cx.config.connection_topics {
            cx.stats.topic_joins_refused += 1;
            memberships.watching.retain(|it| it.topic != topic);
            let word = TopicWord::NotJoined(topic, NotJoined::TooMany);
            self.say_of_topic(cx, key, word);
            return Err(Outcome::Overflow);
        }
        cx.stats.topic_joins += 1;
        let stage = JoinStage::Joining {
            until: cx.now.mono + cx.config.hello_grace,
            tickets: ticket.into_iter().collect(),
        };
        let members = self.topics.0.entry(topic.clone()).or_default();
        members.present.insert(age, key);
        members.joining.insert(age, key);
        cx.emit(Effect::TopicJoined(topic.clone()));
        let mut membership = TopicMembership {
            topic,
            by,
            stage,
            following: Following::Nothing,
        };
        if let Some(follow) = follow {
            membership.wants_log(cx, key, follow);
        }
        memberships.of.push(membership);
        self.arm(cx, key);
        Ok(())
    }

    /// Makes a greeted terminal a member of a topic, and tells it alone what becomes of that.
    fn join_untold(&mut self, cx: &mut Context<'_>, key: ConnectionKey, asked: AskedJoin) {
        let _told = self.join(cx, key, asked);
    }

    /// The directory knows that this instance has members of a topic: so many of those that wait for it are told, the
    /// oldest first. Returns whether others still wait.
    pub(crate) fn topic_reachable(
        &mut self,
        cx: &mut Context<'_>,
        topic: &TopicId,
        most: usize,
    ) -> bool {
        for _ in 0..most {
            let members = self.topics.0.get_mut(topic);
            let next = members.and_then(|members| members.joining.pop_first());
            let Some((_, key)) = next else {
                return false;
            };
            let Some(connection) = self.registry.get_mut(key) else {
                continue;
            };
            let id = connection.id;
            let memberships = connection.topics.as_mut();
            let membership = memberships.and_then(|memberships| memberships.get_mut(topic));
            let Some(membership) = membership else {
                cx.bug("a member that is none waits for the directory");
                continue;
            };
            match std::mem::replace(&mut membership.stage, JoinStage::Joined) {
                JoinStage::Joining { tickets, until } => {
                    membership.begins_to_follow(cx, key, true);
                    let waits = membership.following.waits_for_log();
                    if waits {
                        let tickets = Vec::new();
                        membership.stage = JoinStage::Joining { until, tickets };
                    }
                    self.conclude(id, tickets, Outcome::Written);
                    if !waits {
                        self.membership_begins(cx, key, topic.clone(), false);
                    }
                }
                JoinStage::Degraded => {
                    cx.emit(Effect::Terminal(TerminalChange::DegradationEnded));
                }
                JoinStage::Joined => {}
            }
        }
        let members = self.topics.0.get(topic);
        members.is_some_and(|members| !members.joining.is_empty())
    }

    /// Tells a terminal of memberships that have waited for the directory for too long.
    pub(super) fn joins_due(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        // What it is told may close it.
        while let Some((topic, id, tickets, degraded)) = self.next_join_due(cx, key) {
            if degraded {
                cx.emit(Effect::Terminal(TerminalChange::Degraded));
            }
            self.conclude(id, tickets, Outcome::Queued);
            self.membership_begins(cx, key, topic, degraded);
        }
    }

    /// A terminal and the application are told of a membership.
    pub(super) fn membership_begins(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: TopicId,
        degraded: bool,
    ) {
        self.notice_membership(cx, key, topic.clone(), true);
        self.say_joined(cx, key, topic, degraded);
    }

    /// The application is told of a membership.
    fn notice_membership(
        &self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: TopicId,
        is_member: bool,
    ) {
        let connection = self.registry.get(key);
        let Some((id, user)) = connection.and_then(|found| Some((found.id, found.user()?.clone())))
        else {
            return;
        };
        cx.out.push(Command::Notify(Box::new(Notice::Member {
            connection: key,
            id,
            user,
            topic,
            is_member,
        })));
    }

    /// Tells a terminal that it is a member. One that wants to know who the others are is told so behind that.
    fn say_joined(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: TopicId,
        degraded: bool,
    ) {
        let memberships = self
            .registry
            .get_mut(key)
            .and_then(|found| found.topics.as_mut());
        let membership = memberships.and_then(|memberships| memberships.get_mut(&topic));
        let log = membership.map_or(HelloLog::NotAsked, |membership| membership.following.said());
        let word = TopicWord::Joined {
            topic: topic.clone(),
            degraded,
            log,
        };
        self.say_of_topic(cx, key, word);
        // What it is told may close it.
        let connection = self.registry.get(key).filter(|found| found.is_live());
        let Some(connection) = connection else {
            return;
        };
        let watches = (connection.topics.as_ref())
            .is_some_and(|memberships| memberships.watching.iter().any(|it| it.topic == topic));
        if let Some(members) = self.topics.0.get_mut(&topic).filter(|_| watches) {
            members.watchers.insert(connection.age, key);
            cx.emit(Effect::Watching(topic, key));
        }
    }

    /// Whether a member of a topic wants to be told who the others are.
    pub(crate) fn has_watchers(&self, topic: &TopicId) -> bool {
        let members = self.topics.0.get(topic);
        members.is_some_and(|members| !members.watchers.is_empty())
    }

    /// Tells one of them.
    pub(crate) fn tell_presence(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        presence: &SharedPresence,
    ) {
        let connection = self.registry.get_mut(key);
        let memberships = connection.and_then(|found| found.topics.as_mut());
        // It may have left since.
        if let Some(watched) = memberships.and_then(|all| all.watched(&presence.topic)) {
            watched.told = presence.sequence;
            self.say_of_topic(cx, key, TopicWord::Presence(presence.clone()));
        }
    }

    /// The sequence of what a watcher of a topic was told last.
    fn told(&mut self, key: ConnectionKey, topic: &TopicId) -> Option<u64> {
        let connection = self.registry.get_mut(key)?;
        Some(connection.topics.as_mut()?.watched(topic)?.told)
    }

    /// Tells those of them that are older than `age` and were not told yet, so many at most, the youngest first.
    /// Returns how many it has come to, and the last of these unless they are all.
    pub(crate) fn tell_watchers(
        &mut self,
        cx: &mut Context<'_>,
        (topic, mut age): (&TopicId, Age),
        presence: &SharedPresence,
        most: usize,
    ) -> (usize, Option<Age>) {
        for told in 0..most {
            let members = self.topics.0.get(topic);
            let next = members.and_then(|members| members.watchers.range(..age).next_back());
            let Some((&next, &watcher)) = next else {
                return (told, None);
            };
            age = next;
            if (self.told(watcher, topic)).is_some_and(|before| before < presence.sequence) {
                self.tell_presence(cx, watcher, presence);
            }
        }
        (most, Some(age))
    }

    /// The next membership of a greeted terminal that has waited for too long is a degraded one, unless the directory knows
    /// of it and it waits for the log alone.
    fn next_join_due(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
    ) -> Option<(TopicId, ConnectionId, Vec<Ticket>, bool)> {
        let now = cx.now.mono;
        let connection = self.registry.get_mut(key).filter(|found| found.is_live())?;
        let id = connection.id;
        (connection.topics.as_mut()?.of.iter_mut()).find_map(|membership| {
            let tickets = match &mut membership.stage {
                JoinStage::Joining { until, tickets } if *until <= now => std::mem::take(tickets),
                JoinStage::Joining { .. } | JoinStage::Degraded | JoinStage::Joined => return None,
            };
            let degraded = !membership.following.waits_for_nothing_else();
            membership.begins_to_follow(cx, key, false);
            membership.stage = match degraded {
                true => JoinStage::Degraded,
                false => JoinStage::Joined,
            };
            Some((membership.topic.clone(), id, tickets, degraded))
        })
    }

    /// Ends a membership, if there is one. Returns what the terminal has been.
    #[must_use]
    fn leave(&mut self, cx: &mut Context<'_>, key: ConnectionKey, topic: &TopicId) -> LeftAs {
        let Some(connection) = self.registry.get_mut(key) else {
            return LeftAs::Stranger;
        };
        let (id, age) = (connection.id, connection.age);
        let Some(memberships) = connection.topics.as_mut() else {
            return LeftAs::Stranger;
        };
        let unasked = memberships.asked.extract_if(.., |it| it.topic == *topic);
        let unasked: Vec<_> = unasked.collect();
        // What the application has asked for it does not know of.
        let has_asked = unasked.iter().any(|it| it.by < MemberBy::Application);
        let tickets = unasked.into_iter().filter_map(|it| it.ticket);
        let left = (memberships.position(topic)).map(|at| memberships.of.swap_remove(at));
        memberships.watching.retain(|it| it.topic != *topic);
        // It is there: only the membership ends.
        self.conclude(id, tickets, Outcome::Written);
        let Some(left) = left else {
            return match has_asked {
                true => LeftAs::Candidate,
                false => LeftAs::Stranger,
            };
        };
        if left.following.is_followed() {
            cx.emit(Effect::TopicUnfollowed(topic.clone(), key));
        }
        let was = match left.stage {
            JoinStage::Joining { .. } => LeftAs::Candidate,
            JoinStage::Degraded | JoinStage::Joined => {
                self.notice_membership(cx, key, topic.clone(), false);
                LeftAs::Member
            }
        };
        self.membership_ended(cx, (id, age), left, Outcome::Written);
        was
    }

    /// Ends all memberships of a connection whose presence ends.
    pub(super) fn leave_all(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let (id, age) = (connection.id, connection.age);
        let Some(memberships) = connection.topics.take() else {
            return;
        };
        let asked = memberships.asked.into_iter();
        self.conclude(id, asked.filter_map(|it| it.ticket), Outcome::Gone);
        for membership in memberships.of {
            self.membership_ended(cx, (id, age), membership, Outcome::Gone);
        }
    }

    fn membership_ended(
        &mut self,
        cx: &mut Context<'_>,
        (id, age): (ConnectionId, Age),
        TopicMembership { topic, stage, .. }: TopicMembership,
        outcome: Outcome,
    ) {
        match stage {
            JoinStage::Joining { tickets, .. } => self.conclude(id, tickets, outcome),
            JoinStage::Degraded => cx.emit(Effect::Terminal(TerminalChange::DegradationEnded)),
            JoinStage::Joined => {}
        }
        cx.stats.topic_leaves += 1;
        if self.topics.remove(&topic, age) {
            cx.emit(Effect::TopicEmpty(topic));
        }
    }

    /// It is known what became of these pushes at one connection: whoever has their tickets is to be told.
    pub(super) fn conclude(
        &mut self,
        connection: ConnectionId,
        tickets: impl IntoIterator<Item = Ticket>,
        outcome: Outcome,
    ) {
        let resolved = tickets.into_iter().map(|ticket| FrameOutcome {
            connection,
            ticket,
            outcome,
        });
        self.outcomes.extend(resolved);
    }

    /// Whether this instance has members of a topic.
    pub(crate) fn has_members(&self, topic: &TopicId) -> bool {
        self.topics.0.contains_key(topic)
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
