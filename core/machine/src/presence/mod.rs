//! Presence: who the members of topics are, for those of them that have asked.
//!
//! An instance with such members, *watchers*, reads the members of the topic from all instances that have some, as a
//! list is read that an application asks for: once a second, more often while somebody is in doubt, and as soon as there
//! is a first watcher. It compares what it has read with what its watchers know, and tells them what has changed. So
//! each watcher has one source, its own instance, and nothing that is lost between instances outlives the next reading.
//!
//! What watchers know has a *sequence*. A snapshot says it, and each change is of the next one: a terminal that misses
//! one sees that, and asks again. It is of this instance alone, and means nothing behind a reconnection.
//!
//! A user is there as long as one of its terminals is a member. A user that is missing for a grace has left, and one
//! that is back within it has never been away. A reading that is *incomplete*, because an instance does not answer or
//! somebody is in doubt, shows who is there and nothing else: nobody leaves by it, the grace begins anew behind it, and
//! what is told of it says so. When the lease of a crashed instance has expired, readings are complete without it, and
//! its members have left, once, but for those with another terminal.
//!
//! Of a large topic only the number of its members is told.
//!
//! Terminals decide how many topics are watched. So an instance has a pace of readings
//! ([`presence_rate`](Config::presence_rate)); beyond it each topic is read less often.

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

/// The time between two readings of a topic while somebody is in doubt: the grace of those who are missing begins soon
/// after the doubt is over, which nobody says.
const PERIOD_IN_DOUBT: Duration = Duration::from_millis(250);

/// Members of a topic above which only their number is told.
const NAMED_MAX: usize = Config::PRESENCE_NAMED_MAX as usize;

/// The time between two steps of what is due.
const STEP: Duration = Config::BROADCAST_STEP;

/// A reading that begins so much later than it is due is late: more is watched than the pace is for.
const LATE: Duration = Duration::from_millis(100);

/// Watchers that are told in one step, at most: a few more than there are of a topic whose members are named.
const TOLD_IN_STEP: usize = 256;

/// The topics with watchers at this instance.
#[derive(Clone, Debug)]
pub(crate) struct Presences {
    topics: BTreeMap<TopicId, Watched>,
    /// When each topic is to be read that waits for that.
    unread: BTreeSet<(Instant, TopicId)>,
    /// The pace allows no reading before.
    unread_from: Instant,
    /// When watchers of each topic are told that has news for them.
    untold: BTreeSet<(Instant, TopicId)>,
    step: Alarm,
}

/// A topic with watchers.
#[derive(Clone, Debug)]
struct Watched {
    /// Of what was told last.
    sequence: u64,
    /// Who the members are, as watchers were told last.
    known: KnownMembers,
    doubt: ReadingDoubt,
    stage: WatchStage,
}

/// Whether what was read last is all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ReadingDoubt {
    /// It is all there is.
    None,
    /// It may not be, and no watcher was told anything of it.
    Unsaid,
    /// It may not be, which watchers were told. They are told when it is over.
    Said,
}

/// What watchers of a topic know.
#[derive(Clone, Debug)]
enum KnownMembers {
    /// Nothing, as the topic was not read yet.
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
            unread: BTreeSet::new(),
            unread_from: Instant::START,
            untold: BTreeSet::new(),
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
            self.unread.insert((now, topic.clone()));
            Watched {
                sequence: 0,
                known: KnownMembers::Nothing,
                doubt: ReadingDoubt::None,
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
        if !self.step.rings(cx.now.mono) {
            return Vec::new();
        }
        self.tell(cx, terminals);
        let to_read = self.take_unread(cx, terminals);
        self.arm(cx);
        to_read
    }

    /// Tells some of the watchers that have not been told what is new.
    fn tell(&mut self, cx: &mut Context<'_>, terminals: &mut Terminals) {
        let mut told = 0;
        while told < TOLD_IN_STEP {
            let due = self.untold.first().filter(|(at, _)| *at <= cx.now.mono);
            let Some((_, topic)) = due.cloned().and_then(|due| self.untold.take(&due)) else {
                return;
            };
            let Some(watched) = self.topics.get_mut(&topic) else {
                cx.bug("watchers of a topic without watchers are told");
                continue;
            };
            let WatchStage::Telling(next, age, presence) = &watched.stage else {
                cx.bug("watchers are told that have no news");
                continue;
            };
            let (next, age, presence) = (*next, *age, presence.clone());
            let (count, rest) = terminals.tell_watchers(cx, (&topic, age), &presence, TOLD_IN_STEP);
            told += count;
            match rest {
                Some(age) => {
                    watched.stage = WatchStage::Telling(next, age, presence);
                    self.untold.insert((cx.now.mono + STEP, topic));
                }
                None => {
                    watched.stage = WatchStage::Waiting(next);
                    self.unread.insert((next, topic));
                }
            }
        }
    }

    /// The topics that are read at this moment, as many as the pace allows.
    fn take_unread(&mut self, cx: &mut Context<'_>, terminals: &Terminals) -> Vec<TopicId> {
        let now = cx.now.mono;
        let pace = cx.config.presence_pace();
        let mut to_read = Vec::new();
        while now >= self.unread_from && to_read.len() < pace.readings as usize {
            let due = self.unread.first().filter(|(at, _)| *at <= now);
            let Some((at, topic)) = due.cloned().and_then(|due| self.unread.take(&due)) else {
                break;
            };
            let Some(watched) = self.topics.get_mut(&topic) else {
                cx.bug("a topic without watchers is to be read");
                continue;
            };
            if !terminals.has_watchers(&topic) {
                self.topics.remove(&topic);
                continue;
            }
            watched.stage = WatchStage::Reading;
            cx.stats.presence_readings += 1;
            cx.stats.presence_readings_late += u64::from(now.since(at) >= LATE);
            to_read.push(topic);
        }
        if !to_read.is_empty() {
            self.unread_from = now + pace.step;
        }
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
        let complete = members.as_ref().is_some_and(|members| members.complete);
        let mut next = now + PERIOD;
        let news = match members {
            Some(members) => {
                if !members.complete && members.count <= NAMED_MAX as u64 {
                    next = now + PERIOD_IN_DOUBT;
                }
                let believed = hooks::believes_nobody_missing(cx.flaws, members.complete);
                let named = members.count <= NAMED_MAX as u64;
                let users = named.then_some(members.users);
                let flaws = cx.flaws;
                watched.known.update(
                    (now, grace),
                    (users, members.count),
                    believed,
                    |known, user| {
                        if hooks::forgets_who_has_left(flaws) {
                            known.remove(user);
                        }
                    },
                )
            }
            None => {
                watched.known.none_is_missing();
                None
            }
        };
        match watched.judged(complete, news) {
            Some(news) => {
                watched.sequence += 1;
                let presence = watched.presence(topic.clone(), news);
                watched.stage = WatchStage::Telling(next, Age::YOUNGEST, presence);
                self.untold.insert((now, topic));
            }
            None => {
                watched.stage = WatchStage::Waiting(next);
                self.unread.insert((next, topic));
            }
        }
        self.arm(cx);
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        let unread = self
            .unread
            .first()
            .map(|(at, _)| (*at).max(self.unread_from));
        let untold = self.untold.first().map(|(at, _)| *at);
        if let Some(at) = unread.into_iter().chain(untold).min() {
            // What is left of what is due makes a step of its own.
            cx.set(&mut self.step, at, PresenceTimer);
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
    /// Takes in whether a reading was complete. Returns what is told of it: also that a doubt is over which was told.
    fn judged(&mut self, complete: bool, news: Option<PresenceNews>) -> Option<PresenceNews> {
        let before = self.doubt;
        self.doubt = match (complete, before) {
            (true, _) => ReadingDoubt::None,
            (false, ReadingDoubt::None | ReadingDoubt::Unsaid) => ReadingDoubt::Unsaid,
            (false, ReadingDoubt::Said) => ReadingDoubt::Said,
        };
        match (news, complete, before) {
            (Some(news), ..) => Some(news),
            (None, true, ReadingDoubt::Said) => self.known.nothing_new(),
            (None, true, ReadingDoubt::None | ReadingDoubt::Unsaid) | (None, false, _) => None,
        }
    }

    /// What is told to watchers.
    fn presence(&mut self, topic: TopicId, news: PresenceNews) -> SharedPresence {
        let degraded = match self.doubt {
            ReadingDoubt::None => false,
            ReadingDoubt::Unsaid | ReadingDoubt::Said => true,
        };
        if degraded {
            self.doubt = ReadingDoubt::Said;
        }
        SharedPresence::new(Presence {
            topic,
            sequence: self.sequence,
            degraded,
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

    /// That what is known is so.
    fn nothing_new(&self) -> Option<PresenceNews> {
        match self {
            Self::Nothing => None,
            Self::Users(_) => Some(PresenceNews::Changed {
                joined: Vec::new(),
                left: Vec::new(),
            }),
            Self::Count(count) => Some(PresenceNews::Count(*count)),
        }
    }

    /// Nobody knows who is missing: whoever is away has been so from the next reading on.
    fn none_is_missing(&mut self) {
        match self {
            Self::Users(users) => users.values_mut().for_each(|missing| *missing = None),
            Self::Nothing | Self::Count(_) => {}
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
                    if seen.contains(user) || !complete {
                        *missing = None;
                    } else if now.since(*missing.get_or_insert(now)) >= grace {
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
        self.unread_from.fingerprint(now, hasher);
        for (topic, watched) in &self.topics {
            topic.hash(hasher);
            (watched.sequence, watched.doubt).hash(hasher);
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
                WatchStage::Waiting(at) => {
                    hasher.write_u8(0);
                    at.fingerprint(now, hasher);
                }
                WatchStage::Reading => hasher.write_u8(1),
                WatchStage::Telling(next, age, presence) => {
                    hasher.write_u8(2);
                    next.fingerprint(now, hasher);
                    age.fingerprint(now, hasher);
                    presence.hash(hasher);
                }
            }
        }
    }
}
