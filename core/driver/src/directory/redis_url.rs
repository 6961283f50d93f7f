//! Where Redis is.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

/// Where Redis is: `redis://[user:password@]host:port[/db]`, `rediss://...` with TLS, or
/// `redis+sentinel://[user:password@]host:port,host:port/master[/db]`, where user and password are
/// the master's.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Target);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// One server.
    Server(String),
    /// The master that Sentinels name.
    Sentinel(Sentinel),
}

/// A master by way of its Sentinels.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sentinel {
    /// `user:password@`, or nothing.
    credentials: String,
    /// The Sentinels, each `host:port`.
    pub(super) hosts: Vec<String>,
    /// The name under which they watch the master.
    pub(super) master: String,
    database: u32,
}

/// A text that is not a Redis URL. It never repeats the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Redis URL: {0}")]
pub struct InvalidRedisUrl(String);

const SENTINEL: &str = "redis+sentinel://";

impl RedisUrl {
    pub(super) const fn target(&self) -> &Target {
        &self.0
    }

    /// Whether the link is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(&self.0, Target::Server(url) if url.starts_with("rediss://"))
    }
}

impl Sentinel {
    /// Where the master is that a Sentinel named.
    pub(super) fn master_url(&self, host: &str, port: u16) -> String {
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
                "{why}; write {SENTINEL}[user:password@]host:port,host:port/master[/db]"
            ))
        };
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
            hosts,
            master,
            database,
        };
        // Credentials that cannot stand in a URL are noticed at the start, not at a failover.
        server(&sentinel.master_url("localhost", 6379))?;
        Ok(sentinel)
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
    fn a_sentinel_url_that_lacks_something_says_what() {
        for (text, why) in [
            ("redis+sentinel://s1/mymaster", "host:port"),
            ("redis+sentinel://s1:26379", "master's name"),
            ("redis+sentinel://s1:26379/", "master's name"),
            ("redis+sentinel://s1:26379/mymaster/x", "not a number"),
            ("redis+sentinel://s1:26379/mymaster/1/2", "too much"),
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
