//! The WebSocket subprotocols that a terminal offers.

use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use switchboard_protocol::{Family, Protocol};

/// The subprotocol of the plain protocol. Browsers offer it together with `bearer.<token>`.
pub const SUBPROTOCOL: &str = match Protocol::Plain.subprotocol() {
    Some(name) => name,
    None => panic!("the plain protocol has a subprotocol"),
};

/// What a subprotocol begins with that is a token.
pub const BEARER: &str = "bearer.";

/// The protocol that a terminal speaks, of a family: the first that it offers and that is known. `None`: it offers
/// none, and speaks the usual one.
pub(crate) fn selected_protocol(family: Family, headers: &HeaderMap) -> Option<Protocol> {
    offered_subprotocols(headers).find_map(|name| Protocol::of_subprotocol(family, name))
}

/// What the answer to a handshake says in `Sec-WebSocket-Protocol`: the subprotocol of the protocol that the
/// terminal speaks, if it offers one. A token is never selected.
pub fn selected_subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = selected_protocol(Family::Plain, headers)?;
    protocol.subprotocol().map(HeaderValue::from_static)
}

/// All that a handshake offers, in its order.
pub fn offered_subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}
