//! The server's command line: what it does beside serving with a settings file.

use std::net::SocketAddr;
use std::process::{Child, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::adapter::Adapter;
use crate::api::Api;
use crate::patience::PATIENCE;
use crate::process::{address, command, lines};

/// `switchboard demo`, running.
#[derive(Debug)]
pub struct Demo {
    child: Child,
    /// Its APIs, in the order in which it names them.
    pub apis: Vec<Api>,
    /// Where terminals connect.
    pub terminals: Vec<SocketAddr>,
    /// What it has printed.
    pub text: String,
}

impl Demo {
    /// Starts it, and reads what it says until it has explained how to end it.
    ///
    /// # Panics
    ///
    /// If it does not get so far.
    #[track_caller]
    pub fn start(adapter: Adapter) -> Self {
        let mut child = command(adapter)
            .arg("demo")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server can be executed");
        let printed = lines(child.stdout.take().expect("it is piped"));
        let mut demo = Self {
            child,
            apis: Vec::new(),
            terminals: Vec::new(),
            text: String::new(),
        };
        let end = Instant::now() + PATIENCE;
        while !demo.text.contains("Ctrl-C") {
            let left = end.saturating_duration_since(Instant::now());
            let line = printed.recv_timeout(left).expect("it explains itself");
            demo.note(&line);
        }
        demo
    }

    /// Tells it that its window was closed.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn sighup(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("the demo runs");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    fn note(&mut self, line: &str) {
        for word in line.split([' ', ',']) {
            if word.starts_with("ws://") {
                self.terminals.push(address(word));
            } else if word.starts_with("http://") && word.ends_with('/') {
                self.apis.push(Api::new(address(word)));
            }
        }
        self.text.push_str(line);
        self.text.push('\n');
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the server with arguments that make it end by itself.
///
/// # Panics
///
/// If it does not end.
#[track_caller]
pub fn run(adapter: Adapter, arguments: &[&str]) -> Output {
    run_with(adapter, arguments, &[], Stdio::null())
}

/// The same, with variables and something to read.
///
/// # Panics
///
/// If it does not end.
#[track_caller]
pub fn run_with(
    adapter: Adapter,
    arguments: &[&str],
    variables: &[(&str, &str)],
    input: impl Into<Stdio>,
) -> Output {
    let mut child = command(adapter)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server can be executed");
    wait(&mut child);
    child.wait_with_output().expect("its output can be read")
}

/// Waits until a process has ended, which it does by itself.
#[track_caller]
fn wait(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("the server does not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
}
