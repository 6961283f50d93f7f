//! Parts of durable pushes: each is appended to the log of its key, and routed by the rows that come with the
//! answer.
//!
//! An append is one round trip, as a lookup is. Appends wait for nobody: what order records have is decided
//! by the log, and those that follow it are sent nothing out of it. An append whose outcome is unknown is
//! asked again, under the push's id, by which the directory knows it, and with a nonce of its own.

use std::time::Duration;

use super::sending::tell_all_missed;
use super::{PartRecord, PartStage, remove_dead_row};
use crate::channel::Channel;
use crate::context::Context;
use crate::directory::log::{ChannelRows, Content, LogOperation, LogReply, Logged};
use crate::directory::{Operation, OperationError, Row};
use crate::id::ConnectionId;
use crate::key::Key;
use crate::message::{Action, InLog};
use crate::publish::lane::PartId;
use crate::publish::route;
use crate::publish::waiting::WaitsForView;
use crate::publish::{Publish, Unappended, hooks};
use crate::time::Instant;
use crate::vocabulary::purpose::PublishPurpose;
use crate::vocabulary::standing::{Sight, Standing};
use crate::vocabulary::timer::PublishTimer;
use crate::wings::Wings;

/// How long an append is not asked for again that was not answered, on a link that lives: an answer that cannot be
/// understood comes as fast as it is asked for.
const APPEND_PAUSE: Duration = Duration::from_millis(100);

/// What is known of a record that the directory refused to append, or to which it answered what cannot be understood.
pub(in crate::publish) const fn in_log_by(refusal: &OperationError) -> InLog {
    match refusal {
        OperationError::Refused(_) => InLog::Refused,
        // It may have been executed.
        OperationError::NotPrimary(_) | OperationError::Malformed(_) => InLog::Unknown,
    }
}

impl Publish {
    /// Asks for the record of a part, if there is a link. If not, it is asked for on the next one.
    pub(in crate::publish) fn append(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &PartId,
    ) {
        let PartId { key, sequence } = id;
        let Some(part) = self.part_mut(key, *sequence) else {
            return;
        };
        let PartRecord::Wanted { retention, .. } = part.record else {
            return;
        };
        if part.stage == PartStage::Ended {
            return;
        }
        part.stage = PartStage::Appending;
        let push = part.push;
        let Some(open) = self.open.get(push) else {
            return;
        };
        let Action::Frame(payload) = &open.action else {
            cx.bug("a durable push without a payload");
            return;
        };
        if !wings.membership.is_linked() {
            self.unappended.push(Unappended::Part(id.clone()));
            return;
        }
        let operation = Operation::Log {
            channel: key.into(),
            operation: LogOperation::Append {
                push: open.receipt.push,
                content: Content::of(payload),
                nonce: hooks::nonce(cx.flaws, open.receipt.push, cx.random.positions.next_u32()),
                retention,
            },
        };
        let purpose = PublishPurpose::Append {
            key: key.clone(),
            part: sequence.get(),
        };
        wings.membership.ask(operation, purpose);
    }

    /// What was not answered is asked for again, if there is a link.
    pub(in crate::publish) fn append_again(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>) {
        if self.again.rings(cx.now.mono) && wings.membership.is_linked() {
            self.directory_up(cx, wings);
        }
    }

    /// There is a directory link: what could not be appended is asked for again.
    pub(crate) fn directory_up(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>) {
        for unappended in std::mem::take(&mut self.unappended) {
            match unappended {
                Unappended::Part(part) => self.append(cx, wings, &part),
                Unappended::Topic(record) => self.append_to_topic(cx, wings, &record),
            }
        }
    }

    /// The directory has answered an append.
    pub(in crate::publish) fn appended(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: PartId,
        reply: LogReply,
    ) {
        let LogReply::Appended {
            logged,
            rows: ChannelRows::Terminals(rows),
            malformed,
        } = reply
        else {
            cx.stats.directory_refusals += 1;
            return self.not_appended(cx, wings, &id, InLog::Unknown);
        };
        cx.stats.malformed_entries += u64::from(malformed);
        let bytes = self.payload_bytes(&id);
        let part = self.part_mut(&id.key, id.sequence);
        let Some(part) = part.filter(|part| part.stage == PartStage::Appending) else {
            // The receipt has said that it is unknown.
            return record_missed(cx, wings, &id.key, &rows);
        };
        let age = part.record.age();
        part.record = PartRecord::answered(cx, logged, part.started, bytes);
        let (push, since) = (part.push, part.started);
        let place = part.record.place();
        self.is_kept(cx, logged, age, bytes);
        if let Some(place) = place {
            self.confirm(cx, push, (&id.key).into(), place.position);
        }
        match logged {
            Logged::Repeated(_) if !hooks::delivers_repeats(cx.flaws) => {
                self.end_part(cx, &id.key, id.sequence);
                self.advance_lane(cx, wings, &id.key);
            }
            Logged::New(_) | Logged::Repeated(_) => {
                self.route_record(cx, wings, id, since, rows);
            }
            Logged::Expired => {
                self.end_part(cx, &id.key, id.sequence);
                self.advance_lane(cx, wings, &id.key);
            }
        }
    }

    /// Bytes of what a part says.
    fn payload_bytes(&mut self, PartId { key, sequence }: &PartId) -> u64 {
        let push = self.part_mut(key, *sequence).map(|part| part.push);
        let open = push.and_then(|push| self.open.get(push));
        match open.map(|open| &open.action) {
            Some(Action::Frame(payload)) => payload.len() as u64,
            Some(Action::Close(_) | Action::Join(_) | Action::Leave(_) | Action::List { .. })
            | None => 0,
        }
    }

    /// Routes a part by the rows that came with its record.
    fn route_record(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        part: PartId,
        since: Instant,
        rows: Vec<(ConnectionId, Row)>,
    ) {
        let unknown =
            rows.iter().any(
                |(_, row)| match wings.membership.standing(cx, row.instance, since) {
                    Standing::Live { .. } => false,
                    Standing::Outdated | Standing::Unknown => true,
                },
            );
        if unknown {
            self.wait_for_view(cx, wings, WaitsForView::Record { part, rows });
        } else {
            self.follow_record(cx, wings, &part, since, &rows);
        }
    }

    /// A fresh view decides about the rows that came with a record.
    pub(in crate::publish) fn judge_record(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        part: PartId,
        rows: Vec<(ConnectionId, Row)>,
    ) {
        let Some(since) = self.appending_since(&part) else {
            return record_missed(cx, wings, &part.key, &rows);
        };
        let is_outdated = |(_, row): &(_, Row)| {
            wings.membership.standing(cx, row.instance, since) == Standing::Outdated
        };
        if rows.iter().any(is_outdated) {
            self.wait_for_view(cx, wings, WaitsForView::Record { part, rows });
        } else {
            self.follow_record(cx, wings, &part, since, &rows);
        }
    }

    /// Nobody can be judged: everybody is asked for followers of a record.
    pub(in crate::publish) fn record_unjudged(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        part: &PartId,
        rows: &[(ConnectionId, Row)],
    ) {
        if self.appending_since(part).is_none() {
            return record_missed(cx, wings, &part.key, rows);
        }
        let PartId { key, sequence } = part;
        self.serve_part_here(cx, wings, key, *sequence);
        self.ask_everybody(cx, wings, key, *sequence);
        self.advance_lane(cx, wings, key);
    }

    /// Since when a part is being appended. `None` if it is not, or has ended meanwhile.
    fn appending_since(&mut self, PartId { key, sequence }: &PartId) -> Option<Instant> {
        let part = self.part_mut(key, *sequence)?;
        (part.stage == PartStage::Appending).then_some(part.started)
    }

    /// The deadline comes near: a record that waits for a view does so no longer.
    pub(in crate::publish) fn record_hurries(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &PartId,
    ) {
        let waits = |waits: &WaitsForView| match waits {
            WaitsForView::Record { part, .. } => part == id,
            WaitsForView::Lane(_)
            | WaitsForView::Everyone(_)
            | WaitsForView::Topics(_)
            | WaitsForView::List { .. } => false,
        };
        let at = self.waiting.iter().position(|(_, other)| waits(other));
        if let Some((_, WaitsForView::Record { part, rows })) = at.map(|at| self.waiting.remove(at))
        {
            self.record_unjudged(cx, wings, &part, &rows);
        }
    }

    fn follow_record(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        part: &PartId,
        since: Instant,
        rows: &[(ConnectionId, Row)],
    ) {
        if self.appending_since(part).is_none() {
            return;
        }
        let PartId { key, sequence } = part;
        self.serve_part_here(cx, wings, key, *sequence);
        let doubt = wings.membership.doubt(cx, since);
        let Some(part) = self.part_mut(key, *sequence) else {
            return;
        };
        part.degraded |= doubt.sight == Sight::Blind;
        let standing = |instance| wings.membership.standing(cx, instance, since);
        let plan = route::plan(rows, &part.selection, &doubt.instances, standing);
        self.follow(cx, wings, key, *sequence, plan.routes);
        for (connection, row) in plan.dead {
            remove_dead_row(wings, key, connection, row);
        }
        self.advance_lane(cx, wings, key);
    }

    /// It is unknown whether a part was appended: it is asked again, which is safe under its push's id.
    pub(in crate::publish) fn append_unknown(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &PartId,
    ) {
        let Some(part) = self.part_mut(&id.key, id.sequence) else {
            return;
        };
        if let PartRecord::Wanted { doubtful, .. } = &mut part.record {
            *doubtful = true;
        }
        self.append_later(cx, wings, Unappended::Part(id.clone()));
    }

    /// What was not answered is asked for again: on the next link, or after a while on the one that there is.
    pub(in crate::publish) fn append_later(
        &mut self,
        cx: &mut Context<'_>,
        wings: &Wings<'_>,
        unappended: Unappended,
    ) {
        self.unappended.push(unappended);
        if wings.membership.is_linked() {
            let again = cx.now.mono + APPEND_PAUSE;
            cx.set(&mut self.again, again, PublishTimer::Append);
        }
    }

    /// The directory refused to append a part, or answered what cannot be understood.
    pub(in crate::publish) fn append_refused(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &PartId,
        refusal: &OperationError,
    ) {
        self.not_appended(cx, wings, id, in_log_by(refusal));
    }

    /// A part ends without a place in the log.
    fn not_appended(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        id: &PartId,
        in_log: InLog,
    ) {
        let PartId { key, sequence } = id;
        let Some(part) = self.part_mut(key, *sequence) else {
            return;
        };
        if part.stage != PartStage::Appending {
            return;
        }
        // What was asked before may be executed.
        let in_log = match part.record {
            PartRecord::Wanted { doubtful: true, .. } => InLog::Unknown,
            PartRecord::Wanted { .. }
            | PartRecord::Plain
            | PartRecord::At(_)
            | PartRecord::Not(_) => in_log,
        };
        part.record = PartRecord::Not(in_log);
        part.degraded = true;
        self.end_part(cx, key, *sequence);
        self.advance_lane(cx, wings, key);
    }
}

/// A record was not delivered, because its push has ended. Those that follow the log need not wait for a check.
fn record_missed(
    cx: &mut Context<'_>,
    wings: &mut Wings<'_>,
    key: &Key,
    rows: &[(ConnectionId, Row)],
) {
    let there = rows.iter().map(|(_, row)| row.instance);
    tell_all_missed(cx, wings, there, &Channel::from(key));
}
