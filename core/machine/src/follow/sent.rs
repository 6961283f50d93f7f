//! What a follower was sent on its connection: what it may confirm, and from where it can go on if the log has lost
//! the end of it.

use std::hash::{Hash, Hasher};

use super::hooks;
use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaws;
use crate::position::Position;
use crate::time::Instant;
use crate::vocabulary::delivery::Ticket;

/// Records that are remembered, at most: terminals confirm at least every so many.
const REMEMBERED: usize = 64;
/// Confirmed ones among them, at most: positions that the log is asked for in a step back.
const CONFIRMED: usize = 16;
/// Records that are remembered while nothing is sent, at most.
const RESTING: usize = 4;
/// Deliveries that wait for a confirmation, at most: one for each record that may be confirmed, and as many again for
/// repeats and for records that are kept.
const WAITING: usize = 2 * REMEMBERED;

/// The records that one follower was sent lately. There is nothing of it before the first.
#[derive(Clone, Debug, Default)]
pub(super) struct SentRecords {
    /// Their positions, in the order in which they were sent: so few that to move them all costs less than a ring would.
    positions: Vec<Position>,
    /// How many records were put so far, less those that a step back has taken away: the number of the newest.
    newest: u64,
    /// The number of the newest that is confirmed, and with it all before.
    confirmed: u64,
    /// How many of them, up to the newest, each follow the one before in the log, up to where the follower stands.
    chained: u8,
    activity: Activity,
    /// Deliveries that wait for the confirmation of a record.
    #[expect(clippy::box_collection, reason = "there is none as a rule")]
    waiting: Option<Box<Vec<Waiter>>>,
}

/// A delivery that waits for the confirmation of a record.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    position: Position,
    /// The number of the record among those that were put, which stays when its position is forgotten. `None`
    /// if it was not put yet.
    number: Option<u64>,
    ticket: Ticket,
    /// When it is answered in any case.
    until: Instant,
}

/// Whether anything is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Activity {
    /// Something was, since it was last looked at.
    #[default]
    Busy,
    /// Nothing was sent since it was last looked at.
    Resting,
}

/// What a confirmation says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Confirmed {
    /// Records that are confirmed by it.
    pub(super) records: u64,
    /// The deliveries that have waited for it.
    pub(super) tickets: Vec<Ticket>,
}

impl SentRecords {
    /// A record was put into the queue: the successor of what the follower held.
    pub(super) fn put(&mut self, position: Position) {
        if self.positions.len() == REMEMBERED {
            self.forget_oldest(1);
        }
        self.positions.push(position);
        self.newest += 1;
        self.chained += 1;
        self.activity = Activity::Busy;
        let newest = Some(self.newest);
        let of_it = (self.waiters_mut()).filter(|waiter| waiter.position == position);
        of_it.for_each(|waiter| waiter.number = newest);
    }

    /// The follower confirms a record, and all before it. `None`: it is not among those that were sent and are not
    /// confirmed.
    pub(super) fn confirm(&mut self, flaws: Flaws, position: Position) -> Option<Confirmed> {
        let open = &self.positions[self.confirmed_here()..];
        // After a gap a record may be put a second time.
        let before = open.iter().rposition(|sent| *sent == position)?;
        let behind = open.len() - before - 1;
        self.confirmed = self.newest - behind as u64;
        let mut tickets = Vec::new();
        let up_to = self.confirmed;
        self.retain_waiters(|waiter| {
            let is_sent_before = waiter.number.is_some_and(|number| number <= up_to);
            let is_confirmed =
                hooks::is_confirmed_by(flaws, is_sent_before, waiter.position, position);
            if is_confirmed {
                tickets.push(waiter.ticket);
            }
            !is_confirmed
        });
        let superfluous = self.positions.len().saturating_sub(CONFIRMED);
        self.forget_oldest(superfluous.min(self.confirmed_here()));
        Some(Confirmed {
            records: before as u64 + 1,
            tickets,
        })
    }

    /// Something is missing behind what was sent: what comes does not follow it.
    pub(super) const fn break_off(&mut self) {
        self.chained = 0;
    }

    /// The follower stands at an earlier position: what was sent behind it is lost to the log, and cannot be
    /// confirmed.
    pub(super) fn step_back(&mut self, to: Position) {
        while self.chained > 0 && self.positions.last() != Some(&to) {
            self.positions.pop();
            self.newest -= 1;
            self.chained -= 1;
        }
        self.confirmed = self.confirmed.min(self.newest);
        let newest = self.newest;
        for waiter in self.waiters_mut() {
            waiter.number = waiter.number.filter(|number| *number <= newest);
        }
    }

    /// Where the follower stands and stood before, newest first: it was sent all that follows each of them.
    pub(super) fn chain(&self) -> impl Iterator<Item = Position> {
        let chained = usize::from(self.chained);
        self.positions.iter().rev().take(chained).copied()
    }

    /// Whether the record at this position was sent.
    pub(super) fn has(&self, position: Position) -> bool {
        self.positions.contains(&position)
    }

    /// Whether the record at this position was confirmed.
    pub(super) fn is_confirmed(&self, position: Position) -> bool {
        self.positions[..self.confirmed_here()].contains(&position)
    }

    /// How many records were sent that the log has not lost, and how many of them are confirmed.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.newest, self.confirmed)
    }

    /// A delivery waits for the confirmation of a record, until it is answered in any case. If too many do, the one
    /// that has waited for longest learns nothing more.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        position: Position,
        ticket: Ticket,
        until: Instant,
    ) {
        let behind = (self.positions.iter().rev()).position(|sent| *sent == position);
        let number = behind.map(|behind| self.newest - behind as u64);
        let waiting = self.waiting.get_or_insert_default();
        waiting.retain(|waiter| waiter.until > now);
        if waiting.len() == WAITING {
            waiting.remove(0);
        }
        waiting.push(Waiter {
            position,
            number,
            ticket,
            until,
        });
    }

    /// The first delivery that waits for the confirmation of a record.
    pub(super) fn waiting_for(&self, position: Position) -> Option<Ticket> {
        let mut waiting = self.waiting.iter().flat_map(|waiting| waiting.iter());
        let waiter = waiting.find(|waiter| waiter.position == position)?;
        Some(waiter.ticket)
    }

    /// The deliveries that wait for the confirmation of a record that cannot be sent. They wait no longer.
    pub(super) fn take_waiting_for(&mut self, position: Position) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        self.retain_waiters(|waiter| {
            let is_of_it = waiter.position == position;
            if is_of_it {
                tickets.push(waiter.ticket);
            }
            !is_of_it
        });
        tickets
    }

    /// The deliveries that wait, whatever for.
    pub(super) fn into_waiting(self) -> impl Iterator<Item = Ticket> {
        let waiting = self.waiting.map_or_else(Vec::new, |waiting| *waiting);
        waiting.into_iter().map(|waiter| waiter.ticket)
    }

    /// Gives up most of its memory if nothing was sent since it was asked to last.
    pub(super) fn rest(&mut self, now: Instant) {
        match std::mem::replace(&mut self.activity, Activity::Resting) {
            Activity::Busy => {}
            Activity::Resting => {
                self.forget_oldest(self.positions.len().saturating_sub(RESTING));
                self.positions.shrink_to_fit();
                self.retain_waiters(|waiter| waiter.until > now);
            }
        }
    }

    /// How many of the positions that are remembered are confirmed, from the oldest on.
    fn confirmed_here(&self) -> usize {
        let open = usize::try_from(self.newest - self.confirmed).unwrap_or(usize::MAX);
        self.positions.len().saturating_sub(open)
    }

    fn forget_oldest(&mut self, count: usize) {
        self.positions.drain(..count);
        let left = u8::try_from(self.positions.len()).unwrap_or(u8::MAX);
        self.chained = self.chained.min(left);
    }

    fn waiters_mut(&mut self) -> impl Iterator<Item = &mut Waiter> {
        self.waiting
            .iter_mut()
            .flat_map(|waiting| waiting.iter_mut())
    }

    fn retain_waiters(&mut self, keeps: impl FnMut(&Waiter) -> bool) {
        if let Some(waiting) = &mut self.waiting {
            waiting.retain(keeps);
            if waiting.is_empty() {
                self.waiting = None;
            }
        }
    }
}

impl Fingerprint for SentRecords {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        let Self {
            positions,
            newest,
            confirmed,
            chained,
            waiting,
            activity,
        } = self;
        (positions, newest, confirmed, chained, activity).hash(hasher);
        for waiter in waiting.iter().flat_map(|waiting| waiting.iter()) {
            let behind = waiter.number.map(|number| newest - number);
            (waiter.position, behind, waiter.ticket).hash(hasher);
            waiter.until.fingerprint(now, hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::SlotKey;
    use crate::id::{InboundKey, PushId};

    fn at(number: u64) -> Position {
        Position::new(number, 0).expect("in range")
    }

    fn ticket(index: u32) -> Ticket {
        Ticket {
            delivery: InboundKey::new(0, 0),
            index,
            push: PushId::new(uuid::Uuid::nil()),
        }
    }

    fn wait(sent: &mut SentRecords, position: u64, index: u32) {
        let until = Instant::from_nanos(10);
        sent.wait(Instant::START, at(position), ticket(index), until);
    }

    fn sent(numbers: impl IntoIterator<Item = u64>) -> SentRecords {
        let mut sent = SentRecords::default();
        for number in numbers {
            sent.put(at(number));
        }
        sent
    }

    fn chain(sent: &SentRecords) -> Vec<u64> {
        sent.chain().map(Position::offset).collect()
    }

    #[test]
    fn a_confirmation_is_of_all_that_was_sent_before_and_of_nothing_else() {
        // Their numbers say nothing about their order.
        let mut sent = sent([7, 3, 9, 1]);
        wait(&mut sent, 3, 3);
        wait(&mut sent, 9, 9);
        assert_eq!(sent.confirm(Flaws::NONE, at(8)), None);
        let expected = Confirmed {
            records: 2,
            tickets: vec![ticket(3)],
        };
        assert_eq!(sent.confirm(Flaws::NONE, at(3)), Some(expected));
        assert_eq!(sent.confirm(Flaws::NONE, at(3)), None, "it is confirmed");
        assert_eq!(sent.confirm(Flaws::NONE, at(7)), None, "it was before that");
        assert!(sent.is_confirmed(at(7)) && !sent.is_confirmed(at(9)));
        let rest = sent.confirm(Flaws::NONE, at(1)).expect("sent");
        assert_eq!((rest.records, rest.tickets), (2, vec![ticket(9)]));
        assert_eq!(sent.counts(), (4, 4));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut sent = sent(0..=REMEMBERED as u64);
        assert_eq!(sent.confirm(Flaws::NONE, at(0)), None, "forgotten");
        assert_eq!(sent.positions.len(), REMEMBERED);
        assert_eq!(sent.chain().count(), REMEMBERED);
        for index in 0..=WAITING as u32 {
            wait(&mut sent, 99, index);
        }
        assert_eq!(sent.waiting.as_ref().map(|all| all.len()), Some(WAITING));
        assert_eq!(sent.waiting_for(at(99)), Some(ticket(1)));
        let all = sent
            .confirm(Flaws::NONE, at(REMEMBERED as u64))
            .expect("sent");
        assert_eq!(all.records, REMEMBERED as u64);
        assert_eq!(sent.positions.len(), CONFIRMED);
    }

    #[test]
    fn a_record_whose_position_is_forgotten_is_confirmed_by_a_later_one() {
        let mut sent = sent([0]);
        wait(&mut sent, 0, 7);
        wait(&mut sent, REMEMBERED as u64, 8);
        for number in 1..=REMEMBERED as u64 {
            sent.put(at(number));
        }
        let confirmed = sent
            .confirm(Flaws::NONE, at(REMEMBERED as u64))
            .expect("sent");
        assert_eq!(confirmed.tickets, [ticket(7), ticket(8)]);
    }

    /// A failover has lost more than a step back asks for: all that is kept comes again.
    #[test]
    fn a_record_that_was_put_twice_is_confirmed_with_all_before_it() {
        let mut sent = sent([1, 2]);
        sent.break_off();
        sent.put(at(1));
        sent.put(at(2));
        let confirmed = sent.confirm(Flaws::NONE, at(2)).expect("sent");
        assert_eq!((confirmed.records, sent.confirmed), (4, 4));
    }

    #[test]
    fn what_is_lost_to_the_log_is_not_confirmed_by_what_comes_in_its_place() {
        let mut sent = sent([1, 2]);
        wait(&mut sent, 2, 2);
        sent.step_back(at(1));
        sent.put(at(3));
        assert!(
            sent.confirm(Flaws::NONE, at(3))
                .expect("sent")
                .tickets
                .is_empty()
        );
        sent.put(at(2));
        assert_eq!(
            sent.confirm(Flaws::NONE, at(2)).expect("sent").tickets,
            [ticket(2)]
        );
    }

    #[test]
    fn what_the_log_has_lost_cannot_be_confirmed_and_what_comes_does_not_follow_it() {
        let mut sent = sent([1, 2, 3]);
        sent.confirm(Flaws::NONE, at(3));
        sent.step_back(at(1));
        sent.put(at(4));
        assert_eq!(chain(&sent), [4, 1]);
        assert_eq!(sent.confirm(Flaws::NONE, at(3)), None);
        assert!(!sent.is_confirmed(at(4)));
        sent.break_off();
        sent.put(at(5));
        assert_eq!(chain(&sent), [5]);
        sent.step_back(at(0));
        assert_eq!(chain(&sent), [0; 0]);
        assert_eq!(sent.confirm(Flaws::NONE, at(4)).expect("sent").records, 1);
    }

    #[test]
    fn little_is_remembered_while_nothing_is_sent() {
        let mut sent = sent(0..20);
        wait(&mut sent, 19, 0);
        let (now, later) = (Instant::from_nanos(9), Instant::from_nanos(10));
        sent.rest(now);
        assert_eq!(sent.positions.len(), 20);
        sent.rest(now);
        assert_eq!(chain(&sent), [19, 18, 17, 16]);
        assert_eq!(sent.positions.capacity(), RESTING);
        assert_eq!(sent.waiting_for(at(19)), Some(ticket(0)));
        sent.rest(later);
        assert_eq!(sent.waiting_for(at(19)), None);
        sent.put(at(20));
        sent.rest(later);
        assert_eq!(sent.confirm(Flaws::NONE, at(20)).expect("sent").records, 5);
    }
}
