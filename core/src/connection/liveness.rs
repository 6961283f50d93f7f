//! Whether a terminal is still there: pings, the end of its token, and the one timer of a
//! connection.
//!
//! A frame of any kind is a sign of life. The timer is lazy: what puts a deadline off only writes
//! the new one, and a timer that fires early finds nothing due.

use super::{ClosingStage, Connection, Greeting, Phase, Waiting};
use crate::command::{Command, Outbox};
use crate::config::Config;
use crate::flaws::Flaw;
use crate::frame::CloseCode;
use crate::id::ConnectionKey;
use crate::instance::{Instance, Timer};
use crate::message::Outcome;
use crate::time::{Instant, Now};

/// Whether a terminal answers.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Liveness {
    /// The next ping is due then.
    Waiting { ping_at: Instant },
    /// A ping was sent then.
    Pinged { at: Instant },
}

impl Connection {
    /// When it next needs attention.
    fn deadline(&self, config: &Config) -> Option<Instant> {
        let alive = || {
            let liveness = match self.liveness {
                Liveness::Waiting { ping_at } => ping_at,
                Liveness::Pinged { at } => at + config.ping_timeout,
            };
            self.expires
                .map_or(liveness, |expires| expires.min(liveness))
        };
        match self.phase {
            Phase::Upgrading { until } => Some(until),
            Phase::Registering { greet_by } => Some(greet_by.min(alive())),
            Phase::Live(_) => Some(alive()),
            Phase::Closing { until, stage, .. } => match stage {
                ClosingStage::Writing | ClosingStage::Sent => Some(until),
                ClosingStage::Aborted => None,
            },
            Phase::Gone => None,
        }
    }

    /// The next ping, or the last one and whether anything came since: what a fingerprint covers.
    pub(super) fn heard_since_ping(&self) -> (Option<Instant>, Option<(Instant, bool)>) {
        match self.liveness {
            Liveness::Waiting { ping_at } => (Some(ping_at), None),
            Liveness::Pinged { at } => (None, Some((at, self.heard >= at))),
        }
    }
}

impl Instance {
    /// Does what is due for one connection.
    pub(crate) fn connection_due(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        if connection.armed.is_none_or(|armed| armed > now.mono) {
            return;
        }
        connection.armed = None;
        let due = connection.deadline(&self.config);
        if due.is_some_and(|due| due <= now.mono) {
            self.attend(now, key, out);
        }
        self.arm_connection(key);
    }

    fn attend(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        match &mut connection.phase {
            Phase::Upgrading { .. } => {
                let drop = Waiting::Drop(Outcome::Gone);
                self.close(now, key, CloseCode::PingTimeout, drop, None, out);
            }
            Phase::Registering { greet_by } => {
                if *greet_by <= now.mono {
                    self.greet(key, Greeting::Degraded, out);
                }
                self.check_alive(now, key, out);
            }
            Phase::Live(_) => self.check_alive(now, key, out),
            Phase::Closing { stage, .. } => {
                if !self.flaws.has(Flaw::TimerLeftAfterClose) {
                    *stage = ClosingStage::Aborted;
                }
                out.push(Command::Abort { connection: key });
            }
            Phase::Gone => {}
        }
    }

    fn check_alive(&mut self, now: Now, key: ConnectionKey, out: &mut Outbox) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        if connection
            .expires
            .is_some_and(|expires| expires <= now.mono)
        {
            self.close(now, key, CloseCode::TokenExpired, Waiting::Write, None, out);
            return;
        }
        match connection.liveness {
            Liveness::Waiting { ping_at } if ping_at <= now.mono => {
                connection.liveness = Liveness::Pinged { at: now.mono };
                out.push(Command::Ping { connection: key });
            }
            // This instance stood still as well, and what the terminal said may wait to be read.
            Liveness::Pinged { at }
                if connection.heard < at && at + 2 * self.config.ping_timeout <= now.mono =>
            {
                connection.liveness = Liveness::Pinged { at: now.mono };
                out.push(Command::Ping { connection: key });
            }
            Liveness::Pinged { at } if at + self.config.ping_timeout <= now.mono => {
                if connection.heard < at {
                    let drop = Waiting::Drop(Outcome::Gone);
                    self.close(now, key, CloseCode::PingTimeout, drop, None, out);
                } else {
                    let period = self.jitter.shortened(self.config.ping_interval);
                    let ping_at = (at + period).max(now.mono);
                    connection.liveness = Liveness::Waiting { ping_at };
                }
            }
            Liveness::Waiting { .. } | Liveness::Pinged { .. } => {}
        }
    }

    /// Makes sure that a timer fires no later than the connection's deadline. Timers that fire
    /// early find nothing due.
    pub(super) fn arm_connection(&mut self, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let Some(due) = connection.deadline(&self.config) else {
            return;
        };
        if connection.armed.is_none_or(|armed| due < armed) {
            connection.armed = Some(due);
            self.timers.arm(due, Timer::Connection(key));
        }
    }
}
