//! `empty-at-rest`: with all clients gone nothing is left.

use crate::checker::{Checker, Watch};
use crate::observed::{Observed, Quiescence, Topic};

/// Where the schedule expects it, nothing is left of any connection or push.
#[derive(Clone, Copy, Debug)]
pub struct EmptyAtRest;

impl Checker for EmptyAtRest {
    fn name(&self) -> &'static str {
        "empty-at-rest"
    }

    fn topics(&self) -> &'static [Topic] {
        &[]
    }

    fn on_event(&mut self, _: &Observed, _: &mut Watch<'_>) {}

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        match quiescence {
            Quiescence::Converged => return,
            Quiescence::AtRest => {}
        }
        let scene = watch.scene();
        let busy = scene.hosts().find_map(|host| {
            let gauges = host.gauges()?;
            let left = gauges.connections + gauges.users + gauges.pushes;
            (left > 0).then_some((host.number() + 1, gauges))
        });
        let rows = scene.live_rows().len();
        if let Some((number, gauges)) = busy {
            watch.violated(format!("i{number} still has {gauges:?}"));
        } else if rows > 0 {
            watch.violated(format!("{rows} rows are left"));
        } else {
            watch.held();
        }
    }
}
