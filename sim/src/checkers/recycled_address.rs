//! `recycled-address`: an instance at the address of another one removes nothing of that one's.

use std::collections::BTreeMap;

use switchboard_core::directory::{Operation, Reply};
use switchboard_core::id::InstanceId;
use switchboard_core::time::Instant;

use super::allowance::differs;
use crate::checker::{Checker, Watch};
use crate::observed::{Change, Observed, Topic};

/// An instance that is gone has called nobody gone: its rows die with its lease, whoever sits at its
/// address.
#[derive(Clone, Debug, Default)]
pub struct RecycledAddress {
    /// Instances that are gone, and since when.
    gone: BTreeMap<InstanceId, Instant>,
}

impl Checker for RecycledAddress {
    fn name(&self) -> &'static str {
        "recycled-address"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Lives]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let executed = match event {
            Observed::Gone(life) => {
                let instance = watch.scene().instance_of(*life);
                self.gone.insert(instance, watch.now());
                return;
            }
            Observed::NotMe { .. } => return watch.sometimes(NOT_ME),
            Observed::Executed(executed) => executed,
            _ => return,
        };
        let (
            Operation::RemoveRow { row, .. },
            Change::Row {
                before: Some(before),
                ..
            },
            Ok(Reply::Removed(true)),
        ) = (&executed.operation, &executed.change, &executed.outcome)
        else {
            return;
        };
        let Some(gone) = self.gone.get(&row.instance) else {
            return;
        };
        let config = watch.scene().config();
        // What it said last may have been on its way for so long.
        let said = *gone + config.link_timeout + config.directory_timeout;
        if watch.now() <= said || !watch.scene().is_live(*before) {
            watch.held();
        } else if let Some(excuse) = differs(watch, executed.life) {
            watch.excused(excuse);
        } else {
            watch.violated(format!(
                "i{} removed a row of {:?}, which is gone and whose lease has not run out",
                executed.life.host + 1,
                row.instance
            ));
        }
    }

    fn probes(&self) -> &'static [&'static str] {
        &[NOT_ME]
    }
}

const NOT_ME: &str = "an instance was dialled at an address that another one has taken";
