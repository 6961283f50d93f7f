//! In which state a part of an instance is, by its name: for whoever counts what tests have come by.

use super::Instance;
use crate::id::{ConnectionKey, LinkKey, TopicId};

impl Instance {
    /// The state of a link, unless its key is out of date.
    pub fn link_state(&self, link: LinkKey) -> Option<&'static str> {
        self.peers.link_state(link)
    }

    /// The state of the lease.
    pub const fn lease_state(&self) -> &'static str {
        self.membership.lease_state()
    }

    /// How far a terminal is, unless its key is out of date.
    pub fn terminal_state(&self, connection: ConnectionKey) -> Option<&'static str> {
        self.terminals.state(connection)
    }

    /// The states of the rows of topics of which anything is known.
    pub fn topic_states(&self) -> impl Iterator<Item = (&TopicId, &'static str)> {
        self.membership.topic_states()
    }
}
