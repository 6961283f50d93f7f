//! The server as a process.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::api::Api;
use crate::binary::switchboard;
use crate::patience::PATIENCE;
use crate::terminal::{Connect, Terminal};

/// The command line of a server: `--flag value` pairs, where the last value of a flag counts.
#[derive(Clone, Debug)]
pub struct Options {
    flags: BTreeMap<String, Option<String>>,
    environment: BTreeMap<String, String>,
}

impl Options {
    /// `serve` on free ports, one worker, and times that are short enough for tests.
    pub fn for_tests() -> Self {
        Self::bare()
            .with("--listen", "127.0.0.1:0")
            .with("--api", "127.0.0.1:0")
            .with("--peer", "127.0.0.1:0")
            .with("--workers", "1")
            .with("--lease", "2s")
            .with("--lease-renewal", "500ms")
            .with("--view-interval", "200ms")
            .with("--directory-timeout", "500ms")
    }

    /// `serve` without any flag.
    pub const fn bare() -> Self {
        Self {
            flags: BTreeMap::new(),
            environment: BTreeMap::new(),
        }
    }

    /// With a flag and its value.
    #[must_use]
    pub fn with(mut self, flag: &str, value: impl Into<String>) -> Self {
        self.flags.insert(flag.to_owned(), Some(value.into()));
        self
    }

    /// With a flag that takes no value.
    #[must_use]
    pub fn switch(mut self, flag: &str) -> Self {
        self.flags.insert(flag.to_owned(), None);
        self
    }

    /// Without a flag.
    #[must_use]
    pub fn without(mut self, flag: &str) -> Self {
        self.flags.remove(flag);
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// The value of a flag.
    pub fn value(&self, flag: &str) -> Option<&str> {
        self.flags.get(flag)?.as_deref()
    }

    /// The arguments.
    pub fn arguments(&self) -> Vec<String> {
        let pairs = self.flags.iter();
        std::iter::once("serve".to_owned())
            .chain(
                pairs
                    .flat_map(|(flag, value)| [Some(flag.clone()), value.clone()])
                    .flatten(),
            )
            .collect()
    }
}

/// A running server. It is killed when it goes out of scope, and its log is shown if that is
/// because a test failed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    terminals: SocketAddr,
    api: SocketAddr,
    peer: SocketAddr,
    folder: TempDir,
    ended: Option<ExitStatus>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not become ready.
    #[track_caller]
    pub fn start(options: &Options) -> Self {
        let folder = TempDir::with_prefix("switchboard-").expect("a temporary folder");
        let log = File::create(folder.path().join("log")).expect("the folder is writable");
        let mut child = command(&options.arguments(), &options.environment)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server can be executed");
        let output = child.stdout.take().expect("it is piped");
        let announced = announcements(output);
        let mut server = Self {
            child,
            terminals: UNKNOWN,
            api: UNKNOWN,
            peer: UNKNOWN,
            folder,
            ended: None,
        };
        server.await_ready(&announced);
        server
    }

    /// Where terminals connect.
    pub const fn terminals(&self) -> SocketAddr {
        self.terminals
    }

    /// Where other instances connect.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Its API.
    pub const fn api(&self) -> Api {
        Api::new(self.api)
    }

    /// A handshake to it.
    pub fn connect(&self) -> Connect {
        Connect::to(self.terminals)
    }

    /// Connects a terminal of a user, which is greeted without a doubt.
    ///
    /// # Panics
    ///
    /// If it is refused, or greeted as degraded.
    #[track_caller]
    pub fn terminal(&self, user: &str) -> Terminal {
        let terminal = self.connect().user(user).open();
        assert!(!terminal.degraded, "the directory works");
        terminal
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged until this moment.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Asks it to drain and end.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// The same, as from a keyboard.
    pub fn sigint(&self) {
        self.signal(Signal::INT);
    }

    /// Stalls it.
    pub fn sigstop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn sigcont(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it, without a chance to say goodbye.
    pub fn sigkill(&mut self) {
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.exited() {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the server does not end");
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server runs");
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    #[track_caller]
    fn await_ready(&mut self, announced: &mpsc::Receiver<String>) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = announced
                .recv_timeout(left)
                .expect("the server becomes ready");
            match line.split_once(' ') {
                Some(("terminals", url)) => self.terminals = address(url),
                Some(("api", url)) => self.api = address(url),
                Some(("peer", url)) => self.peer = address(url),
                _ if line == "ready" => break,
                _ => {}
            }
        }
        assert_ne!(
            self.terminals, UNKNOWN,
            "the server prints where terminals connect"
        );
        assert_ne!(self.api, UNKNOWN, "the server prints where its API is");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.sigkill();
        if thread::panicking() {
            const LINES: usize = 60;
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LINES)..];
            eprintln!("--- log of the server at {}\n{}", self.api, tail.join("\n"));
        }
    }
}

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
    pub fn start() -> Self {
        let mut child = command(&["demo".to_owned()], &BTreeMap::new())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server can be executed");
        let printed = announcements(child.stdout.take().expect("it is piped"));
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
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let arguments: Vec<_> = arguments.iter().map(|&a| a.to_owned()).collect();
    let environment = environment
        .iter()
        .map(|&(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    let mut child = command(&arguments, &environment)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server can be executed");
    let end = Instant::now() + PATIENCE;
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() > end {
            let _ = child.kill();
            panic!("the server does not end with {arguments:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output can be read")
}

const UNKNOWN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

fn command(arguments: &[String], environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(switchboard());
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD_") {
            command.env_remove(&name);
        }
    }
    command.envs(environment);
    // A test that is killed takes its servers along.
    #[expect(unsafe_code, reason = "a system call between fork and exec")]
    // SAFETY: prctl may be called there, and nothing is allocated.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    command
}

/// The lines of its standard output, read in a thread of its own so that the pipe never fills.
fn announcements(output: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The address in `ws://127.0.0.1:8080/connect`.
fn address(url: &str) -> SocketAddr {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    host.parse()
        .unwrap_or_else(|_| panic!("no address in {url}"))
}
