//! Whether a terminal is still there: pings, the end of its token, and the one timer of a
//! connection.
//!
//! A frame of any kind is a sign of life. A ping can wait behind frames that the terminal takes
//! slowly, and its answer behind a message that the terminal sends slowly: so before a terminal is
//! given up the driver is asked whether bytes moved. The timer is lazy: what puts a deadline off only
//! writes the new one, and a timer that fires early finds nothing due.

use std::hash::{Hash, Hasher};

use super::{ClosingStage, Connection, Phase, Waiting, end_of};
use crate::base::fingerprint::Fingerprint;
use crate::command::Command;
use crate::config::Config;
use crate::context::Context;
use crate::event::{Life, Pings};
use crate::frame::CloseCode;
use crate::id::ConnectionKey;
use crate::message::Outcome;
use crate::terminals::Terminals;
use crate::terminals::hooks;
use crate::time::{Instant, WallTime};
use crate::topic::SharedRights;
use crate::vocabulary::timer::TerminalsTimer;

/// Whether a terminal answers.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) enum Liveness {
    /// The next ping is due then.
    Waiting { ping_at: Instant },
    /// A ping was sent.
    Pinged {
        at: Instant,
        /// The last sign of life beside frames, or else the ping.
        since: Instant,
    },
    /// A ping was sent, and the driver was asked for signs of life.
    Probed { at: Instant, since: Instant },
}

impl Connection {
    /// When it next needs attention.
    fn deadline(&self, config: &Config) -> Option<Instant> {
        let alive = || {
            let liveness = match self.liveness {
                Liveness::Waiting { ping_at } => ping_at,
                Liveness::Pinged { at, since } => {
                    let silent = since + config.ping_timeout;
                    let ping = self.next_ping(config, at);
                    ping.map_or(silent, |ping| ping.min(silent))
                }
                Liveness::Probed { since, .. } => since + config.ping_timeout,
            };
            self.expires
                .map_or(liveness, |expires| expires.min(liveness))
        };
        match self.phase {
            Phase::Upgrading { until } | Phase::Authenticating { until } => Some(until),
            Phase::Registering { greet_by } => Some(greet_by.min(alive())),
            Phase::Live(_) => {
                let joins = (self.topics.as_ref()).and_then(|topics| topics.deadline());
                Some(joins.map_or_else(alive, |joins| joins.min(alive())))
            }
            Phase::Closing { until, stage, .. } => match stage {
                ClosingStage::Writing | ClosingStage::Sent => Some(until),
                ClosingStage::Aborted => None,
            },
            Phase::Gone => None,
        }
    }

    /// When it is pinged once more that was pinged then and has not answered.
    fn next_ping(&self, config: &Config, at: Instant) -> Option<Instant> {
        match self.pings {
            Pings::Answered => None,
            Pings::EachInterval => Some(at + config.ping_interval),
        }
    }

    /// The next ping; or the last one, whether anything came since, and when the terminal last
    /// showed life or was probed.
    pub(super) fn fingerprint_liveness(&self, now: Instant, hasher: &mut impl Hasher) {
        std::mem::discriminant(&self.liveness).hash(hasher);
        match self.liveness {
            Liveness::Waiting { ping_at } => ping_at.fingerprint(now, hasher),
            Liveness::Pinged { at, since } | Liveness::Probed { at, since } => {
                (at, since).fingerprint(now, hasher);
                (self.heard >= at).hash(hasher);
            }
        }
    }
}

/// The ping that was sent then is answered: the next is due one interval behind it.
fn answered(cx: &mut Context<'_>, at: Instant) -> Liveness {
    let ping_at = ping_behind(cx, at).max(cx.now.mono);
    Liveness::Waiting { ping_at }
}

/// Portions in which the pings of an interval leave, so that an instance with many idle terminals is woken for each
/// portion and not for each ping. Those of 10,000 terminals are some 40 pings each, at the usual interval.
const PORTIONS: u32 = 256;

/// When a terminal is pinged that was opened then, or pinged and has answered: within an interval, and with jitter.
pub(super) fn ping_behind(cx: &mut Context<'_>, since: Instant) -> Instant {
    let interval = cx.config.ping_interval;
    let portion = interval / PORTIONS;
    let jittered = since + cx.random.jitter.shortened(interval);
    let ping_at = jittered.next_step(portion);
    match ping_at <= since + interval {
        true => ping_at,
        false => ping_at.before(portion),
    }
}

impl Terminals {
    /// Does what is due for one connection.
    pub(in crate::terminals) fn connection_due(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
    ) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        if connection.armed.is_none_or(|armed| armed > cx.now.mono) {
            return;
        }
        connection.armed = None;
        let due = connection.deadline(cx.config);
        if due.is_some_and(|due| due <= cx.now.mono) {
            self.attend(cx, key);
        }
        self.arm(cx, key);
    }

    fn attend(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        match &mut connection.phase {
            Phase::Upgrading { .. } => {
                let drop = Waiting::Drop(Outcome::Gone);
                self.close(cx, key, CloseCode::PingTimeout, drop, None);
            }
            Phase::Authenticating { .. } => {
                let drop = Waiting::Drop(Outcome::Gone);
                self.close(cx, key, CloseCode::NotAuthenticated, drop, None);
            }
            Phase::Registering { greet_by } => {
                if *greet_by <= cx.now.mono {
                    let greeting = connection.greeting_without_log();
                    self.greet(cx, key, greeting);
                }
                self.check_alive(cx, key);
            }
            Phase::Live(_) => {
                self.joins_due(cx, key);
                if (self.registry.get(key)).is_some_and(|connection| connection.is_live()) {
                    self.check_alive(cx, key);
                }
            }
            Phase::Closing { stage, .. } => {
                *stage = hooks::stage_once_aborted(cx.flaws, *stage);
                cx.out.push(Command::Abort { connection: key });
            }
            Phase::Gone => {}
        }
    }

    fn check_alive(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        if connection
            .expires
            .is_some_and(|expires| expires <= cx.now.mono)
        {
            self.close(cx, key, CloseCode::TokenExpired, Waiting::Write, None);
            return;
        }
        let timeout = cx.config.ping_timeout;
        let (at, since, probed) = match connection.liveness {
            Liveness::Waiting { ping_at } => {
                if ping_at <= cx.now.mono {
                    self.ping(cx, key);
                }
                return;
            }
            Liveness::Pinged { at, since } => (at, since, false),
            Liveness::Probed { at, since } => (at, since, true),
        };
        let ping = connection.next_ping(cx.config, at).filter(|_| !probed);
        let ping_is_due = ping.is_some_and(|ping| ping <= cx.now.mono);
        if since + timeout > cx.now.mono && !ping_is_due {
            return;
        }
        if connection.heard >= at {
            connection.liveness = answered(cx, at);
        } else if since + timeout > cx.now.mono {
            // Whether it answers is decided by the ping that it has not answered.
            self.ping_again(cx, key, since);
        } else if since + 2 * timeout <= cx.now.mono {
            // This instance stood still as well, and what the terminal said may wait to be read.
            self.ping(cx, key);
        } else if probed {
            self.give_up(cx, key);
        } else {
            let since = cx.now.mono;
            connection.liveness = Liveness::Probed { at, since };
            cx.out.push(Command::Probe { connection: key });
        }
    }

    /// A terminal has a new token. One that had ended is of use only as long as the terminal is not told so.
    pub(crate) fn refreshed(
        &mut self,
        cx: &mut Context<'_>,
        key: ConnectionKey,
        expires: Option<WallTime>,
        topics: Option<SharedRights>,
    ) {
        let expires = expires.map(|expires| end_of(cx, expires));
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        connection.expires = expires;
        self.arm(cx, key);
        self.rights_replaced(cx, key, topics);
    }

    fn ping(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        connection.liveness = Liveness::Pinged {
            at: cx.now.mono,
            since: cx.now.mono,
        };
        cx.out.push(Command::Ping { connection: key });
    }

    /// A terminal that has not answered is pinged, and its time runs on.
    fn ping_again(&mut self, cx: &mut Context<'_>, key: ConnectionKey, since: Instant) {
        if let Some(connection) = self.registry.get_mut(key) {
            let at = cx.now.mono;
            connection.liveness = Liveness::Pinged { at, since };
            cx.out.push(Command::Ping { connection: key });
        }
    }

    /// The driver says whether a terminal that was silent after a ping shows life.
    pub(crate) fn probed(&mut self, cx: &mut Context<'_>, key: ConnectionKey, life: Life) {
        let Some(connection) = self.registry.get_mut(key) else {
            cx.stats.stale_events += 1;
            return;
        };
        // It may have been pinged again meanwhile.
        let Liveness::Probed { at, .. } = connection.liveness else {
            return;
        };
        if !connection.is_open() {
            return;
        }
        connection.liveness = match life {
            Life::NotShown if connection.heard < at => return self.give_up(cx, key),
            Life::Shown | Life::NotShown => Liveness::Pinged {
                at,
                since: cx.now.mono,
            },
            Life::Answered => answered(cx, at),
        };
        self.arm(cx, key);
    }

    fn give_up(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let drop = Waiting::Drop(Outcome::Gone);
        self.close(cx, key, CloseCode::PingTimeout, drop, None);
    }

    /// Makes sure that a timer fires no later than the connection's deadline. Timers that fire
    /// early find nothing due.
    pub(in crate::terminals) fn arm(&mut self, cx: &mut Context<'_>, key: ConnectionKey) {
        let Some(connection) = self.registry.get_mut(key) else {
            return;
        };
        let Some(due) = connection.deadline(cx.config) else {
            return;
        };
        if connection.armed.is_none_or(|armed| due < armed) {
            connection.armed = Some(due);
            cx.arm(due, TerminalsTimer(key));
        }
    }
}
