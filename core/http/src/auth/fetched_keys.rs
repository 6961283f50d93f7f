//! What is known of keys that are fetched, what is sought among them, and when the next fetch is due.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;

use super::error::JwksError;
use super::key_set::KeySet;

/// How long a name that was not in the set causes no fetch.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The longest pause after failures while a fetch would let somebody in.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Names that are remembered as unknown, and names that wait for a fetch, at most. Tokens with further
/// ones are told to come back.
const NAMES: usize = 1024;

/// The longest name of a key, in bytes, for which a set is fetched.
const NAME_BYTES: usize = 256;

/// Where keys are, and how they are fetched.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksSettings {
    /// The set's address: `https://...`, or `http://...` of this machine, without user and password.
    pub url: String,
    /// Authorities that vouch for it, as PEM. Without it those that the machine trusts do, or those of
    /// the file that the variable `SSL_CERT_FILE` names.
    pub authorities: Option<Vec<u8>>,
    /// The time between two fetches.
    pub refresh: Duration,
    /// The time after a fetch before tokens can cause another one. While the provider is away, it
    /// grows up to `refresh`, and up to 30 s while a token waits, or no key is known.
    pub pause: Duration,
    /// How long a fetch may take. Below the time for a handshake, so that it can be answered.
    pub timeout: Duration,
}

impl fmt::Debug for JwksSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksSettings")
            .field("url", &shown(&self.url))
            .field("refresh", &self.refresh)
            .field("pause", &self.pause)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What of an address may be logged: its query may hold a secret.
pub(super) fn shown(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else {
        return "-".to_owned();
    };
    let host = uri.host().unwrap_or_default();
    let port = uri
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let scheme = uri.scheme_str().unwrap_or_default();
    format!("{scheme}://{host}{port}{}", uri.path())
}

/// What is known of the keys.
#[derive(Default)]
pub(super) struct State {
    pub(super) keys: Option<Arc<KeySet>>,
    /// Why the last fetch has failed, and how many have in a row.
    pub(super) failure: Option<(JwksError, u32)>,
    /// When the last fetch ended.
    pub(super) last: Option<Instant>,
    pub(super) begun: u64,
    pub(super) ended: u64,
    /// What wants a fetch before it is due.
    pub(super) wanted: Wanted,
    /// Names that are to be looked for in the set that is fetched next.
    pub(super) sought: Vec<String>,
    /// Names that are looked for in the set that is being fetched.
    pub(super) awaited: Vec<String>,
    /// Names that were in no set, and when that was found. The empty one stands for all tokens that name no key.
    unknown: HashMap<String, Instant>,
    /// Nobody needs keys any more.
    pub(super) over: bool,
}

/// What wants a fetch before it is due.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// Nobody: the next regular fetch is early enough.
    #[default]
    Not,
    /// A token: after the pause.
    ByToken,
    /// The operator: at once.
    AtOnce,
}

impl State {
    /// When the next fetch is due; `None`: at once.
    pub(super) fn due(&self, settings: &JwksSettings) -> Option<Instant> {
        let JwksSettings { refresh, pause, .. } = *settings;
        let last = self.last?;
        let urgent = self.keys.is_none() || self.wanted == Wanted::ByToken;
        let longest = match urgent {
            true => refresh.min(LONGEST_PAUSE.max(pause)),
            false => refresh,
        };
        let grown = |failures: u32| pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let after = match (self.wanted, &self.failure) {
            (Wanted::AtOnce, _) => return None,
            (Wanted::Not, None) => refresh,
            (Wanted::ByToken, None) => pause.min(refresh),
            (Wanted::Not | Wanted::ByToken, Some((_, failures))) => grown(*failures).min(longest),
        };
        Some(last + after)
    }

    /// Takes keys that were fetched.
    pub(super) fn take(&mut self, keys: KeySet, now: Instant) {
        self.unknown
            .retain(|_, found| now.duration_since(*found) < FORGOTTEN);
        for name in std::mem::take(&mut self.awaited) {
            if !keys.knows(&name) && self.unknown.len() < NAMES {
                self.unknown.insert(name, now);
            }
        }
        self.keys = Some(Arc::new(keys));
        self.failure = None;
    }

    /// Whether it is known that nothing is found by this name.
    pub(super) fn is_in_vain(&self, name: &str, now: Instant) -> bool {
        let found = self.unknown.get(name);
        name.len() > NAME_BYTES || found.is_some_and(|found| now.duration_since(*found) < FORGOTTEN)
    }

    /// Has this name looked for. `false` if too many are.
    pub(super) fn seek(&mut self, name: &str) -> bool {
        if self.sought.iter().any(|sought| sought == name) {
            return true;
        }
        if name.len() > NAME_BYTES || self.sought.len() >= NAMES {
            return false;
        }
        self.sought.push(name.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey};

    use super::super::key_set::Key;
    use super::*;

    /// An outage that was long is no reason to keep people out for long after it.
    #[test]
    fn a_long_outage_is_over_soon_for_whoever_waits() {
        let settings = JwksSettings {
            url: "https://id.example.com/keys".to_owned(),
            authorities: None,
            refresh: Duration::from_secs(600),
            pause: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
        };
        let ended = Instant::now();
        let pause = |keys: Option<KeySet>, wanted, failures| {
            let state = State {
                keys: keys.map(Arc::new),
                wanted,
                failure: Some((JwksError::Url, failures)),
                last: Some(ended),
                ..State::default()
            };
            state.due(&settings).map(|due| due - ended)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (wanted, failures, expected) in [
            (Wanted::Not, 1, seconds(10)),
            (Wanted::Not, 3, seconds(40)),
            (Wanted::Not, 99, seconds(600)),
            (Wanted::ByToken, 1, seconds(10)),
            (Wanted::ByToken, 99, seconds(30)),
            (Wanted::AtOnce, 99, None),
        ] {
            assert_eq!(pause(Some(key_set()), wanted, failures), expected);
        }
        assert_eq!(pause(None, Wanted::Not, 99), seconds(30));
    }

    fn key_set() -> KeySet {
        let key = Key {
            id: None,
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(b"secret"),
        };
        KeySet::new(vec![key]).expect("one key")
    }
}
