//! The directory on Redis: key layout, script texts, requests and replies.
//!
//! | key | type | content |
//! |---|---|---|
//! | `<prefix>{pNNNN}u:<user>` | HASH | connection UUID → `instance epoch connected`, in hexadecimal digits |
//! | `<prefix>{pNNNN}j:<user>` | SET | topics of which the user's terminals are to be members |
//! | `<prefix>{pNNNN}t:<topic>` | HASH | instance id → its epoch, in hexadecimal digits: it has members |
//! | `<prefix>{p0000}instances` | HASH | instance id → `deadline connections pushes epoch floor beat state address` |
//! | `<prefix>{pNNNN}m:<user>`, `h:`, `d:` | | the user's log: see `log` |
//! | `<prefix>{pNNNN}tm:<topic>`, `th:`, `td:` | | the topic's log, in the same way |
//! | `<prefix>layout` | STRING | the mark: `version=1 partitions=1024` |
//!
//! `NNNN` is the [partition](DirectorySettings::partitions) of the user or of the topic.
//!
//! How a driver executes an operation: it heeds the mark ([`Layout`]) and loads all scripts ([`Script::ALL`]) on each new link,
//! sends what [`Operation::request`] says (a script by its SHA-1; a script that the server answers
//! `NOSCRIPT` for was not executed, and ends the link: sent again, it would run after what came behind
//! it), turns the server's answer into a
//! [`Value`] and hands it to [`Operation::decode`].

mod log;

use std::time::Duration;

use super::layout::{epoch_text, lease_text, load_text, row_text};
use super::{DirectorySettings, Keeping, LEASES_KEPT_DEAD, Load, Operation, keys};

pub use super::answer::Value;
pub use super::keys::Layout;

/// What to ask the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A script, by `EVALSHA`.
    Eval {
        /// The script, which is sent by its SHA-1.
        script: Script,
        /// The keys that it touches, all of one partition.
        keys: Vec<Vec<u8>>,
        /// Its arguments after the keys.
        args: Vec<Vec<u8>>,
    },
    /// A command that needs no script.
    Command {
        /// The command's name in capitals, such as `HGETALL`.
        name: &'static str,
        /// Its arguments. The first is the one key that it touches.
        args: Vec<Vec<u8>>,
    },
}

/// A Lua script. Each is atomic and touches keys of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// For [`Operation::Register`].
    Register,
    /// For [`Operation::Unregister`].
    Unregister,
    /// For [`Operation::RemoveRow`].
    RemoveRow,
    /// For [`Operation::View`].
    View,
    /// For [`Operation::Claim`].
    Claim,
    /// For [`Operation::Renew`].
    Renew,
    /// For [`Operation::Release`].
    Release,
    /// For [`LogOperation::Append`](super::log::LogOperation::Append).
    Append,
    /// For [`LogOperation::Read`](super::log::LogOperation::Read).
    ReadLog,
    /// For [`LogOperation::Confirm`](super::log::LogOperation::Confirm).
    Confirm,
    /// For [`LogOperation::Delete`](super::log::LogOperation::Delete).
    DeleteLog,
    /// For [`Operation::EnterTopic`].
    EnterTopic,
    /// For [`Operation::KeepTopic`].
    KeepTopic,
}

impl Script {
    /// Every script, each at the index `script as usize`.
    pub const ALL: [Self; 13] = [
        Self::Register,
        Self::Unregister,
        Self::RemoveRow,
        Self::View,
        Self::Claim,
        Self::Renew,
        Self::Release,
        Self::Append,
        Self::ReadLog,
        Self::Confirm,
        Self::DeleteLog,
        Self::EnterTopic,
        Self::KeepTopic,
    ];

    /// The Lua text to load: what several scripts share, and behind it the script.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Register => concat!(
                include_str!("scripts/epochs.lua"),
                include_str!("scripts/register.lua")
            ),
            Self::Unregister => include_str!("scripts/unregister.lua"),
            Self::RemoveRow => include_str!("scripts/remove_row.lua"),
            Self::View => concat!(
                include_str!("scripts/clock.lua"),
                include_str!("scripts/view.lua")
            ),
            Self::Claim => concat!(
                include_str!("scripts/clock.lua"),
                include_str!("scripts/epochs.lua"),
                include_str!("scripts/claim.lua")
            ),
            Self::Renew => concat!(
                include_str!("scripts/clock.lua"),
                include_str!("scripts/renew.lua")
            ),
            Self::Release => concat!(
                include_str!("scripts/clock.lua"),
                include_str!("scripts/release.lua")
            ),
            Self::Append => log::APPEND,
            Self::ReadLog => log::READ,
            Self::Confirm => log::CONFIRM,
            Self::DeleteLog => log::DELETE,
            Self::KeepTopic => include_str!("scripts/keep_topic.lua"),
            Self::EnterTopic => concat!(
                include_str!("scripts/epochs.lua"),
                include_str!("scripts/enter_topic.lua")
            ),
        }
    }
}

impl Operation {
    /// What to ask the server for this operation.
    pub fn request(&self, settings: &DirectorySettings) -> Request {
        let on_rows = |script, key, args| eval(script, keys::rows(settings, key), args);
        let on_topic = |script, topic, args| eval(script, keys::topic(settings, topic), args);
        let on_leases = |script, args| eval(script, keys::instances(settings), args);
        match self {
            Self::Register {
                key,
                connection,
                row,
            } => {
                let expiry = millis(settings.row_expiry);
                let of_topics = millis(settings.used_log);
                Request::Eval {
                    script: Script::Register,
                    keys: vec![keys::rows(settings, key), keys::topics(settings, key)],
                    args: vec![text(connection), row_text(*row), expiry, of_topics],
                }
            }
            Self::Unregister {
                key,
                connection,
                instance,
            } => on_rows(
                Script::Unregister,
                key,
                vec![text(connection), text(instance)],
            ),
            Self::Lookup { key } => command("HGETALL", vec![keys::rows(settings, key)]),
            Self::RemoveRow {
                key,
                connection,
                row,
            } => on_rows(
                Script::RemoveRow,
                key,
                vec![text(connection), row_text(*row)],
            ),
            Self::KeepTopic {
                key,
                topic,
                keeping,
            } => {
                let most = match keeping {
                    Keeping::Kept { most } => *most,
                    Keeping::Dropped => 0,
                };
                let args = vec![
                    topic.as_bytes().to_vec(),
                    text(&most),
                    millis(settings.used_log),
                ];
                eval(Script::KeepTopic, keys::topics(settings, key), args)
            }
            Self::EnterTopic {
                topic,
                instance,
                epoch,
            } => {
                let expiry = millis(settings.row_expiry);
                let args = vec![text(instance), epoch_text(*epoch).into_bytes(), expiry];
                on_topic(Script::EnterTopic, topic, args)
            }
            // What is compared is the whole entry, as with a row.
            Self::LeaveTopic {
                topic,
                instance,
                epoch,
            } => {
                let args = vec![text(instance), epoch_text(*epoch).into_bytes()];
                on_topic(Script::RemoveRow, topic, args)
            }
            Self::LookupTopic { topic } => command("HGETALL", vec![keys::topic(settings, topic)]),
            Self::View => {
                let kept = settings.lease.saturating_mul(LEASES_KEPT_DEAD);
                on_leases(Script::View, vec![millis(kept)])
            }
            Self::Claim {
                instance,
                lease,
                load,
            } => {
                let span = millis(settings.lease);
                let args = vec![text(instance), span, load_text(*load), lease_text(lease)];
                on_leases(Script::Claim, args)
            }
            Self::Renew {
                instance,
                expected,
                lease,
                load,
            } => {
                let (span, expected) = (millis(settings.lease), lease_text(expected));
                let (load, lease) = (load_text(*load), lease_text(lease));
                let args = vec![text(instance), expected, span, load, lease];
                on_leases(Script::Renew, args)
            }
            Self::Release { instance, expected } => {
                let load = load_text(Load::default());
                let released = lease_text(&expected.released());
                let args = vec![text(instance), lease_text(expected), load, released];
                on_leases(Script::Release, args)
            }
            Self::ReadLease { instance } => {
                command("HGET", vec![keys::instances(settings), text(instance)])
            }
            Self::Log { channel, operation } => operation.request(settings, channel),
        }
    }
}

fn eval(script: Script, key: Vec<u8>, args: Vec<Vec<u8>>) -> Request {
    Request::Eval {
        script,
        keys: vec![key],
        args,
    }
}

const fn command(name: &'static str, args: Vec<Vec<u8>>) -> Request {
    Request::Command { name, args }
}

/// The longest span that is sent: a longer one would overflow the server's own arithmetic.
const SPAN_MAX_MILLIS: u128 = 100 * 365 * 86_400_000;

fn text(id: &impl ToString) -> Vec<u8> {
    id.to_string().into_bytes()
}

fn millis(span: Duration) -> Vec<u8> {
    text(&span.as_millis().min(SPAN_MAX_MILLIS))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::directory::{Lease, LeaseState, Load, Row};
    use crate::id::{ConnectionId, Epoch, InstanceId, UserId};
    use crate::key::Key;
    use crate::time::WallTime;

    const ROW: &str = "00000000000000a1 0000000000000002 000000000003";

    #[test]
    fn every_script_stands_at_its_index() {
        for (index, script) in Script::ALL.into_iter().enumerate() {
            assert_eq!(script as usize, index);
        }
    }

    /// H28: row and expiry are one request.
    #[test]
    fn a_register_carries_the_expiry() {
        let request = Operation::Register {
            key: ann(),
            connection: connection(5),
            row: row(),
        }
        .request(&settings());
        let expected = Request::Eval {
            script: Script::Register,
            keys: vec![b"sb:{p0417}u:ann".to_vec(), b"sb:{p0417}j:ann".to_vec()],
            args: vec![
                uuid(5).into_bytes(),
                ROW.as_bytes().to_vec(),
                b"7200000".to_vec(),
                b"2592000000".to_vec(),
            ],
        };
        assert_eq!(request, expected);
    }

    /// H37: the hot path runs no script.
    #[test]
    fn lookups_are_plain_commands() {
        let expected = Request::Command {
            name: "HGETALL",
            args: vec![b"sb:{p0417}u:ann".to_vec()],
        };
        assert_eq!(lookup().request(&settings()), expected);
        let expected = Request::Command {
            name: "HGET",
            args: vec![
                b"sb:{p0000}instances".to_vec(),
                b"00000000000000a1".to_vec(),
            ],
        };
        assert_eq!(read_lease().request(&settings()), expected);
    }

    #[test]
    fn a_renewal_compares_only_what_is_not_volatile() {
        let said = "0000000000000002 0000000000000001 7 settling 127.0.0.1:9";
        let request = Operation::Renew {
            instance: InstanceId::new(0xA1),
            expected: lease(),
            lease: lease(),
            load: Load {
                connections: 7,
                pushes: 8,
            },
        }
        .request(&settings());
        let expected = Request::Eval {
            script: Script::Renew,
            keys: vec![b"sb:{p0000}instances".to_vec()],
            args: ["00000000000000a1", said, "10000", "7 8", said]
                .map(|arg| arg.as_bytes().to_vec())
                .into(),
        };
        assert_eq!(request, expected);
    }

    fn settings() -> DirectorySettings {
        DirectorySettings::for_tests()
    }

    fn lookup() -> Operation {
        Operation::Lookup { key: ann() }
    }

    fn read_lease() -> Operation {
        Operation::ReadLease {
            instance: InstanceId::new(0xA1),
        }
    }

    fn ann() -> Key {
        UserId::new("ann").unwrap().into()
    }

    fn uuid(number: u128) -> String {
        Uuid::from_u128(number).to_string()
    }

    fn connection(number: u128) -> ConnectionId {
        ConnectionId::new(Uuid::from_u128(number))
    }

    fn row() -> Row {
        Row {
            instance: InstanceId::new(0xA1),
            epoch: Epoch::new(2),
            connected: WallTime::from_millis(3),
        }
    }

    fn lease() -> Lease {
        Lease {
            epoch: Epoch::new(2),
            floor: Epoch::new(1),
            beat: 7,
            state: LeaseState::Settling,
            address: "127.0.0.1:9".to_owned(),
        }
    }
}
