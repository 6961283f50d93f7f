//! Terminals that join and leave topics.

use super::{
    AskedJoin, JoinStage, LeftAs, MemberBy, SaidOfTopic, TopicMembership, TopicWord, WatchedTopic,
};
use crate::command::Command;
use crate::context::Context;
use crate::event::{Follow, Notice};
use crate::frame::{HelloLog, NotJoined};
use crate::id::{ConnectionId, ConnectionKey, TopicId};
use crate::message::Outcome;
use crate::terminals::Terminals;
use crate::terminals::connection::Following;
use crate::topic::{TopicFollow, TopicJoin, TopicWish};
use crate::vocabulary::delivery::{FrameOutcome, Ticket};
use crate::vocabulary::effect::Effect;
use crate::vocabulary::terminal::{Age, TerminalChange};

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
    /// It is one, or is to be one when it is greeted.
    AsMember,
}

impl JoinWish {
    /// Whether it is to be told who the other members are.
    const fn watches(self) -> bool {
        match self {
            Self::Watch | Self::WatchAsMember => true,
            Self::Join | Self::Allowed | Self::Forbidden | Self::AsMember => false,
        }
    }

    /// Whether its pace counts it.
    const fn is_paced(self) -> bool {
        match self {
            Self::Join | Self::Allowed | Self::Watch | Self::WatchAsMember | Self::Forbidden => {
                true
            }
            Self::AsMember => false,
        }
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
                    TopicJoin::AsMember => JoinWish::AsMember,
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

    /// A terminal wants to be a member of a topic. One that an application has made a member may ask who the others are,
    /// and for the log, whatever it may join by itself.
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
        let is_covered = (connection.rights.as_ref()).is_some_and(|rights| rights.cover(&topic));
        let memberships = connection.memberships();
        let is_member = memberships.position(&topic).is_some();
        let may = match wish {
            JoinWish::Join if follow.is_none() => by_right,
            JoinWish::Allowed => true,
            JoinWish::Forbidden => false,
            JoinWish::WatchAsMember => is_member,
            JoinWish::AsMember => {
                // One that is live is a member of what its token names, or is not to be: an application may have
                // taken it out.
                is_member
                    || !is_live && is_covered
                    || memberships.asked.iter().any(|it| it.topic == topic)
            }
            JoinWish::Join | JoinWish::Watch => by_right || is_member,
        };
        let pace = &mut memberships.pace;
        let refused = if wish.is_paced() && pace.is_exceeded(cx.now.mono, cx.config.topic_joins) {
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
                JoinWish::Join
                | JoinWish::Allowed
                | JoinWish::Watch
                | JoinWish::Forbidden
                | JoinWish::AsMember => TopicWord::NotJoined(topic, why),
            };
            return self.say_of_topic(cx, key, word);
        }
        if wish.watches() && memberships.watched(&topic).is_none() {
            let topic = topic.clone();
            memberships.watching.push(WatchedTopic { topic, told: 0 });
        }
        let by = match wish {
            JoinWish::Join | JoinWish::Watch if by_right => MemberBy::Right,
            JoinWish::AsMember if is_covered => MemberBy::Right,
            // A member already, by whatever that is.
            JoinWish::Join
            | JoinWish::Watch
            | JoinWish::WatchAsMember
            | JoinWish::Allowed
            | JoinWish::AsMember
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

    /// A terminal was greeted: it joins what its token says, and what it has asked for meanwhile.
    pub(in crate::terminals) fn join_at_greeting(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
    ) {
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

    /// Makes a greeted terminal a member of a topic. The ticket will be told when it is one.
    ///
    /// # Errors
    ///
    /// What became of it, if the ticket will not be told.
    pub(super) fn join(
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
        let (id, age) = (connection.id, connection.age);
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
        let refused = if memberships.of.len() >= cx.config.connection_topics {
            Some(NotJoined::TooMany)
        } else if self.topics.members_of(&topic) >= cx.config.topic_members {
            Some(NotJoined::Full)
        } else {
            None
        };
        if let Some(why) = refused {
            cx.stats.topic_joins_refused += 1;
            memberships.watching.retain(|it| it.topic != topic);
            // There may be room when the directory says it again.
            memberships
                .known
                .retain(|it| it.topic != topic || it.said != SaidOfTopic::Kept);
            self.say_of_topic(cx, key, TopicWord::NotJoined(topic, why));
            return Err(Outcome::Overflow);
        }
        cx.stats.topic_joins += 1;
        let stage = JoinStage::Joining {
            until: cx.now.mono + cx.config.hello_grace,
            tickets: ticket.into_iter().collect(),
        };
        let members = self.topics.0.entry(topic.clone()).or_default();
        members.present.insert(age, key);
        members.named.insert(id, key);
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
    pub(super) fn join_untold(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        asked: AskedJoin,
    ) {
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
    pub(in crate::terminals) fn joins_due(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        // What it is told may close it.
        while let Some((topic, id, tickets, degraded)) = self.next_join_due(cx, key) {
            if degraded {
                cx.emit(Effect::Terminal(TerminalChange::Degraded));
            }
            let outcome = match degraded {
                true => Outcome::Queued,
                false => Outcome::Written,
            };
            self.conclude(id, tickets, outcome);
            self.membership_begins(cx, key, topic, degraded);
        }
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

    /// A terminal and the application are told of a membership.
    pub(in crate::terminals) fn membership_begins(
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
    pub(super) fn say_joined(
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

    /// Ends a membership, if there is one. Returns what the terminal has been.
    #[must_use]
    pub(super) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: &TopicId,
    ) -> LeftAs {
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
            JoinStage::Joining { .. } => {
                self.drop_untold(key, topic);
                LeftAs::Candidate
            }
            JoinStage::Degraded | JoinStage::Joined => {
                self.notice_membership(cx, key, topic.clone(), false);
                LeftAs::Member
            }
        };
        self.membership_ended(cx, (id, age), left, Outcome::Written);
        was
    }

    /// A terminal will not be told that it is a member of a topic: what was pushed to it as to one is not for it.
    fn drop_untold(&mut self, key: ConnectionKey, topic: &TopicId) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let id = connection.id;
        let tickets = connection.outbound.await_no_more(topic);
        if connection.is_live() && !connection.outbound.is_writing() {
            self.unflushed.push(key);
        }
        self.conclude(id, tickets, Outcome::Gone);
    }

    /// Ends all memberships of a connection whose presence ends.
    pub(in crate::terminals) fn leave_all(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
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
        member: (ConnectionId, Age),
        TopicMembership { topic, stage, .. }: TopicMembership,
        outcome: Outcome,
    ) {
        match stage {
            JoinStage::Joining { tickets, .. } => self.conclude(member.0, tickets, outcome),
            JoinStage::Degraded => cx.emit(Effect::Terminal(TerminalChange::DegradationEnded)),
            JoinStage::Joined => {}
        }
        cx.stats.topic_leaves += 1;
        if self.topics.remove(&topic, member) {
            cx.emit(Effect::TopicEmpty(topic));
        }
    }

    /// It is known what became of these pushes at one connection: whoever has their tickets is to be told.
    pub(in crate::terminals) fn conclude(
        &mut self,
        connection: ConnectionId,
        tickets: impl IntoIterator<Item = Ticket>,
        outcome: Outcome,
    ) {
        for ticket in tickets {
            self.outcomes.push_back(FrameOutcome {
                connection,
                ticket,
                outcome,
            });
        }
    }
}
