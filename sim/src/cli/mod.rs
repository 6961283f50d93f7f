//! The commands, one module each.

/// Prints a line. The standard macro of this name panics if nobody reads what it prints.
macro_rules! println {
    ($($arg:tt)*) => {
        $crate::cli::out::line(format_args!($($arg)*))
    };
}

mod bugs;
mod coverage;
mod determinism;
mod explain;
mod golden;
mod grammar;
mod out;
mod progress;
mod run;
mod shrink;
mod swarm;

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};
use switchboard_sim::report::Report;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{Trial, checker};

/// Parses the arguments and does what they say.
pub(crate) fn main() -> ExitCode {
    match Arguments::parse().command.execute() {
        Ok(CommandStatus::Held) => ExitCode::SUCCESS,
        Ok(CommandStatus::Failed) => ExitCode::FAILURE,
        Ok(CommandStatus::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// The status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Many Switchboard instances and clients in one process, in virtual time
///
/// A schedule says what happens: who connects, what is pushed, what goes wrong. It is run on the
/// production core, and checkers watch. The same schedule gives the same hash, always.
#[derive(Parser)]
#[command(name = "switchboard-sim", version, after_help = STATUS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const STATUS: &str = "\
Status: 0 if everything held, 1 if something did not or could not be done, 2 if the arguments are \
wrong, 130 after Ctrl-C, 141 if nobody reads the output.";

/// Under the help of commands that take a schedule.
const SOURCES: &str = "\
A number, such as 17 or 0x11, is a seed of the swarm, and anything else is a file: ./17 is one. \
`switchboard-sim grammar` prints how schedules are written.";

/// Threads, at most: more than any machine has use for.
const MAX_JOBS: u64 = 256;

/// How many threads.
fn jobs() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MAX_JOBS)
}

/// The command that does something again: as who builds the simulator calls it.
fn again(command: fmt::Arguments<'_>) -> String {
    format!("cargo run --release -p switchboard-sim -- {command}")
}

#[derive(Subcommand)]
enum Command {
    Run(run::RunFiles),
    Print(run::PrintSchedule),
    Replay(run::Replay),
    Explain(explain::Explain),
    Swarm(swarm::Swarm),
    Shrink(shrink::Shrink),
    CheckDeterminism(determinism::CheckDeterminism),
    Coverage(coverage::Coverage),
    Bugs(bugs::Bugs),
    Golden(golden::Compare),
    Grammar(grammar::Grammar),
}

impl Command {
    fn execute(self) -> CommandResult {
        match self {
            Self::Run(command) => command.execute(),
            Self::Print(command) => command.execute(),
            Self::Replay(command) => command.execute(),
            Self::Explain(command) => command.execute(),
            Self::Swarm(command) => command.execute(),
            Self::Shrink(command) => command.execute(),
            Self::CheckDeterminism(command) => Ok(command.execute()),
            Self::Coverage(command) => command.execute(),
            Self::Bugs(command) => command.execute(),
            Self::Golden(command) => command.execute(),
            Self::Grammar(command) => Ok(command.execute()),
        }
    }
}

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommandStatus {
    /// What should hold does.
    Held,
    /// Something that should hold does not.
    Failed,
    /// It did, until somebody pressed Ctrl-C.
    Interrupted,
}

impl CommandStatus {
    const fn held(held: bool) -> Self {
        if held { Self::Held } else { Self::Failed }
    }

    const fn of(report: &Report) -> Self {
        Self::held(report.violation.is_none())
    }
}

/// A verdict, or why the command could not be done and what to do about it.
type CommandResult = Result<CommandStatus, String>;

/// Where a schedule comes from.
#[derive(Clone, Debug)]
enum Source {
    /// The swarm makes it of this seed.
    Seed(u64),
    /// It is in this file.
    File(PathBuf),
}

impl Source {
    fn schedule(&self) -> Result<Schedule, String> {
        match self {
            Self::Seed(seed) => Ok(switchboard_sim::swarm::schedule(*seed)),
            Self::File(file) if !file.exists() => Err(format!(
                "{} is no file that is there; a number, such as 17 or 0x11, would be a seed",
                file.display()
            )),
            Self::File(file) => read(file),
        }
    }
}

impl FromStr for Source {
    type Err = Infallible;

    /// A number is a seed, `./17` is a file.
    fn from_str(word: &str) -> Result<Self, Infallible> {
        let number = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.parse(),
        };
        Ok(number.map_or_else(|_| Self::File(word.into()), Self::Seed))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(seed) => write!(f, "seed {seed}"),
            Self::File(file) => write!(f, "{}", file.display()),
        }
    }
}

fn read(file: &Path) -> Result<Schedule, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let schedule =
        Schedule::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let watched = Trial::new().watches(&schedule);
    watched.map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(schedule)
}

fn tell(name: &str, report: &Report) {
    println!(
        "{name}: hash {:016x}, {} events in {:.3} s",
        report.hash,
        report.events,
        report.simulated.as_secs_f64(),
    );
    for tally in &report.tallies {
        let (checker, held, excused) = (tally.checker, tally.held, tally.excused);
        println!("{name}: {checker} held {held} times, excused {excused}");
    }
    if let Some(expected) = &report.expected {
        println!("{name}: as expected, {expected}");
    }
    match (&report.violation, report.verdict()) {
        (Some(violation), _) => println!("{name}: VIOLATED {violation}"),
        (None, checker::Verdict::Unknown) => println!("{name}: proved nothing: no push was due"),
        (None, checker::Verdict::Pass | checker::Verdict::Fail) => {
            println!("{name}: every invariant held");
        }
    }
}
