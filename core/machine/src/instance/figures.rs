//! Figures for people: what an instance holds, and how full it is.

use super::Instance;
#[cfg(test)]
use crate::drain::Drain;
#[cfg(test)]
use crate::membership::Membership;
#[cfg(test)]
use crate::peers::Peers;
#[cfg(test)]
use crate::stats::Stats;
use crate::stats::{Gauges, Levels, Tables};
#[cfg(test)]
use crate::terminals::Terminals;
use crate::time::Now;

impl Instance {
    /// What it holds at present.
    pub fn gauges(&self, now: Now) -> Gauges {
        let mut gauges = Gauges::default();
        self.terminals.gauge(&mut gauges);
        self.publish.gauge(now.mono, &mut gauges);
        self.follow.gauge(now.mono, &mut gauges);
        self.peers.gauge(&mut gauges);
        self.membership.gauge(now.mono, &mut gauges);
        gauges
    }

    /// How full its tables and queues are; of queues of which there are many, the fullest. It looks
    /// at every connection, every topic, every user that is pushed to and every peer.
    pub fn levels(&self) -> Levels {
        let config = &self.base.config;
        let [connections, queue_frames, queue_bytes, topic_members] = self.terminals.levels(config);
        let [pushes, pushes_per_user] = self.publish.levels(config);
        let [broadcasts, repeat_entries] = self.deliver.levels(config);
        let [log_replays] = self.follow.levels(config);
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
            log_replays,
            topic_members,
        ]
    }

    /// How many entries each of its tables and queues has. It looks at every connection and every peer.
    pub fn tables(&self) -> Tables {
        let mut tables = Tables::default();
        self.terminals.count(&mut tables);
        self.membership.count(&mut tables);
        self.publish.count(&mut tables);
        self.deliver.count(&mut tables);
        self.follow.count(&mut tables);
        self.peers.count(&mut tables);
        self.presence.count(&mut tables);
        tables
    }
}

/// For tests: what is inside.
#[cfg(test)]
impl Instance {
    pub(crate) const fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(crate) const fn terminals(&self) -> &Terminals {
        &self.terminals
    }

    pub(crate) const fn peers(&self) -> &Peers {
        &self.peers
    }

    pub(crate) const fn drain_state(&self) -> &Drain {
        &self.drain
    }

    pub(crate) const fn stats_mut(&mut self) -> &mut Stats {
        &mut self.base.stats
    }
}
