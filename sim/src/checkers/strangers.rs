//! `strangers`: a stranger that does not know the secret is told nothing, and gets no link.

use std::collections::BTreeMap;

use switchboard_core::id::LinkKey;

use crate::boundary::{Intake, Output};
use crate::checker::{Checker, Watch};
use crate::observed::{Life, Observed, Topic};

/// A link on which somebody says what no peer says ends in the turn that takes it in, without an answer; and one
/// whose other end is a stranger is never proven.
#[derive(Clone, Debug, Default)]
pub struct Strangers {
    links: BTreeMap<(usize, LinkKey), StrangerLink>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StrangerLink {
    /// What was said so far may be a peer's.
    Plausible,
    /// What is about to be taken in is not.
    Ends,
    /// It was taken in.
    Overdue,
}

impl Checker for Strangers {
    fn name(&self) -> &'static str {
        "strangers"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Boundary, Topic::Turns, Topic::Lives]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::StrangerSaid { life, link, ends } => {
                let stage = if *ends {
                    StrangerLink::Ends
                } else {
                    StrangerLink::Plausible
                };
                self.links.insert((life.host, *link), stage);
            }
            Observed::Took { life, intake } if !self.links.is_empty() => {
                self.take_in(*life, *intake);
            }
            Observed::Gave { life, output } if !self.links.is_empty() => {
                self.give(watch, *life, output);
            }
            Observed::Turned(life) if !self.links.is_empty() => self.turned(watch, *life),
            Observed::Gone(life) => self.links.retain(|(host, _), _| *host != life.host),
            _ => {}
        }
    }
}

impl Strangers {
    fn take_in(&mut self, life: Life, intake: Intake) {
        match intake {
            Intake::LinkReceived { link, .. } => {
                if let Some(stage @ StrangerLink::Ends) = self.links.get_mut(&(life.host, link)) {
                    *stage = StrangerLink::Overdue;
                }
            }
            Intake::LinkDown { link, .. } => {
                self.links.remove(&(life.host, link));
            }
            _ => {}
        }
    }

    fn give(&mut self, watch: &mut Watch<'_>, life: Life, output: &Output) {
        let found = match output {
            Output::LinkProven(link) if self.links.contains_key(&(life.host, *link)) => {
                Some(format!("takes a stranger for a peer: {link:?}"))
            }
            Output::LinkWrite { link, .. }
                if self.links.get(&(life.host, *link)) == Some(&StrangerLink::Overdue) =>
            {
                Some(format!("answers what no peer says: {link:?}"))
            }
            Output::LinkClose(link) => {
                if self.links.remove(&(life.host, *link)).is_some() {
                    watch.held();
                }
                None
            }
            _ => None,
        };
        if let Some(what) = found {
            watch.violated(format!("i{} {what}", life.host + 1));
        }
    }

    fn turned(&mut self, watch: &mut Watch<'_>, life: Life) {
        let here = self
            .links
            .iter()
            .filter(|((host, _), _)| *host == life.host);
        let overdue = here.filter(|(_, stage)| **stage == StrangerLink::Overdue);
        if let Some(((_, link), _)) = overdue.into_iter().next() {
            let link = *link;
            watch.violated(format!(
                "i{} keeps a link on which somebody said what no peer says: {link:?}",
                life.host + 1
            ));
        }
    }
}
