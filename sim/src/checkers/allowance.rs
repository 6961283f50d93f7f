//! What several invariants allow for.

use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::config::Config;
use switchboard_core::message::Action;
use switchboard_core::time::Instant;

use super::lateness::is_late;
use crate::checker::Watch;
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::Life;
use crate::publishing::{HandedIn, Published};
use crate::terminals::Session;

/// How long after a link could not be opened the next one is dialled, and some.
const REDIAL: Duration = Config::DIAL_COOLDOWN.saturating_mul(2);

/// How long after a fault of the directory rows may still be missing or left over.
pub(super) fn recovery(config: &Config) -> Duration {
    config.lease + config.directory_timeout * 2
}

/// How long after its end a connection of an instance that lives can have a row: until a socket that
/// nobody reads is given up, and the row is removed.
pub(super) fn given_up(config: &Config) -> Duration {
    config.close_timeout + config.directory_timeout * 3
}

/// Why a terminal that went without a sign still has its row: its instance pings it, waits for its patience, and
/// gives it up as it does others.
pub(super) fn not_yet_noticed(watch: &Watch<'_>, session: usize) -> Option<Excuse> {
    let config = watch.scene().config();
    let this = &watch.scene().sessions()[session];
    let silence = watch.excuse(Instant::START, watch.now(), |excuse| {
        let silent = matches!(
            excuse.kind,
            FaultKind::SilentEnd | FaultKind::HalfOpenClient
        );
        silent && excuse.scope == Scope::Session(session)
    })?;
    let unheard = silence.from + config.ping_interval + config.ping_timeout;
    let noticed = this.ended().unwrap_or(unheard);
    let due = noticed + given_up(config);
    (!is_late(watch, this.life()?.host, due)).then_some(silence)
}

/// Whether an instance may have given up a connection although its Close frame still waits.
pub(super) fn may_be_closing(watch: &Watch<'_>, session: usize) -> bool {
    closing(watch, session).is_some()
}

/// Why an instance may have given up a connection although its Close frame still waits: because it
/// drains, because the terminal is too slow or kicked, or because its token has expired. What it was
/// about to do when it stood still it does afterwards.
pub(super) fn closing(watch: &Watch<'_>, session: usize) -> Option<Excuse> {
    let now = watch.now();
    let holder = watch.scene().sessions()[session].life();
    let holder = holder.map(|life| Scope::Instance(life.host));
    let stood_still = watch.excuse(now.before(TURNS), now, |excuse| {
        excuse.kind.part() == Part::Process && Some(excuse.scope) == holder
    });
    let since = stood_still.map_or(now, |pause| pause.from).before(TURNS);
    watch.excuse(since, now, |excuse| {
        let drains = excuse.kind == FaultKind::Drain && Some(excuse.scope) == holder;
        let ends = excuse.kind.part() == Part::Terminal && excuse.scope == Scope::Session(session);
        drains || ends
    })
}

/// Whether a kick of this user is under way: it reaches those too who connect while it looks them up
/// once more.
pub(super) fn is_being_kicked(watch: &Watch<'_>, session: usize) -> bool {
    let scene = watch.scene();
    let user = scene.sessions()[session].user();
    let lasts = Config::DEADLINE_DEFAULT + scene.config().close_timeout;
    (scene.pushes().iter()).any(|push| {
        let kicks = match push.action() {
            Action::Close(_) => push.is_for(user),
            Action::Frame(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. } => false,
        };
        kicks && (push.times().iter()).any(|time| time.at + lasts > watch.now())
    })
}

/// How long an instance takes to do what it had begun.
const TURNS: Duration = Duration::from_millis(5);

/// The pace of settling is halved each time that a step times out: so often, beside others.
const HALVINGS: u32 = 2;

/// How long an instance settles so many rows.
pub(super) fn settling(watch: &Watch<'_>, rows: usize) -> Duration {
    let scene = watch.scene();
    let instances = u32::try_from(scene.hosts().len()).unwrap_or(u32::MAX);
    let steps_per_second = (1000 / Config::SETTLE_STEP.as_millis()) as u32;
    let rows_per_step = scene.config().settle_rate / instances / steps_per_second;
    let rows_per_step = (rows_per_step >> HALVINGS).max(1);
    Config::SETTLE_STEP
        * u32::try_from(rows)
            .unwrap_or(u32::MAX)
            .div_ceil(rows_per_step)
}

/// What explains that a connection of an instance is not in the directory: what has cost it a lease or
/// rows, or lets it not write any. A link that breaks loses none, but lets what is being written again
/// begin anew.
pub(super) fn loses_rows(watch: &Watch<'_>, life: Life) -> Option<Excuse> {
    let now = watch.now();
    let breaks = |kind| matches!(kind, FaultKind::RedisScripts | FaultKind::RedisTrip);
    let loses = |kind| !breaks(kind) && kind != FaultKind::Pause;
    differs_by(watch, life, now, loses).or_else(|| {
        let broken = differs_by(watch, life, now, breaks)?;
        differs_by(watch, life, broken.from, loses)
    })
}

/// What explains that the directory and an instance differ.
pub(super) fn differs(watch: &Watch<'_>, life: Life) -> Option<Excuse> {
    differs_by(watch, life, watch.now(), |_| true)
}

/// What explains, of some kinds, that the directory and an instance differ at a moment, which writes all
/// its rows again after the fault.
fn differs_by(
    watch: &Watch<'_>,
    life: Life,
    at: Instant,
    explains: impl Fn(FaultKind) -> bool,
) -> Option<Excuse> {
    let scene = watch.scene();
    let host = life.host;
    let lately = at.before(recovery(scene.config()));
    let held = (scene.sessions().iter())
        .filter(|session| session.life().is_some_and(|life| life.host == host))
        .filter(|session| session.ended().is_none_or(|ended| ended >= lately))
        .count();
    let from = lately.before(settling(watch, held));
    let started = started(watch, life);
    let given_up = given_up(scene.config());
    watch.excuse(from, at, |excuse| {
        let disturbs = match excuse.kind.part() {
            // What prolongs leases loses nothing.
            Part::Directory => excuse.kind != FaultKind::RedisClockBack,
            // An earlier life of the process may have stood still until its end. What was put off by a
            // pause is done soon after it, unless the lease has expired.
            Part::Process => {
                let soon = excuse.until + given_up >= at;
                let here = started.is_some_and(|started| excuse.until > started);
                here && (soon || excuse.kind == FaultKind::LongPause)
            }
            Part::Life | Part::Links | Part::Terminal | Part::NoExcuse => false,
        };
        disturbs && explains(excuse.kind) && concerns(excuse, host)
    })
}

/// When an instance started.
pub(super) fn started(watch: &Watch<'_>, life: Life) -> Option<Instant> {
    let entries = watch.scene().ledger().entries().iter();
    let mut starts = entries.filter(|entry| {
        entry.kind == FaultKind::Start && entry.scope == Scope::Instance(life.host)
    });
    let start = starts.nth(life.number.checked_sub(1)? as usize)?;
    Some(start.from)
}

/// Whether a fault is of one instance, or of all.
pub(super) fn concerns(excuse: &Excuse, host: usize) -> bool {
    match excuse.scope {
        Scope::All => true,
        Scope::Instance(other) => other == host,
        Scope::Between(..) | Scope::Session(_) => false,
    }
}

/// What lay on the way of a push to a session, at its time: the publisher ended, it or the holder stood
/// still, the links between these two were disturbed, the terminal did not read or had no room.
pub(super) fn on_the_way(
    watch: &Watch<'_>,
    handed_in: &HandedIn,
    session: usize,
) -> Option<Excuse> {
    let scene = watch.scene();
    let publisher = handed_in.life;
    let holder = scene.sessions()[session].life()?;
    let ended = !scene.lives(publisher);
    let redial = scene.config().link_timeout + REDIAL;
    let on_the_way = watch.excuse(handed_in.at.before(redial), watch.now(), |excuse| {
        let during = excuse.until >= handed_in.at;
        let of = |host: usize| excuse.scope == Scope::Instance(host);
        match excuse.kind.part() {
            Part::Life => {
                let ends = matches!(excuse.kind, FaultKind::Kill | FaultKind::Drain);
                ends && during && of(publisher.host) && ended
            }
            // What has happened to its links meanwhile an instance learns when it goes on.
            Part::Process => of(publisher.host) || of(holder.host),
            Part::Links => match excuse.scope {
                Scope::All => publisher.host != holder.host,
                Scope::Between(one, other) => {
                    let between =
                        [(one, other), (other, one)].contains(&(publisher.host, holder.host));
                    between && loses_deliveries(watch, handed_in, excuse)
                }
                Scope::Instance(_) | Scope::Session(_) => false,
            },
            // A terminal that is told to end gets what came before.
            Part::Terminal => {
                let full = matches!(excuse.kind, FaultKind::SlowReader | FaultKind::Overflowed);
                full && during && excuse.scope == Scope::Session(session)
            }
            Part::Directory | Part::NoExcuse => false,
        }
    });
    on_the_way.or_else(|| unnoticed(watch, handed_in, holder))
}

/// What an instance, or this one, has said to the publisher of a push that is not so, since the push was handed in.
pub(super) fn lied(watch: &Watch<'_>, handed_in: &HandedIn, liar: Option<usize>) -> Option<Excuse> {
    watch.excuse(handed_in.at, watch.now(), |excuse| match excuse.scope {
        Scope::Between(from, to) if excuse.kind == FaultKind::PeerLied => {
            to == handed_in.life.host && liar.is_none_or(|liar| liar == from)
        }
        Scope::All | Scope::Instance(_) | Scope::Between(..) | Scope::Session(_) => false,
    })
}

/// Whether deliveries of a push can be lost by what happened between two instances. A link that breaks loses
/// none that there is time to send again: only the next one that breaks under it does. Nor does one that is
/// lost without both knowing, if another one has replaced it in time.
fn loses_deliveries(watch: &Watch<'_>, handed_in: &HandedIn, excuse: &Excuse) -> bool {
    let breaks = |entry: &Excuse| matches!(entry.kind, FaultKind::LinkReset | FaultKind::HalfOpen);
    let config = watch.scene().config();
    let unnoticed = config.link_heartbeat * Config::SILENT_HEARTBEATS;
    let replaced = excuse.until < (excuse.from + unnoticed).min(watch.now());
    if !breaks(excuse) || (excuse.kind == FaultKind::HalfOpen && !replaced) {
        return true;
    }
    let redial = config.link_timeout + REDIAL;
    let entries = watch.scene().ledger().entries().iter();
    let all = entries.filter(|entry| {
        let same = match (entry.scope, excuse.scope) {
            (Scope::Between(one, other), Scope::Between(this, that)) => {
                [(this, that), (that, this)].contains(&(one, other))
            }
            _ => false,
        };
        breaks(entry) && same && entry.until >= handed_in.at.before(redial)
    });
    all.count() > 1
        || excuse.until + redial >= handed_in.at + deadline(watch, handed_in)
        || too_many_wait(watch, handed_in, excuse)
}

/// Whether so many pushes came to a publisher while its link carried nothing that not all may wait for the next one.
fn too_many_wait(watch: &Watch<'_>, handed_in: &HandedIn, excuse: &Excuse) -> bool {
    /// What one that waits counts as at most, beside its payload.
    const COUNTS_AS: usize = 512;
    let pushes = watch.scene().pushes().iter();
    let came = pushes.flat_map(|push| push.times()).filter(|time| {
        let meanwhile = time.at >= excuse.from && time.at <= excuse.until;
        time.life == handed_in.life && meanwhile
    });
    came.count() * COUNTS_AS >= watch.scene().config().link_queue_bytes
}

/// How long a push may take that was handed in then.
fn deadline(watch: &Watch<'_>, handed_in: &HandedIn) -> Duration {
    let is_it = |time: &HandedIn| time.sequence == handed_in.sequence;
    let mut pushes = watch.scene().pushes().iter();
    let push = pushes.find(|push| push.times().iter().any(is_it));
    push.map_or(Config::DEADLINE_DEFAULT, Published::deadline)
}

/// A link between two instances that carries nothing, and one of them stood still when it should have
/// noticed that.
fn unnoticed(watch: &Watch<'_>, handed_in: &HandedIn, holder: Life) -> Option<Excuse> {
    let publisher = handed_in.life;
    let until_noticed = watch.scene().config().link_heartbeat * Config::SILENT_HEARTBEATS;
    let paused = watch.excuse(handed_in.at.before(until_noticed), watch.now(), |excuse| {
        let of = |life: Life| excuse.scope == Scope::Instance(life.host);
        excuse.kind.part() == Part::Process && (of(publisher) || of(holder))
    })?;
    watch.excuse(paused.from.before(until_noticed), watch.now(), |excuse| {
        let between = |one: Life, other: Life| Scope::Between(one.host, other.host);
        excuse.kind == FaultKind::HalfOpen
            && [between(publisher, holder), between(holder, publisher)].contains(&excuse.scope)
    })
}

/// The eviction of what a session's instance says of topics, if it had not said it again by then, or in vain.
pub(super) fn evicted_topic(
    watch: &Watch<'_>,
    published: &Published,
    session: usize,
    since: Instant,
) -> Option<Excuse> {
    let holder = watch.scene().sessions()[session].life()?;
    if published.topics().is_empty() {
        return None;
    }
    let scope = Scope::Instance(holder.host);
    evicted_in(watch, FaultKind::RedisEvictedTopic, scope, since)
}

/// The eviction of a session's row, if it had not been written again by then, or in vain: the sweep does
/// that.
pub(super) fn evicted(watch: &Watch<'_>, session: usize, since: Instant) -> Option<Excuse> {
    evicted_in(
        watch,
        FaultKind::RedisEvicted,
        Scope::Session(session),
        since,
    )
}

fn evicted_in(watch: &Watch<'_>, kind: FaultKind, scope: Scope, since: Instant) -> Option<Excuse> {
    let config = watch.scene().config();
    let swept = config.sweep + recovery(config);
    let lost_again = |written: Instant| {
        let tail = watch.excuse(written, written + Config::FAILOVER_TAIL, |excuse| {
            matches!(
                excuse.kind,
                FaultKind::RedisFailover | FaultKind::RedisRestored
            )
        });
        tail.is_some()
    };
    // What ends an eviction may have been asked for in an earlier life of the link, under an epoch that counts no more.
    let came_late = |from: Instant, until: Instant| {
        let late = watch.excuse(from, until, |excuse| {
            excuse.kind == FaultKind::RedisTrip && excuse.scope == scope
        });
        late.is_some()
    };
    watch.excuse(Instant::START, watch.now(), |excuse| {
        excuse.kind == kind
            && excuse.scope == scope
            && since <= excuse.from + swept
            && (since <= excuse.until
                || lost_again(excuse.until)
                || came_late(excuse.from, excuse.until))
    })
}

/// A clock of the directory that jumped back: leases last longer by as much.
pub(super) fn leases_last_longer(watch: &Watch<'_>) -> Option<Excuse> {
    let from = watch.now().before(recovery(watch.scene().config()));
    watch.excuse(from, watch.now(), |excuse| {
        excuse.kind == FaultKind::RedisClockBack
    })
}

/// Whether a push comes to a terminal by the log, or to nobody: the terminal follows it, or its receipt does
/// not say that it is logged.
pub(super) fn comes_by_the_log(
    published: &Published,
    handed_in: &HandedIn,
    session: &Session,
) -> bool {
    let is_logged = |channel: &Channel| {
        let is_member = match channel {
            Channel::User(_) => true,
            Channel::Topic(topic) => session.standing(topic).told().is_some(),
        };
        is_member && handed_in.logged_at(channel).is_some()
    };
    published.durable().is_some()
        && (is_follower(published, session) || !channels(published, session).iter().any(is_logged))
}

/// The logs in which a durable push is for a terminal: those of its topics, or that of the terminal's user.
pub(super) fn channels(published: &Published, session: &Session) -> Vec<Channel> {
    match published.topics() {
        [] => vec![session.channel(None)],
        topics => topics.iter().cloned().map(Channel::Topic).collect(),
    }
}

/// Whether a terminal has asked for a push as a record, of the log of its user or of a topic.
pub(super) fn is_follower(published: &Published, session: &Session) -> bool {
    let asks = |channel: &Channel| !session.asks_of(channel).is_empty();
    published.durable().is_some() && channels(published, session).iter().any(asks)
}

/// Why a durable push has not reached whoever does not follow: what is appended late is delivered late, and a
/// directory that is disturbed takes its time.
pub(super) fn append_was_late(
    watch: &Watch<'_>,
    published: &Published,
    handed_in: &HandedIn,
) -> Option<Excuse> {
    published.durable()?;
    watch.excuse(handed_in.at, watch.now(), |excuse| {
        excuse.kind.part() == Part::Directory && concerns(excuse, handed_in.life.host)
    })
}
