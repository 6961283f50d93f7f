//! Presence: who the members of topics are, for those of them that have asked.
//!
//! An instance with such members, *watchers*, reads the members of the topic from all instances that have some, as a
//! list is read that an application asks for: once a second, and as soon as there is a first watcher. It compares
//! what it has read with what its watchers know, and tells them what has changed. So each watcher has one source,
//! its own instance, and nothing that is lost between instances outlives the next reading.
//!
//! What watchers know has a *sequence*. A snapshot says it, and each change is of the next one: a terminal that misses
//! one sees that, and asks again. It is of this instance alone, and means nothing behind a reconnection.
//!
//! A user is there as long as one of its terminals is a member. Whoever is missing for a grace has left, and who is
//! back within it has never been away. A reading that is *incomplete*, because an instance does not answer or
//! somebody is in doubt, shows who is there and nothing else: nobody leaves by it. When the lease of a crashed
//! instance has run out, readings are complete without it, and its members have left, once, but for those with
//! another terminal.
//!
//! Of a large topic only the number of its members is told.

mod hooks;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::base::alarm::Alarm;
use crate::base::fingerprint::Fingerprint;
use crate::config::Config;
use crate::context::Context;
use crate::frame::{Presence, PresenceNews, SharedPresence};
use crate::id::{ConnectionKey, TopicId, UserId};
use crate::stats::Tables;
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::presence::MembersRead;
use crate::vocabulary::terminal::Age;
use crate::vocabulary::timer::PresenceTimer;

/// The time between two readings of a topic.
const PERIOD: Duration = Config::PRESENCE_PERIOD;

/// Members of a topic above which only their number is told.
const NAMED_MAX: usize = Config::PRESENCE_NAMED_MAX as usize;

/// The time between two steps of what is due.
const STEP: Duration = Config::BROADCAST_STEP;

/// Topics that are read in one step, at most.
const READ_IN_STEP: usize = 16;

/// Watchers that are told in one step, at most: a few more than there are of a topic whose members are named.
const TOLD_IN_STEP: usize = 256;

/// The topics with watchers at this instance.
#[derive(Clone, Debug)]
pub(crate) struct Presences {
    topics: BTreeMap<TopicId, Watched>,
    /// When something is due for each topic that is not being read.
    due: BTreeSet<(Instant, TopicId)>,
    step: Alarm,
}

/// A topic with watchers.
#[derive(Clone, Debug)]
struct Watched {
    /// Of what was told last.
    sequence: u64,
    /// What watchers know.
    known: KnownMembers,
    stage: WatchStage,
}

/// What watchers of a topic know.
#[derive(Clone, Debug)]
enum KnownMembers {
    /// Nothing yet.
    Nothing,
    /// Who the members are, and since when each is missing in what is read.
    Users(BTreeMap<UserId, Option<Instant>>),
    /// How many there are.
    Count(u64),
}

/// What is done for a topic.
#[derive(Clone, Debug)]
enum WatchStage {
    /// Its members are to be read at this moment.
    Waiting(Instant),
    /// They are being read.
    Reading,
    /// Watchers are told; those that are younger than this have been.
    Telling(Instant, Age, SharedPresence),
}

impl Presences {
    pub(crate) const fn new() -> Self {
        Self {
            topics: BTreeMap::new(),
            due: BTreeSet::new(),
            step: Alarm::UNSET,
        }
    }

    /// A member of a topic asks who the others are: it is told as soon as that is known.
    pub(crate) fn watching(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        topic: TopicId,
        connection: ConnectionKey,
    ) {
        let now = cx.now.mono;
        let watched = self.topics.entry(topic.clone()).or_insert_with(|| {
            self.due.insert((now, topic.clone()));
            Watched {
                sequence: 0,
                known: KnownMembers::Nothing,
                stage: WatchStage::Waiting(now),
            }
        });
        if let Some(news) = watched.known.snapshot() {
            let presence = watched.presence(topic, news);
            terminals.tell_presence(cx, connection, &presence);
        }
        self.arm(cx);
    }

    /// Does what is due. Returns the topics whose members are to be read.
    pub(crate) fn timer_due(
        &mut self,
        cx: &mut Context<'_>,
        terminals: &mut Terminals,
        PresenceTimer: PresenceTimer,
    ) -> Vec<TopicId> {
        let mut to_read = Vec::new();
        if !self.step.rings(cx.now.mono) {
            return to_read;
        }
        let mut told = 0;
        while to_read.len() < READ_IN_STEP && told < TOLD_IN_STEP {
            let Some((at, _)) = self.due.first() else {
                break;
            };
            if *at > cx.now.mono {
                break;
            }
            let Some((_, topic)) = self.due.pop_first() else {
                break;
            };
            let Some(watched) = self.topics.get_mut(&topic) else {
                cx.bug("a topic without watchers is due");
                continue;
            };
            if !terminals.has_watchers(&topic) {
                self.topics.remove(&topic);
                continue;
            }
            match &watched.stage {
                WatchStage::Waiting(_) => {
                    watched.stage = WatchStage::Reading;
                    to_read.push(topic);
                }
                WatchStage::Reading => cx.bug("a topic that is being read is due"),
                WatchStage::Telling(next, age, presence) => {
                    let (next, presence) = (*next, presence.clone());
                    let (count, rest) =
                        terminals.tell_watchers(cx, (&topic, *age), &presence, TOLD_IN_STEP);
                    told += count;
                    watched.stage = match rest {
                        Some(age) => WatchStage::Telling(next, age, presence),
                        None => WatchStage::Waiting(next),
                    };
                    let at = match rest {
                        Some(_) => cx.now.mono + STEP,
                        None => next,
                    };
                    self.due.insert((at, topic));
                }
            }
        }
        self.arm(cx);
        to_read
    }

    /// The members of a topic were read.
    pub(crate) fn members_read(&mut self, cx: &mut Context<'_>, read: MembersRead) {
        let now = cx.now.mono;
        let MembersRead { topic, members } = read;
        let Some(watched) = self.topics.get_mut(&topic) else {
            cx.bug("members were read of a topic without watchers");
            return;
        };
        let grace = hooks::grace(cx.flaws, cx.config.presence_grace);
        let news = members.and_then(|members| {
            let complete = hooks::believes_nobody_missing(cx.flaws, members.complete);
            let named = members.count <= NAMED_MAX as u64;
            let users = named.then_some(members.users);
            let flaws = cx.flaws;
            watched.known.update(
                (now, grace),
                (users, members.count),
                complete,
                |known, user| {
                    if hooks::forgets_who_has_left(flaws) {
                        known.remove(user);
                    }
                },
            )
        });
        let next = now + PERIOD;
        let at = match news {
            Some(news) => {
                watched.sequence += 1;
                let presence = watched.presence(topic.clone(), news);
                watched.stage = WatchStage::Telling(next, Age::YOUNGEST, presence);
                now
            }
            None => {
                watched.stage = WatchStage::Waiting(next);
                next
            }
        };
        self.due.insert((at, topic));
        self.arm(cx);
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        if let Some((at, _)) = self.due.first() {
            // What is left of what is due makes a step of its own.
            cx.set(&mut self.step, *at, PresenceTimer);
        }
    }

    /// Counts what is in its tables.
    pub(crate) fn count(&self, tables: &mut Tables) {
        tables.watched_topics = self.topics.len();
    }

    /// Its timers of which there is one.
    pub(crate) const fn alarms(&self) -> [Alarm; 1] {
        [self.step]
    }
}

impl Watched {
    fn presence(&self, topic: TopicId, news: PresenceNews) -> SharedPresence {
        SharedPresence::new(Presence {
            topic,
            sequence: self.sequence,
            news,
        })
    }
}

impl KnownMembers {
    /// All that is known, for somebody who knows nothing.
    fn snapshot(&self) -> Option<PresenceNews> {
        match self {
            Self::Nothing => None,
            Self::Users(users) => Some(PresenceNews::Users(users.keys().cloned().collect())),
            Self::Count(count) => Some(PresenceNews::Count(*count)),
        }
    }

    /// Takes in a reading: the users, if they are few, and how many members there are. Returns what is new.
    fn update(
        &mut self,
        (now, grace): (Instant, Duration),
        (users, count): (Option<Vec<UserId>>, u64),
        complete: bool,
        forget: impl Fn(&mut BTreeMap<UserId, Option<Instant>>, &UserId),
    ) -> Option<PresenceNews> {
        let Some(users) = users else {
            return self.update_count(count, complete);
        };
        match self {
            Self::Nothing => {}
            // Those who are missing may make them many.
            Self::Count(_) if !complete => return None,
            Self::Count(_) => {}
            Self::Users(known) => {
                let seen: BTreeSet<_> = users.into_iter().collect();
                let joined: Vec<_> = (seen
                    .iter()
                    .filter(|user| !known.contains_key(*user))
                    .cloned())
                .collect();
                let mut left = Vec::new();
                for (user, missing) in &mut *known {
                    if seen.contains(user) {
                        *missing = None;
                    } else if now.since(*missing.get_or_insert(now)) >= grace && complete {
                        left.push(user.clone());
                    }
                }
                left.iter().for_each(|user| forget(known, user));
                known.extend(joined.iter().map(|user| (user.clone(), None)));
                if known.len() > NAMED_MAX {
                    return self.update_count(count, complete);
                }
                let is_new = !joined.is_empty() || !left.is_empty();
                return is_new.then_some(PresenceNews::Changed { joined, left });
            }
        }
        *self = Self::Users(users.into_iter().map(|user| (user, None)).collect());
        self.snapshot()
    }

    fn update_count(&mut self, count: u64, complete: bool) -> Option<PresenceNews> {
        if let Self::Count(known) = self
            && (count == *known || count < *known && !complete)
        {
            return None;
        }
        *self = Self::Count(count);
        self.snapshot()
    }
}

impl Fingerprint for Presences {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        for (topic, watched) in &self.topics {
            topic.hash(hasher);
            watched.sequence.fingerprint(now, hasher);
            match &watched.known {
                KnownMembers::Nothing => hasher.write_u8(0),
                KnownMembers::Users(users) => {
                    hasher.write_u8(1);
                    for (user, missing) in users {
                        user.hash(hasher);
                        missing.fingerprint(now, hasher);
                    }
                }
                KnownMembers::Count(count) => {
                    hasher.write_u8(2);
                    count.fingerprint(now, hasher);
                }
            }
            match &watched.stage {
                WatchStage::Waiting(at) => at.fingerprint(now, hasher),
                WatchStage::Reading => hasher.write_u8(1),
                WatchStage::Telling(next, age, presence) => {
                    next.fingerprint(now, hasher);
                    age.fingerprint(now, hasher);
                    presence.hash(hasher);
                }
            }
        }
    }
}
