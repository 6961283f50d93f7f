//! The log, on standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use switchboard_driver::log::{self, Cause, damped};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::set_default;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry, reload};

use crate::failure::Failure;
use crate::log_queue::{Lines, LogQueue};
use crate::settings::{Level, LogFormat};

/// How long the end of the process waits for a log that nobody reads.
const PATIENCE: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<Arc<LogQueue>> = OnceLock::new();

static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log. What libraries have to say is written from warnings upwards only, and a panic is a
/// line like any other.
pub(crate) fn start(format: LogFormat, level: Level) -> Result<(), Failure> {
    let (targets, level) = reload::Layer::new(targets(level));
    let _ = LEVEL.set(level);
    let queue = QUEUE.get_or_init(Arc::default);
    let lines = Arc::clone(queue);
    let layer = layer(format, move || Lines(Arc::clone(&lines)));
    // Fails only if a log was started before, and that one serves as well.
    let _ = registry().with(layer.with_filter(targets)).try_init();
    panic::set_hook(Box::new(tell_of_panic));
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write(queue, format))
        .map(drop)
        .map_err(|error| Failure::System {
            doing: "a thread for the log",
            error,
        })
}

/// Writes from this level upwards, from now on.
pub(crate) fn set_level(level: Level) {
    if let Some(current) = LEVEL.get() {
        // It fails only if the log has ended.
        let _ = current.reload(targets(level));
    }
}

fn targets(level: Level) -> Targets {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("switchboard", level)
}

/// Writes what is left of the log, if it is read.
pub(crate) fn finish() {
    log::tell_all();
    if let Some(queue) = QUEUE.get() {
        queue.flush(PATIENCE);
    }
}

/// Says why the process ends, behind all that the log has said.
pub(crate) fn last_words(text: &str) {
    match QUEUE.get() {
        Some(queue) => queue.push(format!("{text}\n").as_bytes()),
        None => eprintln!("{text}"),
    }
}

/// The life of the thread that writes. What it has to say itself does not go through the queue. Its own
/// log has a level, too: without one, every line that any thread might write at `trace` would be looked
/// into before it is dropped.
fn write(queue: &LogQueue, format: LogFormat) {
    let layer = layer(format, io::stderr).with_filter(LevelFilter::WARN);
    let _own = set_default(registry().with(layer));
    queue.serve(&mut io::stderr(), |lines| {
        tracing::warn!(
            lines,
            "standard error was not read in time: lines of the log were dropped"
        );
    });
}

fn layer<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Human => fmt::layer()
            .with_writer(writer)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .boxed(),
    }
}

fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let place = place.unwrap_or_default();
    let cause = panic.payload_as_str().unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => Some(backtrace.to_string()),
        _ => None,
    };
    damped!(
        ERROR,
        Cause::one("panic", place.clone()),
        place,
        cause,
        backtrace,
        "panic: this is a bug"
    );
}
