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
mod rsa;
mod settings;
mod token;

#[cfg(feature = "jwks-url")]
pub use self::{error::JwksError, fetched_keys::JwksSettings, jwks::Jwks};
pub use error::JwtError;
pub use jwt::Jwt;
pub use key::JwtKey;
pub use open::Open;
pub use settings::{Expiry, JwtSettings};
pub use token::QueryToken;
pub(crate) use token::bearer;
