//! Who may use the API: neither pages of other sites in the operator's browser, nor anybody without
//! a key where keys are set.

use http::header::{AUTHORIZATION, HeaderMap};
use http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use switchboard_core::config::ConfigError;

use super::error::ApiError;
use crate::auth::bearer;
use switchboard_driver::host::{self, Host, RequestHost};
use switchboard_driver::origin::{self, Origin};

/// The host names, beside IP addresses and `localhost`, under which the API answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiHosts(Vec<String>);

impl ApiHosts {
    /// What each entry must be.
    pub(crate) const RULE: &str = "must list host names, without scheme, port and `*`";

    /// Reads the setting.
    ///
    /// # Errors
    ///
    /// If an entry is not a host name.
    pub(crate) fn new(entries: &[String]) -> Result<Self, ConfigError> {
        let name = |entry: &String| match Host::parse(entry.trim()) {
            Some(Host { name, port: None }) if name.is_ascii() && !name.contains('*') => {
                Ok(name.to_owned())
            }
            Some(_) | None => Err(ConfigError {
                field: "api_hosts",
                rule: Self::RULE,
            }),
        };
        entries.iter().map(name).collect::<Result<_, _>>().map(Self)
    }

    fn contain(&self, host: &Host<'_>) -> bool {
        let listed = |name: &String| host.name.eq_ignore_ascii_case(name);
        host.is_address()
            || host.name.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(listed)
    }

    /// Refuses what pages of other sites send. A page that had its own name resolve to this server
    /// is noticed by that name; what sends no `Host` at all is no browser.
    ///
    /// # Errors
    ///
    /// If host, site or origin are foreign.
    pub(crate) fn check(&self, parts: &Parts) -> Result<(), ApiError> {
        let host = match host::of_request(parts) {
            RequestHost::Host(host) if self.contain(&host) => Some(host),
            RequestHost::Host(host) => return Err(ApiError::ForeignHost(host.name.to_owned())),
            RequestHost::Nonsense => {
                return Err(ApiError::ForeignHost("(not one host)".to_owned()));
            }
            RequestHost::Nothing => None,
        };
        let site = site(&parts.headers);
        if site == Some(b"cross-site".as_slice()) {
            return Err(ApiError::CrossSite);
        }
        let stated = origin::stated(&parts.headers)
            .map_err(|refused| ApiError::ForeignOrigin(refused.origin))?;
        let Some(text) = stated else {
            return Ok(());
        };
        let page = Origin::parse(text);
        let same_name = match (page.host, host) {
            (Some(page), Some(host)) => page.same_name(&host),
            (None, _) | (_, None) => false,
        };
        // A proxy may drop the port from `Host`; the browser's own word stands in for it.
        let same_port = site == Some(b"same-origin".as_slice())
            || host.is_some_and(|host| host.port.is_none() || host.port == page.port());
        if same_name && same_port {
            Ok(())
        } else {
            Err(ApiError::ForeignOrigin(text.to_owned()))
        }
    }
}

/// Whether no key of the API can be guessed.
///
/// # Errors
///
/// If one is too short.
pub(crate) fn check_keys(keys: &[String]) -> Result<(), ConfigError> {
    match keys.iter().all(|key| key.len() >= 16) {
        true => Ok(()),
        false => Err(ConfigError {
            field: "api_keys",
            rule: "must have at least 16 bytes each",
        }),
    }
}

/// The keys of the API, by their hashes. None: no key is needed.
#[derive(Clone, Default)]
pub(crate) struct ApiKeys(Vec<[u8; 32]>);

impl ApiKeys {
    /// Takes keys in the clear, and keeps their hashes alone.
    pub(crate) fn new(keys: &[String]) -> Self {
        Self(
            keys.iter()
                .map(|key| Sha256::digest(key.as_bytes()).into())
                .collect(),
        )
    }

    /// Whether a key is needed.
    pub(crate) fn are_set(&self) -> bool {
        !self.0.is_empty()
    }

    /// Checks the key of a request. The time that it takes says nothing about the keys.
    ///
    /// # Errors
    ///
    /// If keys are set, and the request carries none, or another one, or several.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if !self.are_set() {
            return Ok(());
        }
        let mut offers = headers.get_all(AUTHORIZATION).iter().filter_map(bearer);
        let offer = offers.next().ok_or(ApiError::NoKey)?;
        if offers.next().is_some() {
            return Err(ApiError::WrongKey);
        }
        let offer: [u8; 32] = Sha256::digest(offer.as_bytes()).into();
        let found = self
            .0
            .iter()
            .fold(Choice::from(0), |found, key| found | key.ct_eq(&offer));
        if found.into() {
            Ok(())
        } else {
            Err(ApiError::WrongKey)
        }
    }
}

fn site(headers: &HeaderMap) -> Option<&[u8]> {
    headers
        .get("sec-fetch-site")
        .map(http::HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Header = (&'static str, &'static str);

    /// H02, H04: pages of other sites cannot use the operator's browser as their hands.
    #[test]
    fn pages_of_other_sites_are_refused() {
        let cases: &[(&[Header], &str)] = &[
            (&[("host", "evil.example:8081")], "foreign_host"),
            (&[("host", "127.0.0.1.evil.example")], "foreign_host"),
            (&[("host", "a"), ("host", "localhost")], "foreign_host"),
            (
                &[("host", "localhost:8081"), ("sec-fetch-site", "cross-site")],
                "cross_site",
            ),
            (
                &[
                    ("host", "localhost:8081"),
                    ("origin", "https://evil.example"),
                ],
                "foreign_origin",
            ),
            (
                &[("host", "localhost:8081"), ("origin", "null")],
                "foreign_origin",
            ),
            (
                &[
                    ("host", "localhost:8081"),
                    ("origin", "http://localhost:3000"),
                ],
                "foreign_origin",
            ),
            (
                &[
                    ("host", "127.0.0.1:8081"),
                    ("origin", "http://localhost:8081"),
                ],
                "foreign_origin",
            ),
            (&[("origin", "http://localhost")], "foreign_origin"),
        ];
        for (headers, code) in cases {
            let error = ApiHosts::default()
                .check(&request(headers))
                .expect_err(code);
            assert_eq!(
                error.status(),
                (http::StatusCode::FORBIDDEN, *code),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn programs_and_own_pages_pass() {
        let hosts = ApiHosts::new(&["push.internal".to_owned()]).expect("a good list");
        let cases: &[&[Header]] = &[
            &[],
            &[("host", "127.0.0.1:8081")],
            &[("host", "[::1]:8081")],
            &[("host", "LOCALHOST:8081"), ("sec-fetch-site", "none")],
            &[("host", "push.internal")],
            &[
                ("host", "localhost:8081"),
                ("origin", "http://localhost:8081"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("host", "10.0.0.7"), ("origin", "http://10.0.0.7")],
            &[
                ("host", "push.internal"),
                ("origin", "https://push.internal:8443"),
            ],
            &[
                ("host", "push.internal:80"),
                ("origin", "https://push.internal"),
                ("sec-fetch-site", "same-origin"),
            ],
        ];
        for headers in cases {
            assert_eq!(hosts.check(&request(headers)), Ok(()), "{headers:?}");
        }
        for entry in ["http://a", "a:80", "*.internal", "bücher.internal", ""] {
            assert!(ApiHosts::new(&[entry.to_owned()]).is_err(), "{entry}");
        }
    }

    /// H02, H03: where keys are set, nothing of `/v1` is done without one.
    #[test]
    fn a_key_is_needed_where_keys_are_set() {
        let keys = ApiKeys::new(&[
            "first-key-0123456789".to_owned(),
            "second-key-012345678".to_owned(),
        ]);
        let cases: &[(&[Header], Option<ApiError>)] = &[
            (&[], Some(ApiError::NoKey)),
            (&[("authorization", "Basic YTpi")], Some(ApiError::NoKey)),
            (&[("authorization", "Bearer first-key-0123456789")], None),
            (&[("authorization", "bearer second-key-012345678")], None),
            (
                &[("authorization", "Bearer first-key-012345678")],
                Some(ApiError::WrongKey),
            ),
            (&[("authorization", "Bearer ")], Some(ApiError::WrongKey)),
            (
                &[
                    ("authorization", "Bearer guess"),
                    ("authorization", "Bearer first-key-0123456789"),
                ],
                Some(ApiError::WrongKey),
            ),
        ];
        for (headers, outcome) in cases {
            assert_eq!(
                keys.check(&request(headers).headers).err(),
                *outcome,
                "{headers:?}"
            );
        }
        assert_eq!(ApiKeys::default().check(&request(&[]).headers), Ok(()));
    }

    fn request(headers: &[Header]) -> Parts {
        let mut request = http::Request::get("/v1/instances");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a good request").into_parts().0
    }
}
