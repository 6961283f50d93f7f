//! `receipt-true`: what a receipt says had happened.

use switchboard_core::config::Config;
use switchboard_core::message::{
    Action, Audience, InLog, Outcome, Receipt, TerminalOutcome, Until,
};
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

use super::allowance::{closing, is_being_kicked, lied, on_the_way, settling};
use super::receipt_numbers::miscounts;
use crate::checker::{Checker, Scene, Watch};
use crate::ledger::{Excuse, FaultKind, Part, Scope};
use crate::observed::{HandIn, Life, Observed, Topic};
use crate::publishing::{HandedIn, Published};
use crate::terminals::Session;

/// A receipt names only terminals of its audience, each once, and what it says of each is true. What
/// is no success has a reason: nobody is unreachable, no frame queued and no receipt degraded without
/// a fault.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptTrue;

impl Checker for ReceiptTrue {
    fn name(&self) -> &'static str {
        "receipt-true"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Pushes]
    }

    /// Half as much again as the swarm shows: most are receipts that say `degraded`.
    fn excused_at_most(&self) -> f64 {
        0.32
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Answered { hand_in, receipt } = event else {
            return;
        };
        if let Some(what) = miscounts(watch, *hand_in, receipt) {
            watch.violated(format!("the receipt of push {} {what}", hand_in.push));
        }
        if receipt.degraded {
            match doubt(watch, *hand_in, receipt) {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "the receipt of push {} is degraded, and nothing was wrong",
                    hand_in.push
                )),
            }
        }
        for terminal in &receipt.terminals {
            let logged = receipt
                .logged
                .iter()
                .find(|log| log.channel.user() == Some(&terminal.user));
            let place = logged.and_then(|log| match log.logged {
                InLog::At(position) => Some(position),
                InLog::Expired | InLog::Unknown | InLog::Refused | InLog::Unlogged => None,
            });
            check(watch, *hand_in, terminal, place);
        }
    }
}

/// What was in doubt while a push was routed.
fn doubt(watch: &Watch<'_>, hand_in: HandIn, receipt: &Receipt) -> Option<Excuse> {
    let scene = watch.scene();
    let published = &scene.pushes()[hand_in.push];
    // It asks instances, and not terminals.
    let everyone = matches!(published.to(), Audience::Everyone | Audience::Topics { .. });
    let handed_in = &published.times()[hand_in.time];
    in_doubt(watch, handed_in.life, handed_in.at, everyone)
        .or_else(|| late(watch, handed_in, None).filter(|_| everyone))
        .or_else(|| looked_up_too_late(watch, handed_in, published, receipt))
        .or_else(|| waits_for_a_trip(watch, handed_in))
}

/// A directory that is slow, if so many pushes came to an instance at a time that a lookup waited for one that was under
/// way before it.
fn waits_for_a_trip(watch: &Watch<'_>, handed_in: &HandedIn) -> Option<Excuse> {
    let (scene, now) = (watch.scene(), watch.now());
    let since = handed_in.at.before(scene.config().directory_timeout);
    let times = scene.pushes().iter().flat_map(Published::times);
    let there = times
        .filter(|time| time.life == handed_in.life && time.at >= since && time.at <= handed_in.at);
    let lags = || watch.excuse(since, now, |excuse| excuse.kind == FaultKind::RedisLags);
    (there.count() > Config::TRIPS_IN_FLIGHT)
        .then(lags)
        .flatten()
}

/// Why rows may not have been read once more by the deadline: a terminal was gone, its end took its time, or what
/// lay between its instance and the publisher kept that from being said sooner.
fn looked_up_too_late(
    watch: &Watch<'_>,
    handed_in: &HandedIn,
    published: &Published,
    receipt: &Receipt,
) -> Option<Excuse> {
    if watch.now() < handed_in.at + published.deadline() {
        return None;
    }
    let sessions = watch.scene().sessions();
    let is_gone = |session: &usize| {
        let this = &sessions[*session];
        let is_named = (receipt.terminals.iter()).any(|terminal| {
            terminal.outcome == Outcome::Gone && Some(terminal.connection) == this.connection()
        });
        is_named || (receipt.truncated && !this.is_open() && published.is_for(this.user()))
    };
    (0..sessions.len()).filter(is_gone).find_map(|session| {
        let holder = sessions[session].life()?;
        let ended = watch.excuse(handed_in.at, watch.now(), |excuse| {
            excuse.kind.part() == Part::Terminal && excuse.scope == Scope::Session(session)
        });
        ended
            .or_else(|| on_the_way(watch, handed_in, session))
            .or_else(|| late(watch, handed_in, Some(holder)))
    })
}

/// What was in doubt for an instance since a moment. `everyone`: it asked all the others.
pub(super) fn in_doubt(
    watch: &Watch<'_>,
    life: Life,
    at: Instant,
    everyone: bool,
) -> Option<Excuse> {
    let scene = watch.scene();
    let publisher = Scope::Instance(life.host);
    // Doubt lasts for a lease after its cause, causes are noticed within a lease, and an instance that
    // has noticed one settles. That somebody is gone without a sign is noticed when the link to it is
    // silent for too long, and nobody answers where it was.
    let config = scene.config();
    let settling = settling(watch, scene.sessions().len());
    let shaken = at.before(config.lease * 2 + config.directory_timeout * 2 + settling);
    let silence = config.link_heartbeat * (Config::SILENT_HEARTBEATS + 1);
    let from = shaken.before(silence + config.link_timeout * 2);
    watch
        .excuse(from, watch.now(), |excuse| match excuse.kind.part() {
            // A row that is thrown away makes no doubt: nobody notices.
            Part::Directory => excuse.until >= shaken && excuse.kind != FaultKind::RedisEvicted,
            // Nobody answers for the terminals of an instance that stands still or cannot be reached.
            Part::Process => {
                everyone || excuse.kind == FaultKind::LongPause || excuse.scope == publisher
            }
            // An instance that has just started settles, and one that is gone is doubted.
            Part::Life => excuse.kind != FaultKind::Start || excuse.until >= at,
            Part::Links => everyone,
            Part::Terminal | Part::NoExcuse => false,
        })
        .or_else(|| kept_quiet(watch, life.host, at))
}

/// Why an answer may have come after the deadline although it left in time: what was under way between
/// publisher and holder took longer than when their link was opened. Without a holder that is anybody.
fn late(watch: &Watch<'_>, handed_in: &HandedIn, holder: Option<Life>) -> Option<Excuse> {
    let publisher = handed_in.life.host;
    watch.excuse(handed_in.at, watch.now(), |excuse| match excuse.scope {
        Scope::Between(one, other) if excuse.kind == FaultKind::LinkLate => match holder {
            Some(Life { host, .. }) => {
                [(publisher, host), (host, publisher)].contains(&(one, other))
            }
            None => one == publisher || other == publisher,
        },
        Scope::All | Scope::Instance(_) | Scope::Between(..) | Scope::Session(_) => false,
    })
}

/// What keeps another instance from saying that its directory is back, after it has told the publisher that it
/// is away: it is doubted until the link between them is taken for dead, and for a lease after that.
fn kept_quiet(watch: &Watch<'_>, publisher: usize, at: Instant) -> Option<Excuse> {
    let scene = watch.scene();
    let config = scene.config();
    let lasts = config.lease * 3;
    let silence = config.link_heartbeat * Config::SILENT_HEARTBEATS;
    let from = at.before(silence + lasts);
    let quiet = scene.ledger().entries().iter().filter(|entry| {
        let silent = matches!(
            entry.kind,
            FaultKind::Clog | FaultKind::Cut | FaultKind::HalfOpen
        );
        let here = match entry.scope {
            Scope::Between(one, other) => one == publisher || other == publisher,
            Scope::All | Scope::Instance(_) | Scope::Session(_) => false,
        };
        silent && here && entry.from <= at && entry.until >= from
    });
    let away = |quiet: &Excuse| {
        let lately = quiet.from.before(lasts);
        watch.excuse(lately, quiet.until.min(watch.now()), |excuse| {
            excuse.kind.part() == Part::Directory
        })
    };
    quiet.copied().find(|quiet| away(quiet).is_some())
}

/// Whether what a receipt says of a terminal is so, or what excuses it.
enum Truth {
    So,
    Excused(Excuse),
    NotSo,
}

impl Truth {
    const fn of(is_so: bool) -> Self {
        if is_so { Self::So } else { Self::NotSo }
    }

    fn by(excuse: Option<Excuse>) -> Self {
        excuse.map_or(Self::NotSo, Self::Excused)
    }
}

/// Checks what is said of one terminal of a push that stands there in the log of its user, if it does.
fn check(
    watch: &mut Watch<'_>,
    hand_in: HandIn,
    terminal: &TerminalOutcome,
    place: Option<Position>,
) {
    let scene = watch.scene();
    let push = hand_in.push;
    let id = terminal.connection;
    let handed_in = &scene.pushes()[push].times()[hand_in.time];
    let Some(session) = scene.session_of(id) else {
        if let Some(lie) = lied(watch, handed_in, None) {
            return watch.excused(lie);
        }
        return watch.violated(format!(
            "the receipt of push {push} names {id:?}, which never was"
        ));
    };
    let (this, published) = (&scene.sessions()[session], &scene.pushes()[push]);
    let truth = match terminal.outcome {
        Outcome::Written => Truth::of(match published.action() {
            Action::Frame(_) => holds(this, published, place),
            Action::Close(_) => !this.is_open(),
            // Whether it has joined is for `joins-end` to say: it is told so a moment later.
            Action::Join(_) | Action::Leave(_) => true,
            Action::List { .. } => false,
        }),
        Outcome::Gone if !this.is_open() || is_being_kicked(watch, session) => Truth::So,
        Outcome::Gone => Truth::by(closing(watch, session)),
        Outcome::Queued if is_known_to_be_gone(watch, hand_in, session) => Truth::NotSo,
        Outcome::Queued | Outcome::Unreachable if !this.is_open() => Truth::So,
        // Whether it was told so late for a reason is for `joins-end` to say.
        Outcome::Queued if matches!(published.action(), Action::Join(_)) => Truth::So,
        Outcome::Queued if is_known_to_be_written(watch, hand_in, session) => Truth::NotSo,
        Outcome::Queued => Truth::by(may_wait(watch, hand_in, session)),
        Outcome::Unreachable if !this.life().is_some_and(|life| scene.lives(life)) => Truth::So,
        Outcome::Unreachable => Truth::by(may_be_out_of_reach(watch, hand_in, session)),
        // All instances have the same settings.
        Outcome::TooLarge => Truth::NotSo,
        // Whether it has confirmed it is for `ack-true` to say.
        Outcome::Acked => Truth::of(waits_for_confirmation(published) && this.follow().is_some()),
        // Whether it comes is for `log-complete` to say.
        Outcome::Kept => Truth::of(published.durable().is_some() && this.follow().is_some()),
        // Whether the queue can have been full is for `limits` to say.
        Outcome::Overflow => Truth::So,
    };
    let addressed = *this.user() == terminal.user && published.is_for(this.user());
    let truth = match truth {
        Truth::So | Truth::Excused(_) if addressed => truth,
        // Of a terminal for which nobody else was asked it may say that it is its own.
        Truth::So | Truth::Excused(_) | Truth::NotSo
            if !addressed || !handed_in.reachable.contains(&session) =>
        {
            Truth::by(lied(watch, handed_in, None))
        }
        // What a peer says of its own terminals is its word, also whose they are.
        Truth::So | Truth::Excused(_) | Truth::NotSo => Truth::by(
            this.life()
                .and_then(|life| lied(watch, handed_in, Some(life.host))),
        ),
    };
    match truth {
        Truth::So => watch.held(),
        Truth::Excused(excuse) => watch.excused(excuse),
        Truth::NotSo => watch.violated(format!(
            "the receipt of push {push} says {terminal:?} of session {session} of {}",
            this.user()
        )),
    }
}

/// Whether the instance that answers was told, before it had to answer, that the terminal's socket has gone: nothing
/// waits for it any more. One that goes away, or whose publisher does, has to answer sooner.
fn is_known_to_be_gone(watch: &Watch<'_>, hand_in: HandIn, session: usize) -> bool {
    let scene = watch.scene();
    let (this, published) = (&scene.sessions()[session], &scene.pushes()[hand_in.push]);
    let handed_in = &published.times()[hand_in.time];
    let (Some(closed), Some(holder)) = (this.closed(), this.life()) else {
        return false;
    };
    let deadline = published.deadline();
    let answers = match holder == handed_in.life {
        true => deadline - Config::ANSWER_MARGIN.min(deadline / 2),
        false => deadline / 2,
    };
    let of_them = [holder.host, handed_in.life.host].map(Scope::Instance);
    let goes = watch.excuse(handed_in.at, watch.now(), |excuse| {
        excuse.kind.part() == Part::Life && of_them.contains(&excuse.scope)
    });
    is_told_of_repeats(scene, published)
        && !matches!(published.action(), Action::Join(_))
        && closed < handed_in.at + answers
        && goes.is_none()
}

/// Whether a repeat is told what became of the first delivery: there is a place for it, and that is not forgotten.
fn is_told_of_repeats(scene: Scene<'_>, published: &Published) -> bool {
    published.times().len() <= Config::REPEATS_WAITING
        && scene.config().repeat_entries >= Config::default().repeat_entries
}

/// Whether the instance that answers was told before that the frame is written, to a terminal of its own.
fn is_known_to_be_written(watch: &Watch<'_>, hand_in: HandIn, session: usize) -> bool {
    let scene = watch.scene();
    let (this, published) = (&scene.sessions()[session], &scene.pushes()[hand_in.push]);
    let handed_in = &published.times()[hand_in.time];
    // It has to say then what is so, and something else may be waited for.
    let deadline = published.deadline();
    let answers = handed_in.at + (deadline - Config::ANSWER_MARGIN.min(deadline / 2));
    is_told_of_repeats(scene, published)
        && published.durable().is_none()
        && this.life() == Some(handed_in.life)
        && this.has_written(published.id())
        && !this.took_room_since(published.id(), watch.now().min(answers))
}

fn waits_for_confirmation(published: &Published) -> bool {
    published
        .durable()
        .is_some_and(|kept| kept.until == Until::Acked)
}

/// Whether a terminal has a push, or has said so: a follower may have got it on an earlier connection, and brings its
/// position; or was told there that it begins behind it, which nobody can tell from that.
fn holds(this: &Session, published: &Published, place: Option<Position>) -> bool {
    let brings = |position: Position| {
        let follow = this.follow();
        follow.is_some_and(|asked| {
            asked.after.contains(&position) || asked.behind == Some(position.offset())
        })
    };
    this.has_written(published.id()) || place.is_some_and(brings)
}

/// Why a frame for a terminal may wait until the deadline: it reads slowly or not at all, is being
/// closed, one of the two instances stands still or goes away, the links between them were disturbed, or
/// the terminal was found just before.
fn may_wait(watch: &Watch<'_>, hand_in: HandIn, session: usize) -> Option<Excuse> {
    let scene = watch.scene();
    let handed_in = &scene.pushes()[hand_in.push].times()[hand_in.time];
    let holder = scene.sessions()[session].life();
    let from = handed_in.at.before(scene.config().close_timeout);
    let waits = watch.excuse(from, watch.now(), |excuse| match excuse.scope {
        Scope::Session(other) => excuse.kind.part() == Part::Terminal && other == session,
        Scope::Instance(host) => {
            let holds = holder.is_some_and(|life| life.host == host);
            let publishes = host == handed_in.life.host;
            match excuse.kind.part() {
                Part::Process => holds || publishes,
                Part::Directory => publishes,
                Part::Life => holds && excuse.kind == FaultKind::Drain,
                Part::Links | Part::Terminal | Part::NoExcuse => false,
            }
        }
        Scope::All => excuse.kind.part() == Part::Directory,
        Scope::Between(..) => false,
    });
    waits.or_else(|| on_the_way(watch, handed_in, session))
}

/// Why an instance may not have answered for a terminal: it or the publisher has only just started,
/// goes away, stands still, something is wrong with the links between them or with the directory, which
/// says where that instance is, or its answer was late.
fn may_be_out_of_reach(watch: &Watch<'_>, hand_in: HandIn, session: usize) -> Option<Excuse> {
    let scene = watch.scene();
    let handed_in = &scene.pushes()[hand_in.push].times()[hand_in.time];
    let holder = scene.sessions()[session].life()?;
    let from = handed_in.at.before(scene.config().lease * 2);
    let away = watch.excuse(from, watch.now(), |excuse| match excuse.scope {
        Scope::Instance(host) if host == holder.host || host == handed_in.life.host => {
            let comes_or_goes = matches!(excuse.kind, FaultKind::Start | FaultKind::Drain);
            comes_or_goes || excuse.kind.part() == Part::Directory
        }
        Scope::All => excuse.kind.part() == Part::Directory,
        Scope::Instance(_) | Scope::Between(..) | Scope::Session(_) => false,
    });
    away.or_else(|| on_the_way(watch, handed_in, session))
        .or_else(|| late(watch, handed_in, Some(holder)))
}
