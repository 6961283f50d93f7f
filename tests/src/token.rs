//! Tokens as an identity provider would issue them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::certificate;

/// A token signed with HS256.
pub fn hs256(secret: &[u8], claims: &Value) -> String {
    signed(&json!({"alg": "HS256", "typ": "JWT"}), secret, claims)
}

/// What a pair of keys signs tokens with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA keys, for RS256.
    Rsa,
    /// Keys on the curve P-256, for ES256.
    P256,
    /// Keys on Curve25519, for EdDSA.
    Ed25519,
}

/// An identity provider with a pair of keys.
#[derive(Debug)]
pub struct Signer {
    algorithm: Algorithm,
    private: EncodingKey,
    public: String,
}

impl Signer {
    /// One with new keys.
    ///
    /// # Panics
    ///
    /// If the libraries cannot make keys of this kind.
    pub fn new(kind: KeyKind) -> Self {
        let (algorithm, signatures) = match kind {
            KeyKind::Rsa => (Algorithm::RS256, &PKCS_RSA_SHA256),
            KeyKind::P256 => (Algorithm::ES256, &PKCS_ECDSA_P256_SHA256),
            KeyKind::Ed25519 => (Algorithm::EdDSA, &PKCS_ED25519),
        };
        let pair = certificate::key(signatures);
        let pem = pair.serialize_pem();
        let private = match kind {
            KeyKind::Rsa => EncodingKey::from_rsa_pem(pem.as_bytes()),
            KeyKind::P256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            KeyKind::Ed25519 => EncodingKey::from_ed_pem(pem.as_bytes()),
        };
        Self {
            algorithm,
            private: private.expect("a good key"),
            public: pair.public_key_pem(),
        }
    }

    /// The public key, as servers get it.
    pub fn public_pem(&self) -> &str {
        &self.public
    }

    /// The public key, as identity providers publish it under this name.
    ///
    /// # Panics
    ///
    /// If the library cannot write it.
    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).expect("a good key");
        jwk.common.key_id = Some(kid.to_owned());
        serde_json::to_value(&jwk).expect("it is made for JSON")
    }

    /// A token with these claims.
    ///
    /// # Panics
    ///
    /// If the key does not sign.
    pub fn sign(&self, claims: &Value) -> String {
        self.encoded(Header::new(self.algorithm), claims)
    }

    /// A token with these claims that calls its key by this name.
    ///
    /// # Panics
    ///
    /// If the key does not sign.
    pub fn sign_as(&self, kid: &str, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(kid.to_owned());
        self.encoded(header, claims)
    }

    fn encoded(&self, header: Header, claims: &Value) -> String {
        encode(&header, claims, &self.private).expect("the key signs")
    }
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
