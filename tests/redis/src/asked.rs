//! The directory's operations as commands of Redis, and its answers in core's words.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Connection};
use switchboard_core::directory::redis::{Request, Script, Value};
use switchboard_core::directory::{
    DirectorySettings, Operation, OperationResult, Reply, SeenLease,
};
use switchboard_core::time::Instant;

/// By which clock a log makes its positions, and leases expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// By the server's, as always.
    Servers,
    /// By the moment that is told with each operation, as a directory in memory does: then the two have
    /// the same positions.
    Told,
    /// So is all that asks for the time: leases expire by it as well. Keys expire by the server's clock.
    ToldAlways,
}

impl Clock {
    /// Whether a script is told the moment.
    fn tells(self, script: Script) -> bool {
        match self {
            Self::Servers => false,
            Self::Told => makes_positions(script),
            Self::ToldAlways => script.text().contains(ASKS),
        }
    }
}

/// How a script asks for the time.
const ASKS: &str = "redis.call('TIME')";

/// The digests of the directory's scripts.
#[derive(Clone, Debug)]
pub struct Scripts {
    digests: BTreeMap<Script, String>,
    clock: Clock,
}

impl Scripts {
    /// Loads them into a server.
    ///
    /// # Panics
    ///
    /// If the server refuses one.
    pub fn load(connection: &mut Connection, clock: Clock) -> Self {
        let loading = Self::loading(clock).zip(Script::ALL);
        let digests = loading.map(|(load, script)| {
            let digest = load.query(connection);
            (script, digest.expect("every script compiles"))
        });
        Self {
            digests: digests.collect(),
            clock,
        }
    }

    /// The commands that load them.
    pub fn loading(clock: Clock) -> impl Iterator<Item = Cmd> {
        Script::ALL.into_iter().map(move |script| {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(text(script, clock));
            command
        })
    }

    /// The command for an operation at a moment, which counts if scripts are told it.
    pub fn command(
        &self,
        settings: &DirectorySettings,
        operation: &Operation,
        now: Instant,
    ) -> Cmd {
        match operation.request(settings) {
            Request::Eval { script, keys, args } => {
                let mut command = redis::cmd("EVALSHA");
                command.arg(&self.digests[&script]).arg(keys.len());
                command.arg(keys).arg(args);
                if self.clock.tells(script) {
                    let micros = now.as_nanos() / 1_000;
                    command.arg(micros / 1_000_000).arg(micros % 1_000_000);
                }
                command
            }
            Request::Command { name, args } => {
                let mut command = redis::cmd(name);
                command.arg(args);
                command
            }
        }
    }
}

const fn makes_positions(script: Script) -> bool {
    match script {
        Script::Append | Script::ReadLog | Script::Confirm | Script::DeleteLog => true,
        Script::Register
        | Script::Unregister
        | Script::RemoveRow
        | Script::EnterTopic
        | Script::KeepTopic
        | Script::View
        | Script::Claim
        | Script::Renew
        | Script::Release => false,
    }
}

/// A script as it is, or told the time by its last two arguments in place of the server's clock.
fn text(script: Script, clock: Clock) -> String {
    let text = script.text();
    if !clock.tells(script) {
        return text.to_owned();
    }
    assert_eq!(text.matches(ASKS).count(), 1, "{text}");
    text.replace(ASKS, "{ARGV[#ARGV - 1], ARGV[#ARGV]}")
}

/// An answer in core's words.
///
/// # Panics
///
/// If it is none that a server gives over the protocol's second version.
pub fn value(answer: redis::Value) -> Value {
    match answer {
        redis::Value::Nil => Value::Nil,
        redis::Value::Int(number) => Value::Int(number),
        redis::Value::BulkString(bytes) => Value::Bulk(Bytes::from(bytes)),
        redis::Value::SimpleString(text) => Value::Status(text),
        redis::Value::Okay => Value::Status("OK".to_owned()),
        redis::Value::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        redis::Value::ServerError(error) => Value::Error(match error.details() {
            Some(details) => format!("{} {details}", error.code()),
            None => error.code().to_owned(),
        }),
        other => panic!("RESP2 has no {other:?}"),
    }
}

/// Lets time pass for a directory, by moving every deadline closer by so many milliseconds; a
/// negative number moves them away, as a clock does that jumps back.
///
/// # Panics
///
/// If the server refuses, or holds what no directory writes.
pub fn age(connection: &mut Connection, settings: &DirectorySettings, millis: i64) {
    let instances = key_of(settings, &Operation::View);
    let leases: BTreeMap<String, String> = ask(connection, &["HGETALL", &instances]);
    for (instance, entry) in leases {
        let (deadline, rest) = entry.split_once(' ').expect("a deadline");
        let deadline = deadline.parse::<i64>().expect("a decimal number") - millis;
        let entry = format!("{deadline} {rest}");
        ask::<()>(connection, &["HSET", &instances, &instance, &entry]);
    }
    // The kind of each is before the first colon; the leases have none.
    let of_names = format!("{}{{p*}}*:*", settings.prefix);
    let keys: Vec<String> = ask(connection, &["KEYS", &of_names]);
    for key in keys {
        let remaining = ask::<i64>(connection, &["PTTL", &key]);
        assert!(remaining > 0, "{key} does not expire");
        // A time that is not positive deletes the key.
        let remaining = (remaining - millis).to_string();
        ask::<()>(connection, &["PEXPIRE", &key, &remaining]);
    }
}

/// The first key that an operation touches.
///
/// # Panics
///
/// If it is not UTF-8.
pub fn key_of(settings: &DirectorySettings, operation: &Operation) -> String {
    let key = match operation.request(settings) {
        Request::Eval { keys, .. } => keys.into_iter().next(),
        Request::Command { args, .. } => args.into_iter().next(),
    };
    String::from_utf8(key.expect("each touches some")).expect("users are UTF-8")
}

fn ask<T: redis::FromRedisValue>(connection: &mut Connection, command: &[&str]) -> T {
    redis::cmd(command[0])
        .arg(&command[1..])
        .query(connection)
        .expect("the command succeeds")
}

/// How far the remaining time of a lease may differ: the real time that a test may take.
const TOLERANCE: Duration = Duration::from_secs(90);

/// Whether two directories gave the same outcome, but for the time that a test takes.
pub fn same(one: &OperationResult, other: &OperationResult) -> bool {
    match (one, other) {
        (
            Ok(Reply::Leases { leases, malformed }),
            Ok(Reply::Leases {
                leases: others,
                malformed: other_malformed,
            }),
        ) => {
            malformed == other_malformed
                && leases.len() == others.len()
                && (leases.iter().zip(others)).all(|(lease, other)| same_lease(lease, other))
        }
        (one, other) => one == other,
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
