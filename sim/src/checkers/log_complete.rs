//! `log-complete`: a terminal that follows its log gets all of it, in order, or is told that something is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::directory::log::{LogOperation, LogReply, Logged};
use switchboard_core::directory::{Operation, Reply};
use switchboard_core::id::UserId;
use switchboard_core::message::InLog;
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

use super::followed::{Followed, Path};
use crate::checker::{Checker, Watch};
use crate::context::BEGIN;
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{Executed, Observed, Quiescence, Topic};
use crate::redis::ChainLink;
use crate::terminals::Pace;

/// Each record that a terminal is told is the successor of what it holds; and everybody who is connected has
/// what the log has: soon while all is well, and as soon as the head is compared once more after a fault.
///
/// Where the head is not compared without a reason, a record counts from when its publisher was told that it is logged:
/// of one whose append nobody knows of nobody has a reason to look for it. And a row that went without a sign explains
/// that a terminal was not found.
#[derive(Clone, Debug, Default)]
pub struct LogComplete {
    followed: Followed,
    /// All records of all histories, by user, in the order in which they were added.
    links: BTreeMap<UserId, Vec<ChainLink>>,
    /// The heads that each log had lately, and since when; or the records that were told to be logged. Empty
    /// after a fault of the directory.
    heads: BTreeMap<UserId, Vec<(Position, Instant)>>,
}

/// Within this time a record reaches its followers while all is well: a slow directory may take a
/// round trip to add it and another one to read it.
const SOON: Duration = Duration::from_secs(5);
/// How long the head takes to be read when it is to be compared, and what comes of that.
const COMPARED: Duration = Duration::from_secs(5);
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
                position: Some(position),
                ..
            } => self.told(watch, *session, *push, *position),
            Observed::FaultBegan(fault) | Observed::FaultEnded(fault)
                if fault.kind.part() == Part::Directory
                    || fault.kind == FaultKind::RedisLostLog =>
            {
                self.heads.clear();
            }
            Observed::Answered { receipt, .. } if is_unchecked(watch) => {
                for log in &receipt.logged {
                    if let InLog::At(position) = log.logged {
                        let heads = self.heads.entry(log.user.clone()).or_default();
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

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        match quiescence {
            Quiescence::Converged => self.look(watch),
            Quiescence::AtRest => {}
        }
    }
}

impl LogComplete {
    fn executed(&mut self, executed: &Executed, watch: &Watch<'_>) {
        let Operation::Log { key, operation } = &executed.operation else {
            return;
        };
        let user = key.user();
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
            self.links.entry(user.clone()).or_default().push(link);
            if executed.at_primary && !is_unchecked(watch) {
                let heads = self.heads.entry(user.clone()).or_default();
                heads.push((place.position, watch.now()));
            }
        }
    }

    /// A terminal is told a record.
    fn told(&self, watch: &mut Watch<'_>, session: usize, push: Option<usize>, position: Position) {
        let scene = watch.scene();
        let this = &scene.sessions()[session];
        let Some(path) = self.followed.of(watch, session) else {
            return;
        };
        let push = push.map(|push| scene.pushes()[push].id());
        let links = self.links.get(this.user()).into_iter().flatten();
        let links = links.filter(|link| link.position == position);
        let follows = |link: &&ChainLink| link.before == path.at() && Some(link.push) == push;
        if links.clone().any(|link| follows(&link)) {
            watch.held();
        } else {
            let links: Vec<_> = links.collect();
            watch.violated(format!(
                "session {session} of {} holds {} and is told {position}, which is {links:?}",
                this.user(),
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
        let due = now.before(within);
        for path in self.followed.all() {
            let this = &scene.sessions()[path.session];
            let reads = this.pace() == Pace::AtOnce && this.has_read_since(due);
            let lives = this.life().is_some_and(|life| scene.lives(life));
            let since = this.greeted().map(|(at, _)| at);
            if !this.is_open() || !lives || !reads || since.is_none_or(|since| since > due) {
                continue;
            }
            let user = this.user();
            let heads = self.heads.entry(user.clone()).or_default();
            if heads.is_empty()
                && !is_unchecked(watch)
                && let Some(head) = scene.log_head(user)
            {
                heads.push((head, now));
            }
            // Receipts come in another order than records.
            let chain = scene.log_chain(user);
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

/// Whether no log is checked without a reason within the run.
fn is_unchecked(watch: &Watch<'_>) -> bool {
    watch.scene().config().log_check >= NEVER
}

/// In what time everybody must have what the log has. `None`: something was wrong not long ago.
fn within(watch: &Watch<'_>) -> Option<Duration> {
    let config = watch.scene().config();
    let disturbs = |excuse: &Excuse| match excuse.kind.part() {
        Part::Directory | Part::Process | Part::Links => true,
        Part::Life => excuse.kind != FaultKind::Start || excuse.from > BEGIN,
        Part::Terminal => false,
        Part::NoExcuse => excuse.kind == FaultKind::RedisLostLog,
    };
    let now = watch.now();
    // Who was in doubt may be so for a lease, and what he has begun takes its deadline.
    let doubt = config.lease * 3 + Config::DEADLINE_MAX;
    if watch
        .excuse(now.before(doubt + SOON), now, disturbs)
        .is_none()
    {
        return Some(SOON);
    }
    let compared = match is_unchecked(watch) {
        true => doubt + COMPARED,
        false => config.log_check + COMPARED,
    };
    let calm = watch.excuse(now.before(compared), now, disturbs).is_none();
    calm.then_some(compared)
}

/// Whether a client has what the log has up to a head.
fn judge(watch: &mut Watch<'_>, path: &Path, head: Position) {
    let scene = watch.scene();
    let user = scene.sessions()[path.session].user();
    let chain = scene.log_chain(user);
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
        Some(what) => match not_found(watch, path) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "session {} of {user} {what}, and the log has {head}",
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

/// The eviction of a client's row, if that is why it was not found.
fn not_found(watch: &Watch<'_>, path: &Path) -> Option<Excuse> {
    if !is_unchecked(watch) {
        return None;
    }
    let since = watch.scene().sessions()[path.session].began();
    watch.excuse(since, watch.now(), |excuse| {
        excuse.kind == FaultKind::RedisEvicted && excuse.scope == Scope::Session(path.session)
    })
}
