//! `hygiene`: no state that only a bug can reach, no endless work.

use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Topic};

/// An instance never counts a bug of its own, and each of its turns ends.
#[derive(Clone, Copy, Debug)]
pub struct Hygiene;

impl Checker for Hygiene {
    fn name(&self) -> &'static str {
        "hygiene"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Turns]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Livelocked(life) => {
                watch.violated(format!("i{} has work without end", life.host + 1));
            }
            Observed::Turned(life) => {
                let stats = (watch.scene().host(life.host)).and_then(|host| host.stats());
                match stats.map_or(0, |stats| stats.bugs) {
                    0 => watch.held(),
                    bugs => watch.violated(format!("i{} counts {bugs} bugs", life.host + 1)),
                }
            }
            _ => {}
        }
    }
}
