//! The status page, and what it asks for. It needs no key and shows nothing by itself: its script
//! calls the API as any other caller does.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http_body_util::Full;
use serde::Serialize;
use switchboard_core::config::ConfigError;

use super::public_url;
use super::reply::text;
use switchboard_driver::AuthKind;
use switchboard_driver::host::{self, RequestHost};

const HTML: &str = include_str!("status.html");
const SCRIPT: &str = include_str!("status.js");
const STYLE: &str = include_str!("status.css");

/// What the page needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Where its terminals connect, whatever the server listens at.
    public_url: Option<String>,
}

/// The facts that the page's script asks for.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Facts {
    version: &'static str,
    keys: bool,
    auth: &'static str,
    terminals: Option<String>,
}

/// The answer to whoever asks whether the process lives.
#[derive(Debug, Serialize)]
pub(crate) struct Live {
    status: &'static str,
}

/// The process lives.
pub(crate) const LIVE: Live = Live { status: "live" };

impl Page {
    /// The page of a server whose terminals connect at `public_url`, or else where it listens for them.
    ///
    /// # Errors
    ///
    /// If the URL is not one.
    pub(crate) fn new(public_url: Option<&str>) -> Result<Self, ConfigError> {
        Ok(Self {
            public_url: public_url.map(public_url::websocket).transpose()?,
        })
    }

    /// What the script of a page that was asked for like this needs to know. The server listens for
    /// terminals at `terminals`.
    pub(crate) fn facts(
        &self,
        parts: &Parts,
        terminals: Option<SocketAddr>,
        auth: AuthKind,
        keys: bool,
    ) -> Facts {
        Facts {
            version: env!("CARGO_PKG_VERSION"),
            keys,
            auth: match auth {
                AuthKind::Open => "open",
                AuthKind::Jwt => "jwt",
                AuthKind::Custom => "custom",
            },
            terminals: self.url(parts, terminals),
        }
    }

    /// The page, which may load what is ours and talk to this server, and nothing else.
    pub(crate) fn html(
        &self,
        parts: &Parts,
        terminals: Option<SocketAddr>,
    ) -> Response<Full<Bytes>> {
        let sockets = self
            .url(parts, terminals)
            .map_or(String::new(), |url| socket_source(&url));
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
             connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let mut response = text("text/html; charset=utf-8", HTML);
        protect(response.headers_mut());
        // A host that cannot stand in a header has not passed the guard, or is not a URL's.
        if let Ok(policy) = HeaderValue::try_from(policy) {
            response
                .headers_mut()
                .insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    /// Without a public URL, terminals connect to the host that the page came from.
    fn url(&self, parts: &Parts, terminals: Option<SocketAddr>) -> Option<String> {
        if let Some(url) = &self.public_url {
            return Some(url.clone());
        }
        match (terminals, host::of_request(parts)) {
            (Some(address), RequestHost::Host(host)) => {
                Some(format!("ws://{}:{}/connect", host.name, address.port()))
            }
            (Some(_), RequestHost::Nothing | RequestHost::Nonsense) | (None, _) => None,
        }
    }
}

/// The page's script.
pub(crate) fn script() -> Response<Full<Bytes>> {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

/// The page's style.
pub(crate) fn style() -> Response<Full<Bytes>> {
    asset("text/css; charset=utf-8", STYLE)
}

fn asset(kind: &'static str, content: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(kind, content);
    protect(response.headers_mut());
    response
}

fn protect(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// What a content security policy says of a WebSocket's URL. It has no way to write an IPv6
/// address, so for one it allows all WebSockets.
fn socket_source(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
    let host = rest.split('/').next().unwrap_or_default();
    if host.starts_with('[') {
        return " ws: wss:".to_owned();
    }
    format!(" {scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_connects_where_it_is_told_or_where_it_came_from() {
        let port = Some(SocketAddr::from(([0, 0, 0, 0], 8080)));
        let cases = [
            (
                Some("wss://push.example.com"),
                port,
                Some("wss://push.example.com/connect"),
            ),
            (
                Some("https://a.example:8443/x/connect"),
                None,
                Some("wss://a.example:8443/x/connect"),
            ),
            (None, port, Some("ws://localhost:8080/connect")),
            (None, None, None),
        ];
        for (public_url, terminals, url) in cases {
            let page = Page::new(public_url).expect("a good URL");
            let asked = request("localhost:8081");
            let facts = page.facts(&asked, terminals, AuthKind::Open, false);
            assert_eq!(facts.terminals.as_deref(), url, "{public_url:?}");
        }
        for url in [
            "",
            "push.example.com",
            "ftp://a",
            "wss://",
            "wss://a/b?c",
            "wss://a b",
        ] {
            let error = Page::new(Some(url)).expect_err(url);
            assert_eq!(error.field, "public_url");
        }
    }

    #[test]
    fn the_page_may_load_ours_and_nothing_else() {
        let terminals = Some(SocketAddr::from(([127, 0, 0, 1], 8080)));
        let page = Page::new(None).expect("no URL");
        let response = page.html(&request("127.0.0.1:8081"), terminals);
        let policy = response.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .expect("a text");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(
            policy.contains("connect-src 'self' ws://127.0.0.1:8080;"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        let six = page.html(&request("[::1]:8081"), terminals);
        let policy = six.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .expect("a text");
        assert!(policy.contains("connect-src 'self' ws: wss:;"), "{policy}");

        for foreign in [
            "http://", "https://", "style=", "onclick", "<style", "<script>",
        ] {
            assert!(!HTML.contains(foreign), "{foreign} in the page");
        }
        for unsafe_way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!SCRIPT.contains(unsafe_way), "{unsafe_way} in the script");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn the_facts_say_what_the_page_must_ask_for() {
        let page = Page::new(None).expect("no URL");
        let facts = page.facts(&request("localhost"), None, AuthKind::Jwt, true);
        let facts = serde_json::to_string(&facts).expect("JSON");
        let expected = format!(
            r#"{{"version":"{}","keys":true,"auth":"jwt","terminals":null}}"#,
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(facts, expected);
        assert_eq!(
            serde_json::to_string(&LIVE).expect("JSON"),
            r#"{"status":"live"}"#
        );
    }

    fn request(host: &str) -> Parts {
        let request = http::Request::get("/").header("host", host).body(());
        request.expect("a good request").into_parts().0
    }
}
