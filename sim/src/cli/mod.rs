//! The commands, one module each.

mod determinism;
mod golden;
mod run;
mod shrink;
mod swarm;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use switchboard_sim::checker;
use switchboard_sim::report::Report;
use switchboard_sim::schedule::Schedule;

/// Parses the arguments and does what they say. The status is 0 if every invariant held, 1 if one
/// did not or the command could not be done, and 2 if the arguments are wrong.
pub(crate) fn main() -> ExitCode {
    match Arguments::parse().command.execute() {
        Ok(Verdict::Held) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Parser)]
#[command(
    name = "switchboard-sim",
    version,
    about = "Many Switchboard instances in virtual time"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Print(run::Print),
    Replay(run::Replay),
    Swarm(swarm::Swarm),
    Shrink(shrink::Shrink),
    CheckDeterminism(determinism::CheckDeterminism),
    Golden(golden::Compare),
}

impl Command {
    fn execute(self) -> Done {
        match self {
            Self::Run(command) => command.execute(),
            Self::Print(command) => Ok(command.execute()),
            Self::Replay(command) => Ok(command.execute()),
            Self::Swarm(command) => command.execute(),
            Self::Shrink(command) => command.execute(),
            Self::CheckDeterminism(command) => Ok(command.execute()),
            Self::Golden(command) => command.execute(),
        }
    }
}

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// What should hold does.
    Held,
    /// It does not.
    Failed,
}

impl Verdict {
    const fn held(held: bool) -> Self {
        if held { Self::Held } else { Self::Failed }
    }

    const fn of(report: &Report) -> Self {
        Self::held(report.violation.is_none())
    }
}

/// A verdict, or why the command could not be done and what to do about it.
type Done = Result<Verdict, String>;

fn read(file: &Path) -> Result<Schedule, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    Schedule::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
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
    match (&report.violation, report.verdict()) {
        (Some(violation), _) => println!("{name}: VIOLATED {violation}"),
        (None, checker::Verdict::Unknown) => println!("{name}: proved nothing: no push was due"),
        (None, checker::Verdict::Pass | checker::Verdict::Fail) => {
            println!("{name}: every invariant held");
        }
    }
}
