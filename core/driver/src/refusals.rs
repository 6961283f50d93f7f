//! Handshakes that are refused: counted by code, and told.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use http::header::{HeaderMap, HeaderValue, ORIGIN};
use http::{Response, StatusCode};
use switchboard_core::id::UserId;

use crate::answer::Code;
use crate::damper::{Cause, damped};
use crate::handle::ConnectBody;
use crate::members::{Member, Service};
use crate::origin;

/// What a handshake is counted as that is closed unanswered, because its time was over.
const LATE: &str = "handshake_timeout";

/// The codes of the terminals' port. They are counted from the start, so that the first one is seen
/// to increase something.
const CODES: [&str; 13] = [
    "bad_handshake",
    "bad_request",
    "forbidden",
    "foreign_origin",
    LATE,
    "invalid_token",
    "method_not_allowed",
    "no_token",
    "not_found",
    "token_expired",
    "too_many_connections",
    "unavailable",
    "websocket_version",
];

/// What an instance has refused, by code.
pub(crate) struct Refusals(Mutex<BTreeMap<&'static str, u64>>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Mutex::new(CODES.map(|code| (code, 0)).into()))
    }
}

impl Refusals {
    /// Counts one.
    fn count(&self, code: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(code).or_default() += 1;
    }

    /// Each code and how often it came.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(&code, &count)| (code, count)).collect()
    }
}

/// Counts and tells the answer to a terminal's handshake if it is a refusal. Who it is for is known
/// if the authenticator has let it in.
pub(crate) fn note(
    member: &Member,
    headers: &HeaderMap,
    user: Option<&UserId>,
    response: &Response<ConnectBody>,
) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let code = code(response);
    member.refusals.count(code);
    let origin = headers.get(ORIGIN).map(shown);
    damped!(
        INFO,
        Cause::one("handshakes refused", code),
        this = %member.id,
        status = response.status().as_u16(),
        code,
        user = user.map(UserId::as_str),
        origin = origin.as_deref().map(tracing::field::debug),
        "a handshake is refused"
    );
}

/// Tells the answer to a handshake at the peers' port if it is a refusal.
pub(crate) fn note_of_peer(response: &Response<ConnectBody>) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let code = code(response);
    damped!(
        INFO,
        Cause::one("handshakes at the peers' port refused", code),
        status = response.status().as_u16(),
        code,
        "a handshake at the peers' port is refused"
    );
}

/// Counts and tells a handshake that was not complete in time.
pub(crate) fn note_late(member: &Member, service: Service) {
    if service == Service::Terminals {
        member.refusals.count(LATE);
    }
    damped!(
        INFO,
        Cause::one("handshakes not complete in time", service.name()),
        this = %member.id,
        listener = service.name(),
        "a handshake was not complete in time"
    );
}

/// An origin as a line of the log repeats it.
fn shown(origin: &HeaderValue) -> String {
    origin::shown(&String::from_utf8_lossy(origin.as_bytes()))
}

fn code<B>(response: &Response<B>) -> &'static str {
    let code = response.extensions().get::<Code>();
    code.map_or("none", |code| code.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H13: what a stranger sends does not fill the log.
    #[test]
    fn a_line_of_the_log_repeats_no_more_of_an_origin_than_an_answer_does() {
        let long = HeaderValue::from_bytes(&[0xff; 9000]).expect("a header");
        assert_eq!(shown(&long).chars().count(), 200);
        assert_eq!(shown(&HeaderValue::from_static("null")), "null");
    }
}
