//! What tokens are signed with.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};

/// What tokens are signed with. Its kind fixes the algorithm: a token that names another one is
/// refused.
#[derive(Clone)]
pub enum JwtKey {
    /// A shared secret of at least [`JwtKey::SECRET_MIN_BYTES`] bytes: HS256. Line breaks at its end
    /// do not count, so that it can be a text file.
    Secret(Vec<u8>),
    /// A public key as PEM: RS256 for an RSA key, ES256 for one on P-256, EdDSA for Ed25519.
    PublicPem(Vec<u8>),
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The secret is empty.
    #[error("the secret is empty")]
    EmptySecret,
    /// The secret is shorter than the hash that it keys.
    #[error(
        "the secret has {bytes} bytes, and HS256 needs at least {least}: make one with `openssl rand -hex 32`"
    )]
    ShortSecret {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it must have: [`JwtKey::SECRET_MIN_BYTES`].
        least: usize,
    },
    /// The secret is a PEM file.
    #[error("this is a PEM file, not a secret: a public key goes into the setting for public keys")]
    SecretIsPem,
    /// The key is not a public one.
    #[error(
        "this is not a public key: a PEM file that begins with `-----BEGIN PUBLIC KEY-----` is needed"
    )]
    NotPublic,
    /// The key is none of those that can be used.
    #[error("this public key is neither RSA, nor on the curve P-256, nor Ed25519")]
    Unsupported,
}

impl JwtKey {
    /// Bytes of a secret for HS256 (RFC 7518, section 3.2). Who has a token can try all secrets
    /// that are shorter or simpler, at home.
    pub const SECRET_MIN_BYTES: usize = 32;

    /// The key, and the only algorithm that it is for.
    ///
    /// # Errors
    ///
    /// If it cannot be used.
    pub(super) fn read(&self) -> Result<(DecodingKey, Algorithm), JwtError> {
        match self {
            Self::Secret(secret) => Ok((secret_key(secret)?, Algorithm::HS256)),
            Self::PublicPem(pem) => public_key(pem),
        }
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::PublicPem(_) => "PublicPem(..)",
        })
    }
}

fn secret_key(secret: &[u8]) -> Result<DecodingKey, JwtError> {
    let end = secret
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
        .ok_or(JwtError::EmptySecret)?;
    let secret = &secret[..=end];
    if secret.starts_with(b"-----BEGIN ") {
        return Err(JwtError::SecretIsPem);
    }
    if secret.len() < JwtKey::SECRET_MIN_BYTES {
        return Err(JwtError::ShortSecret {
            bytes: secret.len(),
            least: JwtKey::SECRET_MIN_BYTES,
        });
    }
    Ok(DecodingKey::from_secret(secret))
}

/// Bytes of a point on P-256, uncompressed: a tag and two coordinates.
const P256_POINT: usize = 65;

fn public_key(pem: &[u8]) -> Result<(DecodingKey, Algorithm), JwtError> {
    let text = std::str::from_utf8(pem).map_err(|_| JwtError::NotPublic)?;
    let public = [
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN RSA PUBLIC KEY-----",
    ];
    if !public.iter().any(|begin| text.contains(begin)) {
        return Err(JwtError::NotPublic);
    }
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        return Ok((key, Algorithm::RS256));
    }
    if let Ok(key) = DecodingKey::from_ed_pem(pem) {
        return Ok((key, Algorithm::EdDSA));
    }
    match DecodingKey::from_ec_pem(pem) {
        Ok(key)
            if key
                .try_get_as_bytes()
                .is_ok_and(|point| point.len() == P256_POINT) =>
        {
            Ok((key, Algorithm::ES256))
        }
        Ok(_) | Err(_) => Err(JwtError::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_fixes_the_algorithm() {
        let cases: [(&[u8], Algorithm); 3] = [
            (include_bytes!("test_keys/rsa.public.pem"), Algorithm::RS256),
            (
                include_bytes!("test_keys/p256.public.pem"),
                Algorithm::ES256,
            ),
            (
                include_bytes!("test_keys/ed25519.public.pem"),
                Algorithm::EdDSA,
            ),
        ];
        for (pem, algorithm) in cases {
            let (_, fixed) = JwtKey::PublicPem(pem.to_vec()).read().expect("a good key");
            assert_eq!(fixed, algorithm);
        }
        let (_, fixed) = JwtKey::Secret(vec![b's'; JwtKey::SECRET_MIN_BYTES])
            .read()
            .expect("a good secret");
        assert_eq!(fixed, Algorithm::HS256);
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused_at_once() {
        let secret = |bytes: &[u8]| JwtKey::Secret(bytes.to_vec()).read().err();
        let public = |bytes: &[u8]| JwtKey::PublicPem(bytes.to_vec()).read().err();
        assert_eq!(secret(b""), Some(JwtError::EmptySecret));
        assert_eq!(secret(b"\r\n"), Some(JwtError::EmptySecret));
        let short = JwtError::ShortSecret {
            bytes: 31,
            least: 32,
        };
        assert_eq!(secret(&[b's'; 31]), Some(short.clone()));
        assert_eq!(
            secret(b"a secret of only thirty-one byt\r\n"),
            Some(short),
            "the line end does not count"
        );
        assert_eq!(
            secret(include_bytes!("test_keys/rsa.public.pem")),
            Some(JwtError::SecretIsPem)
        );
        assert_eq!(
            public(include_bytes!("test_keys/p256.private.pem")),
            Some(JwtError::NotPublic)
        );
        assert_eq!(
            public(include_bytes!("test_keys/p384.public.pem")),
            Some(JwtError::Unsupported)
        );
        assert_eq!(public(b"hello"), Some(JwtError::NotPublic));
    }
}
