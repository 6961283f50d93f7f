//! What the checker `given-up` says to what waits for another instance in vain, and is sent to it again and again.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use switchboard_core::forged::deliveries;
use switchboard_core::message::{Counts, InstanceOutcome, Receipt};
use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::{HandIn, LinkStep, Observed, Topic};
use switchboard_sim::schedule::Schedule;
use switchboard_sim::{World, checkers};

/// Two terminals, one at each of two instances that have a link, and what else happens.
fn world(rest: &str, more: Option<Box<dyn Checker>>) -> World {
    let text = format!(
        "switchboard-sim 1  seed 7  instances 2  lease 10s
         1s  client c1 connects i1 as alice
         1s  client c2 connects i2 as bob
         2s  push i1 bob m0
         {rest}
         90s  heal"
    );
    let schedule = Schedule::parse(&text).expect("a schedule");
    let checker = checkers::named("given-up").expect("a checker");
    World::watched(schedule, [checker].into_iter().chain(more).collect())
}

/// What is said to the receipt of a push to everyone that comes when its time is over, and to which the second instance has
/// not answered.
fn waited(rest: &str) -> Option<String> {
    waited_for(rest, true)
}

/// The same; or it does not say whether that one has answered.
fn waited_for(rest: &str, named: bool) -> Option<String> {
    let mut world = world(&format!("40s  push i1 everyone m1\n{rest}"), None);
    let due = Duration::from_millis(43_005);
    assert!(world.run_until(due), "{:?}", world.report().violation);
    let scene = world.scene();
    let lives = scene.hosts().map(|host| scene.instance_of(host.life()));
    let mut instances: Vec<_> = lives.collect();
    let silent = instances[1];
    instances.sort_unstable();
    instances.retain(|instance| named || *instance != silent);
    let outcome = |instance| InstanceOutcome {
        instance,
        answered: instance != silent,
        counts: Counts::default(),
    };
    let receipt = Receipt {
        push: scene.pushes()[1].id(),
        logged: Vec::new(),
        degraded: true,
        counts: Counts::default(),
        terminals: Vec::new(),
        truncated: false,
        instances: instances.into_iter().map(outcome).collect(),
        kept: None,
        listed: Vec::new(),
    };
    world.pretend(Observed::Answered {
        hand_in: HandIn { push: 1, time: 0 },
        receipt: Box::new(receipt),
    });
    world.report().violation.map(|violation| violation.what)
}

#[test]
fn nobody_waits_for_an_instance_to_which_there_is_no_way() {
    let in_vain = "39s  kill i2";
    let said = waited(in_vain).expect("a violation");
    assert!(said.contains("no way"), "{said}");
    // It is there, or was until just now, or may be there and does not answer; or who waits has stood still.
    assert_eq!(waited(""), None);
    assert_eq!(waited("42.5s  kill i2"), None);
    assert_eq!(waited("39.9s  cut i1 <-> i2"), None);
    assert_eq!(waited(&format!("{in_vain}\n41s  pause i1 1s")), None);
    // Nor is it waited for if the receipt forgets it; but the answer of another one may come at the very end.
    assert!(waited_for(in_vain, false).is_some());
    let late = format!("{in_vain}\n41s  links latency 400ms");
    assert_eq!(waited_for(&late, false), None);
    // That somebody else stands still explains nothing.
    assert!(waited(&format!("{in_vain}\n38s  pause i2 5s")).is_some());
}

/// Tells of deliveries that leave.
#[derive(Clone, Debug)]
struct Recorder(Sender<Bytes>);

impl Checker for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Links]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        if let Observed::Carried { from: 0, batch, .. } = event
            && watch.scene().pushes().len() == 2
            && !deliveries(batch).is_empty()
        {
            self.0.send(batch.clone()).expect("somebody listens");
        }
    }
}

/// What is said to a delivery for a terminal that does not read if it leaves once more.
fn again(way: (usize, usize), rest: &str) -> Option<String> {
    let (sender, batches) = channel();
    let rest = format!("30s  client c2 stops reading\n40s  push i1 bob m1\n{rest}");
    let mut world = world(&rest, Some(Box::new(Recorder(sender))));
    let then = Duration::from_millis(41_500);
    assert!(world.run_until(then), "{:?}", world.report().violation);
    let (from, to) = way;
    world.pretend(Observed::Carried {
        from,
        to,
        step: LinkStep::Written,
        batch: batches.recv().expect("a delivery"),
    });
    world.report().violation.map(|violation| violation.what)
}

#[test]
fn a_delivery_under_which_two_links_have_broken_leaves_no_more() {
    let (once, twice) = (
        "40.5s  reset i1 <-> i2",
        "40.5s  reset i1 <-> i2\n41s  reset i1 <-> i2",
    );
    assert_eq!(again((0, 1), once), None);
    let said = again((0, 1), twice).expect("a violation");
    assert!(said.contains("links have broken"), "{said}");
    assert_eq!(again((1, 0), twice), None);
    // A peer that misbehaves sends what it likes, to whom it does.
    let lies = |way: &str| format!("39s  peer {way} delivers-twice 5s\n{twice}");
    assert_eq!(again((0, 1), &lies("i1 -> i2")), None);
    assert!(again((0, 1), &lies("i2 -> i1")).is_some());
}
