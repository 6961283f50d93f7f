//! What an application asks: the connections of a user.

use crate::command::Command;
use crate::context::Context;
use crate::directory::{Operation, Row};
use crate::event::Answer;
use crate::id::{CallId, ConnectionId, UserId};
use crate::key::Key;
use crate::message::{ConnectionInfo, Connections, PushRefused};
use crate::publish::Publish;
use crate::publish::waiting::WaitsForView;
use crate::time::Instant;
use crate::vocabulary::purpose::PublishPurpose;
use crate::vocabulary::standing::{Sight, Standing};
use crate::wings::Wings;

impl Publish {
    /// Lists the connections of a user, when their rows have come.
    pub(crate) fn connections(
        &self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        call: CallId,
        user: UserId,
    ) {
        let key = Key::from(user);
        if wings.membership.waiting() >= cx.config.pushes {
            let answer = Box::new(Answer::Connections(Err(PushRefused::Overloaded)));
            cx.out.push(Command::Answer { call, answer });
        } else if wings.membership.is_linked() {
            let operation = Operation::Lookup { key: key.clone() };
            let purpose = PublishPurpose::Connections { call, key };
            wings.membership.ask(operation, purpose);
        } else {
            connections_unknown(cx, wings, call, &key);
        }
    }

    /// The rows of a key have come. An instance that was in doubt when they were asked for is in doubt.
    pub(super) fn connections_read(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        asked: Instant,
        call: CallId,
        key: Key,
        rows: Vec<(ConnectionId, Row)>,
    ) {
        let known = |(_, row): &(_, Row)| match (wings.membership).standing(cx, row.instance, asked)
        {
            Standing::Live { .. } => true,
            Standing::Outdated | Standing::Unknown => false,
        };
        if !rows.iter().all(known) {
            let list = WaitsForView::List {
                call,
                asked,
                key,
                rows,
            };
            self.wait_for_view(cx, wings, list);
        } else {
            answer(cx, wings, asked, call, &key, &rows);
        }
    }
}

/// Lists the live ones among the rows, and the local ones. Rows of an instance that the view
/// does not know are dead.
pub(super) fn answer(
    cx: &mut Context<'_>,
    wings: &Wings<'_>,
    asked: Instant,
    call: CallId,
    key: &Key,
    rows: &[(ConnectionId, Row)],
) {
    let mut connections = local_connections(cx, wings, key);
    let mut outdated = false;
    for (connection, row) in rows {
        let live = match wings.membership.standing(cx, row.instance, asked) {
            Standing::Live { floor, .. } => row.epoch >= floor,
            Standing::Outdated => {
                outdated = true;
                false
            }
            Standing::Unknown => false,
        };
        if live && row.instance != cx.identity.instance {
            connections.push(ConnectionInfo {
                connection: *connection,
                instance: row.instance,
                connected: row.connected,
            });
        }
    }
    let doubt = wings.membership.doubt(cx, asked);
    let degraded = outdated || !doubt.instances.is_empty() || doubt.sight == Sight::Blind;
    answer_connections(cx, call, connections, degraded);
}

/// The directory cannot tell: what is known here.
pub(super) fn connections_unknown(
    cx: &mut Context<'_>,
    wings: &Wings<'_>,
    call: CallId,
    key: &Key,
) {
    let connections = local_connections(cx, wings, key);
    answer_connections(cx, call, connections, true);
}

fn local_connections(cx: &Context<'_>, wings: &Wings<'_>, key: &Key) -> Vec<ConnectionInfo> {
    (wings.terminals.greeted_of(key))
        .map(|connection| ConnectionInfo {
            connection: connection.id,
            instance: cx.identity.instance,
            connected: connection.connected,
        })
        .collect()
}

fn answer_connections(
    cx: &mut Context<'_>,
    call: CallId,
    mut connections: Vec<ConnectionInfo>,
    degraded: bool,
) {
    connections.sort_unstable_by_key(|info| info.connection);
    let answer = Box::new(Answer::Connections(Ok(Connections {
        degraded,
        connections,
    })));
    cx.out.push(Command::Answer { call, answer });
}
