//! The model of Redis: core's directory in memory, and what goes wrong with servers.
//!
//! What a server answers, also when it refuses, and what is left of its content after each fault is
//! compared with a real `redis-server` by the test `conformance`.

mod content;
mod server;

use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::LogReply;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::directory::{DirectorySettings, Operation, OperationResult, Reply};
use switchboard_core::id::TopicId;
use switchboard_core::key::Key;
use switchboard_core::time::Instant;

use crate::fingerprint::{Fingerprint, Print, timeless};
use crate::schedule::{ClockStep, ErrorReply};

use content::Content;
use server::Server;

pub use content::ChainLink;
pub(crate) use server::{is_unknown_script, kind};

/// A primary, the former primaries that still answer whoever is connected to them, and the replica
/// that takes over when it is told.
///
/// The moments that are handed in are true ones; the servers' clock may differ from them.
#[derive(Clone, Debug)]
pub struct Redis {
    primary: Server,
    former: Vec<Server>,
    servers: u32,
    /// Links can be opened to the primary, and those that are open lead to it.
    reachable: bool,
    refuses: Option<Refusal>,
    clock: ServerClock,
    /// When the replica has said last that it has all that the primary has.
    confirmed: Option<Instant>,
}

// Servers keep moments of their own clock.
impl Fingerprint for Redis {
    fn fingerprint(&self, to: &mut Print) {
        let Self {
            primary,
            former,
            servers,
            reachable,
            refuses,
            clock: _,
            confirmed,
        } = self;
        let clock = self.clock(to.now);
        primary.fingerprint(clock, to);
        for server in former {
            server.fingerprint(clock, to);
        }
        (former.len(), *servers, *reachable).fingerprint(to);
        let refuses = refuses.filter(|refusal| refusal.until > to.now);
        (refuses.map(|refusal| (refusal.error, refusal.until))).fingerprint(to);
        clock.fingerprint(to);
        (to.now.since(clock)).fingerprint(to);
        if let Some(confirmed) = confirmed {
            to.now.since(*confirmed).fingerprint(to);
        }
    }
}

/// A connection to one run of one server. It leads nowhere once that run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    server: ServerId,
    run: u32,
}

/// One server: a replica is another one than its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId(u32);

timeless!(Connection, ServerId);

impl ServerId {
    pub(crate) const fn get(self) -> u64 {
        self.0 as u64
    }
}

impl Connection {
    /// Where it leads.
    pub const fn server(self) -> ServerId {
        self.server
    }
}

/// What becomes of a primary whose replica takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Former {
    /// Its process is gone.
    Gone,
    /// It takes reads and writes of those who are connected to it, until it is demoted.
    Answers,
}

/// An error that is answered for some time.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    error: ErrorReply,
    until: Instant,
}

/// How far the servers' clock is from the true time.
#[derive(Clone, Copy, Debug, Default)]
struct ServerClock {
    ahead: Duration,
    behind: Duration,
}

impl ServerClock {
    fn at(self, now: Instant) -> Instant {
        (now + self.ahead).before(self.behind)
    }
}

impl Redis {
    /// An empty server that serves.
    pub fn new(settings: DirectorySettings) -> Self {
        Self::holding(MemoryDirectory::new(settings))
    }

    /// A server that serves this content.
    pub fn holding(content: MemoryDirectory) -> Self {
        Self {
            primary: Server::new(ServerId(0), Content::new(content)),
            former: Vec::new(),
            servers: 1,
            reachable: true,
            refuses: None,
            clock: ServerClock::default(),
            confirmed: None,
        }
    }

    /// Opens a connection as a directory link does: it wants a primary, and loads the scripts.
    /// `None` if the server is not there, or refuses what that takes.
    pub fn connect(&mut self, now: Instant) -> Option<Connection> {
        let refused = self.refusal(now).is_some_and(ErrorReply::refuses_links);
        if !self.reachable || refused {
            return None;
        }
        self.primary.load_scripts();
        Some(self.primary.connection())
    }

    /// Executes an operation, or refuses it if it is a write and the primary takes none, from anybody or
    /// from whoever asks. `None` if nobody is at the other end of the connection.
    pub fn execute(
        &mut self,
        now: Instant,
        connection: Connection,
        refused: Option<ErrorReply>,
        operation: &Operation,
    ) -> Option<OperationResult> {
        let clock = self.clock.at(now);
        if connection == self.primary.connection() {
            let refusal = self.refusal(now).or(refused);
            let primary = self.reachable.then_some(&mut self.primary)?;
            let outcome = primary.execute(now, clock, refusal, operation);
            return Some(self.with_replica(now, outcome));
        }
        let former = (self.former.iter_mut()).find(|former| former.connection() == connection)?;
        Some(former.execute(now, clock, None, operation))
    }

    /// What the primary answers that has waited for its replica. A former primary has none.
    fn with_replica(&mut self, now: Instant, mut outcome: OperationResult) -> OperationResult {
        if let Ok(Reply::Log(LogReply::Confirmed { replicas, .. })) = &mut outcome {
            *replicas = 1;
            self.confirmed = Some(now);
        }
        outcome
    }

    /// Whether somebody is at the other end of a connection.
    pub fn answers(&self, connection: Connection) -> bool {
        self.server(connection).is_some()
    }

    /// The connection that a request ends up on whose own is gone, when something between the two
    /// has held it back.
    pub(crate) const fn at_primary(&self) -> Connection {
        self.primary.connection()
    }

    /// What the server at the other end of a connection knows.
    pub fn content(&self, connection: Connection) -> Option<&MemoryDirectory> {
        self.server(connection)
            .map(|server| server.content().directory())
    }

    /// What the primary knows.
    pub const fn primary(&self) -> &MemoryDirectory {
        self.primary.content().directory()
    }

    /// All records of the history of a key's log in which the primary is, the oldest first: kept, trimmed
    /// or expired.
    pub fn chain(&self, channel: &Channel) -> &[ChainLink] {
        self.primary.content().chain(channel)
    }

    /// Those records of a log at the primary whose pushes may be remembered, the oldest first: deleted ones too.
    pub(crate) fn remembered(&self, now: Instant, channel: &Channel) -> &[ChainLink] {
        self.primary
            .content()
            .remembered(self.clock.at(now), channel)
    }

    /// What the servers' clock says.
    pub fn clock(&self, now: Instant) -> Instant {
        self.clock.at(now)
    }

    /// Whether the primary can be reached.
    pub const fn set_reachable(&mut self, reachable: bool) {
        self.reachable = reachable;
    }

    /// The primary answers an error until this moment.
    pub const fn refuse(&mut self, error: ErrorReply, until: Instant) {
        self.refuses = Some(Refusal { error, until });
    }

    /// Until when the primary answers an error, if it does so.
    pub fn refuses_until(&self, now: Instant) -> Option<Instant> {
        let refusal = self.refuses.filter(|refusal| now < refusal.until)?;
        Some(refusal.until)
    }

    /// The primary can be reached and refuses nothing.
    pub const fn heal(&mut self) {
        self.reachable = true;
        self.refuses = None;
    }

    /// The primary writes its snapshot.
    pub fn save(&mut self, now: Instant) {
        self.primary.save(self.clock.at(now));
    }

    /// The primary restarts with its last snapshot, or empty if there is none.
    pub fn restart(&mut self, now: Instant) {
        self.primary.restart(self.clock.at(now));
    }

    /// The primary restarts without its data.
    pub fn restart_empty(&mut self, now: Instant) {
        self.primary.forget_snapshot();
        self.restart(now);
    }

    /// Whether the primary knows the scripts.
    pub fn knows_scripts(&self) -> bool {
        self.primary.knows_scripts()
    }

    /// The primary forgets the scripts.
    pub const fn flush_scripts(&mut self) {
        self.primary.flush_scripts();
    }

    /// The primary evicts the rows of a user. Returns whether there were any.
    pub fn evict_rows(&mut self, now: Instant, key: &Key) -> bool {
        let clock = self.clock.at(now);
        self.primary.evict_rows(now, clock, key)
    }

    /// The primary evicts a log. Returns whether there was one.
    pub fn evict_log(&mut self, now: Instant, channel: &Channel) -> bool {
        let clock = self.clock.at(now);
        self.primary.evict_log(now, clock, channel)
    }

    /// The primary evicts what instances say of a topic. Returns whether anything was said.
    pub fn evict_topic(&mut self, now: Instant, topic: &TopicId) -> bool {
        let clock = self.clock.at(now);
        self.primary.evict_topic(now, clock, topic)
    }

    /// The primary evicts the leases.
    pub fn evict_leases(&mut self, now: Instant) {
        self.primary.evict_leases(now, self.clock.at(now));
    }

    /// The clock of the servers jumps.
    pub fn step_clock(&mut self, now: Instant, step: ClockStep) {
        let clock = self.clock.at(now);
        for server in self.former.iter_mut().chain([&mut self.primary]) {
            server.expire(now, clock);
        }
        match step {
            ClockStep::Forward(span) => self.clock.ahead += span,
            ClockStep::Back(span) => self.clock.behind += span,
        }
    }

    /// The replica takes over, without what the primary did in the last span, but with all that it has said that it
    /// has. Returns the former primary.
    pub fn fail_over(&mut self, now: Instant, lost: Duration, former: Former) -> ServerId {
        let confirmed = self
            .confirmed
            .map_or(lost, |confirmed| now.since(confirmed));
        let lost = lost.min(confirmed);
        let promoted = Server::new(ServerId(self.servers), self.primary.as_of(now, lost));
        self.confirmed = None;
        self.servers += 1;
        let old = std::mem::replace(&mut self.primary, promoted);
        let id = old.id();
        match former {
            Former::Gone => {}
            Former::Answers => self.former.push(old),
        }
        id
    }

    /// A former primary becomes a replica of the present one: it has its content, and refuses writes.
    pub fn demote(&mut self, server: ServerId) {
        let content = self.primary.content().clone();
        if let Some(former) = self.former.iter_mut().find(|former| former.id() == server) {
            former.become_replica(content);
        }
    }

    pub(crate) fn is_replica(&self, server: ServerId) -> bool {
        (self.former.iter()).any(|former| former.id() == server && former.is_replica())
    }

    /// A server ends.
    pub fn end(&mut self, server: ServerId) {
        self.former.retain(|former| former.id() != server);
    }

    fn refusal(&self, now: Instant) -> Option<ErrorReply> {
        (self.refuses)
            .filter(|refusal| now < refusal.until)
            .map(|refusal| refusal.error)
    }

    fn server(&self, connection: Connection) -> Option<&Server> {
        let primary = self.reachable.then_some(&self.primary);
        (primary.into_iter().chain(&self.former)).find(|server| server.connection() == connection)
    }
}
