//! What the application asks of the log of a user, or of a topic.

use switchboard_core::channel::Channel;
use switchboard_core::event::Answer;
use switchboard_core::logs::{LogAnswer, LogPage, LogQuery, LogRequest};
use switchboard_core::position::Position;

use super::{CallError, Handle, ask, mixed_up};
use crate::inbox::Input;

impl Handle {
    /// Records of the log of a user or of a topic, without a terminal. To go on behind them, ask again with
    /// [`LogPage::end`] as the position.
    ///
    /// A log that nobody has written to begins when it is read, so that there is a position to go on from.
    ///
    /// # Errors
    ///
    /// [`CallError::Log`] if the directory, which has the logs, does not answer; or the server has stopped.
    pub async fn read_log(
        &self,
        of: impl Into<Channel>,
        query: LogQuery,
    ) -> Result<LogPage, CallError> {
        match self.log(of.into(), LogRequest::Read(query)).await? {
            LogAnswer::Page(page) => Ok(page),
            LogAnswer::Deleted { .. } | LogAnswer::Head(_) => Err(mixed_up()),
        }
    }

    /// Removes all records of the log of a user or of a topic, and returns how many there were. Terminals that follow it learn
    /// that what they hold is not in the log any more: with the next record, or when the log is checked.
    ///
    /// # Errors
    ///
    /// As [`Handle::read_log`]. With [`LogRefused::NoAnswer`](switchboard_core::logs::LogRefused::NoAnswer)
    /// they may be removed.
    pub async fn delete_log(&self, of: impl Into<Channel>) -> Result<u32, CallError> {
        match self.log(of.into(), LogRequest::Delete).await? {
            LogAnswer::Deleted { records } => Ok(records),
            LogAnswer::Page(_) | LogAnswer::Head(_) => Err(mixed_up()),
        }
    }

    /// Where the log of a user or of a topic stands: the position of its last record, whether that is kept or not, or one
    /// before any record. `None`: there is no log, and none begins because of the question.
    ///
    /// # Errors
    ///
    /// As [`Handle::read_log`].
    pub async fn log_head(&self, of: impl Into<Channel>) -> Result<Option<Position>, CallError> {
        match self.log(of.into(), LogRequest::Head).await? {
            LogAnswer::Head(head) => Ok(head),
            LogAnswer::Page(_) | LogAnswer::Deleted { .. } => Err(mixed_up()),
        }
    }

    async fn log(&self, channel: Channel, request: LogRequest) -> Result<LogAnswer, CallError> {
        let name = match &channel {
            Channel::User(user) => user.as_bytes(),
            Channel::Topic(topic) => topic.as_bytes(),
        };
        let member = self.shared.publisher(Some(name));
        match ask(member, |answer| Input::Log(channel, request, answer.into())).await? {
            Answer::Log(answer) => Ok(answer?),
            Answer::Push(_)
            | Answer::Connections(_)
            | Answer::Instances(_)
            | Answer::Relayed(_) => Err(mixed_up()),
        }
    }
}
