//! `order`: a terminal gets the pushes of one instance for one user in their order.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_core::id::TopicId;
use switchboard_core::message::Audience;

use crate::checker::{Checker, Watch};
use crate::ledger::{FaultKind, Scope};
use crate::observed::{Life, Observed, Topic};
use crate::publishing::HandInProgress;

/// Per publishing instance, user and connection, pushes come in the order they were handed in. So do those to topics whose
/// first topic by name is the same.
///
/// A push that was handed in more than once may come from any of these times: it is too late only if
/// all of them lie before all those of a push that came earlier. Pushes to everyone have a pace of
/// their own, those that were handed in at several instances no order, and durable ones that of the log. Whether one may
/// come once more is for `no-duplicate` to say.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Of the pushes of each instance that a session got, the latest first time: of those to users, and of those to topics
    /// by the first of these by name.
    latest: BTreeMap<(usize, Life, Option<TopicId>), u64>,
    /// What sessions have got.
    got: BTreeSet<(usize, usize)>,
}

impl Checker for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Frames]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        let Observed::Seen {
            session,
            push: Some(push),
            ..
        } = event
        else {
            return;
        };
        let published = &watch.scene().pushes()[*push];
        let taken =
            || (published.times().iter()).filter(|time| time.progress != HandInProgress::OnItsWay);
        let (Some(first), Some(last)) = (taken().next(), taken().next_back()) else {
            return;
        };
        let elsewhere = taken().any(|time| time.life != first.life);
        let by_the_log = published.durable().is_some();
        if elsewhere || by_the_log || *published.to() == Audience::Everyone {
            return;
        }
        if !self.got.insert((*session, *push)) {
            return;
        }
        let topic = match published.to() {
            Audience::Topics { topics, .. } => topics.iter().min().cloned(),
            _ => None,
        };
        let latest = (self.latest.entry((*session, first.life, topic))).or_insert(first.sequence);
        if *latest > last.sequence {
            // What one end of a link does not say, or says wrongly, is said again behind what came later.
            let publisher = first.life.host;
            let holder = watch.scene().sessions()[*session].life();
            let excuse = watch.excuse(first.at, watch.now(), |excuse| match excuse.scope {
                Scope::Between(from, to) if excuse.kind == FaultKind::PeerLied => {
                    let ends = holder.map(|holder| (publisher, holder.host));
                    ends == Some((from, to)) || ends == Some((to, from))
                }
                _ => false,
            });
            match excuse {
                Some(excuse) => watch.excused(excuse),
                None => watch.violated(format!(
                    "session {session} got push {push} of i{} after a later one",
                    publisher + 1
                )),
            }
        } else {
            *latest = first.sequence.max(*latest);
            watch.held();
        }
    }
}
