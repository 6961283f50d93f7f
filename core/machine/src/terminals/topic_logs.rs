//! Members of topics that follow their logs, as far as their connections go.

use crate::channel::Channel;
use crate::context::Context;
use crate::event::Follow;
use crate::frame::Attached;
use crate::id::{ConnectionKey, TopicId};
use crate::message::Outcome;
use crate::terminals::Terminals;
use crate::terminals::connection::Following;
use crate::terminals::topics::{JoinStage, TopicMembership, TopicWord};
use crate::vocabulary::effect::Effect;

impl TopicMembership {
    /// It asks for the log of its topic, from here on or anew. That is read when the row is written, or when it is told
    /// that nobody knows of one: what it is told of the log comes behind that.
    pub(super) fn wants_log(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        asked: Box<Follow>,
    ) {
        let row_written = self.following.waits_for_nothing_else();
        self.following = Following::Asked(asked);
        match self.stage {
            JoinStage::Joining { .. } if !row_written => {}
            JoinStage::Joining { .. } | JoinStage::Degraded | JoinStage::Joined => {
                self.begins_to_follow(cx, key, row_written);
            }
        }
    }

    /// Its log is read, if it has asked for that and waits.
    pub(super) fn begins_to_follow(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        row_written: bool,
    ) {
        let unplaced = Following::Unplaced { row_written };
        match std::mem::replace(&mut self.following, unplaced) {
            Following::Asked(asked) => {
                cx.emit(Effect::TopicFollowed(self.topic.clone(), key, asked));
            }
            other @ (Following::Nothing
            | Following::Unplaced { .. }
            | Following::Placed(_)
            | Following::Told) => self.following = other,
        }
    }
}

impl Terminals {
    /// Whether a member is to follow the log of its topic as soon as the row of that is written.
    pub(crate) fn waits_to_follow(&self, key: ConnectionKey, channel: &Channel) -> bool {
        let connection = self.registry.get(key);
        let memberships = connection.and_then(|connection| connection.topics.as_ref());
        let membership = memberships.and_then(|all| all.get(channel.topic()?));
        membership.is_some_and(|membership| matches!(membership.following, Following::Asked(_)))
    }

    /// Whether a terminal was told that what is pushed to a channel reaches it, and of nothing about the log that it has
    /// asked for: it was greeted, or is a member of the topic.
    pub(crate) fn is_reached_by(&self, key: ConnectionKey, channel: &Channel) -> bool {
        let Some(connection) = self.registry.get(key) else {
            return false;
        };
        let Some(topic) = channel.topic() else {
            return connection.is_live();
        };
        let membership = (connection.topics.as_ref()).and_then(|topics| topics.get(topic));
        membership.is_some_and(|membership| match membership.stage {
            JoinStage::Degraded | JoinStage::Joined => true,
            JoinStage::Joining { .. } => false,
        })
    }

    /// It is known where a member stands in the log of its topic: that is said with its membership, or by a word of its
    /// own to one that was told of that.
    pub(super) fn attached_to_topic(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: &TopicId,
        start: Attached,
    ) {
        let found = self.registry.get_mut(key).and_then(|connection| {
            let membership = connection.topics.as_mut()?.get_mut(topic)?;
            Some((connection.id, membership))
        });
        let Some((id, membership)) = found else {
            cx.bug("a terminal follows the log of a topic whose member it is not");
            return;
        };
        let Following::Unplaced { .. } = membership.following else {
            cx.bug("a member is told twice where it begins in the log of a topic");
            return;
        };
        match &mut membership.stage {
            JoinStage::Joining { tickets, .. } => {
                let tickets = std::mem::take(tickets);
                membership.following = Following::Placed(Box::new(start));
                membership.stage = JoinStage::Joined;
                self.conclude(id, tickets, Outcome::Written);
                self.membership_begins(cx, key, topic.clone(), false);
            }
            JoinStage::Degraded | JoinStage::Joined => {
                membership.following = Following::Told;
                self.say_of_topic(cx, key, TopicWord::Log(topic.clone(), start));
            }
        }
    }
}
