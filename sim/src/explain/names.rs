//! What the schedule calls its pushes.

use std::collections::BTreeMap;

use switchboard_core::id::PushId;

use crate::schedule::{Act, Schedule};
use crate::vocabulary::push::id_of;

/// The name of each push of a schedule, by its id.
pub(super) fn pushes_of(schedule: &Schedule) -> BTreeMap<PushId, String> {
    let names = schedule.items.iter().filter_map(|item| name_of(&item.act));
    names.map(|name| (id_of(name), name.to_owned())).collect()
}

fn name_of(act: &Act) -> Option<&str> {
    match act {
        Act::Push { name, .. } | Act::Kick { name, .. } => Some(name),
        Act::On { act, .. } => name_of(act),
        _ => None,
    }
}
