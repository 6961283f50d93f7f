//! The real side: servers, and what is done to them.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::directory::{DirectorySettings, Operation, OperationError, OperationResult};
use switchboard_core::key::Key;
use switchboard_core::time::Instant;
use switchboard_sim::schedule::ErrorReply;
use switchboard_test_redis::{Clock, RedisServer, Scripts, Wire, age, key_of, value};

use crate::step::{LEASE, REPEAT_MEMORY, ROW_EXPIRY, UNUSED_LOG, USED_LOG};

/// A primary, and the former one if that still answers.
pub(crate) struct Real {
    primary: RedisServer,
    former: Option<RedisServer>,
    control: redis::Connection,
    scripts: Scripts,
    /// A connection whose script does not end.
    busy: Option<Wire>,
    /// Milliseconds that have passed, and how many had when the snapshot was written.
    passed: i64,
    saved: Option<i64>,
}

/// A script becomes a nuisance after a millisecond. A replica syncs at once, and leaves no snapshot
/// behind.
const ARGUMENTS: [&str; 8] = [
    "--busy-reply-threshold",
    "1",
    "--repl-diskless-sync",
    "no",
    "--rdb-del-sync-files",
    "yes",
    "--hz",
    "500",
];

/// Nobody listens there.
const NOWHERE: [&str; 3] = ["REPLICAOF", "127.0.0.1", "1"];
const NO_REPLICA: [&str; 3] = ["REPLICAOF", "NO", "ONE"];

impl Real {
    pub(crate) fn start() -> Self {
        let primary = RedisServer::start_with(&ARGUMENTS);
        let mut control = primary.connection();
        Self {
            primary,
            former: None,
            scripts: Scripts::load(&mut control, Clock::Told),
            control,
            busy: None,
            passed: 0,
            saved: None,
        }
    }

    /// An empty server that knows no script.
    pub(crate) fn wipe(&mut self) {
        self.primary.forget_snapshot();
        self.saved = None;
        self.tell(&["FLUSHALL"]);
        self.tell(&["SCRIPT", "FLUSH"]);
    }

    /// Opens a connection as a directory link does: it wants a primary, and loads the scripts.
    pub(crate) fn connect(&mut self) -> Option<Wire> {
        let mut wire = Wire::open(self.primary.port()).expect("the server listens");
        let role = wire.ask(&redis::cmd("ROLE")).expect("an answer");
        let redis::Value::Array(role) = role else {
            return None;
        };
        if role.first() != Some(&redis::Value::BulkString(b"master".to_vec())) {
            return None;
        }
        for load in Scripts::loading(Clock::Told) {
            match wire.ask(&load).expect("an answer") {
                redis::Value::BulkString(_) => {}
                redis::Value::ServerError(_) => return None,
                other => panic!("SCRIPT LOAD is answered {other:?}"),
            }
        }
        Some(wire)
    }

    /// The bytes of a pipeline, each operation with what the servers' clock says.
    pub(crate) fn packed<'a>(
        &self,
        operations: impl IntoIterator<Item = (Instant, &'a Operation)>,
    ) -> Vec<u8> {
        let packed = |(clock, operation)| {
            let command = self.scripts.command(&settings(), operation, clock);
            command.get_packed_command()
        };
        operations.into_iter().flat_map(packed).collect()
    }

    /// The server closes a client's connection.
    pub(crate) fn kill(&mut self, client: i64) {
        self.tell(&["CLIENT", "KILL", "ID", &client.to_string()]);
    }

    pub(crate) fn save(&mut self) {
        self.primary.finish_background_save();
        self.tell(&["SAVE"]);
        self.saved = Some(self.passed);
    }

    pub(crate) fn restart_empty(&mut self) {
        self.primary.forget_snapshot();
        self.saved = None;
        self.restart();
    }

    pub(crate) fn restart(&mut self) {
        self.primary.start_again();
        self.control = self.primary.connection();
        if let Some(saved) = self.saved {
            age(&mut self.control, &settings(), self.passed - saved);
        }
    }

    pub(crate) fn flush_scripts(&mut self) {
        self.tell(&["SCRIPT", "FLUSH"]);
    }

    pub(crate) fn evict_rows(&mut self, key: &Key) {
        let key = key.clone();
        self.tell(&["DEL", &key_of(&settings(), &Operation::Lookup { key })]);
    }

    pub(crate) fn evict_leases(&mut self) {
        self.tell(&["DEL", &key_of(&settings(), &Operation::View)]);
    }

    /// Lets time pass, or lets the clock jump: both bring deadlines closer, a jump back moves them
    /// away.
    pub(crate) fn pass(&mut self, ahead: Duration, back: Duration) {
        let millis = |span: Duration| i64::try_from(span.as_millis()).expect("no ages");
        let span = millis(ahead) - millis(back);
        self.passed += span;
        age(&mut self.control, &settings(), span);
    }

    /// Brings the server to answer an error.
    pub(crate) fn refuse(&mut self, error: ErrorReply) {
        match error {
            ErrorReply::ReadOnly => self.tell(&NOWHERE),
            ErrorReply::NoReplicas => self.tell(&["CONFIG", "SET", "min-replicas-to-write", "1"]),
            ErrorReply::OutOfMemory => self.tell(&["CONFIG", "SET", "maxmemory", "1"]),
            ErrorReply::Misconfigured => self.primary.fail_to_save(),
            ErrorReply::MasterDown => {
                self.tell(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
                self.tell(&NOWHERE);
            }
            ErrorReply::Busy => {
                let mut wire = Wire::open(self.primary.port()).expect("the server listens");
                let mut script = redis::cmd("EVAL");
                script.arg("while true do end").arg(0);
                wire.send(&script.get_packed_command()).expect("it is sent");
                self.busy = Some(wire);
                while redis::cmd("PING").query::<()>(&mut self.control).is_ok() {}
            }
            ErrorReply::NoScript => self.flush_scripts(),
            ErrorReply::Loading | ErrorReply::ClusterDown | ErrorReply::Moved | ErrorReply::Ask => {
                panic!("this takes another server")
            }
        }
    }

    /// Lets it serve again.
    pub(crate) fn serve(&mut self, error: ErrorReply) {
        match error {
            ErrorReply::ReadOnly => self.tell(&NO_REPLICA),
            ErrorReply::NoReplicas => self.tell(&["CONFIG", "SET", "min-replicas-to-write", "0"]),
            ErrorReply::OutOfMemory => self.tell(&["CONFIG", "SET", "maxmemory", "0"]),
            ErrorReply::Misconfigured => self.primary.save_again(),
            ErrorReply::MasterDown => {
                self.tell(&NO_REPLICA);
                self.tell(&["CONFIG", "SET", "replica-serve-stale-data", "yes"]);
            }
            ErrorReply::Busy => {
                self.tell(&["SCRIPT", "KILL"]);
                let mut wire = self.busy.take().expect("it runs");
                wire.answer().expect("the script has ended");
            }
            ErrorReply::NoScript
            | ErrorReply::Loading
            | ErrorReply::ClusterDown
            | ErrorReply::Moved
            | ErrorReply::Ask => {}
        }
    }

    /// A replica that had everything, and is cut off from here on.
    pub(crate) fn replica(&self) -> RedisServer {
        let replica = RedisServer::start_with(&ARGUMENTS);
        replica.follow(&self.primary);
        replica.command::<()>(&NOWHERE);
        replica
    }

    /// The replica takes over. The former primary answers until it is ended.
    pub(crate) fn fail_over(&mut self, replica: RedisServer) {
        replica.command::<()>(&NO_REPLICA);
        self.control = replica.connection();
        self.former = Some(std::mem::replace(&mut self.primary, replica));
        self.saved = None;
    }

    /// The former primary becomes a replica of the present one.
    pub(crate) fn demote_former(&self) {
        let former = self.former.as_ref().expect("it answers");
        former.follow(&self.primary);
        // What it was sent through the disk is removed within a second, and is no snapshot.
        self.primary.forget_snapshot();
    }

    pub(crate) fn end_former(&mut self) {
        self.former = None;
    }

    /// The keys of the directory, in their order.
    pub(crate) fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = redis::cmd("KEYS")
            .arg("sb:*")
            .query(&mut self.control)
            .expect("the keys");
        keys.sort();
        keys
    }

    fn tell(&mut self, command: &[&str]) {
        let told = redis::cmd(command[0])
            .arg(&command[1..])
            .query::<()>(&mut self.control);
        told.unwrap_or_else(|error| panic!("{}: {error}", command.join(" ")));
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

/// What a server's answer means, without the place in a script at which an error occurred.
pub(crate) fn outcome(operation: &Operation, answer: redis::Value) -> OperationResult {
    operation
        .decode(value(answer))
        .map_err(|error| match error {
            OperationError::NotPrimary(text) => OperationError::NotPrimary(without_place(&text)),
            OperationError::Refused(text) => OperationError::Refused(without_place(&text)),
            OperationError::Malformed(text) => OperationError::Malformed(text),
        })
}

/// Takes off ` script: <its digest>, on @user_script:<line>.`
fn without_place(text: &str) -> String {
    let is_place = |place: &str| {
        place
            .split_once(", on @user_script:")
            .is_some_and(|(digest, line)| {
                digest.len() == 40 && line.trim_end_matches('.').parse::<u32>().is_ok()
            })
    };
    match text.split_once(" script: ") {
        Some((said, place)) if is_place(place) => said.to_owned(),
        Some(_) | None => text.to_owned(),
    }
}
