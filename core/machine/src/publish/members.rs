//! The members of topics, read for those that watch them: a list, as an application asks for one.

use crate::config::Config;
use crate::context::Context;
use crate::id::{PushId, TopicId};
use crate::message::{Action, ListOrder, PushedBy, Receipt, Until};
use crate::publish::Publish;
use crate::publish::receipt::{Caller, OpenPush};
use crate::publish::replicas::Replication;
use crate::vocabulary::presence::{MembersRead, MembersSeen};
use crate::vocabulary::timer::PublishTimer;
use crate::wings::Wings;

impl Publish {
    /// Reads the members of a topic. What was read is [taken](Self::take_members_read) once, at the deadline at the latest.
    pub(crate) fn read_members(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        topic: TopicId,
    ) {
        if self.readings >= cx.config.pushes {
            let members = None;
            return self.members_read.push(MembersRead { topic, members });
        }
        let action = Action::List {
            order: ListOrder::Members,
            limit: Config::PRESENCE_NAMED_MAX,
        };
        let deadline = Config::PRESENCE_DEADLINE;
        let due = cx.now.mono + deadline;
        let hurries = cx.now.mono + deadline / Config::HURRIES_AFTER;
        // Nobody knows a list again.
        let id = PushId::new(uuid::Uuid::nil());
        let caller = Caller::Presence(topic.clone());
        let asked = (action, Until::Written, Replication::default());
        self.readings += 1;
        let push = (self.open).insert(OpenPush::new(caller, id, asked, hurries, due));
        cx.arm(hurries, PublishTimer::Push(push));
        self.push_to_topics(cx, wings, push, (vec![topic], None), PushedBy::Application);
    }

    /// The list of a topic's members has come, as far as it will.
    pub(super) fn members_listed(&mut self, topic: TopicId, receipt: Receipt) {
        self.readings -= 1;
        let members = Some(MembersSeen {
            users: receipt.listed.into_iter().map(|one| one.user).collect(),
            count: receipt.counts.written,
            complete: !receipt.degraded,
        });
        self.members_read.push(MembersRead { topic, members });
    }

    /// What was read of members.
    pub(crate) fn take_members_read(&mut self) -> Vec<MembersRead> {
        std::mem::take(&mut self.members_read)
    }
}
