//! A Redis with a replica, and a Sentinel that lets the replica take over.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use redis::FromRedisValue;
use rustix::process::{Signal, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::patience::eventually;
use crate::redis::{RedisServer, free_port};

/// Two Redis servers, one of which replicates the other, and the Sentinel that watches them.
#[derive(Debug)]
pub struct Replicated {
    servers: [RedisServer; 2],
    sentinel: Sentinel,
}

impl Replicated {
    /// Starts all three, and returns when each knows the others.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn start() -> Self {
        let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
        let port = primary.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
        // A Sentinel finds replicas when it asks the primary, at its start and then every ten seconds.
        eventually("the replica follows its primary", || {
            let about: redis::InfoDict = replica.command(&["INFO", "replication"]);
            about.get::<String>("master_link_status").as_deref() == Some("up")
        });
        let sentinel = Sentinel::start(primary.port());
        eventually("the Sentinel knows the replica", || {
            sentinel.replicas() == 1
        });
        Self {
            servers: [primary, replica],
            sentinel,
        }
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

    /// Kills the primary, and returns when the replica has taken its place.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn lose_primary(&mut self) {
        let port = self.primary().port();
        for server in &mut self.servers {
            if server.port() == port {
                server.stop();
            }
        }
        self.await_primary_other_than(port);
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

/// One Sentinel that watches a primary under the name `main`, and replaces it when it is gone.
#[derive(Debug)]
struct Sentinel {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Sentinel {
    #[track_caller]
    fn start(primary: u16) -> Self {
        let folder = TempDir::with_prefix("switchboard-").expect("a temporary folder");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
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
