//! A Redis with a replica, and a Sentinel that lets the replica take over.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use redis::FromRedisValue;
use rustix::process::{Signal, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::patience::eventually;
use crate::redis::{RedisServer, free_port};

/// Two Redis servers, one of which replicates the other, and the Sentinel that watches them.
#[derive(Debug)]
pub struct Replicated {
    servers: [RedisServer; 2],
    persistence: &'static [&'static str],
    /// After how many milliseconds a silent primary is replaced, but by what a test does.
    patience: u32,
    sentinel: Sentinel,
    /// Where one may be started that knows nothing of the other.
    stale: SocketAddr,
    stale_sentinel: Option<Sentinel>,
}

/// What a Redis that is started again still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// What it had written.
    Kept,
    /// Nothing: its disk is empty.
    Lost,
}

impl Replicated {
    /// Starts all three, and returns when each knows the others.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// The same with servers that lose nothing when they are killed, as each write is on disk before it is
    /// answered, and that are not replaced because the machine is slow.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn start_persistent() -> Self {
        let mut started =
            Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"], &[]);
        started.patience = A_LONG_TIME;
        started.sentinel.set_patience(A_LONG_TIME);
        started
    }

    /// The same with a primary that the Sentinel can replace and cannot demote: it goes on as if nothing had
    /// happened.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn start_stubborn() -> Self {
        // The Sentinel's word for it; REPLICAOF is another command. Nor do other Sentinels learn of it there.
        let forbidden = [
            "--rename-command",
            "SLAVEOF",
            "",
            "--rename-command",
            "PUBLISH",
            "",
        ];
        Self::start_with(&[], &forbidden)
    }

    #[track_caller]
    fn start_with(persistence: &'static [&'static str], of_primary: &[&str]) -> Self {
        let mut first = arguments(persistence, None);
        first.extend(of_primary.iter().map(|&text| text.to_owned()));
        let primary = RedisServer::start_with(&first);
        let replica = RedisServer::start_with(&arguments(persistence, Some(primary.port())));
        // A Sentinel finds replicas when it asks the primary, at its start and then every ten seconds.
        eventually("the replica follows its primary", || {
            let about: redis::InfoDict = replica.command(&["INFO", "replication"]);
            about.get::<String>("master_link_status").as_deref() == Some("up")
        });
        // A primary sends nothing to a new replica until that has acknowledged what it got first, which it does once a
        // second. A write is acknowledged behind that.
        primary.command::<()>(&["SET", "of the test", "", "PX", "1"]);
        eventually("the replica has acknowledged a write", || {
            let about: redis::InfoDict = primary.command(&["INFO", "replication"]);
            let written = about.get::<u64>("master_repl_offset").unwrap_or(0);
            let replica = about.get::<String>("slave0").unwrap_or_default();
            written > 0 && replica.contains(&format!("state=online,offset={written},"))
        });
        let sentinel = Sentinel::start(free_address(), primary.port());
        eventually("the Sentinel knows the replica", || {
            sentinel.replicas() == 1
        });
        Self {
            servers: [primary, replica],
            persistence,
            patience: DOWN_AFTER,
            sentinel,
            stale: free_address(),
            stale_sentinel: None,
        }
    }

    /// The same with a second Sentinel before it, which does not answer until it is started.
    pub fn url_with_stale(&self) -> String {
        format!(
            "redis+sentinel://{},{}/main",
            self.stale, self.sentinel.address
        )
    }

    /// Starts a Sentinel that names the one that is not the primary, as one does that was cut off while others let
    /// another take over. The replaced one must be stubborn, or tells it of the other Sentinel.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn start_stale_sentinel(&mut self) {
        let sentinel = Sentinel::start(self.stale, self.other().port());
        eventually("it sees its primary", || sentinel.sees_primary());
        self.stale_sentinel = Some(sentinel);
    }

    /// The port of the primary that the stale Sentinel names.
    ///
    /// # Panics
    ///
    /// If it was not started.
    #[track_caller]
    pub fn stale_primary(&self) -> u16 {
        let sentinel = self.stale_sentinel.as_ref();
        sentinel.expect("it was started").primary()
    }

    /// Where servers ask for the primary, as `redis+sentinel://127.0.0.1:<port>/main`.
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/main", self.sentinel.address)
    }

    /// The primary, as the Sentinel sees it.
    ///
    /// # Panics
    ///
    /// If the Sentinel does not answer.
    #[track_caller]
    pub fn primary(&self) -> &RedisServer {
        let port = self.sentinel.primary();
        let of_port = |server: &&RedisServer| server.port() == port;
        self.servers
            .iter()
            .find(of_port)
            .expect("it watches no other")
    }

    /// The one that is not the primary, as the Sentinel sees it.
    ///
    /// # Panics
    ///
    /// If the Sentinel does not answer.
    #[track_caller]
    pub fn other(&self) -> &RedisServer {
        let port = self.sentinel.primary();
        let other = |server: &&RedisServer| server.port() != port;
        self.servers.iter().find(other).expect("there are two")
    }

    /// Kills the primary and starts it again in its place, before anybody has taken that.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn restart_primary(&mut self, disk: Disk) {
        self.sentinel.set_patience(A_LONG_TIME);
        let arguments = arguments(self.persistence, None);
        let primary = self.primary_mut();
        primary.stop();
        if disk == Disk::Lost {
            primary.forget_all();
        }
        primary.set_arguments(&arguments);
        primary.start_again();
        primary.wait_until("it has read its files", |server| {
            let about = server.try_command::<redis::InfoDict>(&["INFO", "persistence"]);
            about.is_ok_and(|about| about.get::<u8>("loading") == Some(0))
        });
        eventually("the Sentinel has seen it", || self.sentinel.sees_primary());
        self.sentinel.set_patience(self.patience);
    }

    /// Cuts the replica off from its primary, kills that `lag` later, and returns when the replica has taken
    /// its place: without what was written meanwhile.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn lose_primary_behind(&mut self, lag: Duration) {
        let nowhere = free_port().to_string();
        (self.other()).command::<()>(&["REPLICAOF", "127.0.0.1", &nowhere]);
        thread::sleep(lag);
        self.lose_primary();
    }

    /// Stalls the primary until the replica has taken its place, and lets it go on: it does what it was asked
    /// meanwhile, and takes writes until it learns that it was replaced.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    #[track_caller]
    pub fn stall_primary(&mut self) {
        let stalled = self.primary().port();
        self.sentinel.set_patience(DOWN_AFTER);
        self.primary().pause();
        self.await_primary_other_than(stalled);
        self.sentinel.set_patience(self.patience);
        let primary = self.servers.iter().find(|server| server.port() == stalled);
        primary.expect("it watches no other").resume();
    }

    /// Those that were lost come back as replicas, and so does a primary that was replaced. Returns when each has what the primary has, and the Sentinel
    /// could let it take over.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    #[track_caller]
    pub fn mend(&mut self) {
        let primary = self.primary().port();
        let arguments = arguments(self.persistence, Some(primary));
        for server in &mut self.servers {
            if server.port() == primary {
                continue;
            }
            if server.is_running() {
                // The Sentinel does that too, ten seconds later.
                server.command::<()>(&["REPLICAOF", "127.0.0.1", &primary.to_string()]);
            } else {
                server.set_arguments(&arguments);
                server.start_again();
            }
        }
        let replica = self.other();
        eventually("the other one replicates the primary", || {
            let about = replica.try_command::<redis::InfoDict>(&["INFO", "replication"]);
            about.is_ok_and(|about| {
                about.get::<u16>("master_port") == Some(primary)
                    && about.get::<String>("master_link_status").as_deref() == Some("up")
            })
        });
        eventually("the Sentinel could promote it", || {
            self.sentinel.could_promote(primary)
        });
    }

    /// Kills the primary, and returns when the replica has taken its place.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn lose_primary(&mut self) {
        self.sentinel.set_patience(DOWN_AFTER);
        let primary = self.primary_mut();
        let port = primary.port();
        primary.stop();
        self.await_primary_other_than(port);
        self.sentinel.set_patience(self.patience);
    }

    /// Lets the Sentinel swap the two while both live: the primary is demoted in place.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn swap(&self) {
        let port = self.primary().port();
        self.sentinel.command::<String>(&["FAILOVER", "main"]);
        self.await_primary_other_than(port);
    }

    #[track_caller]
    fn primary_mut(&mut self) -> &mut RedisServer {
        let port = self.sentinel.primary();
        let of_port = |server: &&mut RedisServer| server.port() == port;
        let primary = self.servers.iter_mut().find(of_port);
        primary.expect("it watches no other")
    }

    #[track_caller]
    fn await_primary_other_than(&self, port: u16) {
        eventually("the replica has become the primary", || {
            let promoted = self.primary();
            if promoted.port() == port {
                return false;
            }
            // A promoted server closes connections at any moment.
            let role = promoted.try_command::<Vec<redis::Value>>(&["ROLE"]);
            role.is_ok_and(|role| {
                role.first() == Some(&redis::Value::BulkString(b"master".to_vec()))
            })
        });
    }
}

fn arguments(persistence: &[&str], primary: Option<u16>) -> Vec<String> {
    let mut arguments: Vec<_> = persistence.iter().map(|&text| text.to_owned()).collect();
    arguments.extend(["--repl-diskless-sync-delay".to_owned(), "0".to_owned()]);
    if let Some(port) = primary {
        arguments.extend([
            "--replicaof".to_owned(),
            "127.0.0.1".to_owned(),
            port.to_string(),
        ]);
    }
    arguments
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// After how many milliseconds a silent primary is replaced.
const DOWN_AFTER: u32 = 500;
const A_LONG_TIME: u32 = 600_000;

/// One Sentinel that watches a primary under the name `main`, and replaces it when it is gone.
#[derive(Debug)]
struct Sentinel {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Sentinel {
    #[track_caller]
    fn start(address: SocketAddr, primary: u16) -> Self {
        let folder = TempDir::with_prefix("switchboard-").expect("a temporary folder");
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds main {DOWN_AFTER}\nsentinel failover-timeout main 3000\n",
            address.port(),
            folder.path().display(),
        );
        fs::write(&file, settings).expect("the folder is writable");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // A test that is killed takes it along.
        #[expect(unsafe_code, reason = "a system call between fork and exec")]
        // SAFETY: prctl may be called there, and nothing is allocated.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child = command.spawn().expect("redis-server is installed");
        eventually("the Sentinel listens", || {
            TcpStream::connect(address).is_ok()
        });
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    /// How many replicas it knows.
    fn replicas(&self) -> usize {
        self.command::<Vec<redis::Value>>(&["REPLICAS", "main"])
            .len()
    }

    /// After how many milliseconds it replaces a primary that is silent.
    fn set_patience(&self, millis: u32) {
        let millis = millis.to_string();
        self.command::<()>(&["SET", "main", "down-after-milliseconds", &millis]);
    }

    /// Whether the primary answers it.
    fn sees_primary(&self) -> bool {
        let about = self.command::<BTreeMap<String, String>>(&["MASTER", "main"]);
        about["flags"] == "master" && about["link-pending-commands"] == "0"
    }

    /// Whether the only replica is well, and one of this primary's.
    fn could_promote(&self, primary: u16) -> bool {
        let replicas = self.command::<Vec<BTreeMap<String, String>>>(&["REPLICAS", "main"]);
        replicas.iter().all(|about| {
            about["flags"] == "slave"
                && about["master-link-status"] == "ok"
                && about["master-port"] == primary.to_string()
        })
    }

    /// The primary's port.
    #[track_caller]
    fn primary(&self) -> u16 {
        let (_, port) = self.command::<(String, u16)>(&["GET-MASTER-ADDR-BY-NAME", "main"]);
        port
    }

    #[track_caller]
    fn command<T: FromRedisValue>(&self, arguments: &[&str]) -> T {
        let client = redis::Client::open(format!("redis://{}", self.address)).expect("a good URL");
        let mut connection = client.get_connection().expect("the Sentinel answers");
        let answer = redis::cmd("SENTINEL").arg(arguments).query(&mut connection);
        answer.expect("the Sentinel answers")
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
