//! Round trips between instances and the directory, and the links that they go over.

use std::time::Duration;

use switchboard_core::command::RoundTrip;
use switchboard_core::directory::OperationResult;
use switchboard_core::event::Event;
use switchboard_core::id::OpId;
use switchboard_core::time::Instant;

use super::Directory;
use super::link::{DirectoryLink, PlannedFault};
use crate::context::Context;
use crate::hosts::Hosts;
use crate::ledger::{FaultKind, Scope};
use crate::noise::Purpose;
use crate::observed::Life;
use crate::redis::{Connection, is_unknown_script};
use crate::schedule::TripFault;
use crate::vocabulary::happening::Happening;

/// The pause before a link is opened again, and as much again of jitter.
const RECONNECT: Duration = Duration::from_millis(100);
/// How long after a link broke its requests may still be executed.
const STRAY: Duration = Duration::from_secs(3);

/// A round trip that has reached a server.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(super) life: Life,
    pub(super) connection: Connection,
    /// What was planned for it.
    pub(super) mark: Option<PlannedFault>,
    /// So many of its operations have come.
    count: usize,
    /// The link that the answer goes over, if that is still there.
    link: Option<u32>,
}

impl Arrival {
    /// How many of its operations have come.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }
}

impl Directory {
    /// An instance has just started, and nothing is left of what was planned for the one before.
    pub(crate) fn renew_link(&mut self, host: usize) {
        self.links[host] = DirectoryLink::default();
    }

    /// An instance is gone, and its link with it. Nobody is told.
    pub(crate) fn end_of_host(&mut self, host: usize) {
        self.links[host].connection = None;
        self.evicted.retain(|(other, _)| *other != host);
    }

    /// An instance tries to open its link.
    pub(crate) fn open(&mut self, cx: &mut Context, hosts: &Hosts, life: Life) {
        if !hosts.lives(life) || self.links[life.host].connection.is_some() {
            return;
        }
        if self.links[life.host].away_until > cx.now {
            return open_later(cx, life);
        }
        let Some(connection) = self.redis.connect(cx.now) else {
            self.note_refusal(cx);
            return open_later(cx, life);
        };
        let scope = Scope::Instance(life.host);
        cx.fault_ends(FaultKind::RedisAway, Some(scope));
        let at = self.arrival(cx, Purpose::Reply, life);
        let link = &mut self.links[life.host];
        link.connection = Some(connection);
        link.number += 1;
        link.back = cx.now;
        link.there = at;
        cx.tell_at(life, at, Event::DirectoryUp);
    }

    /// The link of an instance breaks, if it is open.
    pub(crate) fn break_link(&mut self, cx: &mut Context, hosts: &mut Hosts, host: usize) {
        let life = hosts.life(host);
        if self.links[host].connection.take().is_none() {
            return;
        }
        hosts.event(cx, life, Event::DirectoryDown);
        open_later(cx, life);
    }

    /// An instance sends a round trip.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        life: Life,
        trip: Box<RoundTrip>,
    ) {
        let Some(connection) = self.links[life.host].connection else {
            // The instance will be told that the link is gone, or has been.
            return;
        };
        let at = self.arrival(cx, Purpose::Request, life);
        let link = &mut self.links[life.host];
        let mut at = at.max(link.there);
        let number = link.number;
        let fault = link.mark(&trip);
        if fault.is_some() {
            let scope = Scope::Instance(life.host);
            cx.fault(FaultKind::RedisTrip, scope, cx.now + STRAY);
        }
        match fault {
            None
            | Some(
                TripFault::ReplyLost
                | TripFault::ReplyLate
                | TripFault::Torn
                | TripFault::Refused(_),
            ) => {}
            Some(TripFault::RequestLost) => return,
            Some(TripFault::Late) => {
                at = at + given_up(cx);
                // Whatever is sent meanwhile comes later still, the renewal of the lease as well.
                if at.since(cx.now) * 2 >= cx.config.lease {
                    cx.fault(FaultKind::RedisSlow, Scope::Instance(life.host), at);
                }
            }
            Some(TripFault::Stray) => {
                let ids = cx.noise_ids(life);
                at = cx.now + cx.noise.span(STRAY, Purpose::Stray, &ids);
                self.break_link(cx, hosts, life.host);
            }
        }
        if fault != Some(TripFault::Stray) {
            self.links[life.host].there = at;
        }
        cx.put(
            at,
            Happening::Request {
                life,
                link: number,
                connection,
                trip,
            },
        );
    }

    /// A round trip reaches the directory. `None` if nobody is there to take it.
    pub(crate) fn arrive(
        &mut self,
        cx: &Context,
        hosts: &Hosts,
        life: Life,
        number: u32,
        connection: Connection,
        trip: &RoundTrip,
    ) -> Option<Arrival> {
        let lives = hosts.lives(life);
        let link = &mut self.links[life.host];
        let mark = if lives {
            link.marks.remove(&trip.op)
        } else {
            None
        };
        let fault = mark.map(|(_, fault)| fault);
        let present = lives && link.connection == Some(connection) && link.number == number;
        let stray = fault == Some(TripFault::Stray);
        // What a process sent before it ended is executed all the same.
        if lives && !present && !stray {
            return None;
        }
        let connection = if stray && !self.redis.answers(connection) {
            self.redis.at_primary()
        } else {
            connection
        };
        let mut count = trip.operations.len();
        if fault == Some(TripFault::Torn) {
            let ids = cx.noise_ids(life);
            count = cx.noise.below(count as u64, Purpose::Tear, &ids) as usize;
        }
        Some(Arrival {
            life,
            connection,
            mark,
            count,
            link: present.then_some(number),
        })
    }

    /// What has arrived of a round trip is executed: the answer goes back, or the link breaks.
    pub(crate) fn executed(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        arrival: &Arrival,
        op: OpId,
        outcomes: Vec<OperationResult>,
    ) {
        let life = arrival.life;
        let late = match arrival.mark.map(|(_, fault)| fault) {
            Some(TripFault::Torn) => return self.break_link(cx, hosts, life.host),
            Some(TripFault::ReplyLost | TripFault::Stray) => return,
            Some(TripFault::ReplyLate) => given_up(cx),
            Some(TripFault::RequestLost | TripFault::Late | TripFault::Refused(_)) | None => {
                Duration::ZERO
            }
        };
        let Some(link) = arrival.link else {
            return;
        };
        let at = self.arrival(cx, Purpose::Reply, life);
        let back = &mut self.links[life.host].back;
        *back = (at + late).max(*back);
        let reply = Happening::Reply {
            life,
            link,
            op,
            outcomes,
        };
        cx.put(*back, reply);
    }

    /// The answer to a round trip reaches its instance.
    pub(crate) fn answer(
        &mut self,
        cx: &mut Context,
        hosts: &mut Hosts,
        life: Life,
        number: u32,
        op: OpId,
        outcomes: Vec<OperationResult>,
    ) {
        let link = &self.links[life.host];
        if !hosts.lives(life) || link.connection.is_none() || link.number != number {
            return;
        }
        if outcomes.iter().any(is_unknown_script) {
            // A new link loads the scripts. Sent again over this one, what was not executed would
            // run after what came behind it.
            return self.break_link(cx, hosts, life.host);
        }
        let outcomes = Ok(outcomes);
        hosts.event(cx, life, Event::Directory { op, outcomes });
    }

    /// When that arrives which is sent to the directory now, or from it.
    fn arrival(&self, cx: &Context, purpose: Purpose, life: Life) -> Instant {
        let ids = [life.host as u64, life.number.into()];
        self.latency.arrival(cx.noise, cx.now, purpose, &ids)
    }
}

fn open_later(cx: &mut Context, life: Life) {
    let ids = cx.noise_ids(life);
    let wait = RECONNECT + cx.noise.span(RECONNECT, Purpose::Reconnect, &ids);
    cx.put(cx.now + wait, Happening::OpenDirectory(life));
}

/// A time after which an instance has given a round trip up.
fn given_up(cx: &Context) -> Duration {
    cx.config.directory_timeout * 3 / 2
}
