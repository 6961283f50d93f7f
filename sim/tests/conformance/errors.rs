//! The errors of the model are those that a server prints.

use switchboard_core::directory::{
    Lease, LeaseState, Load, Operation, OperationError, OperationResult,
};
use switchboard_core::id::{Epoch, InstanceId};
use switchboard_core::time::Instant;
use switchboard_sim::schedule::ErrorReply;
use switchboard_test_redis::{Clock, RedisServer, Scripts, Wire};

use crate::real::{Real, outcome, settings};

#[test]
fn what_a_server_of_its_own_refuses_with_is_what_the_model_says() {
    let mut real = Real::start();
    for error in [
        ErrorReply::ReadOnly,
        ErrorReply::NoReplicas,
        ErrorReply::OutOfMemory,
        ErrorReply::Misconfigured,
        ErrorReply::Busy,
        ErrorReply::MasterDown,
        ErrorReply::NoScript,
    ] {
        let mut wire = real.connect().expect("it serves");
        real.refuse(error);
        wire.send(&real.packed([(Instant::START, &claim())]))
            .expect("it is sent");
        let answer = wire.answer().expect("an answer");
        assert_eq!(said(outcome(&claim(), answer)), error.text());
        real.serve(error);
    }
}

/// A server answers this while it loads what it has saved.
#[test]
fn a_server_that_loads_says_so() {
    let server = RedisServer::start_with(&[
        "--enable-debug-command",
        "yes",
        "--key-load-delay",
        "500",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    let mut asks = asking(&server);
    server.command::<()>(&["DEBUG", "POPULATE", "4000", "key", "100"]);
    let mut loads = Wire::open(server.port()).expect("it listens");
    let reload = redis::cmd("DEBUG").arg("RELOAD").get_packed_command();
    loads.send(&reload).expect("it is sent");
    // The answers before it begins to load are others.
    let refused = (0..TRIES).find_map(|_| ask(&mut asks, &claim()).err());
    let refused = refused.expect("it loads for seconds");
    assert_eq!(said(Err(refused)), ErrorReply::Loading.text());
}

/// What a member of a cluster says of a key that is not its own. Slot and address differ.
#[test]
fn a_member_of_a_cluster_sends_elsewhere() {
    let cluster = ["--cluster-enabled", "yes"];
    let (one, other) = (
        RedisServer::start_with(&cluster),
        RedisServer::start_with(&cluster),
    );
    let mut asks = asking(&one);
    let down = ask(&mut asks, &claim());
    assert_eq!(said(down), ErrorReply::ClusterDown.text());

    let port = other.port().to_string();
    let bus = (other.port() + 10_000).to_string();
    one.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    one.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let id: String = other.command(&["CLUSTER", "MYID"]);
    one.wait_until("it knows the other and serves", |one| {
        let known = one.command::<String>(&["CLUSTER", "NODES"]).contains(&id);
        let state: String = one.command(&["CLUSTER", "INFO"]);
        known && state.contains("cluster_state:ok")
    });
    let slot = one.command::<u16>(&["CLUSTER", "KEYSLOT", "sb:{p0000}instances"]);
    let slot = slot.to_string();

    one.command::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id]);
    let said_of = |model: ErrorReply| model.text().replace("3999", &slot).replace("6381", &port);
    let sent_on = ask(&mut asks, &claim());
    assert_eq!(said(sent_on), said_of(ErrorReply::Ask));

    one.command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
    let sent_on = ask(&mut asks, &claim());
    assert_eq!(said(sent_on), said_of(ErrorReply::Moved));
}

/// Far more than are needed: each takes a round trip.
const TRIES: u32 = 100_000;

/// A link that has loaded the scripts.
fn asking(server: &RedisServer) -> (Wire, Scripts) {
    let scripts = Scripts::load(&mut server.connection(), Clock::Told);
    (Wire::open(server.port()).expect("it listens"), scripts)
}

fn ask((wire, scripts): &mut (Wire, Scripts), operation: &Operation) -> OperationResult {
    let command = scripts.command(&settings(), operation, Instant::START);
    outcome(operation, wire.ask(&command).expect("an answer"))
}

#[track_caller]
fn said(outcome: OperationResult) -> String {
    match outcome {
        Err(OperationError::NotPrimary(text) | OperationError::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn claim() -> Operation {
    Operation::Claim {
        instance: InstanceId::new(1),
        lease: Lease {
            epoch: Epoch::new(1),
            floor: Epoch::ZERO,
            beat: 0,
            state: LeaseState::Settling,
            address: "127.0.0.1:7400".to_owned(),
        },
        load: Load::default(),
    }
}
