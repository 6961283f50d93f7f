//! The instances of the cluster, as an application asks for them.

use super::Membership;
use super::shard::load;
use crate::command::Command;
use crate::context::Context;
use crate::event::Answer;
use crate::id::CallId;
use crate::message::InstanceInfo;
use crate::terminals::Terminals;
use crate::vocabulary::departure::Departure;

impl Membership {
    /// Lists the instances of the cluster.
    pub(crate) fn list_instances(
        &self,
        cx: &mut Context<'_>,
        terminals: &Terminals,
        departure: Departure,
        call: CallId,
    ) {
        let mut instances: Vec<InstanceInfo> = (self.view.leases(cx.now.mono))
            .map(|(instance, lease, load)| InstanceInfo {
                instance,
                lease: lease.clone(),
                load,
                this: false,
            })
            .collect();
        instances.push(InstanceInfo {
            instance: cx.identity.instance,
            lease: self.shard.desired(departure, &cx.identity.address),
            load: load(terminals, cx.stats),
            this: true,
        });
        instances.sort_unstable_by_key(|info| info.instance);
        let answer = Box::new(Answer::Instances(instances));
        cx.out.push(Command::Answer { call, answer });
    }
}
