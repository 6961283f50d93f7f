//! One server: what it knows, what it remembers of its past, and what it refuses.

use std::collections::VecDeque;
use std::time::Duration;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::{LogOperation, LogReply, Logged};
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::directory::redis::Value;
use switchboard_core::directory::{Keeping, Operation, OperationError, OperationResult, Reply};
use switchboard_core::id::TopicId;
use switchboard_core::key::Key;
use switchboard_core::time::Instant;

use super::content::Content;
use super::{Connection, ServerId};
use crate::fingerprint::{Fingerprint as _, Print};
use crate::schedule::{ErrorReply, OperationKind};

/// How far back a failover can go: longer than any replica lags that anybody would promote.
const HISTORY: Duration = Duration::from_secs(30);

/// A server in the model of Redis.
#[derive(Clone, Debug)]
pub(super) struct Server {
    id: ServerId,
    /// Counts its restarts.
    run: u32,
    content: Content,
    role: Role,
    scripts: Scripts,
    snapshot: Option<Content>,
    /// The content at the start of the log.
    old: Content,
    /// What has changed it since: the true moment, what the clock said, and what.
    log: VecDeque<(Instant, Instant, ServerChange)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    Replica,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scripts {
    Loaded,
    Unknown,
}

#[derive(Clone, Debug)]
enum ServerChange {
    Operation(Operation),
    RowsEvicted(Key),
    LogEvicted(Channel),
    TopicEvicted(TopicId),
    LeasesEvicted,
    RowsExpired,
}

impl ServerChange {
    fn apply(&self, content: &mut Content, clock: Instant) {
        match self {
            Self::Operation(operation) => drop(content.execute(clock, operation)),
            Self::RowsEvicted(key) => {
                content.evict_rows(clock, key);
            }
            Self::LogEvicted(channel) => {
                content.evict_log(clock, channel);
            }
            Self::TopicEvicted(topic) => {
                content.evict_topic(clock, topic);
            }
            Self::LeasesEvicted => content.evict_leases(),
            Self::RowsExpired => content.expire(clock),
        }
    }
}

impl Server {
    /// Feeds what decides its future to a print. The log is a part of it: a failover goes back to it.
    pub(super) fn fingerprint(&self, clock: Instant, to: &mut Print) {
        let Self {
            id,
            run,
            content,
            role,
            scripts,
            snapshot,
            old,
            log,
        } = self;
        (*id, *run).fingerprint(to);
        to.word(&(role, scripts));
        content.fingerprint(clock, &mut to.hasher);
        old.fingerprint(clock, &mut to.hasher);
        snapshot.is_some().fingerprint(to);
        if let Some(snapshot) = snapshot {
            snapshot.fingerprint(clock, &mut to.hasher);
        }
        log.len().fingerprint(to);
        for (at, at_clock, change) in log {
            (to.now.since(*at), clock.since(*at_clock)).fingerprint(to);
            to.word(change);
        }
    }
}

impl Server {
    pub(super) fn new(id: ServerId, content: Content) -> Self {
        Self {
            id,
            run: 0,
            old: content.clone(),
            content,
            role: Role::Primary,
            scripts: Scripts::Unknown,
            snapshot: None,
            log: VecDeque::new(),
        }
    }

    pub(super) const fn id(&self) -> ServerId {
        self.id
    }

    /// A connection to its present run.
    pub(super) const fn connection(&self) -> Connection {
        Connection {
            server: self.id,
            run: self.run,
        }
    }

    pub(super) const fn content(&self) -> &Content {
        &self.content
    }

    /// Executes an operation, or refuses it. What is refused without a look at it comes first, then
    /// scripts that are unknown, then what must not be written.
    pub(super) fn execute(
        &mut self,
        now: Instant,
        clock: Instant,
        refusal: Option<ErrorReply>,
        operation: &Operation,
    ) -> OperationResult {
        let refuse = |error: ErrorReply| operation.decode(Value::Error(error.text().to_owned()));
        let by_script = runs_script(operation);
        match refusal {
            Some(error) if error.comes_first() => return refuse(error),
            _ if by_script && self.scripts == Scripts::Unknown => {
                return refuse(ErrorReply::NoScript);
            }
            Some(ErrorReply::NoScript) if by_script => return refuse(ErrorReply::NoScript),
            Some(ErrorReply::MasterDown) => return refuse(ErrorReply::MasterDown),
            Some(_) | None => {}
        }
        let refusal = match self.role {
            Role::Primary => refusal,
            Role::Replica => Some(ErrorReply::ReadOnly),
        };
        match refusal {
            Some(error) if is_refused_by(error, operation, self.content.directory(), clock) => {
                let before = self.content.clone();
                let outcome = self.content.execute(clock, operation);
                if changed(
                    operation,
                    &outcome,
                    before.directory(),
                    self.content.directory(),
                    clock,
                ) {
                    self.content = before;
                    // A view does without the removal of old leases.
                    if *operation != Operation::View {
                        return refuse(error);
                    }
                }
                outcome
            }
            Some(_) | None => {
                let leases = self.content.directory().leases(clock).len();
                let outcome = self.content.execute(clock, operation);
                self.remember(now, clock, operation, leases);
                outcome
            }
        }
    }

    pub(super) const fn load_scripts(&mut self) {
        self.scripts = Scripts::Loaded;
    }

    pub(super) fn knows_scripts(&self) -> bool {
        self.scripts == Scripts::Loaded
    }

    pub(super) const fn flush_scripts(&mut self) {
        self.scripts = Scripts::Unknown;
    }

    pub(super) fn save(&mut self, clock: Instant) {
        let mut snapshot = self.content.clone();
        snapshot.expire(clock);
        self.snapshot = Some(snapshot);
    }

    pub(super) fn forget_snapshot(&mut self) {
        self.snapshot = None;
    }

    pub(super) fn restart(&mut self, clock: Instant) {
        self.run += 1;
        self.scripts = Scripts::Unknown;
        match &self.snapshot {
            Some(snapshot) => self.content.clone_from(snapshot),
            None => self.content.wipe(),
        }
        self.content.expire(clock);
        self.old.clone_from(&self.content);
        self.log.clear();
    }

    pub(super) fn evict_rows(&mut self, now: Instant, clock: Instant, key: &Key) -> bool {
        self.push(now, clock, ServerChange::RowsEvicted(key.clone()));
        self.content.evict_rows(clock, key)
    }

    pub(super) fn evict_log(&mut self, now: Instant, clock: Instant, channel: &Channel) -> bool {
        self.push(now, clock, ServerChange::LogEvicted(channel.clone()));
        self.content.evict_log(clock, channel)
    }

    pub(super) fn evict_topic(&mut self, now: Instant, clock: Instant, topic: &TopicId) -> bool {
        self.push(now, clock, ServerChange::TopicEvicted(topic.clone()));
        self.content.evict_topic(clock, topic)
    }

    pub(super) fn evict_leases(&mut self, now: Instant, clock: Instant) {
        self.push(now, clock, ServerChange::LeasesEvicted);
        self.content.evict_leases();
    }

    /// Drops what has expired: it does not come back when the clock does.
    pub(super) fn expire(&mut self, now: Instant, clock: Instant) {
        self.push(now, clock, ServerChange::RowsExpired);
        self.content.expire(clock);
    }

    /// Its content of so long ago.
    pub(super) fn as_of(&self, now: Instant, ago: Duration) -> Content {
        let until = now.before(ago);
        let mut content = self.old.clone();
        for (_, clock, change) in self.log.iter().take_while(|(at, ..)| *at <= until) {
            change.apply(&mut content, *clock);
        }
        content
    }

    pub(super) fn is_replica(&self) -> bool {
        self.role == Role::Replica
    }

    pub(super) fn become_replica(&mut self, content: Content) {
        self.content = content;
        self.role = Role::Replica;
    }

    /// Remembers what an operation has changed that found so many leases. Most of all that is asked
    /// are views that dropped none.
    fn remember(&mut self, now: Instant, clock: Instant, operation: &Operation, leases: usize) {
        let idle =
            *operation == Operation::View && self.content.directory().leases(clock).len() == leases;
        if writes(operation) && !idle {
            self.push(now, clock, ServerChange::Operation(operation.clone()));
        }
    }

    fn push(&mut self, now: Instant, clock: Instant, change: ServerChange) {
        while (self.log.front()).is_some_and(|(at, ..)| now.since(*at) > HISTORY) {
            if let Some((_, clock, change)) = self.log.pop_front() {
                change.apply(&mut self.old, clock);
            }
        }
        self.log.push_back((now, clock, change));
    }
}

impl ErrorReply {
    /// Whether it is answered before the server looks at what is asked.
    const fn comes_first(self) -> bool {
        match self {
            Self::Loading | Self::Busy | Self::ClusterDown | Self::Moved | Self::Ask => true,
            Self::ReadOnly
            | Self::NoReplicas
            | Self::Misconfigured
            | Self::OutOfMemory
            | Self::MasterDown
            | Self::NoScript => false,
        }
    }

    /// Whether no directory link can be opened meanwhile: it asks for the server's role, and loads
    /// the scripts.
    pub(super) const fn refuses_links(self) -> bool {
        match self {
            Self::ReadOnly | Self::MasterDown | Self::Loading | Self::Busy => true,
            Self::NoReplicas
            | Self::Misconfigured
            | Self::OutOfMemory
            | Self::ClusterDown
            | Self::Moved
            | Self::Ask
            | Self::NoScript => false,
        }
    }
}

/// Which kind an operation is of.
pub(crate) const fn kind(operation: &Operation) -> OperationKind {
    match operation {
        Operation::Register { .. } => OperationKind::Register,
        Operation::Unregister { .. } => OperationKind::Unregister,
        Operation::Lookup { .. } => OperationKind::Lookup,
        Operation::RemoveRow { .. } => OperationKind::RemoveRow,
        Operation::EnterTopic { .. } => OperationKind::EnterTopic,
        Operation::LeaveTopic { .. } => OperationKind::LeaveTopic,
        Operation::KeepTopic { .. } => OperationKind::KeepTopic,
        Operation::LookupTopic { .. } => OperationKind::LookupTopic,
        Operation::View => OperationKind::View,
        Operation::Claim { .. } => OperationKind::Claim,
        Operation::Renew { .. } => OperationKind::Renew,
        Operation::Release { .. } => OperationKind::Release,
        Operation::ReadLease { .. } => OperationKind::ReadLease,
        Operation::Log { operation, .. } => match operation {
            LogOperation::Append { .. } => OperationKind::Append,
            LogOperation::Read { .. } => OperationKind::ReadLog,
            LogOperation::Confirm { .. } => OperationKind::Confirm,
            LogOperation::Head => OperationKind::ReadHead,
            LogOperation::Delete { .. } => OperationKind::DeleteLog,
        },
    }
}

/// Whether an operation was not executed because the server has lost the scripts. It ends a link.
pub(crate) fn is_unknown_script(outcome: &OperationResult) -> bool {
    match outcome {
        Err(OperationError::Refused(why)) => why == ErrorReply::NoScript.text(),
        Err(OperationError::NotPrimary(_) | OperationError::Malformed(_)) | Ok(_) => false,
    }
}

/// Whether it is asked for by a script. All that may write is.
const fn runs_script(operation: &Operation) -> bool {
    match operation {
        Operation::Lookup { .. }
        | Operation::LookupTopic { .. }
        | Operation::ReadLease { .. }
        | Operation::Log {
            operation: LogOperation::Head,
            ..
        } => false,
        Operation::Log {
            operation:
                LogOperation::Append { .. }
                | LogOperation::Read { .. }
                | LogOperation::Confirm { .. }
                | LogOperation::Delete { .. },
            ..
        }
        | Operation::Register { .. }
        | Operation::Unregister { .. }
        | Operation::RemoveRow { .. }
        | Operation::EnterTopic { .. }
        | Operation::LeaveTopic { .. }
        | Operation::KeepTopic { .. }
        | Operation::View
        | Operation::Claim { .. }
        | Operation::Renew { .. }
        | Operation::Release { .. } => true,
    }
}

const fn writes(operation: &Operation) -> bool {
    runs_script(operation)
}

/// Whether an operation that was executed has written something.
fn changed(
    operation: &Operation,
    outcome: &OperationResult,
    before: &MemoryDirectory,
    after: &MemoryDirectory,
    clock: Instant,
) -> bool {
    match outcome {
        // A topic that is kept once more has its expiry extended at least.
        Ok(Reply::TopicKept(kept)) => *kept,
        Ok(
            Reply::Registered | Reply::RegisteredWith(_) | Reply::Claimed { .. } | Reply::Renewed,
        ) => true,
        Ok(Reply::Removed(removed) | Reply::Released(removed)) => *removed,
        Ok(Reply::Leases { .. }) => before.leases(clock).len() != after.leases(clock).len(),
        Ok(Reply::Log(reply)) => {
            let Operation::Log { channel, .. } = operation else {
                return false;
            };
            match reply {
                LogReply::Appended { logged, .. } => matches!(logged, Logged::New(_)),
                LogReply::Part(_) | LogReply::Confirmed { .. } => {
                    !after.has_same_log(before, clock, channel)
                }
                LogReply::Head(_) => false,
                // A log that stands without records stays as it is. Else it removes what may not be there.
                LogReply::Deleted { records } => {
                    *records > 0 || before.head(clock, channel).is_none()
                }
            }
        }
        Ok(
            Reply::Superseded
            | Reply::TopicRows { .. }
            | Reply::Rows { .. }
            | Reply::ClaimRefused { .. }
            | Reply::Lost
            | Reply::Lease(_),
        )
        | Err(_) => false,
    }
}

/// Whether a server that refuses writes with this error refuses those of an operation.
fn is_refused_by(
    error: ErrorReply,
    operation: &Operation,
    content: &MemoryDirectory,
    clock: Instant,
) -> bool {
    match error {
        ErrorReply::ReadOnly | ErrorReply::NoReplicas | ErrorReply::Misconfigured => {
            writes(operation)
        }
        // What frees memory is served.
        ErrorReply::OutOfMemory => match operation {
            Operation::Register { .. }
            | Operation::EnterTopic { .. }
            | Operation::Claim { .. }
            | Operation::Renew { .. }
            | Operation::Release { .. }
            | Operation::Log {
                operation: LogOperation::Append { .. },
                ..
            } => true,
            Operation::KeepTopic { keeping, .. } => match keeping {
                Keeping::Kept { .. } => true,
                Keeping::Dropped => false,
            },
            // A log that is there is prolonged at most, which takes none.
            Operation::Log {
                channel,
                operation: LogOperation::Read { .. } | LogOperation::Confirm { .. },
            } => content.head(clock, channel).is_none(),
            Operation::Unregister { .. }
            | Operation::RemoveRow { .. }
            | Operation::LeaveTopic { .. }
            | Operation::View
            | Operation::Lookup { .. }
            | Operation::LookupTopic { .. }
            | Operation::ReadLease { .. }
            | Operation::Log {
                operation: LogOperation::Head | LogOperation::Delete { .. },
                ..
            } => false,
        },
        ErrorReply::Loading
        | ErrorReply::Busy
        | ErrorReply::ClusterDown
        | ErrorReply::MasterDown
        | ErrorReply::Moved
        | ErrorReply::Ask
        | ErrorReply::NoScript => false,
    }
}
