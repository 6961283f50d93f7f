//! Members of topics that follow their logs, as far as their connections go.

use crate::context::Context;
use crate::event::Follow;
use crate::frame::Attached;
use crate::id::{ConnectionKey, TopicId};
use crate::terminals::Terminals;
use crate::terminals::connection::Following;
use crate::terminals::topics::{JoinStage, TopicMembership, TopicWord};
use crate::vocabulary::effect::Effect;

impl TopicMembership {
    /// It asks for the log of its topic, from here on or anew.
    pub(super) fn begins_to_follow(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        asked: Box<Follow>,
    ) {
        let row_written = self.following.waits_for_nothing_else();
        self.following = Following::Unplaced { row_written };
        cx.emit(Effect::TopicFollowed(self.topic.clone(), key, asked));
    }
}

impl Terminals {
    /// It is known where a member stands in the log of its topic: that is said with its membership, or by a word of its
    /// own to one that was told of that.
    pub(super) fn attached_to_topic(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: &TopicId,
        start: Attached,
    ) {
        let connection = self.registry.get_mut(key);
        let memberships = connection.and_then(|connection| connection.topics.as_mut());
        let Some(membership) = memberships.and_then(|memberships| memberships.get_mut(topic))
        else {
            cx.bug("a terminal follows the log of a topic whose member it is not");
            return;
        };
        let Following::Unplaced { row_written } = membership.following else {
            cx.bug("a member is told twice where it begins in the log of a topic");
            return;
        };
        match membership.stage {
            JoinStage::Joining { .. } => {
                membership.following = Following::Placed(Box::new(start));
                if row_written {
                    membership.stage = JoinStage::Joined;
                    self.membership_begins(cx, key, topic.clone(), false);
                }
            }
            JoinStage::Degraded | JoinStage::Joined => {
                membership.following = Following::Told;
                self.say_of_topic(cx, key, TopicWord::Log(topic.clone(), start));
            }
        }
    }
}
