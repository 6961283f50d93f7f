//! A directory on a real Redis and one in memory, which are told the same.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::directory::redis::{Request, Script, Value};
use switchboard_core::directory::{DirectorySettings, Operation, Outcome, Reply, SeenLease};
use switchboard_core::time::Instant;
use switchboard_tests::redis::RedisServer;

/// Far longer than a test runs, and no multiple of [`TICK`]: no deadline falls on a moment at which
/// a test looks, so that the real time that passes decides nothing.
pub(crate) const LEASE: Duration = Duration::from_secs(1_000);

/// As [`LEASE`]: no multiple of [`TICK`].
pub(crate) const ROW_EXPIRY: Duration = Duration::from_secs(7_000);

/// What the time that passes in a test is a multiple of.
pub(crate) const TICK: Duration = Duration::from_secs(300);

/// How far the remaining time of a lease may differ: the real time that a test may take.
const TOLERANCE: Duration = Duration::from_secs(90);

pub(crate) struct Pair {
    pub(crate) redis: RedisDirectory,
    memory: MemoryDirectory,
    now: Instant,
}

impl Pair {
    pub(crate) fn start() -> Self {
        Self {
            redis: RedisDirectory::start(),
            memory: MemoryDirectory::new(settings()),
            now: Instant::START,
        }
    }

    /// Empties both.
    pub(crate) fn wipe(&mut self) {
        self.redis.raw::<()>(&["FLUSHALL"]);
        self.memory.wipe();
    }

    /// Executes the operation on both.
    ///
    /// Panics unless the answers are the same.
    #[track_caller]
    pub(crate) fn execute(&mut self, operation: &Operation) -> Outcome {
        let in_memory = self.memory.execute(self.now, operation);
        let on_redis = self.redis.execute(operation);
        assert!(
            same(&in_memory, &on_redis),
            "{operation:?}\n in memory: {in_memory:?}\n  on redis: {on_redis:?}"
        );
        in_memory
    }

    /// As [`Self::execute`], where the operation must have a reply.
    #[track_caller]
    pub(crate) fn reply(&mut self, operation: &Operation) -> Reply {
        self.execute(operation).expect("a reply")
    }

    /// Lets the time pass, on Redis by moving every deadline closer.
    pub(crate) fn pass(&mut self, span: Duration) {
        assert_eq!(
            span.as_secs() % TICK.as_secs(),
            0,
            "deadlines could fall on this moment"
        );
        self.now = self.now + span;
        self.redis.pass(span);
    }
}

pub(crate) struct RedisDirectory {
    pub(crate) server: RedisServer,
    connection: redis::Connection,
    loaded: BTreeMap<Script, String>,
}

impl RedisDirectory {
    pub(crate) fn start() -> Self {
        let server = RedisServer::start();
        let mut connection = server.connection();
        let load = |script: Script| {
            redis::cmd("SCRIPT")
                .arg("LOAD")
                .arg(script.text())
                .query(&mut connection)
                .map(|digest| (script, digest))
        };
        let loaded = Script::ALL.into_iter().map(load).collect::<Result<_, _>>();
        let loaded = loaded.expect("every script compiles");
        Self {
            server,
            connection,
            loaded,
        }
    }

    pub(crate) fn execute(&mut self, operation: &Operation) -> Outcome {
        let command = match operation.request(&settings()) {
            Request::Eval { script, key, args } => {
                let mut command = redis::cmd("EVALSHA");
                command.arg(&self.loaded[&script]).arg(1).arg(key).arg(args);
                command
            }
            Request::Command { name, args } => {
                let mut command = redis::cmd(name);
                command.arg(args);
                command
            }
        };
        let answer = match command.query(&mut self.connection) {
            Ok(answer) => value(answer),
            Err(error) => Value::Error(format!(
                "{} {}",
                error.code().expect("an error of the server's"),
                error.detail().unwrap_or_default()
            )),
        };
        operation.decode(answer)
    }

    #[track_caller]
    pub(crate) fn raw<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        redis::cmd(command[0])
            .arg(&command[1..])
            .query(&mut self.connection)
            .expect("the command succeeds")
    }

    fn pass(&mut self, span: Duration) {
        let span = i64::try_from(span.as_millis()).expect("a test passes no ages");
        let leases: BTreeMap<String, String> = self.raw(&["HGETALL", "sb:instances"]);
        for (instance, entry) in leases {
            let (deadline, rest) = entry.split_once(' ').expect("a deadline");
            let deadline = deadline.parse::<i64>().expect("a decimal number") - span;
            self.raw::<()>(&[
                "HSET",
                "sb:instances",
                &instance,
                &format!("{deadline} {rest}"),
            ]);
        }
        let users: Vec<String> = self.raw(&["KEYS", "sb:u:*"]);
        for user in users {
            let remaining = self.raw::<i64>(&["PTTL", &user]);
            assert!(remaining > 0, "{user} does not expire");
            // A time that is not positive deletes the key.
            self.raw::<()>(&["PEXPIRE", &user, &(remaining - span).to_string()]);
        }
    }
}

pub(crate) fn settings() -> DirectorySettings {
    DirectorySettings {
        prefix: "sb:".to_owned(),
        lease: LEASE,
        row_expiry: ROW_EXPIRY,
    }
}

fn same(in_memory: &Outcome, on_redis: &Outcome) -> bool {
    match (in_memory, on_redis) {
        (
            Ok(Reply::Leases { leases, malformed }),
            Ok(Reply::Leases {
                leases: others,
                malformed: other_malformed,
            }),
        ) => {
            malformed == other_malformed
                && leases.len() == others.len()
                && leases
                    .iter()
                    .zip(others)
                    .all(|(lease, other)| same_lease(lease, other))
        }
        (in_memory, on_redis) => in_memory == on_redis,
    }
}

fn same_lease(lease: &SeenLease, other: &SeenLease) -> bool {
    let times_agree = match (lease.remaining, other.remaining) {
        (None, None) => true,
        (Some(one), Some(two)) => one.abs_diff(two) < TOLERANCE,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let timeless = |seen: &SeenLease| SeenLease {
        remaining: None,
        ..seen.clone()
    };
    times_agree && timeless(lease) == timeless(other)
}

fn value(answer: redis::Value) -> Value {
    match answer {
        redis::Value::Nil => Value::Nil,
        redis::Value::Int(number) => Value::Int(number),
        redis::Value::BulkString(bytes) => Value::Bulk(Bytes::from(bytes)),
        redis::Value::SimpleString(text) => Value::Status(text),
        redis::Value::Okay => Value::Status("OK".to_owned()),
        redis::Value::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        other => panic!("RESP2 has no {other:?}"),
    }
}
