//! Pushes and questions at the instance that is asked: order per user, routes, receipts.

pub(crate) mod lane;
pub(crate) mod list;
pub(crate) mod push;
pub(crate) mod receipt;
pub(crate) mod route;
