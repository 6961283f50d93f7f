//! What a request asks for: from its path, query, headers and body to a push.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http_body::Body;
use switchboard_core::config::{Config, duration};
use switchboard_core::frame::{FrameKind, Payload};
use switchboard_core::id::{ConnectionId, PushId, TopicId, UserId};
use switchboard_core::message::{Durable, PushRefused};
use switchboard_driver::{new_push_id, query};

use super::body::{self, Timed};
use super::durable::AskedOfLog;
use super::error::ApiError;
use super::parameter::once;

/// The query parameters that a route knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It knows `connection`, `deadline`, and what a durable push may say.
    PushToUser,
    /// It knows `deadline`, and what a durable push may say.
    PushToUsers,
    /// It knows `deadline` alone.
    Deadline,
    /// It knows `deadline`, `except` of those that it is for, and what a durable push may say.
    PushToTopic,
    /// It knows `after`, `deadline` and `limit`.
    Members,
    /// It knows `after`, `deadline`, `limit` and `online`.
    Users,
    /// It knows those that say which records of a log are to be read.
    Log,
    /// It knows `log`, which is true or false.
    Connections,
    /// It knows no parameters.
    Nothing,
}

/// What query and headers say about a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Its id: the caller's, or a random one.
    pub(crate) id: PushId,
    /// When the receipt is due.
    pub(crate) deadline: Duration,
    /// The connections that it is narrowed to; empty if it is not.
    pub(crate) connections: Vec<ConnectionId>,
    /// The connection that does not get it.
    pub(crate) except: Option<ConnectionId>,
    /// What logs keep with it, if it is to be in them, and what the receipt waits for.
    pub(crate) durable: Option<Durable>,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// If one is unknown, given twice, or cannot be read.
    pub(crate) fn read(parts: &Parts, known: Known, config: &Config) -> Result<Self, ApiError> {
        let limit = config.push_users;
        let mut deadline = None;
        let mut connections = Vec::new();
        let mut except = None;
        let mut durable = AskedOfLog::default();
        for pair in query::pairs(parts.uri.query()) {
            let (name, value) = pair.map_err(ApiError::BadQuery)?;
            match (name.as_ref(), known) {
                (
                    "deadline",
                    Known::PushToUser | Known::PushToUsers | Known::Deadline | Known::PushToTopic,
                ) => once("deadline", &mut deadline, self::deadline(&value)?)?,
                ("except", Known::PushToTopic) => {
                    once("except", &mut except, connection(&value)?)?;
                }
                (_, Known::PushToUser | Known::PushToUsers | Known::PushToTopic)
                    if durable.read(&name, &value, config)? => {}
                ("connection", Known::PushToUser) => {
                    if connections.len() >= limit {
                        return Err(ApiError::TooManyConnections { limit });
                    }
                    connections.push(connection(&value)?);
                }
                _ => return Err(unknown(&name, known)),
            }
        }
        Ok(Self {
            id: push_id(&parts.headers)?.unwrap_or_else(new_push_id),
            deadline: deadline.unwrap_or(Config::DEADLINE_DEFAULT),
            connections,
            except,
            durable: durable.asked()?,
        })
    }
}

/// Whether the headers say which push it is.
pub(crate) fn names_push(headers: &HeaderMap) -> bool {
    headers.contains_key("idempotency-key")
}

/// Refuses every query parameter.
///
/// # Errors
///
/// Names the first one.
pub(crate) fn no_parameters(parts: &Parts) -> Result<(), ApiError> {
    match query::pairs(parts.uri.query()).next() {
        None => Ok(()),
        Some(Ok((name, _))) => Err(unknown(&name, Known::Nothing)),
        Some(Err(error)) => Err(ApiError::BadQuery(error)),
    }
}

/// Whether a list of connections is to say where they stand in their log.
///
/// # Errors
///
/// If there is another parameter, or another value than true or false.
pub(crate) fn asks_for_log(parts: &Parts) -> Result<bool, ApiError> {
    let mut log = None;
    for pair in query::pairs(parts.uri.query()) {
        let (name, value) = pair.map_err(ApiError::BadQuery)?;
        match (name.as_ref(), value.as_ref()) {
            ("log", "true") => once("log", &mut log, true)?,
            ("log", "false") => once("log", &mut log, false)?,
            _ => return Err(unknown(&name, Known::Connections)),
        }
    }
    Ok(log.unwrap_or(false))
}

/// The user that a path names.
///
/// # Errors
///
/// If it cannot be one.
pub(crate) fn user(segment: &str) -> Result<UserId, ApiError> {
    let text = query::decode(segment).map_err(ApiError::UndecodableUser)?;
    Ok(UserId::new(&text)?)
}

/// The topic that a path names.
///
/// # Errors
///
/// If it cannot be one.
pub(crate) fn topic(segment: &str) -> Result<TopicId, ApiError> {
    let text = query::decode(segment).map_err(ApiError::UndecodableTopic)?;
    Ok(TopicId::new(&text)?)
}

/// The connection that a path or a query names.
///
/// # Errors
///
/// If it is not a UUID.
pub(crate) fn connection(text: &str) -> Result<ConnectionId, ApiError> {
    ConnectionId::from_str(text).map_err(|_| ApiError::BadConnection)
}

/// Whether a body becomes a text frame or a binary one.
pub(crate) fn frame_kind(headers: &HeaderMap) -> FrameKind {
    let binary = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/octet-stream"));
    if binary {
        FrameKind::Binary
    } else {
        FrameKind::Text
    }
}

/// A parameter that a route does not know.
pub(super) fn unknown(name: &str, known: Known) -> ApiError {
    /// The longest name that an answer repeats, in characters.
    const SHOWN: usize = 64;
    ApiError::UnknownParameter {
        name: name.chars().take(SHOWN).collect(),
        known: match known {
            Known::PushToUser => {
                "`connection`, `deadline`, `durability`, `durable`, `log`, `retain`, `until`"
            }
            Known::PushToUsers => "`deadline`, `durability`, `durable`, `log`, `retain`, `until`",
            Known::Deadline => "`deadline`",
            Known::PushToTopic => {
                "`deadline`, `durability`, `durable`, `except`, `log`, `retain`, `until`"
            }
            Known::Members => "`after`, `deadline`, `limit`",
            Known::Users => "`after`, `deadline`, `limit`, `online`",
            Known::Log => "`after`, `history`, `limit`",
            Known::Connections => "`log=true`",
            Known::Nothing => "none",
        },
    }
}

/// What terminals are to get: the body, of the kind that its type says.
///
/// # Errors
///
/// If it is no frame of that kind, or for what [`body::read`] says.
pub(super) async fn payload<B, T>(
    parts: &Parts,
    body: Timed<B, T>,
    limit: usize,
) -> Result<Payload, ApiError>
where
    B: Body<Data = Bytes>,
    T: Future<Output = ()>,
{
    let body = body::read(&parts.headers, body, limit).await?;
    Ok(Payload::new(frame_kind(&parts.headers), body)?)
}

pub(super) fn deadline(text: &str) -> Result<Duration, ApiError> {
    let deadline = duration::parse(text)?;
    let fits = (Config::DEADLINE_MIN..=Config::DEADLINE_MAX).contains(&deadline);
    fits.then_some(deadline)
        .ok_or(ApiError::Refused(PushRefused::Deadline))
}

fn push_id(headers: &HeaderMap) -> Result<Option<PushId>, ApiError> {
    let mut keys = headers.get_all("idempotency-key").iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => {
            let id = key
                .to_str()
                .ok()
                .and_then(|text| PushId::from_str(text.trim()).ok());
            id.map(Some).ok_or(ApiError::BadPushId)
        }
        (Some(_), Some(_)) => Err(ApiError::BadPushId),
    }
}

#[cfg(test)]
mod tests {
    use switchboard_core::message::Until;

    use super::*;

    const UUID: &str = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11";

    #[test]
    fn options_are_read_from_query_and_headers() {
        let uri = format!("/x?connection={UUID}&deadline=500ms&connection={UUID}");
        let options = read(&request(&uri, &[("idempotency-key", UUID)]), ALL).expect("good");
        assert_eq!(options.id.to_string(), UUID);
        assert_eq!(options.deadline, Duration::from_millis(500));
        assert_eq!(options.connections.len(), 2);

        let durable = |query| read(&request(query, &[]), ALL).expect("good").durable;
        let until = |until| Durable {
            until,
            ..Durable::default()
        };
        assert_eq!(durable("/x?until=written"), None);
        assert_eq!(durable("/x?durable=true"), Some(until(Until::Written)));
        let acked = durable("/x?until=acked&durable=true");
        assert_eq!(acked, Some(until(Until::Acked)));

        let first = read(&request("/x", &[]), ALL).expect("good");
        let second = read(&request("/x", &[]), ALL).expect("good");
        assert_eq!(first.deadline, Config::DEADLINE_DEFAULT);
        assert_ne!(
            first.id, second.id,
            "without a key each push has an id of its own"
        );
    }

    /// H45, H46: no text switches the deadline off.
    #[test]
    fn options_that_cannot_be_read_are_refused() {
        let cases = [
            ("/x?deadline=5ms", Known::Deadline, "bad_deadline"),
            ("/x?deadline=31s", Known::Deadline, "bad_deadline"),
            ("/x?deadline=0", Known::Deadline, "bad_deadline"),
            ("/x?deadline=", Known::Deadline, "bad_deadline"),
            (
                "/x?deadline=99999999999999999999s",
                Known::Deadline,
                "bad_deadline",
            ),
            ("/x?deadline=1s&deadline=2s", Known::Deadline, "bad_query"),
            ("/x?connection=7", ALL, "bad_connection"),
            ("/x?connection=", ALL, "bad_connection"),
            (
                &format!("/x?connection={UUID}"),
                Known::Deadline,
                "bad_query",
            ),
            ("/x?user=ann", ALL, "bad_query"),
            ("/x?durable=1", ALL, "bad_durable"),
            ("/x?durable=true&until=read", ALL, "bad_until"),
            ("/x?until=acked", ALL, "bad_until"),
            ("/x?durable=false&until=acked", ALL, "bad_until"),
            ("/x?durable=true&until=acked&until=acked", ALL, "bad_query"),
            ("/x?until=written", Known::Deadline, "bad_query"),
            ("/x?%ff=1", ALL, "bad_query"),
            ("/x?deadline=1s%", ALL, "bad_query"),
        ];
        for (uri, known, code) in cases {
            let error = read(&request(uri, &[]), known).expect_err(uri);
            assert_eq!(
                error.status(),
                (http::StatusCode::BAD_REQUEST, code),
                "{uri}"
            );
        }
        for keys in [&["7"][..], &[""], &[UUID, UUID]] {
            let headers: Vec<_> = keys.iter().map(|key| ("idempotency-key", *key)).collect();
            let error = read(&request("/x", &headers), ALL).expect_err("a bad key");
            assert_eq!(error, ApiError::BadPushId, "{keys:?}");
        }
        let error = no_parameters(&request("/x?verbose=1", &[])).expect_err("unknown");
        assert!(error.to_string().contains("`verbose`"));
        let limit = Config::default().push_users;
        let many = format!("/x?{}", format!("connection={UUID}&").repeat(limit + 1));
        let error = read(&request(&many, &[]), ALL).expect_err("too many");
        assert_eq!(error, ApiError::TooManyConnections { limit });
    }

    /// H07: the empty user is refused, not everybody.
    #[test]
    fn users_are_decoded_and_checked() {
        assert_eq!(user("ann%2Fb%20c+d").expect("good").as_str(), "ann/b c+d");
        let dots = ["..", ".", "%2e%2E", "a%2F..%2Fb", "%252e"];
        let undecodable = ["%ff", "%zz", "ann%", "ann%6"];
        let long = "x".repeat(129);
        for segment in ["", "%00", &long]
            .into_iter()
            .chain(dots)
            .chain(undecodable)
        {
            let error = user(segment).expect_err("no user");
            assert_eq!(error.status().1, "bad_user", "{segment}");
        }
    }

    #[test]
    fn octet_streams_are_binary_and_all_else_is_text() {
        for (value, kind) in [
            ("application/octet-stream", FrameKind::Binary),
            ("Application/Octet-Stream; x=1", FrameKind::Binary),
            ("application/json", FrameKind::Text),
            ("text/plain; charset=utf-8", FrameKind::Text),
        ] {
            let parts = request("/x", &[("content-type", value)]);
            assert_eq!(frame_kind(&parts.headers), kind, "{value}");
        }
        assert_eq!(frame_kind(&request("/x", &[]).headers), FrameKind::Text);
    }

    const ALL: Known = Known::PushToUser;

    fn read(parts: &Parts, known: Known) -> Result<Options, ApiError> {
        Options::read(parts, known, &Config::default())
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a good request").into_parts().0
    }
}
