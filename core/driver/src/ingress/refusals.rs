//! Handshakes that are refused: counted by code, and told.

use http::Response;
use http::header::{HeaderMap, HeaderValue, ORIGIN};
use switchboard_core::id::UserId;

use crate::answer::{Code, ConnectBody, Why};
use crate::log::{Cause, damped};
use crate::members::{LATE, Member};
use crate::permits::Service;
use crate::request::origin;

/// Counts and tells the refusal of a terminal's handshake. The user is known
/// if the authenticator has let it in.
pub(crate) fn note(
    member: &Member,
    headers: &HeaderMap,
    user: Option<&UserId>,
    response: &Response<ConnectBody>,
) {
    let code = code(response);
    member.refusals.count(code);
    let origin = headers.get(ORIGIN).map(shown);
    let why = response.extensions().get::<Why>();
    damped!(
        INFO,
        Cause::one("handshakes refused", code),
        this = %member.id,
        status = response.status().as_u16(),
        code,
        user = user.map(UserId::as_str),
        origin = origin.as_deref().map(tracing::field::debug),
        why = why.map(|why| tracing::field::debug(&why.0)),
        "a handshake is refused"
    );
}

/// Tells the refusal of a handshake at the peers' port.
pub(crate) fn note_of_peer(response: &Response<ConnectBody>) {
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
