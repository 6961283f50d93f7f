//! What an instance counts.

use std::time::Duration;

use crate::event::Ending;

/// Counters since the instance's start. They decide nothing; one of them, `pushes`, is published
/// with the lease ([`Load`](crate::directory::Load)), for people to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Terminals whose handshake was accepted.
    pub accepted: u64,
    /// Terminals greeted as degraded, because their row was not written in time.
    pub greeted_degraded: u64,
    /// Terminals whose socket has gone, by reason.
    pub gone: Gone,
    /// Memberships in topics that have begun.
    pub topic_joins: u64,
    /// Memberships in topics that have ended.
    pub topic_leaves: u64,
    /// Joins that were refused.
    pub topic_joins_refused: u64,
    /// Topics that were read for those who watch their members.
    pub presence_readings: u64,
    /// Those of them that were read late.
    pub presence_readings_late: u64,
    /// Messages that terminals have sent to the application.
    pub messages: u64,
    /// Frames given to sockets.
    pub frames: u64,
    /// Frames lost to full queues.
    pub overflows: u64,
    /// Pushes that were handed in here and taken.
    pub pushes: u64,
    /// Pushes that were handed in here and refused.
    pub pushes_refused: u64,
    /// Receipts that said `degraded`.
    pub degraded: u64,
    /// Terminals in receipts, by outcome.
    pub outcomes: crate::message::Counts,
    /// Frames that a repeat would have written a second time.
    pub repeats: u64,
    /// Round trips to the directory.
    pub trips: u64,
    /// Operations in these round trips.
    pub operations: u64,
    /// Round trips that were given up.
    pub trips_timed_out: u64,
    /// Answers that came after that.
    pub late_answers: u64,
    /// Operations that the directory refused.
    pub directory_refusals: u64,
    /// Entries of the directory that could not be understood.
    pub malformed_entries: u64,
    /// Rows of others that were found dead or gone, and removed.
    pub rows_removed: u64,
    /// Times that the instance settled.
    pub settlings: u64,
    /// Links to other instances that were opened and proven, by either end.
    pub links_opened: u64,
    /// Links that broke, or could not be opened.
    pub links_failed: u64,
    /// Messages to peers that found no room in the queue of their link: answers, and signs of life.
    pub link_overflows: u64,
    /// Links opened to peers that have other settings.
    pub peers_differ: u64,
    /// Peers refused, or by whom this instance was: wrong version, wrong secret, not of the protocol.
    pub peers_refused: u64,
    /// Links whose other end had not proven itself when so many others came that it gave way.
    pub strangers_ended: u64,
    /// Records appended to logs.
    pub appended: u64,
    /// Bytes of their payloads.
    pub appended_bytes: u64,
    /// The times from their handing in until they were records.
    pub append_times: Times,
    /// Appends of pushes that the log knew.
    pub append_repeats: u64,
    /// Records of which a replica was asked for.
    pub replicas_asked: u64,
    /// Those of them that a replica had in time.
    pub replicated: u64,
    /// Reads of logs for followers.
    pub log_reads: u64,
    /// Reads that found records.
    pub log_replays: u64,
    /// Times that a follower fell behind: its queue had no room for a record.
    pub log_fell_behind: u64,
    /// Logs of which other instances said that a record was not delivered.
    pub log_missed: u64,
    /// Records that were read for them.
    pub log_replayed: u64,
    /// Records that came to a follower which had them.
    pub log_repeats: u64,
    /// Records that followers have confirmed.
    pub log_acked: u64,
    /// Confirmations of what was not sent on the connection, is forgotten, or was confirmed before.
    pub log_acks_dropped: u64,
    /// Reads of logs that were not answered, or refused.
    pub log_reads_failed: u64,
    /// Followers that went on with something missing, by reason.
    pub log_gaps: Gaps,
    /// Followers that went on from a position they had left.
    pub log_steps_back: u64,
    /// Heads of logs that were compared with where followers stand.
    pub log_checks: u64,
    /// Followers that were found elsewhere, while nothing was read for them. The record may have been on its way.
    pub log_check_misses: u64,
    /// Events for keys that are out of date.
    pub stale_events: u64,
    /// States that only a bug can reach.
    pub bugs: u64,
}

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How often it took at most as long as each of [`BOUNDS`](Self::BOUNDS) and longer than the one before; the last one
    /// is of what took longer than all.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// Microseconds that it took, together.
    pub micros: u64,
}

impl Times {
    /// From a push between two terminals of one process to the longest deadline.
    pub const BOUNDS: [Duration; 15] = [
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2_500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(3),
        Duration::from_secs(30),
    ];

    pub(crate) fn count(&mut self, took: Duration) {
        let place = Self::BOUNDS.partition_point(|bound| *bound < took);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros = self.micros.saturating_add(micros);
    }
}

/// How many connections have ended, by reason: in the order of [`Ending::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone(pub [u64; Ending::ALL.len()]);

impl Gone {
    /// Each reason and how often it came.
    pub fn iter(&self) -> impl Iterator<Item = (Ending, u64)> + '_ {
        Ending::ALL.into_iter().zip(self.0)
    }

    /// How many ended for this reason.
    pub fn of(&self, ending: Ending) -> u64 {
        let found = self.iter().find(|(other, _)| *other == ending);
        found.map_or(0, |(_, count)| count)
    }

    pub(crate) fn count(&mut self, ending: Ending) {
        let position = Ending::ALL.iter().position(|other| *other == ending);
        if let Some(count) = position.and_then(|position| self.0.get_mut(position)) {
            *count += 1;
        }
    }
}

/// Why a follower goes on with something missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// It came with a position that the log does not know: it was away for too long, or the log has lost what it had.
    Expired,
    /// The log does not know any position where it stood on this connection: it was lost, or the follower was behind
    /// for too long.
    Lost,
    /// A record is larger than its queue.
    TooLarge,
    /// What stands in the log is no record.
    Malformed,
}

impl GapReason {
    /// Each reason once, in the order of the variants.
    pub const ALL: [Self; 4] = [Self::Expired, Self::Lost, Self::TooLarge, Self::Malformed];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
        }
    }
}

/// How many gaps followers were told of, by reason: in the order of [`GapReason::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps(pub [u64; GapReason::ALL.len()]);

impl Gaps {
    /// Each reason and how often it came.
    pub fn iter(&self) -> impl Iterator<Item = (GapReason, u64)> + '_ {
        GapReason::ALL.into_iter().zip(self.0)
    }

    pub(crate) fn count(&mut self, reason: GapReason) {
        for (other, count) in GapReason::ALL.into_iter().zip(&mut self.0) {
            *count += u64::from(other == reason);
        }
    }
}

/// How full one of an instance's tables or queues is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The setting that limits it: a field of [`Config`](crate::config::Config).
    pub setting: &'static str,
    /// Entries that it has, or bytes where the setting is in bytes.
    pub used: usize,
    /// What it may hold.
    pub limit: usize,
}

/// All levels of an instance.
pub type Levels = [Level; 11];

/// How many entries each of an instance's tables and queues has, whether a setting limits it or not. When
/// nothing is left to do they are those of a fresh instance, but for what is known of the other instances
/// and of late pushes: anything else was forgotten to be forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Connections that are not forgotten.
    pub connections: usize,
    /// Those that are found by their name.
    pub connections_by_id: usize,
    /// Users who are found.
    pub connections_by_key: usize,
    /// Connections in the order of their age.
    pub connections_by_age: usize,
    /// Users with a greeted terminal.
    pub users_online: usize,
    /// Frames that wait for terminals, and answers to their messages.
    pub outbound: usize,
    /// Operations that wait for the directory.
    pub operations: usize,
    /// Round trips under way.
    pub trips: usize,
    /// Topics that have members at this instance.
    pub topics: usize,
    /// Memberships of terminals in topics.
    pub members: usize,
    /// Members who wait for the directory.
    pub joining: usize,
    /// Topics whose members are read for some of them.
    pub watched_topics: usize,
    /// What is known of the rows of topics.
    pub topic_rows: usize,
    /// Pushes to topics that wait to be routed.
    pub topic_pushes: usize,
    /// Lookups that they wait for.
    pub topic_lookups: usize,
    /// Rows that the directory refused and that are tried again.
    pub refused_rows: usize,
    /// Rows that settling writes once more.
    pub rows_again: usize,
    /// Terminals that were greeted without a row, and have none yet.
    pub degraded: usize,
    /// Other instances that are known.
    pub known: usize,
    /// Pushes that wait for their receipt.
    pub pushes: usize,
    /// Those of them that terminals have handed in.
    pub publications: usize,
    /// Readings of topics among them.
    pub readings: usize,
    /// What is passed on for terminals of other instances among them.
    pub relays: usize,
    /// Users whose pushes are kept in order.
    pub lanes: usize,
    /// Deliveries whose answers a push waits for.
    pub deliveries: usize,
    /// What waits for the others' leases to be read.
    pub waiting: usize,
    /// Parts of durable pushes that are appended on the next link.
    pub unappended: usize,
    /// Records of which a replica is asked for, or is to be.
    pub awaited_replicas: usize,
    /// Terminals that follow their log.
    pub followers: usize,
    /// Logs that are followed.
    pub channels: usize,
    /// Records held back for followers until their predecessors come.
    pub held: usize,
    /// Bytes of their payloads.
    pub held_bytes: usize,
    /// Reads of logs, under way or waiting for a place.
    pub reads: usize,
    /// Deliveries that are served here.
    pub inbound: usize,
    /// Pushes to everyone that are being written here.
    pub broadcasts: usize,
    /// What is remembered of pushes, in the order in which it is forgotten.
    pub memory: usize,
    /// What is found of it: pushes at connections, pushes to everyone, and users who were asked for.
    pub remembered: usize,
    /// Other instances that there is, was or may be a link to.
    pub peers: usize,
    /// Deliveries that wait for a link.
    pub queued: usize,
    /// Bytes that they are taken for.
    pub queued_bytes: usize,
    /// Deliveries that have left over a link, and were not answered.
    pub unanswered: usize,
    /// Links that have a slot: open, being opened, or not over yet.
    pub links: usize,
    /// Those of which nobody knows yet whose they are.
    pub strangers: usize,
    /// Messages that wait on links.
    pub answers: usize,
    /// Bytes that they are taken for.
    pub answer_bytes: usize,
}

/// What an instance holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Connections that it holds, those included whose end has begun.
    pub connections: usize,
    /// Connections among them whose terminals have not said who they are.
    pub authenticating: usize,
    /// Users that have connections at this instance.
    pub users: usize,
    /// Topics with members here.
    pub topics: usize,
    /// Memberships of terminals in topics.
    pub members: usize,
    /// Pushes that wait for their receipt.
    pub pushes: usize,
    /// Links to other instances that are open.
    pub links: usize,
    /// Instances in its view.
    pub instances: usize,
    /// Terminals that follow their log.
    pub followers: usize,
    /// Those of them whose log is being read, or waits for that.
    pub followers_reading: usize,
    /// For how long the follower has been without what its log may have, of whom that is so for the longest time.
    pub follower_lag: Duration,
    /// Bytes of the payloads of records that were appended here whose retention is not over: an estimate of what logs
    /// keep of them.
    pub log_kept_bytes: u64,
    /// Its epoch: 0 before the first claim.
    pub epoch: u64,
    /// The directory link is there and the lease is held.
    pub directory: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_up_to_the_first_bound_that_it_does_not_exceed() {
        let mut times = Times::default();
        let of_a_second = Times::BOUNDS
            .iter()
            .position(|bound| *bound == Duration::from_secs(1));
        let of_a_second = of_a_second.expect("a bound");
        times.count(Duration::from_secs(1));
        times.count(Duration::from_micros(1_000_001));
        times.count(Duration::from_secs(31));
        times.count(Duration::ZERO);
        let mut counts = [0; Times::BOUNDS.len() + 1];
        counts[0] = 1;
        counts[of_a_second] = 1;
        counts[of_a_second + 1] = 1;
        counts[Times::BOUNDS.len()] = 1;
        assert_eq!((times.counts, times.micros), (counts, 33_000_001));
    }
}
