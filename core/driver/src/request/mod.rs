//! What a request says: its host, its origin, its query, its subprotocols.

pub(crate) mod follow;
pub mod host;
pub mod origin;
pub mod query;
pub(crate) mod subprotocol;
