//! Figures for people: what an instance holds, and how full it is.

use super::Instance;
use crate::stats::{Gauges, Levels};
use crate::time::Now;

impl Instance {
    /// What it holds at present.
    pub fn gauges(&self, now: Now) -> Gauges {
        Gauges {
            connections: self.terminals.len(),
            users: self.terminals.users(),
            pushes: self.publish.len(),
            links: self.peers.members(),
            instances: self.membership.view().alive() + 1,
            epoch: self.membership.epoch().get(),
            directory: self.membership.has_lease(now.mono),
        }
    }

    /// How full its tables and queues are; of queues of which there are many, the fullest. It looks
    /// at every connection, every user that is pushed to and every peer.
    pub fn levels(&self) -> Levels {
        let config = &self.base.config;
        let [connections, queue_frames, queue_bytes] = self.terminals.levels(config);
        let [pushes, pushes_per_user] = self.publish.levels(config);
        let [broadcasts, repeat_entries] = self.deliver.levels(config);
        let [links, link_queue_bytes] = self.peers.levels(config);
        [
            connections,
            pushes,
            pushes_per_user,
            broadcasts,
            repeat_entries,
            links,
            link_queue_bytes,
            queue_frames,
            queue_bytes,
        ]
    }
}
