//! `no-false-gap`: a terminal is told that something is missing only if the log did not know where it stood.

use std::collections::BTreeMap;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::{LogOperation, LogPart, LogReply, LogStart};
use switchboard_core::directory::{Operation, Reply};
use switchboard_core::event::Follow;
use switchboard_core::frame::{Outgoing, Recovery};
use switchboard_core::position::Position;

use crate::checker::{Checker, Watch};
use crate::observed::{Executed, Life, LogWord, Observed, Topic};

/// A server calls a position unknown only if that is not in its history or lies before what it keeps, and knows the
/// positions that it tells, also of a log to which nobody has written; and an
/// instance tells a gap only to a terminal all of whose positions a server has called so to that instance: the
/// one where it stands, and the one before that on this connection.
#[derive(Clone, Debug, Default)]
pub struct NoFalseGap {
    /// What each instance was told to be unknown, of each log.
    unknown: BTreeMap<(Life, Channel), Vec<Named>>,
    /// Where each session stands in each log by what it was sent, the newest last.
    sent: BTreeMap<(usize, Channel), Vec<Position>>,
}

/// How a reader names where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Position(Position),
    Offset(u64),
}

impl Named {
    /// Whether it means this position.
    fn is(self, position: Position) -> bool {
        match self {
            Self::Position(named) => named == position,
            Self::Offset(offset) => offset == position.offset(),
        }
    }
}

impl Checker for NoFalseGap {
    fn name(&self) -> &'static str {
        "no-false-gap"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Words]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Executed(executed) => self.executed(executed, watch),
            Observed::Given { session, outgoing } => {
                let this = &watch.scene().sessions()[*session];
                if let Some((topic, word)) = LogWord::of(outgoing) {
                    self.said(watch, *session, this.channel(topic), word);
                } else if let Outgoing::Record(pushed) = outgoing {
                    let key = (*session, this.channel(pushed.topic()));
                    let sent = self.sent.entry(key).or_default();
                    sent.extend(pushed.position());
                }
            }
            _ => {}
        }
    }
}

impl NoFalseGap {
    fn executed(&mut self, executed: &Executed, watch: &mut Watch<'_>) {
        if let (Operation::Log { channel, .. }, Ok(Reply::Log(LogReply::Part(part)))) =
            (&executed.operation, &executed.outcome)
            && executed.at_primary
            && watch.scene().log_head(channel) != Some(part.head)
        {
            watch.violated(format!(
                "the head of the log of {channel} is said to be {}, which it does not know",
                part.head
            ));
        }
        let (
            Operation::Log {
                channel,
                operation: LogOperation::Read { start, .. },
            },
            Ok(Reply::Log(LogReply::Part(LogPart { after: None, .. }))),
        ) = (&executed.operation, &executed.outcome)
        else {
            return;
        };
        let asked: Vec<Named> = match start {
            LogStart::After(positions) => positions.iter().copied().map(Named::Position).collect(),
            LogStart::Behind(offset) => vec![Named::Offset(*offset)],
            LogStart::Last(_) => Vec::new(),
        };
        if executed.at_primary {
            let known = known(watch, channel);
            let has = |named: &&Named| known.iter().any(|position| named.is(*position));
            match asked.iter().find(has) {
                Some(named) => watch.violated(format!(
                    "the log of {channel} has {named:?}, and calls it unknown"
                )),
                None => watch.held(),
            }
        }
        let unknown = self
            .unknown
            .entry((executed.life, channel.clone()))
            .or_default();
        unknown.extend(asked);
    }

    /// A terminal is told where it stands.
    fn said(&mut self, watch: &mut Watch<'_>, session: usize, channel: Channel, word: LogWord) {
        let this = &watch.scene().sessions()[session];
        let sent = self.sent.entry((session, channel.clone())).or_default();
        let unknown = (this.life()).and_then(|life| self.unknown.get(&(life, channel.clone())));
        let was_unknown = |named: &&Named| unknown.is_some_and(|unknown| unknown.contains(named));
        let (lost, position) = match word {
            LogWord::Attached(attached) => {
                let lost = match attached.recovery {
                    Recovery::Lost => {
                        // Of what it has asked for once more any may be what it is told of.
                        let mut asked = this.asks_of(&channel).iter().map(brought);
                        let is_it = |named: &Vec<Named>| {
                            !named.is_empty() && named.iter().all(|named| was_unknown(&named))
                        };
                        let last = asked.clone().next_back().unwrap_or_default();
                        asked.find(is_it).unwrap_or(last)
                    }
                    Recovery::Anew | Recovery::Resumed => Vec::new(),
                };
                (lost, attached.position)
            }
            LogWord::Gap(position) => {
                let stood = sent.iter().rev().take(2).copied();
                (stood.map(Named::Position).collect(), position)
            }
            LogWord::Back(position) => {
                match sent.iter().rposition(|sent| *sent == position) {
                    Some(at) => sent.truncate(at),
                    None => {
                        watch.violated(format!("session {session} goes back where it never was"));
                    }
                }
                (Vec::new(), position)
            }
        };
        let gap = matches!(word, LogWord::Gap(_)) || !lost.is_empty();
        if !matches!(word, LogWord::Back(_)) {
            sent.clear();
        }
        sent.push(position);
        if !gap || this.life().is_none() {
            return;
        }
        match lost.iter().find(|named| !was_unknown(named)) {
            Some(named) => watch.violated(format!(
                "session {session} is told of a gap at {named:?}, which no server called unknown"
            )),
            None => watch.held(),
        }
    }
}

/// What a terminal brings.
fn brought(asked: &Follow) -> Vec<Named> {
    if asked.after.is_empty() {
        return asked.behind.into_iter().map(Named::Offset).collect();
    }
    asked.after.iter().copied().map(Named::Position).collect()
}

/// The positions that a log knows.
fn known(watch: &Watch<'_>, channel: &Channel) -> Vec<Position> {
    let Some(log) = watch.scene().log(channel) else {
        return Vec::new();
    };
    let records = log.records.iter().map(|record| record.position);
    records.chain([log.base, log.head]).collect()
}
