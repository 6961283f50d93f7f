//! The WebSocket subprotocols that a terminal offers.

use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

/// The subprotocol that terminals may offer. Browsers offer it together with `bearer.<token>`.
pub const SUBPROTOCOL: &str = "switchboard.v1";

/// What the answer to a handshake says in `Sec-WebSocket-Protocol`: [`SUBPROTOCOL`] if it was
/// offered, else nothing. A token is never selected.
pub fn selected_subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    offered_subprotocols(headers)
        .any(|protocol| protocol == SUBPROTOCOL)
        .then(|| HeaderValue::from_static(SUBPROTOCOL))
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
