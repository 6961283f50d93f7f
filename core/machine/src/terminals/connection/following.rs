//! A terminal that follows the log of its user, or that of a topic, as far as its connection goes: what it asked for,
//! what its hello says, what is queued for it.
//!
//! Where it stands, and what it is sent, is the business of [`follow`](crate::follow).

use super::{Connection, Greeting, Phase};
use crate::channel::Channel;
use crate::config::{Config, SlowConsumer};
use crate::context::Context;
use crate::event::Follow;
use crate::frame::{Attached, HelloLog, LogNews, Pushed};
use crate::id::{ConnectionKey, TopicId};
use crate::message::Outcome;
use crate::position::Position;
use crate::terminals::Terminals;
use crate::terminals::outbound::NoRoom;
use crate::vocabulary::delivery::Ticket;

/// How far a terminal is with a log. What is large has a box, for there are many terminals, and few of them are
/// in between.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::terminals) enum Following {
    /// It has asked for none.
    Nothing,
    /// It has asked for this, and is not open.
    Asked(Box<Follow>),
    /// It is not known where it stands.
    Unplaced {
        /// Its row is written, or that of the topic: it is greeted, or told that it is a member, as soon as that is known.
        row_written: bool,
    },
    /// It stands here, and has not been told.
    Placed(Box<Attached>),
    /// It has been told where it stands.
    Told,
}

impl Following {
    /// Of a terminal that asks for this, or for nothing.
    pub(super) fn of(follow: Option<Follow>) -> Self {
        follow.map_or(Self::Nothing, |asked| Self::Asked(Box::new(asked)))
    }

    /// Whether what it is to be told has to wait until it is known where it stands. The row is written.
    pub(in crate::terminals) const fn waits_for_log(&mut self) -> bool {
        match self {
            Self::Unplaced { row_written } => {
                *row_written = true;
                true
            }
            Self::Nothing | Self::Asked(_) | Self::Placed(_) | Self::Told => false,
        }
    }

    /// Whether that waits for the log alone.
    pub(in crate::terminals) const fn waits_for_nothing_else(&self) -> bool {
        match self {
            Self::Unplaced { row_written } => *row_written,
            Self::Nothing | Self::Asked(_) | Self::Placed(_) | Self::Told => false,
        }
    }

    /// What is said of the log, which is not said again.
    pub(in crate::terminals) fn said(&mut self) -> HelloLog {
        match std::mem::replace(self, Self::Told) {
            Self::Placed(start) => HelloLog::At(*start),
            other @ (Self::Asked(_) | Self::Unplaced { .. }) => {
                *self = other;
                HelloLog::Unknown
            }
            Self::Nothing => {
                *self = Self::Nothing;
                HelloLog::NotAsked
            }
            Self::Told => HelloLog::NotAsked,
        }
    }

    /// Whether somebody looks where it stands, or knows that.
    pub(in crate::terminals) const fn is_followed(&self) -> bool {
        match self {
            Self::Nothing | Self::Asked(_) => false,
            Self::Unplaced { .. } | Self::Placed(_) | Self::Told => true,
        }
    }

    /// Whether the log was asked for.
    pub(in crate::terminals) const fn is_wanted(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

impl Connection {
    /// How it is greeted when it has waited for long enough: it may be that it waits for its log alone.
    pub(super) const fn greeting_without_log(&self) -> Greeting {
        match self.following.waits_for_nothing_else() {
            true => Greeting::Reachable,
            false => Greeting::Degraded,
        }
    }

    /// Whether it has asked for the log of its user.
    pub(super) const fn follows(&self) -> bool {
        self.following.is_wanted()
    }

    /// Whether it has asked for that, or for the log of a topic.
    pub(super) fn follows_any(&self) -> bool {
        let of_topics = self.topics.as_ref();
        self.follows() || of_topics.is_some_and(|memberships| memberships.follow_any())
    }

    /// What happens to plain pushes for which there is no room. A follower is not closed for being slow, and
    /// what its queue holds of a log gives way to nothing.
    pub(super) fn policy(&self, config: &Config) -> SlowConsumer {
        match self.follows_any() {
            true => SlowConsumer::DropNewest,
            false => config.slow_consumer,
        }
    }
}

impl Terminals {
    /// What a terminal that is open has asked of its log. It is asked once.
    pub(crate) fn take_follow(&mut self, key: ConnectionKey) -> Option<Follow> {
        let following = &mut self.registry.get_mut(key)?.following;
        let unplaced = Following::Unplaced { row_written: false };
        match std::mem::replace(following, unplaced) {
            Following::Asked(asked) => Some(*asked),
            other @ (Following::Nothing
            | Following::Unplaced { .. }
            | Following::Placed(_)
            | Following::Told) => {
                *following = other;
                None
            }
        }
    }

    /// It is known where a follower stands: its hello says it, or what it is told of its membership; or a word of its own
    /// if it was told that before.
    pub(crate) fn attached(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        channel: &Channel,
        start: Attached,
    ) {
        match channel {
            Channel::User(_) => self.attached_to_own(cx, key, start),
            Channel::Topic(topic) => self.attached_to_topic(cx, key, topic, start),
        }
    }

    fn attached_to_own(&mut self, cx: &mut Context<'_>, key: ConnectionKey, start: Attached) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let Following::Unplaced { row_written } = connection.following else {
            cx.bug("a terminal is told twice where it begins in its log");
            return;
        };
        match connection.phase {
            Phase::Registering { .. } => {
                connection.following = Following::Placed(Box::new(start));
                if row_written {
                    self.greet(cx, key, Greeting::Reachable);
                }
            }
            Phase::Live(_) => {
                connection.following = Following::Told;
                if self.say_news(key, None, LogNews::At(start)).is_err() {
                    cx.bug("a terminal is told of gaps before it is told where it begins");
                }
            }
            Phase::Upgrading { .. }
            | Phase::Authenticating { .. }
            | Phase::Closing { .. }
            | Phase::Gone => {}
        }
    }

    /// Tells a follower where it stands in a log.
    ///
    /// # Errors
    ///
    /// There is no room: it is to be found out once more when there is.
    pub(crate) fn say(
        &mut self,
        key: ConnectionKey,
        channel: &Channel,
        news: LogNews,
    ) -> Result<(), NoRoom> {
        self.say_news(key, channel.topic().cloned(), news)
    }

    fn say_news(
        &mut self,
        key: ConnectionKey,
        topic: Option<TopicId>,
        news: LogNews,
    ) -> Result<(), NoRoom> {
        let Some(connection) = self.registry.get_mut(key) else {
            return Ok(());
        };
        connection.outbound.say(topic, news)?;
        if connection.is_live() && !connection.outbound.is_writing() {
            self.unflushed.push(key);
        }
        Ok(())
    }

    /// Queues a record for a follower. What becomes of it comes with the ticket, if there is one.
    ///
    /// # Errors
    ///
    /// It has no room.
    pub(crate) fn offer_record(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        pushed: &Pushed,
        ticket: Option<Ticket>,
    ) -> Result<(), NoRoom> {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.bug("a record for a connection that is not there");
            return Err(NoRoom::Yet);
        };
        let size = connection.size.of(pushed);
        let offered = (connection.outbound).offer_record(pushed.clone(), size, ticket, cx.config);
        if offered.is_ok() && connection.is_live() && !connection.outbound.is_writing() {
            self.unflushed.push(key);
        }
        offered
    }

    /// Whether nothing waits to be written to a terminal, so that it is not told of room in its queue.
    pub(crate) fn has_nothing_to_write(&self, key: ConnectionKey) -> bool {
        let connection = self.registry.get(key);
        connection.is_some_and(|connection| connection.outbound.is_empty())
    }

    /// The tickets are told what became of a record that a follower cannot be sent.
    pub(crate) fn tell(&mut self, key: ConnectionKey, tickets: Vec<Ticket>, outcome: Outcome) {
        let Some(&Connection { id, .. }) = self.registry.get(key) else {
            return;
        };
        self.conclude(id, tickets, outcome);
    }

    /// The ticket will be told when the record that a follower was sent at this position is written.
    ///
    /// # Errors
    ///
    /// What became of it, if the ticket will not be told.
    pub(crate) fn await_record(
        &mut self,
        key: ConnectionKey,
        position: Position,
        ticket: Ticket,
    ) -> Result<(), Outcome> {
        let connection = self.registry.get_mut(key).ok_or(Outcome::Gone)?;
        connection.outbound.await_record(position, ticket)
    }
}
