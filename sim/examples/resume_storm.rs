//! Thousands of terminals return at once, each with a position of before all that it has missed, while pushes flow.
//!
//! ```sh
//! cargo run --release -p switchboard-sim --example resume_storm -- 10000
//! ```

use std::time::Duration;
use switchboard_core::message::PushedBy;

use switchboard_sim::World;
use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::Observed;
use switchboard_sim::schedule::{Act, Brings, Durability, Host, HowClosed, Item, Schedule, To};

/// Terminals of each user.
const OF_A_USER: usize = 10;
/// Records that each of them has missed.
const MISSED: usize = 20;
/// They return at this moment, within so long.
const RETURN: Duration = Duration::from_secs(60);
const WITHIN: Duration = Duration::from_millis(1);
/// Pushes flow for so long from then on, one in this time.
const FLOW: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_millis(2);

/// Counts what terminals are told of the records that they had missed.
#[derive(Clone, Debug, Default)]
struct RecordsTold {
    records: usize,
}

impl Checker for RecordsTold {
    fn name(&self) -> &'static str {
        "told"
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        if let Observed::Seen {
            position: Some(_), ..
        } = event
        {
            self.records += 1;
            watch.held();
        }
    }
}

fn main() {
    let terminals = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let terminals = terminals.unwrap_or(if cfg!(debug_assertions) { 100 } else { 10_000 });
    let mut checkers = switchboard_sim::checkers::all();
    checkers.push(Box::new(RecordsTold::default()));
    let mut world = World::watched(storm(terminals), checkers);
    let (mut reads, mut held, mut settled) = (0, 0, None);
    let mut moment = RETURN;
    while world.run_until(moment) && moment < RETURN + FLOW {
        moment += Duration::from_millis(1);
        let tables = world.scene().hosts().filter_map(|host| host.tables());
        let (now_reading, now_held) =
            tables.fold((0, 0), |sum, one| (sum.0 + one.reads, sum.1 + one.held));
        reads = reads.max(now_reading);
        held = held.max(now_held);
        let following: usize = (world.scene().hosts())
            .filter_map(|host| host.tables())
            .map(|tables| tables.followers)
            .sum();
        if settled.is_none() && following == terminals && now_reading == 0 {
            settled = Some(moment - RETURN);
        }
    }
    let report = world.run();
    assert_eq!(report.violation, None);
    let settled = settled.expect("all have returned, and nobody waits for a read");
    println!(
        "{terminals} terminals returned: at most {reads} reads waited or were under way, {held} records were held back; \
         nobody waited for a read {settled:?} after they began to return; {} events, hash {:016x}",
        report.events, report.hash
    );
}

/// Terminals follow, and leave; their users are pushed to; and they return.
fn storm(terminals: usize) -> Schedule {
    let users = terminals.div_ceil(OF_A_USER);
    let mut items = Vec::new();
    let mut put = |at: Duration, act: Act| items.push(Item { at, act });
    let part = |of: Duration, nth: usize, all: usize| of.mul_f64(nth as f64 / all as f64);
    let ms = Duration::from_millis;
    for nth in 0..terminals {
        let client = format!("c{nth}");
        let connect = Act::Connect {
            client: client.clone(),
            at: Some(Host(nth % 2)),
            user: format!("u{}", nth / OF_A_USER),
            token: None,
        };
        let follow = Act::Follow {
            client: client.clone(),
            history: 0,
            brings: Brings::Positions(1),
        };
        let how = HowClosed::Sudden;
        put(ms(500), follow);
        put(ms(1_000) + part(ms(9_000), nth, terminals), connect.clone());
        put(ms(15_000), Act::Close { client, how });
        put(RETURN + part(WITHIN, nth, terminals), connect);
    }
    let mut push = |at: Duration, nth: usize| {
        let act = Act::Push {
            at: Host(nth % 2),
            to: To::User(format!("u{}", nth % users)),
            name: format!("m{nth}"),
            durable: Durability::Written,
            by: PushedBy::Application,
            within: None,
        };
        put(at, act);
    };
    let missed = users * MISSED;
    for nth in 0..missed {
        push(ms(20_000) + part(ms(30_000), nth, missed), nth);
    }
    let mut at = RETURN;
    let mut nth = missed;
    while at < RETURN + FLOW {
        push(at, nth);
        nth += 1;
        at += EVERY;
    }
    let mut schedule =
        Schedule::parse("switchboard-sim 1  seed 1  instances 2  lease 10s  log-check 10s")
            .expect("a line of settings");
    schedule.items = items;
    schedule
}
