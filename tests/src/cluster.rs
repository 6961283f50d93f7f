//! Instances with one directory.

use std::ops::{Index, IndexMut};

use crate::directory::Directory;
use crate::matrix::{Cell, DirectoryKind, Fleet};
use crate::patience::eventually;
use crate::redis::RedisServer;
use crate::sentinel::Replicated;
use crate::server::Server;
use crate::settings::Settings;

/// Instances that share a directory and a secret: each is a process of its own or, with the
/// embedded directory, a worker of the only one.
///
/// `cluster[2]` is the server that holds the third instance. With the embedded directory it is the
/// same for all of them, and the server chooses the worker.
#[derive(Debug)]
pub struct Cluster {
    // Servers come first: they end before their directory does.
    servers: Vec<Server>,
    directory: Directory,
    fleet: Fleet,
    settings: Settings,
}

impl Cluster {
    /// So many instances in a cell, which know each other.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn start(
        cell: Cell,
        instances: usize,
        configure: impl FnOnce(Settings) -> Settings,
    ) -> Self {
        let directory = Directory::start(cell.directory);
        let (servers, workers) = match cell.directory {
            DirectoryKind::Embedded => (1, i64::try_from(instances).expect("a few")),
            DirectoryKind::Redis | DirectoryKind::Sentinel => (instances, 1),
        };
        let of_instances = |settings: Settings| configure(settings.with("workers", workers));
        Self::start_on(directory, cell.fleet, servers, of_instances)
    }

    /// So many servers on a directory that the behaviour has started.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn start_on(
        directory: Directory,
        fleet: Fleet,
        servers: usize,
        configure: impl FnOnce(Settings) -> Settings,
    ) -> Self {
        let mut settings = Settings::for_tests()
            .with_file("cluster_secret_file", "a secret of these test servers\n");
        if let Some(url) = directory.url() {
            settings = settings.with("redis", url);
        }
        let mut cluster = Self {
            servers: Vec::new(),
            directory,
            fleet,
            settings: configure(settings),
        };
        for _ in 0..servers {
            cluster.add(|settings| settings);
        }
        cluster.await_all_up();
        cluster.await_no_doubt();
        cluster
    }

    /// The settings that its servers were started with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Starts one more server, and returns its index.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn add(&mut self, configure: impl FnOnce(Settings) -> Settings) -> usize {
        let server = self.stranger(configure);
        self.servers.push(server);
        self.servers.len() - 1
    }

    /// Starts a server with the same directory that the cluster does not count among its own.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[track_caller]
    pub fn stranger(&self, configure: impl FnOnce(Settings) -> Settings) -> Server {
        let settings = configure(self.settings.clone());
        Server::start(self.fleet.adapter(self.servers.len()), &settings)
    }

    /// Begins to start such a server, and waits for nothing.
    pub fn begin_stranger(&self, configure: impl FnOnce(Settings) -> Settings) -> Server {
        let settings = configure(self.settings.clone());
        Server::begin(self.fleet.adapter(self.servers.len()), &settings)
    }

    /// All servers, also those that have ended.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The Redis that holds the directory: of a Sentinel's two, the primary.
    ///
    /// # Panics
    ///
    /// If the directory is embedded.
    #[track_caller]
    pub fn redis(&self) -> &RedisServer {
        match &self.directory {
            Directory::Embedded => {
                panic!("the behaviour needs a directory in Redis, and has to say so")
            }
            Directory::Redis(redis) => redis,
            Directory::Sentinel(replicated) => replicated.primary(),
        }
    }

    /// The only Redis, to be stopped and started.
    ///
    /// # Panics
    ///
    /// If the directory is another one.
    #[track_caller]
    pub fn redis_mut(&mut self) -> &mut RedisServer {
        match &mut self.directory {
            Directory::Redis(redis) => redis,
            Directory::Embedded | Directory::Sentinel(_) => {
                panic!("the behaviour needs a single Redis, and has to say so")
            }
        }
    }

    /// The two of a Sentinel.
    ///
    /// # Panics
    ///
    /// If the directory is another one.
    #[track_caller]
    pub fn replicated(&mut self) -> &mut Replicated {
        match &mut self.directory {
            Directory::Sentinel(replicated) => replicated,
            Directory::Embedded | Directory::Redis(_) => {
                panic!("the behaviour needs a Sentinel, and has to say so")
            }
        }
    }

    /// The keys of all users' rows in Redis.
    ///
    /// # Panics
    ///
    /// If the directory is embedded.
    #[track_caller]
    pub fn user_keys(&self) -> Vec<String> {
        self.redis().command(&["KEYS", "sb:{p*}u:*"])
    }

    /// All rows of all users in Redis: key, connection and entry, in order.
    ///
    /// # Panics
    ///
    /// If the directory is embedded.
    #[track_caller]
    pub fn rows(&self) -> Vec<(String, String, String)> {
        let mut rows = Vec::new();
        for key in self.user_keys() {
            let entries: Vec<(String, String)> = self.redis().command(&["HGETALL", &key]);
            rows.extend(
                entries
                    .into_iter()
                    .map(|(field, entry)| (key.clone(), field, entry)),
            );
        }
        rows.sort_unstable();
        rows
    }

    /// Waits until every running server sees the same instances as every other, all of them up.
    ///
    /// # Panics
    ///
    /// If that does not happen.
    #[track_caller]
    pub fn await_all_up(&mut self) {
        let running: Vec<_> = self
            .servers
            .iter_mut()
            .filter_map(|server| server.exited().is_none().then(|| server.api()))
            .collect();
        let expected = running.len() * self.settings.workers();
        eventually("all servers see all instances up", || {
            running.iter().all(|api| {
                let instances = api.instances();
                instances.len() == expected && instances.iter().all(|i| i.state == "up")
            })
        });
    }

    /// Waits until no worker of any server is in doubt about another. Of a server's workers one answers
    /// who is up; pushes are spread over all of them by user.
    #[track_caller]
    fn await_no_doubt(&self) {
        // With eight users for each of four workers, one is left out in one start of two thousand.
        const USERS: usize = 8;
        let users = match self.settings.workers() {
            1 => 1,
            several => several * USERS,
        };
        eventually("pushes are without a doubt", || {
            self.servers.iter().all(|server| {
                let mut publisher = server.api().publisher();
                (0..users).all(|n| !publisher.push(&format!("nobody-{n}"), "").degraded)
            })
        });
    }
}

impl Index<usize> for Cluster {
    type Output = Server;

    fn index(&self, instance: usize) -> &Server {
        match self.directory {
            Directory::Embedded => &self.servers[0],
            Directory::Redis(_) | Directory::Sentinel(_) => &self.servers[instance],
        }
    }
}

impl IndexMut<usize> for Cluster {
    fn index_mut(&mut self, instance: usize) -> &mut Server {
        match self.directory {
            Directory::Embedded => &mut self.servers[0],
            Directory::Redis(_) | Directory::Sentinel(_) => &mut self.servers[instance],
        }
    }
}
