//! `resumes-end`: whoever follows its log is told where it stands, however many others want the same.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::time::Instant;

use super::log_complete::{SOON, disturbs};
use crate::checker::{Checker, HostView, Watch};
use crate::observed::{LogWord, Observed, Topic};

/// A terminal that was greeted and follows its log is told where it stands: soon, or when the pause after a read that
/// has failed is over. Meanwhile no instance waits for more reads than it has followers, beside those under way of
/// whom has gone, and holds back no more than so many records for each log.
#[derive(Clone, Debug, Default)]
pub struct ResumesEnd {
    /// Those who were greeted and not told, and since when.
    waiting: BTreeMap<usize, Instant>,
}

impl Checker for ResumesEnd {
    fn name(&self) -> &'static str {
        "resumes-end"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Sessions, Topic::Frames, Topic::Time]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Greeted { session, .. }
                if watch.scene().sessions()[*session].follow().is_some() =>
            {
                self.waiting.insert(*session, watch.now());
            }
            Observed::LogHeard {
                session,
                topic: None,
                word: LogWord::Attached(_),
            } if self.waiting.remove(session).is_some() => watch.held(),
            Observed::Ended { session } => {
                self.waiting.remove(session);
            }
            Observed::Tick => {
                self.look(watch);
                for host in watch.scene().hosts() {
                    bounds(watch, host);
                }
            }
            _ => {}
        }
    }
}

impl ResumesEnd {
    /// Nobody waits for longer than it takes.
    fn look(&self, watch: &mut Watch<'_>) {
        let now = watch.now();
        let calm = |span: Duration| watch.excuse(now.before(span), now, disturbs).is_none();
        let patience = match calm(Config::LOG_READ_PAUSE_MAX + SOON * 2) {
            true => SOON,
            false if calm(Config::LOG_READ_PAUSE_MAX + SOON) => Config::LOG_READ_PAUSE_MAX + SOON,
            false => return,
        };
        for (session, since) in &self.waiting {
            let this = &watch.scene().sessions()[*session];
            let lives = this.life().is_some_and(|life| watch.scene().lives(life));
            // What has waited until it read at once comes first.
            let due = (this.reads_at_once_since()).map(|reads| reads.max(*since) + patience);
            if this.is_open() && lives && due.is_some_and(|due| due < now) {
                let since = now.since(*since);
                return watch.violated(format!(
                    "session {session} follows its log and waits since {since:?} to be told where it stands"
                ));
            }
        }
    }
}

/// What an instance has under way and holds back is no more than its followers want.
fn bounds(watch: &mut Watch<'_>, host: HostView<'_>) {
    let Some(tables) = host.tables() else {
        return;
    };
    let reads = tables.followers + watch.scene().config().log_replays;
    let held = tables.channels * Config::RECORDS_HELD;
    if tables.reads > reads || tables.held > held {
        watch.violated(format!(
            "instance {} has {} reads for {} followers, and holds back {} records of {} logs",
            host.number(),
            tables.reads,
            tables.followers,
            tables.held,
            tables.channels
        ));
    }
}
