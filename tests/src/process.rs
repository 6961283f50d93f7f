//! The executable of a server as a child of the test's.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use crate::adapter::Adapter;

/// The executable, without arguments, input and settings from this test's environment. It ends with
/// the thread that starts it.
pub(crate) fn command(adapter: Adapter) -> Command {
    let mut command = Command::new(adapter.executable());
    command.stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD_") {
            command.env_remove(&name);
        }
    }
    ends_with_its_parent(&mut command);
    command
}

/// It ends with the thread that starts it.
pub(crate) fn ends_with_its_parent(command: &mut Command) {
    #[expect(unsafe_code, reason = "a system call between fork and exec")]
    // SAFETY: prctl may be called there, and nothing is allocated.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}

/// Lets it open so many files, and no more.
pub(crate) fn limit_open_files(command: &mut Command, files: u64) {
    let limit = Rlimit {
        current: Some(files),
        maximum: Some(files),
    };
    #[expect(unsafe_code, reason = "a system call between fork and exec")]
    // SAFETY: setrlimit may be called there, and nothing is allocated.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?));
    }
}

/// The lines of its output, read in a thread of its own so that the pipe never fills.
pub(crate) fn lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The address in `ws://127.0.0.1:8080/connect`.
pub(crate) fn address(url: &str) -> SocketAddr {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    host.parse()
        .unwrap_or_else(|_| panic!("no address in {url}"))
}
