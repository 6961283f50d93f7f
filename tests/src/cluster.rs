//! Several servers with one Redis.

use std::fs;
use std::ops::{Index, IndexMut};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::patience::eventually;
use crate::redis::RedisServer;
use crate::server::{Options, Server};

/// Servers that share a directory and a secret.
#[derive(Debug)]
pub struct Cluster {
    // Servers come first: they end before their directory does.
    servers: Vec<Server>,
    /// Their directory.
    pub redis: RedisServer,
    options: Options,
    _secret: TempDir,
}

impl Cluster {
    /// So many servers that know each other.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn start(servers: usize) -> Self {
        Self::with(servers, |options| options)
    }

    /// So many servers with other settings.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn with(servers: usize, configure: impl FnOnce(Options) -> Options) -> Self {
        let redis = RedisServer::start();
        let secret = TempDir::with_prefix("switchboard-").expect("a temporary folder");
        let file = secret.path().join("secret");
        fs::write(&file, "a secret of these test servers\n").expect("the folder is writable");
        let for_owner = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&file, for_owner).expect("the file is ours");
        let options = Options::for_tests()
            .with("--redis", redis.url())
            .with("--cluster-secret-file", file.display().to_string());
        let mut cluster = Self {
            servers: Vec::new(),
            redis,
            options: configure(options),
            _secret: secret,
        };
        for _ in 0..servers {
            let options = cluster.options.clone();
            cluster.servers.push(Server::start(&options));
        }
        cluster.await_all_up();
        cluster
    }

    /// The settings that its servers were started with.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Starts one more server, and gives its index.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn add(&mut self, configure: impl FnOnce(Options) -> Options) -> usize {
        let options = configure(self.options.clone());
        self.servers.push(Server::start(&options));
        self.servers.len() - 1
    }

    /// All servers, also those that have ended.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The keys of all users' rows in Redis.
    pub fn user_keys(&self) -> Vec<String> {
        self.redis.command(&["KEYS", "sb:u:*"])
    }

    /// All rows of all users in Redis: key, connection and entry, in order.
    pub fn rows(&self) -> Vec<(String, String, String)> {
        let mut rows = Vec::new();
        for key in self.user_keys() {
            let entries: Vec<(String, String)> = self.redis.command(&["HGETALL", &key]);
            rows.extend(
                entries
                    .into_iter()
                    .map(|(field, entry)| (key.clone(), field, entry)),
            );
        }
        rows.sort_unstable();
        rows
    }

    /// Waits until every running server sees the same instances as every other, all of them up,
    /// so that nothing is in doubt.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    #[track_caller]
    pub fn await_all_up(&mut self) {
        let workers = self
            .options
            .value("--workers")
            .and_then(|text| text.parse().ok());
        let running: Vec<_> = self
            .servers
            .iter_mut()
            .filter_map(|server| server.exited().is_none().then(|| server.api()))
            .collect();
        let expected = running.len() * workers.unwrap_or(1);
        eventually("all servers see all instances up", || {
            running.iter().all(|api| {
                let instances = api.instances();
                instances.len() == expected && instances.iter().all(|i| i.state == "up")
            })
        });
    }
}

impl Index<usize> for Cluster {
    type Output = Server;

    fn index(&self, index: usize) -> &Server {
        &self.servers[index]
    }
}

impl IndexMut<usize> for Cluster {
    fn index_mut(&mut self, index: usize) -> &mut Server {
        &mut self.servers[index]
    }
}
