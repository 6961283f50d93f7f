//! What happens at an instance, as log lines. Never payloads or tokens.

use std::fmt;

use switchboard_core::command::{Log, Severity};
use switchboard_core::event::{Closure, Ended};
use switchboard_core::frame::{FrameKind, Payload};
use switchboard_core::id::{ConnectionId, InstanceId, UserId};
use switchboard_core::message::{Action, Audience, Push, Receipt};
use tracing::{debug, trace};

use super::{Cause, damped};

/// A terminal has renewed its token.
pub(crate) fn renewed(this: InstanceId, user: &UserId) {
    debug!(%this, %user, "a terminal has renewed its token");
}

/// A terminal has not shown who it is, behind its handshake. `code`: what it is told; `why`: for people.
pub(crate) fn login_failed(this: InstanceId, code: &'static str, why: impl fmt::Display) {
    let why = why.to_string();
    damped!(
        INFO,
        Cause::one("logins behind the handshake that fail", code),
        %this,
        code,
        why = tracing::field::debug(&why),
        "a login behind the handshake fails"
    );
}

/// What an instance wants the operator to know. What an instance says of itself comes once for each instance of the process; what it
/// says of another one, once for that one; of strangers, whose ids are what they like, once in all.
pub(crate) fn write(this: InstanceId, log: &Log) {
    let own = |kind| Cause::one(kind, this.to_string());
    /// Writes a line, damped, at the level that the log says.
    macro_rules! told {
        ($($line:tt)+) => {
            match log.severity() {
                Severity::Info => damped!(INFO, $($line)+),
                Severity::Warning => damped!(WARN, $($line)+),
                Severity::Error => damped!(ERROR, $($line)+),
            }
        };
    }
    match log {
        Log::Claimed { epoch, rows: 0 } => told!(
            own("a lease claimed"), %this, epoch = epoch.get(),
            "lease claimed: there are no rows to write"
        ),
        Log::Claimed { epoch, rows } => told!(
            own("a lease claimed"), %this, epoch = epoch.get(), rows,
            "lease claimed: rows are written again"
        ),
        Log::Settled { epoch } => told!(
            own("rows settled"), %this, epoch = epoch.get(), "settled: all rows are written"
        ),
        Log::LeaseLost { epoch } => told!(
            own("a lease lost"), %this, epoch = epoch.get(),
            "lease lost: it ran out, or the directory lost it"
        ),
        Log::LeaseVanished { instance } => told!(
            Cause::all("leases vanished before their time"), %this, %instance,
            "the lease of another instance vanished before its time: the directory was wiped"
        ),
        Log::DirectoryNotPrimary { answer } => told!(
            Cause::all("no primary"), %this, answer,
            "the directory server is not a primary at present"
        ),
        Log::DirectoryRefused { answer } => told!(
            Cause::one("operations refused by the directory server", code(answer)), %this, answer,
            "the directory server refused an operation"
        ),
        Log::PeerUp { instance } => told!(
            Cause::one("a link open", instance.to_string()), %this, %instance,
            "link to another instance is open"
        ),
        Log::PeerDown { instance } => told!(
            Cause::one("a link ended", instance.to_string()), %this, %instance,
            "link to another instance ended"
        ),
        Log::WireVersion {
            ours,
            theirs,
            instance,
        } => told!(
            Cause::all("peers of another version"), %this, ?instance, ours, theirs,
            "another instance speaks another version of the links' protocol: run one version"
        ),
        Log::WrongSecret { instance } => told!(
            Cause::all("peers without the secret"), %this, %instance,
            "another instance does not know this cluster's secret"
        ),
        Log::PeerMisbehaved { what } => told!(
            Cause::all("peers that broke the protocol"), %this, what,
            "a peer broke the links' protocol"
        ),
        Log::SettingsDiffer {
            instance,
            differences,
        } => {
            let list: Vec<_> = differences.iter().map(ToString::to_string).collect();
            told!(
                Cause::one("settings that differ between instances", instance.to_string()),
                %this, %instance, differences = list.join(", "),
                "another instance has other settings: what the cluster promises is what both keep"
            );
        }
        Log::Isolated => told!(
            own("cut off from the directory"), %this,
            "cut off from the directory while it works for others: terminals are sent elsewhere"
        ),
        Log::Rejoined => told!(
            own("the directory reachable again"), %this, "the directory is reachable again"
        ),
        Log::Unproven { instance } => told!(
            Cause::one("links ended without a proof", instance.to_string()), %this, %instance,
            "another instance has ended its link without a proof that it knows this cluster's secret: \
             does it have another one?"
        ),
    }
}

/// The code of an error of Redis, as `OOM`: the rest may differ from one to the next.
fn code(answer: &str) -> String {
    let is_code = |word: &&str| {
        (2..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_uppercase())
    };
    answer
        .split(' ')
        .find(is_code)
        .unwrap_or("other")
        .to_owned()
}

/// A terminal whose handshake is being completed. The user is known if the handshake says so.
pub(crate) fn accepted(
    this: InstanceId,
    uuid: ConnectionId,
    user: Option<&UserId>,
    transport: &'static str,
) {
    let user = user.map(tracing::field::display);
    debug!(%this, %uuid, user, transport, "a terminal is accepted");
}

/// A terminal that gets its hello.
pub(crate) fn greeted(this: InstanceId, uuid: ConnectionId, user: &UserId, degraded: bool) {
    debug!(%this, %uuid, %user, degraded, "a terminal is greeted");
}

/// A terminal whose socket has gone.
pub(crate) fn ended(this: InstanceId, closure: Closure, ended: &Ended<'_>) {
    let Ended {
        id: uuid,
        user,
        ending,
        lived,
        messages,
        frames,
        bytes,
    } = *ended;
    let handshake = match closure {
        Closure::Clean => "complete",
        Closure::Abrupt => "none",
        Closure::Violation(_) => "cut short",
    };
    let (reason, lived_ms) = (ending.name(), lived.as_millis() as u64);
    let user = user.map(tracing::field::display);
    debug!(
        %this, %uuid, user, reason, closing_handshake = handshake, lived_ms, messages, frames, bytes,
        "a terminal is gone"
    );
}

/// A frame for a terminal.
pub(crate) fn sent(this: InstanceId, uuid: Option<ConnectionId>, payload: &Payload) {
    trace!(
        %this, uuid = uuid.map(display), kind = kind(payload), bytes = payload.len(),
        "a frame is sent"
    );
}

/// A message from a terminal.
pub(crate) fn heard(this: InstanceId, uuid: ConnectionId, user: &UserId, payload: &Payload) {
    trace!(%this, %uuid, %user, kind = kind(payload), bytes = payload.len(), "a message came");
}

/// A push that was handed in.
pub(crate) fn push(this: InstanceId, push: &Push) {
    let (to, user) = match &push.to {
        Audience::User(user) => ("user", Some(user)),
        Audience::Connections { user, .. } => ("connections", Some(user)),
        Audience::Users(_) => ("users", None),
        Audience::Topics { .. } => ("topics", None),
        Audience::Everyone => ("everyone", None),
    };
    let (kind, bytes) = match &push.action {
        Action::Frame(payload) => (kind(payload), payload.len()),
        Action::Close(code) => (code.reason(), 0),
        Action::Join(_) => ("join", 0),
        Action::Leave(_) => ("leave", 0),
        Action::List { .. } => ("list", 0),
    };
    trace!(
        %this, push = %push.id, to, user = user.map(display), kind, bytes,
        "a push is handed in"
    );
}

/// What became of a push.
pub(crate) fn receipt(this: InstanceId, receipt: &Receipt) {
    let counts = &receipt.counts;
    trace!(
        %this, push = %receipt.push, degraded = receipt.degraded, written = counts.written,
        queued = counts.queued, failed = counts.failed(),
        "a push has its receipt"
    );
}

fn kind(payload: &Payload) -> &'static str {
    match payload.kind() {
        FrameKind::Text => "text",
        FrameKind::Binary => "binary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_refuses_is_told_apart_by_its_code() {
        for (answer, expected) in [
            (
                "the directory server refused: OOM command not allowed",
                "OOM",
            ),
            (
                "the directory server refused: NOREPLICAS Not enough good",
                "NOREPLICAS",
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots",
                "MISCONF",
            ),
            (
                "the directory server's answer could not be understood: Nil",
                "other",
            ),
        ] {
            assert_eq!(code(answer), expected);
        }
    }
}
