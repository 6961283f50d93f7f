//! A connection to a Redis server that is a primary, and whether it still is that one.

use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, Value};

use super::convert;
use super::redis_url::{RedisUrl, Sentinel, Target};
use super::trouble::Trouble;

/// How long establishing a link may take: name look-up, TCP, TLS, login, scripts.
pub(super) const CONNECT: Duration = Duration::from_secs(3);

/// A link to a primary, with the scripts loaded.
pub(super) struct Primary {
    pub(super) connection: MultiplexedConnection,
    /// The server's run, which a restart changes and a proxy's switch to another server too. `None`
    /// if the server does not say.
    pub(super) run: Option<String>,
}

impl Primary {
    /// Connects.
    pub(super) async fn connect(url: &RedisUrl) -> Result<Self, Trouble> {
        match url.target() {
            Target::Server(url) => Self::verified(open(url, CONNECT).await?).await,
            Target::Sentinel(sentinel) => Self::of_sentinel(sentinel).await,
        }
    }

    /// The master that the first Sentinel names that knows it, if it says itself that it is one.
    async fn of_sentinel(sentinel: &Sentinel) -> Result<Self, Trouble> {
        // One that does not answer must leave time for the others, and for the master.
        let hosts = u32::try_from(sentinel.hosts.len()).unwrap_or(u32::MAX);
        let patience = CONNECT / hosts.saturating_add(1);
        let mut trouble = Trouble::Unreachable("no Sentinel is named".to_owned());
        for host in &sentinel.hosts {
            let named = named_by(host, sentinel, patience).await;
            let primary = match named {
                Ok(master) => match open(&master, CONNECT).await {
                    Ok(connection) => Self::verified(connection).await,
                    Err(error) => Err(error.into()),
                },
                Err(why) => Err(why.of_sentinel(host)),
            };
            match primary {
                Ok(primary) => return Ok(primary),
                Err(why) => trouble = why,
            }
        }
        Err(trouble)
    }

    async fn verified(mut connection: MultiplexedConnection) -> Result<Self, Trouble> {
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
        Ok(Self { connection, run })
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
    let about = match answers.get(1) {
        Some(Value::BulkString(text)) => std::str::from_utf8(text).ok(),
        Some(Value::VerbatimString { text, .. }) => Some(text.as_str()),
        _ => None,
    };
    let run = about
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("run_id:"));
    Standing::Primary {
        run: run.map(|run| run.trim().to_owned()),
    }
}

async fn open(url: &str, patience: Duration) -> Result<MultiplexedConnection, RedisError> {
    // Deadlines are core's: an answer that comes late is told, and its link is not torn for it.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(Some(patience));
    let client = Client::open(url)?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// Where the master is, by one Sentinel.
async fn named_by(host: &str, sentinel: &Sentinel, patience: Duration) -> Result<String, Trouble> {
    let mut watcher = open(&sentinel.sentinel_url(host), patience).await?;
    let named: Option<(String, u16)> = redis::cmd("SENTINEL")
        .arg("get-master-addr-by-name")
        .arg(&sentinel.master)
        .query_async(&mut watcher)
        .await?;
    match named {
        Some((host, port)) => Ok(sentinel.master_url(&host, port)),
        None => Err(Trouble::Unreachable(
            "it watches no master of that name".to_owned(),
        )),
    }
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
    use super::*;

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

    #[test]
    fn a_server_that_forbids_the_questions_is_taken_for_a_primary() {
        assert_eq!(
            understood(&[Value::Nil, Value::Nil]),
            Standing::Primary { run: None }
        );
    }
}
