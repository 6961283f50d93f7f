//! `/metrics`: what this process counts, for Prometheus.

mod format;
mod workers;

use std::borrow::Cow;
use std::collections::BTreeMap;
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

use switchboard_core::message::Counts;
use switchboard_core::stats::Times;

pub(crate) use format::Format;

use switchboard_driver::{Answers, Figures, log};
use workers::Workers;

/// Bounds of the latencies' buckets, in seconds.
fn latency_seconds() -> [f64; Times::BOUNDS.len()] {
    Times::BOUNDS.map(|bound| bound.as_secs_f64())
}

/// Bounds of the buckets of members that a push to topics was for.
const MEMBERS: [f64; 8] = [
    0.0,
    1.0,
    10.0,
    100.0,
    1000.0,
    10_000.0,
    100_000.0,
    1_000_000.0,
];

/// What the HTTP service counts by itself; the instances' figures are asked for at each scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    node: String,
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Histogram,
    fan_out: Histogram,
}

impl Metrics {
    /// Nothing counted yet, at a server of this name, whose process started then.
    pub(crate) fn new(node: &str, start: SystemTime) -> Self {
        let mut registry = labelled(node);
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register(
            "switchboard_http_requests",
            "Requests answered by the HTTP API, by route and status",
            requests.clone(),
        );
        let latency = Histogram::new(latency_seconds());
        registry.register_with_unit(
            "switchboard_push_duration",
            "Time from the handing in of a push to its receipt",
            Unit::Seconds,
            latency.clone(),
        );
        let fan_out = Histogram::new(MEMBERS);
        registry.register(
            "switchboard_topic_push_members",
            "Terminals in the receipts of pushes to topics",
            fan_out.clone(),
        );
        registry.register(
            "switchboard_build",
            "The version that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let start = start
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        registry.register_with_unit(
            "process_start_time",
            "When the process started, since the Unix epoch",
            Unit::Seconds,
            ConstGauge::new(start),
        );
        registry.register_collector(Box::new(LogLinesDropped));
        Self {
            node: node.to_owned(),
            registry,
            requests,
            latency,
            fan_out,
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

    /// Counts a push to topics by the terminals of its receipt.
    pub(crate) fn topic_push(&self, counts: &Counts) {
        let members = counts.written + counts.queued + counts.kept + counts.acked + counts.failed();
        self.fan_out.observe(members as f64);
    }

    /// All figures as text.
    pub(crate) fn text(
        &self,
        workers: Answers<Figures>,
        dropped: [(&'static str, u64); 3],
        format: Format,
    ) -> String {
        let mut registry = labelled(&self.node);
        registry.register_collector(Box::new(Answering::of(&workers)));
        registry.register_collector(Box::new(Workers(workers.answers)));
        registry.register_collector(Box::new(Listeners(dropped)));
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &registry))
            .and_then(|()| encode_eof(&mut text));
        written.expect("a string takes all that is written to it");
        format.written(text)
    }
}

/// A registry all of whose samples say which server they are from. Prometheus keeps the label
/// `instance` for itself.
fn labelled(node: &str) -> Registry {
    let node = (Cow::Borrowed("node"), Cow::Owned(node.to_owned()));
    Registry::with_labels([node].into_iter())
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
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// Connections closed unanswered, by listener.
#[derive(Debug)]
struct Listeners([(&'static str, u64); 3]);

impl Collector for Listeners {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = full("connections_dropped");
        let help = "Connections closed unanswered, because their listener had no room for them";
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (listener, count) in self.0 {
            let labels = [("listener", listener)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Which workers have given their figures.
#[derive(Debug)]
struct Answering(BTreeMap<usize, bool>);

impl Answering {
    fn of(asked: &Answers<Figures>) -> Self {
        let answers = asked.answers.iter().map(|figures| (figures.worker, true));
        let silent = asked.silent.iter().map(|silent| (silent.worker, false));
        Self(answers.chain(silent).collect())
    }
}

impl Collector for Answering {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = full("worker_answers");
        let help = "1 if the worker gave its figures within half a second; if not, it is stuck";
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (worker, answers) in &self.0 {
            let labels = [("worker", worker.to_string())];
            ConstGauge::new(u64::from(*answers)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// What the log has lost.
#[derive(Debug)]
struct LogLinesDropped;

impl Collector for LogLinesDropped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = full("log_lines_dropped");
        let help = "Lines of the log that were lost, because nobody read standard error in time";
        let family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        ConstCounter::new(log::lost()).encode(family)
    }
}

fn full(name: &str) -> String {
    format!("switchboard_{name}")
}

#[cfg(test)]
mod tests {
    use switchboard_core::id::InstanceId;

    use super::*;
    use switchboard_driver::SilentInstance;

    #[test]
    fn requests_and_latencies_are_counted() {
        let metrics = Metrics::new("web1:8082", SystemTime::now());
        metrics.request(&Method::POST, "/v1/push", StatusCode::OK);
        metrics.request(&Method::POST, "/v1/push", StatusCode::OK);
        metrics.request(
            &Method::from_bytes(b"BREW").expect("a method"),
            "none",
            StatusCode::NOT_FOUND,
        );
        metrics.push(Duration::from_micros(700));
        let text = metrics.text(
            nobody(),
            [("terminals", 0), ("api", 0), ("peers", 0)],
            Format::OpenMetrics,
        );
        for line in [
            r#"switchboard_http_requests_total{node="web1:8082",method="POST",route="/v1/push",status="200"} 2"#,
            r#"switchboard_http_requests_total{node="web1:8082",method="other",route="none",status="404"} 1"#,
            r#"switchboard_push_duration_seconds_bucket{node="web1:8082",le="0.0005"} 0"#,
            r#"switchboard_push_duration_seconds_bucket{node="web1:8082",le="0.001"} 1"#,
            r#"switchboard_push_duration_seconds_count{node="web1:8082"} 1"#,
            concat!(
                r#"switchboard_build_info{node="web1:8082",version=""#,
                env!("CARGO_PKG_VERSION"),
                r#""} 1"#
            ),
            r#"switchboard_log_lines_dropped_total{node="web1:8082"} 0"#,
            r#"switchboard_connections_dropped_total{node="web1:8082",listener="peers"} 0"#,
            r#"switchboard_worker_answers{node="web1:8082",worker="1"} 0"#,
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
        let older = metrics.text(
            nobody(),
            [("terminals", 0), ("api", 0), ("peers", 0)],
            Format::Prometheus,
        );
        let typed = "# TYPE switchboard_http_requests_total counter";
        assert!(older.contains(typed), "{older}");
    }
    /// One worker that does not answer.
    fn nobody() -> Answers<Figures> {
        Answers {
            answers: Vec::new(),
            silent: vec![SilentInstance {
                worker: 1,
                instance: InstanceId::new(7),
            }],
        }
    }
}
