//! `/metrics`: what this process counts, for Prometheus.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use switchboard_core::message::Outcome;
use switchboard_core::stats::{Gauges, Stats};

use crate::{Snapshot, journal};

/// What the answer's `Content-Type` says.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the push latency's buckets, in seconds: from a push between two terminals of one
/// process to the longest deadline.
const LATENCY_SECONDS: [f64; 15] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0,
    30.0,
];

/// What the HTTP service counts by itself; the instances' figures are asked for at each scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Histogram,
}

impl Metrics {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register(
            "switchboard_http_requests",
            "Requests answered by the HTTP API, by route and status",
            requests.clone(),
        );
        let latency = Histogram::new(LATENCY_SECONDS);
        registry.register_with_unit(
            "switchboard_push_duration",
            "Time from the handing in of a push to its receipt",
            Unit::Seconds,
            latency.clone(),
        );
        registry.register(
            "switchboard_build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let start = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        registry.register_with_unit(
            "process_start_time",
            "When the process started, since the Unix epoch",
            Unit::Seconds,
            ConstGauge::new(start),
        );
        Self {
            registry,
            requests,
            latency,
        }
    }

    /// Counts an answered request. The route is a name of ours, never the path.
    pub(crate) fn request(&self, method: &Method, route: &'static str, status: StatusCode) {
        let labels = RequestLabels {
            method: known_method(method),
            route,
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a push that has its receipt.
    pub(crate) fn push(&self, took: Duration) {
        self.latency.observe(took.as_secs_f64());
    }

    /// All figures as text.
    pub(crate) fn text(&self, snapshots: Vec<Snapshot>) -> String {
        let mut instances = Registry::default();
        instances.register_collector(Box::new(Instances(snapshots)));
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &instances))
            .and_then(|()| encode_eof(&mut text));
        written.expect("a string takes all that is written to it");
        text
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: u16,
}

/// A stranger chooses the method: there is a label for each that we know, and one for the rest.
pub(super) fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

#[derive(Debug)]
struct Instances(Vec<Snapshot>);

struct CounterRow(&'static str, &'static str, fn(&Stats) -> u64);

struct GaugeRow(&'static str, &'static str, fn(&Gauges) -> u64);

const COUNTERS: [CounterRow; 27] = [
    CounterRow("terminals_accepted", "Terminals accepted", |s| s.accepted),
    CounterRow("terminals_refused", "Terminals refused", |s| s.refused),
    CounterRow(
        "terminals_greeted_degraded",
        "Terminals greeted before their row was written",
        |s| s.greeted_degraded,
    ),
    CounterRow(
        "terminals_gone",
        "Terminals whose connection has ended",
        |s| s.forgotten,
    ),
    CounterRow(
        "terminal_ping_timeouts",
        "Terminals that sent nothing after a ping",
        |s| s.ping_timeouts,
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
        "Peers refused: wrong version, wrong secret, not of the protocol",
        |s| s.peers_refused,
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

const GAUGES: [GaugeRow; 7] = [
    GaugeRow("connections", "Connections held", |g| g.connections as u64),
    GaugeRow("users", "Users with connections here", |g| g.users as u64),
    GaugeRow(
        "pushes_pending",
        "Pushes that wait for their receipt",
        |g| g.pushes as u64,
    ),
    GaugeRow("links", "Open links to other instances", |g| g.links as u64),
    GaugeRow("instances_seen", "Instances in this one's view", |g| {
        g.instances as u64
    }),
    GaugeRow("epoch", "The instance's epoch", |g| g.epoch),
    GaugeRow(
        "directory_up",
        "1 if the directory works and the lease is held",
        |g| u64::from(g.directory),
    ),
];

const OUTCOMES: [Outcome; 5] = [
    Outcome::Written,
    Outcome::Queued,
    Outcome::Gone,
    Outcome::Overflow,
    Outcome::Unreachable,
];

impl Collector for Instances {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for CounterRow(name, help, value) in &COUNTERS {
            self.counter(&mut encoder, name, help, *value)?;
        }
        for GaugeRow(name, help, value) in &GAUGES {
            self.gauge(&mut encoder, name, help, |snapshot| value(&snapshot.gauges))?;
        }
        let ready = "1 if a balancer should send terminals here";
        self.gauge(&mut encoder, "ready", ready, |snapshot| {
            u64::from(snapshot.ready)
        })?;
        self.outcomes(&mut encoder)?;
        log_lines_dropped(&mut encoder)
    }
}

impl Instances {
    fn counter(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: fn(&Stats) -> u64,
    ) -> fmt::Result {
        let name = full(name);
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for snapshot in &self.0 {
            let labels = [("instance", snapshot.instance.to_string())];
            ConstCounter::new(value(&snapshot.stats)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&Snapshot) -> u64,
    ) -> fmt::Result {
        let name = full(name);
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for snapshot in &self.0 {
            let labels = [("instance", snapshot.instance.to_string())];
            ConstGauge::new(value(snapshot)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn outcomes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = full("push_terminals");
        let help = "Terminals in receipts, by outcome";
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for snapshot in &self.0 {
            for outcome in OUTCOMES {
                let labels = [
                    ("instance", snapshot.instance.to_string()),
                    ("outcome", outcome.name().to_owned()),
                ];
                let counts = &snapshot.stats.outcomes;
                let count = match outcome {
                    Outcome::Written => counts.written,
                    Outcome::Queued => counts.queued,
                    Outcome::Gone => counts.gone,
                    Outcome::Overflow => counts.overflow,
                    Outcome::Unreachable => counts.unreachable,
                };
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn log_lines_dropped(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let name = full("log_lines_dropped");
    let help = "Lines of the log that were lost, because nobody read standard error in time";
    let family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
    ConstCounter::new(journal::dropped()).encode(family)
}

fn full(name: &str) -> String {
    format!("switchboard_{name}")
}

#[cfg(test)]
mod tests {
    use switchboard_core::id::InstanceId;
    use switchboard_core::message::Counts;

    use super::*;

    /// H54: whatever an instance counts can be seen from outside.
    #[test]
    fn every_figure_of_an_instance_is_there() {
        let snapshot = snapshot();
        let text = Metrics::new().text(vec![snapshot]);
        let values: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(r#"instance="000000000000000a""#))
            .filter_map(|line| line.rsplit(' ').next())
            .collect();
        for number in 101..=138 {
            let found = values
                .iter()
                .filter(|value| **value == number.to_string())
                .count();
            assert_eq!(found, 1, "figure {number}:\n{text}");
        }
        assert!(text.contains("# TYPE switchboard_pushes counter"));
        assert!(text.contains(r#"switchboard_pushes_total{instance="000000000000000a"} 109"#));
        assert!(text.contains(r#"switchboard_directory_up{instance="000000000000000a"} 1"#));
        assert!(text.contains(r#"switchboard_ready{instance="000000000000000a"} 0"#));
    }

    #[test]
    fn requests_and_latencies_are_counted() {
        let metrics = Metrics::new();
        metrics.request(&Method::POST, "/v1/push", StatusCode::OK);
        metrics.request(&Method::POST, "/v1/push", StatusCode::OK);
        metrics.request(
            &Method::from_bytes(b"BREW").expect("a method"),
            "none",
            StatusCode::NOT_FOUND,
        );
        metrics.push(Duration::from_micros(700));
        let text = metrics.text(Vec::new());
        for line in [
            r#"switchboard_http_requests_total{method="POST",route="/v1/push",status="200"} 2"#,
            r#"switchboard_http_requests_total{method="other",route="none",status="404"} 1"#,
            r#"switchboard_push_duration_seconds_bucket{le="0.0005"} 0"#,
            r#"switchboard_push_duration_seconds_bucket{le="0.001"} 1"#,
            "switchboard_push_duration_seconds_count 1",
            concat!(
                r#"switchboard_build_info{version=""#,
                env!("CARGO_PKG_VERSION"),
                r#""} 1"#
            ),
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in:\n{text}"
            );
        }
        let described = text
            .lines()
            .filter(|line| line.starts_with("# HELP"))
            .count();
        let typed = text
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .count();
        assert_eq!(described, typed);
    }

    /// Figures that differ from each other: 101 to 138.
    fn snapshot() -> Snapshot {
        let mut number = 100;
        let mut next = || {
            number += 1;
            number
        };
        let stats = Stats {
            accepted: next(),
            refused: next(),
            greeted_degraded: next(),
            forgotten: next(),
            ping_timeouts: next(),
            messages: next(),
            frames: next(),
            overflows: next(),
            pushes: next(),
            pushes_refused: next(),
            degraded: next(),
            outcomes: Counts {
                written: next(),
                queued: next(),
                gone: next(),
                overflow: next(),
                unreachable: next(),
            },
            repeats: next(),
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
            strangers_ended: next(),
            stale_events: next(),
            bugs: next(),
        };
        let gauges = Gauges {
            connections: next() as usize,
            users: next() as usize,
            pushes: next() as usize,
            links: next() as usize,
            instances: next() as usize,
            epoch: next(),
            directory: true,
        };
        assert_eq!(number, 138, "the figures of a test that knows them all");
        Snapshot {
            instance: InstanceId::new(10),
            stats,
            gauges,
            ready: false,
        }
    }
}
