//! What there is to say of a connection, for counters and log.

use super::{Connection, Greeting, Phase, Reached};
use crate::event::{Closure, Ended, Ending};
use crate::frame::CloseCode;
use crate::id::ConnectionKey;
use crate::terminals::Terminals;
use crate::time::Instant;

impl Connection {
    /// What its end is called if its socket goes like this.
    pub(super) const fn ending(&self, closure: Closure) -> Ending {
        match self.phase {
            Phase::Upgrading { .. }
            // Its upgrade took too long.
            | Phase::Closing {
                code: CloseCode::PingTimeout,
                reached: Reached::Accepted,
                ..
            } => Ending::NotOpened,
            Phase::Closing { code, .. } => Ending::ByServer(code),
            Phase::Authenticating { .. }
            | Phase::Registering { .. }
            | Phase::Live(_)
            | Phase::Gone => match closure {
                Closure::Clean => Ending::ByTerminal,
                Closure::Abrupt => Ending::Lost,
                Closure::Violation(code) => Ending::ByServer(code),
            },
        }
    }
}

impl Terminals {
    /// Whether a terminal that was greeted was told that pushes may miss it, and they still may.
    pub(crate) fn is_degraded(&self, connection: ConnectionKey) -> bool {
        let connection = self.registry.get(connection);
        connection.is_some_and(|found| matches!(found.phase, Phase::Live(Greeting::Degraded)))
    }

    /// What there is to say of a connection whose end is about to be handed in.
    pub(crate) fn ended(
        &self,
        now: Instant,
        connection: ConnectionKey,
        closure: Closure,
    ) -> Option<Ended<'_>> {
        let connection = self.registry.get(connection)?;
        Some(Ended {
            id: connection.id,
            user: connection.user(),
            ending: connection.ending(closure),
            lived: now.since(connection.accepted),
            messages: connection.messages.received + connection.messages.dropped,
            frames: connection.frames,
            bytes: connection.bytes,
        })
    }
}
