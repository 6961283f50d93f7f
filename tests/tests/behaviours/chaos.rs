//! Servers and Redis fail all the time while durable pushes flow.

use switchboard_tests::behaviour::{Behaviour, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::chaos::{self, Plan};
use switchboard_tests::matrix::Cell;

pub(crate) const LIST: &[Behaviour] = behaviours![(
    PROCESSES.sentinel().in_mixed_clusters(),
    no_follower_loses_a_record_unless_redis_has_lost_it
)];

/// H32, H38, H49, H57 to H61: servers are killed, Redis is killed, emptied and failed over; each follower gets each
/// record once, or is told what it may have missed. `switchboard-chaos --seed` runs a seed again, and for longer.
fn no_follower_loses_a_record_unless_redis_has_lost_it(cell: Cell) {
    let report = chaos::run(&Plan::short(chaos::seed(), cell.fleet));
    println!("{report}");
    assert!(report.is_clean(), "{report}");
}
