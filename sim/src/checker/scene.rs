//! What of a world can be read from outside: by checkers, and after a run.

use std::collections::BTreeMap;

use switchboard_core::channel::Channel;
use switchboard_core::config::Config;
use switchboard_core::directory::log::LogPart;
use switchboard_core::directory::{Row, SeenLease};
use switchboard_core::id::{ConnectionId, Epoch, InstanceId, TopicId};
use switchboard_core::position::Position;
use switchboard_core::stats::{Gauges, Levels, Stats, Tables};
use switchboard_core::time::Instant;

use crate::context::Context;
use crate::directory::Directory;
use crate::hosts::Hosts;
use crate::ledger::Ledger;
use crate::observed::Life;
use crate::publishing::{Published, Publishing, Question};
use crate::redis::ChainLink;
use crate::terminals::{Session, Terminals};

/// What of a world can be seen, as it is at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    cx: &'a Context,
    hosts: &'a Hosts,
    directory: &'a Directory,
    terminals: &'a Terminals,
    publishing: &'a Publishing,
}

/// One process, as it is at this moment.
#[derive(Clone, Copy, Debug)]
pub struct HostView<'a> {
    scene: Scene<'a>,
    host: usize,
}

impl<'a> Scene<'a> {
    /// What these parts show.
    pub(crate) const fn new(
        cx: &'a Context,
        hosts: &'a Hosts,
        directory: &'a Directory,
        terminals: &'a Terminals,
        publishing: &'a Publishing,
    ) -> Self {
        Self {
            cx,
            hosts,
            directory,
            terminals,
            publishing,
        }
    }

    /// This moment, by a clock that no instance has.
    pub const fn now(&self) -> Instant {
        self.cx.now
    }

    /// The settings of all instances.
    pub const fn config(&self) -> &'a Config {
        &self.cx.config
    }

    /// All sessions that ever were, in the order in which their clients began to connect. Their
    /// place is their number.
    pub fn sessions(&self) -> &'a [Session] {
        self.terminals.sessions()
    }

    /// The session that a connection belongs to.
    pub fn session_of(&self, connection: ConnectionId) -> Option<usize> {
        self.terminals.session_of(connection)
    }

    /// All pushes, in the order in which they were first handed in. Their place is their number.
    pub fn pushes(&self) -> &'a [Published] {
        self.publishing.pushes()
    }

    /// All that was asked beside pushes, in the order in which it was. Their place is their number.
    pub fn questions(&self) -> &'a [Question] {
        self.publishing.questions()
    }

    /// The processes. Their place is their number, one below that in the schedule.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = HostView<'a>> + use<'a> {
        let scene = *self;
        (0..scene.hosts.len()).map(move |host| HostView { scene, host })
    }

    /// One process, if there is one of this number.
    pub fn host(&self, host: usize) -> Option<HostView<'a>> {
        let there = host < self.hosts.len();
        there.then_some(HostView { scene: *self, host })
    }

    /// Whether a process is in this life.
    pub fn lives(&self, life: Life) -> bool {
        self.hosts.lives(life)
    }

    /// The id of the instance in this life of a process.
    pub fn instance_of(&self, life: Life) -> InstanceId {
        self.cx.instance_id(life)
    }

    /// The rows that readers take for live: their instance's lease has not expired, and their epoch
    /// is not below its floor.
    pub fn live_rows(&self) -> BTreeMap<ConnectionId, Row> {
        self.each_live_row().collect()
    }

    /// The same rows, in no order of connections: whoever looks at all of them at each tick can do
    /// without a map.
    pub fn each_live_row(&self) -> impl Iterator<Item = (ConnectionId, Row)> + use<'a> {
        self.directory.live_rows(self.cx.now)
    }

    /// All rows, live or dead.
    pub fn rows(&self) -> impl Iterator<Item = (ConnectionId, Row)> + use<'a> {
        self.directory.rows(self.cx.now)
    }

    /// The row of a session's connection, live or dead.
    pub fn row_of(&self, session: usize) -> Option<Row> {
        let session = self.sessions().get(session)?;
        let key = session.user().clone().into();
        (self.directory).row(self.cx.now, &key, session.connection()?)
    }

    /// What the directory keeps of a log, if there is one.
    pub fn log(&self, channel: &Channel) -> Option<LogPart> {
        self.directory.log(self.cx.now, channel)
    }

    /// The last position of a log, if there is one.
    pub fn log_head(&self, channel: &Channel) -> Option<Position> {
        self.directory.head(self.cx.now, channel)
    }

    /// All records of the history of a log in which the directory is, the oldest first: kept, trimmed
    /// or expired.
    pub fn log_chain(&self, channel: &Channel) -> &'a [ChainLink] {
        self.directory.chain(self.cx.now, channel)
    }

    /// Those records of a log whose pushes may be remembered, the oldest first: those that were deleted are
    /// among them, and those of a log that has ended are not.
    pub fn log_remembered(&self, channel: &Channel) -> &'a [ChainLink] {
        self.directory.remembered(self.cx.now, channel)
    }

    /// Whether a record was added and so many others behind it that the log keeps it no longer.
    pub fn gave_way(&self, channel: &Channel, position: Position, records: u32) -> bool {
        let chain = self.log_chain(channel);
        let place = chain.iter().rposition(|link| link.position == position);
        place.is_some_and(|place| chain.len() - place > records as usize)
    }

    /// All leases, those that have expired too.
    pub fn leases(&self) -> impl Iterator<Item = SeenLease> + use<'a> {
        self.directory.leases(self.cx.now)
    }

    /// The lease of one instance, if the directory has it, expired or not.
    pub fn lease(&self, instance: InstanceId) -> Option<SeenLease> {
        self.directory.lease(self.cx.now, instance)
    }

    /// What the directory says of topics: which instances have members, each under which epoch, live or dead.
    pub fn topic_rows(&self) -> impl Iterator<Item = (&'a TopicId, InstanceId, Epoch)> + use<'a> {
        self.directory.topic_rows(self.cx.now)
    }

    /// Whether readers take it for true that an instance has members of a topic.
    pub fn is_entered(&self, topic: &TopicId, instance: InstanceId) -> bool {
        self.directory.is_entered(self.cx.now, topic, instance)
    }

    /// Whether a row is live by the directory as it is at this moment.
    pub fn is_live(&self, row: Row) -> bool {
        self.directory.is_live(self.cx.now, row)
    }

    /// What can be explained, and by what.
    pub const fn ledger(&self) -> &'a Ledger {
        self.cx.ledger()
    }
}

impl<'a> HostView<'a> {
    /// Counted from 0, as in the schedule.
    pub const fn number(&self) -> usize {
        self.host
    }

    /// Its present life, or its last if it does not run.
    pub fn life(&self) -> Life {
        self.scene.hosts.life(self.host)
    }

    /// Whether its link to the directory leads to the present primary.
    pub fn asks_primary(&self) -> bool {
        self.scene.directory.asks_primary(self.host)
    }

    /// Whether its instance runs.
    pub fn runs(&self) -> bool {
        self.scene.hosts.runs(self.host)
    }

    /// What others dial.
    pub fn address(&self) -> &'a str {
        self.scene.hosts.address(self.host)
    }

    /// It stands still until then, if that is to come.
    pub fn paused_until(&self) -> Instant {
        self.scene.hosts.paused_until(self.host)
    }

    /// What its instance holds, if it runs.
    pub fn gauges(&self) -> Option<Gauges> {
        self.scene.hosts.gauges(self.scene.cx, self.host)
    }

    /// The sessions whose connections its instance has not forgotten.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = usize> + use<'a> {
        self.scene.terminals.sessions_at(self.host)
    }

    /// Whether its instance runs, and says that it takes terminals.
    pub fn is_ready(&self) -> bool {
        self.scene.hosts.is_ready(self.host)
    }

    /// How full the tables and queues of its instance are, if it runs.
    pub fn levels(&self) -> Option<Levels> {
        self.scene.hosts.levels(self.host)
    }

    /// How many entries each table and queue of its instance has, if it runs.
    pub fn tables(&self) -> Option<Tables> {
        self.scene.hosts.tables(self.host)
    }

    /// What its instance has counted, if it runs.
    pub fn stats(&self) -> Option<&'a Stats> {
        self.scene.hosts.stats(self.host)
    }
}
