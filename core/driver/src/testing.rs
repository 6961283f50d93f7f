//! Servers for the tests of those who call one.

use std::sync::Arc;

use switchboard_core::id::InstanceId;

use crate::handle::Handle;
use crate::inbox::{Inbox, Posted};
use crate::members::{Member, Shared};
use crate::queue::Taker;

/// A server whose instances take what they are asked, and answer nothing.
pub struct Silent {
    handle: Handle,
    _unread: Vec<Taker<Posted>>,
}

impl Silent {
    /// With so many instances.
    pub fn new(instances: u64) -> Self {
        let (inboxes, unread): (Vec<_>, Vec<_>) = (0..instances).map(|_| Inbox::new()).unzip();
        let members = (1..).zip(inboxes);
        let members = members.map(|(id, inbox)| Arc::new(Member::new(InstanceId::new(id), inbox)));
        let shared = Arc::new(Shared::of(members.collect()));
        Self {
            handle: Handle { shared },
            _unread: unread,
        }
    }

    /// What calls it.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }
}
