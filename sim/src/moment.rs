//! What waits for a moment of a push or of a client.

use std::time::Duration;

use switchboard_core::directory::{Operation, Outcome, Reply};
use switchboard_core::id::ConnectionId;

use crate::fingerprint::fingerprint;
use crate::observed::Life;
use crate::queue::Happening;
use crate::schedule::{Act, Moment};
use crate::world::World;

/// One item that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    moment: Moment,
    of: String,
    after: Duration,
    act: Box<Act>,
}

fingerprint!(Waiting {
    moment,
    of,
    after,
    act,
});

impl World {
    pub(crate) fn wait_for(&mut self, moment: Moment, of: &str, after: Duration, act: &Act) {
        self.waiting.push(Waiting {
            moment,
            of: of.to_owned(),
            after,
            act: Box::new(act.clone()),
        });
    }

    /// A moment of whom or what this says has come.
    pub(crate) fn moment(&mut self, moment: Moment, is_of: impl Fn(&Self, &str) -> bool) {
        let mut index = 0;
        while index < self.waiting.len() {
            let waiting = &self.waiting[index];
            if waiting.moment == moment && is_of(self, &waiting.of) {
                let Waiting { after, act, .. } = self.waiting.remove(index);
                self.queue.put(self.now + after, Happening::Act(act));
            } else {
                index += 1;
            }
        }
    }

    /// A moment of the client of a session has come.
    pub(crate) fn moment_of_session(&mut self, moment: Moment, session: usize) {
        self.moment(moment, |world, of| world.sessions[session].client == of);
    }

    /// A moment of a push has come.
    pub(crate) fn moment_of_push(&mut self, moment: Moment, push: usize) {
        self.moment(moment, |world, of| world.record.is_called(push, of));
    }

    /// A moment of each push has come whose content is among these bytes.
    pub(crate) fn moment_of_content(&mut self, moment: Moment, bytes: &[u8]) {
        self.moment(moment, |_, of| {
            let content = Self::content(of);
            (bytes.windows(content.len())).any(|window| window == content.as_bytes())
        });
    }

    /// An operation has been executed. One that was refused has no moment, and neither has a row that
    /// was not written because a younger one stood there.
    pub(crate) fn moment_of_operation(
        &mut self,
        life: Life,
        operation: &Operation,
        outcome: &Outcome,
    ) {
        let (false, Ok(reply)) = (self.waiting.is_empty(), outcome) else {
            return;
        };
        match operation {
            Operation::Register { connection, .. } => {
                if *reply == Reply::Registered {
                    self.moment_of_connection(Moment::Register, *connection);
                }
            }
            Operation::Unregister { connection, .. } => {
                self.moment_of_connection(Moment::Unregister, *connection);
            }
            Operation::Lookup { key } => {
                let looks = |world: &Self, of: &str| world.is_under_way(life, key.user(), of);
                self.moment(Moment::Lookup, looks);
            }
            Operation::RemoveRow { .. }
            | Operation::View
            | Operation::Claim { .. }
            | Operation::Renew { .. }
            | Operation::Release { .. }
            | Operation::ReadLease { .. } => {}
        }
    }

    fn moment_of_connection(&mut self, moment: Moment, connection: ConnectionId) {
        if let Some(&session) = self.record.connections.get(&connection) {
            self.moment_of_session(moment, session);
        }
    }
}
