//! What every part of a world may use: the moment and the clocks, noise, the settings, what will
//! happen, the ledger, the trace, and what checkers are told.

mod calm;
mod moments;
mod queue;

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::event::Event;
use switchboard_core::id::InstanceId;
use switchboard_core::time::{Instant, Now, WallTime};

use crate::fingerprint::{Fingerprint as _, Print};
use crate::ledger::{Excuse, FaultKind, Ledger, Scope};
use crate::noise::{Noise, Purpose};
use crate::observed::{Life, Observed, Topic};
use crate::schedule::{Act, Item, Moment};
use crate::trace::{Entry, Kept, Trace};
use crate::vocabulary::happening::{Happening, Input};
use crate::vocabulary::push::content_of;

use calm::Calm;
use moments::Moments;
use queue::Queue;

/// What every part of a world may use.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// This moment.
    pub(crate) now: Instant,
    /// The source of all noise.
    pub(crate) noise: Noise,
    /// The settings that all instances should have.
    pub(crate) config: Config,
    /// Those that they have: others in a world that shows what checkers see of that.
    pub(crate) real_config: Config,
    queue: Queue,
    moments: Moments,
    ledger: Ledger,
    trace: Trace,
    calm: Calm,
    /// The topics of which any checker is told.
    watched: Vec<Topic>,
    /// What checkers have not been told yet, in its order.
    observed: Vec<Observed>,
}

/// The monotonic clock at the start of a schedule: nothing is at the clock's own start.
pub(crate) const BEGIN: Instant = Instant::from_nanos(3_600_000_000_000);
/// The wall clock at that moment.
const BEGIN_WALL_MILLIS: u64 = 1_700_000_000_000;
/// The time in which the operating system takes what is written.
pub(crate) const WRITE: Duration = Duration::from_micros(20);
/// How long it takes clients to see that a process is gone which went without a sign.
pub(crate) const VANISHED: Duration = Duration::from_secs(10);

impl Context {
    /// At the start of a schedule. Of other topics than these nobody is told.
    pub(crate) fn new(seed: u64, config: Config, watched: Vec<Topic>) -> Self {
        Self {
            now: BEGIN,
            noise: Noise::new(seed),
            real_config: config.clone(),
            config,
            queue: Queue::default(),
            moments: Moments::default(),
            ledger: Ledger::default(),
            trace: Trace::new(),
            calm: Calm::new(BEGIN),
            watched,
            observed: Vec::new(),
        }
    }

    /// The time since the start of the schedule.
    pub(crate) const fn passed(&self) -> Duration {
        self.now.since(BEGIN)
    }

    /// The right clocks.
    pub(crate) const fn clock(&self) -> Now {
        let passed = self.passed().as_millis() as u64;
        Now {
            mono: self.now,
            wall: WallTime::from_millis(BEGIN_WALL_MILLIS + passed),
        }
    }

    /// The id of the instance in this life of a process.
    pub(crate) fn instance_id(&self, life: Life) -> InstanceId {
        let ids = [life.host as u64, life.number.into()];
        InstanceId::new(self.noise.draw(Purpose::InstanceId, &ids))
    }

    /// What noise of one instance at this moment is keyed with.
    pub(crate) fn noise_ids(&self, life: Life) -> [u64; 3] {
        [life.host as u64, life.number.into(), self.now.as_nanos()]
    }

    /// Something will happen at a moment.
    pub(crate) fn put(&mut self, at: Instant, happening: Happening) {
        self.queue.put(at, happening);
    }

    /// Hands an event to an instance after a while.
    pub(crate) fn tell(&mut self, life: Life, after: Duration, event: Event) {
        self.tell_at(life, self.now + after, event);
    }

    /// Hands an event to an instance at a moment.
    pub(crate) fn tell_at(&mut self, life: Life, at: Instant, event: Event) {
        let input = Input::Event(Box::new(event));
        self.queue.put(at, Happening::Input(life, input));
    }

    /// When the next thing happens.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.next()
    }

    /// Takes the next thing that happens: it is that moment from here on.
    pub(crate) fn take_next(&mut self) -> Option<Happening> {
        let (at, happening) = self.queue.take()?;
        self.now = at;
        Some(happening)
    }

    /// An item waits for a moment.
    pub(crate) fn wait_for(&mut self, moment: Moment, of: &str, after: Duration, act: &Act) {
        self.moments.wait_for(moment, of, after, act);
    }

    /// Nothing waits for a moment any more.
    pub(crate) fn end_waiting(&mut self) {
        self.moments.clear();
    }

    /// A moment of whom or what this says has come.
    pub(crate) fn moment(&mut self, moment: Moment, is_of: impl Fn(&str) -> bool) {
        while let Some((after, act)) = self.moments.come(moment, &is_of) {
            self.put(self.now + after, Happening::Act(act));
        }
    }

    /// A moment of each push has come whose content is among these bytes.
    pub(crate) fn moment_of_content(&mut self, moment: Moment, bytes: &[u8]) {
        self.moment(moment, |of| {
            let content = content_of(of);
            (bytes.windows(content.len())).any(|window| window == content.as_bytes())
        });
    }

    /// What faults have written, so far.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A fault begins whose end is known.
    pub(crate) fn fault(&mut self, kind: FaultKind, scope: Scope, until: Instant) {
        self.fault_since(kind, scope, self.now, until);
    }

    /// A fault that began earlier goes on until a moment.
    pub(crate) fn fault_since(
        &mut self,
        kind: FaultKind,
        scope: Scope,
        from: Instant,
        until: Instant,
    ) {
        let entry = Excuse {
            kind,
            scope,
            from,
            until,
        };
        self.ledger.write(entry);
        self.observe(Observed::FaultBegan(entry));
    }

    /// A fault begins that lasts until it is ended, unless it lasts already.
    pub(crate) fn fault_opens(&mut self, kind: FaultKind, scope: Scope) {
        self.fault_shows(kind, scope, Ledger::OPEN);
    }

    /// A fault shows for the first time that lasts until a moment.
    pub(crate) fn fault_shows(&mut self, kind: FaultKind, scope: Scope, until: Instant) {
        if !self.ledger.lasts(kind, scope, self.now) {
            self.fault(kind, scope, until);
        }
    }

    /// Something happens that explains nothing.
    pub(crate) fn borne(&mut self, kind: FaultKind, scope: Scope) {
        self.fault(kind, scope, self.now);
    }

    /// The faults of a kind that last end, in one scope or in all.
    pub(crate) fn fault_ends(&mut self, kind: FaultKind, scope: Option<Scope>) {
        for entry in self.ledger.end(self.now, kind, scope) {
            self.observe(Observed::FaultEnded(entry));
        }
    }

    /// Ways are slow everywhere, or are so no more. What they have held up then comes until `through`.
    pub(crate) fn ways_are_slow(&mut self, kind: FaultKind, are_slow: bool, through: Instant) {
        let were_slow = self.ledger.lasts(kind, Scope::All, self.now);
        self.fault_ends(kind, None);
        if are_slow {
            self.fault_opens(kind, Scope::All);
        } else if were_slow {
            self.fault(kind, Scope::All, through);
        }
    }

    /// Whether any checker is told of this.
    pub(crate) fn watches(&self, topic: Topic) -> bool {
        self.watched.contains(&topic)
    }

    /// Something has happened that checkers are told of, when the part in which it happened has done
    /// what it was asked for.
    pub(crate) fn observe(&mut self, event: Observed) {
        self.calm.note(self.now, &event);
        if self.watched.contains(&event.topic()) {
            self.observed.push(event);
        }
    }

    /// What has happened since checkers were told last, in its order.
    pub(crate) fn observed(&mut self) -> Vec<Observed> {
        std::mem::take(&mut self.observed)
    }

    /// Whether checkers must be told that time passes. Asked at each tick, with the number of leases
    /// that have not expired.
    pub(crate) fn must_tell_time(&mut self, leases: usize) -> bool {
        let Self {
            now,
            config,
            ledger,
            calm,
            ..
        } = self;
        calm.must_tell_time(*now, leases, config, ledger)
    }

    /// Adds an entry to the trace.
    pub(crate) fn trace(&mut self, entry: &Entry<'_>) {
        self.trace.take(self.now.since(BEGIN), entry);
    }

    /// The hash of the trace.
    pub(crate) const fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Keeps the entries of the trace from here on.
    pub(crate) fn keep_trace(&mut self) {
        self.trace.keep();
    }

    /// The entries of the trace that were kept.
    pub(crate) fn kept_trace(&self) -> &[Kept] {
        self.trace.kept()
    }

    /// Feeds what will happen to a print.
    pub(crate) fn fingerprint_queue(&self, items: &[Item], to: &mut Print) {
        self.queue.fingerprint(items, to);
    }

    /// Feeds what waits for a moment to a print.
    pub(crate) fn fingerprint_moments(&self, to: &mut Print) {
        self.moments.fingerprint(to);
    }
}
