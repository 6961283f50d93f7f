//! The HTTP API of a server, as commands call it, and what to do when it does not answer.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode, Uri};
use serde::de::DeserializeOwned;
use switchboard_http::fetch::{self, Proxies, Trust};
use ureq::{Agent, Error};
use uuid::Uuid;

use super::answer::{Reason, Refusal};
use crate::failure::Failure;
use crate::secrets;

/// Bytes of an answer, at most: those of a receipt for as many terminals as a server can be told to
/// list have less.
const ANSWER_BYTES: u64 = 64 << 20;

/// What a call may take that waits for no receipt.
const LIMIT: Duration = Duration::from_secs(15);

/// Where an API is, without the slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiUrl(String);

/// A server's API.
pub(super) struct Api {
    url: ApiUrl,
    key: Option<Key>,
    trust: Option<Trust>,
}

struct Key {
    text: String,
    file: PathBuf,
}

/// One request.
pub(super) struct Call {
    pub(super) method: Method,
    /// With the query.
    pub(super) path: String,
    /// By which a repeat is recognised.
    pub(super) id: Option<Uuid>,
    pub(super) body: Option<Body>,
    /// When it is given up.
    pub(super) limit: Duration,
}

/// What is sent with a request.
pub(super) struct Body {
    pub(super) kind: &'static str,
    pub(super) content: Vec<u8>,
}

/// An answer to a request that the server has executed.
pub(super) struct Reply(String);

impl FromStr for ApiUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const HOW: &str = "write HOST:PORT, http://HOST:PORT or https://HOST";
        let url = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let uri: Uri = url.parse().map_err(|error| format!("{error}: {HOW}"))?;
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().unwrap_or_default();
        let plain = uri
            .authority()
            .is_some_and(|authority| !authority.as_str().contains('@'));
        if !known || host.is_empty() || !plain || uri.query().is_some() {
            return Err(HOW.to_owned());
        }
        Ok(Self(url.trim_end_matches('/').to_owned()))
    }
}

impl ApiUrl {
    fn is_encrypted(&self) -> bool {
        let scheme = self.0.split("://").next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("https")
    }
}

impl Call {
    /// Asks for what is at a path.
    pub(super) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            id: None,
            body: None,
            limit: LIMIT,
        }
    }
}

impl Api {
    /// The API at this address; `key_file` has the key that it wants.
    pub(super) fn new(url: &ApiUrl, key_file: Option<&Path>) -> Result<Self, Failure> {
        let key = match key_file {
            None => None,
            Some(file) => {
                let keys = secrets::read_keys(file)
                    .map_err(|error| Failure::Asked(format!("--key-file: {error}")))?;
                keys.into_iter().next().map(|text| Key {
                    text,
                    file: file.to_owned(),
                })
            }
        };
        Ok(Self {
            url: url.clone(),
            key,
            trust: url.is_encrypted().then_some(Trust::Machine),
        })
    }

    /// Calls it.
    ///
    /// # Errors
    ///
    /// If there is no answer, or the server refuses. It says what to do.
    pub(super) fn call(&self, call: &Call) -> Result<Reply, Failure> {
        let agent = fetch::agent(self.trust.as_ref(), Proxies::Ignored, call.limit)
            .map_err(|error| Failure::Asked(error.to_string()))?;
        let (status, text) = self
            .send(&agent, call)
            .map_err(|error| Failure::Asked(self.explain(&error)))?;
        if status.is_success() {
            return Ok(Reply(text));
        }
        let refusal: Option<Refusal> = serde_json::from_str(&text).ok();
        let message = match refusal {
            Some(Refusal { error }) => self.refused(&error),
            None => format!(
                "{} answers {status}, which is no answer of this API: --api says where the API is, \
                 which is not where terminals or other instances connect",
                self.url.0
            ),
        };
        Err(Failure::Asked(printable(&message)))
    }

    fn send(&self, agent: &Agent, call: &Call) -> Result<(StatusCode, String), Error> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("{}{}", self.url.0, call.path));
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {}", key.text));
        }
        if let Some(id) = call.id {
            request = request.header("idempotency-key", id.to_string());
        }
        let mut response = match &call.body {
            Some(body) => {
                let request = request.header(CONTENT_TYPE, body.kind);
                agent.run(request.body(body.content.as_slice())?)?
            }
            None => agent.run(request.body(())?)?,
        };
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES);
        Ok((status, body.read_to_string()?))
    }

    /// What to do when there is no answer.
    fn explain(&self, error: &Error) -> String {
        let url = &self.url.0;
        match error {
            Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => format!(
                "nobody listens at {url}: does the server run, and is its API there? --api says where"
            ),
            Error::HostNotFound => format!("the host of {url} has no address: look at --api"),
            Error::Timeout(_) => format!("{url} does not answer in time"),
            Error::Rustls(error @ rustls::Error::InvalidCertificate(_)) => format!(
                "the certificate of {url} does not count: {error}. If its authority is one of your own, \
                 name a file with it in SSL_CERT_FILE"
            ),
            Error::Rustls(_) | Error::Tls(_) => format!(
                "{url} speaks no TLS that can be understood ({error}): Switchboard itself speaks none, so \
                 write http:// unless a proxy is there"
            ),
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                format!("{url} cannot be asked over TLS ({error}): is it http://?")
            }
            Error::Protocol(_) => format!(
                "{url} answers something that is not HTTP ({error}): is it https://, or is another \
                 program there?"
            ),
            Error::Io(error) => format!("cannot ask {url}: {error}"),
            other => format!("cannot ask {url}: {other}"),
        }
    }

    fn refused(&self, error: &Reason) -> String {
        let advice = match (error.code.as_str(), &self.key) {
            ("no_key", None) => {
                "name a file that has one with --key-file, or in SWITCHBOARD_API_KEY_FILE"
                    .to_owned()
            }
            ("wrong_key", Some(key)) => format!(
                "the first key in {} is not one of the server's",
                key.file.display()
            ),
            ("not_found", _) => format!("{} is not where the API is: --api names that", self.url.0),
            _ => return format!("{} ({})", error.message, error.code),
        };
        format!("{} ({}): {advice}", error.message, error.code)
    }
}

impl Reply {
    /// The body as it came, as a text.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// What it says.
    ///
    /// # Errors
    ///
    /// If it is not of this form.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.0).map_err(|error| {
            Failure::Asked(format!(
                "the answer is not one of this API, or of another version of it: {error}"
            ))
        })
    }
}

/// What another program has said, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_named_by_host_and_port_or_by_url() {
        for (text, url) in [
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("[::1]:8081", "http://[::1]:8081"),
            ("push.internal", "http://push.internal"),
            ("http://push.internal:8081/", "http://push.internal:8081"),
            ("https://example.com/push/", "https://example.com/push"),
        ] {
            assert_eq!(text.parse(), Ok(ApiUrl(url.to_owned())), "{text}");
        }
        for text in [
            "",
            "/",
            "ftp://example.com",
            "http://user:password@example.com",
            "http://example.com/?x=1",
            "not a host",
        ] {
            assert!(text.parse::<ApiUrl>().is_err(), "{text}");
        }
    }
}
