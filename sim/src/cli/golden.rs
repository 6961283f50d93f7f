//! Kept traces: compared, or written anew.

use std::path::{Path, PathBuf};

use clap::Args;
use switchboard_sim::golden::Golden;

use super::out::write;
use super::{CommandResult, CommandStatus, again, read};

/// Compare the traces of kept schedules with those that were kept
///
/// Each NAME.txt of the folder is a schedule, and NAME.trace is its trace. The first entry that
/// differs is named. A change that is meant to change what happens is followed by `--write`, and
/// the difference of the files is reviewed with it. The trace of a schedule that violates an invariant
/// is not kept.
#[derive(Args)]
pub(crate) struct Compare {
    /// Write the traces anew, and name the first entry of each that differs
    #[arg(long)]
    write: bool,
    /// The folder of the traces
    #[arg(long, default_value = "sim/golden")]
    dir: PathBuf,
}

/// What came of one schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    /// Its trace is as it was kept, or has been kept.
    AsKept,
    /// Its trace is another one than was kept.
    Differs,
    /// An invariant was violated, so that there is no trace to keep.
    Violated,
}

impl Compare {
    pub(crate) fn execute(self) -> CommandResult {
        let mut all = Vec::new();
        for file in schedules(&self.dir)? {
            all.push(self.compare(&file)?);
        }
        if all.contains(&Compared::Differs) {
            let dir = self.dir.display();
            let write = again(format_args!("golden --write --dir {dir}"));
            println!("if that is meant: {write}");
        }
        let held = all.iter().all(|compared| *compared == Compared::AsKept);
        Ok(CommandStatus::held(held))
    }

    /// Compares the trace of a schedule with the one that was kept, or keeps it.
    fn compare(&self, file: &Path) -> Result<Compared, String> {
        let (found, violation) = Golden::judged(&read(file)?);
        let name = file.display();
        if let Some(violation) = violation {
            println!("{name}: VIOLATED {violation}; such a trace is not kept");
            return Ok(Compared::Violated);
        }
        let trace = file.with_extension("trace");
        let difference = match kept(&trace) {
            Ok(kept) => kept
                .difference(&found)
                .map(|difference| difference.to_string()),
            Err(problem) => Some(problem),
        };
        match &difference {
            None => println!("{name}: hash {:016x}, as kept", found.hash()),
            Some(what) => println!("{name}: hash {:016x}, {what}", found.hash()),
        }
        if self.write {
            write(&trace, &found.to_string())?;
        }
        Ok(match difference {
            Some(_) if !self.write => Compared::Differs,
            Some(_) | None => Compared::AsKept,
        })
    }
}

/// Reads a trace that was kept.
fn kept(trace: &Path) -> Result<Golden, String> {
    let name = trace.display();
    let text = std::fs::read_to_string(trace)
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    Golden::parse(&text).map_err(|error| format!("{name}: {error}"))
}

/// The schedules of a folder, in the order of their names.
fn schedules(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| {
        let dir = dir.display();
        format!("{dir} cannot be read: {error}; `--dir` names the folder of kept traces")
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "txt") {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!(
            "{} has no schedules (*.txt); `--dir` names the folder of kept traces",
            dir.display()
        ));
    }
    files.sort();
    Ok(files)
}
