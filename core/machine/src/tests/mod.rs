//! Behaviours of one instance, each as input and expected commands; of several together; and of one
//! that is fed with anything.

mod acks;
mod answers;
mod arbitrary;
mod authenticating;
mod chance;
mod damage;
mod drain;
mod everyone;
mod feeder;
mod followers;
mod happen;
mod here;
mod hurry;
mod joining;
mod lease;
mod life;
mod links;
mod logs;
mod missed;
mod order;
mod peers;
mod presence;
mod publications;
mod receipts;
mod refusals;
mod relays;
mod replicas;
mod retention;
mod rows;
mod settling;
mod steps;
mod strangers;
mod together;
mod told;
mod topic_beginnings;
mod topic_logs;
mod topic_logs_many;
mod topic_races;
mod topic_several;
mod topics;
mod view;

use crate::config::Config;
use crate::id::{CallId, ConnectionId};
use crate::message::Outcome;
use crate::peers::wire::{Message, Pulse};
use crate::testing::cluster::Cluster;
use crate::vocabulary::service::Service;

/// Two instances with default settings.
fn pair() -> Cluster {
    Cluster::new(&Config::default(), 2)
}

/// The outcomes of a receipt, in its order.
fn outcomes(cluster: &Cluster, call: CallId) -> Vec<(ConnectionId, Outcome)> {
    let terminals = &cluster.receipt(call).terminals;
    terminals
        .iter()
        .map(|terminal| (terminal.connection, terminal.outcome))
        .collect()
}

/// A heartbeat of a peer that has not heard any.
fn heartbeat(directory: Service) -> Message {
    let pulse = Pulse::FIRST;
    Message::Heartbeat { directory, pulse }
}
