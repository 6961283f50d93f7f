//! `hello-means-reachable`: a terminal that was greeted gets each push that starts later, unless a
//! fault lies on the way.

use std::time::Duration;

use switchboard_core::config::Config;

use super::allowance::recovery;
use crate::checker::{Checker, Watch};
use crate::ledger::{Excuse, Scope};
use crate::observed::{HandIn, Observed};
use crate::record::{HandedIn, Progress};

/// Each push reaches all terminals that were greeted before it began.
#[derive(Clone, Copy, Debug)]
pub struct HelloMeansReachable;

/// How much later than its deadline a push may still be written: the publisher's turn.
const SLACK: Duration = Duration::from_millis(5);
/// How long after a cut or a broken link a push may still fail: links are dialled anew with growing
/// pauses.
const REDIAL: Duration = Duration::from_secs(10);

impl Checker for HelloMeansReachable {
    fn name(&self) -> &'static str {
        "hello-means-reachable"
    }

    fn on_event(&mut self, event: &Observed<'_>, watch: &mut Watch<'_>) {
        if let Observed::HandedIn(hand_in) = event {
            let due = watch.now() + Config::DEADLINE_DEFAULT + SLACK;
            watch.call_at(due, hand_in.as_number());
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let world = watch.world();
        let hand_in = HandIn::from_number(what);
        let published = &world.pushes()[hand_in.push];
        let handed_in = &published.times()[hand_in.time];
        let publisher = handed_in.life;
        let ended = !world.lives(publisher);
        match handed_in.progress {
            Progress::Refused => return,
            Progress::OnItsWay | Progress::Taken if !ended => {
                // It stands still, or `receipt-complete` says what is wrong.
                let wakes = world.host(publisher.host).map(|host| host.paused_until());
                if let Some(wakes) = wakes.filter(|wakes| *wakes + SLACK > watch.now()) {
                    watch.call_at(wakes + SLACK, what);
                }
                return;
            }
            Progress::OnItsWay | Progress::Taken | Progress::Answered => {}
        }
        for &session in &handed_in.reachable {
            let this = &world.sessions()[session];
            if !this.is_open() {
                continue;
            }
            if this.has_written(published.id()) {
                watch.held();
                continue;
            }
            match excuse(watch, handed_in, session) {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "push {} at i{} did not reach session {session} of {}",
                    hand_in.push,
                    publisher.host + 1,
                    this.user()
                )),
            }
        }
    }

    fn is_decisive(&self) -> bool {
        true
    }
}

/// What explains that a push did not reach a session.
fn excuse(watch: &Watch<'_>, handed_in: &HandedIn, session: usize) -> Option<Excuse> {
    let world = watch.world();
    let publisher = handed_in.life.host;
    let holder = world.sessions()[session].life();
    let holder = holder.map_or(publisher, |life| life.host);
    let lasts = (world.config().lease + recovery(world.config())).max(REDIAL);
    watch.excuse(
        handed_in.at.before(lasts),
        watch.now(),
        |excuse| match excuse.scope {
            Scope::All => true,
            Scope::Instance(host) => host == publisher || host == holder,
            Scope::Between(one, other) => {
                [(one, other), (other, one)].contains(&(publisher, holder))
            }
            Scope::Session(slow) => slow == session,
        },
    )
}
