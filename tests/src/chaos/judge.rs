//! What must hold of a run, and what does not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use super::history::{Histories, Log, Since};
use super::position::Position;
use super::producers::{Push, Said};
use super::terminals::{Event, Told, user_name};

/// What is wrong, and of whom.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) fault: Fault,
    pub(super) user: String,
    pub(super) at: Duration,
    pub(super) what: String,
}

/// The kinds of what must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A terminal was given a record and not the one before, or is not at the end of the log in the end.
    Lost,
    /// A terminal was given a push twice, and nothing between said that it may be.
    Doubled,
    /// A gap, although the log knew a position that the terminal had.
    FalseGap,
    /// A step back, although the log knew a newer position.
    FalseBack,
    /// A receipt told a position at which there is no such record, and Redis has lost none.
    FalseReceipt,
    /// A log is not what it was, and Redis has lost nothing.
    BrokenLog,
    /// Frames that mean nothing, or a push that is not known in the end.
    Other,
}

/// What is wrong, and what has happened in all.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) wrong: Vec<Wrong>,
    pub(super) tally: Tally,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) connects: usize,
    pub(super) refused: usize,
    pub(super) resumes: usize,
    pub(super) resumed_behind: usize,
    pub(super) records: usize,
    pub(super) records_unread: usize,
    pub(super) gaps: usize,
    pub(super) backs: usize,
    pub(super) again: usize,
    /// Receipts that call logged what Redis has lost, by the reading in which it is not.
    pub(super) receipts_lost: BTreeMap<usize, usize>,
}

/// Compares what each terminal was told, and each receipt, with what stood in Redis.
pub(super) fn judge(histories: &Histories, pushes: &[Push], told: &[Told]) -> Judged {
    let mut judged = Judged::default();
    let by_id: HashMap<_, _> = pushes.iter().map(|push| (push.id, push)).collect();
    for (user, what) in &histories.wrong {
        judged.wrong.push(Wrong {
            fault: Fault::BrokenLog,
            user: user.clone(),
            at: Duration::ZERO,
            what: what.clone(),
        });
    }
    for push in pushes {
        judged.receipts(histories, push);
    }
    let nothing = Log::default();
    for told in told {
        let user = user_name(told.user);
        let walk = Walk {
            histories,
            log: histories.log(&user).unwrap_or(&nothing),
            by_id: &by_id,
            told,
            user,
            stands: None,
            asked: Vec::new(),
            sent: Vec::new(),
            got: HashMap::new(),
            times: 0,
            at: Duration::ZERO,
            judged: &mut judged,
        };
        walk.judge();
    }
    judged.wrong.sort_by_key(|wrong| (wrong.fault, wrong.at));
    judged
}

impl Judged {
    /// What a receipt calls logged is in the log, until Redis loses it.
    fn receipts(&mut self, histories: &Histories, push: &Push) {
        let user = user_name(push.user);
        let mut wrong = |at, fault, what| {
            self.wrong.push(Wrong {
                fault,
                user: user.clone(),
                at,
                what,
            });
        };
        if push.outcome().is_none() {
            let at = push.attempts.last().map_or(Duration::ZERO, |a| a.answered);
            let what = format!("push {} is not known in the end", push.text);
            return wrong(at, Fault::Other, what);
        }
        let Some(log) = histories.log(&user) else {
            return;
        };
        for attempt in &push.attempts {
            let Said::Logged(position) = attempt.said else {
                continue;
            };
            if let Some((_, id)) = log.records.get(&position)
                && *id != push.id
            {
                let what = format!("push {} is not at {position}", push.text);
                wrong(attempt.answered, Fault::FalseReceipt, what);
            }
            let Some(reading) = histories.after(attempt.answered) else {
                continue;
            };
            if log.knows(position, reading) {
                continue;
            }
            if histories.readings[reading].since.may_lose() {
                *self.tally.receipts_lost.entry(reading).or_default() += 1;
            } else {
                let what = format!(
                    "push {} is called logged at {position}, and is not in reading {reading}",
                    push.text
                );
                wrong(attempt.answered, Fault::FalseReceipt, what);
            }
        }
    }
}

/// Goes through what one terminal saw.
struct Walk<'a> {
    histories: &'a Histories,
    log: &'a Log,
    by_id: &'a HashMap<Uuid, &'a Push>,
    told: &'a Told,
    user: String,
    stands: Option<Position>,
    /// The positions that it brought to this connection, newest first.
    asked: Vec<Position>,
    /// The positions that it was sent on this connection since it was given one.
    sent: Vec<Position>,
    /// Where each push was when it came last, and how many gaps and steps back had been before.
    got: HashMap<Uuid, (Position, usize)>,
    times: usize,
    at: Duration,
    judged: &'a mut Judged,
}

/// An instance remembers so many records that it has sent, at least.
const REMEMBERED: usize = 16;

impl Walk<'_> {
    fn judge(mut self) {
        for (at, event) in &self.told.events {
            self.at = *at;
            match event {
                Event::Connects { after, .. } => {
                    self.judged.tally.connects += 1;
                    self.asked.clone_from(after);
                    self.sent.clear();
                }
                Event::Greeted => {}
                Event::Ended(why) => {
                    self.judged.tally.refused += usize::from(why.starts_with("refused"));
                }
                Event::Stray(frame) => self.wrong(Fault::Other, format!("a stray frame: {frame}")),
                Event::Stands {
                    position,
                    resumed,
                    expired,
                } => self.is_told(*position, *resumed, *expired),
                Event::Record {
                    position,
                    push,
                    text,
                } => self.gets(*position, *push, text),
                Event::Gap(position) => {
                    let had = self.sent.iter().rev().take(REMEMBERED).copied().collect();
                    self.gap(had);
                    self.is_given(*position);
                }
                Event::Back(position) => {
                    let newer = self.sent.iter().rev().take_while(|sent| *sent != position);
                    let newer = newer.copied().collect();
                    if !self.sent.contains(position) {
                        let what = format!("a step back to {position}, which it was not sent");
                        self.wrong(Fault::Other, what);
                    }
                    self.steps_back(newer);
                    self.is_given(*position);
                }
            }
        }
        let head = self.histories.head(self.told.user);
        if self.stands != head {
            let what = format!(
                "in the end it stands at {:?}, the log at {head:?}",
                self.stands
            );
            self.wrong(Fault::Lost, what);
        }
    }

    /// The hello, or the frame behind it, says where it stands.
    fn is_told(&mut self, position: Position, resumed: bool, expired: bool) {
        let asked = std::mem::take(&mut self.asked);
        if asked.is_empty() {
            if resumed || expired {
                self.wrong(
                    Fault::Other,
                    "it asked for nothing to be resumed".to_owned(),
                );
            }
            // It may have been told where it stands before, and have lost that connection at once.
            self.times += 1;
        } else if expired {
            self.gap(asked);
        } else if let Some(index) = asked.iter().position(|asked| *asked == position) {
            self.judged.tally.resumes += 1;
            if !resumed {
                self.wrong(
                    Fault::Other,
                    "it was resumed, which the hello denies".to_owned(),
                );
            }
            if index > 0 {
                self.judged.tally.resumed_behind += 1;
                self.steps_back(asked[..index].to_vec());
            }
        } else {
            let what = format!("it is resumed at {position}, which it did not bring");
            self.wrong(Fault::Lost, what);
        }
        self.is_given(position);
    }

    fn is_given(&mut self, position: Position) {
        self.sent = vec![position];
        self.stands = Some(position);
    }

    fn gets(&mut self, position: Position, push: Uuid, text: &str) {
        self.judged.tally.records += 1;
        match self.by_id.get(&push) {
            Some(pushed) if pushed.text == text && pushed.user == self.told.user => {}
            _ => self.wrong(Fault::Other, format!("push {push} does not say {text}")),
        }
        let before = self.got.insert(push, (position, self.times));
        match before {
            Some((_, times)) if times == self.times => {
                self.wrong(Fault::Doubled, format!("push {text} has come again"));
            }
            Some(_) => self.judged.tally.again += 1,
            None => {}
        }
        match self.log.records.get(&position) {
            Some((before, _)) if Some(*before) == self.stands => {}
            Some((before, _)) => {
                let stands = self.stands;
                let what =
                    format!("push {text} at {position} is behind {before}, it is at {stands:?}");
                self.wrong(Fault::Lost, what);
            }
            // Redis had it for a moment between two readings.
            None => self.judged.tally.records_unread += 1,
        }
        self.stands = Some(position);
        self.sent.push(position);
    }

    /// Something is missing, they say. The log must not have known any of the positions that it had.
    fn gap(&mut self, had: Vec<Position>) {
        self.judged.tally.gaps += 1;
        self.times += 1;
        if let Some(known) = self.known(&had) {
            let what = format!("a gap, although the log knew {known}");
            self.wrong(Fault::FalseGap, what);
        }
    }

    fn steps_back(&mut self, newer: Vec<Position>) {
        self.judged.tally.backs += 1;
        self.times += 1;
        if let Some(known) = self.known(&newer) {
            let what = format!("a step back, although the log knew {known}");
            self.wrong(Fault::FalseBack, what);
        }
    }

    /// One of these positions, which are older than this moment, that the log knew: it is there in the next
    /// reading. While there are two primaries, one of them need not know it, unless both have it from before.
    fn known(&self, positions: &[Position]) -> Option<Position> {
        let reading = self.histories.after(self.at)?;
        let knew = |position: &Position| match self.histories.readings[reading].since {
            Since::Kept | Since::Lost => true,
            Since::Split => reading > 0 && self.log.knows(*position, reading - 1),
        };
        let known = |position: &&Position| self.log.knows(**position, reading) && knew(position);
        positions.iter().find(known).copied()
    }

    fn wrong(&mut self, fault: Fault, what: String) {
        self.judged.wrong.push(Wrong {
            fault,
            user: self.user.clone(),
            at: self.at,
            what: format!("terminal {}: {what}", self.told.number),
        });
    }
}

impl Judged {
    /// How much is wrong of each kind.
    pub(super) fn count(&self, fault: Fault) -> usize {
        self.wrong
            .iter()
            .filter(|wrong| wrong.fault == fault)
            .count()
    }

    /// The users of whom something is wrong, first those of whom it is worst.
    pub(super) fn users(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let users = self.wrong.iter().map(|wrong| wrong.user.as_str());
        users.filter(|user| seen.insert(*user)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::producers::Attempt;
    use super::*;

    const USER: &str = "user-0";

    fn position(number: u64) -> Position {
        format!("{number:014x}{:08x}", 7)
            .parse()
            .expect("a position")
    }

    fn push(number: u64, logged: Option<Position>) -> Push {
        let said = logged.map_or(Said::Unknown, Said::Logged);
        Push {
            user: 0,
            id: Uuid::from_u128(number.into()),
            text: number.to_string(),
            attempts: vec![Attempt {
                server: 0,
                sent: Duration::ZERO,
                answered: Duration::from_millis(500),
                said,
            }],
        }
    }

    /// A log whose base is 0, and in which pushes 1 to 3 are the records at 1 to 3.
    fn log() -> (Histories, Vec<Push>) {
        let mut histories = Histories::default();
        let records = [1, 2, 3].map(|n| (position(n), Uuid::from_u128(n.into())));
        let second = Duration::from_secs(1);
        for reading in 1..=3 {
            histories.add_reading(second * reading, Since::Kept);
            histories.add_records(USER, position(0), &records);
        }
        let pushes = [1, 2, 3].map(|n| push(n, Some(position(n))));
        (histories, pushes.into())
    }

    fn stands(at: u64, resumed: bool, expired: bool) -> Event {
        Event::Stands {
            position: position(at),
            resumed,
            expired,
        }
    }

    fn record(number: u64) -> Event {
        Event::Record {
            position: position(number),
            push: Uuid::from_u128(number.into()),
            text: number.to_string(),
        }
    }

    fn asks(after: &[u64]) -> Event {
        let after = after.iter().copied().map(position).collect();
        Event::Connects { server: 0, after }
    }

    fn faults(events: Vec<Event>) -> Vec<Fault> {
        let (histories, pushes) = log();
        let at = Duration::from_millis(600);
        let told = Told {
            user: 0,
            number: 0,
            events: events.into_iter().map(|event| (at, event)).collect(),
        };
        let judged = judge(&histories, &pushes, &[told]);
        judged.wrong.iter().map(|wrong| wrong.fault).collect()
    }

    #[test]
    fn each_record_once_over_two_connections_is_as_it_must_be() {
        let events = vec![
            asks(&[]),
            stands(0, false, false),
            record(1),
            asks(&[1, 0]),
            stands(1, true, false),
            record(2),
            record(3),
        ];
        assert_eq!(faults(events), []);
    }

    #[test]
    fn a_record_without_the_one_before_is_lost() {
        let events = vec![asks(&[]), stands(0, false, false), record(1), record(3)];
        assert_eq!(faults(events), [Fault::Lost]);
    }

    #[test]
    fn who_is_not_at_the_end_has_lost_something() {
        let events = vec![asks(&[]), stands(0, false, false), record(1), record(2)];
        assert_eq!(faults(events), [Fault::Lost]);
    }

    #[test]
    fn a_push_that_comes_again_is_doubled() {
        let events = vec![
            asks(&[]),
            stands(2, false, false),
            record(3),
            asks(&[3]),
            stands(3, true, false),
            record(3),
        ];
        assert_eq!(faults(events), [Fault::Lost, Fault::Doubled]);
    }

    #[test]
    fn a_gap_is_false_while_the_log_knows_where_the_terminal_stood() {
        let again = vec![
            asks(&[]),
            stands(2, false, false),
            record(3),
            Event::Gap(position(0)),
            record(1),
            record(2),
            record(3),
        ];
        assert_eq!(faults(again), [Fault::FalseGap]);
        let refused = vec![
            asks(&[3, 2]),
            stands(0, false, true),
            record(1),
            record(2),
            record(3),
        ];
        assert_eq!(faults(refused), [Fault::FalseGap]);
    }

    #[test]
    fn a_step_back_is_false_while_the_log_knows_where_the_terminal_stood() {
        let events = vec![
            asks(&[]),
            stands(2, false, false),
            record(3),
            Event::Back(position(2)),
            record(3),
        ];
        assert_eq!(faults(events), [Fault::FalseBack]);
    }

    #[test]
    fn a_receipt_is_false_if_there_is_no_such_record() {
        let (histories, mut pushes) = log();
        pushes.push(push(4, Some(position(4))));
        let judged = judge(&histories, &pushes, &[]);
        assert_eq!(judged.count(Fault::FalseReceipt), 1);
    }

    #[test]
    fn records_that_go_without_a_fault_break_the_log() {
        let (mut histories, pushes) = log();
        histories.add_reading(Duration::from_secs(4), Since::Kept);
        histories.add_records(USER, position(0), &[(position(1), Uuid::from_u128(1))]);
        let judged = judge(&histories, &pushes, &[]);
        assert_eq!(judged.count(Fault::BrokenLog), 1);

        let (mut histories, pushes) = log();
        histories.add_reading(Duration::from_secs(4), Since::Lost);
        histories.add_records(USER, position(0), &[(position(1), Uuid::from_u128(1))]);
        assert_eq!(histories.lost, 2);
        let judged = judge(&histories, &pushes, &[]);
        assert_eq!(judged.wrong.len(), 0);
    }
}
