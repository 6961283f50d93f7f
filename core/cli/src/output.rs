//! Standard output: what a command was asked for.

use std::io::{self, Write as _};

/// A line on standard output, at once. If it is closed, nobody wants to hear it.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
