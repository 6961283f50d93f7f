//! Public keys as identity providers publish them: JSON Web Key Sets (RFC 7517).

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::error::JwtError;
use super::key_set::{Key, KeySet};
use super::rsa;

/// A set as it stands in JSON. Each key is read by itself: providers publish some that are for
/// something else.
#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// The keys of a set with which signatures can be checked; others are left out. A shared secret is
/// never one of them: once published it is none.
///
/// # Errors
///
/// If it is no set, or none of its keys can be used.
pub(super) fn read(text: &[u8]) -> Result<KeySet, JwtError> {
    let published: Published =
        serde_json::from_slice(text).map_err(|error| JwtError::NotASet(error.to_string()))?;
    let keys: Vec<Key> = published.keys.into_iter().filter_map(key).collect();
    match keys.is_empty() {
        true => Err(JwtError::NothingUsable),
        false => KeySet::new(keys),
    }
}

fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let algorithm = algorithm(&jwk).filter(|_| is_for_signatures(&jwk))?;
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    if matches!(jwk.algorithm, AlgorithmParameters::RSA(_)) {
        rsa::check(&key).ok()?;
    }
    Some(Key {
        key,
        id: jwk.common.key_id,
        algorithm,
    })
}

/// The one algorithm of a key: that which it names, if its type can have it, or the usual one of its
/// type.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    use AlgorithmParameters::{EllipticCurve as Ec, OctetKeyPair, RSA};
    let named = jwk.common.key_algorithm;
    match (&jwk.algorithm, named) {
        (RSA(_), None | Some(KeyAlgorithm::RS256)) => Some(Algorithm::RS256),
        (RSA(_), Some(KeyAlgorithm::RS384)) => Some(Algorithm::RS384),
        (RSA(_), Some(KeyAlgorithm::RS512)) => Some(Algorithm::RS512),
        (RSA(_), Some(KeyAlgorithm::PS256)) => Some(Algorithm::PS256),
        (RSA(_), Some(KeyAlgorithm::PS384)) => Some(Algorithm::PS384),
        (RSA(_), Some(KeyAlgorithm::PS512)) => Some(Algorithm::PS512),
        (Ec(key), None | Some(KeyAlgorithm::ES256)) if key.curve == EllipticCurve::P256 => {
            Some(Algorithm::ES256)
        }
        (Ec(key), None | Some(KeyAlgorithm::ES384)) if key.curve == EllipticCurve::P384 => {
            Some(Algorithm::ES384)
        }
        (OctetKeyPair(key), None | Some(KeyAlgorithm::EdDSA))
            if key.curve == EllipticCurve::Ed25519 =>
        {
            Some(Algorithm::EdDSA)
        }
        _ => None,
    }
}

fn is_for_signatures(jwk: &Jwk) -> bool {
    let used = &jwk.common.public_key_use;
    let operations = &jwk.common.key_operations;
    used.as_ref()
        .is_none_or(|used| *used == PublicKeyUse::Signature)
        && operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const P256: [&str; 2] = [
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    ];

    /// H01: what a published set says of a key decides its algorithm, and a secret is never one.
    #[test]
    fn a_key_has_one_algorithm_by_its_type_and_name() {
        for (change, algorithm) in [
            (json!({}), Some(Algorithm::ES256)),
            (
                json!({"alg": "ES256", "use": "sig"}),
                Some(Algorithm::ES256),
            ),
            (json!({"key_ops": ["verify"]}), Some(Algorithm::ES256)),
            (json!({"alg": "ES384"}), None),
            (json!({"alg": "HS256"}), None),
            (json!({"alg": "none"}), None),
            (json!({"use": "enc"}), None),
            (json!({"key_ops": ["sign"]}), None),
            (json!({"crv": "P-521"}), None),
            (json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}), None),
            (json!({"kty": "oct", "k": "c2VjcmV0"}), None),
            (json!({"kid": 7}), None),
        ] {
            let read = key(changed(&change));
            assert_eq!(read.map(|key| key.algorithm), algorithm, "{change}");
        }
        let modulus = |bytes: usize| "AQAB".repeat(bytes / 3);
        let rsa = |alg: &str| json!({"kty": "RSA", "alg": alg, "n": modulus(258), "e": "AQAB"});
        for (name, algorithm) in [
            ("RS256", Some(Algorithm::RS256)),
            ("RS512", Some(Algorithm::RS512)),
            ("PS384", Some(Algorithm::PS384)),
            ("RSA-OAEP", None),
            ("HS256", None),
            ("ES256", None),
        ] {
            assert_eq!(key(rsa(name)).map(|key| key.algorithm), algorithm, "{name}");
        }
        let of = |bytes| json!({"kty": "RSA", "n": modulus(bytes), "e": "AQAB"});
        for (bytes, taken) in [(129, false), (255, false), (258, true), (1026, false)] {
            assert_eq!(key(of(bytes)).is_some(), taken, "{bytes} bytes");
        }
    }

    #[test]
    fn a_set_is_what_can_be_used_of_it() {
        let set = json!({"keys": [{"kty": "strange"}, "nonsense", changed(&json!({"kid": "a"}))]});
        let keys = read(set.to_string().as_bytes()).expect("one is good");
        assert_eq!(keys.names(), ["a"]);
        for (set, error) in [
            ("{\"keys\": []}", JwtError::NothingUsable),
            (
                "{\"keys\": [{\"kty\": \"oct\", \"k\": \"AA\"}]}",
                JwtError::NothingUsable,
            ),
        ] {
            assert_eq!(read(set.as_bytes()).err(), Some(error), "{set}");
        }
        for text in ["", "{}", "[]", "<html>"] {
            let error = read(text.as_bytes()).err();
            assert!(matches!(error, Some(JwtError::NotASet(_))), "{text}");
        }
    }

    /// A key on P-256, with some of its fields changed.
    fn changed(change: &Value) -> Value {
        let mut key = json!({"kty": "EC", "crv": "P-256", "x": P256[0], "y": P256[1]});
        for (name, value) in change.as_object().into_iter().flatten() {
            key[name] = value.clone();
        }
        key
    }
}
