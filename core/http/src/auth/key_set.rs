//! The keys that tokens may be signed with, and which of them a token means.

use jsonwebtoken::{Algorithm, DecodingKey, Header};

use super::error::JwtError;

/// A key that tokens may be signed with.
pub(super) struct Key {
    /// What tokens call it (`kid`), if it has a name.
    pub(super) id: Option<String>,
    /// The only algorithm that it is for.
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Keys that count side by side, as while one takes the place of another.
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    /// Keys of one set. A token may have each of them tried.
    pub(super) const MAX: usize = 64;

    /// The set of these keys.
    ///
    /// # Errors
    ///
    /// If there is none, or too many.
    pub(super) fn new(keys: Vec<Key>) -> Result<Self, JwtError> {
        match keys.len() {
            0 => Err(JwtError::NoKey),
            1..=Self::MAX => Ok(Self(keys)),
            keys => Err(JwtError::TooMany {
                keys,
                limit: Self::MAX,
            }),
        }
    }

    /// The algorithms that its keys fix, each once.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms: Vec<Algorithm> = Vec::new();
        for key in &self.0 {
            if !algorithms.contains(&key.algorithm) {
                algorithms.push(key.algorithm);
            }
        }
        algorithms
    }

    /// What its keys are called; `-` for one without a name.
    #[cfg(any(test, feature = "jwks-url"))]
    pub(super) fn names(&self) -> Vec<String> {
        let name = |key: &Key| key.id.clone().unwrap_or_else(|| "-".to_owned());
        self.0.iter().map(name).collect()
    }

    /// Whether a key has no name, so that it may be the one of a name that is not here.
    pub(super) fn has_nameless(&self) -> bool {
        self.0.iter().any(|key| key.id.is_none())
    }

    /// Whether a key has this name.
    #[cfg(feature = "jwks-url")]
    pub(super) fn knows(&self, name: &str) -> bool {
        self.has(name)
    }

    /// The keys that can have signed a token: those of its algorithm and of the name that it says.
    /// A token without a name may be of each, and a key without one may be the one of each name that
    /// no other key has, of whatever algorithm.
    pub(super) fn candidates(&self, token: &Header) -> Vec<&Key> {
        let fitting = || self.0.iter().filter(|key| key.algorithm == token.alg);
        let Some(name) = &token.kid else {
            return fitting().collect();
        };
        let meant = self.has(name).then_some(name);
        fitting().filter(|key| key.id.as_ref() == meant).collect()
    }

    /// Whether no key can have signed a token that says this name, because each has another one.
    pub(super) fn is_strange(&self, name: &str) -> bool {
        !self.has(name) && !self.has_nameless()
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_names_its_key_is_compared_with_that_one_alone() {
        let set = set(&[Some("old"), Some("new"), None]);
        assert_eq!(candidates(&set, Some("new")), [1]);
        assert_eq!(candidates(&set, Some("other")), [2]);
        assert_eq!(candidates(&set, None), [0, 1, 2]);
    }

    #[test]
    fn keys_of_another_algorithm_are_not_tried() {
        let rsa = Key {
            algorithm: Algorithm::RS256,
            ..key(Some("rsa"))
        };
        let nameless = KeySet::new(vec![key(None), rsa]).expect("few keys");
        assert_eq!(candidates(&nameless, Some("rsa")), [] as [usize; 0]);
        assert_eq!(candidates(&nameless, None), [0]);
        let token = Header {
            kid: Some("new".to_owned()),
            ..Header::new(Algorithm::RS256)
        };
        assert!(set(&[Some("new"), None]).candidates(&token).is_empty());
    }

    #[test]
    fn a_set_has_a_key_and_not_too_many() {
        assert_eq!(KeySet::new(Vec::new()).err(), Some(JwtError::NoKey));
        let keys = |count| (0..count).map(|_| key(None)).collect();
        assert!(KeySet::new(keys(KeySet::MAX)).is_ok());
        assert!(matches!(
            KeySet::new(keys(KeySet::MAX + 1)).err(),
            Some(JwtError::TooMany { .. })
        ));
    }

    /// The places in the set of the keys that a token may mean.
    fn candidates(set: &KeySet, name: Option<&str>) -> Vec<usize> {
        let token = Header {
            kid: name.map(str::to_owned),
            ..Header::new(Algorithm::HS256)
        };
        let meant = set.candidates(&token);
        let place = |key: &Key| set.0.iter().position(|other| std::ptr::eq(other, key));
        meant.into_iter().filter_map(place).collect()
    }

    fn set(names: &[Option<&str>]) -> KeySet {
        KeySet::new(names.iter().map(|name| key(*name)).collect()).expect("few keys")
    }

    fn key(name: Option<&str>) -> Key {
        Key {
            id: name.map(str::to_owned),
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(b"secret"),
        }
    }
}
