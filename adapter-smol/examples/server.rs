//! The Switchboard server on smol. It takes what `switchboard` takes, and serves if only settings
//! are given:
//!
//! `cargo run -p switchboard-smol --example server -- --config FILE`

use std::ffi::OsString;
use std::process::ExitCode;

use switchboard_smol::SmolRuntime;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let first = arguments.get(1).and_then(|first| first.to_str());
    if first.is_some_and(is_setting) {
        arguments.insert(1, "serve".into());
    }
    switchboard_cli::run::<SmolRuntime>(arguments)
}

fn is_setting(argument: &str) -> bool {
    argument.starts_with('-') && !["-h", "--help", "-V", "--version"].contains(&argument)
}
