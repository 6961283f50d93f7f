//! What an instance wants the operator to know, as log lines. Never payloads or tokens.

use switchboard_core::command::Log;
use switchboard_core::id::InstanceId;
use tracing::{error, info, warn};

/// Writes one.
pub(crate) fn write(this: InstanceId, log: &Log) {
    match log {
        Log::Claimed { epoch, rows: 0 } => {
            info!(%this, epoch = epoch.get(), "lease claimed: there are no rows to write")
        }
        Log::Claimed { epoch, rows } => {
            info!(%this, epoch = epoch.get(), rows, "lease claimed: rows are written again")
        }
        Log::Settled { epoch } => {
            info!(%this, epoch = epoch.get(), "settled: all rows are written")
        }
        Log::LeaseLost { epoch } => {
            warn!(%this, epoch = epoch.get(), "lease lost: it ran out, or the directory lost it")
        }
        Log::LeaseVanished { instance } => warn!(
            %this, %instance,
            "the lease of another instance vanished before its time: the directory was wiped"
        ),
        Log::DirectoryNotPrimary { answer } => {
            warn!(%this, answer, "the directory server is not a primary at present")
        }
        Log::DirectoryRefused { answer } => {
            error!(%this, answer, "the directory server refused an operation")
        }
        Log::PeerUp { instance } => info!(%this, %instance, "link to another instance is open"),
        Log::PeerDown { instance } => info!(%this, %instance, "link to another instance ended"),
        Log::WireVersion {
            ours,
            theirs,
            instance,
        } => error!(
            %this, ?instance, ours, theirs,
            "another instance speaks another version of the links' protocol: run one version"
        ),
        Log::WrongSecret { instance } => error!(
            %this, %instance,
            "another instance does not know this cluster's secret"
        ),
        Log::PeerMisbehaved { what } => warn!(%this, what, "a peer broke the links' protocol"),
        Log::Isolated => error!(
            %this,
            "cut off from the directory while it works for others: terminals are sent elsewhere"
        ),
        Log::Rejoined => info!(%this, "the directory is reachable again"),
    }
}
