//! What waits for a terminal that is told to go elsewhere, or that its token has expired, is written before that.

use switchboard_core::config::Config;
use switchboard_core::frame::CloseCode;
use switchboard_core::message::{Action, Audience};
use switchboard_core::time::Instant;

use super::lateness::{SLACK, stood_still};
use crate::checker::{Scene, Watch};
use crate::ledger::{FaultKind, Scope};
use crate::observed::Life;
use crate::publishing::{HandInProgress, HandedIn, Published};

/// A push that was there before the end of a session was decided, and was not written when it is told of that. Judged where
/// nothing else can have kept it back: it was handed in at the instance of the session, which did not stand still, and the
/// queue of the terminal cannot have been full.
pub(super) fn left_unwritten(watch: &Watch<'_>, session: usize, code: CloseCode) -> Option<usize> {
    let scene = watch.scene();
    let this = &scene.sessions()[session];
    let (holder, _) = (this.life()?, this.greeted()?);
    let decided = decided_after(watch, session, holder, code)?;
    let is_left = |published: &Published| {
        let [handed_in] = published.times() else {
            return false;
        };
        let soon = handed_in.at + published.deadline() / Config::HURRIES_AFTER + SLACK * 2;
        is_for_the_users_here(published, handed_in, holder)
            && handed_in.reachable.contains(&session)
            && soon < decided
            && !this.has_written(published.id())
            && !stood_still(watch, holder.host, handed_in.at, watch.now())
    };
    if may_be_full(scene) {
        return None;
    }
    scene.pushes().iter().position(is_left)
}

/// The end of a session was decided no sooner than at this moment. `None`: for a reason that lets what waits be dropped.
fn decided_after(
    watch: &Watch<'_>,
    session: usize,
    holder: Life,
    code: CloseCode,
) -> Option<Instant> {
    let scene = watch.scene();
    let patience = (watch.now()).before(scene.config().close_timeout + SLACK * 2);
    let cause = match code {
        CloseCode::TokenExpired => scene.sessions()[session].expires(),
        CloseCode::Kicked => None,
        CloseCode::ServiceRestart => {
            let orders = scene.ledger().entries().iter().rev();
            let mut orders = orders.filter(|entry| {
                entry.kind == FaultKind::Drain && entry.scope == Scope::Instance(holder.host)
            });
            orders.next().map(|order| order.from)
        }
        _ => return None,
    };
    Some(cause.unwrap_or(patience).max(patience))
}

/// Whether a push is a frame for users, and was handed in at this instance.
fn is_for_the_users_here(published: &Published, handed_in: &HandedIn, holder: Life) -> bool {
    let to_users = match published.to() {
        Audience::User(_) | Audience::Users(_) => true,
        Audience::Connections { .. } | Audience::Everyone | Audience::Topics { .. } => false,
    };
    let is_taken = match handed_in.progress {
        HandInProgress::Taken | HandInProgress::Answered => true,
        HandInProgress::OnItsWay | HandInProgress::Refused => false,
    };
    let is_frame = matches!(published.action(), Action::Frame(_));
    to_users && is_taken && is_frame && published.durable().is_none() && handed_in.life == holder
}

/// Whether all pushes together are more than a queue has room for.
fn may_be_full(scene: Scene<'_>) -> bool {
    let payloads = scene.pushes().iter().filter_map(Published::payload);
    let bytes: usize = payloads.map(|payload| payload.len()).sum();
    let config = scene.config();
    scene.pushes().len() >= config.queue_frames || bytes >= config.queue_bytes / 2
}
