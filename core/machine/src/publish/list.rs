//! What an application asks: the connections of a user, the instances of the cluster.

use crate::command::{Command, Outbox};
use crate::directory::{Operation, Row};
use crate::event::Answer;
use crate::id::{CallId, ConnectionId, UserId};
use crate::instance::Instance;
use crate::membership::load;
use crate::membership::standing::Standing;
use crate::message::{ConnectionInfo, Connections, InstanceInfo, PushRefused};
use crate::publish::purpose::Purpose;
use crate::publish::push::WaitsForView;
use crate::time::{Instant, Now};

impl Instance {
    pub(crate) fn connections(&mut self, call: CallId, user: UserId, out: &mut Outbox) {
        if self.membership.waiting() >= self.base.config.pushes {
            let answer = Box::new(Answer::Connections(Err(PushRefused::Overloaded)));
            out.push(Command::Answer { call, answer });
        } else if self.membership.is_linked() {
            let operation = Operation::Lookup {
                key: user.clone().into(),
            };
            let purpose = Purpose::Connections { call, user };
            self.membership.ask(operation, purpose);
        } else {
            self.connections_unknown(call, &user, out);
        }
    }

    /// The rows of a user have come. Who was in doubt when they were asked for is in doubt.
    pub(crate) fn connections_read(
        &mut self,
        now: Now,
        asked: Instant,
        call: CallId,
        user: &UserId,
        rows: Vec<(ConnectionId, Row)>,
        out: &mut Outbox,
    ) {
        let unknown = rows
            .iter()
            .any(|(_, row)| self.standing(row.instance, asked, now) == Standing::Unknown);
        if unknown {
            let list = WaitsForView::List {
                call,
                asked,
                user: user.clone(),
                rows,
            };
            self.wait_for_view(now, list);
        } else {
            self.list_connections(now, asked, call, user, &rows, out);
        }
    }

    /// Lists the live ones among the rows, and the local ones. Whom the view does not know is dead.
    pub(crate) fn list_connections(
        &mut self,
        now: Now,
        asked: Instant,
        call: CallId,
        user: &UserId,
        rows: &[(ConnectionId, Row)],
        out: &mut Outbox,
    ) {
        let mut connections = self.local_connections(user);
        for (connection, row) in rows {
            let live = match self.standing(row.instance, asked, now) {
                Standing::Live { floor, .. } => row.epoch >= floor,
                Standing::Dead | Standing::Unknown => false,
            };
            if live && row.instance != self.base.identity.instance {
                connections.push(ConnectionInfo {
                    connection: *connection,
                    instance: row.instance,
                    connected: row.connected,
                });
            }
        }
        let doubtful = !self.membership.view().doubtful(asked, now.mono).is_empty();
        // A view that was long on its way shows leases that may have been renewed since.
        let outdated = rows.iter().any(|(_, row)| {
            self.membership.view().was_alive(row.instance)
                && self.standing(row.instance, asked, now) == Standing::Unknown
        });
        answer_connections(call, connections, doubtful || outdated, out);
    }

    /// The directory cannot tell: what is known here.
    pub(crate) fn connections_unknown(&mut self, call: CallId, user: &UserId, out: &mut Outbox) {
        answer_connections(call, self.local_connections(user), true, out);
    }

    fn local_connections(&self, user: &UserId) -> Vec<ConnectionInfo> {
        (self.terminals.greeted_of(user))
            .map(|connection| ConnectionInfo {
                connection: connection.id(),
                instance: self.base.identity.instance,
                connected: connection.connected(),
            })
            .collect()
    }

    pub(crate) fn instances(&self, now: Now, call: CallId, out: &mut Outbox) {
        let mut instances: Vec<InstanceInfo> = (self.membership.view().leases(now.mono))
            .map(|(instance, lease, load)| InstanceInfo {
                instance,
                lease: lease.clone(),
                load,
                this: false,
            })
            .collect();
        instances.push(InstanceInfo {
            instance: self.base.identity.instance,
            lease: (self.membership).lease(self.drain.departure(), &self.base.identity.address),
            load: load(&self.terminals, &self.base.stats),
            this: true,
        });
        instances.sort_unstable_by_key(|info| info.instance);
        let answer = Box::new(Answer::Instances(instances));
        out.push(Command::Answer { call, answer });
    }
}

fn answer_connections(
    call: CallId,
    mut connections: Vec<ConnectionInfo>,
    degraded: bool,
    out: &mut Outbox,
) {
    connections.sort_unstable_by_key(|info| info.connection);
    let answer = Answer::Connections(Ok(Connections {
        degraded,
        connections,
    }));
    out.push(Command::Answer {
        call,
        answer: Box::new(answer),
    });
}
