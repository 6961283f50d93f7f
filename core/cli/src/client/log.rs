//! `switchboard log` and `switchboard topic log`: what a log keeps.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use switchboard_core::id::UserId;
use switchboard_core::position::Position;

use super::answer::{Deleted, LogPage, Record};
use super::api::Call;
use super::table::Table;
use super::{Asking, ask, path_of, user};
use crate::failure::Failure;
use crate::output::say;

/// Characters of a payload that are shown: `--json` has all of it.
const SHOWN: usize = 80;

/// The flags of `switchboard log`.
#[derive(Args, Debug)]
pub(crate) struct ReadLog {
    /// Whose log
    #[arg(value_parser = user)]
    user: UserId,
    #[command(flatten)]
    records: Records,
}

/// Which records of a log are shown, or that all are removed.
#[derive(Args, Debug)]
pub(super) struct Records {
    /// Only what came after this position
    #[arg(long, value_name = "POSITION", conflicts_with = "history")]
    after: Option<Position>,
    /// Only so many of the last records
    #[arg(long, value_name = "RECORDS")]
    history: Option<u32>,
    /// Records that are shown, at most: 1 to 1000
    #[arg(long, value_name = "RECORDS", default_value_t = 100)]
    limit: u32,
    /// Remove all records
    #[arg(long, conflicts_with_all = ["after", "history", "limit"])]
    delete: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Shows records of a user's log, or removes all.
pub(crate) fn log(log: &ReadLog) -> Result<ExitCode, Failure> {
    log_of(&path_of(&log.user), log.user.as_str(), &log.records)
}

/// Shows records of the log of what is at this path, or removes all.
pub(super) fn log_of(path: &str, name: &str, log: &Records) -> Result<ExitCode, Failure> {
    let path = format!("{path}/log");
    if log.delete {
        let call = Call {
            method: Method::DELETE,
            ..Call::get(path)
        };
        return ask(&log.asking, &call, |deleted: &Deleted, _| {
            say(&format!("removed {} records", deleted.records));
        });
    }
    let mut path = format!("{path}?limit={}", log.limit);
    if let Some(after) = log.after {
        path.push_str(&format!("&after={after}"));
    }
    if let Some(history) = log.history {
        path.push_str(&format!("&history={history}"));
    }
    ask(&log.asking, &Call::get(path), |page: &LogPage, _| {
        print(page, name)
    })
}

fn print(page: &LogPage, name: &str) {
    if page.after.is_none() {
        say("the log does not know this position: records behind it may be missing");
        say(&format!("what is kept is behind {}", page.base));
        return;
    }
    let Some(last) = page.records.last() else {
        say(&format!(
            "{name} has no records there: the log ends at {}",
            page.head
        ));
        return;
    };
    let mut table = Table::new(["POSITION", "PUSH", "PAYLOAD"]);
    for record in &page.records {
        table.row([&record.position, &record.push, &payload(record)]);
    }
    table.print();
    if page.more {
        say(&format!("and more, behind {}", last.position));
    }
}

/// A payload on a line of its own, without what a terminal would obey.
fn payload(record: &Record) -> String {
    let text = match (&record.text, &record.base64) {
        (Some(text), _) => text,
        (None, Some(base64)) => &format!("binary {base64}"),
        (None, None) => "(of a kind that this server does not know)",
    };
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_line_without_control_characters() {
        let record = |text: Option<&str>, base64: Option<&str>| Record {
            position: String::new(),
            push: String::new(),
            text: text.map(str::to_owned),
            base64: base64.map(str::to_owned),
        };
        assert_eq!(
            payload(&record(Some("héllo\n\u{1b}[2J"), None)),
            "héllo\u{fffd}\u{fffd}[2J"
        );
        assert_eq!(payload(&record(None, Some("AP8="))), "binary AP8=");
        let long = payload(&record(Some(&"ü".repeat(SHOWN + 1)), None));
        assert_eq!(long, format!("{}…", "ü".repeat(SHOWN)));
        assert!(payload(&record(None, None)).contains("not know"));
    }
}
