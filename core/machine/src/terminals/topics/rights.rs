//! By what terminals are members of topics, and what ends that: tokens, whoever judges, applications.

use std::collections::BTreeSet;

use super::{AskedJoin, JoinStage, KnownTopic, LeftAs, MemberBy, SaidOfTopic, TopicWord};
use crate::context::Context;
use crate::frame::NotJoined;
use crate::id::{ConnectionKey, TopicId};
use crate::message::Outcome;
use crate::terminals::Terminals;
use crate::topic::SharedRights;
use crate::vocabulary::delivery::Ticket;

impl Terminals {
    /// What has allowed a terminal to be a member of a topic counts no longer. One by something else stays, and is told
    /// that it is one.
    pub(super) fn allowance_ended(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        topic: TopicId,
    ) {
        let memberships = (self.registry.get(key)).and_then(|found| found.topics.as_ref());
        if memberships.is_some_and(|all| all.is_asked_by_application(&topic)) {
            return;
        }
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
    pub(in crate::terminals) fn rights_replaced(
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
            let lost = joined.chain(asked).filter(|(topic, by)| {
                is_lost(topic, *by) && !memberships.is_asked_by_application(topic)
            });
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
        if topics.is_empty() && connection.topics.is_none() {
            return;
        }
        let memberships = connection.memberships();
        let known = std::mem::take(&mut memberships.known);
        let mut joins = Vec::new();
        for topic in topics {
            let before = known.iter().find(|it| it.topic == topic);
            match before.map(|before| before.said) {
                Some(SaidOfTopic::TakenBack) => continue,
                Some(SaidOfTopic::Kept) => {}
                None => joins.push(topic.clone()),
            }
            let said = SaidOfTopic::Kept;
            memberships.known.push(KnownTopic { topic, said });
        }
        for topic in joins {
            self.join_when_greeted(cx, key, topic);
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
    pub(in crate::terminals) fn join_for_application(
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
        // Should it leave by itself, the directory may say this once more.
        let known = connection.memberships().known.iter_mut();
        for known in known.filter(|it| it.topic == topic) {
            known.said = SaidOfTopic::Kept;
        }
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
    pub(in crate::terminals) fn leave_for_application(
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
        known.retain(|it| it.topic != *topic);
        // Beside as many as the directory may say.
        if known.len() >= 2 * cx.config.connection_topics {
            known.remove(known.len() - cx.config.connection_topics);
        }
        known.push(KnownTopic {
            topic: topic.clone(),
            said: SaidOfTopic::TakenBack,
        });
        self.end_membership(cx, key, topic.clone());
    }
}
