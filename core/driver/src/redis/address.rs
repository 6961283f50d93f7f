//! Where a Redis server is, and how one logs in there.

use std::fmt;

use url::{Host, Url};

use crate::request::query::{self, BadEncoding};

/// Redis listens there by itself.
const PORT: u16 = 6379;

/// What `redis://[user:password@]host[:port][/database]` says, or `rediss://` with TLS.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) is_encrypted: bool,
    /// A name, or the address of an IP without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) database: u32,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Option<String>,
    pub(crate) password: String,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it, and never repeats it: it may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "write redis://[user:password@]host:port[/db]")?;
        let is_encrypted = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err("it begins with redis:// or rediss://"),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err("nothing stands behind the database");
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(name) if !name.to_string().is_empty() => decoded(&name.to_string())?,
            Some(_) | None => return Err("the host is missing"),
        };
        Ok(Self {
            is_encrypted,
            host,
            port: url.port().unwrap_or(PORT),
            credentials: credentials(&url)?,
            database: match url.path().trim_matches('/') {
                "" => 0,
                number => number.parse().map_err(|_| "the database is not a number")?,
            },
        })
    }

    /// A server without a login.
    pub(crate) const fn plain(host: String, port: u16) -> Self {
        Self {
            is_encrypted: false,
            host,
            port,
            credentials: None,
            database: 0,
        }
    }

    /// What is dialled.
    pub(crate) fn socket(&self) -> String {
        let Self { host, port, .. } = self;
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, &'static str> {
    let user = match url.username() {
        "" => None,
        name => Some(decoded(name)?),
    };
    match (user, url.password()) {
        (user, Some(password)) => Ok(Some(Credentials {
            user,
            password: decoded(password)?,
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err("a user needs a password: write redis://user:password@host:port"),
    }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    match query::decode(text) {
        Ok(text) => Ok(text.into_owned()),
        Err(BadEncoding::Digits) => {
            Err("a `%` is not followed by two hexadecimal digits: write it as `%25`")
        }
        Err(BadEncoding::NotUtf8) => Err("user or password is not UTF-8"),
    }
}

impl fmt::Display for Address {
    /// Where it is, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}", self.socket())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_the_server_is_and_how_to_log_in() {
        for (text, shown, login, database) in [
            ("redis://h", "redis://h:6379", None, 0),
            ("rediss://h:1/2", "rediss://h:1", None, 2),
            ("redis://10.0.0.7:1/", "redis://10.0.0.7:1", None, 0),
            ("redis://[fe80::1]:1", "redis://[fe80::1]:1", None, 0),
            ("redis://:pw@h:1", "redis://h:1", Some((None, "pw")), 0),
            (
                "redis://app:p%40s%2F@h:1/3",
                "redis://h:1",
                Some((Some("app"), "p@s/")),
                3,
            ),
        ] {
            let address = Address::parse(text).expect(text);
            let found = address.credentials.as_ref();
            let found = found.map(|found| (found.user.as_deref(), &*found.password));
            assert_eq!((&*address.to_string(), found), (shown, login), "{text}");
            assert_eq!(address.database, database, "{text}");
        }
    }

    #[test]
    fn a_url_that_is_none_is_told_why() {
        for (text, why) in [
            ("redis://", "host is missing"),
            ("redis://:pw@", "write redis://"),
            ("redis://h:x", "write redis://"),
            ("redis://h/x", "not a number"),
            ("redis://h/1/2", "not a number"),
            ("redis://h?protocol=resp3", "behind the database"),
            ("redis://h#insecure", "behind the database"),
            ("redis://app@h", "needs a password"),
            ("redis://:%ff@h", "not UTF-8"),
            ("redis://:100%@h", "%25"),
            ("http://h", "begins with"),
        ] {
            let found = Address::parse(text).expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
