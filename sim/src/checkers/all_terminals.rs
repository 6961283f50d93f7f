//! `all-terminals`: none is skipped because another was served.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::message::Audience;
use switchboard_core::time::Instant;

use super::allowance::{
    append_was_late, comes_by_the_log, evicted, evicted_topic, leases_last_longer, on_the_way,
};
use super::knowledge::Knowledge;
use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, FaultKind, Scope};
use crate::observed::{HandIn, Life, Observed, Topic};
use crate::publishing::Published;
use crate::terminals::Session;

/// If a push reaches one terminal of a user at an instance, it reaches all that were greeted there
/// before it began. An instance whose rows may be missing is asked by user, so that nothing that
/// happens there excuses one, but a row that it threw away without a sign, and a publisher that cannot
/// know that it reads other rows than are written.
#[derive(Clone, Debug, Default)]
pub struct AllTerminals {
    knowledge: Knowledge,
}

/// How much later than its deadline a push may still be written: the publisher's turn.
const SLACK: Duration = Duration::from_millis(5);

impl Checker for AllTerminals {
    fn name(&self) -> &'static str {
        "all-terminals"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Pushes, Topic::Faults]
    }

    /// Several times what the swarm shows.
    fn excused_at_most(&self) -> f64 {
        0.015
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        self.knowledge.take_in(event, watch);
        if let Observed::HandedIn(hand_in) = event {
            let due = watch.now() + Config::DEADLINE_DEFAULT + SLACK;
            watch.call_at(due, hand_in.as_number());
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let scene = watch.scene();
        let hand_in = HandIn::from_number(what);
        let HandIn { push, time } = hand_in;
        let published = &scene.pushes()[push];
        let handed_in = &published.times()[time];
        let sessions = scene.sessions();
        for &session in &handed_in.reachable {
            let this = &sessions[session];
            let sibling = (handed_in.reachable.iter()).copied().find(|&other| {
                let other_session = &sessions[other];
                other != session
                    && other_session.user() == this.user()
                    && other_session.life() == this.life()
                    && other_session.has_written(published.id())
            });
            let Some(sibling) = sibling.filter(|_| this.is_open()) else {
                continue;
            };
            if this.has_written(published.id()) {
                watch.held();
                continue;
            }
            if comes_by_the_log(published, handed_in, this)
                || has_left(published, handed_in.at, this)
            {
                continue;
            }
            let excuse = on_the_way(watch, handed_in, session)
                .or_else(|| append_was_late(watch, published, handed_in))
                .or_else(|| evicted(watch, session, handed_in.at))
                .or_else(|| evicted_topic(watch, published, session, handed_in.at))
                .or_else(|| {
                    let publisher = self.knowledge.publisher(watch, hand_in);
                    Knowledge::reads_other_rows(watch, publisher)
                })
                .or_else(|| writes_other_rows(watch, handed_in.at, this.life()?));
            match excuse {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "push {push} reached session {sibling} of {}, and not session {session} beside it",
                    this.user()
                )),
            }
        }
    }
}

/// Whether a session may be no member any more of the topics that a push is for.
fn has_left(published: &Published, since: Instant, session: &Session) -> bool {
    match published.to() {
        Audience::Topics { topics, .. } => {
            (topics.iter()).any(|topic| session.standing(topic).has_left_since(since))
        }
        Audience::User(_)
        | Audience::Users(_)
        | Audience::Connections { .. }
        | Audience::Everyone => false,
    }
}

/// Why a holder may write its rows at a former primary while its lease goes on at the present one, and
/// nobody doubts it: the directory's clock went back.
fn writes_other_rows(watch: &Watch<'_>, since: Instant, holder: Life) -> Option<Excuse> {
    let lately = since.before(watch.scene().config().lease * 2);
    let split = watch.excuse(lately, watch.now(), |excuse| {
        let here = excuse.scope == Scope::Instance(holder.host);
        here && matches!(
            excuse.kind,
            FaultKind::RedisSplit | FaultKind::RedisLongSplit
        )
    });
    leases_last_longer(watch).and(split)
}
