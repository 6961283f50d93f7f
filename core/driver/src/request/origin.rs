//! Whose pages may connect: a browser sends the page's origin, and cannot be made to lie about it.

use std::net::Ipv6Addr;

use http::header::{HeaderMap, ORIGIN};
use http::request::Parts;
use switchboard_core::config::ConfigError;

use super::host::{self, Host, RequestHost};

/// The origins whose pages may connect, beside those of the server's own host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<AllowedOrigin>);

/// A handshake whose origin does not pass: HTTP 403.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "pages of the origin `{origin}` may not connect here: {}",
    remedy(origin)
)]
pub struct OriginRefused {
    /// What the request says.
    pub origin: String,
}

impl Origins {
    /// What each entry must be.
    pub const RULE: &str = "must list origins as browsers state them, as `https://app.example.com` without a \
         path, or host names; `*.example.com` is all names below one";

    /// Reads the setting. An entry is an origin, as `https://app.example.com` or
    /// `capacitor://localhost`, or a host name, which stands for all its schemes and ports. `*.` at
    /// the beginning of a name stands for one label or more.
    ///
    /// # Errors
    ///
    /// If an entry is neither, or could match no origin that a browser sends.
    pub fn new(entries: &[String]) -> Result<Self, ConfigError> {
        entries
            .iter()
            .map(|text| AllowedOrigin::parse(text))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn contain(&self, origin: &Origin<'_>) -> bool {
        let Some(host) = origin.host else {
            return false;
        };
        self.0.iter().any(|entry| {
            let here = entry.from.as_ref().is_none_or(|(scheme, port)| {
                origin.scheme.eq_ignore_ascii_case(scheme) && origin.port() == *port
            });
            here && entry.name.matches(host.name)
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
    let own = match (origin.host, host::of_request(parts)) {
        (Some(page), RequestHost::Host(server)) => page.same_name(&server),
        (None, _) | (_, RequestHost::Nothing | RequestHost::Nonsense) => false,
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
pub fn stated(headers: &HeaderMap) -> Result<Option<&str>, OriginRefused> {
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
pub struct Origin<'a> {
    scheme: &'a str,
    /// Where the page is from.
    pub host: Option<Host<'a>>,
}

impl<'a> Origin<'a> {
    /// Takes apart the text of a header `Origin`, or of a setting, whatever it is.
    pub fn parse(text: &'a str) -> Self {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", ""));
        Self {
            scheme,
            host: Host::parse(rest),
        }
    }

    /// The port, also where it is the scheme's own and not written.
    pub fn port(&self) -> Option<u16> {
        let own = [("http", 80), ("https", 443)]
            .into_iter()
            .find(|(scheme, _)| self.scheme.eq_ignore_ascii_case(scheme));
        let own = own.map(|(_, port)| port);
        self.host.and_then(|host| host.port).or(own)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AllowedOrigin {
    name: Name,
    /// Scheme and port; without them, all.
    from: Option<(String, Option<u16>)>,
}

/// The hosts of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// The host of exactly this name.
    One(String),
    /// All that end in this, which begins with a dot.
    Below(String),
}

impl AllowedOrigin {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let invalid = ConfigError {
            field: "origins",
            rule: Origins::RULE,
        };
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some(("", _)) => return Err(invalid),
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let host = Host::parse(rest).ok_or(invalid)?;
        if scheme.is_none() && host.port.is_some() {
            return Err(invalid);
        }
        let origin = Origin::parse(text);
        Ok(Self {
            name: Name::parse(host.name).ok_or(invalid)?,
            from: scheme.map(|scheme| (scheme.to_owned(), origin.port())),
        })
    }
}

impl Name {
    /// Reads a name, and `None` if no browser says one like it: names of other letters are sent as
    /// `xn--...`, and an IPv6 address in its shortest form.
    fn parse(text: &str) -> Option<Self> {
        if !text.is_ascii() || text.eq_ignore_ascii_case("null") {
            return None;
        }
        if let Some(below) = text.strip_prefix("*.") {
            let last = below.rsplit('.').next().unwrap_or_default();
            let labels = !below.is_empty() && below.split('.').all(|label| !label.is_empty());
            // All of `.com` is not meant, and what ends in a number is an address.
            let fits = below.contains('.') || below.eq_ignore_ascii_case("localhost");
            let number = last.starts_with(|first: char| first.is_ascii_digit());
            let plain = labels && fits && !number && !below.contains(['*', '[']);
            return plain.then(|| Self::Below(format!(".{below}")));
        }
        if text.contains('*') {
            return None;
        }
        let address = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        match address {
            Some(address) => {
                let address: Ipv6Addr = address.parse().ok()?;
                Some(Self::One(format!("[{address}]")))
            }
            None => Some(Self::One(text.to_owned())),
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::One(name) => host.eq_ignore_ascii_case(name),
            Self::Below(ending) => host
                .len()
                .checked_sub(ending.len())
                .filter(|&label| label > 0)
                .and_then(|label| host.get(label..))
                .is_some_and(|end| end.eq_ignore_ascii_case(ending)),
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

/// The longest origin that an answer or a line of the log repeats, in characters.
const SHOWN: usize = 200;

/// What is repeated of an origin.
pub fn shown(origin: &str) -> String {
    origin.chars().take(SHOWN).collect()
}

fn refused(origin: &str) -> OriginRefused {
    OriginRefused {
        origin: shown(origin),
    }
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

    /// What is listed is found as browsers state it.
    #[test]
    fn an_entry_matches_however_it_is_written() {
        for (entry, origin, passes) in [
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.Example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://aexample.com", false),
            (
                "https://*.example.com",
                "https://a.example.com.evil.example",
                false,
            ),
            ("https://*.example.com", "http://a.example.com", false),
            ("https://*.example.com", "https://a.example.com:8443", false),
            (
                "https://*.example.com:8443",
                "https://a.example.com:8443",
                true,
            ),
            ("*.example.com", "http://a.example.com:3000", true),
            ("*.example.com", "http://example.com", false),
            ("*.localhost", "http://app.localhost:5173", true),
            (
                "https://app.example.com:443",
                "https://app.example.com",
                true,
            ),
            ("http://app.example.com:80", "http://app.example.com", true),
            ("HTTPS://App.Example.com.", "https://app.example.com", true),
            ("capacitor://localhost", "capacitor://localhost", true),
            ("http://[0:0:0::1]:3000", "http://[::1]:3000", true),
            (
                "xn--bcher-kva.example",
                "https://xn--bcher-kva.example",
                true,
            ),
        ] {
            let allowed = Origins::new(&[entry.to_owned()]).expect(entry);
            let parts = request("push.example.org", &[origin]);
            assert_eq!(check(&parts, &allowed).is_ok(), passes, "{entry}: {origin}");
        }
    }

    #[test]
    fn an_entry_that_matches_nothing_is_refused() {
        for entry in [
            "",
            "*",
            "https://*",
            "*.com",
            "*.",
            "*..example.com",
            "*.0.0.1",
            "a.*.example.com",
            "a*.example.com",
            "*.*.example.com",
            "null",
            "https://null",
            "https://bücher.example",
            "https://[::g]",
            "://a.example",
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
