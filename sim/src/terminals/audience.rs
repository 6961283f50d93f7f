//! The audience of a push: who can be reached, and what a push explains of its terminals' sessions.

use switchboard_core::config::{Config, SlowConsumer};
use switchboard_core::id::{ConnectionId, TopicId, UserId};
use switchboard_core::message::{Action, Audience, Outcome, Receipt};
use switchboard_core::time::Instant;

use super::Terminals;
use crate::context::Context;
use crate::directory::Directory;
use crate::ledger::{FaultKind, Scope};
use crate::publishing::Published;
use crate::schedule::To;

impl Terminals {
    /// Whom an item of a schedule means.
    pub(crate) fn audience(&self, to: &To) -> Option<Audience> {
        let user = |name: &String| UserId::new(name).ok();
        Some(match to {
            To::User(name) => Audience::User(user(name)?),
            To::Users(names) => Audience::Users(names.iter().filter_map(user).collect()),
            To::Everyone => Audience::Everyone,
            To::Topics { topics, except } => Audience::Topics {
                topics: (topics.iter())
                    .filter_map(|topic| TopicId::new(topic.as_str()).ok())
                    .collect(),
                except: except
                    .as_ref()
                    .and_then(|client| self.connection_of(client)),
            },
        })
    }

    /// The present connection of a client.
    fn connection_of(&self, client: &str) -> Option<ConnectionId> {
        self.sessions[*self.clients.get(client)?].id
    }

    /// The sessions that a push must reach which is taken now, for the first time or once more.
    pub(crate) fn reachable(
        &self,
        cx: &Context,
        directory: &Directory,
        published: &Published,
        time: usize,
    ) -> Vec<usize> {
        // A repeat reaches nobody who came after the first time.
        let first = published.first();
        if let Audience::Topics { topics, except } = published.to() {
            let members = (topics.as_slice(), *except);
            return self.members_since(cx, directory, first, time == 0, members);
        }
        let is_for = |user: &UserId| published.is_for(user);
        self.reachable_since(cx, directory, first, time == 0, is_for)
    }

    /// The sessions of some users that were greeted by a moment; `rowless`: those of them too that were greeted
    /// without a row, and have one.
    pub(crate) fn reachable_since(
        &self,
        cx: &Context,
        directory: &Directory,
        first: Instant,
        rowless: bool,
        is_for: impl Fn(&UserId) -> bool,
    ) -> Vec<usize> {
        (self.sessions.iter().enumerate())
            .filter(|(number, session)| {
                let reachable = match session.greeted {
                    Some((at, false)) => at <= first,
                    Some((at, true)) => {
                        rowless && at <= first && self.has_live_row(cx, directory, *number)
                    }
                    None => false,
                };
                session.is_open() && reachable && is_for(&session.user)
            })
            .map(|(number, _)| number)
            .collect()
    }

    /// Whether the row of a session is written by the instance that holds it, and live.
    fn has_live_row(&self, cx: &Context, directory: &Directory, session: usize) -> bool {
        let this = &self.sessions[session];
        let row = (this.id).and_then(|id| directory.row(cx.now, &this.user.clone().into(), id));
        let holder = this.life.map(|life| cx.instance_id(life));
        row.is_some_and(|row| directory.is_live(cx.now, row) && holder == Some(row.instance))
    }

    /// Sessions that a push may end say so in the ledger: they may be closing from here on.
    pub(crate) fn excuse_kicked(&self, cx: &mut Context, published: &Published) {
        match published.action() {
            Action::Close(_) => {}
            Action::Frame(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. } => return,
        }
        let until = cx.now + Config::DEADLINE_DEFAULT + cx.config.close_timeout;
        for (session, this) in self.sessions.iter().enumerate() {
            if this.is_open() && published.is_for(&this.user) {
                cx.fault(FaultKind::Kicked, Scope::Session(session), until);
            }
        }
    }

    /// Terminals whose rows are thrown away are missed without a sign, until the sweep has written these again.
    pub(crate) fn excuse_evicted(&self, cx: &mut Context, user: &UserId) {
        for (session, this) in self.sessions.iter().enumerate() {
            if this.user == *user && this.is_open() {
                cx.fault_opens(FaultKind::RedisEvicted, Scope::Session(session));
            }
        }
    }

    /// The row of a connection is there again.
    pub(crate) fn row_is_back(&self, cx: &mut Context, connection: ConnectionId) {
        if let Some(session) = self.session_of(connection) {
            cx.fault_ends(FaultKind::RedisEvicted, Some(Scope::Session(session)));
        }
    }

    /// Sessions whose queues were full, as a receipt says, miss that push, and are closed if that is the
    /// policy. If the receipt does not list them all it may be any of those that should have got it.
    pub(crate) fn excuse_overflowed(&self, cx: &mut Context, receipt: &Receipt, due: &[usize]) {
        let listed: Vec<usize> = (receipt.terminals.iter())
            .filter(|terminal| terminal.outcome == Outcome::Overflow)
            .filter_map(|terminal| self.session_of(terminal.connection))
            .collect();
        let any = if receipt.counts.overflow > listed.len() as u64 {
            due
        } else {
            &[]
        };
        let until = match cx.config.slow_consumer {
            SlowConsumer::Close => cx.now + cx.config.close_timeout,
            SlowConsumer::DropOldest | SlowConsumer::DropNewest => cx.now,
        };
        for session in listed.iter().chain(any) {
            cx.fault(FaultKind::Overflowed, Scope::Session(*session), until);
        }
    }
}
