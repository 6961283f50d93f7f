//! `push-times`: frames are written soon, whatever the directory does, and count as queued no sooner than at
//! the deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::frame::{Outgoing, Pushed};
use switchboard_core::id::PushId;
use switchboard_core::message::{Action, Audience, Outcome, Receipt};
use switchboard_core::time::Instant;

use super::allowance::on_the_way;
use super::lateness::{SLACK, stood_still};
use crate::checker::{Checker, Scene, Watch};
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{HandIn, Observed, Topic};
use crate::publishing::Published;
use crate::terminals::Pace;

/// A push waits for the directory for a third of its deadline and no longer; what waits at a terminal counts
/// as queued when the publisher must know, not earlier; who has published in a log is answered when that has it; and
/// broadcasts are written at their pace, neither faster nor slower.
#[derive(Clone, Debug, Default)]
pub struct PushTimes {
    /// Terminals of a process to which a push to everyone was written.
    broadcast: BTreeMap<(usize, usize), usize>,
    /// Terminals of a process that were given pushes to everyone at one moment, the last that there was.
    step: BTreeMap<usize, (Instant, u32)>,
    /// When each push to everyone was first given to a terminal of a process, and in which step it was last.
    walks: BTreeMap<(PushId, usize), (Instant, Instant)>,
    /// When each terminal was given something last.
    given: BTreeMap<usize, Instant>,
    /// When a push to a user came last that has a terminal at the process that took it.
    comes: BTreeMap<usize, Instant>,
}

/// A terminal has taken what it was given so long ago.
const IDLE: Duration = Duration::from_millis(50);
/// The way over a link that is open.
const WAYS: Duration = Duration::from_millis(300);

impl Checker for PushTimes {
    fn name(&self) -> &'static str {
        "push-times"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Pushes, Topic::Frames, Topic::Words]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Written {
                session,
                push: Some(push),
                ..
            } => self.written(watch, *session, *push),
            Observed::Given { session, outgoing } => {
                let before = self.given.insert(*session, watch.now());
                if let Outgoing::Pushed(pushed) = outgoing {
                    self.given(watch, *session, pushed, before);
                }
            }
            Observed::HandedIn(hand_in) => self.handed_in(watch, *hand_in),
            Observed::PushRefused { hand_in, .. } => {
                let published = &watch.scene().pushes()[hand_in.push];
                self.comes
                    .remove(&published.times()[hand_in.time].life.host);
            }
            Observed::Answered { hand_in, receipt } => {
                published(watch, *hand_in);
                answered(watch, *hand_in, receipt);
            }
            _ => {}
        }
    }
}

impl PushTimes {
    /// All broadcasts of an instance together are given to so many terminals in a step.
    fn given(
        &mut self,
        watch: &mut Watch<'_>,
        session: usize,
        pushed: &Pushed,
        before: Option<Instant>,
    ) {
        let scene = watch.scene();
        let most = scene.config().broadcast_pace().terminals;
        let holder = scene.sessions()[session].life();
        let Some(host) = holder.and_then(|life| scene.host(life.host)) else {
            return;
        };
        if host.sessions().len() <= most as usize {
            return;
        }
        let mut pushes = scene.pushes().iter();
        let is_broadcast =
            |push: &Published| push.id() == pushed.push() && *push.to() == Audience::Everyone;
        if !pushes.any(is_broadcast) {
            return;
        }
        let now = watch.now();
        // What waits at a terminal is given when that has taken what came before.
        let is_idle = before.is_none_or(|before| before + IDLE <= now);
        if !is_idle || scene.sessions()[session].pace() != Pace::AtOnce {
            return;
        }
        let step = self.step.entry(host.number()).or_insert((now, 0));
        let given = if step.0 == now { step.1 + 1 } else { 1 };
        *step = (now, given);
        if given > most {
            watch.violated(format!(
                "i{} gives broadcasts to {given} terminals at one moment",
                host.number() + 1
            ));
        } else {
            watch.held();
        }
        self.steps(watch, host.number(), pushed.push());
    }

    /// A push to everyone is given to a terminal in the step in which it comes to it. The next step is later if a push to a
    /// user has come while it was on its way.
    fn steps(&mut self, watch: &mut Watch<'_>, host: usize, push: PushId) {
        let now = watch.now();
        let (first, last) = *self.walks.entry((push, host)).or_insert((now, now));
        if last == now {
            return;
        }
        self.walks.insert((push, host), (first, now));
        let Some(came) = self.comes.get(&host).copied() else {
            return;
        };
        let yields = first < came && came < last && last < came + Config::BROADCAST_YIELDS_FOR;
        if !yields || stood_still(watch, host, first, now) {
            return;
        }
        let step = watch.scene().config().broadcast_pace().step * Config::BROADCAST_YIELD;
        if now + SLACK * 2 < last + step {
            watch.violated(format!(
                "i{} goes on with a broadcast {:?} after the step before, though a push to a user has come",
                host + 1,
                now.since(last)
            ));
        } else {
            watch.held();
        }
    }

    /// A push to users is served at once at the instance that takes it, if they have terminals there.
    fn handed_in(&mut self, watch: &Watch<'_>, hand_in: HandIn) {
        let scene = watch.scene();
        let published = &scene.pushes()[hand_in.push];
        let handed_in = &published.times()[hand_in.time];
        let is_first = hand_in.time == 0 && published.durable().is_none();
        if !is_first || published.users().is_empty() {
            return;
        }
        let here = |session: &usize| {
            let this = &scene.sessions()[*session];
            this.life() == Some(handed_in.life) && this.is_open()
        };
        if handed_in.reachable.iter().any(here) {
            self.comes.insert(handed_in.life.host, watch.now());
        }
    }

    fn written(&mut self, watch: &mut Watch<'_>, session: usize, push: usize) {
        let scene = watch.scene();
        let published = &scene.pushes()[push];
        if published.durable().is_some() {
            // It is written when the log has it, which is read in between.
            return;
        }
        let [handed_in] = published.times() else {
            // Which of the hand-ins has written the frame is unknown.
            return;
        };
        let Some(holder) = scene.sessions()[session].life() else {
            return;
        };
        let now = watch.now();
        let config = scene.config();
        let hurries = published.deadline() / Config::HURRIES_AFTER;
        let mut soon = handed_in.at + hurries + SLACK + config.link_timeout + WAYS;
        if *published.to() == Audience::Everyone {
            let pace = config.broadcast_pace();
            let per_step = pace.terminals as usize;
            let nth = self.broadcast.entry((push, holder.host)).or_default();
            *nth += 1;
            let before = u32::try_from(nth.div_ceil(per_step) - 1).unwrap_or(u32::MAX);
            if now < handed_in.at + pace.step * before {
                return watch.violated(format!(
                    "push {push} is written to {nth} terminals of i{} within {:?}",
                    holder.host + 1,
                    now.since(handed_in.at)
                ));
            }
            // Others that are under way are written before it.
            let lately = now.before(Config::DEADLINE_MAX);
            let others = (scene.pushes().iter()).filter(|other| {
                *other.to() == Audience::Everyone
                    && other.times().iter().any(|time| time.at >= lately)
            });
            let terminals = scene
                .host(holder.host)
                .map_or(0, |host| host.sessions().len());
            let others = others.count().saturating_sub(1);
            let steps = (*nth + (terminals + *nth) * others).div_ceil(per_step);
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            // Each is a tick of the timers later than the one before, at most, and takes longer while pushes to users come.
            let yields = steps.min(yielded_steps(scene, lately, pace.step));
            soon = soon
                + (pace.step + SLACK) * steps
                + (Config::BROADCAST_YIELD - 1) * pace.step * yields;
        } else if !handed_in.reachable.contains(&session) {
            // It has come, or was found, meanwhile.
            return;
        }
        if now <= soon {
            return watch.held();
        }
        let excuse = on_the_way(watch, handed_in, session)
            .or_else(|| late_link(watch, handed_in.at))
            .or_else(|| lost_rows(watch, handed_in.at));
        match excuse {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "push {push} is written to session {session} only {:?} after it was handed in",
                now.since(handed_in.at)
            )),
        }
    }
}

/// How many steps of a broadcast may take longer for the pushes to users that were handed in since a moment: each comes to
/// an instance once for each of its users, and may come again with a second lookup or over a new link.
fn yielded_steps(scene: Scene<'_>, since: Instant, step: Duration) -> u32 {
    const COMES: usize = 4;
    let to_users = (scene.pushes().iter()).filter(|push| !push.users().is_empty());
    let comes = to_users.map(|push| {
        let lately = push.times().iter().filter(|time| time.at >= since);
        lately.count() * push.users().len() * COMES
    });
    let each = Config::BROADCAST_YIELDS_FOR
        .as_nanos()
        .div_ceil(step.as_nanos().max(1))
        + 1;
    let steps = comes.sum::<usize>() as u128 * each;
    u32::try_from(steps).unwrap_or(u32::MAX)
}

/// A link between whomever was slower than when it was opened.
fn late_link(watch: &Watch<'_>, since: Instant) -> Option<Excuse> {
    watch.excuse(since, watch.now(), |excuse| {
        matches!(excuse.kind, FaultKind::LinkLate | FaultKind::LinkSlow)
    })
}

/// The directory has lost rows: a terminal is found by a second lookup, or when its row is back.
fn lost_rows(watch: &Watch<'_>, since: Instant) -> Option<Excuse> {
    let from = since.before(watch.scene().config().lease * 2);
    watch.excuse(from, watch.now(), |excuse| match excuse.kind {
        FaultKind::RedisDown
        | FaultKind::RedisAway
        | FaultKind::RedisSlow
        | FaultKind::RedisTrip
        | FaultKind::RedisRefuses
        | FaultKind::RedisScripts => false,
        kind => kind.part() == Part::Directory,
    })
}

/// What a terminal has published in a log is answered as soon as the log has it, which takes as long as the directory does.
fn published(watch: &mut Watch<'_>, hand_in: HandIn) {
    let scene = watch.scene();
    let published = &scene.pushes()[hand_in.push];
    let handed_in = &published.times()[hand_in.time];
    if !published.is_answered_when_logged() || published.topics().len() != 1 {
        return;
    }
    let now = watch.now();
    let due = handed_in.at + published.deadline() / Config::HURRIES_AFTER;
    if now <= due {
        return watch.held();
    }
    let here = Scope::Instance(handed_in.life.host);
    let excuse = watch.excuse(handed_in.at, now, |excuse| match excuse.kind.part() {
        Part::Directory => excuse.scope == Scope::All || excuse.scope == here,
        Part::Process => excuse.scope == here,
        Part::Life | Part::Links | Part::Terminal | Part::NoExcuse => false,
    });
    match excuse {
        Some(excuse) => watch.excused(excuse),
        None => watch.violated(format!(
            "who has published push {} in a log waits for {:?}",
            hand_in.push,
            now.since(handed_in.at)
        )),
    }
}

fn answered(watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
    let scene = watch.scene();
    let published = &scene.pushes()[hand_in.push];
    let [handed_in] = published.times() else {
        // A repeat may be told at once that the first one waits.
        return;
    };
    match published.action() {
        Action::Frame(_) | Action::Close(_) => {}
        // A member that is not known to the directory in time is told so, and so is who wanted it.
        Action::Join(_) | Action::Leave(_) | Action::List { .. } => return,
    }
    let now = watch.now();
    let queued = (receipt.terminals.iter()).filter(|terminal| terminal.outcome == Outcome::Queued);
    for terminal in queued {
        let Some(session) = scene.session_of(terminal.connection) else {
            continue;
        };
        let Some(holder) = scene.sessions()[session].life() else {
            continue;
        };
        // An instance leaves no more for the way than the least margin, nor than half of the time if that is shorter; but
        // for another one that is farther away, half of the time, however far that is.
        let deadline = published.deadline();
        let waits = match holder == handed_in.life {
            true => deadline - Config::ANSWER_MARGIN.min(deadline / 2),
            false => deadline / 2,
        };
        // A second try over a new link is told at once if the first one is forgotten for which it has waited.
        let forgets = scene.config().repeat_entries < Config::default().repeat_entries;
        if now >= handed_in.at + waits || forgets {
            watch.held();
            continue;
        }
        let ends = watch.excuse(handed_in.at, now, |excuse| {
            let one_of_them = [holder.host, handed_in.life.host].map(Scope::Instance);
            excuse.kind == FaultKind::Drain && one_of_them.contains(&excuse.scope)
        });
        // A handshake that took long is what is known of the way until heartbeats know better.
        let measured = handed_in.at.before(scene.config().link_heartbeat * 3);
        let far = || {
            let excuse = watch.excuse(measured, now, |excuse| {
                matches!(
                    excuse.kind,
                    FaultKind::LinkLate | FaultKind::LinkSlow | FaultKind::Clog
                )
            });
            excuse.filter(|_| holder != handed_in.life)
        };
        match ends.or_else(far) {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "push {} counts as queued for session {session} {:?} after it was handed in",
                hand_in.push,
                now.since(handed_in.at)
            )),
        }
    }
}
