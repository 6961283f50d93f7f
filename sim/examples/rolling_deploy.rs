//! A rolling deploy of five instances under load, with settings and a checker of one's own.
//!
//! ```sh
//! cargo run --release -p switchboard-sim --example rolling_deploy
//! ```

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_sim::Scenario;
use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::Observed;

/// No push fails to reach an instance that holds a terminal: an instance that leaves says so.
#[derive(Clone, Debug)]
struct NobodyUnreachable;

impl Checker for NobodyUnreachable {
    fn name(&self) -> &'static str {
        "nobody-unreachable"
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        if let Observed::Answered { receipt, .. } = event {
            match receipt.counts.unreachable {
                0 => watch.held(),
                missed => watch.violated(format!("{missed} terminals were out of reach")),
            }
        }
    }
}

fn main() {
    let config = Config {
        lease: Duration::from_secs(6),
        lease_renewal: Duration::from_secs(2),
        ..Config::default()
    };
    // One instance after the other says goodbye to its terminals within five seconds, ends within
    // ten, and is started again.
    let deploy = "6s  deploy 1s 4s 10s";
    let report = Scenario::new(42)
        .instances(5, config)
        .users(50)
        .terminals(1..=3)
        .pushes_per_second(50.0)
        .lasting(Duration::from_secs(65))
        .script(deploy)
        .check(NobodyUnreachable)
        .run()
        .assert_ok();
    println!("{} events, hash {:016x}", report.events, report.hash);
}
