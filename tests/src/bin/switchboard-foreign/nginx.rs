//! nginx with the configuration that the README gives.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::Signal;
use switchboard_tests::patience::eventually;
use tempfile::TempDir;

use crate::{ending_with_this_thread, terminate};

/// A running nginx. It ends with this value, and with the thread that has started it.
pub(crate) struct Nginx {
    child: Child,
    folder: TempDir,
}

impl Nginx {
    /// Starts it at `listen` with the README's configuration, but for the addresses.
    pub(crate) fn start(listen: SocketAddr, upstreams: [SocketAddr; 2]) -> Self {
        let folder = TempDir::with_prefix("switchboard-nginx-").expect("a temporary folder");
        let config = configuration(listen, upstreams);
        fs::write(folder.path().join("nginx.conf"), config).expect("the folder is writable");
        let log = File::create(folder.path().join("log")).expect("the folder is writable");
        let mut command = Command::new("nginx");
        command
            .args(["-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"])
            .arg("-p")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(log);
        // Its workers end when the master is told to, and not when it is killed.
        ending_with_this_thread(&mut command, Signal::TERM);
        let mut nginx = Self {
            child: command.spawn().expect("nginx is in the PATH"),
            folder,
        };
        eventually("nginx listens", || {
            let ended = nginx.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "nginx does not start: {}", nginx.log());
            TcpStream::connect(listen).is_ok()
        });
        nginx
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

/// A port that nothing uses and that the kernel gives to nobody who asks for any: from below its
/// range for those.
pub(crate) fn quiet_port() -> SocketAddr {
    const FIRST: u16 = 10_000;
    const PORTS: u16 = 20_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(process::id() % u32::from(PORTS)).expect("it is below 20,000");
    loop {
        let tried = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(tried < PORTS, "no port is free");
        let port = FIRST + (start + tried) % PORTS;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

fn configuration(listen: SocketAddr, [first, second]: [SocketAddr; 2]) -> String {
    let readme = fs::read_to_string(README).expect("the README is there");
    let block = readme.split_once("```nginx\n").map(|(_, rest)| rest);
    let (config, _) = block
        .and_then(|rest| rest.split_once("```"))
        .expect("the README has a configuration for nginx");
    let mut config = config.to_owned();
    let replaced = [
        ("listen 127.0.0.1:8000;", format!("listen {listen};")),
        ("server 127.0.0.1:8080;", format!("server {first};")),
        ("server 127.0.0.1:8090;", format!("server {second};")),
    ];
    for (documented, used) in replaced {
        assert_eq!(config.matches(documented).count(), 1, "{documented}");
        config = config.replace(documented, &used);
    }
    config
}
