//! The Switchboard server.

use std::process::ExitCode;

use switchboard_tokio::{TokioRuntime, command_line};

fn main() -> ExitCode {
    command_line::run::<TokioRuntime>(std::env::args_os())
}
