//! A checker that leaves topics out misses nothing: told of everything, it judges the same.

use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::{Observed, Quiescence};
use switchboard_sim::{Trial, checkers, swarm};

const SEEDS: u64 = crate::seeds(40);

/// One of our checkers that is told of everything.
#[derive(Clone, Debug)]
struct Curious(Box<dyn Checker>);

impl Checker for Curious {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        self.0.on_event(event, watch);
    }

    fn on_deadline(&mut self, what: u64, watch: &mut Watch<'_>) {
        self.0.on_deadline(what, watch);
    }

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        self.0.at_quiescence(quiescence, watch);
    }

    fn is_decisive(&self) -> bool {
        self.0.is_decisive()
    }
}

#[test]
fn checkers_judge_the_same_when_they_are_told_of_everything() {
    let curious = |checker| Box::new(Curious(checker)) as Box<dyn Checker>;
    let all = Trial::watched_by(checkers::all().into_iter().map(curious).collect());
    for seed in 0..SEEDS {
        let schedule = swarm::schedule(seed);
        assert_eq!(
            Trial::new().run(&schedule),
            all.run(&schedule),
            "seed {seed}"
        );
    }
}
