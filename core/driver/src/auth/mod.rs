//! The authenticators that come with Switchboard.
//!
//! [`Open`] believes what the terminal says, [`Jwt`] believes a signed token. Both look at the one
//! place that is meant for it, and at no header by which a client could name somebody else.

mod claims;
mod error;
#[cfg(feature = "jwks-url")]
mod fetched_keys;
mod jwk;
#[cfg(feature = "jwks-url")]
mod jwks;
mod jwt;
mod key;
mod key_set;
mod keys;
mod open;
mod token;

pub use error::AuthError;
#[cfg(feature = "jwks-url")]
pub use jwks::{Jwks, JwksError, JwksSettings};
pub use jwt::{Expiry, Jwt, JwtSettings};
pub use key::{JwtError, JwtKey};
pub use open::Open;
pub(crate) use token::bearer;
pub use token::{QueryToken, SUBPROTOCOL, selected_subprotocol};

/// What terminals must send to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// The user's name, as `?user=`.
    Open,
    /// A JSON Web Token.
    Jwt,
    /// Something of the application's own.
    Custom,
}
