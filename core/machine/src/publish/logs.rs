//! What an application asks: records of a log, or their end.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash as _, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::channel::Channel;
use crate::command::Command;
use crate::context::Context;
use crate::directory::log::{LogOperation, LogReply, LogStart};
use crate::directory::{Operation, OperationError};
use crate::event::Answer;
use crate::id::CallId;
use crate::logs::{LogAnswer, LogQuery, LogRefused, LogRequest};
use crate::position::Nonce;
use crate::publish::Publish;
use crate::time::Instant;
use crate::vocabulary::purpose::PublishPurpose;
use crate::wings::Wings;

/// Requests about logs that are under way at the directory, at most: they share its trips with all else, and
/// their answers are [`LogQuery::BYTES_MAX`] each as a rule.
const UNDER_WAY: usize = 16;

/// Requests about logs that are not answered, at most.
const CALLS: usize = 256;

/// The requests about logs that are not answered.
#[derive(Clone, Debug, Default)]
pub(super) struct LogCalls {
    /// Those that the directory was asked.
    under_way: BTreeSet<CallId>,
    /// The others, in the order in which they came.
    waiting: VecDeque<(CallId, Channel, LogOperation)>,
}

impl LogCalls {
    fn len(&self) -> usize {
        self.under_way.len() + self.waiting.len()
    }

    /// The next one that the directory may be asked.
    fn next(&mut self) -> Option<(CallId, Channel, LogOperation)> {
        if self.under_way.len() >= UNDER_WAY {
            return None;
        }
        self.waiting.pop_front()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Fingerprint for LogCalls {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        for call in &self.under_way {
            call.fingerprint(now, hasher);
        }
        for (call, channel, operation) in &self.waiting {
            call.fingerprint(now, hasher);
            (channel, operation).hash(hasher);
        }
    }
}

impl Publish {
    /// Asks the directory for what an application wants of a log, as soon as there is a place for it.
    pub(crate) fn log(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        call: CallId,
        channel: Channel,
        request: LogRequest,
    ) {
        match self.log_operation(cx, wings, request) {
            Ok(operation) => {
                let waiting = &mut self.log_calls.waiting;
                waiting.push_back((call, channel, operation));
                self.ask_of_logs(cx, wings);
            }
            Err(refused) => answer(cx, call, Err(refused)),
        }
    }

    /// Asks what has waited, as far as there is room.
    fn ask_of_logs(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>) {
        while let Some((call, channel, operation)) = self.log_calls.next() {
            if !wings.membership.is_linked() {
                answer(cx, call, Err(LogRefused::DirectoryAway));
                continue;
            }
            self.log_calls.under_way.insert(call);
            let operation = Operation::Log { channel, operation };
            wings
                .membership
                .ask(operation, PublishPurpose::Log { call });
        }
    }

    fn log_operation(
        &self,
        cx: &mut Context<'_>,
        wings: &Wings<'_>,
        request: LogRequest,
    ) -> Result<LogOperation, LogRefused> {
        if let LogRequest::Read(LogQuery { after, limit, .. }) = &request {
            if !(1..=LogQuery::LIMIT_MAX).contains(limit) {
                return Err(LogRefused::Limit);
            }
            if after.len() > LogQuery::AFTER_MAX {
                return Err(LogRefused::TooManyPositions);
            }
        }
        if !wings.membership.is_linked() {
            return Err(LogRefused::DirectoryAway);
        }
        if self.log_calls.len() >= CALLS {
            return Err(LogRefused::Overloaded);
        }
        let nonce = Nonce::new(cx.random.positions.next_u32());
        Ok(match request {
            LogRequest::Read(LogQuery {
                after,
                behind,
                history,
                limit,
            }) => LogOperation::Read {
                start: match behind {
                    _ if !after.is_empty() => LogStart::After(after),
                    Some(offset) => LogStart::Behind(offset),
                    None => LogStart::Last(history),
                },
                records: limit,
                bytes: LogQuery::BYTES_MAX,
                nonce,
            },
            LogRequest::Stand { behind } => LogOperation::Read {
                start: behind.map_or(LogStart::Last(0), LogStart::Behind),
                records: 0,
                bytes: LogQuery::BYTES_MAX,
                nonce,
            },
            LogRequest::Delete => LogOperation::Delete { nonce },
            LogRequest::Head => LogOperation::Head,
        })
    }

    /// The directory has answered a request.
    pub(super) fn log_answered(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        call: CallId,
        reply: LogReply,
    ) {
        let answer = match reply {
            LogReply::Part(part) => LogAnswer::Page(part.into()),
            LogReply::Deleted { records } => LogAnswer::Deleted { records },
            LogReply::Head(head) => LogAnswer::Head(head),
            LogReply::Appended { .. } | LogReply::Confirmed { .. } => {
                cx.stats.directory_refusals += 1;
                return self.log_refused(cx, wings, call, LogRefused::Refused);
            }
        };
        self.log_concluded(cx, wings, call, Ok(answer));
    }

    /// The directory has not done what a request wanted, or has not said so.
    pub(super) fn log_refused(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        call: CallId,
        refused: LogRefused,
    ) {
        self.log_concluded(cx, wings, call, Err(refused));
    }

    fn log_concluded(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        call: CallId,
        concluded: Result<LogAnswer, LogRefused>,
    ) {
        if self.log_calls.under_way.remove(&call) {
            answer(cx, call, concluded);
            self.ask_of_logs(cx, wings);
        }
    }
}

/// What the directory's refusal means to whoever wanted something of a log.
pub(super) const fn refused_by(refusal: &OperationError) -> LogRefused {
    match refusal {
        OperationError::NotPrimary(_) => LogRefused::DirectoryAway,
        OperationError::Refused(_) | OperationError::Malformed(_) => LogRefused::Refused,
    }
}

fn answer(cx: &mut Context<'_>, call: CallId, answer: Result<LogAnswer, LogRefused>) {
    let answer = Box::new(Answer::Log(answer));
    cx.out.push(Command::Answer { call, answer });
}
