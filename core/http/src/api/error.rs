//! What the API answers when it does not do what it was asked.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use switchboard_core::config::duration::InvalidDuration;
use switchboard_core::frame::NotUtf8;
use switchboard_core::id::{InvalidTopic, InvalidUser};
use switchboard_core::logs::LogRefused;
use switchboard_core::message::PushRefused;
use switchboard_core::position::InvalidPosition;

use switchboard_driver::query::BadEncoding;
use switchboard_driver::{CallError, refusal};

/// Why a request is not answered with what it asked for. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    #[error(
        "the API does not answer to the host name `{0}`: use an IP address or `localhost`, or add the name with `--api-hosts {0}` (setting `api_hosts`)"
    )]
    ForeignHost(String),
    #[error("pages of the origin `{0}` may not use the API")]
    ForeignOrigin(String),
    #[error("pages of other sites may not use the API: open its address directly")]
    CrossSite,
    #[error("a key is needed: send `Authorization: Bearer KEY`")]
    NoKey,
    #[error("this key is not one of the server's API keys")]
    WrongKey,
    #[error("there is nothing at this path")]
    NotFound,
    #[error("this path does not know the method; it knows {allow}")]
    MethodNotAllowed { allow: &'static str },
    #[error("unknown query parameter `{name}`; known here: {known}")]
    UnknownParameter { name: String, known: &'static str },
    #[error("the query parameter `{0}` is given twice")]
    RepeatedParameter(&'static str),
    #[error("the query: {0}")]
    BadQuery(BadEncoding),
    #[error("the user: {0}")]
    UndecodableUser(BadEncoding),
    #[error("{0}")]
    BadUser(#[from] InvalidUser),
    #[error("`users[{index}]`: {error}")]
    BadListedUser { index: usize, error: InvalidUser },
    #[error("the topic: {0}")]
    UndecodableTopic(BadEncoding),
    #[error("{0}")]
    BadTopic(#[from] InvalidTopic),
    #[error("`topics[{index}]`: {error}")]
    BadListedTopic { index: usize, error: InvalidTopic },
    #[error("users are listed that have a connection: add `online=true`")]
    OnlineUsers,
    #[error("a connection is named by its UUID")]
    BadConnection,
    #[error("`connections` is empty: leave it out for all of the user's")]
    NoConnections,
    #[error("a request can name {limit} connections at most")]
    TooManyConnections { limit: usize },
    #[error("`deadline`: {0}")]
    BadDeadline(#[from] InvalidDuration),
    #[error("`durable` is `true` or `false`")]
    BadDurable,
    #[error("`retain` is a time (1h), a number of records (50), or both (1h,50)")]
    BadRetain,
    #[error("`log` is `required` or `optional`")]
    BadLog,
    #[error("`durability` is `primary` or `replica`")]
    BadDurability,
    #[error("`durability` is for durable pushes: add `durable=true`")]
    DurabilityIsDurable,
    #[error("`retain` is for durable pushes: add `durable=true`")]
    RetainIsDurable,
    #[error("`log` is for durable pushes: add `durable=true`")]
    LogIsDurable,
    #[error("`after`: {0}")]
    BadPosition(#[from] InvalidPosition),
    #[error("`{0}` is a whole number")]
    BadNumber(&'static str),
    #[error("`after` and `history`: records behind a position, or the last ones; give one of them")]
    AfterAndHistory,
    #[error("`until` is `written` or `acked`")]
    BadUntil,
    #[error("`until=acked` is for durable pushes, which terminals can confirm: add `durable=true`")]
    AckedIsDurable,
    #[error("`Idempotency-Key` must be one UUID")]
    BadPushId,
    #[error("`Idempotency-Key` is of one push: give each line its own `id`")]
    BatchPushId,
    #[error("{0}")]
    NotUtf8(#[from] NotUtf8),
    #[error("the body must be {form}: {why}")]
    BadBody { form: &'static str, why: String },
    #[error(
        "the body has the coding `{0}` (`Content-Encoding`), and only bodies without one are taken"
    )]
    UnknownCoding(String),
    #[error("the body is written in `{0}` (`charset` of `Content-Type`), and text must be UTF-8")]
    UnknownCharset(String),
    #[error("the body is sent in `{0}` (`Transfer-Encoding`), and only `chunked` is known")]
    UnknownTransfer(String),
    #[error("the body has more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body broke off")]
    BrokenBody,
    #[error("the body did not come in time")]
    SlowBody,
    #[error("{0}")]
    Refused(#[from] PushRefused),
    #[error("{0}")]
    Log(#[from] LogRefused),
    #[error(
        "an instance of this server does not answer (see `/health/ready`); what was asked of it may still be done"
    )]
    Silent,
    #[error("the server is stopping")]
    Stopping,
    #[error("too many connections to the API are open: close those that are idle")]
    Crowded,
}

/// When a caller may try again, in seconds: an overload of pushes passes within their deadline.
const RETRY_SECONDS: &str = "1";

impl ApiError {
    /// Its status, and its name in the body.
    pub(crate) const fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::ForeignHost(_) => (StatusCode::FORBIDDEN, "foreign_host"),
            Self::ForeignOrigin(_) => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::CrossSite => (StatusCode::FORBIDDEN, "cross_site"),
            Self::NoKey => (StatusCode::UNAUTHORIZED, "no_key"),
            Self::WrongKey => (StatusCode::UNAUTHORIZED, "wrong_key"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::UnknownParameter { .. }
            | Self::RepeatedParameter(_)
            | Self::BadQuery(_)
            | Self::OnlineUsers
            | Self::AfterAndHistory => (StatusCode::BAD_REQUEST, "bad_query"),
            Self::UndecodableUser(_) | Self::BadUser(_) | Self::BadListedUser { .. } => {
                (StatusCode::BAD_REQUEST, "bad_user")
            }
            Self::UndecodableTopic(_) | Self::BadTopic(_) | Self::BadListedTopic { .. } => {
                (StatusCode::BAD_REQUEST, "bad_topic")
            }
            Self::BadConnection | Self::NoConnections | Self::TooManyConnections { .. } => {
                (StatusCode::BAD_REQUEST, "bad_connection")
            }
            Self::BadDeadline(_) => (StatusCode::BAD_REQUEST, "bad_deadline"),
            Self::BadDurable => (StatusCode::BAD_REQUEST, "bad_durable"),
            Self::BadLog | Self::LogIsDurable => (StatusCode::BAD_REQUEST, "bad_log"),
            Self::BadDurability | Self::DurabilityIsDurable => {
                (StatusCode::BAD_REQUEST, "bad_durability")
            }
            Self::BadRetain | Self::RetainIsDurable => (StatusCode::BAD_REQUEST, "bad_retain"),
            Self::BadPosition(_) => (StatusCode::BAD_REQUEST, "bad_position"),
            Self::BadNumber(_) => (StatusCode::BAD_REQUEST, "bad_limit"),
            Self::BadUntil | Self::AckedIsDurable => (StatusCode::BAD_REQUEST, "bad_until"),
            Self::BadPushId | Self::BatchPushId => (StatusCode::BAD_REQUEST, "bad_idempotency_key"),
            Self::NotUtf8(_) => (StatusCode::BAD_REQUEST, "not_utf8"),
            Self::BadBody { .. } | Self::BrokenBody => (StatusCode::BAD_REQUEST, "bad_body"),
            Self::UnknownCoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_coding"),
            Self::UnknownCharset(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_charset"),
            Self::UnknownTransfer(_) => (StatusCode::NOT_IMPLEMENTED, "unknown_transfer"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "slow_body"),
            Self::Silent => (StatusCode::SERVICE_UNAVAILABLE, "no_answer"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Self::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::Refused(refused) => match refused {
                PushRefused::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
                PushRefused::NoUsers => (StatusCode::BAD_REQUEST, "no_users"),
                PushRefused::TooManyUsers { .. } => (StatusCode::BAD_REQUEST, "too_many_users"),
                PushRefused::NoTopics => (StatusCode::BAD_REQUEST, "no_topics"),
                PushRefused::TooManyTopics { .. } => (StatusCode::BAD_REQUEST, "too_many_topics"),
                PushRefused::List => (StatusCode::BAD_REQUEST, "bad_limit"),
                PushRefused::NotForTopics => (StatusCode::BAD_REQUEST, "not_for_topics"),
                PushRefused::TooManyConnections { .. } => {
                    (StatusCode::BAD_REQUEST, "bad_connection")
                }
                PushRefused::Deadline => (StatusCode::BAD_REQUEST, "bad_deadline"),
                PushRefused::NotForUsers => (StatusCode::BAD_REQUEST, "not_durable"),
                PushRefused::Retention { .. } => (StatusCode::BAD_REQUEST, "bad_retain"),
                PushRefused::DirectoryAway => (StatusCode::SERVICE_UNAVAILABLE, "directory_away"),
                PushRefused::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
                PushRefused::UserOverloaded => (StatusCode::TOO_MANY_REQUESTS, "user_overloaded"),
                PushRefused::Stopped => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            },
            Self::Log(refused) => match refused {
                LogRefused::Limit => (StatusCode::BAD_REQUEST, "bad_limit"),
                LogRefused::TooManyPositions => (StatusCode::BAD_REQUEST, "bad_position"),
                LogRefused::DirectoryAway => (StatusCode::SERVICE_UNAVAILABLE, "directory_away"),
                LogRefused::NoAnswer => (StatusCode::SERVICE_UNAVAILABLE, "no_answer"),
                LogRefused::Refused => (StatusCode::SERVICE_UNAVAILABLE, "directory_refused"),
                LogRefused::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            },
        }
    }

    /// The status, with the code and the text as JSON.
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let (status, code) = self.status();
        let mut response = refusal(status, code, &self.to_string());
        if let Some((name, value)) = self.header(status) {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn header(&self, status: StatusCode) -> Option<(HeaderName, &'static str)> {
        match (self, status) {
            (Self::MethodNotAllowed { allow }, _) => Some((ALLOW, allow)),
            (Self::UnknownCoding(_), _) => Some((ACCEPT_ENCODING, "identity")),
            (_, StatusCode::UNAUTHORIZED) => Some((WWW_AUTHENTICATE, "Bearer")),
            (_, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => {
                Some((RETRY_AFTER, RETRY_SECONDS))
            }
            _ => None,
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refused) => Self::Refused(refused),
            CallError::Log(refused) => Self::Log(refused),
            CallError::Stopped => Self::Stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H41: what went wrong has a status of its own; none is a success.
    #[test]
    fn each_refusal_of_the_core_has_its_status() {
        let cases = [
            (PushRefused::TooLarge { bytes: 2, limit: 1 }, 413, None),
            (PushRefused::NoUsers, 400, None),
            (PushRefused::TooManyUsers { users: 2, limit: 1 }, 400, None),
            (PushRefused::NoTopics, 400, None),
            (
                PushRefused::TooManyTopics {
                    topics: 2,
                    limit: 1,
                },
                400,
                None,
            ),
            (PushRefused::List, 400, None),
            (PushRefused::NotForTopics, 400, None),
            (
                PushRefused::TooManyConnections {
                    connections: 2,
                    limit: 1,
                },
                400,
                None,
            ),
            (PushRefused::Deadline, 400, None),
            (PushRefused::NotForUsers, 400, None),
            (
                PushRefused::Retention {
                    records: 1,
                    seconds: 1,
                },
                400,
                None,
            ),
            (PushRefused::DirectoryAway, 503, Some("1")),
            (PushRefused::Overloaded, 503, Some("1")),
            (PushRefused::UserOverloaded, 429, Some("1")),
            (PushRefused::Stopped, 503, Some("1")),
        ];
        for (refused, status, retry) in cases {
            let response = ApiError::from(CallError::Refused(refused)).response();
            assert_eq!(response.status(), status, "{refused:?}");
            let header = response.headers().get(RETRY_AFTER);
            assert_eq!(
                header,
                retry.map(HeaderValue::from_static).as_ref(),
                "{refused:?}"
            );
        }
        for (refused, status) in [
            (LogRefused::Limit, 400),
            (LogRefused::TooManyPositions, 400),
            (LogRefused::DirectoryAway, 503),
            (LogRefused::NoAnswer, 503),
            (LogRefused::Refused, 503),
            (LogRefused::Overloaded, 503),
        ] {
            let response = ApiError::from(CallError::Log(refused)).response();
            let retry = response.headers().contains_key(RETRY_AFTER);
            assert_eq!(
                (response.status().as_u16(), retry),
                (status, status == 503),
                "{refused:?}"
            );
        }
        assert_eq!(ApiError::from(CallError::Stopped).response().status(), 503);
    }

    #[test]
    fn headers_that_belong_to_a_status_are_there() {
        let allow = ApiError::MethodNotAllowed { allow: "POST" }.response();
        assert_eq!(allow.status(), 405);
        assert_eq!(allow.headers()[ALLOW], "POST");
        for error in [ApiError::NoKey, ApiError::WrongKey] {
            let response = error.response();
            assert_eq!(response.status(), 401);
            assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        }
    }
}
