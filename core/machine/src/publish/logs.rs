//! What an application asks: records of a log, or their end.

use crate::command::Command;
use crate::context::Context;
use crate::directory::log::{LogOperation, LogReply, LogStart};
use crate::directory::{Operation, OperationError};
use crate::event::Answer;
use crate::id::{CallId, UserId};
use crate::logs::{LogAnswer, LogQuery, LogRefused, LogRequest};
use crate::position::Nonce;
use crate::publish::Publish;
use crate::vocabulary::purpose::PublishPurpose;
use crate::wings::Wings;

/// Requests about logs that the directory has not answered, at most: their answers are a few megabytes as a
/// rule, and these many times [`LogQuery::BYTES_MAX`] at worst, if no push is larger than that.
const CALLS: usize = 256;

impl Publish {
    /// Asks the directory for what an application wants of a log.
    pub(crate) fn log(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        call: CallId,
        user: UserId,
        request: LogRequest,
    ) {
        let operation = match self.log_operation(cx, wings, request) {
            Ok(operation) => operation,
            Err(refused) => return answer(cx, call, Err(refused)),
        };
        self.log_calls.insert(call);
        let key = user.into();
        let operation = Operation::Log { key, operation };
        wings
            .membership
            .ask(operation, PublishPurpose::Log { call });
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
                history,
                limit,
            }) => LogOperation::Read {
                start: match after.is_empty() {
                    true => LogStart::Last(history),
                    false => LogStart::After(after),
                },
                records: limit,
                bytes: LogQuery::BYTES_MAX,
                nonce,
            },
            LogRequest::Delete => LogOperation::Delete { nonce },
        })
    }

    /// The directory has answered a request.
    pub(super) fn log_answered(&mut self, cx: &mut Context<'_>, call: CallId, reply: LogReply) {
        let answer = match reply {
            LogReply::Part(part) => LogAnswer::Page(part.into()),
            LogReply::Deleted { records } => LogAnswer::Deleted { records },
            LogReply::Appended { .. } | LogReply::Head(_) => {
                cx.stats.directory_refusals += 1;
                return self.log_refused(cx, call, LogRefused::Refused);
            }
        };
        self.log_concluded(cx, call, Ok(answer));
    }

    /// The directory has not done what a request wanted, or has not said so.
    pub(super) fn log_refused(&mut self, cx: &mut Context<'_>, call: CallId, refused: LogRefused) {
        self.log_concluded(cx, call, Err(refused));
    }

    fn log_concluded(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        concluded: Result<LogAnswer, LogRefused>,
    ) {
        if self.log_calls.remove(&call) {
            answer(cx, call, concluded);
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
