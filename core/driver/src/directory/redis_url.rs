//! Where Redis is.

use std::fmt;
use std::str::FromStr;

use crate::redis::{Address, Credentials};
use crate::request::query;

/// Where Redis is: `redis://[user:password@]host:port[/db]`, `rediss://...` with TLS, or
/// `redis+sentinel://[user:password@]host:port,host:port/master[/db]`, where user and password are
/// the master's. Those of the Sentinels, if they want a login, follow as
/// `?sentinel_user=...&sentinel_password=...`, percent-encoded; the user may be left out.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(Target);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// This server.
    Server(Address),
    /// The master that Sentinels name.
    Sentinel(Sentinel),
}

/// A master that is found through its Sentinels.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sentinel {
    /// The Sentinels, with their own credentials.
    pub(crate) sentinels: Vec<Address>,
    /// The name under which they watch the master.
    pub(crate) master: String,
    /// The master's.
    credentials: Option<Credentials>,
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
}

impl Sentinel {
    /// Where the master is that a Sentinel named.
    pub(crate) fn master_at(&self, host: String, port: u16) -> Address {
        Address {
            credentials: self.credentials.clone(),
            database: self.database,
            ..Address::plain(host, port)
        }
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
        let of_sentinels = sentinel_credentials(query).map_err(invalid)?;
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => {
                let at_master = Address::parse(&format!("redis://{credentials}@master"));
                (at_master.map_err(invalid)?.credentials, rest)
            }
            None => (None, rest),
        };
        let mut path = rest.split('/');
        let hosts = path.next().unwrap_or_default().split(',');
        let sentinels: Option<Vec<Address>> = hosts.map(sentinel_at).collect();
        let Some(mut sentinels) = sentinels else {
            return Err(invalid("each Sentinel is `host:port`"));
        };
        for sentinel in &mut sentinels {
            sentinel.credentials.clone_from(&of_sentinels);
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
        Ok(Self {
            sentinels,
            master,
            credentials,
            database,
        })
    }
}

/// The Sentinel at `host:port`.
fn sentinel_at(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    if host.is_empty() || !is_port {
        return None;
    }
    Address::parse(&format!("redis://{text}")).ok()
}

/// Those for the Sentinels.
fn sentinel_credentials(query: Option<&str>) -> Result<Option<Credentials>, &'static str> {
    let (mut user, mut password) = (None, None);
    for pair in query::pairs(query) {
        let (name, value) =
            pair.map_err(|_| "the login at the Sentinels is not percent-encoded UTF-8")?;
        let place = match name.as_ref() {
            "sentinel_user" => &mut user,
            "sentinel_password" => &mut password,
            _ => return Err("only `sentinel_user` and `sentinel_password` stand behind the `?`"),
        };
        if place.replace(value.into_owned()).is_some() {
            return Err("the login at the Sentinels is given twice");
        }
    }
    // Templates name what is not set.
    let is_set = |text: &String| !text.is_empty();
    match (user.filter(is_set), password.filter(is_set)) {
        (None, None) => Ok(None),
        (user, Some(password)) => Ok(Some(Credentials { user, password })),
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
        let server = Address::parse(text).map_err(|why| InvalidRedisUrl(why.to_owned()))?;
        Ok(Self(Target::Server(server)))
    }
}

impl fmt::Display for RedisUrl {
    /// Where it is, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Server(address) => address.fmt(f),
            Target::Sentinel(Sentinel {
                sentinels, master, ..
            }) => {
                let hosts: Vec<String> = sentinels.iter().map(Address::socket).collect();
                write!(f, "{SENTINEL}{}/{master}", hosts.join(","))
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

    fn sentinel(text: &str) -> Sentinel {
        let Target::Sentinel(sentinel) = text.parse::<RedisUrl>().expect(text).0 else {
            panic!("a Sentinel URL")
        };
        sentinel
    }

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    #[test]
    fn a_sentinel_url_names_sentinels_master_credentials_and_database() {
        let sentinel = sentinel("redis+sentinel://app:pa%40ss@s1:26379,[fe80::2]:26380/mymaster/3");
        let hosts = ["redis://s1:26379", "redis://[fe80::2]:26380"].map(address);
        assert!(sentinel.sentinels == hosts);
        assert_eq!(sentinel.master, "mymaster");
        for (host, url) in [
            ("10.0.0.7", "redis://app:pa%40ss@10.0.0.7:6379/3"),
            ("fe80::1", "redis://app:pa%40ss@[fe80::1]:6379/3"),
        ] {
            assert!(sentinel.master_at(host.to_owned(), 6379) == address(url));
        }
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
                "redis+sentinel://s1:26379/m?sentinel_user=&sentinel_password=pw",
                "redis://:pw@s1:26379",
                "redis://h:1/0",
            ),
            (
                "redis+sentinel://s1:26379/m?sentinel_user=&sentinel_password=",
                "redis://s1:26379",
                "redis://h:1/0",
            ),
            (
                "redis+sentinel://app:pw@s1:26379/m/2?sentinel_user=eye&sentinel_password=x@y",
                "redis://eye:x%40y@s1:26379",
                "redis://app:pw@h:1/2",
            ),
        ] {
            let sentinel = sentinel(text);
            assert!(sentinel.sentinels == [address(at_sentinel)], "{text}");
            assert!(
                sentinel.master_at("h".to_owned(), 1) == address(at_master),
                "{text}"
            );
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
