//! The turn of an instance: what it takes in comes from one part, and each of its commands concerns
//! one.

use switchboard_core::command::{Command, Outbox};
use switchboard_core::event::Event;

use super::World;
use crate::boundary::{Intake, Output};
use crate::observed::{Life, Observed, Topic};
use crate::schedule::Moment;
use crate::trace::{Entry, Given};
use crate::vocabulary::happening::Input;

impl World {
    pub(super) fn turn(&mut self, life: Life) {
        let Some(mut inputs) = self.hosts.begin_turn(&mut self.cx, life) else {
            return;
        };
        // Both lists keep their memory for the next turn.
        let mut out = std::mem::take(&mut self.outbox);
        for input in inputs.drain(..) {
            self.take_in(life, input, &mut out);
            self.tell_checkers();
        }
        self.hosts.reuse(life.host, inputs);
        if !self.hosts.serve_timers(&mut self.cx, life, &mut out) {
            return;
        }
        let next = self.hosts.next_timeout(life);
        let at = life.place();
        for (executed, command) in out.drain().enumerate() {
            if let Some(how) = self.hosts.dies(&mut self.cx, life.host, executed) {
                self.kill(life.host, how);
                break;
            }
            let entry = Entry::Command {
                at,
                command: Given(&command),
            };
            self.cx.trace(&entry);
            if self.cx.watches(Topic::Boundary) {
                let output = Output::of(&command);
                self.cx.observe(Observed::Gave { life, output });
            }
            self.execute(life, command);
            self.tell_checkers();
        }
        self.outbox = out;
        if let Some(at) = next {
            self.hosts.arm(&mut self.cx, life, at);
        }
        self.cx.observe(Observed::Turned(life));
    }

    fn take_in(&mut self, life: Life, input: Input, out: &mut Outbox) {
        let Self {
            cx,
            hosts,
            network,
            terminals,
            ..
        } = self;
        let at = life.place();
        match input {
            Input::Event(event) => {
                cx.trace(&Entry::Event { at, event: &event });
                match &*event {
                    Event::Closed {
                        connection,
                        closure,
                    } => {
                        let account = hosts.account(cx, life, *connection, *closure);
                        terminals.closed(cx, life.host, *connection, *closure, account);
                    }
                    Event::Topic { connection, wish } => {
                        terminals.wished(cx, life.host, *connection, wish);
                    }
                    Event::Heard { connection, frame } => {
                        terminals.heard(cx, life.host, *connection, *frame);
                    }
                    _ => {}
                }
                let says_who = match &*event {
                    Event::Authenticated { connection, .. } => Some(*connection),
                    _ => None,
                };
                if let Event::Refreshed {
                    connection,
                    expires,
                    ..
                } = &*event
                {
                    terminals.refreshed(cx, hosts, life.host, *connection, *expires);
                }
                hosts.handle(cx, life, *event, out);
                if let Some(connection) = says_who.filter(|it| hosts.knows(cx, life, *it)) {
                    terminals.authenticated(cx, hosts, life.host, connection);
                }
            }
            Input::Handshake(session) => {
                let handshake = terminals.handshake(session);
                let known = terminals.is_known(session);
                let Some(accepted) = hosts.accept(cx, life, handshake, known) else {
                    return;
                };
                let outcome = accepted.map(|(key, _)| key);
                cx.trace(&Entry::Handshake {
                    at,
                    session,
                    outcome,
                });
                if let Ok((connection, _)) = accepted {
                    let expires = terminals.expiry(cx, hosts, life, session);
                    let intake = Intake::Accepted {
                        connection,
                        expires,
                        known,
                    };
                    cx.observe(Observed::Took { life, intake });
                }
                match accepted {
                    Ok(accepted) => terminals.accepted(cx, hosts, life, session, accepted),
                    Err(refused) => terminals.refused(cx, session, refused),
                }
            }
            Input::AcceptLink(pipe) => {
                cx.trace(&Entry::Link { at, pipe });
                if let Some(key) = hosts.accept_link(cx, life) {
                    if let Some(key) = key {
                        let intake = Intake::LinkAccepted(key);
                        cx.observe(Observed::Took { life, intake });
                    }
                    network.accepted(cx, life, pipe, key);
                }
            }
            Input::Question(number) => {
                let event = self.take_question(number);
                let Self { cx, hosts, .. } = self;
                cx.trace(&Entry::Event { at, event: &event });
                hosts.handle(cx, life, event, out);
            }
            Input::Push(hand_in) => {
                let (call, push) = self.take_push(life, hand_in);
                let Self { cx, hosts, .. } = self;
                let event = Event::Push { call, push };
                cx.trace(&Entry::Event { at, event: &event });
                hosts.handle(cx, life, event, out);
            }
        }
    }

    fn execute(&mut self, life: Life, command: Command) {
        let Self {
            cx,
            hosts,
            directory,
            network,
            terminals,
            publishing,
            ..
        } = self;
        match command {
            Command::Send {
                connection,
                outgoing,
            } => terminals.send(cx, life.host, connection, outgoing),
            Command::Flush { connection } => terminals.flush(cx, publishing, life, connection),
            Command::Ping { connection } => terminals.ping(cx, life.host, connection),
            Command::Probe { connection } => terminals.probe(cx, life, connection),
            Command::Close { connection, code } => {
                terminals.close(cx, publishing, life, connection, code);
            }
            Command::Abort { connection } => terminals.abort(cx, life, connection),
            Command::Forget { connection } => terminals.forget(life.host, connection),
            Command::Directory(trip) => directory.send(cx, hosts, life, trip),
            Command::DirectoryReset => directory.break_link(cx, hosts, life.host),
            Command::Dial { link, dial } => network.dial(cx, hosts, life, link, &dial),
            Command::LinkWrite { link, batch } => {
                cx.moment_of_content(Moment::Deliver, &batch);
                network.write(cx, life, link, batch);
            }
            Command::LinkProven { link } => network.proven(life, link),
            Command::LinkClose { link } => network.close(cx, life, link),
            // No terminal of a schedule says anything on another connection than its own.
            Command::Hear(_) => {}
            Command::Answer { call, answer } => self.answered(call, &answer),
            Command::Notify(notice) => cx.observe(Observed::Noticed { life, notice }),
            Command::Log(log) => cx.observe(Observed::Logged { life, log }),
            Command::Drained => self.end(life.host, false),
        }
    }
}
