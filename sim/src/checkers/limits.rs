//! `limits`: no queue and no table outgrows its limit, and what a limit costs is told.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::config::{Config, SlowConsumer};
use switchboard_core::event::Refused;
use switchboard_core::frame::{CloseCode, NotJoined, Outgoing};
use switchboard_core::id::{TopicId, UserId};
use switchboard_core::message::{Action, Audience, Outcome, PushRefused, Receipt};
use switchboard_core::time::Instant;

use super::allowance::may_be_closing;
use super::topic_members::may_be_member;
use crate::checker::{Checker, Scene, Watch};
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{HandIn, Life, Observed, Topic};
use crate::publishing::{HandInProgress, HandedIn, Published};
use crate::terminals::Pace;

/// Every queue and table is within its limit. A refusal, or a queue that is said to be full, has enough
/// entries to explain it; a frame that is lost to a full queue is told, and its terminal is treated as
/// the policy says. A terminal that takes what it is sent, however slowly, is not given up.
#[derive(Clone, Debug)]
pub struct Limits {
    told: Vec<ToldOutcome>,
    /// When each session has had wishes that have to do with topics.
    wishes: BTreeMap<usize, Vec<Instant>>,
    /// Until then pushes are under way, and queues may grow.
    busy_until: Instant,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            told: Vec::new(),
            wishes: BTreeMap::new(),
            busy_until: Instant::START,
        }
    }
}

/// What a receipt said of one terminal, and what must follow from that.
#[derive(Clone, Copy, Debug)]
struct ToldOutcome {
    push: usize,
    session: usize,
    follows: Follows,
}

/// What must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    /// The frame was queued: it is written, or the connection ends.
    Written,
    /// The queue was full, and the policy is to close: the connection ends.
    Closed,
}

/// A terminal that reads is told of a refusal within this time.
const SAID: Duration = Duration::from_secs(5);
/// How long a terminal must have read, and its instance have run, until what was queued is written.
const WELL: Duration = Duration::from_secs(1);
/// A queued frame is looked for so often.
const LOOK: Duration = Duration::from_secs(2);
/// A receipt can tell so late of a queue that was full: at the deadline, a turn after it.
const TOLD_AFTER: Duration = Config::DEADLINE_DEFAULT.saturating_add(Duration::from_millis(100));

impl Checker for Limits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn topics(&self) -> &'static [Topic] {
        &[
            Topic::Sessions,
            Topic::Pushes,
            Topic::Turns,
            Topic::Time,
            Topic::Words,
        ]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::HandedIn(_) => self.busy_until = watch.now() + TOLD_AFTER,
            Observed::Turned(life) if watch.now() <= self.busy_until => levels(watch, *life),
            Observed::Tick => {
                for host in watch.scene().hosts() {
                    levels(watch, host.life());
                    held_back(watch, host.life());
                }
            }
            Observed::Refused { session, refused } => terminal_refused(watch, *session, *refused),
            Observed::PushRefused { hand_in, refused } => push_refused(watch, *hand_in, *refused),
            Observed::Answered { hand_in, receipt } => self.answered(watch, *hand_in, receipt),
            Observed::Wished { session, .. } => {
                self.wishes.entry(*session).or_default().push(watch.now());
            }
            Observed::Given {
                session,
                outgoing: Outgoing::NotJoined(topic, why),
            } => {
                let wishes = self.wishes.get(session).map_or(&[][..], Vec::as_slice);
                not_joined(watch, (*session, wishes), topic, *why);
            }
            Observed::Given {
                session,
                outgoing: Outgoing::Joined { topic, .. },
            } => joined(watch, *session, topic),
            Observed::SeenClose { session, code } if *code == CloseCode::PingTimeout => {
                given_up(watch, *session);
            }
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let ToldOutcome {
            push,
            session,
            follows,
        } = self.told[what as usize];
        let this = &watch.scene().sessions()[session];
        let written = this.has_written(watch.scene().pushes()[push].id());
        if !this.is_open() || (follows == Follows::Written && written) {
            return watch.held();
        }
        // An instance that stands still does nothing, and a terminal that does not read gets nothing.
        let holder = this.life().map(|life| Scope::Instance(life.host));
        let disturbed =
            watch.excuse(
                watch.now().before(WELL),
                watch.now(),
                |excuse: &Excuse| match excuse.kind.part() {
                    Part::Process => Some(excuse.scope) == holder,
                    Part::Terminal => {
                        excuse.kind == FaultKind::SlowReader
                            && excuse.scope == Scope::Session(session)
                            && follows == Follows::Written
                    }
                    Part::Life | Part::Directory | Part::Links | Part::NoExcuse => false,
                },
            );
        if disturbed.is_some() || (follows == Follows::Written && this.pace() != Pace::AtOnce) {
            return watch.call_at(watch.now() + LOOK, what);
        }
        watch.violated(match follows {
            Follows::Written => format!(
                "push {push} was queued for session {session}, which reads, and it is not written"
            ),
            Follows::Closed => format!(
                "the queue of session {session} was full, as the receipt of push {push} says, and \
                 it is not closed"
            ),
        });
    }
}

impl Limits {
    fn answered(&mut self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let push = hand_in.push;
        let published = &watch.scene().pushes()[push];
        let config = watch.scene().config();
        let bytes = published.payload().map_or(0, |payload| payload.len());
        let fits = bytes <= config.push_bytes && published.users().len() <= config.push_users;
        judge(watch, fits, || {
            format!("push {push} was taken, and is larger than it may be")
        });
        match published.action() {
            Action::Frame(_) | Action::Close(_) => {}
            // They take no room, and wait for the directory.
            Action::Join(_) | Action::Leave(_) | Action::List { .. } => return,
        }
        let (policy, patience) = (config.slow_consumer, config.close_timeout);
        for terminal in &receipt.terminals {
            let Some(session) = watch.scene().session_of(terminal.connection) else {
                continue;
            };
            let (follows, within) = match (terminal.outcome, policy) {
                // What is queued may give way to what comes later.
                (Outcome::Queued, SlowConsumer::DropOldest) => continue,
                (Outcome::Queued, SlowConsumer::Close | SlowConsumer::DropNewest) => {
                    (Follows::Written, LOOK)
                }
                (Outcome::Overflow, policy) => {
                    judge(watch, could_be_full(watch, hand_in, session), || {
                        format!(
                            "the queue of session {session} cannot have been full at push {push}"
                        )
                    });
                    // A follower reads later what its log has, and is not closed for being slow.
                    let follows = watch.scene().sessions()[session].follows_any();
                    if policy != SlowConsumer::Close || follows {
                        continue;
                    }
                    (Follows::Closed, patience + WELL)
                }
                (
                    Outcome::Written
                    | Outcome::Kept
                    | Outcome::Gone
                    | Outcome::Unreachable
                    | Outcome::TooLarge
                    | Outcome::Acked,
                    _,
                ) => continue,
            };
            watch.call_at(watch.now() + within, self.told.len() as u64);
            self.told.push(ToldOutcome {
                push,
                session,
                follows,
            });
        }
    }
}

fn judge(watch: &mut Watch<'_>, holds: bool, otherwise: impl FnOnce() -> String) {
    if holds {
        watch.held();
    } else {
        watch.violated(otherwise());
    }
}

/// A terminal that reads is not given up for its silence, however long its pings wait behind frames.
fn given_up(watch: &mut Watch<'_>, session: usize) {
    let timeout = watch.scene().config().ping_timeout;
    // The ping may have been repeated once.
    let since = watch.now().before(timeout * 3);
    let has_read = watch.scene().sessions()[session].has_read_since(since);
    judge(watch, !has_read, || {
        format!("session {session} reads, and is closed for its silence")
    });
}

/// What an instance holds is within its limits.
fn levels(watch: &mut Watch<'_>, life: Life) {
    let host = watch.scene().host(life.host);
    let levels = host.and_then(|host| host.levels()).into_iter().flatten();
    let over = levels.into_iter().find(|level| {
        let (limit, of_one_push) = match level.setting {
            "repeat_entries" => (
                watch.scene().config().repeat_entries,
                members_of_several(watch.scene(), life),
            ),
            _ => (level.limit, 0),
        };
        level.used > limit.max(of_one_push)
    });
    judge(watch, over.is_none(), || {
        format!("i{}: {over:?}", life.host + 1)
    });
}

/// Terminals that a push to several topics can have come to more than once: all of them are remembered, however many.
fn members_of_several(scene: Scene<'_>, life: Life) -> usize {
    let here = (scene.sessions().iter()).filter(|session| session.life() == Some(life));
    here.filter(|session| session.topics().count() > 1).count()
}

/// What an instance holds back for followers is no more than it may of each log, and its links are counted right.
fn held_back(watch: &mut Watch<'_>, life: Life) {
    let host = watch.scene().host(life.host);
    let Some(tables) = host.and_then(|host| host.tables()) else {
        return;
    };
    // The two count the same in other ways.
    let levels = host.and_then(|host| host.levels()).into_iter().flatten();
    let links = levels.filter(|level| level.setting == "links");
    let links: usize = links.map(|level| level.used).sum();
    judge(watch, links + tables.strangers == tables.links, || {
        format!(
            "i{} has {} links, {} of strangers and {links} others",
            life.host + 1,
            tables.links,
            tables.strangers
        )
    });
    let records = tables.held <= tables.channels * Config::RECORDS_HELD;
    let bytes = tables.held_bytes <= tables.channels * Config::BYTES_HELD;
    judge(watch, records && bytes, || {
        format!(
            "i{} holds back {} records of {} bytes of {} logs",
            life.host + 1,
            tables.held,
            tables.held_bytes,
            tables.channels
        )
    });
}

/// A terminal is refused only if so many are there.
fn terminal_refused(watch: &mut Watch<'_>, session: usize, refused: Refused) {
    let scene = watch.scene();
    let this = &scene.sessions()[session];
    let Some(host) = this.life().and_then(|life| scene.host(life.host)) else {
        return;
    };
    let sessions = || host.sessions().map(|number| &scene.sessions()[number]);
    let strangers = scene.config().strangers();
    let (there, limit, said) = match refused {
        Refused::Full { limit } if limit == strangers && !this.is_known() => {
            let unknown = sessions().filter(|other| !other.is_known());
            (unknown.count(), strangers, limit)
        }
        Refused::Full { limit } => (host.sessions().len(), scene.config().connections, limit),
        Refused::TooManyOfUser { limit } => {
            let same = sessions().filter(|other| other.is_known() && other.user() == this.user());
            (same.count(), scene.config().connections_per_user, limit)
        }
        Refused::TokenExpired | Refused::Draining => return,
    };
    judge(watch, there >= limit && said == limit, || {
        format!("session {session} is refused ({refused}), and {there} are there")
    });
}

/// A terminal is refused a topic for a limit only if that is reached: it has so many topics, or has asked for so many, or the
/// topic has so many members at its instance.
fn not_joined(
    watch: &mut Watch<'_>,
    (session, wishes): (usize, &[Instant]),
    topic: &TopicId,
    why: NotJoined,
) {
    let scene = watch.scene();
    let (this, config) = (&scene.sessions()[session], scene.config());
    let said = watch.now().before(SAID);
    let holder = this.life().map(|life| Scope::Instance(life.host));
    // It is said later to whom does not read; and an instance that stands still learns of nobody's end.
    let late = watch.excuse(said, watch.now(), |excuse| {
        let unread =
            excuse.kind == FaultKind::SlowReader && excuse.scope == Scope::Session(session);
        unread || excuse.kind.part() == Part::Process && Some(excuse.scope) == holder
    });
    let since = late.map_or(said, |late| late.from.before(SAID));
    // So many may come in a second, and wait for their answer.
    let lately = since.before(Duration::from_secs(1));
    let wishes = wishes.iter().filter(|at| **at >= lately).count();
    let (there, limit): (usize, usize) = match why {
        NotJoined::NotAllowed => return,
        NotJoined::TooFast => (wishes, config.topic_joins as usize),
        NotJoined::TooMany => {
            let others = this.topics().map(|(other, _)| other);
            let of = others.filter(|other| may_be_member(scene, session, other, since));
            // An application may want it to be a member of others.
            let joins = scene.pushes().iter().filter(|push| {
                matches!(push.action(), Action::Join(_)) && push.is_for(this.user())
            });
            let of = of.count() + joins.count();
            (of.max(wishes), config.connection_topics)
        }
        NotJoined::Full => {
            // Some may have gone since it was refused.
            let others = scene
                .sessions()
                .iter()
                .enumerate()
                .filter(|(number, other)| {
                    let was_there = other.ended().is_none_or(|ended| ended >= since);
                    *number != session && other.life() == this.life() && was_there
                });
            let members = others.filter(|(other, _)| may_be_member(scene, *other, topic, since));
            (members.count(), config.topic_members)
        }
    };
    judge(watch, there >= limit, || {
        format!(
            "session {session} is refused {topic:?} ({why:?}), and {there} of {limit} are there"
        )
    });
}

/// A terminal is a member of so many topics at most, and a topic has so many members at an instance. One that is sent away is
/// none any more, although it may not have been told.
fn joined(watch: &mut Watch<'_>, session: usize, topic: &TopicId) {
    let scene = watch.scene();
    let config = scene.config();
    let this = &scene.sessions()[session];
    let others = this
        .topics()
        .filter(|(other, standing)| *other != topic && standing.told().is_some());
    let of = others.count() + 1;
    let members = scene
        .sessions()
        .iter()
        .enumerate()
        .filter(|(number, other)| {
            *number != session
                && other.life() == this.life()
                && other.is_open()
                && other.standing(topic).told().is_some()
                && !may_be_closing(watch, *number)
        });
    let members = members.count() + 1;
    judge(
        watch,
        of <= config.connection_topics && members <= config.topic_members,
        || {
            format!(
                "session {session} is a member of {of} topics, of {}, and {topic:?} has {members} members at its \
                 instance, of {}",
                config.connection_topics, config.topic_members
            )
        },
    );
}

/// A push is refused only if so many wait.
fn push_refused(watch: &mut Watch<'_>, hand_in: HandIn, refused: PushRefused) {
    let scene = watch.scene();
    let published = &scene.pushes()[hand_in.push];
    let life = published.times()[hand_in.time].life;
    let config = scene.config();
    let bytes_of = || published.payload().map_or(0, |payload| payload.len());
    let (waiting, limit): (usize, usize) = match refused {
        PushRefused::Overloaded => {
            let waiting = taken_at(watch, life).filter(|(_, time)| waits(time));
            (waiting.count(), config.pushes)
        }
        PushRefused::UserOverloaded => {
            let lanes = published.users().iter().map(|user| lane(watch, life, user));
            (lanes.max().unwrap_or(0), config.pushes_per_user)
        }
        PushRefused::TooLarge { bytes, limit }
            if bytes == bytes_of() && limit == config.push_bytes =>
        {
            (bytes, limit)
        }
        PushRefused::TooManyUsers { users, limit }
            if users == published.users().len() && limit == config.push_users =>
        {
            (users, limit)
        }
        // It says something else than what is, or nobody names connections.
        PushRefused::TooLarge { .. }
        | PushRefused::TooManyUsers { .. }
        | PushRefused::TooManyConnections { .. } => (0, 0),
        // It names somebody, and its deadline is the default one.
        PushRefused::NoUsers | PushRefused::Deadline => (0, 0),
        // What is durable is for users that are named, or for one topic.
        PushRefused::NotForUsers => (0, 0),
        // Nobody pushes to topics.
        PushRefused::NoTopics
        | PushRefused::TooManyTopics { .. }
        | PushRefused::List
        | PushRefused::NotForTopics => (0, 0),
        // A schedule has logs keep what the settings allow.
        PushRefused::Retention { .. } => (0, 0),
        PushRefused::DirectoryAway if published.durable().is_some() || published.keeps() => return,
        PushRefused::DirectoryAway => (0, 0),
        PushRefused::Stopped => return,
    };
    // It counts itself among those that wait.
    judge(watch, waiting > limit, || {
        format!(
            "push {} is refused ({refused}), and {waiting} of {limit} wait",
            hand_in.push
        )
    });
}

/// Each time that an instance took a push.
fn taken_at<'a>(
    watch: &Watch<'a>,
    life: Life,
) -> impl Iterator<Item = (&'a Published, &'a HandedIn)> {
    let pushes = watch.scene().pushes().iter();
    let times = pushes.flat_map(|push| push.times().iter().map(move |time| (push, time)));
    times.filter(move |(_, time)| time.life == life && time.progress != HandInProgress::OnItsWay)
}

fn waits(time: &HandedIn) -> bool {
    time.progress == HandInProgress::Taken
}

/// How many pushes for a user wait at an instance, or stand behind one that waits.
fn lane(watch: &Watch<'_>, life: Life, user: &UserId) -> usize {
    let of_user = || taken_at(watch, life).filter(|(push, _)| push.users().contains(user));
    let waiting = of_user().filter(|(_, time)| waits(time));
    let Some(first) = waiting.map(|(_, time)| time.sequence).min() else {
        return 0;
    };
    of_user().filter(|(_, time)| time.sequence >= first).count()
}

/// Bytes of the frame that announces a record to its followers, at most.
const ANNOUNCED: usize = 128;

/// Whether enough came for a terminal to fill its queue, as the answer to a push has just told: pushes that
/// can have waited there lately, or when the push came for the first time, whose outcome its repeats are told. What
/// answers the terminal's messages takes no room.
fn could_be_full(watch: &Watch<'_>, hand_in: HandIn, session: usize) -> bool {
    let scene = watch.scene();
    let (this, config) = (&scene.sessions()[session], scene.config());
    let times = scene.pushes()[hand_in.push].times();
    let publisher = times[hand_in.time].life;
    let earlier = times[..hand_in.time].iter().map(|time| time.at).min();
    let lately = watch.now().before(TOLD_AFTER);
    let lately = earlier.map_or(lately, |earlier| lately.min(earlier));
    let hosts = [Some(publisher.host), this.life().map(|life| life.host)];
    // What an instance that stands still, or a link, has held back comes all at once.
    let held_back = watch.excuse(lately, watch.now(), |excuse| match excuse.scope {
        Scope::All => excuse.kind.part() == Part::Links,
        Scope::Between(one, other) => hosts.contains(&Some(one)) || hosts.contains(&Some(other)),
        Scope::Instance(host) => excuse.kind.part() == Part::Process && hosts.contains(&Some(host)),
        Scope::Session(_) => false,
    });
    let lately = held_back.map_or(lately, |excuse| excuse.from.before(TOLD_AFTER));
    // What came earlier is still there only if the terminal did not read.
    let can_wait = |since: Instant| {
        let slow = || {
            watch.excuse(since, watch.now(), |excuse| {
                excuse.kind == FaultKind::SlowReader && excuse.scope == Scope::Session(session)
            })
        };
        since >= lately || slow().is_some()
    };
    let (mut frames, mut bytes) = (0, 0);
    let for_it = (scene.pushes().iter())
        .filter(|push| push.is_for(this.user()) || matches!(push.to(), Audience::Topics { .. }));
    for push in for_it {
        let waited = match this.has_written(push.id()) {
            true => this.took_room_since(push.id(), lately),
            false => (push.times().iter()).any(|time| {
                let due = time.at + Config::DEADLINE_DEFAULT;
                // What its log has a follower is sent when it has come.
                let is_replayed = push.durable().is_some() && this.follows_any();
                let due = if is_replayed {
                    due.max(this.began())
                } else {
                    due
                };
                time.progress != HandInProgress::OnItsWay && due >= this.began() && can_wait(due)
            }),
        };
        if waited {
            frames += 1;
            bytes += push.payload().map_or(0, |payload| payload.len());
            bytes += push.durable().map_or(0, |_| ANNOUNCED);
        }
    }
    frames > config.queue_frames || bytes > config.queue_bytes
}
