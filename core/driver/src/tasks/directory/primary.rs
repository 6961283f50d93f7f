//! A connection to a Redis server that is a primary, and whether it still is that one.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use futures_channel::oneshot;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisConnectionInfo, RedisError,
    Value,
};
use switchboard_core::directory::DirectorySettings;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::backoff::drawn_pause;
use super::sentinels::Named;
use super::trouble::Trouble;
use super::{convert, mark, sentinels};
use crate::clock;
use crate::directory::{RedisUrl, Sentinel, Target};
use crate::runtime::{Runtime, race};
use crate::task;

/// How long establishing a link may take: name look-up, TCP, TLS, login, scripts.
pub(super) const CONNECT: Duration = Duration::from_secs(3);

/// A link to a primary, with the scripts loaded.
pub(super) struct Primary {
    pub(super) connection: MultiplexedConnection,
    /// As long as the link is wanted.
    _wanted: Wanted,
    /// The server's run, which a restart changes and a proxy's switch to another server too. `None`
    /// if the server does not say.
    pub(super) run: Option<String>,
    /// What Sentinels said of it, if they named it.
    named: Option<Named>,
}

impl Primary {
    /// Opens a connection to the primary that the URL leads to.
    pub(super) async fn connect<R: Runtime>(url: &RedisUrl) -> Result<Self, Trouble> {
        match url.target() {
            Target::Server(url) => Self::verified(open::<R>(url, CONNECT).await?).await,
            Target::Sentinel(sentinel) => Self::of_sentinel::<R>(sentinel).await,
        }
    }

    /// The same for an instance with these settings, whose layout its keys must have.
    pub(super) async fn agreed<R: Runtime>(
        url: &RedisUrl,
        settings: &DirectorySettings,
    ) -> Result<Self, Trouble> {
        let mut primary = Self::connect::<R>(url).await?;
        mark::leave_or_heed(&mut primary.connection, settings).await?;
        Ok(primary)
    }

    /// The latest master that Sentinels name, if it says itself that it is one.
    async fn of_sentinel<R: Runtime>(sentinel: &Sentinel) -> Result<Self, Trouble> {
        let begun = clock::mono();
        let named = sentinels::latest(sentinels::ask(sentinel).await?);
        let spent = clock::mono().since(begun);
        Self::first_of::<R>(named, CONNECT.saturating_sub(spent)).await
    }

    /// The first of these that is a primary. Each has its part of the time: one that swallows what is sent to it does not
    /// keep the others from being tried.
    async fn first_of<R: Runtime>(named: Vec<Named>, within: Duration) -> Result<Self, Trouble> {
        let mut trouble = Trouble::Unreachable("no master is named".to_owned());
        let count = u32::try_from(named.len()).unwrap_or(u32::MAX);
        let patience = within / count.max(1);
        for named in named {
            let opened = async {
                let opened = open::<R>(&named.url, patience).await?;
                Self::verified(opened).await
            };
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

    async fn verified(opened: (MultiplexedConnection, Wanted)) -> Result<Self, Trouble> {
        let (mut connection, wanted) = opened;
        if let Some(old) = version(&mut connection).await?.filter(Version::is_too_old) {
            return Err(Trouble::TooOld(old.to_string()));
        }
        let run = match standing(&mut connection).await? {
            Standing::Primary { run } => run,
            Standing::Replica => return Err(Trouble::Replica),
        };
        // One by one, as an error of a whole pipeline does not say its code.
        let scripts = convert::load_scripts();
        let count = scripts.len();
        let loaded = connection.req_packed_commands(&scripts, 0, count).await?;
        for answer in loaded {
            answer.extract_error()?;
        }
        Ok(Self {
            connection,
            _wanted: wanted,
            run,
            named: None,
        })
    }

    /// Ends when the Sentinels name a later primary than this one; without Sentinels never. A primary
    /// that was replaced and lives on learns of it late, by ten seconds or more, and what it is asked to
    /// write until then is lost.
    pub(super) fn replaced<R: Runtime>(&self, url: &RedisUrl) -> impl Future<Output = ()> + use<R> {
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
                let Ok(answers) = sentinels::ask(&sentinel).await else {
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
    let Ok((mut connection, _wanted)) = open::<R>(&named.url, WATCH).await else {
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
pub(super) async fn standing(
    connection: &mut MultiplexedConnection,
) -> Result<Standing, RedisError> {
    let mut questions = redis::pipe();
    questions.ignore_errors();
    questions.cmd("ROLE").cmd("INFO").arg("server");
    let count = questions.len();
    let answers = connection.req_packed_commands(&questions, 0, count).await?;
    Ok(understood(&answers))
}

fn understood(answers: &[Value]) -> Standing {
    let role = match answers.first() {
        Some(Value::Array(items)) => items.first(),
        _ => None,
    };
    if matches!(role, Some(Value::BulkString(role)) if role != b"master") {
        return Standing::Replica;
    }
    let run = text(answers.get(1))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("run_id:"));
    Standing::Primary {
        run: run.map(|run| run.trim().to_owned()),
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
async fn version(connection: &mut MultiplexedConnection) -> Result<Option<Version>, RedisError> {
    let mut questions = redis::pipe();
    questions.ignore_errors();
    questions.cmd("INFO").arg("server").cmd("HELLO");
    let count = questions.len();
    let answers = connection.req_packed_commands(&questions, 0, count).await?;
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
    let pairs: Vec<(&Value, &Value)> = match answers.get(1) {
        Some(Value::Array(items)) => items.as_chunks().0.iter().map(|[a, b]| (a, b)).collect(),
        Some(Value::Map(pairs)) => pairs.iter().map(|(a, b)| (a, b)).collect(),
        _ => Vec::new(),
    };
    let of = |name| {
        let mut values = pairs
            .iter()
            .filter(|(key, _)| text(Some(key)) == Some(name));
        text(values.next().map(|(_, value)| *value))
    };
    let server = match of("server")? {
        "valkey" => VALKEY,
        _ => REDIS,
    };
    Some(version(server, of("version")?))
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::BulkString(text) => std::str::from_utf8(text).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// A connection is served while this is kept. By itself it would go on until a server that is silent has answered
/// what it was asked.
type Wanted = Option<oneshot::Sender<Infallible>>;

/// Opens a connection, whose socket is served on this thread if that can be.
async fn open<R: Runtime>(
    url: &str,
    patience: Duration,
) -> Result<(MultiplexedConnection, Wanted), RedisError> {
    let client = Client::open(url)?;
    let info = client.get_connection_info();
    if let ConnectionAddr::Tcp(host, port) = info.addr() {
        let opened = async { over_tcp::<R>(host, *port, info.redis_settings()).await };
        let late = async {
            R::sleep(patience).await;
            Err(io::Error::from(io::ErrorKind::TimedOut).into())
        };
        return race(opened, late).await;
    }
    // TLS is redis-rs's own matter, on the thread that it chooses.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(Some(patience));
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    Ok((connection.await?, None))
}

async fn over_tcp<R: Runtime>(
    host: &str,
    port: u16,
    info: &RedisConnectionInfo,
) -> Result<(MultiplexedConnection, Wanted), RedisError> {
    let address = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let stream = R::dial(address).await?.compat();
    // Deadlines are core's: an answer that comes late is told, and its link is not torn for it.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let opened = MultiplexedConnection::new_with_config(info, stream, config);
    let (connection, serving) = opened.await?;
    let (wanted, unwanted) = oneshot::channel();
    let unwanted = async {
        // Nothing is ever sent: it is dropped.
        let _ = unwanted.await;
    };
    task::spawn::<R>("connection to Redis", race(serving, unwanted));
    Ok((connection, Some(wanted)))
}

impl From<RedisError> for Trouble {
    /// What is said of an error: never the URL, which may hold a password.
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => {
                Self::Login(text)
            }
            (_, Some("NOPERM")) => Self::Permission(text),
            _ => Self::Unreachable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::hasty::Hasty;

    /// H38: of two addresses of a master one may lead nowhere.
    #[test]
    fn all_whom_sentinels_name_are_tried_in_time() {
        let named = ["a", "b", "c"].map(|host| Named::at(&format!("redis://{host}:1")));
        let found = Primary::first_of::<Hasty>(named.to_vec(), CONNECT).now_or_never();
        assert!(matches!(found, Some(Err(Trouble::Unreachable(_)))));
        assert_eq!(Hasty::dialled(), ["a:1", "b:1", "c:1"]);
        let pauses = Hasty::pauses();
        let all: Duration = pauses.iter().sum();
        assert!(pauses.len() == 3 && all <= CONNECT, "{pauses:?}");
    }

    /// H38: a server that was demoted answers reads, and is no directory.
    #[test]
    fn a_server_is_known_by_its_role_and_run() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let role = |name: &str| Value::Array(vec![bulk(name), Value::Int(0)]);
        let info = bulk("# Server\r\nredis_version:7.4.0\r\nrun_id:4f2a\r\ntcp_port:6379\r\n");
        let run = Some("4f2a".to_owned());
        assert_eq!(
            understood(&[role("master"), info.clone()]),
            Standing::Primary { run }
        );
        assert_eq!(understood(&[role("slave"), info]), Standing::Replica);
    }

    /// Redis below 7.0 lacks what scripts and leases need; what others count is their own.
    #[test]
    fn redis_below_7_is_too_old() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
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
            understood(&[Value::Nil, Value::Nil]),
            Standing::Primary { run: None }
        );
    }
}
