//! A Redis Sentinel of the test's own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};
use tempfile::TempDir;

use crate::patience::eventually;

/// One Sentinel that watches a primary under the name `main`, and replaces it when it is gone.
#[derive(Debug)]
pub struct Sentinel {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Sentinel {
    /// Starts one for the primary at this port.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn start(primary: u16) -> Self {
        let folder = TempDir::with_prefix("switchboard-").expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        drop(listener);
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

    /// Its address as `redis+sentinel://127.0.0.1:<port>/main`.
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/main", self.address)
    }

    /// The replicas that it knows, as it counts them.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn replicas(&self) -> usize {
        let client = redis::Client::open(format!("redis://{}", self.address)).expect("a good URL");
        let mut connection = client.get_connection().expect("the Sentinel answers");
        let replicas: Vec<redis::Value> = redis::cmd("SENTINEL")
            .arg(&["REPLICAS", "main"])
            .query(&mut connection)
            .expect("the Sentinel answers");
        replicas.len()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
