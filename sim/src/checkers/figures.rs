//! `figures`: what an instance says of itself while something goes on is at least what is known to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::frame::Outgoing;
use switchboard_core::id::{ConnectionId, OpId};
use switchboard_core::message::{Outcome, Receipt};
use switchboard_core::time::Instant;

use super::allowance::may_be_closing;
use crate::boundary::{Intake, Output};
use crate::checker::{Checker, Watch};
use crate::observed::{HandIn, Life, Observed, Topic};

/// A wall clock counts milliseconds.
const TICK: Duration = Duration::from_millis(1);

/// At the end of a turn tables of an instance have what that turn has put into them: terminals that were greeted without a
/// row, and rows that the directory has refused, of which none is left when the link has gone. What it counts of repeats
/// is no less than what receipts show of them.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    hosts: BTreeMap<Life, Figure>,
    /// Of a push and a session: when a receipt has said that it is written.
    written: BTreeMap<(usize, usize), Instant>,
}

/// What is known of one instance.
#[derive(Clone, Debug, Default)]
struct Figure {
    /// How many operations each round trip has that writes rows, and which these are.
    writes: BTreeMap<OpId, (usize, Vec<ConnectionId>)>,
    /// Those that were refused in this turn.
    refused: BTreeSet<ConnectionId>,
    /// Those that were greeted without a row in this turn.
    degraded: BTreeSet<usize>,
    /// The link to the directory has gone in this turn.
    unlinked: bool,
    /// Pushes that came once more for a terminal that had them.
    repeats: u64,
}

impl Checker for Figures {
    fn name(&self) -> &'static str {
        "figures"
    }

    fn topics(&self) -> &'static [Topic] {
        &[
            Topic::Boundary,
            Topic::Lives,
            Topic::Turns,
            Topic::Pushes,
            Topic::Words,
        ]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Started(life) => {
                self.hosts.insert(*life, Figure::default());
            }
            Observed::Gone(life) => {
                self.hosts.remove(life);
            }
            Observed::Gave { life, output } => {
                if let Some(figure) = self.hosts.get_mut(life) {
                    figure.give(output);
                }
            }
            Observed::Given {
                session,
                outgoing: Outgoing::Hello { degraded: true, .. },
            } => {
                let life = watch.scene().sessions()[*session].life();
                if let Some(figure) = life.and_then(|life| self.hosts.get_mut(&life)) {
                    figure.degraded.insert(*session);
                }
            }
            Observed::Took { life, intake } => {
                if let Some(figure) = self.hosts.get_mut(life) {
                    figure.take_in(*intake);
                }
            }
            Observed::Turned(life) => {
                if let Some(figure) = self.hosts.get_mut(life)
                    && let Some(what) = figure.turned(watch, *life)
                {
                    watch.violated(format!("i{} {what}", life.host + 1));
                }
            }
            Observed::Answered { hand_in, receipt } => self.answered(watch, *hand_in, receipt),
            _ => {}
        }
    }
}

impl Figures {
    /// A receipt of an instance's own push says that one of its terminals has it, as an earlier one said already.
    fn answered(&mut self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let scene = watch.scene();
        let published = &scene.pushes()[hand_in.push];
        let handed_in = &published.times()[hand_in.time];
        // What may be forgotten is no repeat.
        let forgets = scene.config().repeat_entries < Config::default().repeat_entries
            || published.first() + scene.config().repeat_memory <= watch.now();
        if published.durable().is_some() || published.users().is_empty() || forgets {
            return;
        }
        let written = receipt
            .terminals
            .iter()
            .filter(|terminal| terminal.outcome == Outcome::Written);
        for terminal in written {
            let Some(session) = scene.session_of(terminal.connection) else {
                continue;
            };
            if scene.sessions()[session].life() != Some(handed_in.life) {
                continue;
            }
            let before = *self
                .written
                .entry((hand_in.push, session))
                .or_insert(watch.now());
            if before < handed_in.at
                && let Some(figure) = self.hosts.get_mut(&handed_in.life)
            {
                figure.repeats += 1;
            }
        }
        let counted = (scene.host(handed_in.life.host)).and_then(|host| host.stats());
        let known = self
            .hosts
            .get(&handed_in.life)
            .map_or(0, |figure| figure.repeats);
        match counted.filter(|stats| stats.repeats < known) {
            None => watch.held(),
            Some(stats) => watch.violated(format!(
                "i{} counts {} repeats, and there were {known} at least",
                handed_in.life.host + 1,
                stats.repeats
            )),
        }
    }
}

impl Figure {
    fn give(&mut self, output: &Output) {
        if let Output::Trip(trip) = output
            && trip.lease.is_none()
            && !trip.registers.is_empty()
        {
            let rows = trip.registers.iter().map(|(connection, _)| *connection);
            (self.writes).insert(trip.op, (trip.operations, rows.collect()));
        }
    }

    fn take_in(&mut self, intake: Intake) {
        match intake {
            Intake::TripAnswered {
                op,
                in_time,
                lost,
                refused,
                ..
            } => {
                let (operations, rows) = self.writes.remove(&op).unwrap_or_default();
                let all_refused = refused.count_ones() as usize >= operations.min(64);
                if all_refused && in_time && !lost {
                    self.refused.extend(rows);
                }
            }
            // There is no link to try them again on, and they are written after the next claim.
            Intake::DirectoryUp | Intake::DirectoryDown => {
                self.writes.clear();
                self.refused.clear();
                self.unlinked = matches!(intake, Intake::DirectoryDown);
            }
            _ => {}
        }
    }

    /// What is wrong with its tables at the end of a turn.
    fn turned(&mut self, watch: &mut Watch<'_>, life: Life) -> Option<String> {
        let (refused, degraded) = (
            std::mem::take(&mut self.refused),
            std::mem::take(&mut self.degraded),
        );
        let unlinked = std::mem::take(&mut self.unlinked);
        if refused.is_empty() && degraded.is_empty() && !unlinked {
            return None;
        }
        let scene = watch.scene();
        let tables = scene.host(life.host)?.tables()?;
        // Whoever joins a topic is to be told whether its row stands, also without a link.
        let has_topics = || {
            scene
                .sessions()
                .iter()
                .any(|session| session.topics().count() > 0)
        };
        if unlinked && tables.refused_rows > 0 && !has_topics() {
            return Some(format!(
                "has {} rows to try again on a link that has gone",
                tables.refused_rows
            ));
        }
        // What has ended, or is about to, lacks nothing.
        let is_there = |session: &usize| {
            let this = &scene.sessions()[*session];
            let has_expired = this.expires().is_some_and(|end| end <= watch.now() + TICK);
            this.is_open() && !has_expired && !may_be_closing(watch, *session)
        };
        let sessions = (refused.iter()).filter_map(|connection| scene.session_of(*connection));
        let refused = sessions.filter(is_there).count();
        let degraded = degraded.into_iter().filter(is_there).count();
        if tables.refused_rows < refused {
            return Some(format!(
                "has {} rows to try again, and {refused} were refused just now",
                tables.refused_rows
            ));
        }
        if tables.degraded < degraded {
            return Some(format!(
                "has {} terminals without a row, and {} were greeted so just now",
                tables.degraded, degraded
            ));
        }
        watch.held();
        None
    }
}
