//! The server as a process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::adapter::Adapter;
use crate::api::Api;
use crate::patience::{PATIENCE, eventually};
use crate::process::{address, command, limit_open_files, lines};
use crate::settings::Settings;
use crate::sockets::is_stopped;
use crate::terminal::{Connect, Terminal};

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
    pub fn start(adapter: Adapter, settings: &Settings) -> Self {
        Self::start_until(adapter, settings, |line| line == "ready")
    }

    /// Starts a server and waits until it listens: its directory may be away.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    #[track_caller]
    pub fn start_unready(adapter: Adapter, settings: &Settings) -> Self {
        // The last of its addresses.
        Self::start_until(adapter, settings, |line| line.starts_with("peer "))
    }

    /// Starts a server and waits for nothing.
    pub fn begin(adapter: Adapter, settings: &Settings) -> Self {
        let folder = TempDir::with_prefix("switchboard-").expect("a temporary folder");
        let log = File::create(folder.path().join("log")).expect("the folder is writable");
        Self::spawn(adapter, settings, folder, log.into()).0
    }

    /// Starts a server whose log is a pipe, which nobody reads but the caller.
    ///
    /// # Panics
    ///
    /// If it does not become ready.
    #[track_caller]
    pub fn start_unheard(adapter: Adapter, settings: &Settings) -> (Self, ChildStderr) {
        let folder = TempDir::with_prefix("switchboard-").expect("a temporary folder");
        let log = Stdio::piped();
        let mut server =
            Self::start_logging(adapter, settings, folder, log, |line| line == "ready");
        let log = server.child.stderr.take().expect("it is piped");
        (server, log)
    }

    #[track_caller]
    fn start_until(adapter: Adapter, settings: &Settings, far_enough: fn(&str) -> bool) -> Self {
        let folder = TempDir::with_prefix("switchboard-").expect("a temporary folder");
        let log = File::create(folder.path().join("log")).expect("the folder is writable");
        Self::start_logging(adapter, settings, folder, log.into(), far_enough)
    }

    #[track_caller]
    fn start_logging(
        adapter: Adapter,
        settings: &Settings,
        folder: TempDir,
        log: Stdio,
        far_enough: fn(&str) -> bool,
    ) -> Self {
        let (mut server, announced) = Self::spawn(adapter, settings, folder, log);
        server.await_line(&announced, far_enough);
        server
    }

    /// The server, and what it says on its standard output.
    fn spawn(
        adapter: Adapter,
        settings: &Settings,
        folder: TempDir,
        log: Stdio,
    ) -> (Self, mpsc::Receiver<String>) {
        let file = settings.write(folder.path());
        let mut command = command(adapter);
        if let Some(files) = settings.open_files() {
            limit_open_files(&mut command, files);
        }
        let mut child = command
            .args(["serve", "--config"])
            .arg(file)
            .args(settings.flags())
            .envs(settings.variables())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server can be executed");
        let output = child.stdout.take().expect("it is piped");
        let announced = lines(output);
        let server = Self {
            child,
            terminals: UNKNOWN,
            api: UNKNOWN,
            peer: UNKNOWN,
            folder,
            ended: None,
        };
        (server, announced)
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

    /// Its settings file. Those that it names stand beside it.
    pub fn settings_file(&self) -> PathBuf {
        self.folder.path().join("switchboard.toml")
    }

    /// The whole lines that it has logged until this moment, which may be behind what it has answered.
    pub fn log(&self) -> String {
        let mut log = fs::read_to_string(self.log_path()).unwrap_or_default();
        log.truncate(log.rfind('\n').map_or(0, |at| at + 1));
        log
    }

    /// Waits until `text` is in the log.
    ///
    /// # Panics
    ///
    /// If [`PATIENCE`] expires.
    #[track_caller]
    pub fn await_log(&self, text: &str) {
        eventually(&format!("`{text}` is in the log"), || {
            self.log().contains(text)
        });
    }

    /// Asks it to drain and end.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// The same, as from a keyboard.
    pub fn sigint(&self) {
        self.signal(Signal::INT);
    }

    /// Asks it to read its settings again.
    pub fn sighup(&self) {
        self.signal(Signal::HUP);
    }

    /// The same, once these are what stands in its files.
    pub fn reload(&self, settings: &Settings) {
        settings.write(self.folder.path());
        self.sighup();
    }

    /// Stalls it, and returns when none of its threads runs any more.
    ///
    /// # Panics
    ///
    /// If one of them does not stop.
    #[track_caller]
    pub fn sigstop(&self) {
        self.signal(Signal::STOP);
        eventually("it has stopped", || is_stopped(self.pid()));
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
    fn await_line(&mut self, announced: &mpsc::Receiver<String>, far_enough: fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = announced
                .recv_timeout(left)
                .expect("the server says where it is and when it is ready");
            match line.split_once(' ') {
                Some(("terminals", url)) => self.terminals = address(url),
                Some(("api", url)) => self.api = address(url),
                Some(("peer", url)) => self.peer = address(url),
                _ => {}
            }
            if far_enough(&line) {
                break;
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
            let test = thread::current();
            eprintln!(
                "--- {}: log of the server at {}\n{}",
                test.name().unwrap_or_default(),
                self.api,
                tail.join("\n")
            );
        }
    }
}

const UNKNOWN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
