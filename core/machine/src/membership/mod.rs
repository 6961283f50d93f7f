//! This instance's place in the directory, and what it knows of the others: round trips, the lease,
//! rows, settling, the view.

pub(crate) mod lease;
pub(crate) mod rows;
pub(crate) mod service;
pub(crate) mod settle;
pub(crate) mod trips;
pub(crate) mod view;

use crate::time::Now;

use lease::Keeper;
use rows::Upkeep;
use trips::Trips;
use view::View;

/// This instance's place in the directory, and what it knows of the others.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) trips: Trips,
    pub(crate) keeper: Keeper,
    pub(crate) upkeep: Upkeep,
    pub(crate) view: View,
    /// What the lease should say may have changed.
    pub(crate) lease_due: bool,
}

impl Membership {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            trips: Trips::new(),
            keeper: Keeper::new(now),
            upkeep: Upkeep::new(),
            view: View::new(now),
            lease_due: false,
        }
    }
}
