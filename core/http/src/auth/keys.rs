//! Where the keys of tokens are from: a file that was read, or an address that is asked.

use std::sync::Arc;

use switchboard_driver::AuthError;

#[cfg(feature = "jwks-url")]
use super::jwks::Jwks;
use super::key_set::KeySet;

/// Where the keys of tokens are from.
pub(super) enum TokenKeys {
    /// Keys that were read once.
    Fixed(Arc<KeySet>),
    /// They are those that an identity provider publishes at present.
    #[cfg(feature = "jwks-url")]
    Fetched(Jwks),
}

impl TokenKeys {
    /// The keys that are known.
    ///
    /// # Errors
    ///
    /// If none were fetched yet.
    pub(super) fn known(&self) -> Result<Arc<KeySet>, AuthError> {
        match self {
            Self::Fixed(keys) => Ok(Arc::clone(keys)),
            #[cfg(feature = "jwks-url")]
            Self::Fetched(jwks) => jwks.known().ok_or_else(super::jwks::unavailable),
        }
    }

    /// Keys one of which may be that of a token, although a fetch is to say whether it is.
    #[cfg_attr(
        not(feature = "jwks-url"),
        expect(unused_variables, reason = "fixed keys are the same for all tokens")
    )]
    pub(super) fn before_fetch(&self, token: &str) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(_) => None,
            #[cfg(feature = "jwks-url")]
            Self::Fetched(jwks) => {
                let header = jsonwebtoken::decode_header(token).ok()?;
                jwks.known()
                    .filter(|keys| header.kid.is_none() || keys.has_nameless())
            }
        }
    }

    /// The keys that say whether a token counts.
    ///
    /// # Errors
    ///
    /// If nobody can say at present.
    #[cfg_attr(
        not(feature = "jwks-url"),
        expect(unused_variables, reason = "fixed keys are the same for all tokens")
    )]
    pub(super) async fn for_token(&self, token: &str) -> Result<Arc<KeySet>, AuthError> {
        match self {
            Self::Fixed(keys) => Ok(Arc::clone(keys)),
            #[cfg(feature = "jwks-url")]
            Self::Fetched(jwks) => match jsonwebtoken::decode_header(token) {
                Ok(header) => jwks.keys_for(&header).await,
                // What cannot be read counts with no key.
                Err(_) => self.known(),
            },
        }
    }
}
