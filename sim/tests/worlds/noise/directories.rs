//! The model of Redis and a bare directory in memory are told the same by the instances of whole worlds, and answer the
//! same: so what terminals see in a world is the same on both.
//!
//! `conformance` puts what worlds ask to a real server.

use switchboard_core::directory::log::LogReply;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::directory::{OperationResult, Reply};
use switchboard_sim::World;
use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::{Observed, Topic};
use switchboard_sim::schedule::{Act, Schedule};
use switchboard_sim::swarm;

const SEEDS: u64 = 40;

/// Answers as a server in memory does to which nothing happens.
#[derive(Clone, Debug)]
struct Beside {
    directory: Option<MemoryDirectory>,
}

impl Checker for Beside {
    fn name(&self) -> &'static str {
        "beside"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Executed(executed) = event else {
            return;
        };
        let settings = || watch.scene().config().directory();
        let directory = (self.directory).get_or_insert_with(|| MemoryDirectory::new(settings()));
        let answer = directory.execute(watch.now(), &executed.operation);
        if but_for_replicas(&answer) == but_for_replicas(&executed.outcome) {
            watch.held();
        } else {
            let (asked, model) = (&executed.operation, &executed.outcome);
            watch.violated(format!("{asked:?}\n model: {model:?}\nmemory: {answer:?}"));
        }
    }
}

/// The model has a replica, a directory in memory has none.
fn but_for_replicas(answer: &OperationResult) -> OperationResult {
    let mut answer = answer.clone();
    if let Ok(Reply::Log(LogReply::Confirmed { replicas, .. })) = &mut answer {
        *replicas = 0;
    }
    answer
}

/// Without what happens to the server: round trips and instances fail as they like.
fn undisturbed(mut schedule: Schedule) -> Schedule {
    (schedule.items).retain(|item| {
        !matches!(
            item.act,
            Act::Redis(_) | Act::RedisRefuses { .. } | Act::On { .. }
        )
    });
    schedule
}

#[test]
fn a_directory_in_memory_answers_all_that_worlds_ask_as_the_model_does() {
    let mut answers = 0;
    for seed in 0..SEEDS {
        let schedule = undisturbed(swarm::schedule(seed));
        let beside = Box::new(Beside { directory: None });
        let report = World::watched(schedule, vec![beside]).run();
        assert_eq!(report.violation, None, "seed {seed}");
        answers += report.events;
    }
    assert!(answers > 100_000, "too little was asked: {answers}");
}
