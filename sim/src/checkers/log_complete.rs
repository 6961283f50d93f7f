//! `log-complete`: a terminal that follows its log gets all of it, in order, or is told that something is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::config::Config;
use switchboard_core::directory::log::{LogOperation, LogReply, Logged};
use switchboard_core::directory::{Operation, Reply};
use switchboard_core::id::TopicId;
use switchboard_core::message::InLog;
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

use super::followed::{Followed, Path};
use crate::checker::{Checker, Watch};
use crate::context::BEGIN;
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{Executed, Life, Observed, Quiescence, Topic};
use crate::redis::ChainLink;

/// Each record that a terminal is told is the successor of what it holds; and everybody who is connected has
/// what the log has: soon while all is well, and as soon as the head is compared once more after a fault.
///
/// Where the head is not compared without a reason, a record counts from when its publisher was told that it is logged:
/// of one whose append nobody knows of nobody has a reason to look for it; but for followers of an instance that has
/// doubted everybody, which looks once more when the last publisher must have learned that it was in doubt. And a row
/// that went without a sign explains that a terminal was not found.
#[derive(Clone, Debug, Default)]
pub struct LogComplete {
    followed: Followed,
    /// All records of all histories, by log, in the order in which they were added.
    links: BTreeMap<Channel, Vec<(ChainLink, Instant)>>,
    /// Instances that compare heads once more, in the order in which they claimed their leases anew.
    rechecks: Vec<Recheck>,
    /// How often each instance has claimed its lease.
    claims: BTreeMap<Life, u32>,
    /// The heads that each log had lately, and since when; or the records that were told to be logged. Empty
    /// after a fault of the directory.
    heads: BTreeMap<Channel, Vec<(Position, Instant)>>,
}

/// An instance that has doubted everybody compares heads once more.
#[derive(Clone, Copy, Debug)]
struct Recheck {
    life: Life,
    /// When it claimed its lease anew.
    claimed: Instant,
    /// What was in a log by then its followers have.
    of: Instant,
}

/// Within this time a record reaches its followers while all is well: a slow directory may take a
/// round trip to add it and another one to read it.
pub(super) const SOON: Duration = Duration::from_secs(5);
/// How long the head takes to be read when it is to be compared, and what comes of that.
const COMPARED: Duration = Duration::from_secs(5);
/// How long a log is left alone that could not be read, and how long its reading takes then.
const READ_AGAIN: Duration = Config::LOG_READ_PAUSE_MAX.saturating_add(SOON);
/// How much sooner than it could heads may be compared once more.
const MOMENT: Duration = Duration::from_secs(1);
/// A round of checks that is longer than this is seen by nobody.
const NEVER: Duration = Duration::from_secs(60);

impl Checker for LogComplete {
    fn name(&self) -> &'static str {
        "log-complete"
    }

    fn topics(&self) -> &'static [Topic] {
        &[
            Topic::Frames,
            Topic::Directory,
            Topic::Pushes,
            Topic::Faults,
            Topic::Time,
        ]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Executed(executed) => self.executed(executed, watch),
            Observed::Seen {
                session,
                push,
                topic,
                position: Some(position),
                ..
            } => self.told(watch, (*session, topic.as_ref()), *push, *position),
            Observed::FaultBegan(fault) | Observed::FaultEnded(fault)
                if fault.kind.part() == Part::Directory
                    || fault.kind == FaultKind::RedisLostLog =>
            {
                self.heads.clear();
            }
            Observed::Answered { receipt, .. } if is_unchecked(watch) => {
                for log in &receipt.logged {
                    if let InLog::At(position) = log.logged {
                        let heads = self.heads.entry(log.channel.clone()).or_default();
                        heads.push((position, watch.now()));
                    }
                }
            }
            Observed::Tick => self.look(watch),
            _ => {}
        }
        let told = match event {
            Observed::Seen { session, .. } | Observed::LogHeard { session, .. } => *session,
            _ => return,
        };
        if let Err(what) = self.followed.take_in(event, watch) {
            watch.violated(format!("session {told} {what}"));
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        if let Some(recheck) = self.rechecks.get(what as usize).copied() {
            self.rechecked(watch, recheck);
        }
    }

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        match quiescence {
            Quiescence::Converged => self.look(watch),
            Quiescence::AtRest => {}
        }
    }
}

impl LogComplete {
    fn executed(&mut self, executed: &Executed, watch: &mut Watch<'_>) {
        if let Ok(Reply::Claimed { .. }) = &executed.outcome {
            self.claimed(executed.life, watch);
        }
        let Operation::Log { channel, operation } = &executed.operation else {
            return;
        };
        if let (LogOperation::Delete { .. }, Ok(Reply::Log(LogReply::Deleted { records: 1.. }))) =
            (operation, &executed.outcome)
            && executed.at_primary
        {
            self.deleted(channel, watch);
        }
        if let (
            LogOperation::Append { push, .. },
            Ok(Reply::Log(LogReply::Appended {
                logged: Logged::New(place),
                ..
            })),
        ) = (operation, &executed.outcome)
        {
            let link = ChainLink {
                position: place.position,
                before: place.before,
                push: *push,
            };
            let links = self.links.entry(channel.clone()).or_default();
            links.push((link, watch.now()));
            if executed.at_primary && !is_unchecked(watch) {
                let heads = self.heads.entry(channel.clone()).or_default();
                heads.push((place.position, watch.now()));
            }
        }
    }

    /// A log is deleted. Nobody is told so: a follower finds that its head is another one.
    fn deleted(&mut self, channel: &Channel, watch: &Watch<'_>) {
        let heads = self.heads.entry(channel.clone()).or_default();
        heads.clear();
        if !is_unchecked(watch) {
            let compared = watch.now() + round_of_checks(watch.scene().config());
            heads.extend(watch.scene().log_head(channel).map(|head| (head, compared)));
        }
    }

    /// An instance claims a lease: not for the first time if it has doubted everybody before.
    fn claimed(&mut self, life: Life, watch: &mut Watch<'_>) {
        let claims = self.claims.entry(life).or_default();
        *claims += 1;
        if *claims == 1 || !is_unchecked(watch) {
            return;
        }
        let again = watch.now() + watch.scene().config().lease + Config::DEADLINE_MAX;
        watch.call_at(again + COMPARED, self.rechecks.len() as u64);
        self.rechecks.push(Recheck {
            life,
            claimed: watch.now(),
            of: again.before(MOMENT),
        });
    }

    /// Looks whether the followers of an instance that has doubted everybody have what their logs had when that was
    /// over. A fault since then may have put that off.
    fn rechecked(&self, watch: &mut Watch<'_>, recheck: Recheck) {
        let Recheck { life, claimed, of } = recheck;
        let now = watch.now();
        let put_off = watch.excuse(claimed + MOMENT, now, |excuse| {
            disturbs_one(excuse, life.host)
        });
        let hidden = watch.excuse(of, now, |excuse| {
            disturbs(excuse) && excuse.kind != FaultKind::DialsRefused
        });
        if !watch.scene().lives(life) || put_off.is_some() || hidden.is_some() {
            return;
        }
        for path in self.followed.all() {
            let this = &watch.scene().sessions()[path.session];
            if this.life() != Some(life) || !has_read_all(watch, path, of) {
                continue;
            }
            let channel = path.channel.clone();
            let chain = watch.scene().log_chain(&channel);
            let links = self.links.get(&channel).into_iter().flatten();
            let due = links.filter(|(_, since)| *since <= of);
            let place = |link: &ChainLink| chain.iter().rposition(|other| other == link);
            let due = due.filter_map(|(link, _)| Some((place(link)?, link.position)));
            if let Some((_, head)) = due.max_by_key(|(place, _)| *place) {
                judge(watch, path, head);
            }
        }
    }

    /// A terminal is told a record.
    fn told(
        &self,
        watch: &mut Watch<'_>,
        (session, topic): (usize, Option<&TopicId>),
        push: Option<usize>,
        position: Position,
    ) {
        let scene = watch.scene();
        let this = &scene.sessions()[session];
        let channel = this.channel(topic);
        let Some(path) = self.followed.of(watch, session, &channel) else {
            return;
        };
        let push = push.map(|push| scene.pushes()[push].id());
        let links = self.links.get(&channel).into_iter().flatten();
        let links = links.map(|(link, _)| link);
        let links = links.filter(|link| link.position == position);
        let follows = |link: &&ChainLink| link.before == path.at() && Some(link.push) == push;
        if links.clone().any(|link| follows(&link)) {
            watch.held();
        } else {
            let links: Vec<_> = links.collect();
            watch.violated(format!(
                "session {session} holds {} of {channel} and is told {position}, which is {links:?}",
                path.at()
            ));
        }
    }

    /// Looks whether everybody has what he should have by now.
    fn look(&mut self, watch: &mut Watch<'_>) {
        let scene = watch.scene();
        let now = watch.now();
        let within = within(watch);
        let (Some(within), false) = (within, self.followed.is_empty()) else {
            return;
        };
        for path in self.followed.all() {
            // Whom nobody found has it when the heads are compared.
            let within = match not_found(watch, path) {
                Some(_) if !is_unchecked(watch) => {
                    within.max(round_of_checks(scene.config()) + COMPARED)
                }
                Some(_) | None => within,
            };
            let due = now.before(within);
            if !has_read_all(watch, path, due) {
                continue;
            }
            let channel = path.channel.clone();
            let heads = self.heads.entry(channel.clone()).or_default();
            if heads.is_empty()
                && !is_unchecked(watch)
                && let Some(head) = scene.log_head(&channel)
            {
                heads.push((head, now));
            }
            // Receipts come in another order than records.
            let chain = scene.log_chain(&channel);
            let place = |head: &Position| chain.iter().rposition(|link| link.position == *head);
            // What a former primary has added is told after the failover in which it is lost.
            let is_lost = |head: &Position| is_unchecked(watch) && place(head).is_none();
            let due_heads = (heads.iter()).filter(|(head, since)| *since <= due && !is_lost(head));
            let Some((head, _)) = due_heads.max_by_key(|(head, _)| place(head)).copied() else {
                continue;
            };
            heads.retain(|(other, since)| *since > due || *other == head);
            judge(watch, path, head);
        }
    }
}

/// Whether a client has been connected since then, and has read all that came.
fn has_read_all(watch: &Watch<'_>, path: &Path, since: Instant) -> bool {
    let this = &watch.scene().sessions()[path.session];
    let reads = this.reads_at_once_since().is_some_and(|at| at <= since);
    let lives = this.life().is_some_and(|life| watch.scene().lives(life));
    let was_greeted = this.greeted().is_some_and(|(at, _)| at <= since);
    let follows = match &path.channel {
        Channel::User(_) => true,
        // It has been a member that follows, and has been told so.
        Channel::Topic(topic) => {
            let standing = this.standing(topic);
            let is_told = standing.told().is_some_and(|(at, _)| at <= since);
            let follows = standing.follows().is_some_and(|begun| begun <= since);
            is_told && follows && path.since <= since
        }
    };
    this.is_open() && lives && reads && was_greeted && follows
}

/// Whether no log is checked without a reason within the run.
fn is_unchecked(watch: &Watch<'_>) -> bool {
    watch.scene().config().log_check >= NEVER
}

/// In what time everybody must have what the log has. `None`: something was wrong not long ago.
fn within(watch: &Watch<'_>) -> Option<Duration> {
    let config = watch.scene().config();
    let now = watch.now();
    // An instance that was in doubt may be so for a lease, and what it has begun takes its deadline.
    let doubt = config.lease * 3 + Config::DEADLINE_MAX;
    if watch
        .excuse(now.before(doubt + SOON), now, disturbs)
        .is_none()
    {
        return Some(SOON);
    }
    let compared = match is_unchecked(watch) {
        true => doubt + COMPARED,
        false => round_of_checks(config) + COMPARED,
    };
    // Nobody compares the head with where a follower stands that waits to read its log once more.
    let unread = watch.excuse(now.before(READ_AGAIN), now, |excuse| {
        matches!(excuse.kind, FaultKind::RedisRefuses | FaultKind::RedisSlow)
    });
    let compared = match unread {
        Some(_) => compared.max(READ_AGAIN),
        None => compared,
    };
    let calm = watch.excuse(now.before(compared), now, disturbs).is_none();
    calm.then_some(compared)
}

/// From one comparison of a log's head to the next, at most. Each log that is followed at a moment pays for its share of a
/// round then: where logs come after others were compared, their turn is later. For a second round that is short there is
/// time in what a comparison takes.
fn round_of_checks(config: &Config) -> Duration {
    let rounds = if config.log_check > SOON { 2 } else { 1 };
    config.log_check * rounds
}

/// Whether a fault may keep a record from its followers. Whom the directory has thrown away is for [`not_found`] to say.
pub(super) fn disturbs(excuse: &Excuse) -> bool {
    match excuse.kind.part() {
        Part::Directory => excuse.kind != FaultKind::RedisEvicted,
        Part::Process | Part::Links => true,
        Part::Life => excuse.kind != FaultKind::Start || excuse.from > BEGIN,
        Part::Terminal => false,
        Part::NoExcuse => excuse.kind == FaultKind::RedisLostLog,
    }
}

/// Whether a fault may give an instance another doubt. What it cannot dial gives it none.
fn disturbs_one(excuse: &Excuse, host: usize) -> bool {
    let concerns = match excuse.scope {
        Scope::All => true,
        Scope::Instance(other) => other == host,
        Scope::Between(one, other) => {
            excuse.kind != FaultKind::DialsRefused && (one == host || other == host)
        }
        Scope::Session(_) => false,
    };
    concerns && disturbs(excuse)
}

/// Whether a client has what the log has up to a head.
fn judge(watch: &mut Watch<'_>, path: &Path, head: Position) {
    let scene = watch.scene();
    let channel = &path.channel;
    let chain = scene.log_chain(channel);
    let index = |position: Position| {
        let at = chain.iter().rposition(|link| link.position == position);
        let first = chain.first().map(|link| link.before);
        at.map(|at| at + 1)
            .or_else(|| (first == Some(position)).then_some(0))
    };
    let (stands, wanted) = (index(path.at()), index(head));
    let has_it = path.at() == head || stands.is_some() && stands >= wanted;
    let missing = match has_it {
        true => same_records(watch, path, chain),
        false => Some(format!("stands at {}", path.at())),
    };
    match missing {
        None => watch.held(),
        Some(what) => match not_found(watch, path).filter(|_| is_unchecked(watch)) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "session {} of {channel} {what}, and the log has {head}",
                path.session
            )),
        },
    }
}

/// What a client holds that the log has not, up to where the client stands.
fn same_records(watch: &Watch<'_>, path: &Path, chain: &[ChainLink]) -> Option<String> {
    let pushes = watch.scene().pushes();
    let end = chain.iter().rposition(|link| link.position == path.at())?;
    let held = path.records.iter().rev();
    for (link, (position, push)) in chain[..=end].iter().rev().zip(held) {
        let id = push.map(|push| pushes[push].id());
        if link.position != *position || Some(link.push) != id {
            return Some(format!(
                "holds {position} where the log has {}",
                link.position
            ));
        }
    }
    None
}

/// The eviction of a client's row, or of what its instance says of the topic, if that is why it was not found.
fn not_found(watch: &Watch<'_>, path: &Path) -> Option<Excuse> {
    let session = &watch.scene().sessions()[path.session];
    let holder = session.life().map(|life| Scope::Instance(life.host));
    let (kind, scope) = match path.channel.topic() {
        None => (FaultKind::RedisEvicted, Some(Scope::Session(path.session))),
        Some(_) => (FaultKind::RedisEvictedTopic, holder),
    };
    watch.excuse(session.began(), watch.now(), |excuse| {
        excuse.kind == kind && Some(excuse.scope) == scope
    })
}
