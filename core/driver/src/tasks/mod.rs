//! The tasks of an instance: what takes time, and answers with an event. Each is given what it uses: the
//! way of its reports, its limits, and what it shares with others of its kind.

mod boundary;
pub(crate) mod directory;
pub(crate) mod link;
mod newcomer;
mod outlet;
mod signs;
pub(crate) mod terminal;
mod transport;
mod websocket;

pub(crate) use newcomer::Trust;
