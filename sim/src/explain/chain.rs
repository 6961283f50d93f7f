//! A causal chain: what happened, where it stopped, and what lay there.

use std::fmt;

use switchboard_core::time::Instant;

use super::history::History;
use super::words::{fault_in_words, moment};
use crate::ledger::{Excuse, Part, Scope};

/// What became of something, step by step.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    title: String,
    steps: Vec<(Instant, String)>,
    /// Where it stopped.
    stop: Option<Stop>,
}

/// Where a chain stopped.
#[derive(Clone, Debug)]
struct Stop {
    what: String,
    /// Where a fault would explain that.
    place: String,
    /// What the ledger has there.
    faults: Vec<Excuse>,
    /// If it has nothing there: what it has nearest before.
    nearest: Option<Excuse>,
}

/// Where and when a fault would explain that a chain stopped.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The place in words, as the explanation prints it.
    pub(super) what: String,
    pub(super) parts: Vec<Part>,
    pub(super) scopes: Vec<Scope>,
    pub(super) from: Instant,
    pub(super) until: Instant,
}

impl Chain {
    pub(super) const fn new(title: String) -> Self {
        Self {
            title,
            steps: Vec::new(),
            stop: None,
        }
    }

    /// Notes a step, if it is not noted yet: several ways have some in common.
    pub(super) fn step_once(&mut self, at: Instant, what: String) {
        let step = (at, what);
        if !self.steps.contains(&step) {
            self.steps.push(step);
        }
    }

    /// It stopped: `what` is missing, which a fault at this place would explain.
    pub(super) fn stops(&mut self, history: &History, what: impl Into<String>, place: Place) {
        let is_there = |fault: &&Excuse| {
            let of_its_kind = fault.kind.is_fault() && place.parts.contains(&fault.kind.part());
            of_its_kind && place.scopes.contains(&fault.scope)
        };
        let lies_there = |fault: &&Excuse| {
            is_there(fault) && fault.from <= place.until && fault.until >= place.from
        };
        let faults: Vec<Excuse> = history.faults.iter().filter(lies_there).copied().collect();
        let before = history.faults.iter().filter(is_there);
        let nearest = before
            .filter(|fault| faults.is_empty() && fault.until < place.from)
            .max_by_key(|fault| fault.until)
            .copied();
        self.stop = Some(Stop {
            what: what.into(),
            place: place.what,
            faults,
            nearest,
        });
    }

    /// Whether the ledger has nothing where it stopped.
    pub(super) fn has_no_excuse(&self) -> bool {
        self.stop
            .as_ref()
            .is_some_and(|stop| stop.faults.is_empty())
    }
}

impl Chain {
    /// Writes it. Of what a checker has called a violation the ledger's faults are no excuse.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, violated: Option<&str>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let mut steps = self.steps.clone();
        steps.sort_by_key(|(at, _)| *at);
        for (at, what) in steps {
            writeln!(f, "  {}  {what}", moment(at))?;
        }
        let Some(stop) = &self.stop else {
            return Ok(());
        };
        writeln!(f, "it stops here: {}", stop.what)?;
        for fault in &stop.faults {
            let fault = fault_in_words(fault);
            match violated {
                None => writeln!(f, "excused: {fault}")?,
                Some(checker) => writeln!(
                    f,
                    "a fault lay there, which `{checker}` takes for no excuse: {fault}"
                )?,
            }
        }
        if stop.faults.is_empty() {
            writeln!(f, "no excuse: the ledger has no fault of {}", stop.place)?;
        }
        if let Some(nearest) = &stop.nearest {
            writeln!(
                f,
                "the last one there was over: {}",
                fault_in_words(nearest)
            )?;
        }
        Ok(())
    }
}
