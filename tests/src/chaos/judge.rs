//! What must hold of a run, and what does not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::history::{Histories, Log};
use super::producers::{Push, Said};
use super::terminals::{Told, user_name};
use super::walk::Walk;

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
        let log = histories.log(&user).unwrap_or(&nothing);
        Walk::new(histories, log, &by_id, told, user, &mut judged).judge();
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
    use uuid::Uuid;

    use super::super::history::Since;
    use super::super::position::Position;
    use super::super::producers::Attempt;
    use super::super::terminals::Event;
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
