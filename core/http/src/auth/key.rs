//! What tokens are signed with.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey};

use super::error::JwtError;
use super::jwk;
#[cfg(feature = "jwks-url")]
use super::jwks::Jwks;
use super::key_set::{Key, KeySet};
use super::keys::TokenKeys;
use super::rsa;

/// What tokens are signed with. Its kind fixes the algorithm: a token that names another one is
/// refused.
#[derive(Clone, PartialEq, Eq)]
pub enum JwtKey {
    /// A shared secret of at least [`JwtKey::SECRET_MIN_BYTES`] bytes: HS256. Line breaks at its end
    /// do not count, so that it can be a text file; it has none inside.
    Secret(Vec<u8>),
    /// Public keys as PEM, one or several, of which each counts: RS256 for an RSA key of
    /// [`JwtKey::RSA_MIN_BITS`] to [`JwtKey::RSA_MAX_BITS`], ES256 for one
    /// on P-256, EdDSA for Ed25519. A line `kid: NAME` before a key names it.
    PublicPem(Vec<u8>),
    /// Public keys as identity providers publish them: a JSON Web Key Set, of which those for
    /// signatures count. RSA, P-256, P-384 and Ed25519 keys are known.
    Published(Vec<u8>),
    /// Such a set at an address.
    #[cfg(feature = "jwks-url")]
    Fetched(Jwks),
}

impl JwtKey {
    /// Bytes of a secret for HS256 (RFC 7518, section 3.2). Whoever has a token can try all secrets
    /// that are shorter or simpler, at home.
    pub const SECRET_MIN_BYTES: usize = 32;

    /// Bits of an RSA key, at least (RFC 7518, section 3.3).
    pub const RSA_MIN_BITS: usize = rsa::MIN_BITS;

    /// Bits of an RSA key, at most: the library for signatures takes no longer ones.
    pub const RSA_MAX_BITS: usize = rsa::MAX_BITS;

    /// The keys, each with the only algorithm that it is for.
    ///
    /// # Errors
    ///
    /// If one cannot be used.
    pub(super) fn keys(&self) -> Result<TokenKeys, JwtError> {
        let read = match self {
            Self::Secret(secret) => KeySet::new(vec![Key {
                id: None,
                algorithm: Algorithm::HS256,
                key: secret_key(secret)?,
            }]),
            Self::PublicPem(pem) => KeySet::new(public_keys(pem)?),
            Self::Published(text) => jwk::read(text),
            #[cfg(feature = "jwks-url")]
            Self::Fetched(jwks) => return Ok(TokenKeys::Fetched(jwks.clone())),
        };
        read.map(Arc::new).map(TokenKeys::Fixed)
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::PublicPem(_) => "PublicPem(..)",
            Self::Published(_) => "Published(..)",
            #[cfg(feature = "jwks-url")]
            Self::Fetched(_) => "Fetched(..)",
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
    if secret.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err(JwtError::SeveralLines);
    }
    if secret.len() < JwtKey::SECRET_MIN_BYTES {
        return Err(JwtError::ShortSecret {
            bytes: secret.len(),
            least: JwtKey::SECRET_MIN_BYTES,
        });
    }
    Ok(DecodingKey::from_secret(secret))
}

/// The public keys of a PEM file.
fn public_keys(pem: &[u8]) -> Result<Vec<Key>, JwtError> {
    let text = std::str::from_utf8(pem).map_err(|_| JwtError::NotPublic)?;
    let blocks = blocks(text)?;
    let several = blocks.len() > 1;
    let read = |(index, block): (usize, &Block<'_>)| {
        public_key(block).map_err(|error| match several {
            true => JwtError::OfSeveral {
                number: index + 1,
                error: Box::new(error),
            },
            false => error,
        })
    };
    match blocks.is_empty() {
        true => Err(JwtError::NotPublic),
        false => blocks.iter().enumerate().map(read).collect(),
    }
}

/// A key as it stands in a PEM file.
struct Block<'a> {
    /// What the text before it calls it.
    id: Option<&'a str>,
    /// What it says it is, as `PUBLIC KEY`.
    label: &'a str,
    /// Its text, from its first line to its last.
    text: &'a str,
}

/// Takes a PEM file apart. What stands between the blocks is for people, but for the names of keys
/// (RFC 7468, section 2).
fn blocks(text: &str) -> Result<Vec<Block<'_>>, JwtError> {
    const BEGIN: &str = "-----BEGIN ";
    const DASHES: &str = "-----";
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let (before, block) = rest.split_at(begin);
        let id = before
            .lines()
            .filter_map(|line| line.trim().strip_prefix("kid:"))
            .next_back();
        let inner = &block[BEGIN.len()..];
        let label = inner.split(DASHES).next().unwrap_or_default();
        let last = format!("-----END {label}-----");
        let end = inner.find(&last).ok_or(JwtError::CutOff)?;
        if inner[..end].contains(BEGIN) {
            return Err(JwtError::CutOff);
        }
        let (text, after) = block.split_at(BEGIN.len() + end + last.len());
        blocks.push(Block {
            id: id.map(str::trim).filter(|id| !id.is_empty()),
            label,
            text,
        });
        rest = after;
    }
    Ok(blocks)
}

/// Bytes of a point on P-256, uncompressed: a tag and two coordinates.
const P256_POINT: usize = 65;

fn public_key(block: &Block<'_>) -> Result<Key, JwtError> {
    if !["PUBLIC KEY", "RSA PUBLIC KEY"].contains(&block.label) {
        return Err(JwtError::NotPublic);
    }
    let pem = block.text.as_bytes();
    let is_p256 = |key: &DecodingKey| {
        key.try_get_as_bytes()
            .is_ok_and(|point| point.len() == P256_POINT)
    };
    let (algorithm, key) = if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        rsa::check(&key)?;
        (Algorithm::RS256, key)
    } else if let Ok(key) = DecodingKey::from_ed_pem(pem) {
        (Algorithm::EdDSA, key)
    } else {
        let key = DecodingKey::from_ec_pem(pem).ok().filter(is_p256);
        (Algorithm::ES256, key.ok_or(JwtError::Unsupported)?)
    };
    Ok(Key {
        id: block.id.map(str::to_owned),
        algorithm,
        key,
    })
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
            let keys = read(&JwtKey::PublicPem(pem.to_vec())).expect("a good key");
            assert_eq!(keys.algorithms(), [algorithm]);
        }
        let secret = JwtKey::Secret(vec![b's'; JwtKey::SECRET_MIN_BYTES]);
        let keys = read(&secret).expect("a good secret");
        assert_eq!(keys.algorithms(), [Algorithm::HS256]);
    }

    #[test]
    fn all_keys_of_a_file_are_taken_with_their_names() {
        let file = format!(
            "The old one\r\n{}\nkid: of 2026 \n{}{}",
            include_str!("test_keys/rsa.public.pem").replace('\n', "\r\n"),
            include_str!("test_keys/p256.public.pem").trim_end(),
            include_str!("test_keys/ed25519.public.pem"),
        );
        let keys = public_keys(file.as_bytes()).expect("three keys");
        let found: Vec<_> = keys
            .iter()
            .map(|key| (key.algorithm, key.id.as_deref()))
            .collect();
        let expected = [
            (Algorithm::RS256, None),
            (Algorithm::ES256, Some("of 2026")),
            (Algorithm::EdDSA, None),
        ];
        assert_eq!(found, expected);
    }

    /// A key that cannot be used is not passed over: its tokens would be refused without a reason.
    #[test]
    fn one_bad_key_among_several_is_named() {
        let good = include_str!("test_keys/rsa.public.pem");
        for (second, error) in [
            (
                include_str!("test_keys/p384.public.pem"),
                JwtError::Unsupported,
            ),
            (
                include_str!("test_keys/p256.private.pem"),
                JwtError::NotPublic,
            ),
            (
                "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n",
                JwtError::Unsupported,
            ),
        ] {
            let file = format!("{good}{second}");
            let expected = JwtError::OfSeveral {
                number: 2,
                error: Box::new(error),
            };
            assert_eq!(public_keys(file.as_bytes()).err(), Some(expected));
        }
        let torn = "-----BEGIN PUBLIC KEY-----\nMCow\n";
        for file in [format!("{good}{torn}"), format!("{torn}{good}")] {
            assert_eq!(public_keys(file.as_bytes()).err(), Some(JwtError::CutOff));
        }
    }

    fn read(key: &JwtKey) -> Result<Arc<KeySet>, JwtError> {
        key.keys()
            .map(|keys| keys.known().expect("they are in the file"))
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused_at_once() {
        let secret = |bytes: &[u8]| read(&JwtKey::Secret(bytes.to_vec())).err();
        let public = |bytes: &[u8]| read(&JwtKey::PublicPem(bytes.to_vec())).err();
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
        let two = [[b's'; 32], [b't'; 32]].join(&b'\n');
        assert_eq!(secret(&two), Some(JwtError::SeveralLines));
        let small = JwtError::RsaSize {
            bits: 1024,
            least: 2048,
            most: 8192,
        };
        assert_eq!(
            public(include_bytes!("test_keys/rsa.small.public.pem")),
            Some(small),
            "no token of it would count"
        );
    }
}
