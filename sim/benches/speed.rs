//! How fast worlds run, each figure beside its target.
//!
//! ```sh
//! cargo bench -p switchboard-sim --bench speed
//! ```
//!
//! Small scenarios are the schedules of the swarm's seeds: two to four instances, two to eight
//! clients, 10 to 60 pushes and whatever goes wrong. One thread runs all of them, and its processor
//! time counts: what else a machine does is no matter.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use switchboard_sim::checker::Checker;
use switchboard_sim::report::Report;
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{Trial, checkers, swarm};

/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(5);

fn main() {
    let all = small_scenarios(checkers::all());
    tell(
        "events/s, small scenarios, all checkers",
        all.events,
        500_000.0,
    );
    tell("complete cases/s, all checkers", all.cases, 200.0);
    let cheap = small_scenarios(checkers::cheap());
    tell(
        "events/s, small scenarios, cheap checkers",
        cheap.events,
        1_000_000.0,
    );
    let hour = an_hour_of_idle_clients(1000);
    let seconds = hour.as_secs_f64();
    println!(
        "{:<48} {seconds:>12.2}  target at most {:>10}",
        "s for an hour of 1,000 idle clients", 1
    );
}

fn tell(what: &str, figure: f64, target: f64) {
    println!("{what:<48} {figure:>12.0}  target at least {target:>9.0}");
}

/// What one thread does in a second.
struct Rates {
    events: f64,
    cases: f64,
}

fn small_scenarios(checkers: Vec<Box<dyn Checker>>) -> Rates {
    let trial = Trial::watched_by(checkers);
    let (mut events, mut cases) = (0, 0);
    let begin = processor_time();
    while processor_time() - begin < MEASURED {
        let report = trial.run(&swarm::schedule(cases));
        assert_held(&report);
        events += report.events;
        cases += 1;
    }
    let seconds = (processor_time() - begin).as_secs_f64();
    Rates {
        events: events as f64 / seconds,
        cases: cases as f64 / seconds,
    }
}

fn an_hour_of_idle_clients(clients: u32) -> Duration {
    let mut text = String::from("switchboard-sim 1  seed 1  instances 2  lease 10s\n");
    for client in 0..clients {
        text += &format!(
            "{}ms client c{client} connects anywhere as u{client}\n",
            1000 + client
        );
    }
    text += "3600s expect converged\n";
    let schedule = Schedule::parse(&text).expect("it is a schedule");
    let begin = processor_time();
    assert_held(&Trial::new().run(&schedule));
    processor_time() - begin
}

fn assert_held(report: &Report) {
    assert_eq!(report.violation, None, "seed {}", report.seed);
}

/// What this thread has used of its processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it does not run backwards")
}
