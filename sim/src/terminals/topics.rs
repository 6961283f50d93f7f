//! What clients have to do with topics: what they claim, ask for and are told.

use std::collections::BTreeMap;

use switchboard_core::event::Event;
use switchboard_core::frame::Outgoing;
use switchboard_core::id::{ConnectionId, ConnectionKey, TopicId};
use switchboard_core::time::Instant;
use switchboard_core::topic::{SharedRights, TopicJoin, TopicPattern, TopicRights, TopicWish};

use super::{Session, Terminals};
use crate::context::Context;
use crate::directory::Directory;
use crate::fingerprint::{Fingerprint, Print};
use crate::observed::{LogWord, Observed};
use crate::schedule::{Moment, TopicAct};

/// What a session has to do with one topic, as its client and its instance have said it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It may be a member: its token says so, or its instance has taken in that it wants to be one.
    may_be: bool,
    /// Until then it may have been one.
    until: Option<Instant>,
    /// Since when its instance says that it is one, and whether that says `degraded`.
    told: Option<(Instant, bool)>,
    /// Since when its instance says where it stands in the topic's log, without having said since then that it has
    /// left.
    follows: Option<Instant>,
    /// When it last began to leave, or was said to have left.
    left: Option<Instant>,
    /// Wishes to leave that its instance has not taken in.
    leaving: u32,
    /// Those that it has taken in, and not answered.
    unanswered: u32,
}

impl Standing {
    /// Whether it may have been a member at any time since a moment.
    pub fn may_have_been(&self, since: Instant) -> bool {
        self.may_be || self.until.is_some_and(|until| until >= since)
    }

    /// Since when its instance says that it is a member, and whether that says `degraded`. `None`: it does not,
    /// or the client has begun to leave.
    pub const fn told(&self) -> Option<(Instant, bool)> {
        match self.leaving {
            0 => self.told,
            _ => None,
        }
    }

    /// Since when its instance says where it stands in the topic's log. `None`: it does not, or the client has begun to
    /// leave.
    pub const fn follows(&self) -> Option<Instant> {
        match self.leaving {
            0 => self.follows,
            _ => None,
        }
    }

    /// Whether it has begun to leave, or was said to have left, since a moment.
    pub fn has_left_since(&self, since: Instant) -> bool {
        self.left.is_some_and(|left| left >= since)
    }

    fn may_join(&mut self) {
        self.may_be = true;
    }

    /// The client begins to leave, or its instance takes that in, or says that it has left.
    fn leaves(&mut self, now: Instant) {
        self.told = None;
        self.follows = None;
        self.left = Some(now);
    }

    fn ends(&mut self, now: Instant) {
        if std::mem::take(&mut self.may_be) {
            self.until = Some(now);
        }
    }
}

impl Session {
    /// What it has to do with a topic.
    pub fn standing(&self, topic: &TopicId) -> Standing {
        self.topics.get(topic).copied().unwrap_or_default()
    }

    /// The topics that it has, or had, anything to do with.
    pub fn topics(&self) -> impl Iterator<Item = (&TopicId, &Standing)> {
        self.topics.iter()
    }

    /// Whether its token allows it to join a topic by itself.
    pub fn may_join(&self, topic: &TopicId) -> bool {
        let patterns = self.rights.iter().flat_map(|rights| &rights.may_join);
        patterns.into_iter().any(|pattern| match pattern {
            TopicPattern::One(one) => one == topic,
            TopicPattern::Prefix(prefix) => topic.as_str().starts_with(prefix.as_str()),
        })
    }
}

impl Terminals {
    /// What a client does that has to do with topics.
    pub(crate) fn of_topic(&mut self, cx: &mut Context, client: &str, does: &TopicAct) {
        match does {
            TopicAct::Claim(claim) => {
                if let Ok(rights) = TopicRights::of_claim(claim.iter().map(String::as_str)) {
                    let rights = SharedRights::new(rights);
                    self.claims.0.insert(client.to_owned(), rights);
                }
            }
            TopicAct::Join(topic) => {
                if let Ok(topic) = TopicId::new(topic.as_str()) {
                    self.wish(cx, client, TopicWish::Join(topic));
                }
            }
            TopicAct::Watch(topic) => {
                if let Ok(topic) = TopicId::new(topic.as_str()) {
                    self.wish(cx, client, TopicWish::Watch(topic));
                }
            }
            TopicAct::Follow { topic, history } => {
                if let Ok(topic) = TopicId::new(topic.as_str()) {
                    self.follow_topic(cx, client, topic, *history);
                }
            }
            TopicAct::Confirm { topic, nth } => {
                if let Ok(topic) = TopicId::new(topic.as_str()) {
                    self.confirm_of_topic(cx, client, topic, *nth);
                }
            }
            TopicAct::Leave(topic) => {
                if let Ok(topic) = TopicId::new(topic.as_str()) {
                    self.follows_no_more(client, &topic);
                    self.wish(cx, client, TopicWish::Leave(topic));
                }
            }
        }
    }

    pub(super) fn wish(&mut self, cx: &mut Context, client: &str, wish: TopicWish) {
        let Some(&session) = self.clients.get(client) else {
            return;
        };
        let this = &mut self.sessions[session];
        let (Some(life), Some(connection), true) = (this.life, this.key, this.is_open()) else {
            return;
        };
        if !this.is_known() {
            // No driver takes it for more than a stranger's first frame.
            return;
        }
        match &wish {
            TopicWish::Join(_)
            | TopicWish::JoinAllowed(_)
            | TopicWish::Watch(_)
            | TopicWish::WatchAsMember(_)
            | TopicWish::Follow(_)
            | TopicWish::Ack(..)
            | TopicWish::Forbidden(_) => {}
            TopicWish::Leave(topic) | TopicWish::Lapse(topic) => {
                let standing = this.topics.entry(topic.clone()).or_default();
                standing.leaving += 1;
                standing.leaves(cx.now);
            }
        }
        let at = self.upwards(cx, session);
        cx.tell_at(life, at, Event::Topic { connection, wish });
    }

    /// An instance takes in what a terminal wants of a topic.
    pub(crate) fn wished(
        &mut self,
        cx: &mut Context,
        host: usize,
        connection: ConnectionKey,
        wish: &TopicWish,
    ) {
        let Some(socket) = self.sockets[host].get(&connection) else {
            return;
        };
        let session = socket.session();
        cx.observe(Observed::Wished {
            session,
            wish: wish.clone(),
        });
        let this = &mut self.sessions[session];
        match wish {
            TopicWish::Join(topic) | TopicWish::Watch(topic) => {
                if this.may_join(topic) {
                    this.topics.entry(topic.clone()).or_default().may_join();
                }
            }
            TopicWish::WatchAsMember(_) | TopicWish::Forbidden(_) | TopicWish::Ack(..) => {}
            TopicWish::Follow(wish) => {
                let asked = this.asked.entry(wish.topic.clone()).or_default();
                asked.push(wish.ask.clone());
                let is_allowed = match wish.join {
                    TopicJoin::ByRight | TopicJoin::Watching | TopicJoin::AsMember => {
                        this.may_join(&wish.topic)
                    }
                    TopicJoin::Allowed => true,
                };
                if is_allowed {
                    this.topics
                        .entry(wish.topic.clone())
                        .or_default()
                        .may_join();
                }
            }
            TopicWish::JoinAllowed(topic) => {
                this.topics.entry(topic.clone()).or_default().may_join();
            }
            TopicWish::Leave(topic) | TopicWish::Lapse(topic) => {
                let standing = this.topics.entry(topic.clone()).or_default();
                standing.leaving = standing.leaving.saturating_sub(1);
                standing.unanswered += 1;
                standing.leaves(cx.now);
                standing.ends(cx.now);
            }
        }
    }

    /// An instance says something to a terminal that has to do with topics.
    pub(super) fn hear_of_topics(&mut self, now: Instant, session: usize, outgoing: &Outgoing) {
        let this = &mut self.sessions[session];
        if let Some((Some(topic), LogWord::Attached(_))) = LogWord::of(outgoing) {
            let standing = this.topics.entry(topic.clone()).or_default();
            standing.follows = standing.follows.or(Some(now));
        }
        match outgoing {
            Outgoing::Hello { .. } => {
                for topic in this.rights.iter().flat_map(|rights| &rights.joins) {
                    this.topics.entry(topic.clone()).or_default().may_join();
                }
            }
            Outgoing::Joined {
                topic, degraded, ..
            } => {
                let standing = this.topics.entry(topic.clone()).or_default();
                standing.may_join();
                match standing.told {
                    Some((_, false)) => {}
                    Some((_, true)) if *degraded => {}
                    Some((_, true)) | None => standing.told = Some((now, *degraded)),
                }
            }
            Outgoing::Left(topic) => {
                let standing = this.topics.entry(topic.clone()).or_default();
                standing.leaves(now);
                match standing.unanswered {
                    0 => standing.ends(now),
                    _ => standing.unanswered -= 1,
                }
            }
            Outgoing::NotJoined(..)
            | Outgoing::NotWatched(..)
            | Outgoing::Presence(_)
            | Outgoing::TopicLog(..)
            | Outgoing::Log(_)
            | Outgoing::Gap(_)
            | Outgoing::Back(_)
            | Outgoing::Received(_)
            | Outgoing::Pushed(_)
            | Outgoing::Record(_) => {}
        }
    }

    /// The word that a client has joined a topic is with the operating system.
    pub(super) fn joined(&self, cx: &mut Context, session: usize) {
        self.moment(cx, Moment::Joined, session);
    }

    /// The sessions that are members of one of these topics since a moment, as they were told; `rowless`: those of
    /// them too that were told so as `degraded`, and whose instance is found by now. But for one connection.
    pub(crate) fn members_since(
        &self,
        cx: &Context,
        directory: &Directory,
        first: Instant,
        rowless: bool,
        (topics, except): (&[TopicId], Option<ConnectionId>),
    ) -> Vec<usize> {
        let is_told = |session: &Session, topic: &TopicId| match session.standing(topic).told() {
            Some((at, false)) => at <= first,
            Some((at, true)) => {
                let holder = session.life.map(|life| cx.instance_id(life));
                let is_found =
                    holder.is_some_and(|holder| directory.is_entered(cx.now, topic, holder));
                rowless && at <= first && is_found
            }
            None => false,
        };
        (self.sessions.iter().enumerate())
            .filter(|(_, session)| {
                session.is_open()
                    && (except.is_none() || session.id != except)
                    && topics.iter().any(|topic| is_told(session, topic))
            })
            .map(|(number, _)| number)
            .collect()
    }
}

/// What the tokens of clients say of topics.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(BTreeMap<String, SharedRights>);

impl Claims {
    /// What that of a client says.
    pub(super) fn of(&self, client: &str) -> Option<SharedRights> {
        self.0.get(client).cloned()
    }
}

impl Fingerprint for Claims {
    fn fingerprint(&self, to: &mut Print) {
        to.word(&self.0);
    }
}

/// What sessions have to do with topics.
pub(super) type Standings = BTreeMap<TopicId, Standing>;
