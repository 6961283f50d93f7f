//! Keys that an identity provider publishes at an address, fetched by a thread of their own.
//!
//! What was fetched counts until something else was: an outage of the provider closes nobody, and
//! keeps nobody out whose key is known. A token that names an unknown key, or none and is signed with none of those that
//! are known, has the set fetched, and is refused for good only by a set that was asked for after this name came. That is bounded whatever tokens
//! come: one fetch is under way, the next one is a pause later, and a name that was looked for in vain
//! has nothing fetched for a minute.

use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use std::{fmt, thread};

use event_listener::{Event as Signal, EventListener, Listener as _};
use http::{StatusCode, Uri};
use jsonwebtoken::Header;
use switchboard_driver::AuthError;
use switchboard_driver::log::{Cause, damped};
use ureq::{Agent, Error};

use super::error::JwksError;
use super::fetched_keys::{JwksSettings, State, Wanted, shown};
use super::jwk;
use super::key_set::KeySet;
use crate::fetch::{self, Proxies, Trust};

/// Bytes of a set, at most: as many large keys as count, with their certificates, have less.
const SET_BYTES: u64 = 1 << 20;

/// Keys at an address. Clones are the same; when the last one is dropped, nothing is fetched any more.
#[derive(Clone)]
pub struct Jwks(Arc<Owner>);

/// Ends the thread when it is dropped.
struct Owner(Arc<Inner>);

struct Inner {
    settings: JwksSettings,
    /// The address as the log may have it.
    shown: String,
    state: Mutex<State>,
    /// The thread has something to do.
    wake: Condvar,
    /// A fetch has ended.
    ended: Signal,
}

/// What is found for a token.
enum Found {
    /// Keys that say whether it counts.
    Keys(Arc<KeySet>),
    /// Nothing, until a fetch has ended.
    AfterFetch(EventListener),
    /// Nothing at present.
    Nothing,
}

impl Jwks {
    /// Begins to fetch.
    ///
    /// # Errors
    ///
    /// If the settings cannot be used. A provider that does not answer is no error: it is asked again.
    pub fn start(settings: JwksSettings) -> Result<Self, JwksError> {
        let agent = agent(&settings)?;
        let inner = Arc::new(Inner {
            shown: shown(&settings.url),
            settings,
            state: Mutex::default(),
            wake: Condvar::new(),
            ended: Signal::new(),
        });
        let fetching = Arc::clone(&inner);
        thread::Builder::new()
            .name("jwks".to_owned())
            .spawn(move || fetching.serve(&agent))
            .map_err(|error| JwksError::Thread(error.to_string()))?;
        Ok(Self(Arc::new(Owner(inner))))
    }

    /// The settings that it was started with.
    pub fn settings(&self) -> &JwksSettings {
        &self.0.0.settings
    }

    /// Blocks until something was fetched, or could not be.
    ///
    /// # Errors
    ///
    /// If the last fetch has failed.
    pub fn fetched(&self) -> Result<(), JwksError> {
        self.0.0.wait(|state| state.ended > 0)
    }

    /// Fetches once more, and blocks until that has ended.
    ///
    /// # Errors
    ///
    /// If it has failed. The keys that are there count on.
    pub fn refresh(&self) -> Result<(), JwksError> {
        let inner = &self.0.0;
        let before = {
            let mut state = inner.lock();
            state.wanted = Wanted::AtOnce;
            inner.wake.notify_all();
            // One that is under way may have been answered before something changed.
            state.begun
        };
        inner.wait(|state| state.ended > before)
    }

    /// The keys that are known.
    pub(super) fn known(&self) -> Option<Arc<KeySet>> {
        self.0.0.lock().keys.clone()
    }

    /// The keys that say whether a token counts; they are fetched if they must be.
    ///
    /// # Errors
    ///
    /// If nobody can say at present.
    pub(super) async fn keys_for(&self, token: &Header) -> Result<Arc<KeySet>, AuthError> {
        let inner = &self.0.0;
        let found = match inner.find(token) {
            Found::AfterFetch(ended) => {
                ended.await;
                inner.find(token)
            }
            found @ (Found::Keys(_) | Found::Nothing) => found,
        };
        match found {
            Found::Keys(keys) => Ok(keys),
            Found::AfterFetch(_) | Found::Nothing => Err(unavailable()),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.wake.notify_all();
    }
}

impl PartialEq for Jwks {
    /// Whether both fetch the same in the same way.
    fn eq(&self, other: &Self) -> bool {
        self.settings() == other.settings()
    }
}

impl Eq for Jwks {}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jwks({})", self.0.0.shown)
    }
}

impl Inner {
    /// The life of the thread.
    fn serve(&self, agent: &Agent) {
        while self.await_turn() {
            let fetched = fetch(agent, &self.settings.url);
            self.note(fetched);
        }
    }

    /// Waits until a fetch is due. `false` once nobody needs keys any more.
    fn await_turn(&self) -> bool {
        let mut state = self.lock();
        while !state.over {
            let now = Instant::now();
            let left = state.due(&self.settings).map(|due| due.duration_since(now));
            if left.is_none_or(|left| left.is_zero()) {
                state.begun += 1;
                state.wanted = Wanted::Not;
                state.awaited = std::mem::take(&mut state.sought);
                return true;
            }
            let waited = self.wake.wait_timeout(state, left.unwrap_or_default());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    fn note(&self, fetched: Result<KeySet, JwksError>) {
        let url = &self.shown;
        let now = Instant::now();
        let mut state = self.lock();
        state.ended += 1;
        state.last = Some(now);
        let failures = state.failure.as_ref().map_or(0, |(_, failures)| *failures);
        match fetched {
            Ok(keys) => {
                let before = state.keys.as_ref().map(|keys| keys.names());
                if failures > 0 || before.as_ref() != Some(&keys.names()) {
                    damped!(
                        INFO, Cause::all("keys of tokens fetched"), url, keys = ?keys.names(),
                        "the keys of tokens were fetched"
                    );
                }
                state.take(keys, now);
            }
            Err(error) => {
                let known = state.keys.is_some();
                match failures {
                    0 if known => damped!(
                        WARN, Cause::all("keys of tokens not fetched"), url, %error,
                        "the keys of tokens cannot be fetched; those that are known count on"
                    ),
                    _ if !known => damped!(
                        WARN, Cause::all("keys of tokens not fetched"), url, %error,
                        "the keys of tokens cannot be fetched, and none is known: every terminal gets 503, \
                         and this server is not ready, until they are"
                    ),
                    _ => {
                        tracing::debug!(url, %error, known, "the keys of tokens cannot be fetched")
                    }
                }
                state.awaited.clear();
                state.failure = Some((error, failures.saturating_add(1)));
            }
        }
        drop(state);
        self.ended.notify(usize::MAX);
    }

    fn find(&self, token: &Header) -> Found {
        let mut state = self.lock();
        let now = Instant::now();
        // A token without a name is asked about when none of the keys that are known has signed it.
        let name = token.kid.as_deref().unwrap_or_default();
        if let Some(keys) = &state.keys
            && (keys.knows(name) || state.is_in_vain(name, now))
        {
            return Found::Keys(Arc::clone(keys));
        }
        if state.awaited.iter().any(|awaited| awaited == name) {
            return Found::AfterFetch(self.ended.listen());
        }
        if !state.seek(name) {
            return Found::Nothing;
        }
        state.wanted = state.wanted.max(Wanted::ByToken);
        self.wake.notify_all();
        let paused = state.due(&self.settings).is_some_and(|due| due > now);
        match paused && state.begun == state.ended {
            true => Found::Nothing,
            false => Found::AfterFetch(self.ended.listen()),
        }
    }

    fn wait(&self, is_over: impl Fn(&State) -> bool) -> Result<(), JwksError> {
        loop {
            let ended = {
                let state = self.lock();
                if is_over(&state) {
                    return match &state.failure {
                        None => Ok(()),
                        Some((error, _)) => Err(error.clone()),
                    };
                }
                self.ended.listen()
            };
            ended.wait();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody can say whether a token counts.
pub(super) fn unavailable() -> AuthError {
    AuthError::Unavailable(
        "the keys that tokens are signed with are being fetched: try again".to_owned(),
    )
}

fn agent(settings: &JwksSettings) -> Result<Agent, JwksError> {
    let uri: Uri = settings.url.parse().map_err(|_| JwksError::Url)?;
    if uri
        .authority()
        .is_some_and(|all| all.as_str().contains('@'))
    {
        return Err(JwksError::UserInfo);
    }
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or(JwksError::Url)?;
    let own = settings.authorities.clone().map(Trust::Authorities);
    let trust = own.unwrap_or(Trust::Machine);
    let near = is_this_machine(host);
    let trust = match uri.scheme_str() {
        Some("https") => Some(&trust),
        Some("http") if near => None,
        _ => return Err(JwksError::Url),
    };
    let proxies = match near {
        true => Proxies::Ignored,
        false => Proxies::OfEnvironment,
    };
    let made = fetch::agent(trust, proxies, settings.timeout);
    made.map_err(|error| JwksError::Authorities(error.to_string()))
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn fetch(agent: &Agent, url: &str) -> Result<KeySet, JwksError> {
    let unreachable = |error: Error| match error {
        Error::Rustls(error @ rustls::Error::InvalidCertificate(_)) => {
            JwksError::Certificate(match error.to_string() {
                // It says no more in Debug.
                text if text.contains("CaUsedAsEndEntity") => {
                    "it is that of an authority, and a server's must be none".to_owned()
                }
                text => text,
            })
        }
        Error::Io(error) => JwksError::Unreachable(error.to_string()),
        other => JwksError::Unreachable(other.to_string()),
    };
    let mut response = agent.get(url).call().map_err(unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(JwksError::Status(response.status()));
    }
    let body = response.body_mut().with_config().limit(SET_BYTES);
    let text = body.read_to_vec().map_err(unreachable)?;
    jwk::read(&text).map_err(JwksError::Set)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_is_shown_without_what_may_be_a_secret() {
        let url = "https://id.example.com:8443/keys?secret=12345";
        assert_eq!(shown(url), "https://id.example.com:8443/keys");
        let debug = format!("{:?}", settings(url));
        assert!(!debug.contains("12345"), "{debug}");
        let refused = Jwks::start(settings("https://ann:12345@id.example.com/keys"));
        assert_eq!(refused.err(), Some(JwksError::UserInfo));
    }

    fn settings(url: &str) -> JwksSettings {
        JwksSettings {
            url: url.to_owned(),
            authorities: None,
            refresh: Duration::from_secs(600),
            pause: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
        }
    }
}
