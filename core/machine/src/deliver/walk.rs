//! One push to everyone, or to the members of topics, at one instance: to whom it comes, and what has become of it.

use std::cmp::Ordering;
use std::hash::{Hash as _, Hasher};

use crate::base::fingerprint::Fingerprint;
use crate::base::flaws::Flaws;
use crate::channel::Channel;
use crate::deliver::fate::Fate;
use crate::deliver::repeat::WalkId;
use crate::id::{ConnectionId, ConnectionKey, PushId, TopicId};
use crate::message::{Action, Counts, PushedBy, Until};
use crate::terminals::Terminals;
use crate::time::Instant;
use crate::vocabulary::delivery::{Breadth, ChainedRecord, Deed};
use crate::vocabulary::terminal::Age;

/// How far a push to everyone, or to members of topics, is.
#[derive(Clone, Debug)]
pub(super) struct Broadcasting {
    pub(super) route: WalkRoute,
    pub(super) by: PushedBy,
    /// What it does to terminals, by the topic whose members they are; one for everyone.
    deeds: Vec<Deed>,
    pub(super) walk: Walk,
    visits: Visits,
    /// Terminals that do not follow the log of the topic, by outcome.
    counts: Counts,
    /// Terminals visited and without an outcome.
    pub(super) open: u64,
    /// Terminals not visited, those included that have gone in the meantime.
    pub(super) unvisited: u64,
    /// What it is in the log of its topic, for those who follow that.
    pub(super) record: Option<Box<WalkRecord>>,
}

/// A record of the log of a topic on its way to the members.
#[derive(Clone, Debug)]
pub(super) struct WalkRecord {
    pub(super) channel: Channel,
    pub(super) record: ChainedRecord,
    pub(super) until: Until,
    pub(super) breadth: Breadth,
    /// What becomes of it at each follower, in the order of the walk.
    fates: Vec<Fate>,
    /// Followers of the log that it has not come to.
    left: u64,
    /// Of a repeat: what had become of the push at those who followed the log then.
    before: Counts,
}

impl WalkRecord {
    /// Of a record of a log that so many terminals follow here.
    pub(super) fn new(
        channel: Channel,
        record: ChainedRecord,
        (until, breadth): (Until, Breadth),
        followers: u64,
    ) -> Self {
        Self {
            channel,
            record,
            until,
            breadth,
            fates: Vec::new(),
            left: followers,
            before: ZERO,
        }
    }

    /// Whether a member may be one of several topics that the push is for, and whether it is told of the push as a member of
    /// another one, as it was not told that it is one of this.
    pub(super) fn meets(&self, member: ConnectionKey, terminals: &Terminals) -> (bool, bool) {
        let (Breadth::SeveralTopics(marks), Some(topic)) = (&self.breadth, self.channel.topic())
        else {
            return (false, false);
        };
        let joins = terminals.joins_as_another_of(member, topic, marks);
        (terminals.may_be_in_several(member, marks), joins)
    }

    /// It comes to one more follower. Returns the number by which that one is known.
    pub(super) fn comes_to_follower(&mut self) -> u32 {
        self.left = self.left.saturating_sub(1);
        self.fates.push(Fate::new(self.until));
        u32::try_from(self.fates.len()).unwrap_or(u32::MAX)
    }

    /// What has become of it at the followers to whom it has come.
    fn at_followers(&self) -> Counts {
        let mut counts = ZERO;
        self.fates
            .iter()
            .for_each(|fate| counts.add(fate.outcome()));
        counts
    }

    /// Of a repeat: how many follow now who did not the first time, when what became of it at them was that of others.
    fn newcomers(&self) -> u64 {
        if self.knows_less() {
            return 0;
        }
        let Counts {
            written,
            queued,
            kept,
            acked,
            ..
        } = self.before;
        let before = written + queued + kept + acked + self.before.failed();
        let now = self.fates.len() as u64 + self.left;
        now.saturating_sub(before)
    }

    /// Whether more had confirmed the first time than have now: those that had may follow no longer, and what is known
    /// of that is not given up.
    fn knows_less(&self) -> bool {
        self.at_followers().acked < self.before.acked
    }
}

/// The terminals that a walk comes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum WalkRoute {
    /// All terminals of the instance.
    Everyone,
    /// The members of topics, each terminal once.
    Members {
        /// The topics, in their order.
        topics: Vec<TopicId>,
        /// A connection that it leaves out.
        except: Option<ConnectionId>,
    },
}

impl WalkRoute {
    /// The members of topics, each once.
    pub(super) fn of_members(mut topics: Vec<TopicId>, except: Option<ConnectionId>) -> Self {
        topics.sort_unstable();
        topics.dedup();
        Self::Members { topics, except }
    }

    /// How many terminals there are on it. Members of several topics are counted for each.
    fn terminals(&self, terminals: &Terminals) -> usize {
        match self {
            Self::Everyone => terminals.present(),
            Self::Members { topics, .. } => {
                topics.iter().map(|topic| terminals.members(topic)).sum()
            }
        }
    }

    /// Whether pushes on both have to keep their order.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everyone, Self::Everyone) => true,
            (Self::Members { topics, .. }, Self::Members { topics: others, .. }) => {
                (topics.iter()).any(|topic| others.binary_search(topic).is_ok())
            }
            (Self::Everyone, Self::Members { .. }) | (Self::Members { .. }, Self::Everyone) => {
                false
            }
        }
    }
}

/// To whom of the terminals on its way it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Visits {
    /// To all of them.
    All,
    /// To those that follow the log of the topic, who may have confirmed since. It is a repeat: what became of it at others
    /// is known.
    Followers,
}

/// Which terminals have been visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Walk {
    /// All that are younger; terminals that come after the beginning are not visited.
    At { age: Age },
    /// All have been visited.
    Done,
    /// None: an earlier delivery of the same push serves them, and its counts are waited for.
    Waiting,
    /// None: an earlier delivery of the same push serves them, or there is no room for another one.
    Skipped,
}

impl Broadcasting {
    pub(super) fn new(
        flaws: Flaws,
        push: PushId,
        action: &Action,
        (route, by): (WalkRoute, PushedBy),
        terminals: &Terminals,
    ) -> Self {
        let topics: Vec<_> = match &route {
            WalkRoute::Everyone => vec![None],
            WalkRoute::Members { topics, .. } => topics.iter().map(Some).collect(),
        };
        let deeds = topics
            .into_iter()
            .map(|topic| Deed::new(flaws, push, (None, topic), action));
        Self {
            deeds: deeds.collect(),
            unvisited: route.terminals(terminals) as u64,
            route,
            by,
            walk: Walk::At { age: Age::YOUNGEST },
            visits: Visits::All,
            counts: ZERO,
            open: 0,
            record: None,
        }
    }

    /// The same, of a record.
    pub(super) fn of_record(self, record: WalkRecord) -> Self {
        Self {
            record: Some(Box::new(record)),
            ..self
        }
    }

    /// Whether it waits for an earlier one. Records of one log do, whoever has pushed them: their order is that of the log,
    /// and a follower to whom one comes early reads all that it may lack. Nothing waits for a repeat that asks for
    /// confirmations: it brings nothing.
    pub(super) fn waits_for(&self, earlier: &Self) -> bool {
        if !earlier.visits_others() {
            return false;
        }
        if self.is_of_the_log_of(earlier) {
            return true;
        }
        match (self.by, earlier.by) {
            (PushedBy::Application, PushedBy::Terminal) => false,
            (PushedBy::Application, PushedBy::Application)
            | (PushedBy::Terminal, PushedBy::Application | PushedBy::Terminal) => {
                earlier.route.meets(&self.route)
            }
        }
    }

    /// Whether both are records of one log.
    pub(super) fn is_of_the_log_of(&self, other: &Self) -> bool {
        let records = self.record.as_ref().zip(other.record.as_ref());
        records.is_some_and(|(own, other)| own.channel == other.channel)
    }

    /// Whether it brings the record of another one to whoever follows the log.
    pub(super) fn brings_the_record_of(&self, other: &Self) -> bool {
        let place = |walk: &Self| walk.record.as_ref().map(|record| record.record.place);
        self.visits_others() && self.is_of_the_log_of(other) && place(self) == place(other)
    }

    /// Whether both are records of one log, and this one most likely stands before the other in it. That its offset is lower
    /// says so unless a failover came between, and then followers read. A repeat that asks for confirmations goes before none.
    pub(super) fn goes_before(&self, other: &Self) -> bool {
        let offset = |walk: &Self| {
            let record = walk.record.as_ref()?;
            Some(record.record.place.position.offset())
        };
        self.visits_others() && self.is_of_the_log_of(other) && offset(self) < offset(other)
    }

    /// The next terminal and what is done to it, if there is one left. All topics are walked at once: whoever joins or
    /// leaves one of them meanwhile is met at most once.
    pub(super) fn next(&self, terminals: &Terminals) -> Option<(Age, ConnectionKey, &Deed)> {
        let Walk::At { age } = self.walk else {
            return None;
        };
        match &self.route {
            WalkRoute::Everyone => {
                let (age, connection) = terminals.next_older(age)?;
                Some((age, connection, self.deeds.first()?))
            }
            WalkRoute::Members { topics, .. } => {
                let of_topics = topics.iter().zip(&self.deeds).filter_map(|(topic, deed)| {
                    let (age, connection) = terminals.next_older_member(topic, age)?;
                    Some((age, connection, topic, deed))
                });
                // Of topics that have the same one: the first of which it was told that it is a member, or the first.
                let knows = |connection, topic| terminals.knows_to_be_member(connection, topic);
                let first = of_topics.reduce(|first, other| match other.0.cmp(&first.0) {
                    Ordering::Greater => other,
                    Ordering::Equal if !knows(first.1, first.2) && knows(other.1, other.2) => other,
                    Ordering::Equal | Ordering::Less => first,
                });
                first.map(|(age, connection, _, deed)| (age, connection, deed))
            }
        }
    }

    /// How many walks its push has at each instance, at most: one for each of its topics.
    pub(super) fn walks_of_its_push(&self) -> u64 {
        match self.record.as_ref().map(|record| &record.breadth) {
            Some(Breadth::SeveralTopics(marks)) => marks.len().max(1) as u64,
            Some(Breadth::OneTopic) | None => 1,
        }
    }

    /// By what a repeat of it is known.
    pub(super) fn id(&self, push: PushId) -> WalkId {
        let topics = match &self.route {
            WalkRoute::Everyone => Vec::new(),
            WalkRoute::Members { topics, .. } => topics.clone(),
        };
        (push, topics)
    }

    /// Whether a terminal that it has come to is left out.
    pub(super) fn leaves_out(&self, id: ConnectionId) -> bool {
        match &self.route {
            WalkRoute::Everyone => false,
            WalkRoute::Members { except, .. } => *except == Some(id),
        }
    }

    /// Something has become of it at one of its terminals: at the follower of this number, or at any other if the number is
    /// zero.
    pub(super) fn learn(&mut self, number: u32, fate: impl FnOnce(Fate) -> Fate) {
        let Some(place) = number.checked_sub(1) else {
            match fate(Fate::Open) {
                Fate::Open | Fate::Unconfirmed(_) => {}
                Fate::Settled(outcome) => {
                    self.open = self.open.saturating_sub(1);
                    self.counts.add(outcome);
                }
            }
            return;
        };
        let fates = self.record.as_mut().map(|record| &mut record.fates);
        let known = fates.and_then(|fates| fates.get_mut(place as usize));
        if let Some(known) = known.filter(|known| !known.is_settled()) {
            *known = fate(*known);
            self.open = self.open.saturating_sub(u64::from(known.is_settled()));
        }
    }

    /// It waits for no confirmation any more: what has become of it without one counts.
    pub(super) fn await_no_more(&mut self) {
        let Some(record) = &mut self.record else {
            return;
        };
        record.until = Until::Written;
        for fate in record.fates.iter_mut().filter(|fate| !fate.is_settled()) {
            *fate = fate.unconfirmed();
            self.open = self.open.saturating_sub(u64::from(fate.is_settled()));
        }
    }

    /// Whether it waits for confirmations.
    pub(super) fn awaits_confirmations(&self) -> bool {
        let record = self.record.as_ref();
        record.is_some_and(|record| record.until == Until::Acked)
    }

    pub(super) fn is_complete(&self) -> bool {
        match self.walk {
            Walk::At { .. } | Walk::Waiting => false,
            Walk::Done => self.open == 0,
            Walk::Skipped => true,
        }
    }

    /// Whether it has come to all of its terminals.
    pub(super) fn is_done(&self) -> bool {
        self.walk == Walk::Done
    }

    /// Whether it serves terminals itself: its counts are what a repeat is told.
    pub(super) const fn is_first(&self) -> bool {
        match self.walk {
            Walk::At { .. } | Walk::Done => true,
            Walk::Waiting | Walk::Skipped => false,
        }
    }

    /// The counts. Terminals without an outcome count as queued.
    pub(super) fn counts(&self) -> Counts {
        let WalkCounts {
            followers,
            mut others,
        } = self.split_counts();
        others.merge(&followers);
        others.queued += match (self.walk, self.visits, &self.record) {
            (Walk::Done | Walk::Skipped, _, _) => 0,
            (_, Visits::Followers, Some(record)) if record.knows_less() => 0,
            (Walk::At { .. } | Walk::Waiting, Visits::Followers, Some(record)) => record.left,
            (Walk::At { .. } | Walk::Waiting, _, _) => self.unvisited,
        };
        others
    }

    /// The counts of the terminals that were visited.
    pub(super) fn split_counts(&self) -> WalkCounts {
        let (mut followers, mut others) = (ZERO, self.counts);
        others.queued += self.open;
        if let Some(record) = &self.record {
            let open = record.fates.iter().filter(|fate| !fate.is_settled());
            others.queued = others.queued.saturating_sub(open.count() as u64);
            followers = match record.knows_less() {
                true => record.before,
                false => record.at_followers(),
            };
            if self.visits == Visits::Followers {
                take_away(&mut others, record.newcomers());
            }
        }
        WalkCounts { followers, others }
    }

    /// Serves nobody, and reports these counts.
    pub(super) const fn skip(&mut self, counts: Counts) {
        self.walk = Walk::Skipped;
        self.counts = counts;
    }

    /// Serves nobody, and reports that of all its terminals this has become; but those who follow the log of the topic get
    /// its record from there.
    pub(super) fn skip_others(&mut self, outcome: fn(u64) -> Counts) {
        let followers = self.record.as_ref().map_or(0, |record| record.left);
        let followers = followers.min(self.unvisited);
        let others = outcome(self.unvisited - followers);
        self.skip(Counts {
            kept: followers,
            ..others
        });
    }

    /// Whether it comes to this terminal, which does not follow the log of its topic.
    pub(super) const fn visits_others(&self) -> bool {
        match self.visits {
            Visits::All => true,
            Visits::Followers => false,
        }
    }

    /// Begins as a repeat that asks those who follow the log of the topic for their confirmations. This is known of the first
    /// time.
    pub(super) fn ask_again(&mut self, first: WalkCounts) {
        self.walk = Walk::At { age: Age::YOUNGEST };
        self.visits = Visits::Followers;
        self.counts = first.others;
        if let Some(record) = &mut self.record {
            record.before = first.followers;
        }
    }
}

/// What has become of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WalkCounts {
    /// At terminals that follow the log of its topic.
    followers: Counts,
    /// At the others.
    others: Counts,
}

impl WalkCounts {
    pub(super) const fn all(self) -> Counts {
        let mut all = self.others;
        all.merge(&self.followers);
        all
    }
}

/// Takes so many terminals out of the counts, those first to which it came.
fn take_away(counts: &mut Counts, mut terminals: u64) {
    for count in [
        &mut counts.written,
        &mut counts.queued,
        &mut counts.kept,
        &mut counts.gone,
        &mut counts.overflow,
    ] {
        let taken = terminals.min(*count);
        *count -= taken;
        terminals -= taken;
    }
}

pub(super) const ZERO: Counts = Counts {
    kept: 0,
    acked: 0,
    written: 0,
    queued: 0,
    gone: 0,
    overflow: 0,
    unreachable: 0,
    too_large: 0,
};

impl Fingerprint for Broadcasting {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        self.deeds
            .iter()
            .for_each(|deed| deed.fingerprint(now, hasher));
        (&self.route, self.by, &self.walk, self.visits).hash(hasher);
        if let Some(record) = &self.record {
            (&record.record, record.until, &record.breadth).hash(hasher);
            (&record.fates, record.left, record.before).hash(hasher);
        }
        self.counts.fingerprint(now, hasher);
        self.open.fingerprint(now, hasher);
        self.unvisited.fingerprint(now, hasher);
    }
}
