//! The Switchboard server.

#![allow(
    rustdoc::bare_urls,
    reason = "doc comments of flags are what `--help` prints"
)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
