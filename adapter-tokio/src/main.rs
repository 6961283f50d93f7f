//! The Switchboard server.

use std::process::ExitCode;

use switchboard_tokio::TokioRuntime;

fn main() -> ExitCode {
    switchboard_cli::run::<TokioRuntime>(std::env::args_os())
}
