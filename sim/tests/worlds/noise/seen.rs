//! What happens to clients, line by line.

use std::sync::mpsc::{Sender, channel};

use switchboard_core::config::Config;
use switchboard_core::directory::Operation;
use switchboard_core::event::Answer;
use switchboard_core::id::ConnectionId;
use switchboard_core::message::{Audience, Receipt};
use switchboard_sim::World;
use switchboard_sim::checker::{Checker, Watch};
use switchboard_sim::observed::{Change, Observed};
use switchboard_sim::publishing::Asked;
use switchboard_sim::schedule::Schedule;

/// The user whose terminals are nobody's business.
const NEIGHBOUR: &str = "zoe";

/// Before what applications are told.
const TO_APPLICATIONS: &str = "an application is told";

/// Without what applications are told.
pub(crate) fn but_for_applications(mut lines: Vec<String>) -> Vec<String> {
    lines.retain(|line| !line.contains(TO_APPLICATIONS));
    lines
}

/// What clients see, what their applications are told and what the directory is asked for them, but for one of them.
pub(crate) fn seen(schedule: Schedule, config: Config, but_for: &'static str) -> Vec<String> {
    let (lines, heard) = channel();
    let checkers: Vec<Box<dyn Checker>> = vec![Box::new(Log { but_for, lines })];
    World::configured(schedule, config, checkers).run();
    let mut lines: Vec<String> = heard.into_iter().collect();
    // What happens at one moment has no order.
    lines.sort();
    lines
}

pub(crate) fn first_difference<'a>(
    one: &'a [String],
    other: &'a [String],
) -> Option<(&'a str, &'a str)> {
    let differs = |index: &usize| one.get(*index) != other.get(*index);
    let index = (0..one.len().max(other.len())).find(differs)?;
    let line = |of: &'a [String]| of.get(index).map_or("nothing", String::as_str);
    Some((line(one), line(other)))
}

/// Whether a push may be for the neighbour.
fn is_of_neighbours(to: &Audience) -> bool {
    match to {
        Audience::Everyone => true,
        Audience::User(user) | Audience::Connections { user, .. } => user.as_str() == NEIGHBOUR,
        Audience::Users(users) => users.iter().any(|user| user.as_str() == NEIGHBOUR),
        Audience::Topics { topics, .. } => topics.iter().any(|topic| topic.as_str() == "zoo"),
    }
}

/// What a receipt says, with the names of terminals: their ids come from one stream for all of an instance.
fn with_names(watch: &Watch<'_>, receipt: &Receipt) -> String {
    let mut terminals: Vec<_> = (receipt.terminals.iter())
        .map(|terminal| (name(watch, terminal.connection), terminal.outcome))
        .collect();
    terminals.sort_by(|(one, _), (other, _)| one.cmp(other));
    let Receipt {
        push,
        degraded,
        counts,
        instances,
        ..
    } = receipt;
    format!(
        "{TO_APPLICATIONS} the receipt of {push:?} degraded: {degraded} {counts:?} {terminals:?} {instances:?}"
    )
}

/// The client of a connection, and how many it had before. A peer that lies names connections that never were.
fn name(watch: &Watch<'_>, connection: ConnectionId) -> (String, usize) {
    let sessions = watch.scene().sessions();
    let Some(number) = watch.scene().session_of(connection) else {
        return ("nobody".to_owned(), 0);
    };
    let client = sessions[number].client();
    let earlier = sessions[..number]
        .iter()
        .filter(|one| one.client() == client);
    (client.to_owned(), earlier.count())
}

#[derive(Clone, Debug)]
struct Log {
    but_for: &'static str,
    lines: Sender<String>,
}

impl Log {
    fn line(&self, watch: &Watch<'_>, what: &str) {
        let now = watch.now().as_nanos();
        self.lines
            .send(format!("{now} {what}"))
            .expect("the test listens");
    }

    fn note(&self, watch: &Watch<'_>, session: usize, what: &str) {
        let client = watch.scene().sessions()[session].client();
        if !client.starts_with(self.but_for) {
            self.line(watch, &format!("{client} {what}"));
        }
    }

    fn note_connection(&self, watch: &Watch<'_>, connection: ConnectionId, what: &str) {
        if let Some(session) = watch.scene().session_of(connection) {
            self.note(watch, session, what);
        }
    }
}

impl Checker for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Seen {
                session, payload, ..
            } => self.note(watch, *session, &format!("sees {:?}", payload.bytes())),
            Observed::SeenClose { session, code } => {
                self.note(watch, *session, &format!("sees {code:?}"));
            }
            Observed::Greeted { session, degraded } => {
                self.note(
                    watch,
                    *session,
                    &format!("is greeted, degraded: {degraded}"),
                );
            }
            Observed::Answered { hand_in, receipt } => {
                let push = &watch.scene().pushes()[hand_in.push];
                if !is_of_neighbours(push.to()) {
                    self.line(watch, &with_names(watch, receipt));
                }
            }
            Observed::Told { question, answer } => {
                let asked = watch.scene().questions()[*question].what();
                if let (Asked::Connections(user), Answer::Connections(Ok(list))) =
                    (asked, &**answer)
                    && user.as_str() != NEIGHBOUR
                {
                    let mut there: Vec<_> = (list.connections.iter())
                        .map(|one| (name(watch, one.connection), one.instance, one.connected))
                        .filter(|(client, ..)| !client.0.starts_with(self.but_for))
                        .collect();
                    there.sort();
                    self.line(
                        watch,
                        &format!("{TO_APPLICATIONS} degraded: {} {there:?}", list.degraded),
                    );
                }
            }
            Observed::Executed(executed) => {
                // The slow sweep takes an instance's rows in their turn, and changes nothing.
                match executed.change {
                    Change::Row { before, after } if before != after => {}
                    Change::Row { .. }
                    | Change::Lease { .. }
                    | Change::Topic { .. }
                    | Change::None => return,
                }
                let (connection, what) = match &executed.operation {
                    Operation::Register { connection, .. } => (*connection, "register"),
                    Operation::Unregister { connection, .. } => (*connection, "unregister"),
                    Operation::RemoveRow { connection, .. } => (*connection, "remove"),
                    _ => return,
                };
                let host = executed.life.host + 1;
                self.note_connection(watch, connection, &format!("{what} by i{host}"));
            }
            _ => {}
        }
    }
}
