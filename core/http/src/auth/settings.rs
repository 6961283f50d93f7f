//! What the authenticators are told.

use super::key::JwtKey;
use super::token::QueryToken;

/// What a [`Jwt`](super::Jwt) believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// What tokens are signed with.
    pub key: JwtKey,
    /// A token must be for one of these (`aud`). Empty: `aud` is not looked at.
    pub audience: Vec<String>,
    /// A token must be by one of these (`iss`). Empty: `iss` is not looked at.
    pub issuer: Vec<String>,
    /// Whether a token must expire.
    pub expiry: Expiry,
    /// Whether a token is taken from the query.
    pub query_token: QueryToken,
}

/// Whether a token must expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// A token without `exp` is refused.
    Required,
    /// A token without `exp` is good for ever, and so is its connection.
    Optional,
}
