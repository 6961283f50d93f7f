//! What fails: servers, and Redis.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::channel::Channel;
use super::history::{Histories, Since};
use super::{Grounds, Plan};
use crate::matrix::Fleet;
use crate::random::Random;
use crate::sentinel::{Disk, Replicated};
use crate::server::Server;
use crate::settings::Settings;

/// Kills one server after the other, and starts another in its place.
pub(super) struct Killer<'a> {
    fleet: Fleet,
    settings: &'a Settings,
    place: &'a Grounds,
    every: Duration,
    random: Random,
    output: Option<PathBuf>,
    pub(super) kills: usize,
}

impl<'a> Killer<'a> {
    pub(super) fn new(plan: &Plan, settings: &'a Settings, place: &'a Arc<Grounds>) -> Self {
        Self {
            fleet: plan.fleet,
            settings,
            place,
            every: plan.kills_every,
            random: Random::new(plan.seed, "killer", 0),
            output: plan.output.clone(),
            kills: 0,
        }
    }

    /// It goes on until the end. Servers run until then and beyond.
    pub(super) fn go_on_until(&mut self, end: Instant, servers: &mut [Server]) {
        let begin = Instant::now();
        for number in 1.. {
            let due = begin + self.every * number;
            if due >= end {
                thread::sleep(end.saturating_duration_since(Instant::now()));
                return;
            }
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let index = self.random.below(servers.len());
            servers[index].sigkill();
            self.kills += 1;
            self.keep_log(&servers[index]);
            let adapter = self.fleet.adapter(servers.len() + self.kills);
            servers[index] = Server::start_unready(adapter, self.settings);
            self.place.replace(index, &servers[index]);
        }
    }

    fn keep_log(&self, server: &Server) {
        if let Some(folder) = &self.output {
            let path = folder.join(format!("server-{}.log", self.kills));
            // If it cannot be written, whoever looks for it sees that it is not there.
            let _ = fs::write(path, server.log());
        }
    }
}

/// Something that happens to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RedisFault {
    /// It is killed, and started again with what is on its disk, which is everything.
    Restarted,
    /// It is killed, and started again with nothing.
    Emptied,
    /// It is killed, and its replica takes over.
    Lost,
    /// The same, when the replica has not got the last records.
    LostBehind,
    /// It stalls, its replica takes over, and it goes on for a while.
    Stalled,
    /// The Sentinel lets the two change places.
    Swapped,
}

impl RedisFault {
    /// Those that happen again and again.
    const ALL: [Self; 5] = [
        Self::Restarted,
        Self::Lost,
        Self::LostBehind,
        Self::Stalled,
        Self::Swapped,
    ];

    /// What Redis may have done.
    const fn since(self) -> Since {
        match self {
            Self::Restarted => Since::Kept,
            Self::Emptied => Since::Emptied,
            Self::Lost | Self::LostBehind => Since::Lost,
            Self::Stalled | Self::Swapped => Since::Split,
        }
    }
}

impl fmt::Display for RedisFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restarted => "killed, started with what is on disk",
            Self::Emptied => "killed, started empty",
            Self::Lost => "killed, its replica takes over",
            Self::LostBehind => "killed, a replica that lags behind takes over",
            Self::Stalled => "stalled, its replica takes over",
            Self::Swapped => "swapped with its replica",
        })
    }
}

/// A fault that has happened, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happened {
    pub(super) fault: RedisFault,
    pub(super) begun: Duration,
    pub(super) ended: Duration,
    /// Records that were there before, and are not afterwards.
    pub(super) lost: usize,
    /// The reading behind it.
    pub(super) reading: usize,
}

/// Lets Redis fail in all ways, one after the other.
pub(super) struct RedisFaults {
    begin: Instant,
    every: Duration,
    empties_at: Instant,
    random: Random,
    channels: Vec<Channel>,
}

impl RedisFaults {
    pub(super) fn new(plan: &Plan, begin: Instant) -> Self {
        Self {
            begin,
            every: plan.redis_faults_every,
            empties_at: Instant::now() + plan.time / 2,
            random: Random::new(plan.seed, "redis", 0),
            channels: plan.channels(),
        }
    }

    /// They go on until the end. All logs are read before and after each.
    pub(super) fn go_on_until(
        mut self,
        end: Instant,
        redis: &mut Replicated,
        histories: &mut Histories,
    ) -> Vec<Happened> {
        let mut happened = Vec::new();
        let mut next = Vec::new();
        let mut emptied = false;
        loop {
            let pause = self.every / 2 + self.random.time(self.every);
            thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
            if Instant::now() >= end {
                return happened;
            }
            if next.is_empty() {
                next.extend(RedisFault::ALL);
                self.random.shuffle(&mut next);
            }
            let fault = if !emptied && Instant::now() >= self.empties_at {
                emptied = true;
                RedisFault::Emptied
            } else {
                next.pop().expect("there are some")
            };
            histories.read(
                self.begin.elapsed(),
                redis.primary(),
                &self.channels,
                Since::Kept,
            );
            let (begun, lost) = (self.begin.elapsed(), histories.lost);
            self.do_it(fault, redis);
            redis.mend();
            histories.read(
                self.begin.elapsed(),
                redis.primary(),
                &self.channels,
                fault.since(),
            );
            let ended = self.begin.elapsed();
            happened.push(Happened {
                fault,
                begun,
                ended,
                lost: histories.lost - lost,
                reading: histories.readings.len() - 1,
            });
        }
    }

    fn do_it(&mut self, fault: RedisFault, redis: &mut Replicated) {
        const LAG: Duration = Duration::from_millis(300);
        match fault {
            RedisFault::Restarted => redis.restart_primary(Disk::Kept),
            RedisFault::Emptied => redis.restart_primary(Disk::Lost),
            RedisFault::Lost => redis.lose_primary(),
            RedisFault::LostBehind => {
                let lag = LAG + self.random.time(LAG);
                redis.lose_primary_behind(lag);
            }
            RedisFault::Stalled => {
                redis.stall_primary();
                self.two_primaries();
            }
            RedisFault::Swapped => {
                redis.swap();
                self.two_primaries();
            }
        }
    }

    /// A Sentinel demotes the old one after ten seconds or more.
    fn two_primaries(&mut self) {
        thread::sleep(self.random.time(Duration::from_secs(5)));
    }
}
