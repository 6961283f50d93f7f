//! Between core's data and redis-rs: requests one way, answers the other.

use bytes::Bytes;
use redis::{Cmd, Pipeline};
use switchboard_core::directory::redis::{Request, Script, Value};

/// A request as a command.
pub(super) fn command(request: &Request) -> Cmd {
    match request {
        Request::Eval { script, keys, args } => {
            let count = keys.len().to_string();
            let before = ["EVALSHA", hash(*script), &count].map(str::as_bytes);
            let args = keys.iter().chain(args).map(Vec::as_slice);
            of(before.into_iter().chain(args))
        }
        Request::Command { name, args } => {
            let args = args.iter().map(Vec::as_slice);
            of([name.as_bytes()].into_iter().chain(args))
        }
    }
}

/// A command of these words, in a buffer that is made once.
fn of<'a>(words: impl Iterator<Item = &'a [u8]> + Clone) -> Cmd {
    let bytes = words.clone().map(<[u8]>::len).sum();
    let mut command = Cmd::with_capacity(words.clone().count(), bytes);
    for word in words {
        command.arg(word);
    }
    command
}

/// Commands that load all scripts.
pub(super) fn load_scripts() -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for script in Script::ALL {
        pipeline.cmd("SCRIPT").arg("LOAD").arg(script.text());
    }
    pipeline
}

/// An answer in core's words.
pub(super) fn value(answer: redis::Value) -> Value {
    match answer {
        redis::Value::Nil => Value::Nil,
        redis::Value::Int(number) => Value::Int(number),
        redis::Value::BulkString(bytes) => Value::Bulk(Bytes::from(bytes)),
        redis::Value::Array(items) | redis::Value::Set(items) => {
            Value::Array(items.into_iter().map(value).collect())
        }
        redis::Value::Map(pairs) => Value::Array(
            pairs
                .into_iter()
                .flat_map(|(key, item)| [value(key), value(item)])
                .collect(),
        ),
        redis::Value::SimpleString(text) => Value::Status(text),
        redis::Value::Okay => Value::Status("OK".to_owned()),
        redis::Value::Boolean(flag) => Value::Int(i64::from(flag)),
        redis::Value::ServerError(error) => Value::Error(match error.details() {
            Some(details) => format!("{} {details}", error.code()),
            None => error.code().to_owned(),
        }),
        // Nothing that core asks for is answered with any of these.
        other => Value::Status(format!("{other:?}")),
    }
}

/// Whether a script was not executed because the server does not know it.
pub(super) fn is_unknown_script(answer: &redis::Value) -> bool {
    matches!(answer, redis::Value::ServerError(error) if error.code() == "NOSCRIPT")
}

fn hash(script: Script) -> &'static str {
    use std::sync::OnceLock;
    static HASHES: OnceLock<Vec<String>> = OnceLock::new();
    let hashes = HASHES.get_or_init(|| {
        let hash = |script: Script| redis::Script::new(script.text()).get_hash().to_owned();
        Script::ALL.into_iter().map(hash).collect()
    });
    &hashes[script as usize]
}
