//! Time that passes, really or not, and clocks that go back.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::directory::{
    DirectorySettings, Lease, LeaseState, Load, Operation, OperationResult, Reply, Row,
};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, UserId};
use switchboard_core::key::Key;
use switchboard_core::time::{Instant, WallTime};
use switchboard_sim::redis::Redis;
use switchboard_sim::schedule::ClockStep;
use switchboard_test_redis::{Clock, RedisServer, Scripts, Wire, same};

use crate::both::Both;
use crate::real::outcome;
use crate::step::{ROW_EXPIRY, Step, Trip};

/// Short enough to wait for.
const SPAN: Duration = Duration::from_millis(40);

/// By the server's own clock, which is asked: nothing here knows how long anything takes.
#[test]
fn leases_and_rows_run_out_by_the_servers_clock() {
    let server = RedisServer::start();
    let scripts = Scripts::load(&mut server.connection(), Clock::Told);
    let mut wire = Wire::open(server.port()).expect("it listens");
    let mut real = |operation: &Operation| -> OperationResult {
        let command = scripts.command(&settings(), operation, Instant::START);
        outcome(operation, wire.ask(&command).expect("an answer"))
    };
    let mut model = Redis::new(settings());
    let link = model.connect(Instant::START).expect("it serves");
    let mut model = |at: Instant, operation: &Operation| {
        let outcome = model.execute(at, link, None, operation);
        outcome.expect("it serves")
    };

    for operation in [claim(), register()] {
        assert_eq!(model(Instant::START, &operation), real(&operation));
    }
    let written = server_millis(&server);
    server.wait_until("the time has passed", |server| {
        server_millis(server) > written + SPAN.as_millis()
    });
    let later = Instant::START + SPAN;
    for operation in [Operation::View, lookup(), renew(), register(), lookup()] {
        let (model, real) = (model(later, &operation), real(&operation));
        assert!(same(&model, &real), "{operation:?} {model:?} {real:?}");
    }
    assert_eq!(model(later, &renew()), Ok(Reply::Lost));
}

/// Whether or not a snapshot was written meanwhile.
#[test]
fn rows_that_have_expired_stay_gone_when_the_clock_goes_back() {
    let trip = |operation| {
        Step::Trip(Trip {
            link: 0,
            operations: vec![operation],
        })
    };
    let back = Step::Clock(ClockStep::Back(ROW_EXPIRY));
    let mut both = Both::start();
    for meanwhile in [vec![], vec![Step::Save, Step::Restart]] {
        both.begin();
        both.step(&trip(register()));
        both.step(&Step::Pass(ROW_EXPIRY * 2));
        meanwhile.iter().for_each(|step| both.step(step));
        both.step(&back);
        both.step(&trip(lookup()));
        both.compare_contents();
        both.end();
    }
}

fn settings() -> DirectorySettings {
    DirectorySettings {
        lease: SPAN,
        row_expiry: SPAN,
        ..Config::default().directory()
    }
}

fn server_millis(server: &RedisServer) -> u128 {
    let (seconds, micros): (u128, u128) = server.command(&["TIME"]);
    seconds * 1_000 + micros / 1_000
}

fn register() -> Operation {
    Operation::Register {
        key: ann(),
        connection: ConnectionId::new(uuid::Uuid::from_u128(1)),
        row: Row {
            instance: InstanceId::new(1),
            epoch: Epoch::new(1),
            connected: WallTime::from_millis(7),
        },
    }
}

fn lookup() -> Operation {
    Operation::Lookup { key: ann() }
}

fn claim() -> Operation {
    Operation::Claim {
        instance: InstanceId::new(1),
        lease: lease(),
        load: Load::default(),
    }
}

fn renew() -> Operation {
    Operation::Renew {
        instance: InstanceId::new(1),
        expected: lease(),
        lease: lease(),
        load: Load::default(),
    }
}

fn lease() -> Lease {
    Lease {
        epoch: Epoch::new(1),
        floor: Epoch::ZERO,
        beat: 0,
        state: LeaseState::Up,
        address: "127.0.0.1:7400".to_owned(),
    }
}

fn ann() -> Key {
    UserId::new("ann").expect("a valid user").into()
}
