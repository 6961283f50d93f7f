//! Commands that ask a running server: each is one call of its HTTP API.

mod answer;
mod api;
mod log;
mod table;
mod topic;

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use switchboard_core::config::{Config, duration};
use switchboard_core::id::{InvalidUser, UserId};
use uuid::Uuid;

use answer::{Answer, Connections, Instances, Receipt, Stand};
use api::{Api, ApiUrl, Body, Call};
use table::Table;

pub(super) use log::{ReadLog, log};
pub(super) use topic::{Topic, topic_command};

use crate::failure::Failure;
use crate::output::say;

/// What commands that ask a server end with, for their help.
pub(super) const AFTER_HELP: &str = "\
Exit status: 0 done; 1 the server could not be asked, or refused; 2 wrong usage; 3 done, and not all
is well: something failed, the answer is degraded, or no replica has the record, or nobody has confirmed
it, where that was asked for.";

/// Done, and not all is well.
const IN_DOUBT: u8 = 3;

/// Bytes of a push, at most: what `--push-bytes` can allow.
const PUSH_BYTES: u64 = 16 << 20;

/// What a server may need for an answer beyond the deadline that it was given.
const MARGIN: Duration = Duration::from_secs(5);

/// Which server is asked, and how its answer is printed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Server")]
pub(super) struct Asking {
    /// Where its API is: HOST:PORT, or a URL with http:// or https://
    #[arg(
        long,
        value_name = "URL",
        env = "SWITCHBOARD_API",
        hide_env_values = true,
        default_value = "127.0.0.1:8081"
    )]
    api: ApiUrl,
    /// File with a key of the API, as the server's --api-key-file: the first one in it is sent
    #[arg(
        long,
        value_name = "FILE",
        env = "SWITCHBOARD_API_KEY_FILE",
        hide_env_values = true
    )]
    key_file: Option<PathBuf>,
    /// Print the answer as it came, in JSON
    #[arg(long)]
    json: bool,
}

/// The flags of `switchboard push`.
#[derive(Args, Debug)]
pub(super) struct Push {
    /// Whom to push to
    #[arg(value_parser = user)]
    user: UserId,
    /// What; - for standard input, byte for byte
    text: String,
    /// Only to this connection of the user; may be repeated
    #[arg(long, value_name = "UUID", conflicts_with = "durable")]
    connection: Vec<Uuid>,
    /// When the receipt is due, 10ms to 30s
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "3s")]
    deadline: Duration,
    /// Make it a binary frame
    #[arg(long)]
    binary: bool,
    #[command(flatten)]
    in_log: InLog,
    /// The push's id: a repeat with it writes nothing twice, and prints the first outcome
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    #[command(flatten)]
    asking: Asking,
}

/// The flags of a push that have to do with a log.
#[derive(Args, Debug)]
struct InLog {
    /// Make it a record of the log, for terminals that are away as well
    #[arg(long)]
    durable: bool,
    /// What the receipt of a durable push waits for, until the deadline
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value_t,
        requires = "durable"
    )]
    until: Until,
    /// Who has to have the record of a durable push: Redis's primary, or a replica as well
    #[arg(
        long,
        value_enum,
        value_name = "WHO",
        default_value_t,
        requires = "durable"
    )]
    durability: Durability,
    /// What the log keeps from a durable push on: a time (1h), a number of records (50), or both (1h,50)
    #[arg(long, value_name = "WHAT", requires = "durable")]
    retain: Option<String>,
    /// Whether a durable push needs the log: without Redis it is refused, or goes out as a plain one
    #[arg(
        long = "log",
        id = "log",
        value_enum,
        value_name = "WHETHER",
        default_value_t,
        requires = "durable"
    )]
    without_log: WithoutLog,
}

impl InLog {
    /// As the API is asked for it, behind other parameters.
    fn parameters(&self) -> String {
        if !self.durable {
            return String::new();
        }
        let retain = (self.retain.as_ref()).map(|what| format!("&retain={}", encoded(what)));
        [
            "&durable=true",
            self.until.parameter(),
            self.durability.parameter(),
            self.without_log.parameter(),
            &retain.unwrap_or_default(),
        ]
        .concat()
    }
}

/// What the receipt of a durable push waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Until {
    /// Its frames are written
    #[default]
    Written,
    /// Each terminal that follows its log has confirmed it
    Acked,
}

impl Until {
    /// As the API is asked for it.
    const fn parameter(self) -> &'static str {
        match self {
            Self::Written => "",
            Self::Acked => "&until=acked",
        }
    }
}

/// Who has to have the record of a durable push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Durability {
    /// Redis's primary
    #[default]
    Primary,
    /// One of its replicas as well
    Replica,
}

impl Durability {
    /// As the API is asked for it.
    const fn parameter(self) -> &'static str {
        match self {
            Self::Primary => "",
            Self::Replica => "&durability=replica",
        }
    }
}

/// Whether a durable push needs the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum WithoutLog {
    /// It is refused while there is no link to Redis
    #[default]
    Required,
    /// It goes out as a plain push then
    Optional,
}

impl WithoutLog {
    /// As the API is asked for it.
    const fn parameter(self) -> &'static str {
        match self {
            Self::Required => "",
            Self::Optional => "&log=optional",
        }
    }
}

/// The flags of `switchboard where`.
#[derive(Args, Debug)]
pub(super) struct Where {
    /// Whose connections
    #[arg(value_parser = user)]
    user: UserId,
    #[command(flatten)]
    asking: Asking,
}

/// The flags of `switchboard kick`.
#[derive(Args, Debug)]
pub(super) struct Kick {
    /// Whose connections
    #[arg(value_parser = user)]
    user: UserId,
    /// This one alone
    connection: Option<Uuid>,
    #[command(flatten)]
    asking: Asking,
}

/// The flags of `switchboard instances`.
#[derive(Args, Debug)]
pub(super) struct ListInstances {
    #[command(flatten)]
    asking: Asking,
}

/// Pushes to a user.
pub(super) fn push(push: &Push) -> Result<ExitCode, Failure> {
    let mut path = format!(
        "{}/push?deadline={}ms",
        path_of(&push.user),
        push.deadline.as_millis()
    );
    for connection in &push.connection {
        path.push_str(&format!("&connection={connection}"));
    }
    path.push_str(&push.in_log.parameters());
    let call = Call {
        method: Method::POST,
        path,
        id: push.id,
        body: Some(body(&push.text, push.binary)?),
        limit: push.deadline.saturating_add(MARGIN),
    };
    // A repeat prints the first outcome, which may be old.
    let is_of_now = push.id.is_none() && push.connection.is_empty();
    let until = push.in_log.until;
    ask_until(until, &push.asking, &call, |receipt: &Receipt, _| {
        let nobody = match is_of_now && !receipt.degraded {
            true => format!("{} is offline: nothing was written", push.user),
            false => "nobody was reached: nothing was written".to_owned(),
        };
        print_receipt(receipt, &nobody);
        print_in_log(&push.in_log, receipt.logged.as_deref(), receipt.replicated);
    })
}

/// Shows where a user is connected.
pub(super) fn locate(locate: &Where) -> Result<ExitCode, Failure> {
    let call = Call::get(format!("{}/connections?log=true", path_of(&locate.user)));
    ask(&locate.asking, &call, |found: &Connections, api| {
        if found.connections.is_empty() {
            match found.degraded {
                false => say(&format!("{} is offline", locate.user)),
                true => say(&format!("no connection of {} is known", locate.user)),
            }
            return;
        }
        // For people, an address says more than an instance's id. The answer is true without it.
        let asked = api.call(&Call::get("/v1/instances".to_owned()));
        let instances: Instances = asked.and_then(|answer| answer.read()).unwrap_or_default();
        let mut table = Table::new([
            "CONNECTION",
            "INSTANCE",
            "ADDRESS",
            "CONNECTED",
            "LOG",
            "SENT",
            "ACKED",
        ]);
        for connection in &found.connections {
            let stand = connection.log.as_ref();
            let count = |of: fn(&Stand) -> u64| {
                stand.map_or_else(|| "-".to_owned(), |stand| of(stand).to_string())
            };
            table.row([
                &connection.connection,
                &connection.instance,
                instances.address(&connection.instance),
                connection.connected.as_deref().unwrap_or("-"),
                stand.and_then(|stand| stand.at.as_deref()).unwrap_or("-"),
                &count(|stand| stand.sent),
                &count(|stand| stand.acked),
            ]);
        }
        table.print();
    })
}

/// Ends connections of a user.
pub(super) fn kick(kick: &Kick) -> Result<ExitCode, Failure> {
    let mut path = format!("{}/connections", path_of(&kick.user));
    if let Some(connection) = kick.connection {
        path.push_str(&format!("/{connection}"));
    }
    let call = Call {
        method: Method::DELETE,
        limit: Config::DEADLINE_DEFAULT + MARGIN,
        ..Call::get(path)
    };
    ask(&kick.asking, &call, |receipt: &Receipt, _| {
        let user = &kick.user;
        let nobody = match (receipt.degraded, kick.connection) {
            (true, _) => "nobody was reached: nothing was ended".to_owned(),
            (false, None) => format!("{user} is offline: there is nothing to end"),
            (false, Some(_)) => format!("{user} has no such connection"),
        };
        print_receipt(receipt, &nobody);
    })
}

/// Lists the cluster's instances.
pub(super) fn instances(list: &ListInstances) -> Result<ExitCode, Failure> {
    let call = Call::get("/v1/instances".to_owned());
    ask(&list.asking, &call, |answer: &Instances, _| {
        let mut table = Table::new(["INSTANCE", "ADDRESS", "STATE", "CONNECTIONS", "PUSHES", ""]);
        for instance in &answer.instances {
            table.row([
                &instance.instance,
                &instance.address,
                &instance.state,
                &instance.connections.to_string(),
                &instance.pushes.to_string(),
                if instance.this { "(answers)" } else { "" },
            ]);
        }
        table.print();
    })
}

/// Asks the server, and prints the answer: as it came, or in `print`'s words.
fn ask<T: Answer>(
    asking: &Asking,
    call: &Call,
    print: impl FnOnce(&T, &Api),
) -> Result<ExitCode, Failure> {
    ask_until(Until::Written, asking, call, print)
}

/// As [`ask`], where an answer that was to wait for more is in doubt without it.
fn ask_until<T: Answer>(
    until: Until,
    asking: &Asking,
    call: &Call,
    print: impl FnOnce(&T, &Api),
) -> Result<ExitCode, Failure> {
    let api = Api::new(&asking.api, asking.key_file.as_deref())?;
    let reply = api.call(call)?;
    let answer: T = reply.read()?;
    if asking.json {
        say(reply.text().trim_end());
    } else {
        print(&answer, &api);
        if answer.is_degraded() {
            eprintln!("switchboard: degraded: there may be terminals that the server did not see");
        }
    }
    let lacks = match until {
        Until::Written => false,
        Until::Acked => !answer.is_confirmed(),
    };
    Ok(match answer.is_degraded() || answer.has_failed() || lacks {
        true => ExitCode::from(IN_DOUBT),
        false => ExitCode::SUCCESS,
    })
}

/// Prints a receipt, or that it is about `nobody`.
fn print_receipt(receipt: &Receipt, nobody: &str) {
    let Receipt {
        written,
        queued,
        kept,
        acked,
        failed,
        ..
    } = receipt;
    if written + queued + kept + acked + failed == 0 {
        say(nobody);
        return;
    }
    let (kept, acked) = (if_any("kept", *kept), if_any("acked", *acked));
    say(&format!(
        "written {written}, queued {queued}{kept}{acked}, failed {failed}"
    ));
    let mut table = Table::new(["CONNECTION", "OUTCOME"]);
    for terminal in &receipt.terminals {
        table.row([&terminal.connection, &terminal.outcome]);
    }
    table.print();
    if receipt.truncated {
        say("and others, which the receipt does not list");
    }
}

/// A count behind others, which has nothing to say if there is none.
fn if_any(name: &str, count: u64) -> String {
    match count {
        0 => String::new(),
        count => format!(", {name} {count}"),
    }
}

/// Prints what the receipt of a push says about its record, if it was to be one.
fn print_in_log(asked: &InLog, logged: Option<&str>, replicated: Option<bool>) {
    match logged {
        Some(logged) => say(&in_log(logged)),
        None if asked.durable => {
            say("not in the log: it is a plain push, as there was no link to Redis")
        }
        None => {}
    }
    match replicated {
        Some(true) => say("a replica of Redis has it"),
        Some(false) => say("no replica of Redis is known to have it"),
        None => {}
    }
}

/// What is said of a record.
fn in_log(logged: &str) -> String {
    match logged {
        "unknown" => "perhaps in the log: Redis did not answer in time".to_owned(),
        "refused" => "not in the log: Redis refused it".to_owned(),
        "expired" => "not in the log any more".to_owned(),
        position => format!("in the log: {position}"),
    }
}

/// What is pushed: this text, or what comes on standard input.
fn body(text: &str, binary: bool) -> Result<Body, Failure> {
    let content = match text {
        "-" => standard_input()?,
        text => text.as_bytes().to_vec(),
    };
    let kind = match binary {
        true => "application/octet-stream",
        false => "text/plain; charset=utf-8",
    };
    Ok(Body { kind, content })
}

/// The path of all that is a user's.
fn path_of(user: &UserId) -> String {
    format!("/v1/users/{}", encoded(user.as_str()))
}

/// A name as a part of a path. Everything but letters and digits is encoded: nothing on the way can take a
/// part of the name for one of the path.
fn encoded(name: &str) -> PercentEncode<'_> {
    utf8_percent_encode(name, NON_ALPHANUMERIC)
}

fn user(text: &str) -> Result<UserId, InvalidUser> {
    UserId::new(text)
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let read = io::stdin().take(PUSH_BYTES + 1).read_to_end(&mut content);
    match read {
        Ok(_) if content.len() as u64 <= PUSH_BYTES => Ok(content),
        Ok(_) => Err(Failure::Asked(format!(
            "standard input has more than {PUSH_BYTES} bytes, and no server takes such a push"
        ))),
        Err(error) => Err(Failure::Asked(format!(
            "cannot read standard input: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::in_log;

    #[test]
    fn only_a_record_is_said_to_be_in_the_log() {
        let position = "0056a2b4c8d9e07f3a9c01";
        assert_eq!(in_log(position), format!("in the log: {position}"));
        for none in ["unknown", "refused", "expired"] {
            let said = in_log(none);
            assert!(!said.starts_with("in the log"), "{said}");
        }
    }
}
