//! The logs of topics that a terminal follows: where it stands in each, and what it is told of that.
//!
//! A terminal that is subscribed by itself learns it by the answer to its command. One that the server subscribes is to
//! learn it by the answer to its login, for which the logs are looked at before: what follows them afterwards begins where
//! the terminal was told that it does.

use std::collections::BTreeMap;

use switchboard_core::event::Follow;
use switchboard_core::frame::{Attached, HelloLog, LogNews, Recovery};
use switchboard_core::id::TopicId;
use switchboard_core::logs::LogPage;
use switchboard_core::topic::{TopicFollow, TopicJoin, TopicWish};

use super::super::EPOCH;
use super::super::code::INSUFFICIENT_STATE;
use super::super::message::{Push, Subscribe, SubscribeRequest, SubscribeResult};
use super::subscriptions::Subscription;
use super::{CloseCode, Session, Stage, Told, unplaced};

/// How a terminal stands in the log of a topic.
#[derive(Debug, Default)]
pub(super) struct FollowedLog {
    /// The offset that it has brought.
    brought: Option<u64>,
    /// That of the last record that it was sent, or where it was told that it stands.
    stands_at: Option<u64>,
    said: StandSaid,
    /// It wants to be refused if something is missing.
    is_refused_unrecovered: bool,
    /// What comes of the log comes to it.
    is_followed: bool,
}

/// What a terminal was told of where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum StandSaid {
    #[default]
    Nothing,
    /// Nothing is missing.
    Whole,
    /// Something may be missing.
    Doubtful,
}

/// The offset that a terminal wants to go on behind. One of another server is no position here, and stands for the
/// beginning of time.
pub(super) fn brought(request: &SubscribeRequest) -> Option<u64> {
    let offset = if is_ours(request) { request.offset } else { 0 };
    request.recover.then_some(offset)
}

fn is_ours(request: &SubscribeRequest) -> bool {
    request.epoch == EPOCH || request.epoch.is_empty()
}

impl FollowedLog {
    pub(super) fn behind(brought: Option<u64>) -> Self {
        Self {
            brought,
            ..Self::default()
        }
    }

    /// Of a terminal that is told at its login where it stands, by what was found in the log.
    fn found(brought: Option<u64>, page: Option<&LogPage>) -> Self {
        use StandSaid::{Doubtful, Nothing, Whole};
        let (stands_at, said) = match (brought, page) {
            (None, None) => (None, Nothing),
            (None, Some(page)) => (Some(page.head.offset()), Whole),
            (Some(offset), None) => (Some(offset), Doubtful),
            (Some(_), Some(page)) => match page.after {
                Some(after) => (Some(after.offset()), Whole),
                None => (Some(page.base.offset()), Doubtful),
            },
        };
        Self {
            brought,
            stands_at,
            said,
            ..Self::default()
        }
    }

    /// What it asks of the log. Where nothing was brought it goes on behind what it was told.
    fn ask(&self) -> Follow {
        Follow {
            behind: self.brought.or(self.stands_at),
            ..Follow::default()
        }
    }

    /// What it is told when it becomes a member.
    fn told(&mut self, log: Option<&HelloLog>) -> SubscribeResult {
        match log {
            Some(HelloLog::At(attached)) => self.attached(*attached),
            // It keeps what it holds. It cannot be told that nothing is missing, and gets what is kept if it comes back.
            Some(HelloLog::Unknown | HelloLog::NotAsked) | None => {
                self.stands_at = Some(self.brought.unwrap_or(0));
                self.said = StandSaid::Doubtful;
            }
        }
        self.result()
    }

    fn attached(&mut self, Attached { position, recovery }: Attached) {
        self.is_followed = true;
        self.stands_at = Some(position.offset());
        self.said = match recovery {
            Recovery::Anew | Recovery::Resumed => StandSaid::Whole,
            Recovery::Lost => StandSaid::Doubtful,
        };
    }

    fn result(&self) -> SubscribeResult {
        let was_recovering = self.brought.is_some();
        match self.said {
            StandSaid::Nothing => unplaced(),
            StandSaid::Whole | StandSaid::Doubtful => SubscribeResult {
                recoverable: true,
                positioned: true,
                epoch: EPOCH.to_owned(),
                offset: self.stands_at.unwrap_or(0),
                recovered: was_recovering && self.said == StandSaid::Whole,
                was_recovering,
                ..SubscribeResult::default()
            },
        }
    }
}

impl Session {
    /// What is to be looked for before the terminal is served that joins these topics: where it begins in their logs,
    /// behind the offset that it has brought. No more than it may be subscribed to.
    pub fn looks_for(&self, joins: &[TopicId]) -> Vec<(TopicId, Option<u64>)> {
        let Stage::LoggingIn { brought, .. } = &self.stage else {
            return Vec::new();
        };
        let recovered = (joins.iter()).filter(|topic| self.settings.namespaces.is_recovered(topic));
        let behind = |topic: &TopicId| brought.get(topic.as_str()).copied();
        let looked_for = recovered.map(|topic| (topic.clone(), behind(topic)));
        looked_for.take(self.settings.connection_topics).collect()
    }

    /// That was found in the log of a topic.
    pub fn found(&mut self, topic: TopicId, page: LogPage) {
        self.subscriptions.found.insert(topic, page);
    }

    /// It follows the logs of those of the topics to which the server subscribes it when it greets it, and of those that it
    /// knows from before if the application has it join them.
    pub(super) fn follow_by_server(&mut self, joins: &[TopicId], brought: &BTreeMap<String, u64>) {
        let found = std::mem::take(&mut self.subscriptions.found);
        let others = brought.iter().filter_map(|(name, offset)| {
            let topic = TopicId::new(name).ok()?;
            let is_recovered = self.settings.namespaces.is_recovered(&topic);
            (is_recovered && !joins.contains(&topic)).then_some((topic, *offset))
        });
        for (topic, offset) in others.take(self.settings.connection_topics) {
            let log = FollowedLog::behind(Some(offset));
            self.subscriptions.logs.insert(topic, log);
        }
        for topic in joins {
            if !self.settings.namespaces.is_recovered(topic) {
                continue;
            }
            let brought = brought.get(topic.as_str()).copied();
            let log = FollowedLog::found(brought, found.get(topic));
            self.subscriptions.logs.insert(topic.clone(), log);
            let wish = self.wish_to_join(topic, TopicJoin::AsMember);
            self.wishes.push_back(wish);
        }
    }

    /// To be a member of a topic, and to follow its log if it is one with a history.
    pub(super) fn wish_to_join(&self, topic: &TopicId, join: TopicJoin) -> TopicWish {
        match (self.subscriptions.logs.get(topic), join) {
            (Some(log), join) => TopicWish::Follow(Box::new(TopicFollow {
                topic: topic.clone(),
                join,
                ask: log.ask(),
            })),
            (None, TopicJoin::Allowed) => TopicWish::JoinAllowed(topic.clone()),
            (None, TopicJoin::ByRight | TopicJoin::AsMember) => TopicWish::Join(topic.clone()),
            (None, TopicJoin::Watching) => TopicWish::Watch(topic.clone()),
        }
    }

    /// It asks to be subscribed to a topic, and brings this.
    pub(super) fn brings(&mut self, topic: &TopicId, request: &SubscribeRequest) {
        if self.settings.namespaces.is_recovered(topic) {
            // A client that has nothing is missing nothing.
            let has_something = request.offset > 0 || !is_ours(request);
            let refused = request.flag & SubscribeRequest::REFUSED_UNRECOVERED != 0;
            let log = FollowedLog {
                is_refused_unrecovered: request.recover && refused && has_something,
                ..FollowedLog::behind(brought(request))
            };
            self.subscriptions.logs.insert(topic.clone(), log);
        }
    }

    /// Whether a terminal wants to be refused that has asked for a topic.
    pub(super) fn is_unrecovered(&self, topic: &TopicId, log: Option<&HelloLog>) -> bool {
        let followed = self.subscriptions.logs.get(topic);
        let is_lost = match log {
            Some(HelloLog::At(attached)) => attached.recovery == Recovery::Lost,
            Some(HelloLog::Unknown | HelloLog::NotAsked) | None => true,
        };
        is_lost && followed.is_some_and(|followed| followed.is_refused_unrecovered)
    }

    /// The application has it join a topic: it follows the log from here on, or from where it was.
    pub(super) fn follow_for_application(&mut self, topic: &TopicId) {
        if self.settings.namespaces.is_recovered(topic) {
            let logs = &mut self.subscriptions.logs;
            logs.entry(topic.clone()).or_default();
            let wish = self.wish_to_join(topic, TopicJoin::AsMember);
            self.wishes.push_back(wish);
        }
    }

    /// What a terminal is told of the log of a topic to which it has subscribed itself.
    pub(super) fn stand_told(
        &mut self,
        topic: &TopicId,
        log: Option<&HelloLog>,
    ) -> SubscribeResult {
        match self.subscriptions.logs.get_mut(topic) {
            Some(followed) => followed.told(log),
            None => SubscribeResult::default(),
        }
    }

    /// What it is told at its login of a topic to which the server subscribes it.
    pub(super) fn stand_of(&self, topic: &TopicId) -> SubscribeResult {
        let log = self.subscriptions.logs.get(topic);
        log.map_or_else(unplaced, FollowedLog::result)
    }

    /// The offset that the terminal holds of the log of a topic.
    pub(super) fn stands_in(&self, topic: &TopicId) -> Option<u64> {
        self.subscriptions.logs.get(topic)?.stands_at
    }

    /// It is known where a terminal begins in the log of a topic of which it was told that it is a member.
    pub(super) fn placed_in(&mut self, topic: &TopicId, attached: Attached) -> Told {
        let by_server = self.subscriptions.is_by_server(topic);
        let Some(log) = self.subscriptions.logs.get_mut(topic) else {
            return Told::Nothing;
        };
        match (log.said, attached.recovery) {
            (StandSaid::Nothing, _) if by_server => {
                log.attached(attached);
                let subscribe = Subscribe {
                    recoverable: true,
                    epoch: EPOCH.to_owned(),
                    offset: attached.position.offset(),
                    positioned: true,
                };
                let push = Push {
                    subscribe: Some(subscribe),
                    ..Push::default()
                };
                Told::Frame(self.of_topic(topic, push))
            }
            // What it was told was found is there no more: it comes back, and is told so.
            (StandSaid::Whole, Recovery::Lost) => self.loses_position(topic),
            (StandSaid::Nothing | StandSaid::Whole | StandSaid::Doubtful, _) => {
                log.is_followed = true;
                log.stands_at = Some(attached.position.offset());
                Told::Nothing
            }
        }
    }

    /// What was wanted for a terminal that the server has subscribed is refused, because it wants too much at once. It stays a
    /// member; if it is not told of the log it comes back.
    pub(super) fn wish_refused(&mut self, topic: &TopicId) -> Told {
        let log = self.subscriptions.logs.get(topic);
        match log.is_none_or(|log| log.is_followed) {
            true => Told::Nothing,
            false => self.loses_position(topic),
        }
    }

    /// There is news of the log of a topic.
    pub(super) fn log_news(&mut self, topic: &TopicId, news: LogNews) -> Told {
        match news {
            LogNews::At(attached) => self.placed_in(topic, attached),
            LogNews::Gap(_) => self.loses_position(topic),
            // What it holds stays what it holds, and what comes has offsets of its own.
            LogNews::Back(_) => Told::Nothing,
        }
    }

    /// The terminal has missed something. If it has subscribed itself it does so again, and is told what is missing.
    fn loses_position(&mut self, topic: &TopicId) -> Told {
        match self.subscriptions.get(topic) {
            Some(Subscription::ByItself) => {
                self.subscriptions.set(topic, Subscription::Lost);
                self.wishes.push_back(TopicWish::Lapse(topic.clone()));
                Told::Frame(self.unsubscribe_push(topic, INSUFFICIENT_STATE))
            }
            Some(Subscription::ByServer) => {
                self.close(CloseCode::PositionLost);
                Told::Close(CloseCode::PositionLost)
            }
            Some(
                Subscription::Asked { .. }
                | Subscription::Leaving(_)
                | Subscription::Expired
                | Subscription::Lost,
            )
            | None => Told::Nothing,
        }
    }

    /// The terminal is about to be sent a record of the log of a topic. Returns whether it is: what comes behind a gap would
    /// have it go on behind that.
    pub(super) fn is_sent_of(&mut self, topic: &TopicId, offset: u64) -> bool {
        if let Some(Subscription::Lost) = self.subscriptions.get(topic) {
            return false;
        }
        if let Some(log) = self.subscriptions.logs.get_mut(topic) {
            log.stands_at = Some(offset);
        }
        true
    }
}
