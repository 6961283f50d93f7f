//! The tasks of an instance: what takes time, and answers with an event. Each is given what it uses: the
//! way of its reports, its limits, and what it shares with others of its kind.

pub(crate) mod directory;
pub(crate) mod link;
mod newcomer;
pub(crate) mod terminal;

pub(crate) use newcomer::Trust;
