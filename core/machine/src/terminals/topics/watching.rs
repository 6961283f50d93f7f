//! Members of topics that are told who the others are.

use super::TopicWord;
use crate::context::Context;
use crate::frame::SharedPresence;
use crate::id::{ConnectionKey, TopicId};
use crate::terminals::Terminals;
use crate::vocabulary::terminal::Age;

impl Terminals {
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
}
