//! Two servers and their Redis.

use std::thread;
use std::time::Duration;

use crate::adapter::Adapter;
use crate::patience::eventually;
use crate::redis::RedisServer;
use crate::server::Server;
use crate::settings::Settings;
use crate::sockets::{processor_time, resident};

/// Two servers and their Redis.
#[derive(Debug)]
pub struct Testbed {
    /// Both servers.
    // They come first: they end before their directory does.
    pub servers: Vec<Server>,
    /// Their directory.
    pub redis: RedisServer,
}

impl Testbed {
    /// Starts Redis and both servers with the settings of a measurement.
    pub fn start(adapter: Adapter) -> Self {
        Self::start_with(adapter, |settings| settings)
    }

    /// The same with other settings.
    pub fn start_with(adapter: Adapter, change: impl FnOnce(Settings) -> Settings) -> Self {
        let redis = RedisServer::start();
        let settings = Settings::for_tests()
            .with_file("cluster_secret_file", "a secret of these test servers\n")
            .with("redis", redis.url())
            // A machine that measures is busy.
            .with("lease", "15s")
            .with("lease_renewal", "2s")
            .with("view_interval", "1s")
            .with("log_check", "60s");
        let settings = change(settings);
        let servers: Vec<_> = (0..2).map(|_| Server::start(adapter, &settings)).collect();
        eventually("both servers see each other", || {
            servers.iter().all(|s| s.api().instances().len() == 2)
        });
        Self { servers, redis }
    }

    /// Processor time of both servers.
    pub fn processor_time(&self) -> Duration {
        self.servers.iter().map(|s| processor_time(s.pid())).sum()
    }

    /// Resident memory of both servers in bytes.
    pub fn resident(&self) -> u64 {
        self.servers.iter().map(|s| resident(s.pid())).sum()
    }

    /// The same, once it does not change any more.
    pub fn settled_memory(&self) -> u64 {
        thread::sleep(Duration::from_secs(2));
        self.resident()
    }

    /// How often a command of this name was called, of all that Redis has answered.
    pub fn calls(&self, command: &str) -> u64 {
        let about: String = self.redis.command(&["INFO", "commandstats"]);
        let name = format!("cmdstat_{command}:calls=");
        let line = about.lines().find_map(|line| line.strip_prefix(&name));
        let calls = line.and_then(|rest| rest.split(',').next()?.parse().ok());
        calls.unwrap_or_default()
    }

    /// Bytes that a key takes in Redis; none if it is not there.
    pub fn key_bytes(&self, pattern: &str) -> u64 {
        let keys: Vec<String> = self.redis.command(&["KEYS", pattern]);
        let bytes = |key: &String| {
            let command = ["MEMORY", "USAGE", key, "SAMPLES", "0"];
            self.redis.command::<u64>(&command)
        };
        keys.iter().map(bytes).sum()
    }
}
