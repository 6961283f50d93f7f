//! The URL under which terminals reach a server.

use switchboard_core::config::ConfigError;
use switchboard_driver::host::Host;

/// What the public URL must be.
pub(crate) const RULE: &str =
    "must be a URL such as `wss://push.example.com/connect`, without query";

/// Whether this is one.
pub(super) fn is_one(text: &str) -> bool {
    websocket(text).is_ok()
}

/// Reads the public URL: a WebSocket's or a page's scheme, and a path if it is not `/connect`.
pub(crate) fn websocket(text: &str) -> Result<String, ConfigError> {
    let invalid = ConfigError {
        field: "public_url",
        rule: RULE,
    };
    let (scheme, rest) = text.trim().split_once("://").ok_or(invalid)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        _ => return Err(invalid),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#;,'\"".contains(&byte))
    };
    if Host::parse(host).is_none() || !plain(host) || !plain(path) {
        return Err(invalid);
    }
    let path = if path.is_empty() { "connect" } else { path };
    Ok(format!("{scheme}://{host}/{path}"))
}
