//! How far a command is: a bar on a terminal, else a line now and then.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

#[expect(
    clippy::disallowed_types,
    reason = "how long a command runs is real time"
)]
type Clock = std::time::Instant;

/// Real time since some moment: how long a command runs is no business of the worlds that it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch(Clock);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a command runs is real time"
    )]
    pub(super) fn start() -> Self {
        Self(Clock::now())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// So many in this time are so many a second.
    pub(super) fn rate(&self, count: u64) -> f64 {
        count as f64 / self.elapsed().as_secs_f64().max(1e-3)
    }
}

/// How far a command is. It is shown on the standard error stream.
pub(super) enum ProgressDisplay {
    /// On a terminal.
    Bar(ProgressBar),
    /// On anything that is no terminal: a line from time to time.
    Lines {
        length: u64,
        /// When the last line was written.
        told: Stopwatch,
    },
}

/// The time between two lines.
const LINES: Duration = Duration::from_secs(5);
/// How the bar looks.
const STYLE: &str = "{bar:30} {percent:>3} %  {elapsed} of about {duration}  {msg}";

impl ProgressDisplay {
    /// Nothing is done of so much.
    pub(super) fn of(length: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            let told = Stopwatch::start();
            return Self::Lines { length, told };
        }
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// So much is done. The message is asked for only if it will be shown.
    pub(super) fn at(&mut self, done: u64, message: impl FnOnce() -> String) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(message());
            }
            Self::Lines { length, told } => {
                if told.elapsed() >= LINES {
                    *told = Stopwatch::start();
                    let percent = 100 * done / (*length).max(1);
                    eprintln!("{percent} %, {}", message());
                }
            }
        }
    }

    /// It is over, and nothing of it is left to be seen.
    pub(super) fn end(self) {
        match self {
            Self::Bar(bar) => bar.finish_and_clear(),
            Self::Lines { .. } => {}
        }
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C does not end the program but is [noted](interrupted); the second one ends it.
pub(super) fn note_interrupts() -> Result<(), String> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(super::INTERRUPTED.into());
        }
    })
    .map_err(|error| format!("Ctrl-C cannot be caught: {error}"))
}

/// Whether there was a Ctrl-C.
pub(super) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
