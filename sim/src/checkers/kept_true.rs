//! `kept-true`: a receipt says whether the directory has taken down which topic a user is to be in.

use std::collections::BTreeMap;

use switchboard_core::directory::{Keeping, Operation, Reply};
use switchboard_core::id::{TopicId, UserId};
use switchboard_core::message::{Action, Receipt};
use switchboard_core::time::Instant;

use super::receipt_true::in_doubt;
use crate::checker::{Checker, Watch};
use crate::observed::{Executed, HandIn, Observed, Topic};

/// A receipt says `kept` of a push that has terminals of a user join or leave a topic for good, and of no other. That it is
/// kept says the directory, to this or to another one; that it is not, too, or a fault explains it. Of a user that is kept
/// in so many topics as a terminal may be in, nothing more is.
#[derive(Clone, Debug, Default)]
pub struct KeptTrue {
    /// When the directory has last said of a user and a topic that he is kept in it, or is not any more.
    kept: BTreeMap<(UserId, TopicId, bool), Instant>,
    /// When it has last said that there is no room for one more.
    refused: BTreeMap<(UserId, TopicId), Instant>,
}

impl Checker for KeptTrue {
    fn name(&self) -> &'static str {
        "kept-true"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Pushes]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Executed(executed) => self.executed(watch, executed),
            Observed::Answered { hand_in, receipt } => self.answered(watch, *hand_in, receipt),
            _ => {}
        }
    }
}

impl KeptTrue {
    fn executed(&mut self, watch: &mut Watch<'_>, executed: &Executed) {
        let Operation::KeepTopic {
            key,
            topic,
            keeping,
        } = &executed.operation
        else {
            return;
        };
        let (user, now) = (key.user().clone(), watch.now());
        let joins = match keeping {
            Keeping::Kept { most } => {
                let config = watch.scene().config();
                if *most as usize != config.connection_topics {
                    watch.violated(format!(
                        "{user} is to be kept in {most} topics at most, and a terminal may be in {}",
                        config.connection_topics
                    ));
                }
                true
            }
            Keeping::Dropped => false,
        };
        match executed.outcome {
            Ok(Reply::TopicKept(true)) => {
                self.kept.insert((user, topic.clone(), joins), now);
            }
            Ok(Reply::TopicKept(false)) => {
                self.refused.insert((user, topic.clone()), now);
            }
            _ => {}
        }
    }

    fn answered(&self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let published = &watch.scene().pushes()[hand_in.push];
        let (topic, joins) = match published.action() {
            Action::Join(topic) => (topic, true),
            Action::Leave(topic) => (topic, false),
            Action::Frame(_) | Action::Close(_) | Action::List { .. } => {
                if receipt.kept.is_some() {
                    self.wrong(watch, hand_in, receipt);
                }
                return;
            }
        };
        let handed_in = &published.times()[hand_in.time];
        let since = handed_in.at;
        let said = |at: Option<&Instant>| at.is_some_and(|at| *at >= since);
        let users = published.users();
        let is_kept = (users.iter()).any(|user| {
            let of = (user.clone(), topic.clone(), joins);
            said(self.kept.get(&of))
        });
        let is_refused =
            (users.iter()).any(|user| said(self.refused.get(&(user.clone(), topic.clone()))));
        match receipt.kept {
            None if !published.keeps() => watch.held(),
            Some(true) if published.keeps() && is_kept => watch.held(),
            Some(false) if published.keeps() && is_refused => watch.held(),
            Some(false) if published.keeps() => {
                match in_doubt(watch, handed_in.life, since, false) {
                    Some(excuse) => watch.excused(excuse),
                    None => self.wrong(watch, hand_in, receipt),
                }
            }
            None | Some(_) => self.wrong(watch, hand_in, receipt),
        }
    }

    fn wrong(&self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        watch.violated(format!(
            "the receipt of push {} says {:?} of what is kept",
            hand_in.push, receipt.kept
        ));
    }
}
