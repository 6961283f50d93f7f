//! The authenticators that come with Switchboard.
//!
//! [`Open`] believes what the terminal says, [`Jwt`] believes a signed token. Both look at the one
//! place that is meant for it, and at no header by which a client could name somebody else.

mod claims;
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

#[cfg(feature = "jwks-url")]
pub use jwks::{Jwks, JwksError, JwksSettings};
pub use jwt::{Expiry, Jwt, JwtSettings};
pub use key::{JwtError, JwtKey};
pub use open::Open;
pub use token::QueryToken;
pub(crate) use token::bearer;
