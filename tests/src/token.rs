//! Tokens as an identity provider would issue them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// A token signed with HS256.
pub fn hs256(secret: &[u8], claims: &Value) -> String {
    signed(&json!({"alg": "HS256", "typ": "JWT"}), secret, claims)
}

/// A token of any header, signed with HMAC-SHA-256 whatever the header says.
pub fn signed(header: &Value, secret: &[u8], claims: &Value) -> String {
    let message = unsigned(header, claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{message}.{signature}")
}

/// Header and claims of a token, without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// The seconds since 1970, moved by `offset`, for `exp` and its like.
pub fn seconds_from_now(offset: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX) + offset
}
