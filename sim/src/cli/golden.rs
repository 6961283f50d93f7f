//! Kept traces: compared, or written anew.

use std::path::{Path, PathBuf};

use clap::Args;
use switchboard_sim::golden::Golden;

use super::{Done, Verdict, read};

/// Compare the traces of kept schedules with those that were kept
///
/// Each NAME.txt of the folder is a schedule, and NAME.trace is its trace. The first entry that
/// differs is named. A change that is meant to change what happens is followed by `--write`, and
/// the difference of the files is reviewed with it.
#[derive(Args)]
pub(crate) struct Compare {
    /// Write the traces anew, and name the first entry of each that differs
    #[arg(long)]
    write: bool,
    /// The folder
    #[arg(long, default_value = "sim/golden")]
    dir: PathBuf,
}

impl Compare {
    pub(crate) fn execute(self) -> Done {
        let mut verdict = Verdict::Held;
        for file in schedules(&self.dir)? {
            let found = Golden::of(&read(&file)?);
            let name = file.display();
            let trace = file.with_extension("trace");
            let kept = match std::fs::read_to_string(&trace) {
                Ok(text) => Golden::parse(&text).map_err(|error| format!("{name}: {error}")),
                Err(error) => Err(format!("{} cannot be read: {error}", trace.display())),
            };
            let difference = match kept {
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
            } else if difference.is_some() {
                verdict = Verdict::Failed;
            }
        }
        if verdict == Verdict::Failed {
            println!("if that is meant: switchboard-sim golden --write");
        }
        Ok(verdict)
    }
}

/// The schedules of a folder, in the order of their names.
fn schedules(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{} cannot be read: {error}", dir.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "txt") {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(format!("{} has no schedules (*.txt)", dir.display()));
    }
    files.sort();
    Ok(files)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text)
        .map_err(|error| format!("{} cannot be written: {error}", file.display()))
}
