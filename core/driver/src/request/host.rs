//! Host names as they stand in `Host` and `Origin`.

use http::header::HOST;
use http::request::Parts;

/// A host and perhaps a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// The name or address; an IPv6 address in brackets.
    pub name: &'a str,
    /// The port, if one is given.
    pub port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads `name`, `name:port`, `[address]` or `[address]:port`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let name_end = match text.strip_prefix('[') {
            Some(address) => address.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (name, rest) = text.split_at(name_end);
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if rest.is_empty() => None,
            None => return None,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let plain = !name.is_empty() && !name.contains(['/', '@', '?', '#', ' ']);
        plain.then_some(Self { name, port })
    }

    /// Whether both are of the same name, whatever their ports.
    pub fn same_name(&self, other: &Host<'_>) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
    }

    /// Whether it is an IP address rather than a name.
    pub fn is_address(&self) -> bool {
        match self.name.strip_prefix('[') {
            Some(address) => address
                .strip_suffix(']')
                .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
            None => self.name.parse::<std::net::Ipv4Addr>().is_ok(),
        }
    }
}

/// What a request says about the host that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestHost<'a> {
    /// It names this host, and no other.
    Host(Host<'a>),
    /// None: no browser does that.
    Nothing,
    /// Something that is not one host.
    Nonsense,
}

/// The host that a request is for. A target that names one counts, whatever `Host` says beside it (RFC
/// 9112, section 3.2.2).
pub fn of_request(parts: &Parts) -> RequestHost<'_> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let text = match (parts.uri.authority(), hosts.next(), hosts.next()) {
        (_, Some(_), Some(_)) => return RequestHost::Nonsense,
        (Some(authority), ..) => Some(authority.as_str()),
        (None, Some(host), None) => host.to_str().ok(),
        (None, None, _) => return RequestHost::Nothing,
    };
    text.and_then(Host::parse)
        .map_or(RequestHost::Nonsense, RequestHost::Host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_with_and_without_port() {
        let cases = [
            ("push.example.com", "push.example.com", None),
            ("push.example.com.:8080", "push.example.com", Some(8080)),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "[::1]", None),
            ("[::1]:8080", "[::1]", Some(8080)),
        ];
        for (text, name, port) in cases {
            assert_eq!(Host::parse(text), Some(Host { name, port }), "{text}");
        }
        for text in [
            "",
            ":80",
            "a:b",
            "a:99999",
            "[::1",
            "[::1]x",
            "user@host",
            "a/b",
            "::1",
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_host_of_the_target_goes_before_the_header() {
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("/x", &["a.example"], Some("a.example")),
            ("http://b.example/x", &["a.example"], Some("b.example")),
            ("http://b.example:81/x", &[], Some("b.example")),
            ("http://b.example/x", &["a.example", "b.example"], None),
            ("http://user@b.example/x", &["b.example"], None),
            ("/x", &["a b"], None),
            ("/x", &["http://a.example"], None),
        ];
        for (target, hosts, name) in cases {
            let mut request = http::Request::get(*target);
            for host in *hosts {
                request = request.header("host", *host);
            }
            let parts = request.body(()).expect("a request").into_parts().0;
            let found = match of_request(&parts) {
                RequestHost::Host(host) => Some(host.name),
                RequestHost::Nothing | RequestHost::Nonsense => None,
            };
            assert_eq!(found, *name, "{target} {hosts:?}");
        }
    }

    #[test]
    fn addresses_are_told_from_names() {
        for (text, address) in [
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("[fe80]:80", false),
            ("127.0.0.1.evil.example", false),
            ("localhost", false),
            ("127.1", false),
        ] {
            let host = Host::parse(text).expect("a host");
            assert_eq!(host.is_address(), address, "{text}");
        }
    }
}
