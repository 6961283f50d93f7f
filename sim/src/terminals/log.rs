//! What clients hold of the logs that they follow: across their connections, as good clients do.

use switchboard_core::event::{Event, Follow, Heard};
use switchboard_core::frame::Recovery;
use switchboard_core::id::TopicId;
use switchboard_core::position::Position;
use switchboard_core::topic::{TopicFollow, TopicJoin, TopicWish};

use super::Terminals;
use crate::context::Context;
use crate::fingerprint::{Fingerprint, Print};
use crate::observed::{LogWord, Observed};
use crate::schedule::Brings;

/// Positions that a client keeps, at most: so many are looked for when it returns.
const KEPT: usize = Follow::AFTER_MAX;

/// What a client holds.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientLog {
    /// How many of the last records it wants when it holds no position.
    history: u32,
    /// What it brings when it connects; nothing if it does not follow.
    brings: Option<Brings>,
    /// The positions of what it has, the newest last.
    held: Vec<Position>,
}

impl Fingerprint for ClientLog {
    fn fingerprint(&self, to: &mut Print) {
        let Self {
            history,
            brings,
            held,
        } = self;
        to.word(&(history, brings, held));
    }
}

impl ClientLog {
    /// What it asks for when it connects.
    pub(super) fn asks(&self) -> Option<Follow> {
        let newest = self.held.iter().rev();
        let (after, behind) = match self.brings? {
            Brings::Positions(count) => (newest.take(count as usize).copied().collect(), None),
            Brings::Offset => (Vec::new(), self.held.last().map(|held| held.offset())),
        };
        Some(Follow {
            after,
            behind,
            history: self.history,
        })
    }

    /// One of the positions that it holds, counted from the newest.
    fn nth(&self, nth: u32) -> Option<Position> {
        let back = (nth as usize).checked_sub(1)?;
        self.held.iter().rev().nth(back).copied()
    }

    /// It goes on from here, whatever it held before.
    fn starts_at(&mut self, position: Position) {
        self.held = vec![position];
    }

    /// It goes on from a position that it holds: what came after that is of no use.
    fn goes_back_to(&mut self, position: Position) {
        let is_it = |held: &Position| match self.brings {
            Some(Brings::Offset) => held.offset() == position.offset(),
            Some(Brings::Positions(_)) | None => *held == position,
        };
        match self.held.iter().rposition(is_it) {
            Some(at) => self.held.truncate(at + 1),
            None => self.starts_at(position),
        }
    }
}

impl Terminals {
    /// A client follows its log from its next connection on.
    pub(crate) fn follow(&mut self, client: &str, history: u32, brings: Brings) {
        let log = self.logs.entry(client.to_owned()).or_default();
        log.history = history;
        log.brings = Some(brings);
    }

    /// A client loses the newest positions that it holds.
    pub(crate) fn forget_positions(&mut self, client: &str, positions: u32) {
        if let Some(log) = self.logs.get_mut(client) {
            let left = log.held.len().saturating_sub(positions as usize);
            log.held.truncate(left);
        }
    }

    /// A client confirms one of the positions that it holds, counted from the newest.
    pub(crate) fn client_confirms(&mut self, cx: &mut Context, client: &str, nth: u32) {
        let (Some(log), Some(&session)) = (self.logs.get(client), self.clients.get(client)) else {
            return;
        };
        let position = log.nth(nth);
        let this = &self.sessions[session];
        let (Some(life), Some(connection), true) = (this.life, this.key, this.is_open()) else {
            return;
        };
        if let Some(position) = position {
            let at = self.upwards(cx, session);
            let frame = Heard::Ack(position);
            cx.tell_at(life, at, Event::Heard { connection, frame });
            cx.observe(Observed::Confirmed {
                session,
                topic: None,
                position,
            });
        }
    }

    /// A client follows the log of a topic, now if it can and at each of its connections.
    pub(super) fn follow_topic(
        &mut self,
        cx: &mut Context,
        client: &str,
        topic: TopicId,
        history: u32,
    ) {
        let key = (client.to_owned(), topic.clone());
        let log = self.topic_logs.entry(key).or_default();
        log.history = history;
        log.brings = Some(Brings::Positions(KEPT as u32));
        if let Some(&session) = self.clients.get(client)
            && self.sessions[session].greeted.is_some()
        {
            self.ask_of_topic(cx, client, topic);
        }
    }

    fn ask_of_topic(&mut self, cx: &mut Context, client: &str, topic: TopicId) {
        let key = (client.to_owned(), topic);
        if let Some(ask) = self.topic_logs.get(&key).and_then(ClientLog::asks) {
            let join = TopicJoin::ByRight;
            let (client, topic) = key;
            let wish = TopicFollow { topic, join, ask };
            self.wish(cx, &client, TopicWish::Follow(Box::new(wish)));
        }
    }

    /// A client was greeted: it asks once more for the logs of topics that it follows.
    pub(super) fn ask_again(&mut self, cx: &mut Context, session: usize) {
        let client = self.sessions[session].client.clone();
        if self.topic_logs.is_empty() || self.clients.get(&client) != Some(&session) {
            return;
        }
        let of_it = self.topic_logs.keys().filter(|(of, _)| *of == client);
        let topics: Vec<_> = of_it.map(|(_, topic)| topic.clone()).collect();
        for topic in topics {
            self.ask_of_topic(cx, &client, topic);
        }
    }

    /// A client leaves a topic: it follows it no longer, and keeps what it holds.
    pub(super) fn follows_no_more(&mut self, client: &str, topic: &TopicId) {
        if let Some(log) = self.topic_logs.get_mut(&(client.to_owned(), topic.clone())) {
            log.brings = None;
        }
    }

    /// A client confirms one of the records of a topic that it holds, counted from the newest.
    pub(super) fn confirm_of_topic(
        &mut self,
        cx: &mut Context,
        client: &str,
        topic: TopicId,
        nth: u32,
    ) {
        let log = self.topic_logs.get(&(client.to_owned(), topic.clone()));
        let Some(position) = log.and_then(|log| log.nth(nth)) else {
            return;
        };
        let session = self.clients.get(client).copied();
        let Some(session) = session.filter(|session| self.sessions[*session].is_open()) else {
            return;
        };
        self.wish(cx, client, TopicWish::Ack(topic.clone(), position));
        cx.observe(Observed::Confirmed {
            session,
            topic: Some(topic),
            position,
        });
    }

    fn log_of(&mut self, session: usize, topic: Option<&TopicId>) -> Option<&mut ClientLog> {
        let client = &self.sessions[session].client;
        match topic {
            Some(topic) => self.topic_logs.get_mut(&(client.clone(), topic.clone())),
            None => self.logs.get_mut(client),
        }
    }

    /// A terminal is told where it stands in its log, or in that of a topic.
    pub(super) fn hear_of_log(
        &mut self,
        cx: &mut Context,
        session: usize,
        topic: Option<&TopicId>,
        word: LogWord,
    ) {
        if let Some(log) = self.log_of(session, topic) {
            match word {
                LogWord::Attached(attached) => match attached.recovery {
                    Recovery::Resumed => log.goes_back_to(attached.position),
                    Recovery::Anew | Recovery::Lost => log.starts_at(attached.position),
                },
                LogWord::Gap(position) => log.starts_at(position),
                LogWord::Back(position) => log.goes_back_to(position),
            }
        }
        let topic = topic.cloned();
        cx.observe(Observed::LogHeard {
            session,
            topic,
            word,
        });
    }

    /// A terminal has the record at this position, if it is one.
    pub(super) fn holds(
        &mut self,
        session: usize,
        topic: Option<&TopicId>,
        position: Option<Position>,
    ) {
        if let (Some(log), Some(position)) = (self.log_of(session, topic), position) {
            if log.held.len() == KEPT {
                log.held.remove(0);
            }
            log.held.push(position);
        }
    }
}
