//! Pushes as they are handed in: refused or begun, taken apart into keys, hurried.

use crate::base::few::Few;
use crate::channel::Channel;
use crate::command::Command;
use crate::config::Config;
use crate::context::Context;
use crate::delivery::{Addressees, Delivery};
use crate::event::Answer;
use crate::id::{CallId, ConnectionId, DeliveryId, InstanceId, PushKey, TopicId};
use crate::key::Key;
use crate::message::{Action, Audience, Durable, InLog, Push, PushRefused, PushedBy, WithoutLog};
use crate::publish::lane::{Part, PartId, PartRecord};
use crate::publish::receipt::{Caller, OpenPush};
use crate::publish::replicas::Replication;
use crate::publish::route::Selection;
use crate::publish::waiting::WaitsForView;
use crate::publish::{OpenDelivery, Publish};
use crate::time::Instant;
use crate::vocabulary::standing::Sight;
use crate::vocabulary::timer::PublishTimer;
use crate::wings::Wings;

/// Where the terminals of an audience are looked for.
enum Search {
    /// By keys, each once, with the terminals of that key that are meant.
    Keys(Few<(Key, Selection)>),
    /// Where topics have members, each topic once and in their order.
    Topics(Vec<TopicId>, Option<ConnectionId>),
    /// At every instance, all terminals.
    Everywhere,
}

/// Takes an audience apart into what its terminals are found by.
fn search(audience: Audience) -> Search {
    match audience {
        Audience::User(user) => Search::Keys(Few::from_buf([(user.into(), Selection::All)])),
        Audience::Connections { user, connections } => {
            Search::Keys(Few::from_buf([(user.into(), Selection::Only(connections))]))
        }
        Audience::Users(mut users) => {
            users.sort_unstable();
            users.dedup();
            let keys = users.into_iter().map(|user| (user.into(), Selection::All));
            Search::Keys(keys.collect())
        }
        Audience::Topics { mut topics, except } => {
            topics.sort_unstable();
            topics.dedup();
            Search::Topics(topics, except)
        }
        Audience::Everyone => Search::Everywhere,
    }
}

/// What a push is to the logs of its users, or of its topic.
#[derive(Clone, Copy)]
enum Logging {
    /// The push is in no log.
    None,
    /// It was to be a record, and goes out as a plain one.
    Missing,
    /// It is to be a record.
    Wanted(Durable),
    /// It says which topic terminals that come later are to be members of.
    Topic,
}

impl Logging {
    fn of(push: &Push, is_linked: bool) -> Result<Self, PushRefused> {
        let Some(durable) = push.durable else {
            return Ok(Self::None);
        };
        match (&push.action, is_linked) {
            (Action::Join(_) | Action::Leave(_), true) => return Ok(Self::Topic),
            (Action::Join(_) | Action::Leave(_), false) => return Err(PushRefused::DirectoryAway),
            (Action::Frame(_) | Action::Close(_) | Action::List { .. }, _) => {}
        }
        match (is_linked, durable.without_log) {
            (true, _) => Ok(Self::Wanted(durable)),
            (false, WithoutLog::Plain) => Ok(Self::Missing),
            (false, WithoutLog::Refused) => Err(PushRefused::DirectoryAway),
        }
    }
}

impl Publish {
    /// Takes a push. It is answered once: refused at once, or with its receipt, at its deadline at the
    /// latest.
    pub(crate) fn push(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        call: CallId,
        push: Push,
    ) {
        if let Err(refused) = self.check(cx, &push) {
            return refuse(cx, call, refused);
        }
        let logging = match Logging::of(&push, wings.membership.is_linked()) {
            Ok(logging) => logging,
            Err(refused) => return refuse(cx, call, refused),
        };
        let Push {
            id,
            to,
            action,
            deadline,
            durable: _,
            by,
        } = push;
        let search = search(to);
        let full = |(key, _): &(Key, Selection)| {
            let lane = self.lanes.get(key);
            lane.is_some_and(|lane| lane.is_full(cx.config.pushes_per_user))
        };
        if let Search::Keys(keys) = &search
            && keys.iter().any(full)
        {
            return refuse(cx, call, PushRefused::UserOverloaded);
        }
        if !matches!(action, Action::List { .. }) {
            cx.stats.pushes += 1;
        }
        let due = cx.now.mono + deadline;
        let hurries = cx.now.mono + deadline / Config::HURRIES_AFTER;
        let (until, durability) = match logging {
            Logging::None | Logging::Missing | Logging::Topic => Default::default(),
            Logging::Wanted(durable) => (durable.until, durable.durability),
        };
        let wanted = (action, until, Replication::new(durability));
        let caller = match by {
            PushedBy::Application => Caller::Application(call),
            PushedBy::Terminal => {
                self.publications += 1;
                Caller::Terminal(call)
            }
        };
        let push = (self.open).insert(OpenPush::new(caller, id, wanted, hurries, due));
        cx.arm(hurries, PublishTimer::Push(push));
        match search {
            Search::Keys(keys) => self.begin_parts(cx, wings, push, keys, logging),
            Search::Topics(topics, except) => match logging {
                Logging::None | Logging::Topic => {
                    self.push_to_topics(cx, wings, push, (topics, except), by);
                }
                Logging::Missing => {
                    self.note_unlogged(push, topics.iter().cloned().map(Channel::from));
                    self.push_to_topics(cx, wings, push, (topics, except), by);
                }
                Logging::Wanted(durable) => {
                    let record = PartRecord::wanted(cx.config, durable);
                    self.push_to_logs_of_topics(cx, wings, push, (topics, except), (by, record));
                }
            },
            Search::Everywhere => self.push_to_everyone(cx, wings, push),
        }
    }

    /// `push_bytes` counts the payload: how large it is after encoding differs by terminal, and an empty queue
    /// takes it at each.
    fn check(&self, cx: &Context<'_>, push: &Push) -> Result<(), PushRefused> {
        if let Action::Frame(payload) = &push.action
            && payload.len() > cx.config.push_bytes
        {
            let (bytes, limit) = (payload.len(), cx.config.push_bytes);
            return Err(PushRefused::TooLarge { bytes, limit });
        }
        if !(Config::DEADLINE_MIN..=Config::DEADLINE_MAX).contains(&push.deadline) {
            return Err(PushRefused::Deadline);
        }
        if push.durable.is_some() {
            match (&push.to, &push.action) {
                (Audience::User(_) | Audience::Users(_), Action::Frame(_))
                | (Audience::User(_), Action::Join(_) | Action::Leave(_))
                | (Audience::Topics { .. }, Action::Frame(_)) => {}
                (Audience::User(_), Action::Close(_) | Action::List { .. })
                | (
                    Audience::Users(_),
                    Action::Close(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. },
                )
                | (
                    Audience::Topics { .. },
                    Action::Close(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. },
                )
                | (Audience::Connections { .. } | Audience::Everyone, _) => {
                    return Err(PushRefused::NotForUsers);
                }
            }
        }
        match (&push.to, &push.action) {
            (Audience::Topics { .. } | Audience::Everyone, Action::Join(_) | Action::Leave(_)) => {
                return Err(PushRefused::NotForTopics);
            }
            (Audience::Topics { .. } | Audience::Everyone, Action::List { limit, .. })
                if (1..=Action::LIST_MAX).contains(limit) => {}
            (_, Action::List { .. }) => return Err(PushRefused::List),
            (Audience::User(_) | Audience::Users(_) | Audience::Connections { .. }, _)
            | (_, Action::Frame(_) | Action::Close(_)) => {}
        }
        let asked = push.durable.and_then(|durable| durable.retention);
        if asked.is_some_and(|retention| !cx.config.allows(retention)) {
            return Err(PushRefused::Retention {
                records: cx.config.log_records_max,
                seconds: cx.config.log_age_max.as_secs(),
            });
        }
        let limit = cx.config.push_users;
        match &push.to {
            Audience::Connections { connections, .. } if connections.len() > limit => {
                let connections = connections.len();
                return Err(PushRefused::TooManyConnections { connections, limit });
            }
            Audience::Users(users) if users.is_empty() => return Err(PushRefused::NoUsers),
            Audience::Users(users) if users.len() > limit => {
                let users = users.len();
                return Err(PushRefused::TooManyUsers { users, limit });
            }
            Audience::Topics { topics, .. } if topics.is_empty() => {
                return Err(PushRefused::NoTopics);
            }
            Audience::Topics { topics, .. } if topics.len() > cx.config.push_topics => {
                let (topics, limit) = (topics.len(), cx.config.push_topics);
                return Err(PushRefused::TooManyTopics { topics, limit });
            }
            Audience::User(_)
            | Audience::Connections { .. }
            | Audience::Users(_)
            | Audience::Topics { .. }
            | Audience::Everyone => {}
        }
        match push.by {
            PushedBy::Application => {}
            PushedBy::Terminal if self.publications >= Config::PUBLICATIONS => {
                return Err(PushRefused::Overloaded);
            }
            PushedBy::Terminal => {}
        }
        if self.len() >= cx.config.pushes {
            return Err(PushRefused::Overloaded);
        }
        Ok(())
    }

    fn begin_parts(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        push: PushKey,
        keys: Few<(Key, Selection)>,
        logging: Logging,
    ) {
        let record = match logging {
            Logging::None | Logging::Topic => PartRecord::Plain,
            Logging::Missing => {
                self.note_unlogged(push, keys.iter().map(|(key, _)| Channel::from(key)));
                PartRecord::Plain
            }
            Logging::Wanted(durable) => PartRecord::wanted(cx.config, durable),
        };
        let mut begun = Few::with_capacity(keys.len());
        for (key, selection) in keys {
            let lane = self.lanes.begin(&key, self.next_sequence);
            let sequence = lane.push(Part::new(push, selection, record, cx.now.mono));
            self.next_sequence = lane.next().max(self.next_sequence);
            begun.push(PartId { key, sequence });
        }
        if let Some(open) = self.open.get_mut(push) {
            open.unfinished = begun.len();
            open.parts.clone_from(&begun);
        }
        for part in begun {
            match logging {
                Logging::Topic => {
                    // A terminal that connects finds the topic, or is found by the lookup, which comes behind.
                    self.keep_topic(cx, wings, push, &part.key);
                    self.advance_lane(cx, wings, &part.key);
                }
                Logging::None | Logging::Missing => self.advance_lane(cx, wings, &part.key),
                Logging::Wanted(_) => self.append(cx, wings, &part),
            }
        }
    }

    /// A durable push goes out without a log.
    fn note_unlogged(&mut self, push: PushKey, channels: impl Iterator<Item = Channel>) {
        for channel in channels {
            self.log_into_receipt(push, channel, Some(InLog::Unlogged));
        }
        if let Some(open) = self.open.get_mut(push) {
            open.receipt.degraded = true;
        }
    }

    /// A fresh view tells who everyone is.
    fn push_to_everyone(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>, push: PushKey) {
        if let Some(open) = self.open.get_mut(push) {
            open.unfinished = 1;
        }
        if wings.membership.is_linked() {
            self.wait_for_view(cx, wings, WaitsForView::Everyone(push));
        } else {
            self.send_to_everyone(cx, wings, cx.now.mono, push);
        }
    }

    /// A timer of a push is due: it waits for the directory no longer, or for nothing any more.
    pub(crate) fn timer_due(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        timer: PublishTimer,
    ) {
        let push = match timer {
            PublishTimer::Push(push) => push,
            PublishTimer::Append => return self.append_again(cx, wings),
        };
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        let due = open.due;
        if due <= cx.now.mono {
            return self.push_due(cx, wings, push);
        }
        cx.arm(due, PublishTimer::Push(push));
        open.hurries = due;
        for part in open.parts.clone() {
            self.part_hurries(cx, wings, &part);
        }
        if let Some(since) = self.stop_waiting(push) {
            self.send_to_everyone(cx, wings, since, push);
        }
        self.topics_hurry(cx, wings, push);
    }

    /// Sends a push to all instances that were alive when last read, or are in doubt since it was
    /// handed in.
    pub(super) fn send_to_everyone(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        since: Instant,
        push: PushKey,
    ) {
        let mut instances = wings.membership.everybody(cx, since);
        let doubt = wings.membership.doubt(cx, since);
        instances.push(cx.identity.instance);
        // Its deadline may have come while it waited for the view.
        let Some(open) = self.open.get_mut(push) else {
            return;
        };
        open.receipt.degraded = !doubt.instances.is_empty() || doubt.sight != Sight::Clear;
        open.unfinished = instances.len();
        let (id, action, due) = (open.receipt.push, open.action.clone(), open.due);
        for to in instances {
            let delivery = Delivery {
                id: self.begin_delivery(push, to, Few::new()),
                push: id,
                within: due.since(cx.now.mono),
                action: action.clone(),
                to: Addressees::Everyone,
            };
            send(cx, wings, to, delivery, due);
        }
    }

    /// Notes a delivery that is about to leave.
    pub(super) fn begin_delivery(
        &mut self,
        push: PushKey,
        to: InstanceId,
        parts: Few<PartId>,
    ) -> DeliveryId {
        let delivery = self.next_delivery;
        self.next_delivery = DeliveryId::new(delivery.get() + 1);
        (self.deliveries).insert(delivery, OpenDelivery { push, to, parts });
        if let Some(open) = self.open.get_mut(push) {
            open.deliveries.push(delivery);
        }
        delivery
    }
}

/// Answers a push that is not taken.
pub(crate) fn refuse(cx: &mut Context<'_>, call: CallId, refused: PushRefused) {
    cx.stats.pushes_refused += 1;
    let answer = Box::new(Answer::Push(Err(refused)));
    cx.out.push(Command::Answer { call, answer });
}

/// Sends a delivery to an instance, or serves the terminals of this one.
pub(super) fn send(
    cx: &mut Context<'_>,
    wings: &mut Wings<'_>,
    to: InstanceId,
    delivery: Delivery,
    due: Instant,
) {
    if to == cx.identity.instance {
        wings.deliver_here(cx, delivery);
    } else {
        (wings.peers).send(cx, wings.membership, to, delivery, due);
    }
}
