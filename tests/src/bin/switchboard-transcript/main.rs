//! Records what Centrifugo tells the clients of sequences.

mod centrifugo;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use switchboard_tests::centrifuge::Encoding;
use switchboard_tests::centrifuge::player::{Stage, listen};
use switchboard_tests::centrifuge::sequence::Sequence;
use switchboard_tests::centrifuge::transcript::{Recorded, TRANSCRIPT, read, write};

use centrifugo::Centrifugo;

/// Records what Centrifugo tells the clients of sequences of commands, for the behaviour that compares.
///
/// It starts Centrifugo. What belongs to which step is decided by a pause, so that it is recorded on a machine that has
/// nothing else to do; whether it comes out the same again is seen by --check.
#[derive(Debug, Parser)]
#[command(name = "switchboard-transcript", version)]
struct TranscriptOptions {
    /// The executable of Centrifugo
    #[arg(long)]
    centrifugo: PathBuf,
    /// What is said of it in the transcript
    #[arg(long)]
    about: String,
    /// The file of the transcript
    #[arg(long, default_value = TRANSCRIPT)]
    file: PathBuf,
    /// How many sequences are played
    #[arg(long, default_value_t = 1000)]
    sequences: u64,
    /// Milliseconds without anything after which a step is over
    #[arg(long, default_value_t = 300)]
    quiet: u64,
    /// Compare with the transcript that there is, and write nothing
    #[arg(long)]
    check: bool,
}

/// Sequences that are played at a time.
const AT_ONCE: usize = 24;

fn main() -> ExitCode {
    let options = TranscriptOptions::parse();
    let server = Centrifugo::start(&options.centrifugo);
    let stage = Stage {
        terminals: server.address(),
        encoding: Encoding::Json,
        application: &server,
    };
    let quiet = Duration::from_millis(options.quiet);
    let next = AtomicU64::new(0);
    let all = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.sequences {
                        return;
                    }
                    let sequence = Sequence::of(seed);
                    let steps = listen(&stage, &sequence, quiet);
                    let mut all = all.lock().expect("nobody panics with it");
                    all.push(Recorded { sequence, steps });
                }
            });
        }
    });
    let mut all = all.into_inner().expect("nobody panics with it");
    all.sort_by_key(|recorded| recorded.sequence.seed);
    if !options.check {
        fs::write(&options.file, write(&options.about, &all)).expect("the file is writable");
        return ExitCode::SUCCESS;
    }
    let kept = read(&fs::read_to_string(&options.file).expect("there is a transcript"));
    let pairs = kept.iter().zip(&all);
    let others: Vec<_> = pairs
        .filter(|(kept, now)| kept.steps != now.steps)
        .collect();
    for (kept, now) in &others {
        println!(
            "sequence {}:\n  {:?}\n  {:?}",
            kept.sequence.seed, kept.steps, now.steps
        );
    }
    println!(
        "{} of {} sequences are told otherwise than they were",
        others.len(),
        kept.len()
    );
    ExitCode::from(u8::from(!others.is_empty() || kept.len() != all.len()))
}
