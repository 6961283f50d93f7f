//! A connection to a Redis server that is a primary, and whether it still is that one.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use switchboard_core::directory::DirectorySettings;
use switchboard_core::directory::redis::{Script, Value};

use super::backoff::drawn_pause;
use super::sentinels::Named;
use super::trouble::Trouble;
use super::{mark, sentinels};
use crate::clock;
use crate::directory::{RedisUrl, Sentinel, Target};
use crate::redis::{Address, Connection, RedisError, accepted};
use crate::runtime::{Runtime, race};

/// How long establishing a link may take: name look-up, TCP, TLS, login, scripts.
pub(super) const CONNECT: Duration = Duration::from_secs(3);

/// A link to a primary, with the scripts loaded.
pub(super) struct Primary<R: Runtime> {
    pub(super) connection: Connection<R::Stream>,
    /// The server's run, which a restart changes and a proxy's switch to another server too. `None`
    /// if the server does not say.
    pub(super) run: Option<String>,
    /// What Sentinels said of it, if they named it.
    named: Option<Named>,
}

impl<R: Runtime> Primary<R> {
    /// Opens a connection to the primary that the URL leads to.
    pub(super) async fn connect(url: &RedisUrl) -> Result<Self, Trouble> {
        match url.target() {
            Target::Server(address) => Self::verified(open::<R>(address).await?).await,
            Target::Sentinel(sentinel) => Self::of_sentinel(sentinel).await,
        }
    }

    /// The same for an instance with these settings, whose layout its keys must have.
    pub(super) async fn agreed(
        url: &RedisUrl,
        settings: &DirectorySettings,
    ) -> Result<Self, Trouble> {
        let mut primary = Self::connect(url).await?;
        mark::leave_or_heed(&mut primary.connection, settings).await?;
        Ok(primary)
    }

    /// The latest master that Sentinels name, if it says itself that it is one.
    async fn of_sentinel(sentinel: &Sentinel) -> Result<Self, Trouble> {
        let begun = clock::mono();
        let named = sentinels::latest(sentinels::ask::<R>(sentinel).await?);
        let spent = clock::mono().since(begun);
        Self::first_of(named, CONNECT.saturating_sub(spent)).await
    }

    /// The first of these that is a primary. Each has its part of the time: one that swallows what is sent to it does not
    /// keep the others from being tried.
    async fn first_of(named: Vec<Named>, within: Duration) -> Result<Self, Trouble> {
        let mut trouble = Trouble::Unreachable("no master is named".to_owned());
        let count = u32::try_from(named.len()).unwrap_or(u32::MAX);
        let patience = within / count.max(1);
        for named in named {
            let opened =
                async { Self::verified(Connection::open::<R>(&named.address).await?).await };
            let late = async {
                R::sleep(patience).await;
                Err(Trouble::Unreachable("no answer".to_owned()))
            };
            match race(opened, late).await {
                Ok(primary) => {
                    return Ok(Self {
                        named: Some(named),
                        ..primary
                    });
                }
                Err(why) => trouble = why,
            }
        }
        Err(trouble)
    }

    async fn verified(mut connection: Connection<R::Stream>) -> Result<Self, Trouble> {
        if let Some(old) = version(&mut connection).await?.filter(Version::is_too_old) {
            return Err(Trouble::TooOld(old.to_string()));
        }
        let run = match standing(&mut connection).await? {
            Standing::Primary { run } => run,
            Standing::Replica => return Err(Trouble::Replica),
        };
        let load = |script: Script| ["SCRIPT", "LOAD", script.text()];
        for loaded in connection.ask_all(Script::ALL.map(load)).await? {
            accepted(loaded)?;
        }
        Ok(Self {
            connection,
            run,
            named: None,
        })
    }

    /// The policy by which the server may throw keys away, if it may. It may forbid the question; then nothing is
    /// known, and nothing is said.
    pub(super) async fn evicts(&mut self) -> Option<String> {
        let question: [&[&str]; 1] = [&["CONFIG", "GET", "maxmemory-policy"]];
        let answers = self.connection.ask_all(question).await.ok()?;
        let [Value::Array(pair)] = answers.as_slice() else {
            return None;
        };
        let policy = text(pair.get(1))?;
        (policy != "noeviction").then(|| policy.to_owned())
    }

    /// Ends when the Sentinels name a later primary than this one; without Sentinels never. A primary
    /// that was replaced and lives on learns of it late, by ten seconds or more, and what it is asked to
    /// write until then is lost.
    pub(super) fn replaced(&self, url: &RedisUrl) -> impl Future<Output = ()> + use<R> {
        let watched = match url.target() {
            Target::Server(_) => None,
            Target::Sentinel(sentinel) => self.named.clone().map(|named| (sentinel.clone(), named)),
        };
        let run = self.run.clone();
        async move {
            let Some((sentinel, mut named)) = watched else {
                return std::future::pending().await;
            };
            loop {
                R::sleep(drawn_pause(WATCH)).await;
                let Ok(answers) = sentinels::ask::<R>(&sentinel).await else {
                    continue;
                };
                for successor in named.successors(answers) {
                    let found = race(is_another::<R>(&successor, run.as_deref()), async {
                        R::sleep(WATCH).await;
                        false
                    });
                    if found.await {
                        return;
                    }
                }
            }
        }
    }
}

/// How often the Sentinels are asked whether the primary is still the one of the link, at least.
const WATCH: Duration = Duration::from_secs(1);

/// Whether the server that is named is a primary, and not in this run: the same server may have two addresses.
async fn is_another<R: Runtime>(named: &Named, run: Option<&str>) -> bool {
    let Ok(mut connection) = Connection::open::<R>(&named.address).await else {
        return false;
    };
    match standing(&mut connection).await {
        Ok(Standing::Primary { run: other }) => run.is_none() || other.as_deref() != run,
        Ok(Standing::Replica) | Err(_) => false,
    }
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It takes writes.
    Primary {
        /// Its `run_id`, if it says.
        run: Option<String>,
    },
    /// It answers reads and refuses writes, or takes those that nobody will see.
    Replica,
}

/// Asks a server what it is. It may forbid both questions: then it is taken for a primary, and the
/// first write tells.
async fn standing<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
) -> Result<Standing, RedisError> {
    let answers = connection.ask_all(Standing::QUESTIONS).await?;
    Ok(Standing::understood(&answers))
}

impl Standing {
    /// What a server is asked for it.
    pub(super) const QUESTIONS: [&'static [&'static str]; 2] = [&["ROLE"], &["INFO", "server"]];

    /// What the answers say.
    pub(super) fn understood(answers: &[Value]) -> Self {
        let role = match answers.first() {
            Some(Value::Array(items)) => items.first(),
            _ => None,
        };
        if matches!(role, Some(Value::Bulk(role)) if role != "master") {
            return Self::Replica;
        }
        let run = text(answers.get(1))
            .unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix("run_id:"));
        Self::Primary {
            run: run.map(|run| run.trim().to_owned()),
        }
    }
}

/// Which server it is, and of which version, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    server: &'static str,
    number: String,
}

impl Version {
    /// Whether it is older than Redis 7.0, whose scripts and commands are needed. Others than Redis
    /// count from elsewhere; Valkey began at 7.2.
    fn is_too_old(&self) -> bool {
        const LEAST: u32 = 7;
        let major = self.number.split('.').next().unwrap_or_default();
        self.server == REDIS && major.parse::<u32>().is_ok_and(|major| major < LEAST)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.server, self.number)
    }
}

const REDIS: &str = "Redis";
const VALKEY: &str = "Valkey";

/// Asks a server for its version: by INFO, and if that is forbidden by HELLO, which hardly can be.
/// `None` if it does not say.
async fn version<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
) -> Result<Option<Version>, RedisError> {
    let questions: [&[&str]; 2] = [&["INFO", "server"], &["HELLO"]];
    let answers = connection.ask_all(questions).await?;
    Ok(stated_version(&answers))
}

fn stated_version(answers: &[Value]) -> Option<Version> {
    let version = |server, number: &str| Version {
        server,
        number: number.trim().to_owned(),
    };
    let about = text(answers.first()).unwrap_or_default();
    let line = |name| about.lines().find_map(|line| line.strip_prefix(name));
    if let Some(number) = line("valkey_version:") {
        return Some(version(VALKEY, number));
    }
    if let Some(number) = line("redis_version:") {
        return Some(version(REDIS, number));
    }
    let pairs: &[[Value; 2]] = match answers.get(1) {
        Some(Value::Array(items)) => items.as_chunks().0,
        _ => &[],
    };
    let of = |name| {
        let mut pairs = pairs.iter();
        let [_, value] = pairs.find(|[key, _]| text(Some(key)) == Some(name))?;
        text(Some(value))
    };
    let server = match of("server")? {
        "valkey" => VALKEY,
        _ => REDIS,
    };
    Some(version(server, of("version")?))
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::Bulk(text) => std::str::from_utf8(text).ok(),
        Value::Status(text) => Some(text),
        _ => None,
    }
}

async fn open<R: Runtime>(address: &Address) -> Result<Connection<R::Stream>, RedisError> {
    let late = async {
        R::sleep(CONNECT).await;
        Err(io::Error::from(io::ErrorKind::TimedOut).into())
    };
    race(Connection::open::<R>(address), late).await
}

impl From<RedisError> for Trouble {
    /// What is said of an error: never the URL, which may hold a password.
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        match &error {
            RedisError::Login(_) => Self::Login(text),
            RedisError::Refused(refusal) => match refusal.split(' ').next() {
                Some("NOAUTH") => Self::Login(text),
                Some("NOPERM") => Self::Permission(text),
                Some(_) | None => Self::Unreachable(text),
            },
            RedisError::Io(_) | RedisError::NotRedis(_) => Self::Unreachable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::hasty::Hasty;

    /// H38: of two addresses of a master one may lead nowhere.
    #[test]
    fn all_whom_sentinels_name_are_tried_in_time() {
        let named = ["a", "b", "c"].map(|host| Named::at(&format!("redis://{host}:1")));
        let found = Primary::<Hasty>::first_of(named.to_vec(), CONNECT).now_or_never();
        assert!(matches!(found, Some(Err(Trouble::Unreachable(_)))));
        assert_eq!(Hasty::dialled(), ["a:1", "b:1", "c:1"]);
        let pauses = Hasty::pauses();
        let all: Duration = pauses.iter().sum();
        assert!(pauses.len() == 3 && all <= CONNECT, "{pauses:?}");
    }

    /// H38: a server that was demoted answers reads, and is no directory.
    #[test]
    fn a_server_is_known_by_its_role_and_run() {
        let bulk = |text: &str| Value::Bulk(Bytes::copy_from_slice(text.as_bytes()));
        let role = |name: &str| Value::Array(vec![bulk(name), Value::Int(0)]);
        let info = bulk("# Server\r\nredis_version:7.4.0\r\nrun_id:4f2a\r\ntcp_port:6379\r\n");
        let run = Some("4f2a".to_owned());
        assert_eq!(
            Standing::understood(&[role("master"), info.clone()]),
            Standing::Primary { run }
        );
        assert_eq!(
            Standing::understood(&[role("slave"), info]),
            Standing::Replica
        );
    }

    /// Redis below 7.0 lacks what scripts and leases need; what others count is their own.
    #[test]
    fn redis_below_7_is_too_old() {
        let bulk = |text: &str| Value::Bulk(Bytes::copy_from_slice(text.as_bytes()));
        let info = |lines: &str| vec![bulk(&format!("# Server\r\n{lines}run_id:4f2a\r\n"))];
        let hello = |server, version| {
            let items = ["server", server, "version", version].map(bulk);
            vec![
                Value::Nil,
                Value::Array([&items[..], &[bulk("proto")]].concat()),
            ]
        };
        for (answers, found, too_old) in [
            (info("redis_version:6.2.14\r\n"), "Redis 6.2.14", true),
            (info("redis_version:2.8.0\r\n"), "Redis 2.8.0", true),
            (info("redis_version:7.0.0\r\n"), "Redis 7.0.0", false),
            (info("redis_version:10.1.2\r\n"), "Redis 10.1.2", false),
            (
                info("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.3\r\n"),
                "Valkey 8.1.3",
                false,
            ),
            (hello("redis", "6.0.16"), "Redis 6.0.16", true),
            (hello("redis", "7.4.1"), "Redis 7.4.1", false),
            (hello("valkey", "8.0.0"), "Valkey 8.0.0", false),
        ] {
            let version = stated_version(&answers).expect(found);
            assert_eq!(
                (&*version.to_string(), version.is_too_old()),
                (found, too_old)
            );
        }
        assert_eq!(stated_version(&[Value::Nil, Value::Nil]), None);
    }

    #[test]
    fn a_server_that_forbids_the_questions_is_taken_for_a_primary() {
        assert_eq!(
            Standing::understood(&[Value::Nil, Value::Nil]),
            Standing::Primary { run: None }
        );
    }
}
