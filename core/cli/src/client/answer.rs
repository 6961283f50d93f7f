//! Answers of the API, as far as they are printed. What they say beyond that is for `--json`.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An answer that is done with, whatever it says.
pub(super) trait Answer: DeserializeOwned {
    /// Whether the server may have missed something.
    fn is_degraded(&self) -> bool;

    /// Whether something has failed.
    fn has_failed(&self) -> bool {
        false
    }

    /// Whether each terminal that got something has confirmed it, and there was one.
    fn is_confirmed(&self) -> bool {
        false
    }
}

/// What became of a push, or of the end of connections.
#[derive(Debug, Deserialize)]
pub(super) struct Receipt {
    pub(super) degraded: bool,
    pub(super) written: u64,
    pub(super) queued: u64,
    #[serde(default)]
    pub(super) kept: u64,
    #[serde(default)]
    pub(super) acked: u64,
    pub(super) failed: u64,
    /// Of a durable push: where its record is, or why it is none.
    pub(super) logged: Option<String>,
    /// Of one that waits for a replica: whether that has the record.
    pub(super) replicated: Option<bool>,
    pub(super) terminals: Vec<Terminal>,
    #[serde(default)]
    pub(super) truncated: bool,
}

/// What became of it at one terminal.
#[derive(Debug, Deserialize)]
pub(super) struct Terminal {
    pub(super) connection: String,
    pub(super) outcome: String,
}

/// What became of a push to a topic.
#[derive(Debug, Deserialize)]
pub(super) struct TopicReceipt {
    pub(super) degraded: bool,
    pub(super) written: u64,
    pub(super) queued: u64,
    #[serde(default)]
    pub(super) kept: u64,
    #[serde(default)]
    pub(super) acked: u64,
    pub(super) failed: u64,
    /// Of a durable push: where its record is, or why it is none.
    pub(super) logged: Option<String>,
    /// Of one that waits for a replica: whether that has the record.
    pub(super) replicated: Option<bool>,
    pub(super) instances: Vec<InstanceReceipt>,
}

/// What became of it at one instance.
#[derive(Debug, Deserialize)]
pub(super) struct InstanceReceipt {
    pub(super) instance: String,
    pub(super) answered: bool,
    pub(super) written: u64,
    pub(super) queued: u64,
    pub(super) failed: u64,
}

/// What became of a join or a leave.
#[derive(Debug, Deserialize)]
pub(super) struct Membership {
    pub(super) degraded: bool,
    /// Whether it counts for connections to come, if it was to.
    pub(super) kept: Option<bool>,
    pub(super) written: u64,
    pub(super) queued: u64,
    pub(super) failed: u64,
}

/// How many members a topic has, and where its log stands.
#[derive(Debug, Deserialize)]
pub(super) struct TopicState {
    pub(super) degraded: bool,
    pub(super) count: u64,
    /// A position, or `unknown`; nothing, if there is no log.
    pub(super) head: Option<String>,
    pub(super) instances: Vec<AskedInstance>,
}

/// A page of the members of a topic.
#[derive(Debug, Deserialize)]
pub(super) struct Members {
    pub(super) degraded: bool,
    pub(super) count: u64,
    pub(super) members: Vec<Member>,
    pub(super) next: Option<String>,
    pub(super) instances: Vec<AskedInstance>,
}

/// One member.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) user: String,
    pub(super) connection: String,
}

/// An instance that was asked for its members.
#[derive(Debug, Deserialize)]
pub(super) struct AskedInstance {
    pub(super) instance: String,
    pub(super) answered: bool,
    pub(super) count: u64,
}

/// Records of a log.
#[derive(Debug, Deserialize)]
pub(super) struct LogPage {
    pub(super) head: String,
    pub(super) base: String,
    pub(super) after: Option<String>,
    pub(super) more: bool,
    pub(super) records: Vec<Record>,
}

/// One record.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) position: String,
    pub(super) push: String,
    pub(super) text: Option<String>,
    pub(super) base64: Option<String>,
}

/// How many records were removed.
#[derive(Debug, Deserialize)]
pub(super) struct Deleted {
    pub(super) records: u64,
}

/// Where a user is connected.
#[derive(Debug, Deserialize)]
pub(super) struct Connections {
    pub(super) degraded: bool,
    pub(super) connections: Vec<Connection>,
}

/// One connection.
#[derive(Debug, Deserialize)]
pub(super) struct Connection {
    pub(super) connection: String,
    pub(super) instance: String,
    pub(super) connected: Option<String>,
    pub(super) log: Option<Stand>,
}

/// Where a connection stands in the log that it follows.
#[derive(Debug, Deserialize)]
pub(super) struct Stand {
    pub(super) at: Option<String>,
    pub(super) sent: u64,
    pub(super) acked: u64,
}

/// All instances of the cluster, as one of them sees it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Instances {
    pub(super) instances: Vec<Instance>,
}

/// One instance of it.
#[derive(Debug, Deserialize)]
pub(super) struct Instance {
    pub(super) instance: String,
    pub(super) address: String,
    pub(super) state: String,
    pub(super) connections: u64,
    pub(super) pushes: u64,
    pub(super) this: bool,
}

/// A request that the server does not execute.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: Reason,
}

/// The code of an error, and what to do about it.
#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    pub(super) code: String,
    pub(super) message: String,
}

impl Answer for Receipt {
    fn is_degraded(&self) -> bool {
        self.degraded
    }

    fn has_failed(&self) -> bool {
        self.failed > 0 || is_in_doubt(self.logged.as_deref(), self.replicated)
    }

    fn is_confirmed(&self) -> bool {
        self.acked > 0 && self.written + self.queued + self.kept == 0
    }
}

impl Answer for TopicReceipt {
    fn is_degraded(&self) -> bool {
        self.degraded
    }

    fn has_failed(&self) -> bool {
        self.failed > 0 || is_in_doubt(self.logged.as_deref(), self.replicated)
    }

    fn is_confirmed(&self) -> bool {
        self.acked > 0 && self.written + self.queued + self.kept == 0
    }
}

/// Whether a record is not known to be where it was to be.
fn is_in_doubt(logged: Option<&str>, replicated: Option<bool>) -> bool {
    matches!(logged, Some("unknown" | "refused")) || replicated == Some(false)
}

impl Answer for Membership {
    fn is_degraded(&self) -> bool {
        self.degraded
    }

    fn has_failed(&self) -> bool {
        self.failed > 0 || self.kept == Some(false)
    }
}

impl Answer for TopicState {
    fn is_degraded(&self) -> bool {
        self.degraded
    }
}

impl Answer for Members {
    fn is_degraded(&self) -> bool {
        self.degraded
    }
}

impl Answer for LogPage {
    fn is_degraded(&self) -> bool {
        false
    }

    /// What was asked for may be missing.
    fn has_failed(&self) -> bool {
        self.after.is_none()
    }
}

impl Answer for Deleted {
    fn is_degraded(&self) -> bool {
        false
    }
}

impl Answer for Connections {
    fn is_degraded(&self) -> bool {
        self.degraded
    }
}

impl Answer for Instances {
    fn is_degraded(&self) -> bool {
        false
    }
}

impl Instances {
    /// What other instances dial to reach this one.
    pub(super) fn address(&self, id: &str) -> &str {
        let found = self.instances.iter().find(|known| known.instance == id);
        found.map_or("-", |known| &known.address)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_record_that_is_not_where_it_was_to_be_is_no_success() {
        for (fields, failed) in [
            (json!({"logged": "1-2"}), false),
            (json!({"logged": null}), false),
            (json!({"logged": "unknown"}), true),
            (json!({"logged": "refused"}), true),
            (json!({"logged": "1-2", "replicated": true}), false),
            (json!({"logged": "1-2", "replicated": false}), true),
        ] {
            assert_eq!(receipt(&fields).has_failed(), failed, "{fields}");
        }
    }

    #[test]
    fn a_record_is_confirmed_if_all_who_got_it_say_so() {
        for (fields, confirmed) in [
            (json!({"acked": 2}), true),
            (json!({"acked": 2, "written": 1}), false),
            (json!({"acked": 2, "kept": 1}), false),
            (json!({"written": 1}), false),
            (json!({}), false),
        ] {
            assert_eq!(receipt(&fields).is_confirmed(), confirmed, "{fields}");
        }
    }

    fn receipt(fields: &Value) -> Receipt {
        let mut all =
            json!({"degraded": false, "written": 0, "queued": 0, "failed": 0, "terminals": []});
        for (name, value) in fields.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        serde_json::from_value(all).expect("a receipt")
    }
}
