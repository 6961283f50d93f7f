//! This instance's place in the directory, and what it knows of the others: round trips, the lease,
//! rows, settling, the view.

pub(crate) mod lease;
pub(crate) mod rows;
pub(crate) mod settle;
pub(crate) mod trips;
pub(crate) mod view;
