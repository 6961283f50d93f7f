//! What is on the way between instances and their world, and in which order it arrives.

use super::Cluster;
use crate::event::Event;
use crate::id::{ConnectionKey, LinkKey};

/// What happens on the way between instances, one thing after another.
#[derive(Clone, Debug)]
pub(super) enum Arriving {
    Event(usize, Event),
    Accept { dialler: usize, link: LinkKey },
}

/// Things of one channel arrive in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Connection(usize, ConnectionKey),
    Link(usize, LinkKey),
    Directory(usize),
    Calls(usize),
}

impl Arriving {
    fn channel(&self) -> Channel {
        match self {
            Self::Accept { dialler, link } => Channel::Link(*dialler, *link),
            Self::Event(index, event) => match event {
                Event::Opened { connection }
                | Event::Authenticated { connection, .. }
                | Event::Refreshed { connection, .. }
                | Event::Heard { connection, .. }
                | Event::Topic { connection, .. }
                | Event::Probed { connection, .. }
                | Event::Written { connection }
                | Event::Closed { connection, .. } => Channel::Connection(*index, *connection),
                Event::DirectoryUp | Event::DirectoryDown | Event::Directory { .. } => {
                    Channel::Directory(*index)
                }
                Event::LinkUp { link }
                | Event::LinkReceived { link, .. }
                | Event::LinkWritten { link }
                | Event::LinkDown { link, .. } => Channel::Link(*index, *link),
                Event::Push { .. }
                | Event::Connections { .. }
                | Event::Log { .. }
                | Event::Instances { .. }
                | Event::Drain { .. } => Channel::Calls(*index),
            },
        }
    }
}

impl Cluster {
    /// An event is on the way.
    pub(crate) fn enqueue(&mut self, instance: usize, event: Event) {
        self.on_the_way.push_back(Arriving::Event(instance, event));
    }

    /// The next thing to arrive.
    pub(super) fn take_next(&mut self) -> Option<Arriving> {
        let Some(state) = &mut self.shuffle else {
            return self.on_the_way.pop_front();
        };
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let any = (*state >> 33) as usize % self.on_the_way.len().max(1);
        let channel = self.on_the_way.get(any)?.channel();
        let first = (self.on_the_way.iter()).position(|delivery| delivery.channel() == channel)?;
        self.on_the_way.remove(first)
    }
}
