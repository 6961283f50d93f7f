//! A world and what happens in it, as what checkers can be told has to name what is there.

use std::fmt::Write as _;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use switchboard_core::command::Log;
use switchboard_core::id::{ConnectionKey, InstanceId, LinkKey};
use switchboard_sim::World;
use switchboard_sim::boundary::{Intake, Output, TripOutline};
use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::{Life, Observed};
use switchboard_sim::schedule::Schedule;

const LIFE: Life = Life { host: 0, number: 1 };

/// A terminal is connected and a link is open; after the present there is another terminal.
const SCHEDULE: &str = "switchboard-sim 1  seed 7  instances 2
1s  client c1 connects i1 as alice
2s  push i2 alice m1
3s  push i1 alice m2
20s  client c2 connects i1 as bob
60s  heal
";
pub(crate) const PRESENT: Duration = Duration::from_secs(10);

pub(crate) fn world(checker: Box<dyn Checker>) -> World {
    let schedule = Schedule::parse(SCHEDULE).expect("a schedule");
    World::watched(schedule, vec![checker])
}

/// The first instance takes something in.
pub(crate) fn took(intake: Intake) -> Observed {
    Observed::Took { life: LIFE, intake }
}

/// It wants something done.
pub(crate) fn gave(output: Output) -> Observed {
    Observed::Gave { life: LIFE, output }
}

/// It says so in its log.
pub(crate) fn logged(log: Log) -> Observed {
    Observed::Logged {
        life: LIFE,
        log: Box::new(log),
    }
}

/// Tells what the first instance wants done.
#[derive(Clone, Debug)]
struct Recorder(Sender<Output>);

impl Checker for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn on_event(&mut self, event: &Observed, _: &mut Watch<'_>) {
        if let Observed::Gave { life: LIFE, output } = event {
            self.0.send(output.clone()).expect("somebody listens");
        }
    }
}

/// All that the first instance wants done in this world.
fn recorded() -> Vec<Output> {
    let (recorder, recorded) = channel();
    world(Box::new(Recorder(recorder))).run();
    recorded.try_iter().collect()
}

/// The connection that is there at present, and the other one.
pub(crate) fn connections() -> [ConnectionKey; 2] {
    let greeted = |output: &Output| match output {
        Output::Connected(connection) => Some(*connection),
        _ => None,
    };
    let connections: Vec<_> = recorded().iter().filter_map(greeted).collect();
    connections.try_into().expect("two terminals")
}

/// The link that is open at present.
pub(crate) fn link() -> LinkKey {
    let proven = |output: &Output| match output {
        Output::LinkProven(link) => Some(*link),
        _ => None,
    };
    recorded().iter().find_map(proven).expect("a link")
}

/// As many links as strangers open, one after the other.
pub(crate) fn links(strangers: usize) -> Vec<LinkKey> {
    let (recorder, recorded) = channel();
    let mut schedule = "switchboard-sim 1  seed 7  instances 2\n".to_owned();
    for number in 0..strangers {
        let at = 1000 + number * 10;
        writeln!(schedule, "{at}ms  stranger i1 nonsense").expect("a text has room");
    }
    let schedule = Schedule::parse(&schedule).expect("a schedule");
    World::watched(schedule, vec![Box::new(Doorman(recorder))]).run();
    recorded.try_iter().collect()
}

/// Tells which links the first instance accepts.
#[derive(Clone, Debug)]
struct Doorman(Sender<LinkKey>);

impl Checker for Doorman {
    fn name(&self) -> &'static str {
        "doorman"
    }

    fn on_event(&mut self, event: &Observed, _: &mut Watch<'_>) {
        if let Observed::Took { life: LIFE, intake } = event
            && let Intake::LinkAccepted(link) = intake
        {
            self.0.send(*link).expect("somebody listens");
        }
    }
}

/// The other instance.
pub(crate) fn other(world: &World) -> InstanceId {
    world.scene().instance_of(Life { host: 1, number: 1 })
}

/// All round trips.
pub(crate) fn trips() -> Vec<TripOutline> {
    let trip = |output: &Output| match output {
        Output::Trip(trip) => Some((**trip).clone()),
        _ => None,
    };
    recorded().iter().filter_map(trip).collect()
}
