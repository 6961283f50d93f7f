//! What must hold of a run, and what does not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::channel::Channel;
use super::history::{Histories, Log};
use super::producers::{Attempt, Push, Said};
use super::terminals::Told;
use super::walk::Walk;

/// What is wrong, and with whose log.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) fault: Fault,
    pub(super) channel: Channel,
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
    /// A receipt told that a replica had the record, and a failover has lost it.
    LostReplicated,
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
    pub(super) joins: usize,
    pub(super) leaves: usize,
    pub(super) resumes: usize,
    pub(super) resumed_behind: usize,
    pub(super) records: usize,
    pub(super) records_unread: usize,
    pub(super) gaps: usize,
    pub(super) backs: usize,
    pub(super) again: usize,
    /// Receipts that call logged what Redis has lost, by the reading in which it is not.
    pub(super) receipts_lost: BTreeMap<usize, usize>,
    /// Receipts that say that a replica had the record.
    pub(super) replicated: usize,
    /// The records of these that Redis has lost when it lost everything.
    pub(super) replicated_emptied: usize,
}

/// Compares what each terminal was told, and each receipt, with what stood in Redis.
pub(super) fn judge(histories: &Histories, pushes: &[Push], told: &[Told]) -> Judged {
    let mut judged = Judged::default();
    let by_id: HashMap<_, _> = pushes.iter().map(|push| (push.id, push)).collect();
    for (channel, what) in &histories.wrong {
        judged.wrong.push(Wrong {
            fault: Fault::BrokenLog,
            channel: *channel,
            at: Duration::ZERO,
            what: what.clone(),
        });
    }
    for push in pushes {
        judged.receipts(histories, push);
    }
    let nothing = Log::default();
    for told in told {
        let log = histories.log(told.channel).unwrap_or(&nothing);
        Walk::new(histories, log, &by_id, told, &mut judged).judge();
    }
    judged.wrong.sort_by_key(|wrong| (wrong.fault, wrong.at));
    judged
}

impl Judged {
    /// What a receipt calls logged is in the log, until Redis loses it.
    fn receipts(&mut self, histories: &Histories, push: &Push) {
        if push.outcome().is_none() {
            let at = push.attempts.last().map_or(Duration::ZERO, |a| a.answered);
            let what = format!("push {} is not known in the end", push.text);
            return self.is_wrong(Fault::Other, push, at, what);
        }
        let Some(log) = histories.log(push.to) else {
            return;
        };
        for attempt in &push.attempts {
            let Said::Logged {
                position,
                replicated,
            } = attempt.said
            else {
                continue;
            };
            if let Some((_, id)) = log.records.get(&position)
                && *id != push.id
            {
                let what = format!("push {} is not at {position}", push.text);
                self.is_wrong(Fault::FalseReceipt, push, attempt.answered, what);
            }
            let Some(reading) = histories.after(attempt.answered) else {
                continue;
            };
            let missing = (!log.knows(position, reading)).then_some(reading);
            if replicated {
                self.tally.replicated += 1;
                let lost = missing.or_else(|| log.lost.get(&position).copied());
                self.replicated(histories, (push, attempt), lost);
            }
            let Some(reading) = missing else {
                continue;
            };
            if histories.readings[reading].since.may_lose() {
                *self.tally.receipts_lost.entry(reading).or_default() += 1;
            } else {
                let what = format!(
                    "push {} is called logged at {position}, and is not in reading {reading}",
                    push.text
                );
                self.is_wrong(Fault::FalseReceipt, push, attempt.answered, what);
            }
        }
    }

    /// What a replica had is there after each failover. `lost` is the first reading without it.
    fn replicated(
        &mut self,
        histories: &Histories,
        (push, attempt): (&Push, &Attempt),
        lost: Option<usize>,
    ) {
        let Some(reading) = lost else {
            return;
        };
        if histories.readings[reading].since.may_lose_replicated() {
            self.tally.replicated_emptied += 1;
            return;
        }
        let what = format!(
            "push {} is at a replica, says its receipt {:?}, and is not in reading {reading}",
            push.text, attempt.said
        );
        self.is_wrong(Fault::LostReplicated, push, attempt.answered, what);
    }

    fn is_wrong(&mut self, fault: Fault, push: &Push, at: Duration, what: String) {
        self.wrong.push(Wrong {
            fault,
            channel: push.to,
            at,
            what,
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

    /// Those with whose logs something is wrong, first where it is worst.
    pub(super) fn channels(&self) -> Vec<Channel> {
        let mut seen = HashSet::new();
        let channels = self.wrong.iter().map(|wrong| wrong.channel);
        channels.filter(|channel| seen.insert(*channel)).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::history::Since;
    use super::super::position::Position;
    use super::super::terminals::Event;
    use super::*;

    const USER: Channel = Channel::User(0);

    fn position(number: u64) -> Position {
        format!("{number:014x}{:08x}", 7)
            .parse()
            .expect("a position")
    }

    fn push(number: u64, at: Option<Position>) -> Push {
        let logged = |position| Said::Logged {
            position,
            replicated: false,
        };
        let said = at.map_or(Said::Unknown, logged);
        Push {
            to: USER,
            id: Uuid::from_u128(number.into()),
            text: number.to_string(),
            for_replica: false,
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
        Event::Asks { server: 0, after }
    }

    fn faults(events: Vec<Event>) -> Vec<Fault> {
        let (histories, pushes) = log();
        let at = Duration::from_millis(600);
        let told = Told {
            channel: USER,
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

    /// What becomes of a record at 3 that a replica has, and of one at 2 that none has, when both are lost.
    fn faults_of_a_loss(since: Since) -> Vec<Fault> {
        let (mut histories, mut pushes) = log();
        pushes[2].attempts[0].said = Said::Logged {
            position: position(3),
            replicated: true,
        };
        histories.add_reading(Duration::from_secs(4), since);
        histories.add_records(USER, position(0), &[(position(1), Uuid::from_u128(1))]);
        let judged = judge(&histories, &pushes, &[]);
        assert_eq!(judged.tally.replicated, 1);
        judged.wrong.iter().map(|wrong| wrong.fault).collect()
    }

    #[test]
    fn a_failover_may_lose_what_no_replica_had() {
        assert_eq!(faults_of_a_loss(Since::Lost), [Fault::LostReplicated]);
        assert_eq!(faults_of_a_loss(Since::Split), [Fault::LostReplicated]);
        assert_eq!(faults_of_a_loss(Since::Emptied), []);
    }

    #[test]
    fn what_a_replica_had_may_be_trimmed() {
        let (mut histories, mut pushes) = log();
        pushes[0].attempts[0].said = Said::Logged {
            position: position(1),
            replicated: true,
        };
        histories.add_reading(Duration::from_secs(4), Since::Lost);
        histories.add_records(USER, position(2), &[(position(3), Uuid::from_u128(3))]);
        let judged = judge(&histories, &pushes, &[]);
        assert_eq!(judged.wrong.len(), 0);
        assert_eq!(histories.lost, 0);
    }

    #[test]
    fn who_has_left_a_topic_is_told_nothing_until_it_asks_again() {
        let left = vec![asks(&[]), stands(0, false, false), record(1), Event::Left];
        let again = [asks(&[1, 0]), stands(1, true, false), record(2), record(3)];
        let mut as_it_must_be = left.clone();
        as_it_must_be.extend(again.clone());
        assert_eq!(faults(as_it_must_be), []);
        let mut told = left;
        told.push(record(2));
        told.extend([asks(&[2, 1]), stands(2, true, false), record(3)]);
        assert_eq!(faults(told), [Fault::Other]);
    }
}
