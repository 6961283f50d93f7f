//! Proxies with the configurations of `deploy/`.

use std::fmt;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};
use switchboard_tests::patience::eventually;
use switchboard_tests::server::Server;
use tempfile::TempDir;

use crate::{ending_with_this_thread, terminate};

/// A program that stands between terminals and servers.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Program {
    Nginx,
    Haproxy,
    Caddy,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }

    /// The name of its configuration in `deploy/`.
    const fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Haproxy => "haproxy.cfg",
            Self::Caddy => "Caddyfile",
        }
    }

    /// Its arguments, in the folder of its configuration. It stays in the foreground.
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &[
                "-p",
                ".",
                "-c",
                "nginx.conf",
                "-e",
                "stderr",
                "-g",
                "daemon off;",
            ],
            Self::Haproxy => &["-W", "-f", "haproxy.cfg"],
            Self::Caddy => &["run", "--config", "Caddyfile", "--adapter", "caddyfile"],
        }
    }

    /// The command that has it read its configuration again.
    fn reload(self, child: &Child, folder: &TempDir) -> Vec<String> {
        let pid = child.id().to_string();
        let config = folder.path().join(self.file()).display().to_string();
        let words: &[&str] = match self {
            Self::Nginx => &["kill", "-HUP", &pid],
            Self::Haproxy => &["kill", "-USR2", &pid],
            // It does nothing if nothing has changed, unless it is forced.
            Self::Caddy => &[
                "caddy",
                "reload",
                "--force",
                "--config",
                &config,
                "--adapter",
                "caddyfile",
            ],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Whether terminals stay while it reads its configuration again.
    const fn reload_keeps_terminals(self) -> bool {
        match self {
            Self::Nginx | Self::Haproxy => true,
            Self::Caddy => false,
        }
    }
}

/// A running proxy. It ends with this value, and with the thread that has started it.
pub(crate) struct Proxy {
    program: Program,
    listen: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Proxy {
    /// Starts it at `listen` with the configuration of `deploy/`, but for the addresses.
    pub(crate) fn start(program: Program, listen: SocketAddr, servers: &[Server; 2]) -> Self {
        let folder = TempDir::with_prefix("switchboard-proxy-").expect("a temporary folder");
        let config = configuration(program, listen, servers);
        fs::write(folder.path().join(program.file()), config).expect("the folder is writable");
        let log = File::create(folder.path().join("log")).expect("the folder is writable");
        let mut command = Command::new(program.name());
        command
            .args(program.arguments())
            .current_dir(folder.path())
            // Where Caddy keeps what it has learnt.
            .envs([
                ("XDG_DATA_HOME", folder.path()),
                ("XDG_CONFIG_HOME", folder.path()),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("it is open"))
            .stderr(log);
        // Workers end when their master is told to, and not when it is killed.
        ending_with_this_thread(&mut command, Signal::TERM);
        let child = command.spawn();
        let mut proxy = Self {
            child: child.unwrap_or_else(|error| panic!("{program}: {error}")),
            program,
            listen,
            folder,
        };
        eventually("the proxy listens", || {
            let ended = proxy.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{program} does not start: {}", proxy.log());
            TcpStream::connect(listen).is_ok()
        });
        proxy
    }

    /// What the scripts are told.
    pub(crate) fn describe(&self) -> Value {
        json!({
            "name": self.program.name(),
            "url": format!("ws://{}/connect", self.listen),
            "reload": self.program.reload(&self.child, &self.folder),
            "reload_keeps_terminals": self.program.reload_keeps_terminals(),
        })
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
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

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// The documented configuration with the addresses in use.
fn configuration(program: Program, listen: SocketAddr, [first, second]: &[Server; 2]) -> String {
    let path = format!("{FOLDER}/{}", program.file());
    let mut config = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut used = vec![
        ("127.0.0.1:8000", listen.to_string()),
        ("127.0.0.1:8080", first.terminals().to_string()),
        ("127.0.0.1:8090", second.terminals().to_string()),
    ];
    match program {
        Program::Nginx => {}
        Program::Haproxy => used.extend([
            (
                "port 8081",
                format!("port {}", first.api().address().port()),
            ),
            (
                "port 8091",
                format!("port {}", second.api().address().port()),
            ),
        ]),
        Program::Caddy => used.push(("127.0.0.1:2019", quiet_port().to_string())),
    }
    for (documented, used) in used {
        assert!(config.contains(documented), "{path} has no {documented}");
        config = config.replace(documented, &used);
    }
    config
}
