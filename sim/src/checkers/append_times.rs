//! `append-times`: what was not appended is asked for again after a pause, neither sooner nor later.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::command::TripKind;
use switchboard_core::config::Config;
use switchboard_core::id::{OpId, PushId};
use switchboard_core::time::Instant;

use super::lateness::{SLACK, running};
use crate::boundary::{CallKind, Intake, Output, TripOutline};
use crate::checker::{Checker, Watch};
use crate::observed::{Life, Observed, Topic};
use crate::publishing::HandInProgress;

/// An append that an instance has waited for in vain, on a link that lives, it asks for again a pause after it has given it
/// up, and not before, as long as its push is open. All that it has given up by then goes with the first of them. On a new
/// link what is left is asked for at once.
#[derive(Clone, Debug, Default)]
pub struct AppendTimes {
    hosts: BTreeMap<usize, Appends>,
    /// What is looked at when a call comes.
    looks: Vec<(usize, OpId)>,
}

/// What one instance has asked to be appended.
#[derive(Clone, Debug, Default)]
struct Appends {
    /// Round trips without an answer.
    trips: BTreeMap<OpId, Unanswered>,
    /// All round trips under way, and when there were so many that others waited.
    under_way: BTreeMap<OpId, Instant>,
    crowded: Option<Instant>,
    /// When there was a new link, or a push was handed in: nothing that is asked for then is asked for again.
    anew: Option<Instant>,
}

/// A round trip without an answer.
#[derive(Clone, Debug)]
struct Unanswered {
    asked: Instant,
    /// What of it was not asked for again.
    appends: Vec<Append>,
    /// It was given up when others were asked for again, and what is open of it went with them.
    is_over: bool,
}

type Append = (Channel, PushId);

/// The pause after an append that was given up.
const PAUSE: Duration = Duration::from_millis(100);

impl Checker for AppendTimes {
    fn name(&self) -> &'static str {
        "append-times"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Boundary, Topic::Lives]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Started(life) | Observed::Gone(life) => {
                self.hosts.insert(life.host, Appends::default());
            }
            Observed::Took { life, intake } => {
                if let Some(appends) = self.hosts.get_mut(&life.host) {
                    appends.take_in(watch.now(), *intake);
                }
            }
            Observed::Gave {
                life,
                output: Output::Trip(trip),
            } => {
                if let Some(appends) = self.hosts.get_mut(&life.host)
                    && let Some(at) = appends.ask(watch, *life, trip)
                {
                    watch.call_at(at, self.looks.len() as u64);
                    self.looks.push((life.host, trip.op));
                }
            }
            Observed::Gave {
                life,
                output: Output::DirectoryReset,
            } => {
                if let Some(appends) = self.hosts.get_mut(&life.host) {
                    appends.link_lost();
                }
            }
            _ => {}
        }
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        let (host, op) = self.looks[what as usize];
        if let Some(appends) = self.hosts.get(&host)
            && let Some(at) = appends.look(watch, host, op)
        {
            watch.call_at(at, what);
        }
    }
}

impl Appends {
    fn link_lost(&mut self) {
        self.trips.clear();
        self.under_way.clear();
    }

    fn take_in(&mut self, now: Instant, intake: Intake) {
        match intake {
            Intake::TripAnswered {
                op, in_time: true, ..
            } => {
                self.trips.remove(&op);
                self.under_way.remove(&op);
            }
            Intake::DirectoryUp => {
                self.link_lost();
                self.anew = Some(now);
            }
            Intake::DirectoryDown => self.link_lost(),
            Intake::Call {
                kind: CallKind::Push(_),
                ..
            } => self.anew = Some(now),
            _ => {}
        }
    }

    /// A round trip leaves. Returns when what it appends must have been asked for again, if it is not answered.
    fn ask(&mut self, watch: &mut Watch<'_>, life: Life, trip: &TripOutline) -> Option<Instant> {
        let now = watch.now();
        let patience = watch.scene().config().directory_timeout;
        if trip.kind == TripKind::Ordered {
            self.under_way.retain(|_, asked| *asked + patience > now);
            self.under_way.insert(trip.op, now);
            if self.under_way.len() >= Config::TRIPS_IN_FLIGHT {
                self.crowded = Some(now);
            }
        }
        if trip.appends.is_empty() {
            return None;
        }
        // What waits for other round trips leaves when these end. What is handed in again, or waits for a link, is asked for
        // anew.
        let waits = (self.crowded).is_some_and(|crowded| crowded + patience + PAUSE >= now);
        if self.anew != Some(now)
            && let Some(first) = self.take_again(now.before(patience), &trip.appends)
        {
            let given_up = first + patience;
            if now < given_up + PAUSE && !waits {
                watch.violated(format!(
                    "i{} asks for an append again {:?} after it was asked, which it gives up after {patience:?}",
                    life.host + 1,
                    now.since(first)
                ));
            } else {
                watch.held();
            }
        }
        let unanswered = Unanswered {
            asked: now,
            appends: trip.appends.clone(),
            is_over: false,
        };
        self.trips.insert(trip.op, unanswered);
        // It is given up in one tick, and asked for in another.
        Some(now + patience + PAUSE + SLACK * 3)
    }

    /// These are asked for again. Returns when the first was asked for of all that were given up since that was done last, if
    /// these are among them: what has ended meanwhile is not asked for again, and its pause is that of the others.
    fn take_again(&mut self, given_up: Instant, again: &[Append]) -> Option<Instant> {
        let mut first: Option<Instant> = None;
        let mut is_again = false;
        for unanswered in self.trips.values_mut() {
            let before = unanswered.appends.len();
            unanswered.appends.retain(|append| !again.contains(append));
            let has_these = unanswered.appends.len() < before;
            let is_given_up = unanswered.asked <= given_up;
            if (has_these || is_given_up) && !unanswered.is_over {
                is_again |= has_these;
                let asked = unanswered.asked;
                first = Some(first.map_or(asked, |first| first.min(asked)));
            }
            unanswered.is_over |= is_given_up;
        }
        first.filter(|_| is_again)
    }

    /// Whether what was given up is asked for again by now. Returns when that is seen, if it is not yet.
    fn look(&self, watch: &mut Watch<'_>, host: usize, op: OpId) -> Option<Instant> {
        let Unanswered { asked, appends, .. } = self.trips.get(&op)?;
        // It may wait until another round trip ends.
        if self.crowded.is_some_and(|crowded| crowded >= *asked) {
            return None;
        }
        let scene = watch.scene();
        let patience = scene.config().directory_timeout;
        let life = scene.host(host).map(|host| host.life());
        let is_open = |(channel, push): &&Append| {
            let mut pushes = scene.pushes().iter();
            let published = pushes.find(|published| published.id() == *push);
            // Of one that was handed in again each time has an append of its own, and which of them was answered cannot be
            // seen.
            let is_taken = published.is_some_and(|published| {
                let times = published.times().iter();
                let mut here = times.filter(|time| Some(time.life) == life);
                let (once, again) = (here.next(), here.next());
                once.is_some_and(|time| {
                    time.progress == HandInProgress::Taken
                        && time.at <= *asked
                        && time.at + published.deadline() > watch.now()
                }) && again.is_none()
            });
            // The same push may have been handed in again, and be appended by then.
            let mut others = self.trips.iter().filter(|(other, _)| **other != op);
            is_taken
                && !others.any(|(_, Unanswered { appends, .. })| {
                    appends
                        .iter()
                        .any(|(of, other)| of == channel && other == push)
                })
        };
        let (channel, _) = appends.iter().find(is_open)?;
        // What is to be done while it stands still is done when it goes on, first this and then that.
        let given_up = running(watch, host, *asked + patience);
        let due = running(watch, host, given_up + PAUSE) + SLACK * 3;
        if watch.now() < due {
            return Some(due);
        }
        watch.violated(format!(
            "i{} does not ask again for an append to the log of {channel}, which it asked for at {asked:?}",
            host + 1
        ));
        None
    }
}
