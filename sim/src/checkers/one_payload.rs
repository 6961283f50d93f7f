//! `one-payload`: a push is one record of a log, however often it is handed in.

use std::collections::BTreeMap;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::{Content, LogOperation, LogReply, Logged};
use switchboard_core::directory::{Operation, Reply};
use switchboard_core::time::Instant;

use crate::checker::{Checker, Watch};
use crate::ledger::FaultKind;
use crate::observed::{Executed, Observed, Topic};

/// In one history of a log a push stands once, as long as it is remembered: for as many pushes as the log remembers, and
/// for some time after the last, also if the log was deleted meanwhile. A repeat of one that is kept is
/// answered with its place. What is appended is what was handed in, and is to be kept as that says.
#[derive(Clone, Debug, Default)]
pub struct OnePayload {
    /// When something was last added to each log.
    last: BTreeMap<Channel, Instant>,
}

impl Checker for OnePayload {
    fn name(&self) -> &'static str {
        "one-payload"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Executed(executed) = event else {
            return;
        };
        if executed.at_primary {
            self.executed(executed, watch);
        }
    }
}

impl OnePayload {
    fn executed(&mut self, executed: &Executed, watch: &mut Watch<'_>) {
        if let Operation::Log {
            channel,
            operation: LogOperation::Append { .. },
        } = &executed.operation
            && let Some(what) = differs(watch, &executed.operation)
        {
            watch.violated(format!("what is appended to the log of {channel} {what}"));
        }
        let (
            Operation::Log {
                channel,
                operation:
                    LogOperation::Append {
                        push, retention, ..
                    },
            },
            Ok(Reply::Log(LogReply::Appended { logged, .. })),
        ) = (&executed.operation, &executed.outcome)
        else {
            return;
        };
        let chain = watch.scene().log_remembered(channel);
        match logged {
            Logged::New(place) => {
                let last = self.last.insert(channel.clone(), watch.now());
                let (Some((new, before)), Some(last)) = (chain.split_last(), last) else {
                    return watch.held();
                };
                let remembered = retention.pushes() as usize;
                let lately = before.iter().rev().take(remembered);
                let again = lately.into_iter().any(|link| link.push == *push);
                if new.position != place.position {
                    return watch
                        .violated(format!("{place:?} is not the end of the log of {channel}"));
                }
                if again && !may_be_forgotten(watch, last) {
                    watch.violated(format!("push {push:?} is twice in the log of {channel}"));
                } else {
                    watch.held();
                }
            }
            Logged::Repeated(place) => {
                let stands = |link: &&crate::redis::ChainLink| {
                    link.position == place.position
                        && link.before == place.before
                        && link.push == *push
                };
                match chain.iter().rev().find(stands) {
                    Some(_) => watch.held(),
                    None => watch.violated(format!(
                        "a repeat of push {push:?} is said to stand at {place:?} in the log of {channel}"
                    )),
                }
            }
            Logged::Expired => match chain.iter().any(|link| link.push == *push) {
                true => watch.held(),
                false => watch.violated(format!(
                    "push {push:?} is said to have been in the log of {channel}"
                )),
            },
        }
    }
}

/// What of an append is not as the push was handed in.
fn differs(watch: &Watch<'_>, operation: &Operation) -> Option<String> {
    let Operation::Log {
        operation:
            LogOperation::Append {
                push,
                content,
                retention,
                ..
            },
        ..
    } = operation
    else {
        return None;
    };
    let mut pushes = watch.scene().pushes().iter();
    let Some(published) = pushes.find(|published| published.id() == *push) else {
        return Some(format!("is push {push:?}, which never was"));
    };
    let Some(kept) = published.durable() else {
        return Some(format!("is push {push:?}, which is in no log"));
    };
    if *retention != kept.retention {
        return Some(format!(
            "is to be kept as {retention:?}, not {:?}",
            kept.retention
        ));
    }
    let is_its = published.payload().map(Content::of).as_ref() == Some(content);
    (!is_its).then(|| format!("is not what push {push:?} says"))
}

/// Whether all pushes of a log may be forgotten since one was added.
fn may_be_forgotten(watch: &Watch<'_>, last: Instant) -> bool {
    let config = watch.scene().config();
    let clock = watch.excuse(last, watch.now(), |excuse| {
        excuse.kind == FaultKind::RedisClock
    });
    last + config.repeat_memory <= watch.now() || clock.is_some()
}
