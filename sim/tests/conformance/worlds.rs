//! What the instances of whole worlds ask, put to a real server at the same moments: it answers as the model has.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::directory::log::LogOperation;
use switchboard_core::directory::{DirectorySettings, Operation, OperationResult, Reply};
use switchboard_core::time::Instant;
use switchboard_sim::World;
use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::{Observed, Topic};
use switchboard_sim::schedule::{Act, Schedule};
use switchboard_sim::swarm;
use switchboard_test_redis::{Clock, RedisServer, Scripts, Wire, same};

use crate::real::outcome;

const SEEDS: u64 = 40;

/// Operations that are sent before their answers are read.
const PIPELINE: usize = 100;

/// One operation: when it was executed, what was asked, and what the model answered.
type ExecutedOperation = (Instant, Operation, OperationResult);

/// Takes down what is executed.
#[derive(Clone, Debug)]
struct ExecutionRecorder {
    executed: Sender<ExecutedOperation>,
}

impl Checker for ExecutionRecorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        // The model has a replica, this server has none.
        if let Observed::Executed(executed) = event
            && !waits_for_replicas(&executed.operation)
        {
            let (asked, answer) = (executed.operation.clone(), executed.outcome.clone());
            let line = (watch.now(), asked, answer);
            self.executed.send(line).expect("the test listens");
        }
    }
}

fn waits_for_replicas(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Log {
            operation: LogOperation::Confirm { .. },
            ..
        }
    )
}

/// Without what happens to the server: round trips and instances fail as they like. And what a log keeps does not expire
/// within the world: a server's keys do so by its own clock.
fn undisturbed(mut schedule: Schedule) -> Schedule {
    let of_server = |act: &Act| {
        matches!(
            act,
            Act::Redis(_) | Act::RedisRefuses { .. } | Act::On { .. }
        )
    };
    schedule.items.retain(|item| !of_server(&item.act));
    schedule.log.age = None;
    schedule
}

/// All that the instances of a world asked, and what the directory's settings were.
fn asked(seed: u64) -> (Vec<ExecutedOperation>, DirectorySettings) {
    let schedule = undisturbed(swarm::schedule(seed));
    let settings = Config {
        lease: schedule.lease,
        ..Config::default()
    };
    let (executed, heard) = channel();
    let mut world = World::watched(schedule, vec![Box::new(ExecutionRecorder { executed })]);
    assert_eq!(world.run().violation, None, "seed {seed}");
    drop(world);
    (heard.into_iter().collect(), settings.directory())
}

/// Redis keeps deadlines in milliseconds.
fn is_close(one: Option<Duration>, other: Option<Duration>) -> bool {
    let apart = one.zip(other).map(|(one, other)| one.abs_diff(other));
    apart.is_none_or(|apart| apart <= Duration::from_millis(1))
}

fn is_same(model: &OperationResult, real: &OperationResult) -> bool {
    let times_agree = match (model, real) {
        (Ok(Reply::Leases { leases, .. }), Ok(Reply::Leases { leases: others, .. })) => {
            (leases.iter().zip(others)).all(|(one, other)| is_close(one.remaining, other.remaining))
        }
        _ => true,
    };
    times_agree && same(model, real)
}

#[test]
fn a_real_server_answers_all_that_worlds_ask_as_the_model_has() {
    let server = RedisServer::start();
    let scripts = Scripts::load(&mut server.connection(), Clock::ToldAlways);
    let mut answers = 0;
    for seed in 0..SEEDS {
        server.command::<()>(&["FLUSHALL"]);
        let mut wire = Wire::open(server.port()).expect("the server listens");
        let (asked, settings) = asked(seed);
        for part in asked.chunks(PIPELINE) {
            let commands = part.iter().flat_map(|(at, operation, _)| {
                scripts
                    .command(&settings, operation, *at)
                    .get_packed_command()
            });
            wire.send(&commands.collect::<Vec<_>>())
                .expect("it listens");
            for (at, operation, model) in part {
                let real = outcome(operation, wire.answer().expect("an answer"));
                assert!(
                    is_same(model, &real),
                    "seed {seed}, {at:?}, {operation:?}\n model: {model:?}\nserver: {real:?}"
                );
            }
        }
        answers += asked.len();
    }
    assert!(answers > 10_000, "too little was asked: {answers}");
}
