//! The figures of this process's workers.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Unit;
use switchboard_core::message::Outcome;
use switchboard_core::stats::{Gauges, Stats};

use super::{full, latency_seconds};
use switchboard_driver::Figures;

/// The workers of this process.
#[derive(Debug)]
pub(super) struct Workers(pub(super) Vec<Figures>);

struct CounterRow(&'static str, &'static str, fn(&Stats) -> u64);

struct GaugeRow(&'static str, &'static str, fn(&Gauges) -> u64);

const COUNTERS: [CounterRow; 47] = [
    CounterRow("terminals_accepted", "Terminals accepted", |s| s.accepted),
    CounterRow(
        "terminals_greeted_degraded",
        "Terminals greeted before their row was written",
        |s| s.greeted_degraded,
    ),
    CounterRow(
        "topic_joins",
        "Memberships in topics that have begun",
        |s| s.topic_joins,
    ),
    CounterRow(
        "topic_leaves",
        "Memberships in topics that have ended",
        |s| s.topic_leaves,
    ),
    CounterRow(
        "topic_joins_refused",
        "Joins of topics that were refused: not allowed, too many, too fast, or of a full topic",
        |s| s.topic_joins_refused,
    ),
    CounterRow(
        "presence_readings",
        "Readings of the members of topics that are watched",
        |s| s.presence_readings,
    ),
    CounterRow(
        "presence_readings_late",
        "Readings of the members of topics that began late: more are watched than `presence_rate` is for",
        |s| s.presence_readings_late,
    ),
    CounterRow("terminal_messages", "Messages from terminals", |s| {
        s.messages
    }),
    CounterRow("terminal_frames", "Frames given to sockets", |s| s.frames),
    CounterRow(
        "terminal_overflows",
        "Frames lost to full queues of slow terminals",
        |s| s.overflows,
    ),
    CounterRow("pushes", "Pushes accepted", |s| s.pushes),
    CounterRow("pushes_refused", "Pushes refused", |s| s.pushes_refused),
    CounterRow("pushes_degraded", "Receipts that said degraded", |s| {
        s.degraded
    }),
    CounterRow(
        "push_repeats",
        "Frames not written because the push had reached the terminal before",
        |s| s.repeats,
    ),
    CounterRow("log_appended", "Records appended to logs", |s| s.appended),
    CounterRow(
        "log_appended_bytes",
        "Bytes of the payloads of records appended to logs: what they keep is what was appended in their time, at most",
        |s| s.appended_bytes,
    ),
    CounterRow(
        "log_append_repeats",
        "Appends of pushes that the log knew already",
        |s| s.append_repeats,
    ),
    CounterRow(
        "log_replicas_asked",
        "Records of which a replica of the directory was asked for",
        |s| s.replicas_asked,
    ),
    CounterRow(
        "log_replicated",
        "Records that a replica of the directory had before their deadline",
        |s| s.replicated,
    ),
    CounterRow("log_reads", "Reads of logs for followers", |s| s.log_reads),
    CounterRow("log_replays", "Reads of logs that found records", |s| {
        s.log_replays
    }),
    CounterRow(
        "log_fell_behind",
        "Times that a follower fell behind, because its queue was full",
        |s| s.log_fell_behind,
    ),
    CounterRow(
        "log_missed",
        "Logs that were read because a record of them was not delivered",
        |s| s.log_missed,
    ),
    CounterRow("log_replayed", "Records read for followers", |s| {
        s.log_replayed
    }),
    CounterRow(
        "log_repeats",
        "Records that came to a follower which had them",
        |s| s.log_repeats,
    ),
    CounterRow("log_acked", "Records that followers have confirmed", |s| {
        s.log_acked
    }),
    CounterRow(
        "log_acks_dropped",
        "Confirmations of what was not sent on the connection, is forgotten, or was confirmed before",
        |s| s.log_acks_dropped,
    ),
    CounterRow(
        "log_reads_failed",
        "Reads of logs that were not answered, or refused",
        |s| s.log_reads_failed,
    ),
    CounterRow(
        "log_steps_back",
        "Followers that went on from a position they had left",
        |s| s.log_steps_back,
    ),
    CounterRow(
        "log_checks",
        "Heads of logs compared with where followers stand",
        |s| s.log_checks,
    ),
    CounterRow(
        "log_check_misses",
        "Followers that a check found elsewhere than at the head of their log",
        |s| s.log_check_misses,
    ),
    CounterRow("directory_trips", "Round trips to the directory", |s| {
        s.trips
    }),
    CounterRow(
        "directory_operations",
        "Operations in round trips to the directory",
        |s| s.operations,
    ),
    CounterRow(
        "directory_timeouts",
        "Round trips to the directory that were given up",
        |s| s.trips_timed_out,
    ),
    CounterRow(
        "directory_late_answers",
        "Answers of the directory that came after their round trip was given up",
        |s| s.late_answers,
    ),
    CounterRow(
        "directory_refusals",
        "Operations that the directory refused",
        |s| s.directory_refusals,
    ),
    CounterRow(
        "directory_malformed_entries",
        "Entries of the directory that could not be understood",
        |s| s.malformed_entries,
    ),
    CounterRow(
        "directory_rows_removed",
        "Rows of other instances that were found dead or gone, and removed",
        |s| s.rows_removed,
    ),
    CounterRow(
        "settlings",
        "Times that the instance wrote all its rows again",
        |s| s.settlings,
    ),
    CounterRow("links_opened", "Links to other instances opened", |s| {
        s.links_opened
    }),
    CounterRow(
        "links_failed",
        "Links that broke or could not be opened",
        |s| s.links_failed,
    ),
    CounterRow(
        "link_overflows",
        "Messages to other instances that found no room in the queue of their link",
        |s| s.link_overflows,
    ),
    CounterRow(
        "peers_refused",
        "Peers refused, or that refused this one: wrong version, wrong secret, not of the protocol",
        |s| s.peers_refused,
    ),
    CounterRow(
        "peers_differ",
        "Links opened to other instances that have other settings; the log names them",
        |s| s.peers_differ,
    ),
    CounterRow(
        "strangers_ended",
        "Connections to the peers' port that had proven nothing and gave way to newer ones",
        |s| s.strangers_ended,
    ),
    CounterRow(
        "stale_events",
        "Events for keys that were out of date; links that end leave some",
        |s| s.stale_events,
    ),
    CounterRow(
        "bugs",
        "States that only a bug can reach: an alert on any increase is right",
        |s| s.bugs,
    ),
];

const GAUGES: [GaugeRow; 13] = [
    GaugeRow(
        "connections",
        "Connections at this worker, also those whose end has begun",
        |g| g.connections as u64,
    ),
    GaugeRow(
        "connections_authenticating",
        "Connections among them whose terminals have not said who they are",
        |g| g.authenticating as u64,
    ),
    GaugeRow(
        "users",
        "Users with a connection at this worker; who is connected at several counts at each of them",
        |g| g.users as u64,
    ),
    GaugeRow("topics", "Topics with members at this worker", |g| {
        g.topics as u64
    }),
    GaugeRow(
        "topic_members",
        "Memberships in topics of terminals at this worker",
        |g| g.members as u64,
    ),
    GaugeRow(
        "pushes_pending",
        "Pushes that wait for their receipt",
        |g| g.pushes as u64,
    ),
    GaugeRow("links", "Open links to other instances", |g| g.links as u64),
    GaugeRow("instances_seen", "Instances in this one's view", |g| {
        g.instances as u64
    }),
    GaugeRow("followers", "Terminals that follow their log", |g| {
        g.followers as u64
    }),
    GaugeRow(
        "followers_reading",
        "Terminals whose log is being read for them, or waits for that",
        |g| g.followers_reading as u64,
    ),
    GaugeRow(
        "log_kept_bytes",
        "Bytes of the payloads of records appended by this worker whose retention is not over: what logs keep of them, estimated",
        |g| g.log_kept_bytes,
    ),
    GaugeRow("epoch", "The instance's epoch", |g| g.epoch),
    GaugeRow(
        "directory_up",
        "1 if the directory works and the lease is held",
        |g| u64::from(g.directory),
    ),
];

const OUTCOMES: [Outcome; 8] = [
    Outcome::Written,
    Outcome::Queued,
    Outcome::Kept,
    Outcome::Gone,
    Outcome::Overflow,
    Outcome::Unreachable,
    Outcome::TooLarge,
    Outcome::Acked,
];

impl Collector for Workers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for CounterRow(name, help, value) in &COUNTERS {
            self.family(&mut encoder, name, help, MetricType::Counter, |worker| {
                vec![([], value(&worker.snapshot.stats))]
            })?;
        }
        for GaugeRow(name, help, value) in &GAUGES {
            self.family(&mut encoder, name, help, MetricType::Gauge, |worker| {
                vec![([], value(&worker.snapshot.gauges))]
            })?;
        }
        let ready = "1 if a balancer should send terminals here";
        self.family(&mut encoder, "ready", ready, MetricType::Gauge, |worker| {
            vec![([], u64::from(worker.snapshot.ready))]
        })?;
        self.times(&mut encoder)?;
        self.terminals(&mut encoder)?;
        self.levels(&mut encoder)?;
        self.ids(&mut encoder)
    }
}

impl Workers {
    /// Terminals by what became of them: their handshakes, their connections, what was pushed to them.
    fn terminals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let refused = "Handshakes refused, by the code of the answer, or closed for being late";
        let kind = MetricType::Counter;
        self.family(encoder, "terminals_refused", refused, kind, |worker| {
            let counts = worker.refused.iter();
            counts
                .map(|&(code, count)| ([("code", code)], count))
                .collect()
        })?;
        let there = "Terminals by transport, those included whose handshake or end is not complete";
        let gauge = MetricType::Gauge;
        self.family(encoder, "terminals", there, gauge, |worker| {
            let counts = worker.snapshot.transports.iter();
            counts
                .map(|&(transport, count)| ([("transport", transport)], count))
                .collect()
        })?;
        let gone = "Terminals whose socket has gone, by reason";
        self.family(encoder, "terminals_gone", gone, kind, |worker| {
            let counts = worker.snapshot.stats.gone.iter();
            counts
                .map(|(ending, count)| ([("reason", ending.name())], count))
                .collect()
        })?;
        let gaps = "Followers that went on with something missing, by reason";
        self.family(encoder, "log_gaps", gaps, kind, |worker| {
            let gaps = worker.snapshot.stats.log_gaps.iter();
            gaps.map(|(reason, count)| ([("reason", reason.name())], count))
                .collect()
        })?;
        let outcomes = "Terminals in receipts, by outcome";
        self.family(encoder, "push_terminals", outcomes, kind, |worker| {
            let counts = &worker.snapshot.stats.outcomes;
            let count = |outcome| match outcome {
                Outcome::Written => counts.written,
                Outcome::Queued => counts.queued,
                Outcome::Kept => counts.kept,
                Outcome::Gone => counts.gone,
                Outcome::Overflow => counts.overflow,
                Outcome::Unreachable => counts.unreachable,
                Outcome::TooLarge => counts.too_large,
                Outcome::Acked => counts.acked,
            };
            OUTCOMES
                .map(|outcome| ([("outcome", outcome.name())], count(outcome)))
                .to_vec()
        })
    }

    /// What takes time: in seconds.
    fn times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = full("follower_lag");
        let help = "For how long the log has been read for a follower, or had to be, of whom that is so for the longest time";
        let mut family =
            encoder.encode_descriptor(&name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for worker in &self.0 {
            let lag = worker.snapshot.gauges.follower_lag.as_secs_f64();
            ConstGauge::new(lag).encode(family.encode_family(&labels(worker, []))?)?;
        }
        let name = full("log_append_duration");
        let help = "Time from the handing in of records until they were appended to their logs";
        let mut family =
            encoder.encode_descriptor(&name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for worker in &self.0 {
            let times = &worker.snapshot.stats.append_times;
            let bounds = latency_seconds().into_iter().chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(times.counts).collect();
            let (sum, count) = (times.micros as f64 / 1e6, times.counts.iter().sum());
            let labels = labels(worker, []);
            let mut sample = family.encode_family(&labels)?;
            sample.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn levels(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let used = "What a table or queue holds, by the setting that limits it; of many queues, the fullest";
        let limit = "What a table or queue may hold";
        let kind = MetricType::Gauge;
        self.family(encoder, "level", used, kind, |worker| {
            let levels = worker.levels.iter();
            levels
                .map(|level| ([("setting", level.setting)], level.used as u64))
                .collect()
        })?;
        self.family(encoder, "level_limit", limit, kind, |worker| {
            let levels = worker.levels.iter();
            levels
                .map(|level| ([("setting", level.setting)], level.limit as u64))
                .collect()
        })
    }

    /// The ids under which log and API know the workers. They are new at each start.
    fn ids(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = full("instance");
        let help = "The instance id of a worker";
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Info)?;
        for worker in &self.0 {
            let id = Info::new([("id", worker.snapshot.instance.to_string())]);
            id.encode(family.encode_family(&labels(worker, []))?)?;
        }
        Ok(())
    }

    /// One family, with what each worker has in it.
    fn family<const N: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl Fn(&Figures) -> Vec<([(&'static str, &'static str); N], u64)>,
    ) -> fmt::Result {
        let name = full(name);
        let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
        for worker in &self.0 {
            for (more, value) in samples(worker) {
                let labels = labels(worker, more);
                let sample = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(value).encode(sample)?,
                    _ => ConstGauge::new(value).encode(sample)?,
                }
            }
        }
        Ok(())
    }
}

/// The labels of one worker's sample.
fn labels<const N: usize>(
    worker: &Figures,
    more: [(&'static str, &'static str); N],
) -> Vec<(&'static str, String)> {
    let worker = [("worker", worker.worker.to_string())];
    let more = more.map(|(name, value)| (name, value.to_owned()));
    worker.into_iter().chain(more).collect()
}

#[cfg(test)]
mod tests {
    use switchboard_core::id::InstanceId;
    use switchboard_core::message::Counts;
    use switchboard_core::stats::{Gaps, Gone, Level, Times};

    use std::time::{Duration, SystemTime};

    use super::super::{Format, Metrics};
    use super::*;
    use switchboard_driver::{Answers, Snapshot};

    /// H54: whatever an instance counts can be seen from outside.
    #[test]
    fn every_figure_of_a_worker_is_there() {
        let text = Metrics::new("web1:8082", SystemTime::now()).text(
            Answers {
                answers: vec![figures()],
                silent: Vec::new(),
            },
            [("terminals", 0), ("api", 0), ("peers", 0)],
            Format::OpenMetrics,
        );
        let labels = r#"node="web1:8082",worker="3""#;
        let values: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next())
            .collect();
        for number in 101..=199 {
            let found = values
                .iter()
                .filter(|value| **value == number.to_string())
                .count();
            assert_eq!(found, 1, "figure {number}:\n{text}");
        }
        let bucket = |le: &str, count: u64| {
            let name = "switchboard_log_append_duration_seconds_bucket";
            format!(r#"{name}{{node="web1:8082",le="{le}",worker="3"}} {count}"#)
        };
        for line in [
            "# TYPE switchboard_pushes counter".to_owned(),
            format!("switchboard_directory_up{{{labels}}} 1"),
            format!("switchboard_ready{{{labels}}} 0"),
            concat!(
                r#"switchboard_instance_info{node="web1:8082","#,
                r#"id="000000000000000a",worker="3"} 1"#
            )
            .to_owned(),
            format!(r#"switchboard_terminals_gone_total{{{labels},reason="not_opened"}} 108"#),
            format!(r#"switchboard_terminals_refused_total{{{labels},code="no_token"}} 199"#),
            format!(r#"switchboard_terminals{{{labels},transport="event_stream"}} 2002"#),
            format!(r#"switchboard_terminals{{{labels},transport="http_stream"}} 2003"#),
            format!("switchboard_follower_lag_seconds{{{labels}}} 2.5"),
            "# TYPE switchboard_log_append_duration_seconds histogram".to_owned(),
            format!("switchboard_log_append_duration_seconds_sum{{{labels}}} 1.5"),
            format!("switchboard_log_append_duration_seconds_count{{{labels}}} 120000"),
            bucket("0.0005", 3000),
            bucket("30.0", 105_000),
            bucket("+Inf", 120_000),
            format!(r#"switchboard_level_limit{{{labels},setting="connections"}} 1188"#),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }

    /// Figures that differ from each other: 101 to 199.
    fn figures() -> Figures {
        let mut number = 100;
        let mut next = || {
            number += 1;
            number
        };
        let stats = Stats {
            accepted: next(),
            greeted_degraded: next(),
            topic_joins: next(),
            topic_leaves: next(),
            topic_joins_refused: next(),
            presence_readings: next(),
            presence_readings_late: next(),
            gone: Gone(std::array::from_fn(|_| next())),
            messages: next(),
            frames: next(),
            overflows: next(),
            pushes: next(),
            pushes_refused: next(),
            degraded: next(),
            outcomes: Counts {
                written: next(),
                queued: next(),
                kept: next(),
                gone: next(),
                overflow: next(),
                unreachable: next(),
                too_large: next(),
                acked: next(),
            },
            repeats: next(),
            appended: next(),
            appended_bytes: next(),
            append_times: Times {
                counts: std::array::from_fn(|bound| 1000 * bound as u64),
                micros: 1_500_000,
            },
            append_repeats: next(),
            replicas_asked: next(),
            replicated: next(),
            log_reads: next(),
            log_replays: next(),
            log_fell_behind: next(),
            log_missed: next(),
            log_replayed: next(),
            log_repeats: next(),
            log_acked: next(),
            log_acks_dropped: next(),
            log_reads_failed: next(),
            log_gaps: Gaps(std::array::from_fn(|_| next())),
            log_steps_back: next(),
            log_checks: next(),
            log_check_misses: next(),
            trips: next(),
            operations: next(),
            trips_timed_out: next(),
            late_answers: next(),
            directory_refusals: next(),
            malformed_entries: next(),
            rows_removed: next(),
            settlings: next(),
            links_opened: next(),
            links_failed: next(),
            link_overflows: next(),
            peers_refused: next(),
            peers_differ: next(),
            strangers_ended: next(),
            stale_events: next(),
            bugs: next(),
        };
        let gauges = Gauges {
            connections: next() as usize,
            authenticating: next() as usize,
            users: next() as usize,
            topics: next() as usize,
            members: next() as usize,
            pushes: next() as usize,
            links: next() as usize,
            instances: next() as usize,
            followers: next() as usize,
            followers_reading: next() as usize,
            follower_lag: Duration::from_millis(2500),
            log_kept_bytes: next(),
            epoch: next(),
            directory: true,
        };
        let levels = std::array::from_fn(|_| {
            let (setting, used) = ("connections", next() as usize);
            let limit = 1000 + used;
            Level {
                setting,
                used,
                limit,
            }
        });
        let refused = vec![("no_token", next())];
        assert_eq!(number, 199, "the figures of a test that knows them all");
        Figures {
            worker: 3,
            snapshot: Snapshot {
                instance: InstanceId::new(10),
                stats,
                gauges,
                ready: false,
                transports: [
                    ("websocket", 2001),
                    ("event_stream", 2002),
                    ("http_stream", 2003),
                ],
            },
            levels,
            refused,
        }
    }
}
