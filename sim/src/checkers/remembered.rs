//! `remembered`: what an instance remembers of pushes is found, is forgotten in its time, and is waited for by few.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::message::Audience;
use switchboard_core::time::Instant;

use crate::checker::{Checker, Scene, Watch};
use crate::ledger::Part;
use crate::observed::{Life, Observed, Topic};
use crate::publishing::{HandInProgress, Published};

/// An instance finds exactly what it remembers of pushes. That of pushes whose time is over gives way to that of new
/// ones, so that it remembers no more for them; and of the repeats of a push so many wait for the first one as may, and no
/// others.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// How much each instance has remembered at the end of its last turn.
    before: BTreeMap<Life, usize>,
    /// Until then pushes are under way.
    busy_until: Instant,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            before: BTreeMap::new(),
            busy_until: Instant::START,
        }
    }
}

/// A receipt can come so late: at the deadline, a turn after it.
const UNDER_WAY: Duration = Config::DEADLINE_DEFAULT.saturating_add(Duration::from_millis(100));
/// A delivery has come to its instance and has found what waits there, if nothing is wrong.
const COMES: Duration = Duration::from_millis(500);

impl Checker for Remembered {
    fn name(&self) -> &'static str {
        "remembered"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Pushes, Topic::Turns, Topic::Time, Topic::Lives]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::HandedIn(_) => self.busy_until = watch.now() + UNDER_WAY,
            Observed::Turned(life) if watch.now() <= self.busy_until => self.turned(watch, *life),
            Observed::Tick => crowds(watch),
            Observed::Gone(life) => {
                self.before.remove(life);
            }
            _ => {}
        }
    }
}

impl Remembered {
    fn turned(&mut self, watch: &mut Watch<'_>, life: Life) {
        let scene = watch.scene();
        let Some(tables) = scene.host(life.host).and_then(|host| host.tables()) else {
            return;
        };
        let host = life.host + 1;
        let before = self.before.insert(life, tables.memory).unwrap_or(0);
        if tables.remembered != tables.memory {
            return watch.violated(format!(
                "i{host} finds {} of {} pushes that it remembers",
                tables.remembered, tables.memory
            ));
        }
        let now = watch.now();
        let span = scene.config().repeat_memory;
        if tables.memory > before && now > Instant::START + span {
            // A turn may have begun a little before, and what was handed in have come late.
            let since = now.before(span + UNDER_WAY);
            let lately = |push: &&Published| push.times().iter().any(|time| time.at >= since);
            let new = scene.pushes().iter().filter(lately);
            let most = new.map(|push| entries(scene, life, push)).sum::<usize>();
            if tables.memory > most {
                return watch.violated(format!(
                    "i{host} remembers {} pushes and looks for room for more, and {most} came within {span:?}",
                    tables.memory
                ));
            }
        }
        watch.held();
    }
}

/// What an instance can remember of a push: its terminals, users who were asked for, and walks.
fn entries(scene: Scene<'_>, life: Life, push: &Published) -> usize {
    let is_walk = matches!(push.to(), Audience::Everyone | Audience::Topics { .. });
    let here = scene
        .sessions()
        .iter()
        .filter(|session| session.life() == Some(life) && (is_walk || push.is_for(session.user())));
    here.count() + push.users().len() + push.topics().len() + usize::from(is_walk)
}

/// How often a push waits at one terminal, at most: once by itself, and in its repeats.
const WAITS: usize = Config::REPEATS_WAITING + 1;

/// No more hand-ins of a push wait than may at its terminals.
fn crowds(watch: &mut Watch<'_>) {
    let scene = watch.scene();
    let now = watch.now();
    for (number, push) in scene.pushes().iter().enumerate() {
        if push.times().len() <= WAITS || push.durable().is_some() {
            continue;
        }
        let waiting = push
            .times()
            .iter()
            .filter(|time| time.progress == HandInProgress::Taken && now >= time.at + COMES);
        let terminals = (scene.sessions().iter())
            .filter(|session| push.is_for(session.user()) && session.life().is_some());
        let (waiting, most) = (waiting.count(), WAITS * terminals.count());
        if waiting <= most {
            watch.held();
            continue;
        }
        // It may wait for something else as well.
        let since = now.before(UNDER_WAY + scene.config().lease * 2);
        let excuse = watch.excuse(since, now, |excuse| match excuse.kind.part() {
            Part::Process | Part::Directory | Part::Links | Part::Life => true,
            Part::Terminal | Part::NoExcuse => false,
        });
        match excuse {
            Some(excuse) => watch.excused(excuse),
            None => watch.violated(format!(
                "{waiting} repeats of push {number} wait, and {most} may"
            )),
        }
    }
}
