//! A Redis server of the test's own.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use redis::FromRedisValue;

/// A `redis-server` on a loopback port, empty at its start and without persistence.
///
/// It ends with this value, and also when the test process ends in any other way.
///
/// Every method panics if the server cannot do what it is told: a test cannot go on without it.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    url: String,
    directory: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl RedisServer {
    /// Starts a server on a free port, and returns when it answers.
    pub fn start() -> Self {
        Self::start_with::<&str>(&[])
    }

    /// Starts a server that also speaks TLS, with a certificate and its key in PEM, and returns its URL
    /// for that.
    pub fn start_with_tls(certificate: &Path, key: &Path) -> (Self, String) {
        let path = |path: &Path| path.display().to_string();
        let port = free_port();
        let server = Self::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &path(certificate),
            "--tls-key-file",
            &path(key),
            "--tls-auth-clients",
            "no",
        ]);
        (server, format!("rediss://localhost:{port}"))
    }

    /// Starts a server with further arguments, as in `["--maxmemory-policy", "allkeys-lru"]`.
    pub fn start_with<S: AsRef<str>>(arguments: &[S]) -> Self {
        let mut server = Self {
            port: 0,
            url: String::new(),
            directory: new_directory(),
            arguments: owned(arguments),
            process: None,
        };
        for _ in 0..PORTS_TRIED {
            server.port = free_port();
            server.url = format!("redis://127.0.0.1:{}", server.port);
            server.process = server.spawn();
            if server.process.is_some() {
                return server;
            }
        }
        panic!(
            "redis-server found each of {PORTS_TRIED} ports taken, or does not take {arguments}",
            arguments = server.arguments.join(" ")
        );
    }

    /// Its address as `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it without a warning: its clients see a reset, its content is lost.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Throws away the snapshot that it wrote when it was told to: started again, it is empty.
    pub fn forget_snapshot(&self) {
        match fs::remove_file(self.directory.join("dump.rdb")) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                panic!("the snapshot cannot be removed: {error}")
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Throws away all that it has written to disk: started again, it is empty.
    pub fn forget_all(&self) {
        self.forget_snapshot();
        match fs::remove_dir_all(self.directory.join("appendonlydir")) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                panic!("its files cannot be removed: {error}")
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// The further arguments with which it is started again from here on.
    pub fn set_arguments<S: AsRef<str>>(&mut self, arguments: &[S]) {
        self.arguments = owned(arguments);
    }

    /// Whether it was not stopped.
    pub const fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Lets it refuse writes as a server does whose disk is full (`MISCONF`): its snapshots fail.
    pub fn fail_to_save(&self) {
        let gone = self.directory.join("gone");
        fs::create_dir(&gone).expect("a directory can be made");
        self.command::<()>(&["CONFIG", "SET", "dir", &gone.to_string_lossy()]);
        fs::remove_dir(&gone).expect("it is empty");
        self.command::<()>(&["CONFIG", "SET", "save", "3600 1000000"]);
        self.command::<()>(&["BGSAVE"]);
        self.wait_until("its snapshot has failed", |server| {
            let about = server.command::<redis::InfoDict>(&["INFO", "persistence"]);
            about.get::<String>("rdb_last_bgsave_status").as_deref() == Some("err")
        });
    }

    /// It saves again.
    pub fn save_again(&self) {
        let directory = self.directory.to_string_lossy();
        self.command::<()>(&["CONFIG", "SET", "dir", &directory]);
        self.command::<()>(&["CONFIG", "SET", "save", ""]);
    }

    /// Waits until no child writes a snapshot, for itself or for a replica: the server is told of its end
    /// a moment later than the replica.
    pub fn finish_background_save(&self) {
        self.wait_until("no snapshot is being written", |server| {
            let about = server.command::<redis::InfoDict>(&["INFO", "persistence"]);
            about.get::<u8>("rdb_bgsave_in_progress") == Some(0)
        });
    }

    /// Makes it a replica of another one, and returns when it has all that the other one has.
    pub fn follow(&self, primary: &Self) {
        self.command::<()>(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        self.wait_until("it has what its primary has", |replica| {
            let (_, written, _) = primary.command::<(String, i64, redis::Value)>(&["ROLE"]);
            let replica = replica.try_command::<(String, String, u16, String, i64)>(&["ROLE"]);
            replica.is_ok_and(|(_, _, _, state, read)| state == "connected" && read == written)
        });
    }

    /// Waits until something is so of it.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + STARTED_WITHIN;
        while !is_so(self) {
            assert!(Instant::now() < end, "port {}: not so: {what}", self.port);
            thread::sleep(POLL);
        }
    }

    /// Starts it again on the same port, with what it wrote to disk if it was told to write, else empty. Kills
    /// it first if it runs.
    pub fn start_again(&mut self) {
        self.stop();
        let end = Instant::now() + STARTED_WITHIN;
        while self.process.is_none() {
            assert!(
                Instant::now() < end,
                "port {} is taken by another process",
                self.port
            );
            self.process = self.spawn();
        }
    }

    /// Stops it from running without closing anything, as an overloaded or frozen machine does.
    pub fn pause(&self) {
        self.running().signal("STOP");
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.running().signal("CONT");
    }

    /// A connection of the test's own.
    pub fn connection(&self) -> redis::Connection {
        self.try_connection().expect("the server takes connections")
    }

    /// Runs one command on a connection of its own: `server.command::<i64>(&["EXISTS", "key"])`.
    #[track_caller]
    pub fn command<T: FromRedisValue>(&self, command: &[&str]) -> T {
        match self.try_command(command) {
            Ok(answer) => answer,
            Err(error) => panic!("{}: {error}", command.join(" ")),
        }
    }

    /// The same for a server that may close connections at any moment, as one does that a Sentinel
    /// promotes.
    ///
    /// # Errors
    ///
    /// What the client or the server says.
    pub fn try_command<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let (name, arguments) = command.split_first().expect("a command has a name");
        redis::cmd(name)
            .arg(arguments)
            .query(&mut self.try_connection()?)
    }

    fn running(&self) -> &Process {
        self.process
            .as_ref()
            .expect("the server was stopped by the test")
    }

    fn try_connection(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.url.as_str())?.get_connection_with_timeout(ANSWERS_WITHIN)
    }

    /// Starts the server and waits until it answers. `None` if it ended, as it does when its port
    /// is taken.
    fn spawn(&self) -> Option<Process> {
        let command = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            // For `fail_to_save`.
            .args(["--enable-protected-configs", "yes"])
            .arg("--dir")
            .arg(&self.directory)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let server = match command {
            Ok(server) => server,
            Err(error) if error.kind() == ErrorKind::NotFound => panic!(
                "these tests need a `redis-server` in the PATH: install the package `redis-server` \
                 (Debian, Ubuntu) or `redis` (Fedora, Arch, Alpine, Homebrew)"
            ),
            Err(error) => panic!("redis-server cannot be started: {error}"),
        };
        let mut process = Process::watched(server, self.directory.as_os_str());
        let end = Instant::now() + STARTED_WITHIN;
        loop {
            if process.has_ended() {
                return None;
            }
            if self.serving_process() == Some(process.server.id()) {
                return Some(process);
            }
            assert!(
                Instant::now() < end,
                "redis-server does not answer on port {}",
                self.port
            );
            thread::sleep(POLL);
        }
    }

    /// The id of the process that answers on this port: it may be a stranger's.
    fn serving_process(&self) -> Option<u32> {
        let mut connection = self.try_connection().ok()?;
        let about: redis::InfoDict = redis::cmd("INFO")
            .arg("server")
            .query(&mut connection)
            .ok()?;
        about.get("process_id")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
        // What remains in a temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// How many ports are tried: another process may take a free one before the server does.
const PORTS_TRIED: u32 = 10;

/// When a server that does not answer is given up. It takes some 10 ms on an idle machine.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// When a connection attempt of the harness is given up.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(5);

/// A running server and the shell that kills it when the test process ends, however that ends: the
/// shell's input is closed then. A signal at the parent's death would come when the *thread* that
/// started the server ends.
#[derive(Debug)]
struct Process {
    server: Child,
    watchdog: Child,
}

impl Process {
    fn watched(server: Child, directory: &OsStr) -> Self {
        let watchdog = Command::new("sh")
            .args(["-c", r#"read -r _; kill -9 "$1"; rm -rf "$2""#, "watchdog"])
            .arg(server.id().to_string())
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        Self { server, watchdog }
    }

    fn has_ended(&mut self) -> bool {
        self.server
            .try_wait()
            .expect("its status can be asked for")
            .is_some()
    }

    fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.server.id());
        let status = Command::new("sh")
            .args(["-c", &command])
            .status()
            .expect("a shell can be started");
        assert!(status.success(), "{command}: {status}");
    }
}

impl Drop for Process {
    /// The watchdog goes first: it must not kill a process that has got the server's id later.
    fn drop(&mut self) {
        for process in [&mut self.watchdog, &mut self.server] {
            // Fails only for a process that has ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A port that nothing listens at, for a server that cannot be told to find one itself. This process is given
/// it once, and the kernel gives it to nobody who asks for any: those are beyond the range.
///
/// # Panics
///
/// If all of the range are taken.
pub fn free_port() -> u16 {
    const RANGE: std::ops::Range<u32> = 10_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let size = RANGE.end - RANGE.start;
    // Another process begins elsewhere.
    let first = process::id().wrapping_mul(997);
    for _ in 0..size {
        let next = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(RANGE.start + next % size).expect("the range is one of ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("all ports of {RANGE:?} are taken");
}

fn owned<S: AsRef<str>>(arguments: &[S]) -> Vec<String> {
    arguments.iter().map(|a| a.as_ref().to_owned()).collect()
}

fn new_directory() -> PathBuf {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("switchboard-redis-{}-{number}", process::id()));
    fs::create_dir_all(&directory).expect("the temporary directory can be written to");
    directory
}
