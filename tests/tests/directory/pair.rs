//! A directory on a real Redis and one in memory, which are told the same.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::directory::redis::Value;
use switchboard_core::directory::{DirectorySettings, Operation, OperationResult, Reply};
use switchboard_core::time::Instant;
use switchboard_tests::redis::any::Told;
use switchboard_tests::redis::{Clock, RedisServer, Scripts, age, same, value};

/// Far longer than a test runs, and no multiple of [`TICK`]: no deadline falls on a moment at which
/// a test looks, so that the real time that passes decides nothing.
pub(crate) const LEASE: Duration = Duration::from_secs(1_000);

/// As [`LEASE`]: no multiple of [`TICK`].
pub(crate) const ROW_EXPIRY: Duration = Duration::from_secs(7_000);

/// As [`LEASE`]: no multiple of [`TICK`].
pub(crate) const REPEAT_MEMORY: Duration = Duration::from_secs(1_000);

/// As [`LEASE`]: no multiple of [`TICK`], nor is its half.
pub(crate) const USED_LOG: Duration = Duration::from_secs(10_000);

/// As [`USED_LOG`].
pub(crate) const UNUSED_LOG: Duration = Duration::from_secs(4_000);

/// What the time that passes in a test is a multiple of.
pub(crate) const TICK: Duration = Duration::from_secs(300);

pub(crate) struct Pair {
    pub(crate) redis: RedisDirectory,
    memory: MemoryDirectory,
    told: Told,
    now: Instant,
}

impl Pair {
    pub(crate) fn start() -> Self {
        Self {
            redis: RedisDirectory::start(),
            memory: MemoryDirectory::new(settings()),
            told: Told::default(),
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
    pub(crate) fn execute(&mut self, operation: &Operation) -> OperationResult {
        let in_memory = self.memory.execute(self.now, operation);
        let on_redis = self.redis.execute_at(self.now, operation);
        self.told.learn(&in_memory);
        assert!(
            same(&in_memory, &on_redis),
            "{operation:?}\n in memory: {in_memory:?}\n  on redis: {on_redis:?}"
        );
        in_memory
    }

    /// As [`Self::execute`], with positions that were told in place of wishes.
    #[track_caller]
    pub(crate) fn execute_any(&mut self, operation: &Operation) {
        let operation = self.told.resolve(operation);
        let _ = self.execute(&operation);
    }

    /// As [`Self::execute`], where the operation must have a reply.
    #[track_caller]
    pub(crate) fn reply(&mut self, operation: &Operation) -> Reply {
        self.execute(operation).expect("a reply")
    }

    /// Sets the clock by which logs make positions. Nothing expires by it.
    pub(crate) fn turn_to(&mut self, now: Instant) {
        self.now = now;
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
    scripts: Scripts,
}

impl RedisDirectory {
    pub(crate) fn start() -> Self {
        Self::by(Clock::Told)
    }

    /// One whose logs make positions by this clock.
    pub(crate) fn by(clock: Clock) -> Self {
        let server = RedisServer::start();
        let mut connection = server.connection();
        Self {
            server,
            scripts: Scripts::load(&mut connection, clock),
            connection,
        }
    }

    pub(crate) fn execute(&mut self, operation: &Operation) -> OperationResult {
        self.execute_at(Instant::START, operation)
    }

    /// At a moment by which logs make positions.
    pub(crate) fn execute_at(&mut self, now: Instant, operation: &Operation) -> OperationResult {
        let command = self.scripts.command(&settings(), operation, now);
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
        let millis = i64::try_from(span.as_millis()).expect("a test passes no ages");
        age(&mut self.connection, &settings(), millis);
    }
}

pub(crate) fn settings() -> DirectorySettings {
    DirectorySettings {
        lease: LEASE,
        row_expiry: ROW_EXPIRY,
        repeat_memory: REPEAT_MEMORY,
        used_log: USED_LOG,
        unused_log: UNUSED_LOG,
        unused_topic_log: UNUSED_LOG,
        ..Config::default().directory()
    }
}
