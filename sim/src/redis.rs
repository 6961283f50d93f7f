//! The model of Redis: core's directory in memory, and what goes wrong with a server.

use std::collections::VecDeque;
use std::time::Duration;

use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::directory::redis::Value;
use switchboard_core::directory::{DirectorySettings, Operation, Outcome};
use switchboard_core::flaws::Flaws;
use switchboard_core::time::Instant;

use crate::schedule::{ErrorReply, OperationKind};

/// How far back a failover can go.
pub(crate) const HISTORY: Duration = Duration::from_secs(30);

/// One server.
#[derive(Clone, Debug)]
pub(crate) struct Redis {
    pub(crate) content: MemoryDirectory,
    /// Links can be opened to it.
    pub(crate) serves: bool,
    /// The base of the delay on the way to it, and back.
    pub(crate) latency: Duration,
    refuses: Option<(ErrorReply, Instant)>,
    /// As it was at the start of the log.
    old: MemoryDirectory,
    /// What has changed it since.
    log: VecDeque<(Instant, Operation)>,
}

impl Redis {
    pub(crate) const LATENCY: Duration = Duration::from_micros(200);

    pub(crate) fn new(settings: DirectorySettings, flaws: Flaws) -> Self {
        let content = MemoryDirectory::new(settings).with_flaws(flaws);
        Self {
            old: content.clone(),
            content,
            serves: true,
            latency: Self::LATENCY,
            refuses: None,
            log: VecDeque::new(),
        }
    }

    /// Executes an operation, or refuses it.
    pub(crate) fn execute(&mut self, now: Instant, operation: &Operation) -> Outcome {
        if let Some((error, until)) = self.refuses
            && now < until
            && refuses(error, operation)
        {
            return operation.decode(Value::Error(error.text().to_owned()));
        }
        if writes(operation) {
            while (self.log.front()).is_some_and(|(at, _)| now.since(*at) > HISTORY) {
                if let Some((at, operation)) = self.log.pop_front() {
                    drop(self.old.execute(at, &operation));
                }
            }
            self.log.push_back((now, operation.clone()));
        }
        self.content.execute(now, operation)
    }

    pub(crate) fn refuse(&mut self, error: ErrorReply, until: Instant) {
        self.refuses = Some((error, until));
    }

    pub(crate) fn lose_everything(&mut self) {
        self.content.wipe();
        self.old.wipe();
        self.log.clear();
    }

    /// It is as it was so long ago.
    pub(crate) fn go_back(&mut self, now: Instant, lost: Duration) {
        let kept = now.before(lost);
        while (self.log.back()).is_some_and(|(at, _)| *at > kept) {
            self.log.pop_back();
        }
        self.content = self.old.clone();
        for (at, operation) in &self.log {
            drop(self.content.execute(*at, operation));
        }
    }

    pub(crate) fn heal(&mut self) {
        self.serves = true;
        self.latency = Self::LATENCY;
        self.refuses = None;
    }
}

/// Which kind an operation is of.
pub(crate) const fn kind(operation: &Operation) -> OperationKind {
    match operation {
        Operation::Register { .. } => OperationKind::Register,
        Operation::Unregister { .. } => OperationKind::Unregister,
        Operation::Lookup { .. } => OperationKind::Lookup,
        Operation::RemoveRow { .. } => OperationKind::RemoveRow,
        Operation::View => OperationKind::View,
        Operation::Claim { .. } => OperationKind::Claim,
        Operation::Renew { .. } => OperationKind::Renew,
        Operation::Release { .. } => OperationKind::Release,
        Operation::ReadLease { .. } => OperationKind::ReadLease,
    }
}

const fn writes(operation: &Operation) -> bool {
    match operation {
        Operation::Register { .. }
        | Operation::Unregister { .. }
        | Operation::RemoveRow { .. }
        | Operation::View
        | Operation::Claim { .. }
        | Operation::Renew { .. }
        | Operation::Release { .. } => true,
        Operation::Lookup { .. } | Operation::ReadLease { .. } => false,
    }
}

const fn refuses(error: ErrorReply, operation: &Operation) -> bool {
    match error {
        ErrorReply::Loading => true,
        ErrorReply::ReadOnly => writes(operation),
        // What frees memory is served.
        ErrorReply::OutOfMemory => match operation {
            Operation::Register { .. } | Operation::Claim { .. } | Operation::Renew { .. } => true,
            Operation::Unregister { .. }
            | Operation::RemoveRow { .. }
            | Operation::View
            | Operation::Release { .. }
            | Operation::Lookup { .. }
            | Operation::ReadLease { .. } => false,
        },
    }
}
