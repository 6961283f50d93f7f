//! Tests of several instances together, and of one that is fed with anything.

mod arbitrary;
mod feeder;
mod links;
mod order;
mod peers;
mod receipts;
mod steps;
mod strangers;
mod together;

use crate::cluster::Cluster;
use crate::config::Config;
use crate::id::{CallId, ConnectionId};
use crate::message::Outcome;

/// Two instances with default settings.
fn pair() -> Cluster {
    Cluster::new(&Config::default(), 2)
}

/// The outcomes of a receipt, in its order.
fn outcomes(cluster: &Cluster, call: CallId) -> Vec<(ConnectionId, Outcome)> {
    let terminals = &cluster.receipt(call).terminals;
    terminals.iter().map(|terminal| (terminal.connection, terminal.outcome)).collect()
}
