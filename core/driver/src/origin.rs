//! Whose pages may connect: a browser sends the page's origin, and cannot be made to lie about it.

use http::header::{HeaderMap, ORIGIN};
use http::request::Parts;
use switchboard_core::config::ConfigError;

use crate::host::{self, Asked, Host};

/// The origins whose pages may connect, beside those of the server's own host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<Entry>);

/// A handshake whose origin does not pass: HTTP 403.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pages of the origin `{origin}` may not connect here: {}", remedy(origin))]
pub struct OriginRefused {
    /// What the request says.
    pub origin: String,
}

impl Origins {
    /// Reads the setting. An entry is an origin, as `https://app.example.com` or
    /// `capacitor://localhost`, or a host name, which stands for all its schemes and ports.
    ///
    /// # Errors
    ///
    /// If an entry is neither.
    pub fn new(entries: &[String]) -> Result<Self, ConfigError> {
        entries
            .iter()
            .map(|text| Entry::parse(text))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn contain(&self, origin: &Origin<'_>) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Origin(allowed) => origin.text.eq_ignore_ascii_case(allowed),
            Entry::Name(allowed) => origin
                .host
                .is_some_and(|host| host.name.eq_ignore_ascii_case(allowed)),
        })
    }
}

/// Whether the page that a handshake comes from may connect. What is not a browser sends no origin,
/// and passes.
///
/// # Errors
///
/// If the origin's host name is neither the one that the request is for nor in the list.
pub fn check(parts: &Parts, allowed: &Origins) -> Result<(), OriginRefused> {
    let Some(text) = stated(&parts.headers)? else {
        return Ok(());
    };
    let origin = Origin::parse(text);
    let own = match (origin.host, host::asked(parts)) {
        (Some(page), Asked::Host(server)) => page.same_name(&server),
        (None, _) | (_, Asked::Nothing | Asked::Nonsense) => false,
    };
    if own || allowed.contain(&origin) {
        return Ok(());
    }
    Err(refused(text))
}

/// The `Origin` of a request.
///
/// # Errors
///
/// If there is more than one, or it is no text.
pub(crate) fn stated(headers: &HeaderMap) -> Result<Option<&str>, OriginRefused> {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => Ok(None),
        (Some(origin), None) => match origin.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(refused("(not a text)")),
        },
        (Some(_), Some(_)) => Err(refused("(more than one)")),
    }
}

/// An origin as a browser states it. It has no host if it is `null`, or of a scheme without one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    text: &'a str,
    scheme: &'a str,
    /// Where the page is from.
    pub(crate) host: Option<Host<'a>>,
}

impl<'a> Origin<'a> {
    /// Reads an origin.
    pub(crate) fn parse(text: &'a str) -> Self {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", ""));
        Self {
            text,
            scheme,
            host: Host::parse(rest),
        }
    }

    /// The port, also where it is the scheme's own and not written.
    pub(crate) fn port(&self) -> Option<u16> {
        let own = match self.scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        self.host.and_then(|host| host.port).or(own)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Origin(String),
    Name(String),
}

impl Entry {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let invalid = ConfigError {
            field: "origins",
            rule: "must list origins, as `https://app.example.com` without a path, or host names",
        };
        let text = text.trim();
        if let Some((scheme, host)) = text.split_once("://") {
            let whole = !scheme.is_empty() && Host::parse(host).is_some();
            return whole.then(|| Self::Origin(text.to_owned())).ok_or(invalid);
        }
        match Host::parse(text) {
            Some(Host { name, port: None }) if !name.contains('*') => {
                Ok(Self::Name(name.to_owned()))
            }
            Some(_) | None => Err(invalid),
        }
    }
}

/// What whoever runs the server can do for a page that should pass.
fn remedy(origin: &str) -> String {
    let listed = Origins::new(&[origin.to_owned()]);
    if listed.is_ok_and(|list| list.contain(&Origin::parse(origin))) {
        return format!("if they should, add it with `--origins {origin}` (setting `origins`)");
    }
    // `null` is anybody's: every page can say it from a sandboxed frame.
    "it names no site, so it cannot be listed; serve the page from an `https://` address, and list that"
        .to_owned()
}

/// The longest origin that an answer repeats, in bytes.
const SHOWN: usize = 200;

fn refused(origin: &str) -> OriginRefused {
    let shown = origin.chars().take(SHOWN).collect();
    OriginRefused { origin: shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H04: a page of another site cannot open a connection with its visitor's credentials.
    #[test]
    fn foreign_origins_are_refused_by_name() {
        for origin in [
            "https://evil.example",
            "https://push.example.com.evil.example",
            "https://notpush.example.com",
            "http://evil.example:8080",
        ] {
            let parts = request("push.example.com:8080", &[origin]);
            let error = check(&parts, &Origins::default()).expect_err(origin);
            assert_eq!(error.origin, origin);
            let text = error.to_string();
            assert!(
                text.contains(origin) && text.contains("--origins"),
                "{text}"
            );
        }
        for origin in ["null", "file://", "", "push.example.com"] {
            let parts = request("push.example.com:8080", &[origin]);
            let error = check(&parts, &Origins::default()).expect_err(origin);
            let text = error.to_string();
            assert!(!text.contains("--origins"), "{text}");
        }
        let two = request("a.example", &["https://a.example", "https://evil.example"]);
        assert!(check(&two, &Origins::default()).is_err());
    }

    #[test]
    fn own_pages_and_programs_pass() {
        for (host, origin) in [
            ("push.example.com", "https://push.example.com"),
            ("push.example.com", "https://PUSH.example.com:8443"),
            ("127.0.0.1:8080", "http://127.0.0.1:8081"),
            ("[::1]:8080", "http://[::1]:8081"),
        ] {
            assert_eq!(
                check(&request(host, &[origin]), &Origins::default()),
                Ok(()),
                "{origin}"
            );
        }
        assert_eq!(
            check(&request("push.example.com", &[]), &Origins::default()),
            Ok(())
        );
    }

    #[test]
    fn listed_origins_pass() {
        let list = [
            "https://app.example.com",
            "capacitor://localhost",
            "tools.example",
        ];
        let allowed = Origins::new(&list.map(str::to_owned)).expect("a good list");
        for (origin, passes) in [
            ("https://app.example.com", true),
            ("http://app.example.com", false),
            ("https://app.example.com:8443", false),
            ("capacitor://localhost", true),
            ("http://tools.example:3000", true),
            ("https://x.tools.example", false),
        ] {
            let parts = request("push.example.com", &[origin]);
            assert_eq!(check(&parts, &allowed).is_ok(), passes, "{origin}");
        }
    }

    #[test]
    fn an_entry_that_is_no_origin_is_refused() {
        for entry in [
            "",
            "*",
            "*.example.com",
            "https://",
            "https://a.example/",
            "a.example:80",
        ] {
            let error = Origins::new(&[entry.to_owned()]).expect_err(entry);
            assert_eq!(error.field, "origins");
        }
    }

    fn request(host: &str, origins: &[&str]) -> Parts {
        let mut request = http::Request::get("/connect").header("host", host);
        for origin in origins {
            request = request.header("origin", *origin);
        }
        request.body(()).expect("a good request").into_parts().0
    }
}
