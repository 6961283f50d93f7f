//! What is said beside pushes, what is exactly as large as it may be, and what comes when all has been quiet.

use std::time::Duration;

use super::{AT_REST, CONVERGED, FAULTS, HEAL, LEAVE, ScheduleMaker, USERS};
use crate::schedule::{Act, Sent, To};
use crate::settings::{TIGHT_PUSH_BYTES, TIGHT_PUSH_USERS};
use crate::vocabulary::push::content_of;

/// In some schedules so much time passes, with nothing to do, that what is remembered of pushes is forgotten, and
/// what is known of instances that are gone.
const QUIET: Duration = Duration::from_secs(150);
/// Clients are there again for so long.
const AGAIN: Duration = Duration::from_secs(10);

impl ScheduleMaker {
    /// Some messages find nobody who takes them; and when all has healed, applications ask who is where.
    pub(super) fn words(&mut self) {
        for nth in 0..self.below(4, "unwanted", 0) {
            let (_, client) = self.client("unwanted", nth);
            let what = Sent::Unwanted(self.count(5, "unwanted", nth) as u32);
            let at = self.moment(FAULTS.0, LEAVE, "unwanted", nth);
            self.put(at, Act::Send { client, what });
        }
        for (nth, user) in (0..).zip(USERS) {
            let at = CONVERGED + Duration::from_millis(200);
            let host = self.host("asked at last", nth);
            self.put(at, Act::Instances { at: host });
            let user = user.to_owned();
            self.put(at, Act::Where { at: host, user });
        }
    }

    /// Where limits are tight: pushes that are as large as they may be, and a byte larger; and for as many users
    /// as there may be, and one more.
    pub(super) fn limits(&mut self) {
        for nth in 0..4 {
            let host = self.host("limit", nth);
            let at = self.moment(FAULTS.0, HEAL, "limit", nth);
            let short = format!("b{nth}");
            let bytes = TIGHT_PUSH_BYTES + nth as usize % 2;
            let fill = bytes.saturating_sub(content_of(&short).len());
            let name = short + &"x".repeat(fill);
            let to = To::User(self.one_of(&USERS, "limit", nth).to_owned());
            self.push_at(at, host, to, name);
            let at = self.moment(FAULTS.0, HEAL, "users", nth);
            let users = USERS.iter().take(TIGHT_PUSH_USERS + nth as usize % 2);
            let to = To::Users(users.map(|user| (*user).to_owned()).collect());
            let name = format!("u{nth}");
            self.push_at(at, host, to, name);
        }
    }

    /// After a long quiet some clients come again, are pushed to, and leave.
    pub(super) fn come_again(&mut self) {
        let begin = AT_REST + QUIET;
        for client in 0..self.clients.min(4) {
            let at = self.moment(begin, begin + AGAIN / 4, "again", client);
            let host = Some(self.host("again", client));
            self.connect(at, client, host, None);
        }
        for nth in 0..8 {
            let at = self.moment(begin + AGAIN / 2, begin + AGAIN, "pushed again", nth);
            let host = self.host("pushed again", nth);
            let to = match self.below(4, "pushed again to", nth) {
                0 => To::Everyone,
                _ => To::User(self.one_of(&USERS, "pushed again to", nth).to_owned()),
            };
            let name = format!("again{nth}");
            self.push_at(at, host, to, name);
        }
        let left = begin + AGAIN + Duration::from_millis(500);
        self.put(left, Act::AllLeave);
        self.put(left + (AT_REST - LEAVE), Act::ExpectAtRest);
    }
}
