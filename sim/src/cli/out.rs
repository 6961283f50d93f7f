//! What is printed: its reader may go away at any moment.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::process::exit;

/// The status of a program whose output nobody reads any more, as shells have it.
const CLOSED: u8 = 141;

/// Prints a line on the standard output.
pub(super) fn line(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    written(out.write_fmt(text).and_then(|()| out.write_all(b"\n")));
}

/// Ends the program if something could not be printed: quietly if nobody reads it, else with the
/// reason. Nobody learns anything from what would come then.
pub(super) fn written(result: io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(CLOSED.into()),
        Err(error) => {
            // If that cannot be written either, the status says it.
            let _ = writeln!(io::stderr(), "the output cannot be written: {error}");
            exit(1);
        }
    }
}

/// Checks that a file can be written later. If it is not there, it is not there afterwards.
///
/// # Errors
///
/// Names the file, and why it cannot be written.
pub(super) fn check_writable(file: &Path) -> Result<(), String> {
    let there = file.exists();
    let mut options = std::fs::OpenOptions::new();
    let opened = options.append(true).create(true).open(file);
    opened.map_err(|error| cannot_be_written(file, &error))?;
    if !there {
        std::fs::remove_file(file).map_err(|error| cannot_be_written(file, &error))?;
    }
    Ok(())
}

/// Writes a file.
///
/// # Errors
///
/// Names the file, and why it cannot be written.
pub(super) fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| cannot_be_written(file, &error))
}

fn cannot_be_written(file: &Path, error: &io::Error) -> String {
    format!("{} cannot be written: {error}", file.display())
}
