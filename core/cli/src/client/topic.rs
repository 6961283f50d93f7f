//! `switchboard topic`: pushes to topics, and who is a member.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;
use switchboard_core::config::{Config, duration};
use switchboard_core::id::{InvalidTopic, TopicId, UserId};
use uuid::Uuid;

use super::answer::{Members, Membership, TopicReceipt, TopicState};
use super::api::{Body, Call};
use super::log::{Records, log_of};
use super::table::Table;
use super::{
    AFTER_HELP, Asking, InLog, MARGIN, ask, ask_until, body, encoded, if_any, print_in_log, user,
};
use crate::failure::Failure;
use crate::output::say;

/// What is done with a topic.
#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Pushes a text to all members of a topic, and prints how many got it, by instance.
    #[command(after_long_help = AFTER_HELP)]
    Push(TopicPush),
    /// Makes a user a member of a topic, with connections present and to come.
    #[command(after_long_help = AFTER_HELP)]
    Join(Change),
    /// Ends that: for connections present and to come.
    #[command(after_long_help = AFTER_HELP)]
    Leave(Change),
    /// Shows how many members a topic has, by instance, and the position of its log.
    #[command(after_long_help = AFTER_HELP)]
    Show(Show),
    /// Lists the members of a topic.
    #[command(after_long_help = AFTER_HELP)]
    Members(List),
    /// Shows what was pushed to a topic durably and is kept, or removes it.
    #[command(after_long_help = AFTER_HELP)]
    Log(TopicLog),
}

/// The flags of `switchboard topic push`.
#[derive(Args, Debug)]
pub(crate) struct TopicPush {
    /// Which topic
    #[arg(value_parser = topic)]
    topic: TopicId,
    /// What; - for standard input, byte for byte
    text: String,
    /// A connection that does not get it
    #[arg(long, value_name = "UUID")]
    except: Option<Uuid>,
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

/// The flags of `switchboard topic join` and `leave`.
#[derive(Args, Debug)]
pub(crate) struct Change {
    /// Which topic
    #[arg(value_parser = topic)]
    topic: TopicId,
    /// Whose connections
    #[arg(value_parser = user)]
    user: UserId,
    /// Only this connection, and nothing for those to come; may be repeated
    #[arg(long, value_name = "UUID")]
    connection: Vec<Uuid>,
    #[command(flatten)]
    asking: Asking,
}

/// The flags of `switchboard topic show`.
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// Which topic
    #[arg(value_parser = topic)]
    topic: TopicId,
    #[command(flatten)]
    asking: Asking,
}

/// The flags of `switchboard topic members`.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Which topic
    #[arg(value_parser = topic)]
    topic: TopicId,
    /// Only those behind this connection
    #[arg(long, value_name = "UUID")]
    after: Option<Uuid>,
    /// Members that are shown, at most: 1 to 1000
    #[arg(long, value_name = "MEMBERS", default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    asking: Asking,
}

/// The flags of `switchboard topic log`.
#[derive(Args, Debug)]
pub(crate) struct TopicLog {
    /// Which topic
    #[arg(value_parser = topic)]
    topic: TopicId,
    #[command(flatten)]
    records: Records,
}

/// Calls the API as a subcommand of `switchboard topic` says, and prints what it answers.
pub(crate) fn topic_command(command: &Topic) -> Result<ExitCode, Failure> {
    match command {
        Topic::Push(push) => push_to(push),
        Topic::Join(join) => change(join, "/v1/join", "joined"),
        Topic::Leave(leave) => change(leave, "/v1/leave", "left"),
        Topic::Show(show) => state(show),
        Topic::Members(list) => members(list),
        Topic::Log(log) => log_of(&path_of(&log.topic), log.topic.as_str(), &log.records),
    }
}

fn push_to(push: &TopicPush) -> Result<ExitCode, Failure> {
    let deadline = push.deadline.as_millis();
    let mut path = format!("{}/push?deadline={deadline}ms", path_of(&push.topic));
    if let Some(except) = push.except {
        path.push_str(&format!("&except={except}"));
    }
    path.push_str(&push.in_log.parameters());
    let call = Call {
        method: Method::POST,
        path,
        id: push.id,
        body: Some(body(&push.text, push.binary)?),
        limit: push.deadline.saturating_add(MARGIN),
    };
    let until = push.in_log.until;
    ask_until(until, &push.asking, &call, |receipt: &TopicReceipt, _| {
        if receipt.instances.is_empty() {
            say(&format!("no member of {} is known", push.topic));
            print_in_log(&push.in_log, receipt.logged.as_deref(), receipt.replicated);
            return;
        }
        let TopicReceipt {
            written,
            queued,
            failed,
            ..
        } = receipt;
        let (kept, acked) = (if_any("kept", receipt.kept), if_any("acked", receipt.acked));
        say(&format!(
            "written {written}, queued {queued}{kept}{acked}, failed {failed}"
        ));
        let mut table = Table::new(["INSTANCE", "WRITTEN", "QUEUED", "FAILED", ""]);
        for one in &receipt.instances {
            table.row([
                &one.instance,
                &one.written.to_string(),
                &one.queued.to_string(),
                &one.failed.to_string(),
                unless_silent(one.answered),
            ]);
        }
        table.print();
        print_in_log(&push.in_log, receipt.logged.as_deref(), receipt.replicated);
    })
}

fn change(change: &Change, path: &str, done: &str) -> Result<ExitCode, Failure> {
    let mut membership = json!({"topic": change.topic.as_str(), "user": change.user.as_str()});
    if !change.connection.is_empty() {
        membership["connections"] = json!(change.connection);
    }
    let body = Body {
        kind: "application/json",
        content: membership.to_string().into_bytes(),
    };
    let call = Call {
        method: Method::POST,
        body: Some(body),
        limit: Config::DEADLINE_DEFAULT + MARGIN,
        ..Call::get(path.to_owned())
    };
    ask(&change.asking, &call, |answer: &Membership, _| {
        let Membership {
            written,
            queued,
            failed,
            ..
        } = answer;
        say(&format!(
            "{done} {written}, queued {queued}, failed {failed}"
        ));
        match answer.kept {
            Some(true) => say("connections to come as well"),
            Some(false) => {
                say("for connections to come it is not kept, or that is not known");
            }
            None => {}
        }
    })
}

fn state(show: &Show) -> Result<ExitCode, Failure> {
    let call = Call::get(path_of(&show.topic));
    ask(&show.asking, &call, |state: &TopicState, _| {
        say(&counted(state.count, &show.topic));
        let mut table = Table::new(["INSTANCE", "MEMBERS", ""]);
        for one in &state.instances {
            table.row([
                &one.instance,
                &one.count.to_string(),
                unless_silent(one.answered),
            ]);
        }
        if !state.instances.is_empty() {
            table.print();
        }
        say(&match &state.head {
            Some(head) => format!("log {head}"),
            None => "no log".to_owned(),
        });
    })
}

fn members(list: &List) -> Result<ExitCode, Failure> {
    let mut path = format!("{}/members?limit={}", path_of(&list.topic), list.limit);
    if let Some(after) = list.after {
        path.push_str(&format!("&after={after}"));
    }
    ask(&list.asking, &Call::get(path), |page: &Members, _| {
        say(&counted(page.count, &list.topic));
        let mut table = Table::new(["CONNECTION", "USER"]);
        for member in &page.members {
            table.row([&member.connection, &member.user]);
        }
        if !page.members.is_empty() {
            table.print();
        }
        if let Some(next) = &page.next {
            say(&format!("there may be more: --after {next}"));
        }
        for silent in page.instances.iter().filter(|one| !one.answered) {
            say(&format!("instance {} does not answer", silent.instance));
        }
    })
}

fn counted(members: u64, topic: &TopicId) -> String {
    match members {
        0 => format!("no member of {topic} is known"),
        1 => "1 member".to_owned(),
        _ => format!("{members} members"),
    }
}

const fn unless_silent(answered: bool) -> &'static str {
    if answered { "" } else { "(does not answer)" }
}

fn path_of(topic: &TopicId) -> String {
    format!("/v1/topics/{}", encoded(topic.as_str()))
}

fn topic(text: &str) -> Result<TopicId, InvalidTopic> {
    TopicId::new(text)
}
