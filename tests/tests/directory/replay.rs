//! Random sequences of operations, replayed in memory and on Redis.

use std::cell::RefCell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use switchboard_core::directory::{Lease, LeaseState, Load, Operation, Row};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, UserId};
use switchboard_core::time::WallTime;

use crate::pair::{Pair, TICK};
use crate::{connection, user};

/// H28, H29, H30, H31: what holds for the directory in memory, on which everything else is tested,
/// holds for Redis.
#[test]
fn redis_and_memory_answer_the_same() {
    let pair = RefCell::new(Pair::start());
    let config = Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..120), |steps| {
            let pair = &mut *pair.borrow_mut();
            pair.wipe();
            for step in steps {
                match step {
                    Step::Do(operation) => drop(pair.execute(&operation)),
                    Step::Pass(span) => pair.pass(span),
                }
            }
            for name in USERS {
                let _ = pair.execute(&Operation::Lookup { user: user(name) });
            }
            for number in 0..3 {
                let instance = InstanceId::new(number);
                let _ = pair.execute(&Operation::ReadLease { instance });
            }
            let _ = pair.execute(&Operation::View);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Few of everything, so that operations meet.
const USERS: [&str; 2] = ["ann", "böb {1} %2F"];

#[derive(Clone, Debug)]
enum Step {
    Do(Operation),
    Pass(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => operation().prop_map(Step::Do),
        1 => select(vec![TICK, TICK * 3, TICK * 12]).prop_map(Step::Pass),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (users(), connections(), rows()).prop_map(|(user, connection, row)| Operation::Register {
            user, connection, row
        }),
        2 => (users(), connections(), instances()).prop_map(|(user, connection, instance)| Operation::Unregister {
            user, connection, instance
        }),
        2 => (users(), connections(), rows()).prop_map(|(user, connection, row)| Operation::RemoveRow {
            user, connection, row
        }),
        2 => users().prop_map(|user| Operation::Lookup { user }),
        1 => Just(Operation::View),
        3 => (instances(), leases(), loads()).prop_map(|(instance, lease, load)| Operation::Claim {
            instance, lease, load
        }),
        4 => (instances(), leases(), leases(), loads()).prop_map(|(instance, expected, lease, load)| Operation::Renew {
            instance, expected, lease, load
        }),
        2 => (instances(), leases()).prop_map(|(instance, expected)| Operation::Release {
            instance, expected
        }),
        1 => instances().prop_map(|instance| Operation::ReadLease { instance }),
    ]
}

fn users() -> impl Strategy<Value = UserId> {
    select(&USERS).prop_map(user)
}

fn connections() -> impl Strategy<Value = ConnectionId> {
    (0..3_u128).prop_map(connection)
}

fn instances() -> impl Strategy<Value = InstanceId> {
    (0..3_u64).prop_map(InstanceId::new)
}

fn epochs() -> impl Strategy<Value = Epoch> {
    (1..4_u64).prop_map(Epoch::new)
}

fn rows() -> impl Strategy<Value = Row> {
    (instances(), epochs(), select(vec![7, u64::MAX])).prop_map(|(instance, epoch, connected)| {
        Row {
            instance,
            epoch,
            connected: WallTime::from_millis(connected),
        }
    })
}

fn leases() -> impl Strategy<Value = Lease> {
    let state = select(vec![
        LeaseState::Up,
        LeaseState::Settling,
        LeaseState::Draining,
    ]);
    (epochs(), state).prop_map(|(epoch, state)| Lease {
        epoch,
        floor: Epoch::new(epoch.get() - 1),
        beat: 7,
        state,
        address: "[::1]:7400".to_owned(),
    })
}

fn loads() -> impl Strategy<Value = Load> {
    (0..9_u64, any::<u64>()).prop_map(|(connections, pushes)| Load {
        connections,
        pushes,
    })
}
