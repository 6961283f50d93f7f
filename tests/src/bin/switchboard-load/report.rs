//! What a run has shown.

use serde::Serialize;
use serde_json::json;

use crate::spent::SecondsOfParts;

/// What a run has shown. Memory and time are sums over the processes that were named.
#[derive(Serialize)]
pub(crate) struct LoadReport {
    pub(crate) terminals: usize,
    pub(crate) connected_seconds: f64,
    pub(crate) pushes: usize,
    pub(crate) refused: usize,
    pub(crate) degraded: usize,
    pub(crate) pushes_per_second: f64,
    pub(crate) written: usize,
    pub(crate) failed: usize,
    pub(crate) arrived: usize,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) out_of_order: usize,
    pub(crate) receipt_micros: Percentiles,
    pub(crate) delivery_micros: Percentiles,
    pub(crate) server: Option<ServerCost>,
    pub(crate) processor_seconds: SecondsOfParts,
}

#[derive(Serialize)]
pub(crate) struct ServerCost {
    pub(crate) memory_bytes: u64,
    pub(crate) idle_bytes_per_terminal: u64,
    pub(crate) processor_micros_per_push: f64,
}

#[derive(Serialize)]
pub(crate) struct Percentiles {
    p50: u32,
    p90: u32,
    p99: u32,
    max: u32,
}

impl Percentiles {
    pub(crate) fn of(mut all: Vec<u32>) -> Self {
        all.sort_unstable();
        let at = |percent: usize| {
            let last = all.len().saturating_sub(1);
            all.get(last * percent / 100).copied().unwrap_or_default()
        };
        Self {
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max: at(100),
        }
    }
}

impl LoadReport {
    pub(crate) fn is_clean(&self) -> bool {
        self.refused + self.failed + self.lost + self.doubled + self.out_of_order == 0
    }

    pub(crate) fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", json!(self));
            return;
        }
        println!(
            "terminals  {} connected in {:.1} s",
            self.terminals, self.connected_seconds
        );
        println!(
            "pushes     {} at {:.0}/s, {} refused, {} degraded",
            self.pushes, self.pushes_per_second, self.refused, self.degraded
        );
        println!(
            "receipts   {} frames written or queued, {} failed",
            self.written, self.failed
        );
        println!(
            "arrived    {} frames: {} lost, {} doubled, {} out of order",
            self.arrived, self.lost, self.doubled, self.out_of_order
        );
        for (name, p) in [
            ("receipt", &self.receipt_micros),
            ("delivery", &self.delivery_micros),
        ] {
            let Percentiles { p50, p90, p99, max } = p;
            println!("{name:<10} {p50} us median, {p90} us p90, {p99} us p99, {max} us at most");
        }
        if let Some(server) = &self.server {
            println!(
                "servers    {:.1} us of processor time a push, {:.1} KiB an idle terminal, {} MiB in all",
                server.processor_micros_per_push,
                server.idle_bytes_per_terminal as f64 / 1024.0,
                server.memory_bytes >> 20
            );
        }
    }
}
