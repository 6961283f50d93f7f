//! Which part each item of a schedule concerns.

use switchboard_core::config::Config;
use switchboard_core::id::TopicId;
use switchboard_core::message::{self, Action, Until};

use super::World;
use crate::ledger::FaultKind;
use crate::observed::Quiescence;
use crate::publishing::{Asked, KeptInLogs};
use crate::schedule::{Act, Durability, Enrolment};
use crate::terminals::Pace;

impl World {
    pub(super) fn act(&mut self, act: &Act) {
        let Self {
            cx,
            hosts,
            directory,
            network,
            terminals,
            publishing,
            schedule,
            ..
        } = self;
        match act {
            Act::Connect {
                client,
                at,
                user,
                token,
            } => terminals.connect(cx, hosts, client, at.map(|host| host.0), user, *token),
            Act::Move { client, at, how } => {
                terminals.move_client(cx, hosts, client, at.map(|host| host.0), *how);
            }
            Act::Close { client, how } => terminals.close_client(cx, hosts, client, *how),
            Act::Follow {
                client,
                history,
                brings,
            } => terminals.follow(client, *history, *brings),
            Act::LogIn { client, login } => terminals.log_in_late(client, *login),
            Act::Prolong { client, token } => terminals.prolong(cx, client, *token),
            Act::FailUpgrade {
                client,
                at,
                user,
                how,
            } => {
                let at = at.map(|host| host.0);
                terminals.connect_in_vain(cx, hosts, client, at, user, *how);
            }
            Act::Forget { client, positions } => terminals.forget_positions(client, *positions),
            Act::Confirm { client, nth } => terminals.client_confirms(cx, client, *nth),
            Act::OfTopic { client, does } => terminals.of_topic(cx, client, does),
            Act::Enrol {
                at,
                user,
                topic,
                name,
                how,
                durable,
            } => {
                if let Some(action) = enrolling(*how, topic) {
                    publishing.enrol(cx, hosts, at.0, (user, name), (action, *durable));
                }
            }
            Act::Send { client, what } => terminals.client_sends(cx, hosts, client, *what),
            Act::StopReading { client } => {
                terminals.reads(cx, hosts, publishing, client, Pace::Never);
            }
            Act::Read { client } => terminals.reads(cx, hosts, publishing, client, Pace::AtOnce),
            Act::ReadSlowly { client, every } => {
                terminals.reads(cx, hosts, publishing, client, Pace::Every(*every));
            }
            Act::Storm { at } => terminals.storm(cx, hosts, at.map(|host| host.0)),
            Act::BlindBalancer(span) => terminals.blind_balancer(cx, *span),
            Act::AllLeave => terminals.all_leave(cx, hosts),
            Act::Push {
                at,
                to,
                name,
                durable,
                by,
                within,
            } => {
                let kept = KeptInLogs {
                    retention: schedule.log.retention(),
                    until: Until::Written,
                    durability: message::Durability::Primary,
                };
                let durable = match durable {
                    Durability::Plain => None,
                    Durability::Written => Some(kept),
                    Durability::Confirmed => Some(KeptInLogs {
                        until: Until::Acked,
                        ..kept
                    }),
                    Durability::Replicated => Some(KeptInLogs {
                        durability: message::Durability::Replica,
                        ..kept
                    }),
                };
                if let Some(to) = terminals.audience(to) {
                    let within = within.unwrap_or(Config::DEADLINE_DEFAULT);
                    publishing.publish(cx, hosts, at.0, to, name, (durable, *by, within));
                }
            }
            Act::Repeat { at, name } => publishing.repeat(cx, hosts, at.0, name),
            Act::Kick { at, to, name } => {
                if let Some(to) = terminals.audience(to) {
                    publishing.kick(cx, hosts, at.0, to, name);
                }
            }
            Act::Where { at, user } => publishing.ask_of(cx, hosts, at.0, user, Asked::Connections),
            Act::ReadLog { at, of } => publishing.ask_log(cx, hosts, at.0, of, Asked::Log),
            Act::DeleteLog { at, of } => {
                publishing.ask_log(cx, hosts, at.0, of, Asked::Deletion);
            }
            Act::Instances { at } => publishing.ask(cx, hosts, at.0, Asked::Instances),
            Act::Pause { host, span } => hosts.pause(cx, host.0, *span),
            Act::StepClock { host, step } => hosts.step_clock(cx, host.0, *step),
            Act::Kill { host, how } => self.kill(host.0, *how),
            Act::KillMidBatch {
                host,
                how,
                commands,
            } => hosts.doom(host.0, *commands, *how),
            Act::Restart { host, address } => self.restart(host.0, *address),
            Act::Drain {
                host,
                delay,
                spread,
            } => hosts.drain(cx, host.0, *delay, *spread),
            Act::Deploy {
                delay,
                spread,
                deadline,
            } => self.deploy(*delay, *spread, *deadline),
            Act::Redis(act) => {
                if let Some(user) = directory.act(cx, hosts, act) {
                    terminals.excuse_evicted(cx, &user);
                }
            }
            Act::RedisAway { host, span } => directory.away(cx, hosts, host.0, *span),
            Act::RedisRefuses { host, error, span } => {
                directory.refuse_writes_of(cx, host.0, *error, *span);
            }
            Act::NextTrip {
                host,
                operation,
                fault,
            } => directory.plan(host.0, *operation, *fault),
            Act::Cut { from, to, both } => network.cut(*from, *to, *both),
            Act::Clog { from, to, both } => network.clog(*from, *to, *both),
            Act::Mend { from, to, both } => network.mend(cx, hosts, *from, *to, *both),
            Act::HalfOpen { from, to, both } => network.half_open(cx, hosts, *from, *to, *both),
            Act::RefuseDials { from, to, span } => network.refuse_dials(cx, *from, *to, *span),
            Act::Reset { one, other } => network.reset(cx, hosts, *one, *other),
            Act::Stranger { at, says } => network.stranger(cx, hosts, at.0, *says),
            Act::Lie {
                from,
                to,
                lie,
                span,
            } => network.lie(cx, (from.0, to.0), *lie, *span),
            Act::LinkLatency(latency) => network.set_latency(cx, *latency),
            Act::On {
                moment,
                of,
                after,
                act,
            } => cx.wait_for(*moment, of, *after, act),
            Act::Heal => self.heal(),
            Act::ExpectConverged => self.quiesce(Quiescence::Converged),
            Act::ExpectAtRest => self.quiesce(Quiescence::AtRest),
        }
    }

    fn heal(&mut self) {
        let Self {
            cx,
            hosts,
            directory,
            network,
            terminals,
            publishing,
            deployments,
            ..
        } = self;
        directory.heal(cx);
        network.heal(cx, hosts);
        hosts.spare();
        deployments.end();
        cx.end_waiting();
        terminals.heal(cx, hosts, publishing);
        for kind in FaultKind::ALL.into_iter().filter(|kind| kind.is_healed()) {
            cx.fault_ends(kind, None);
        }
    }

    /// Asks all checkers what should be at rest.
    fn quiesce(&mut self, quiescence: Quiescence) {
        self.tell_checkers();
        let (watchers, scene) = self.watchers_and_scene();
        watchers.quiesce(quiescence, scene);
        self.carry();
    }
}

/// What terminals are told that join a topic, or leave it.
fn enrolling(how: Enrolment, topic: &str) -> Option<Action> {
    let topic = TopicId::new(topic).ok()?;
    Some(match how {
        Enrolment::Join => Action::Join(topic),
        Enrolment::Leave => Action::Leave(topic),
    })
}
