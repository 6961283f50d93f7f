//! What watches a world: the one interface for our own invariants and for those of others.

use std::collections::BTreeMap;
use std::fmt::Debug;

use dyn_clone::DynClone;
use switchboard_core::time::Instant;

use crate::ledger::{Excuse, FaultKind};
use crate::observed::{Observed, Quiescence, Topic};
use crate::panics;

mod scene;

pub use scene::{HostView, Scene};

/// Watches a world and says what does not hold.
///
/// The world calls [`on_event`](Self::on_event) for each thing that happens, in the order in which
/// it happens, [`on_deadline`](Self::on_deadline) at the moments that the checker asked for, and
/// [`at_quiescence`](Self::at_quiescence) where the schedule says that nothing should be left to do.
/// A checker sees both sides, terminals and instances, through [`Watch::scene`]; it changes nothing,
/// so that a world behaves the same whoever watches it. It is a value: a clone of the world takes a
/// clone of it along.
///
/// # Examples
///
/// No terminal waits longer than a second for its hello:
///
/// ```
/// use std::time::Duration;
/// use switchboard_sim::checker::{Checker, Watch};
/// use switchboard_sim::observed::Observed;
/// use switchboard_sim::schedule::Schedule;
/// use switchboard_sim::World;
///
/// #[derive(Clone, Debug)]
/// struct Prompt;
///
/// impl Checker for Prompt {
///     fn name(&self) -> &'static str {
///         "prompt"
///     }
///
///     fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
///         if let Observed::Accepted { session } = event {
///             watch.call_at(watch.now() + Duration::from_secs(1), *session as u64);
///         }
///     }
///
///     fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
///         let session = &watch.scene().sessions()[what as usize];
///         if session.is_open() && session.greeted().is_none() {
///             watch.violated(format!("{} waits for a hello", session.user()));
///         } else {
///             watch.held();
///         }
///     }
/// }
///
/// let schedule = "switchboard-sim 1  seed 7  instances 1  lease 10s\n\
///                 1.0s  client c1 connects i1 as alice\n\
///                 9.0s  clients leave";
/// let schedule = Schedule::parse(schedule).unwrap();
/// let report = World::watched(schedule, vec![Box::new(Prompt)]).run();
/// assert_eq!(report.violation, None);
/// assert_eq!(report.tallies[0].held, 1);
/// ```
pub trait Checker: Debug + DynClone + Send {
    /// As it is called in reports, and by `expect violation` in schedules.
    fn name(&self) -> &'static str;

    /// What it is told of: [`on_event`](Self::on_event) is called for nothing else. A checker that
    /// leaves out what it does not look at costs nothing there, and turns are most of what happens.
    fn topics(&self) -> &'static [Topic] {
        &Topic::ALL
    }

    /// Something has happened.
    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>);

    /// A moment that was asked for with [`Watch::call_at`] has come.
    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let _ = (what, watch);
    }

    /// The schedule says that nothing should be left to do.
    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        let _ = (quiescence, watch);
    }

    /// What it must have judged at least once for a run to prove anything: a run in which it judged
    /// nothing is neither a pass nor a failure.
    fn is_decisive(&self) -> bool {
        false
    }

    /// Of all that it judges in many runs, the share that excuses may explain at most.
    fn excused_at_most(&self) -> f64 {
        1.0
    }

    /// The probes that it hits with [`Watch::sometimes`]: one that no run of a swarm has hit is
    /// reported.
    fn probes(&self) -> &'static [&'static str] {
        &[]
    }
}

dyn_clone::clone_trait_object!(Checker);

/// What a checker can see and say.
#[derive(Debug)]
pub struct Watch<'a> {
    scene: Scene<'a>,
    tally: &'a mut Tally,
    said: &'a mut Said,
    index: usize,
}

/// What a checker has judged in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The checker's name.
    pub checker: &'static str,
    /// Whether the run proves nothing without it.
    pub decisive: bool,
    /// How often what it watches for held.
    pub held: u64,
    /// How often it did not, and an entry of the ledger explained that.
    pub excused: u64,
    /// What explained it, and how often.
    pub excuses: BTreeMap<FaultKind, u64>,
    /// Whether it was violated.
    pub violated: bool,
    /// Probes that were hit, in the order of the first time.
    pub probes: Vec<&'static str>,
}

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was judged held, or was excused.
    Pass,
    /// Something did not hold.
    Fail,
    /// Nothing was judged: the run proved nothing.
    Unknown,
}

impl Tally {
    /// Whether the run proves nothing, as this checker has judged nothing.
    pub fn is_idle(&self) -> bool {
        self.decisive && self.verdict() == Verdict::Unknown
    }

    /// What the checker found out.
    pub const fn verdict(&self) -> Verdict {
        if self.violated {
            Verdict::Fail
        } else if self.held + self.excused == 0 {
            Verdict::Unknown
        } else {
            Verdict::Pass
        }
    }
}

impl<'a> Watch<'a> {
    /// What can be seen of the world, as it is at this moment.
    pub const fn scene(&self) -> Scene<'a> {
        self.scene
    }

    /// The name of the checker that watches.
    const fn name(&self) -> &'static str {
        self.tally.checker
    }

    /// This moment, by a clock that no instance has.
    pub const fn now(&self) -> Instant {
        self.scene.now()
    }

    /// Asks to be called at a moment, with a number of the checker's own.
    pub fn call_at(&mut self, at: Instant, what: u64) {
        self.said.deadlines.push((at, self.index, what));
    }

    /// Says that what is watched for does not hold.
    pub fn violated(&mut self, what: impl Into<String>) {
        self.tally.violated = true;
        let checker = self.tally.checker;
        self.said.violation.get_or_insert((checker, what.into()));
    }

    /// Counts that it held.
    pub const fn held(&mut self) {
        self.tally.held += 1;
    }

    /// Counts that it did not hold, and that this entry of the ledger explains it.
    pub fn excused(&mut self, by: Excuse) {
        self.tally.excused += 1;
        *self.tally.excuses.entry(by.kind).or_default() += 1;
    }

    /// The first entry of the ledger that overlaps an interval and passes the filter.
    pub fn excuse(
        &self,
        from: Instant,
        until: Instant,
        filter: impl Fn(&Excuse) -> bool,
    ) -> Option<Excuse> {
        self.scene.ledger().find(from, until, filter)
    }

    /// Says that something has happened which must happen sometimes: in one run at least of a
    /// swarm. Name it in [`Checker::probes`].
    pub fn sometimes(&mut self, probe: &'static str) {
        if !self.tally.probes.contains(&probe) {
            self.tally.probes.push(probe);
        }
    }
}

/// What checkers said in answer to what they were told.
#[derive(Clone, Debug, Default)]
struct Said {
    deadlines: Vec<(Instant, usize, u64)>,
    violation: Option<(&'static str, String)>,
}

/// The checkers of a world.
#[derive(Clone, Debug)]
pub(crate) struct Watchers {
    watchers: Vec<Watcher>,
    /// The watchers of each topic, in the order of watchers.
    told: [Vec<usize>; Topic::ALL.len()],
    said: Said,
}

#[derive(Clone, Debug)]
struct Watcher {
    checker: Box<dyn Checker>,
    tally: Tally,
}

impl Watchers {
    pub(crate) fn new(checkers: Vec<Box<dyn Checker>>) -> Self {
        let watcher = |checker: Box<dyn Checker>| Watcher {
            tally: Tally {
                checker: checker.name(),
                decisive: checker.is_decisive(),
                held: 0,
                excused: 0,
                excuses: BTreeMap::new(),
                violated: false,
                probes: Vec::new(),
            },
            checker,
        };
        let watchers: Vec<_> = checkers.into_iter().map(watcher).collect();
        let told = Topic::ALL.map(|topic| {
            (watchers.iter().enumerate())
                .filter(|(_, watcher)| watcher.checker.topics().contains(&topic))
                .map(|(index, _)| index)
                .collect()
        });
        Self {
            watchers,
            told,
            said: Said::default(),
        }
    }

    /// The topics of which any checker is told.
    pub(crate) fn topics(&self) -> Vec<Topic> {
        let told = |topic: &Topic| !self.told[*topic as usize].is_empty();
        Topic::ALL.into_iter().filter(told).collect()
    }

    pub(crate) fn tallies(&self) -> Vec<Tally> {
        (self.watchers.iter())
            .map(|watcher| watcher.tally.clone())
            .collect()
    }

    /// Tells checkers what has happened.
    pub(crate) fn tell(&mut self, event: &Observed, scene: Scene<'_>) {
        let Self {
            watchers,
            told,
            said,
        } = self;
        for &index in &told[event.topic() as usize] {
            let (checker, mut watch) = watchers[index].watch(scene, index, said);
            panics::blaming(watch.name(), || checker.on_event(event, &mut watch));
        }
    }

    /// Asks all checkers what should be at rest.
    pub(crate) fn quiesce(&mut self, quiescence: Quiescence, scene: Scene<'_>) {
        let Self { watchers, said, .. } = self;
        for (index, watcher) in watchers.iter_mut().enumerate() {
            let (checker, mut watch) = watcher.watch(scene, index, said);
            panics::blaming(watch.name(), || {
                checker.at_quiescence(quiescence, &mut watch);
            });
        }
    }

    /// Calls a checker at a moment for which it has asked.
    pub(crate) fn call(&mut self, checker: usize, what: u64, scene: Scene<'_>) {
        let Self { watchers, said, .. } = self;
        let (asked, mut watch) = watchers[checker].watch(scene, checker, said);
        panics::blaming(watch.name(), || asked.on_deadline(what, &mut watch));
    }

    /// When checkers want to be called, each with its number and one of its own.
    pub(crate) fn deadlines(&mut self) -> impl Iterator<Item = (Instant, usize, u64)> {
        self.said.deadlines.drain(..)
    }

    /// What a checker has found, and its name.
    pub(crate) const fn violation(&mut self) -> Option<(&'static str, String)> {
        self.said.violation.take()
    }
}

impl Watcher {
    /// The checker, and what it can see and say.
    fn watch<'a>(
        &'a mut self,
        scene: Scene<'a>,
        index: usize,
        said: &'a mut Said,
    ) -> (&'a mut dyn Checker, Watch<'a>) {
        let Self { checker, tally } = self;
        let watch = Watch {
            scene,
            tally,
            said,
            index,
        };
        (checker.as_mut(), watch)
    }
}
