//! `ack-true`: a terminal that is said to have confirmed a record has done so.

use std::collections::BTreeMap;

use switchboard_core::channel::Channel;
use switchboard_core::event::Notice;
use switchboard_core::id::TopicId;
use switchboard_core::message::{InLog, Outcome, Receipt};
use switchboard_core::position::Position;

use crate::checker::{Checker, Watch};
use crate::observed::{HandIn, Observed, Topic};

/// A receipt says `acked` only of a terminal that was told this record on this connection, and has confirmed it or one
/// that it was told later; and an application is told only of what a terminal has confirmed.
#[derive(Clone, Debug, Default)]
pub struct AckTrue {
    /// By session and log: terminals that were told records.
    told: BTreeMap<(usize, Channel), ToldRecords>,
}

/// What a terminal was told on one connection.
#[derive(Clone, Debug, Default)]
struct ToldRecords {
    /// The positions of the records, and the numbers of their pushes, in the order in which they came.
    records: Vec<(Position, Option<usize>)>,
    /// How many of them it has confirmed, from the first on.
    confirmed: usize,
    /// The positions that it has named.
    named: Vec<Position>,
}

impl Checker for AckTrue {
    fn name(&self) -> &'static str {
        "ack-true"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Frames, Topic::Words, Topic::Pushes]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Seen {
                session,
                push,
                topic,
                position: Some(position),
                ..
            } => {
                let told = self.of(watch, *session, topic.as_ref());
                told.records.push((*position, *push));
            }
            Observed::Confirmed {
                session,
                topic,
                position,
            } => {
                let told = self.of(watch, *session, topic.as_ref());
                told.confirms(*position);
            }
            Observed::Noticed { notice, .. } => {
                if let Notice::Acked {
                    id,
                    topic,
                    position,
                    ..
                } = &**notice
                {
                    let session = watch.scene().session_of(*id);
                    let told = session.map(|session| self.of(watch, session, topic.as_ref()));
                    let named = told.is_some_and(|told| told.named.contains(position));
                    self.judge(watch, named, || {
                        format!("an application is told that {id:?} confirms {position}")
                    });
                }
            }
            Observed::Answered { hand_in, receipt } => self.answered(watch, *hand_in, receipt),
            _ => {}
        }
    }
}

impl ToldRecords {
    fn confirms(&mut self, position: Position) {
        self.named.push(position);
        let last = (self.records.iter()).rposition(|(told, _)| *told == position);
        if let Some(last) = last {
            self.confirmed = self.confirmed.max(last + 1);
        }
    }
}

impl AckTrue {
    /// What a terminal was told of the log of a topic, or of its own.
    fn of(
        &mut self,
        watch: &Watch<'_>,
        session: usize,
        topic: Option<&TopicId>,
    ) -> &mut ToldRecords {
        let channel = watch.scene().sessions()[session].channel(topic);
        self.told.entry((session, channel)).or_default()
    }

    fn answered(&self, watch: &mut Watch<'_>, hand_in: HandIn, receipt: &Receipt) {
        let acked = (receipt.terminals.iter()).filter(|one| one.outcome == Outcome::Acked);
        for terminal in acked {
            let logged = receipt
                .logged
                .iter()
                .find(|log| log.channel.user() == Some(&terminal.user));
            let place = logged.and_then(|log| place(log.logged));
            let session = watch.scene().session_of(terminal.connection);
            let channel = Channel::User(terminal.user.clone());
            let told = session.and_then(|session| self.told.get(&(session, channel)));
            let is_so = told.is_some_and(|told| {
                let mut confirmed = told.records[..told.confirmed].iter();
                confirmed.any(|(position, push)| {
                    *push == Some(hand_in.push) && place.is_none_or(|place| place == *position)
                })
            });
            self.judge(watch, is_so, || {
                format!(
                    "the receipt of push {} says that {terminal:?} has confirmed {place:?}",
                    hand_in.push
                )
            });
        }
    }

    fn judge(&self, watch: &mut Watch<'_>, is_so: bool, what: impl FnOnce() -> String) {
        if is_so {
            watch.held();
        } else {
            watch.violated(what());
        }
    }
}

/// Where a receipt says that its record stands.
const fn place(logged: InLog) -> Option<Position> {
    match logged {
        InLog::At(position) => Some(position),
        InLog::Expired | InLog::Unknown | InLog::Refused | InLog::Unlogged => None,
    }
}
