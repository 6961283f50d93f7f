//! What a request says: its host, its origin, its query, its subprotocols.

pub mod host;
pub mod origin;
pub mod query;
pub(crate) mod subprotocol;
