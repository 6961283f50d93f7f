//! Runs behaviours over the matrix.

use std::any::Any;
use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

use crate::behaviour::Behaviour;
use crate::matrix::Cell;

/// The variable that chooses what is tried: `whole` is all of the matrix. Without it, what every
/// change is tried on ([`Behaviour::with_every_change`]).
/// A behaviour or a cell that is named is run, wherever it stands.
pub const MATRIX: &str = "SWITCHBOARD_MATRIX";

/// Runs the behaviours as `cargo test` runs tests, with the same arguments, and says what of the
/// matrix was tried and what was not.
pub fn main(behaviours: &[&'static [Behaviour]]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Behaviours wait for others most of their time.
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let extent = match extent(&arguments) {
        Ok(extent) => extent,
        Err(complaint) => {
            eprintln!("{complaint}");
            return ExitCode::FAILURE;
        }
    };
    let mut coverage = Coverage::default();
    let times = Arc::new(Times::default());
    let mut trials = Vec::new();
    for behaviour in in_turns(behaviours) {
        for (number, cell) in Cell::all().enumerate() {
            let trial = trial(*behaviour, cell, &times);
            let place = if let Some(reason) = behaviour.needs.obstacle(cell) {
                CellPlace::DoesNotApply(reason)
            } else if extent == Extent::EveryChange && !behaviour.with_every_change(cell) {
                CellPlace::Left
            } else if arguments.is_filtered_out(&trial) {
                CellPlace::FilteredOut
            } else {
                trials.push(trial);
                CellPlace::Tried
            };
            coverage.count((number, cell.to_string()), place);
        }
    }
    if !arguments.list && !trials.is_empty() {
        build_servers();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        times.print();
        coverage.print();
    }
    conclusion.exit_code()
}

/// How many behaviours are tried at a time.
const THREADS: usize = 8;

/// The first of each theme, then the second of each: those of one theme tend to wait for the same, or to compute
/// the same, and the processors are to have something of both at any time.
fn in_turns(themes: &[&'static [Behaviour]]) -> impl Iterator<Item = &'static Behaviour> {
    let longest = themes.iter().map(|theme| theme.len()).max();
    (0..longest.unwrap_or(0))
        .flat_map(|turn| themes.iter().filter_map(move |theme| theme.get(turn)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    EveryChange,
    Whole,
}

/// Whether the whole matrix is tried, so that what takes long is tried in full.
pub fn is_whole() -> bool {
    env::var(MATRIX).is_ok_and(|extent| extent == "whole")
}

fn extent(arguments: &Arguments) -> Result<Extent, String> {
    match env::var(MATRIX).unwrap_or_default().as_str() {
        "whole" => Ok(Extent::Whole),
        "" if arguments.filter.is_some() => Ok(Extent::Whole),
        "" => Ok(Extent::EveryChange),
        other => Err(format!("{MATRIX}={other}: it is `whole`, or it is not set")),
    }
}

/// Before the first behaviour, so that none waits for a compiler.
fn build_servers() {
    for cell in Cell::all() {
        for number in 0..2 {
            cell.fleet.adapter(number).executable();
        }
    }
}

/// `smol/redis/push::pushes_arrive_in_order`, in a thread of that name.
fn trial(behaviour: Behaviour, cell: Cell, times: &Arc<Times>) -> Trial {
    let times = Arc::clone(times);
    let (_crate, module) = behaviour.module.split_once("::").unwrap_or_default();
    let name = format!("{cell}/{module}::{}", behaviour.name);
    let thread = thread::Builder::new().name(name.clone());
    Trial::test(name.clone(), move || {
        let begin = Instant::now();
        let running = thread.spawn(move || (behaviour.run)(cell))?;
        let ended = running.join();
        times.add(begin.elapsed(), name);
        ended.map_err(|panic| Failed::from(message(&*panic)))
    })
}

/// How long each behaviour took.
#[derive(Default)]
struct Times(Mutex<Vec<(Duration, String)>>);

impl Times {
    /// How many are printed.
    const SLOWEST: usize = 10;

    fn add(&self, took: Duration, name: String) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.push((took, name));
    }

    fn print(&self) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.sort_unstable_by(|one, other| other.cmp(one));
        println!("seconds  the slowest");
        for (took, name) in times.iter().take(Self::SLOWEST) {
            println!("{:>7.1}  {name}", took.as_secs_f64());
        }
        println!();
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    text.or(owned).unwrap_or("it panicked").to_owned()
}

/// What became of a behaviour in a cell.
enum CellPlace {
    Tried,
    FilteredOut,
    Left,
    DoesNotApply(&'static str),
}

/// What was tried of the matrix.
#[derive(Default)]
struct Coverage(BTreeMap<(usize, String), Counts>);

#[derive(Default)]
struct Counts {
    tried: usize,
    filtered_out: usize,
    left: usize,
    does_not_apply: BTreeMap<&'static str, usize>,
}

impl Coverage {
    fn count(&mut self, cell: (usize, String), place: CellPlace) {
        let counts = self.0.entry(cell).or_default();
        match place {
            CellPlace::Tried => counts.tried += 1,
            CellPlace::FilteredOut => counts.filtered_out += 1,
            CellPlace::Left => counts.left += 1,
            CellPlace::DoesNotApply(reason) => {
                *counts.does_not_apply.entry(reason).or_default() += 1
            }
        }
    }

    fn print(&self) {
        println!(
            "{:<18}{:>8}{:>14}{:>14}  does not apply",
            "cell", "tried", "filtered out", "left"
        );
        let mut tried = 0;
        let mut left = 0;
        for ((_, cell), counts) in &self.0 {
            tried += counts.tried;
            left += counts.left;
            let reasons: Vec<_> = counts
                .does_not_apply
                .iter()
                .map(|(reason, count)| format!("{count}: {reason}"))
                .collect();
            println!(
                "{cell:<18}{:>8}{:>14}{:>14}  {}",
                counts.tried,
                counts.filtered_out,
                counts.left,
                reasons.join("; ")
            );
        }
        println!("{tried} tried");
        if left > 0 {
            println!("{left} left to the whole matrix: {MATRIX}=whole tries them too");
        }
        println!();
    }
}
