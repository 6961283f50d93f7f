//! Where Redis is.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

use crate::request::query;

/// Where Redis is: `redis://[user:password@]host:port[/db]`, `rediss://...` with TLS, or
/// `redis+sentinel://[user:password@]host:port,host:port/master[/db]`, where user and password are
/// the master's. Those of the Sentinels, if they want a login, follow as
/// `?sentinel_user=...&sentinel_password=...`, percent-encoded; the user may be left out.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Target);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The server at this URL, as it was given.
    Server(String),
    /// The master that Sentinels name.
    Sentinel(Sentinel),
}

/// A master that is found through its Sentinels.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sentinel {
    /// The master's, as `user:password@`, or nothing.
    credentials: String,
    /// The Sentinels' own, in the same way.
    sentinel_credentials: String,
    /// The Sentinels, each `host:port`.
    pub(crate) hosts: Vec<String>,
    /// The name under which they watch the master.
    pub(crate) master: String,
    database: u32,
}

/// A text that is not a Redis URL. It never repeats the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Redis URL: {0}")]
pub struct InvalidRedisUrl(String);

const SENTINEL: &str = "redis+sentinel://";

impl RedisUrl {
    pub(crate) const fn target(&self) -> &Target {
        &self.0
    }

    /// Whether the link is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(&self.0, Target::Server(url) if url.starts_with("rediss://"))
    }
}

impl Sentinel {
    /// Where one of the Sentinels is.
    pub(crate) fn sentinel_url(&self, host: &str) -> String {
        format!("redis://{}{host}", self.sentinel_credentials)
    }

    /// Where the master is that a Sentinel named.
    pub(crate) fn master_url(&self, host: &str, port: u16) -> String {
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        format!(
            "redis://{}{host}:{port}/{}",
            self.credentials, self.database
        )
    }

    fn parse(rest: &str) -> Result<Self, InvalidRedisUrl> {
        let invalid = |why: &str| {
            InvalidRedisUrl(format!(
                "{why}; write {SENTINEL}[user:password@]host:port,host:port/master[/db]\
                 [?sentinel_user=...&sentinel_password=...]"
            ))
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let sentinel_credentials = sentinel_credentials(query).map_err(invalid)?;
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (format!("{credentials}@"), rest),
            None => (String::new(), rest),
        };
        let mut path = rest.split('/');
        let hosts: Vec<String> = path
            .next()
            .unwrap_or_default()
            .split(',')
            .map(str::to_owned)
            .collect();
        let is_host = |text: &String| {
            text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
            })
        };
        if !hosts.iter().all(is_host) {
            return Err(invalid("each Sentinel is `host:port`"));
        }
        let master = path.next().unwrap_or_default().to_owned();
        if master.is_empty() {
            return Err(invalid("the master's name is missing"));
        }
        let database = path.next().map_or(Ok(0), str::parse);
        let database = database.map_err(|_| invalid("the database is not a number"))?;
        if path.next().is_some() {
            return Err(invalid("there is too much behind the database"));
        }
        let sentinel = Self {
            credentials,
            sentinel_credentials,
            hosts,
            master,
            database,
        };
        // Credentials that cannot stand in a URL are noticed at the start, not at a failover.
        server(&sentinel.master_url("localhost", 6379))?;
        server(&sentinel.sentinel_url("localhost:26379"))?;
        Ok(sentinel)
    }
}

/// The login at the Sentinels as `user:password@`.
fn sentinel_credentials(query: Option<&str>) -> Result<String, &'static str> {
    let (mut user, mut password) = (None, None);
    for pair in query::pairs(query) {
        let (name, value) =
            pair.map_err(|_| "the login at the Sentinels is not percent-encoded UTF-8")?;
        let place = match name.as_ref() {
            "sentinel_user" => &mut user,
            "sentinel_password" => &mut password,
            _ => return Err("only `sentinel_user` and `sentinel_password` stand behind the `?`"),
        };
        if place.replace(value).is_some() {
            return Err("the login at the Sentinels is given twice");
        }
    }
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    match (user, password) {
        (None, None) => Ok(String::new()),
        (user, Some(password)) => Ok(format!(
            "{}:{}@",
            encoded(user.as_deref().unwrap_or_default()),
            encoded(&password)
        )),
        (Some(_), None) => Err("`sentinel_user` needs a `sentinel_password`"),
    }
}

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        if let Some(rest) = text.strip_prefix(SENTINEL) {
            return Sentinel::parse(rest).map(Target::Sentinel).map(Self);
        }
        if !text.starts_with("redis://") && !text.starts_with("rediss://") {
            let why = "it begins with redis://, rediss:// or redis+sentinel://";
            return Err(InvalidRedisUrl(why.to_owned()));
        }
        server(text)?;
        Ok(Self(Target::Server(text.to_owned())))
    }
}

fn server(url: &str) -> Result<ConnectionInfo, InvalidRedisUrl> {
    url.into_connection_info().map_err(|error| {
        InvalidRedisUrl(
            error
                .detail()
                .unwrap_or("write redis://[user:password@]host:port[/db]")
                .to_owned(),
        )
    })
}

impl fmt::Display for RedisUrl {
    /// Where it is, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Server(url) => match server(url) {
                Ok(info) => match info.addr() {
                    ConnectionAddr::TcpTls { host, port, .. } => {
                        write!(f, "rediss://{host}:{port}")
                    }
                    address => write!(f, "redis://{address}"),
                },
                Err(_) => f.write_str("redis"),
            },
            Target::Sentinel(sentinel) => {
                write!(
                    f,
                    "{SENTINEL}{}/{}",
                    sentinel.hosts.join(","),
                    sentinel.master
                )
            }
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinel_url_names_sentinels_master_credentials_and_database() {
        let url: RedisUrl = "redis+sentinel://app:pa%40ss@s1:26379,s2:26380/mymaster/3"
            .parse()
            .unwrap();
        let Target::Sentinel(sentinel) = url.target() else {
            panic!("a Sentinel URL")
        };
        assert_eq!(sentinel.hosts, ["s1:26379", "s2:26380"]);
        assert_eq!(sentinel.master, "mymaster");
        assert_eq!(
            sentinel.master_url("10.0.0.7", 6379),
            "redis://app:pa%40ss@10.0.0.7:6379/3"
        );
        assert_eq!(
            sentinel.master_url("fe80::1", 6379),
            "redis://app:pa%40ss@[fe80::1]:6379/3"
        );
    }

    #[test]
    fn sentinels_have_a_login_of_their_own() {
        for (text, at_sentinel, at_master) in [
            (
                "redis+sentinel://app:pw@s1:26379/m",
                "redis://s1:26379",
                "redis://app:pw@h:1/0",
            ),
            (
                "redis+sentinel://s1:26379/m?sentinel_password=p%40s%2F",
                "redis://:p%40s%2F@s1:26379",
                "redis://h:1/0",
            ),
            (
                "redis+sentinel://app:pw@s1:26379/m/2?sentinel_user=eye&sentinel_password=x@y",
                "redis://eye:x%40y@s1:26379",
                "redis://app:pw@h:1/2",
            ),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            let Target::Sentinel(sentinel) = url.target() else {
                panic!("a Sentinel URL")
            };
            assert_eq!(sentinel.sentinel_url(&sentinel.hosts[0]), at_sentinel);
            assert_eq!(sentinel.master_url("h", 1), at_master);
        }
    }

    #[test]
    fn a_sentinel_url_that_lacks_something_says_what() {
        for (text, why) in [
            ("redis+sentinel://s1/mymaster", "host:port"),
            ("redis+sentinel://s1:26379", "master's name"),
            ("redis+sentinel://s1:26379/", "master's name"),
            ("redis+sentinel://s1:26379/mymaster/x", "not a number"),
            ("redis+sentinel://s1:26379/mymaster/1/2", "too much"),
            (
                "redis+sentinel://s1:26379/m?password=x",
                "sentinel_password",
            ),
            (
                "redis+sentinel://s1:26379/m?sentinel_user=x",
                "sentinel_password",
            ),
            (
                "redis+sentinel://s1:26379/m?sentinel_password=x&sentinel_password=y",
                "twice",
            ),
            ("http://s1:6379", "begins with"),
        ] {
            let error = text.parse::<RedisUrl>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "redis://app:secret@127.0.0.1:6379/2",
            "rediss://app:secret@redis.example:6380",
            "redis+sentinel://app:secret@s1:26379/mymaster",
            "redis+sentinel://s1:26379/mymaster?sentinel_user=app&sentinel_password=secret",
        ] {
            let url: RedisUrl = text.parse().unwrap();
            let shown = format!("{url} {url:?}");
            assert!(
                !shown.contains("secret") && !shown.contains("app"),
                "{shown}"
            );
        }
    }
}
