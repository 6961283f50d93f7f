//! What a server knows, and the truth of its logs: every record of the history in which it is, also those
//! that it keeps no longer.

use std::collections::BTreeMap;
use std::hash::Hasher;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::{LogOperation, LogReply, Logged};
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::directory::{Operation, OperationResult, Reply};
use switchboard_core::id::{PushId, TopicId};
use switchboard_core::key::Key;
use switchboard_core::position::Position;
use switchboard_core::time::Instant;

/// One record of a log, and what it stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// Where the record stands.
    pub position: Position,
    /// The position before it.
    pub before: Position,
    /// The push that it says.
    pub push: PushId,
}

/// What a server knows. A copy of it is of the same history so far.
#[derive(Clone, Debug)]
pub(super) struct Content {
    directory: MemoryDirectory,
    /// The records of each log, in the order in which they were added.
    chains: BTreeMap<Channel, Vec<ChainLink>>,
    /// Of logs that were deleted: behind how many of its records each goes on, and at which position.
    deletions: BTreeMap<Channel, Vec<(usize, Position)>>,
}

impl Content {
    pub(super) const fn new(directory: MemoryDirectory) -> Self {
        Self {
            directory,
            chains: BTreeMap::new(),
            deletions: BTreeMap::new(),
        }
    }

    pub(super) const fn directory(&self) -> &MemoryDirectory {
        &self.directory
    }

    /// The records of a log, from its beginning: after a log has ended another one begins.
    pub(super) fn chain(&self, channel: &Channel) -> &[ChainLink] {
        let all = self.chains.get(channel).map_or(&[][..], Vec::as_slice);
        let is_break = |pair: &[ChainLink]| pair[0].position != pair[1].before;
        let begins = all.windows(2).rposition(is_break).map_or(0, |at| at + 1);
        &all[begins..]
    }

    /// The records of a log whose pushes may be remembered: those that were deleted are.
    pub(super) fn remembered(&self, clock: Instant, channel: &Channel) -> &[ChainLink] {
        let all = self.chains.get(channel).map_or(&[][..], Vec::as_slice);
        let deletions = self.deletions.get(channel).map_or(&[][..], Vec::as_slice);
        let goes_on = |from: Option<&ChainLink>, at: usize, before: Position| {
            from.is_none_or(|from| from.position == before) || deletions.contains(&(at, before))
        };
        let head = self.directory.head(clock, channel);
        if head.is_none_or(|head| !goes_on(all.last(), all.len(), head)) {
            return &[];
        }
        let is_break = |at: &usize| !goes_on(Some(&all[at - 1]), *at, all[*at].before);
        let begins = (1..all.len()).rev().find(is_break).unwrap_or(0);
        &all[begins..]
    }

    pub(super) fn execute(&mut self, clock: Instant, operation: &Operation) -> OperationResult {
        let outcome = self.directory.execute(clock, operation);
        if let Operation::Log {
            channel,
            operation: LogOperation::Append { push, .. },
        } = operation
            && let Ok(Reply::Log(LogReply::Appended {
                logged: Logged::New(place),
                ..
            })) = &outcome
        {
            let link = ChainLink {
                position: place.position,
                before: place.before,
                push: *push,
            };
            self.chains.entry(channel.clone()).or_default().push(link);
        }
        if let Operation::Log {
            channel,
            operation: LogOperation::Delete { .. },
        } = operation
            && let Ok(Reply::Log(LogReply::Deleted { records: 1.. })) = &outcome
            && let Some(head) = self.directory.head(clock, channel)
        {
            let records = self.chains.get(channel).map_or(0, Vec::len);
            let deletions = self.deletions.entry(channel.clone()).or_default();
            deletions.push((records, head));
        }
        outcome
    }

    pub(super) fn evict_rows(&mut self, clock: Instant, key: &Key) -> bool {
        self.directory.evict(clock, key)
    }

    pub(super) fn evict_log(&mut self, clock: Instant, channel: &Channel) -> bool {
        self.directory.evict_log(clock, channel)
    }

    pub(super) fn evict_topic(&mut self, clock: Instant, topic: &TopicId) -> bool {
        self.directory.evict_topic(clock, topic)
    }

    pub(super) fn evict_leases(&mut self) {
        self.directory.evict_leases();
    }

    /// Drops what has expired.
    pub(super) fn expire(&mut self, clock: Instant) {
        self.directory.expire(clock);
    }

    /// Empties the server: rows, leases and logs.
    pub(super) fn wipe(&mut self) {
        self.directory.wipe();
        self.chains.clear();
        self.deletions.clear();
    }

    /// Hashes what decides future answers: which records were trimmed does not.
    pub(super) fn fingerprint(&self, clock: Instant, hasher: &mut impl Hasher) {
        self.directory.fingerprint(clock, hasher);
    }
}
