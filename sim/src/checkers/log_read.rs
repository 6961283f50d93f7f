//! `log-read-true`: a reader of a log is told what it has.

use std::collections::BTreeMap;

use switchboard_core::channel::Channel;
use switchboard_core::directory::log::{LogOperation, LogPart, LogReply};
use switchboard_core::directory::{Operation, Reply};
use switchboard_core::event::Answer;
use switchboard_core::logs::{LogAnswer, LogPage};
use switchboard_core::position::Position;

use crate::checker::{Checker, Watch};
use crate::observed::{Executed, Life, Observed, Topic};
use crate::publishing::Asked;
use crate::redis::ChainLink;

/// What the directory answers to a read is a piece of the log's history, without a hole, that ends where the log ends
/// or where the answer is full; and what an application is told is what the directory has answered since it asked. A
/// log that was deleted has no records, and goes on at a position that nobody has.
#[derive(Clone, Debug, Default)]
pub struct LogReadTrue {
    /// What instances were answered, by the log, with the number of questions asked before.
    answered: BTreeMap<(Life, Channel), Vec<(usize, LogReply)>>,
    /// The last positions of logs.
    heads: BTreeMap<Channel, Vec<Position>>,
    /// Questions that were asked.
    asked: usize,
    /// How many had been asked before each one.
    before: BTreeMap<usize, usize>,
}

impl Checker for LogReadTrue {
    fn name(&self) -> &'static str {
        "log-read-true"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Directory, Topic::Questions]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        match event {
            Observed::Executed(executed) => self.executed(executed, watch),
            Observed::Asked { question } => {
                self.before.insert(*question, self.asked);
                self.asked += 1;
            }
            Observed::Told { question, answer } => self.told(*question, answer, watch),
            _ => {}
        }
    }
}

impl LogReadTrue {
    fn executed(&mut self, executed: &Executed, watch: &mut Watch<'_>) {
        let (Operation::Log { channel, operation }, Ok(Reply::Log(reply))) =
            (&executed.operation, &executed.outcome)
        else {
            return;
        };
        let scene = watch.scene();
        let wrong = match (operation, reply) {
            (LogOperation::Read { records, .. }, LogReply::Part(part)) => misread(
                scene.log_chain(channel),
                scene.log_head(channel),
                *records,
                part,
            ),
            (LogOperation::Delete { .. }, LogReply::Deleted { records }) => {
                let heads = self.heads.get(channel);
                let is_old = |log: &LogPart| heads.is_some_and(|heads| heads.contains(&log.head));
                match scene.log(channel) {
                    Some(log) if !log.records.is_empty() => Some("leaves records"),
                    Some(log) if *records > 0 && is_old(&log) => Some("leaves its head"),
                    Some(_) | None => None,
                }
            }
            (LogOperation::Append { .. }, _) => {
                if executed.at_primary {
                    let heads = self.heads.entry(channel.clone()).or_default();
                    heads.extend(scene.log_head(channel));
                }
                return;
            }
            _ => return,
        };
        let answers = (self.answered.entry((executed.life, channel.clone()))).or_default();
        answers.push((self.asked, reply.clone()));
        match wrong {
            _ if !executed.at_primary => {}
            None => watch.held(),
            Some(what) => watch.violated(format!(
                "{operation:?} of the log of {channel} {what}: {reply:?}"
            )),
        }
    }

    fn told(&self, question: usize, answer: &Answer, watch: &mut Watch<'_>) {
        let asked = &watch.scene().questions()[question];
        let (Asked::Log(channel) | Asked::Deletion(channel), Answer::Log(answer)) =
            (asked.what(), answer)
        else {
            return;
        };
        // Whether there is a reason to refuse is for no checker to say.
        let Ok(answer) = answer else { return };
        let is_of_its_kind = match (asked.what(), answer) {
            (Asked::Log(_), LogAnswer::Page(_))
            | (Asked::Deletion(_), LogAnswer::Deleted { .. }) => true,
            (Asked::Log(_), LogAnswer::Deleted { .. })
            | (_, LogAnswer::Page(_) | LogAnswer::Head(_)) => false,
            (Asked::Connections(_) | Asked::Instances, LogAnswer::Deleted { .. }) => false,
        };
        let since = self.before.get(&question).copied().unwrap_or_default();
        let answers = self.answered.get(&(asked.life(), channel.clone()));
        let mut answers = answers.into_iter().flatten();
        let fits = answers.any(|(at, reply)| *at > since && says(reply, answer));
        if is_of_its_kind && fits {
            watch.held();
        } else {
            watch.violated(format!(
                "question {question} about the log of {channel} is answered with {answer:?}"
            ));
        }
    }
}

/// Whether an application is told what the directory has answered.
fn says(reply: &LogReply, answer: &LogAnswer) -> bool {
    match (reply, answer) {
        (LogReply::Part(part), LogAnswer::Page(page)) => LogPage::from(part.clone()) == *page,
        (LogReply::Deleted { records }, LogAnswer::Deleted { records: told }) => records == told,
        _ => false,
    }
}

/// What is wrong with a part of a log of which this is the history.
fn misread(
    chain: &[ChainLink],
    head: Option<Position>,
    limit: u32,
    part: &LogPart,
) -> Option<&'static str> {
    if head != Some(part.head) {
        return Some("has another head than the log");
    }
    if part.records.len() > limit as usize {
        return Some("has more records than were asked for");
    }
    let Some(mut before) = part.after else {
        let has_records = !part.records.is_empty();
        return has_records.then_some("has records, and no position before them");
    };
    for record in &part.records {
        let stands = |link: &&ChainLink| link.position == record.position;
        let Some(link) = chain.iter().rfind(stands) else {
            return Some("has a record that the log never had");
        };
        if link.before != before || link.push != record.push {
            return Some("leaves something out");
        }
        before = record.position;
    }
    let is_full = part.records.len() == limit as usize;
    (before != part.head && !is_full && part.records.is_empty())
        .then_some("has none of the records that come next")
}
