//! The numbers of a receipt: what it lists, how much there is, and who answered.

use switchboard_core::id::{InstanceId, TopicId};
use switchboard_core::message::{
    Action, Audience, Counts, InLog, InstanceOutcome, Outcome, Receipt,
};
use switchboard_core::time::Instant;

use super::allowance::{evicted_topic, is_follower, lied, may_be_closing};
use super::topic_members::{joins_since, may_be_meant, may_be_member};
use crate::checker::{Scene, Watch};
use crate::observed::{HandIn, Life};
use crate::publishing::Published;
use crate::terminals::Session;

/// What is wrong with the numbers of a receipt. It is of the push that was handed in. It lists as many terminals
/// as it may, each once, and says so if there are more; its counts are those of the terminals, and of a push to
/// everyone those of the instances. Each of these was asked, and answers for the terminals that it had, or the
/// receipt says that something is in doubt.
pub(super) fn miscounts(watch: &Watch<'_>, hand_in: HandIn, receipt: &Receipt) -> Option<String> {
    let published = &watch.scene().pushes()[hand_in.push];
    if published.id() != receipt.push {
        Some("is of another push".to_owned())
    } else if let Audience::Everyone | Audience::Topics { .. } = published.to() {
        by_instance(watch, hand_in, receipt)
    } else {
        let handed_in = &published.times()[hand_in.time];
        let lie = lied(watch, handed_in, None);
        users(watch, receipt, lie.is_some()).map(str::to_owned)
    }
}

const fn sum(counts: &Counts) -> u64 {
    counts
        .written
        .saturating_add(counts.queued)
        .saturating_add(counts.kept)
        .saturating_add(counts.acked)
        .saturating_add(counts.failed())
}

/// What is wrong with the receipt of a push to users. An instance that lies may name a terminal of two users.
fn users(watch: &Watch<'_>, receipt: &Receipt, lied: bool) -> Option<&'static str> {
    let limit = watch.scene().config().receipt_terminals as u64;
    let (listed, all) = (receipt.terminals.len() as u64, sum(&receipt.counts));
    if !receipt.instances.is_empty() {
        return Some("lists instances");
    }
    if listed != all.min(limit) {
        return Some("does not list as many as it may");
    }
    if receipt.truncated != (all > limit) {
        return Some("does not say whether there are more");
    }
    let counted = |outcome: Outcome, count: u64| {
        let listed = receipt
            .terminals
            .iter()
            .filter(|terminal| terminal.outcome == outcome);
        listed.count() as u64 <= count
    };
    let mut named: Vec<_> = (receipt.terminals.iter())
        .map(|terminal| terminal.connection)
        .collect();
    named.sort_unstable();
    if !lied && !named.is_sorted_by(|one, next| one < next) {
        return Some("names a terminal twice");
    }
    let Counts {
        written,
        queued,
        kept,
        gone,
        overflow,
        unreachable,
        too_large,
        acked,
    } = receipt.counts;
    let is_counted = counted(Outcome::Written, written)
        && counted(Outcome::Queued, queued)
        && counted(Outcome::Kept, kept)
        && counted(Outcome::Gone, gone)
        && counted(Outcome::Overflow, overflow)
        && counted(Outcome::Unreachable, unreachable)
        && counted(Outcome::TooLarge, too_large)
        && counted(Outcome::Acked, acked);
    (!is_counted).then_some("counts fewer than it lists")
}

/// What is wrong with the receipt of a push to everyone, or to topics.
fn by_instance(watch: &Watch<'_>, hand_in: HandIn, receipt: &Receipt) -> Option<String> {
    let said = |what: &str| Some(what.to_owned());
    if !receipt.terminals.is_empty() || receipt.truncated {
        return said("lists terminals");
    }
    let mut counts = Counts::default();
    receipt
        .instances
        .iter()
        .for_each(|outcome| counts.merge(&outcome.counts));
    if counts != receipt.counts {
        return said("counts others than its instances do");
    }
    if !receipt
        .instances
        .is_sorted_by(|one, next| one.instance < next.instance)
    {
        return said("lists instances twice, or not in order");
    }
    let publisher = watch.scene().pushes()[hand_in.push].times()[hand_in.time].life;
    let here = watch.scene().instance_of(publisher);
    let everyone = *watch.scene().pushes()[hand_in.push].to() == Audience::Everyone;
    let names_itself = (receipt.instances.iter()).any(|outcome| outcome.instance == here);
    if everyone && !receipt.degraded && !names_itself {
        return said("leaves out the instance that answers");
    }
    (receipt.instances.iter()).find_map(|outcome| {
        let what = instance(watch, hand_in, receipt, outcome)?;
        Some(format!("says of {:?} {what}", outcome.instance))
    })
}

/// What is wrong with what one instance is said to have answered.
fn instance(
    watch: &Watch<'_>,
    hand_in: HandIn,
    receipt: &Receipt,
    outcome: &InstanceOutcome,
) -> Option<&'static str> {
    let scene = watch.scene();
    let published = &scene.pushes()[hand_in.push];
    let Some(life) = life_of(scene, outcome.instance) else {
        return Some("which never was");
    };
    let handed_in = &published.times()[hand_in.time];
    if outcome.answered && lied(watch, handed_in, Some(life.host)).is_some() {
        // How many it has is its word.
        return None;
    }
    if !outcome.answered {
        // Of a push to several logs it may have answered for another one.
        let several = published.durable().is_some() && published.topics().len() > 1;
        let silent = several || outcome.counts == Counts::default();
        return match (silent, receipt.degraded) {
            (true, true) => None,
            (false, _) => Some("counts, and that it did not answer"),
            (true, false) => Some("that it did not answer, and is not degraded"),
        };
    }
    let sessions = || {
        let all = scene.sessions().iter().enumerate();
        all.filter(|(_, session)| session.life() == Some(life))
    };
    let first = published.first();
    let accepted = sessions().filter(|(number, session)| {
        session.connection().is_some() && may_be_meant(scene, published, *number, first)
    });
    // A member of several topics counts as queued for each until the push has come to it.
    let (mut members, mut memberships) = (0_u64, 0_u64);
    for (number, session) in accepted {
        members += times_meant(published, session);
        if let Audience::Topics { topics, .. } = published.to() {
            let of = (topics.iter()).filter(|topic| may_be_member(scene, number, topic, first));
            memberships += (of.count() as u64).saturating_sub(1);
        }
    }
    // So does one of the logs of several topics, if there was no room for a walk to the members of one of them.
    let unvisited = match published.durable() {
        Some(_) => outcome.counts.queued + outcome.counts.overflow,
        None => outcome.counts.queued,
    };
    if sum(&outcome.counts) > members + memberships.min(unvisited) {
        return Some("more terminals than it ever had of these");
    }
    let done = sessions().filter(|(_, session)| match published.action() {
        // A follower may have got the record on an earlier connection, and brings its position.
        Action::Frame(_) => {
            session.has_written(published.id()) || follows_topic(session, published)
        }
        Action::Close(_) => session.ended().is_some(),
        Action::Join(_) | Action::Leave(_) | Action::List { .. } => false,
    });
    let done = done.map(|(_, session)| times_meant(published, session));
    if outcome.counts.written > done.sum() {
        return Some("more written frames than there are");
    }
    if is_of_several(published) {
        // It may have answered for one log, and not have been found for another: `receipt-complete` judges each terminal.
        return None;
    }
    let there = (published.times()[hand_in.time].reachable.iter()).filter(|number| {
        let session = &scene.sessions()[**number];
        let is_here = session.life() == Some(life) && session.is_open();
        is_here
            && !may_be_closing(watch, **number)
            && !has_left(published, session, first)
            && is_in_log(published, session, first, receipt)
            && evicted_topic(watch, published, **number, handed_in.at).is_none()
    });
    (sum(&outcome.counts) < there.count() as u64).then_some("fewer terminals than it has")
}
/// Which life of which process runs, or ran, an instance.
fn life_of(scene: Scene<'_>, instance: InstanceId) -> Option<Life> {
    let lives = scene
        .hosts()
        .map(|host| host.life())
        .flat_map(|Life { host, number }| (1..=number).map(move |number| Life { host, number }));
    lives
        .into_iter()
        .find(|life| scene.instance_of(*life) == instance)
}

/// Whether a session has begun to leave each of the topics of a push since then by which it was a member. What it has joined
/// since may not have met it.
fn has_left(published: &Published, session: &Session, since: Instant) -> bool {
    match published.to() {
        Audience::Topics { topics, .. } => {
            let mut standings = topics.iter().map(|topic| session.standing(topic));
            !standings.any(|standing| {
                let was_told = standing.told().is_some_and(|(told, _)| told <= since);
                was_told && !standing.has_left_since(since)
            })
        }
        Audience::User(_)
        | Audience::Users(_)
        | Audience::Connections { .. }
        | Audience::Everyone => false,
    }
}

/// Whether a push is a record of a topic whose log a terminal has asked for.
fn follows_topic(session: &Session, published: &Published) -> bool {
    !published.topics().is_empty() && is_follower(published, session)
}

/// Whether a push is a record of the logs of several topics.
fn is_of_several(published: &Published) -> bool {
    published.durable().is_some() && published.topics().len() > 1
}

/// How often a session may count in the receipt of a push: for each log of a topic that it follows, for each topic that it
/// joins meanwhile, and once as a member of the others.
fn times_meant(published: &Published, session: &Session) -> u64 {
    let first = published.first();
    let again = |topic: &&TopicId| {
        let follows = !session.asks_of(&session.channel(Some(topic))).is_empty();
        follows || joins_since(session, topic, first)
    };
    let again = published.topics().iter().filter(again);
    1 + if is_of_several(published) {
        again.count() as u64
    } else {
        0
    }
}

/// Whether a session was told that it is a member of a topic in whose log a push is, if it is a durable one.
fn is_in_log(published: &Published, session: &Session, since: Instant, receipt: &Receipt) -> bool {
    let in_log = |topic: &TopicId| {
        let channel = session.channel(Some(topic));
        let mut logged = receipt.logged.iter();
        let told = session.standing(topic).told();
        told.is_some_and(|(told, _)| told <= since)
            && logged.any(|log| log.channel == channel && matches!(log.logged, InLog::At(_)))
    };
    published.durable().is_none()
        || published.topics().is_empty()
        || published.topics().iter().any(in_log)
}
