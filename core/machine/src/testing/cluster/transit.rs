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

/// What goes one way arrives in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Connection(usize, ConnectionKey),
    Link(usize, LinkKey),
    Directory(usize),
    Calls(usize),
}

impl Arriving {
    fn way(&self) -> Way {
        match self {
            Self::Accept { dialler, link } => Way::Link(*dialler, *link),
            Self::Event(index, event) => match event {
                Event::Opened { connection }
                | Event::Authenticated { connection, .. }
                | Event::Refreshed { connection, .. }
                | Event::Heard { connection, .. }
                | Event::Topic { connection, .. }
                | Event::Probed { connection, .. }
                | Event::Written { connection }
                | Event::Withheld { connection, .. }
                | Event::Closed { connection, .. } => Way::Connection(*index, *connection),
                Event::DirectoryUp | Event::DirectoryDown | Event::Directory { .. } => {
                    Way::Directory(*index)
                }
                Event::LinkUp { link }
                | Event::LinkReceived { link, .. }
                | Event::LinkWritten { link }
                | Event::LinkDown { link, .. } => Way::Link(*index, *link),
                Event::Push { .. }
                | Event::Connections { .. }
                | Event::Log { .. }
                | Event::Relay { .. }
                | Event::Relayed { .. }
                | Event::Instances { .. }
                | Event::Drain { .. } => Way::Calls(*index),
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
        let way = self.on_the_way.get(any)?.way();
        let first = (self.on_the_way.iter()).position(|delivery| delivery.way() == way)?;
        self.on_the_way.remove(first)
    }
}
