//! The WebSocket subprotocols that a terminal offers.

use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use switchboard_protocol::Protocol;

/// The subprotocol of the plain protocol. Browsers offer it together with `bearer.<token>`.
pub const SUBPROTOCOL: &str = Protocol::Plain.subprotocol();

/// The protocol that a terminal speaks: the first that it offers and that is known. `None`: it offers none,
/// and speaks the plain one.
pub(crate) fn selected_protocol(headers: &HeaderMap) -> Option<Protocol> {
    offered_subprotocols(headers).find_map(Protocol::of_subprotocol)
}

/// What the answer to a handshake says in `Sec-WebSocket-Protocol`: the subprotocol of the protocol that the
/// terminal speaks, if it offers one. A token is never selected.
pub fn selected_subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = selected_protocol(headers)?;
    Some(HeaderValue::from_static(protocol.subprotocol()))
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
