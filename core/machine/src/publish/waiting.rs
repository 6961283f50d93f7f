//! What cannot be judged before the others' leases are read again.

use crate::context::Context;
use crate::directory::Row;
use crate::id::{CallId, ConnectionId, PushKey};
use crate::key::Key;
use crate::publish::lane::PartId;
use crate::publish::topics::TopicPushId;
use crate::publish::{Publish, list};
use crate::time::Instant;
use crate::wings::Wings;

/// Something that needs to know whether an instance lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum WaitsForView {
    /// The lane of this key.
    Lane(Key),
    /// A push to everyone.
    Everyone(PushKey),
    /// A push to topics, or its record in the log of one, whose rows have come.
    Topics(TopicPushId),
    /// The rows that came with the record of a part.
    Record {
        part: PartId,
        rows: Vec<(ConnectionId, Row)>,
    },
    /// A list of a key's connections.
    List {
        call: CallId,
        /// Since when nobody must be missed.
        asked: Instant,
        key: Key,
        rows: Vec<(ConnectionId, Row)>,
    },
}

impl Publish {
    /// Judges something by a view that is asked from this moment on.
    pub(super) fn wait_for_view(
        &mut self,
        cx: &Context<'_>,
        wings: &mut Wings<'_>,
        waits: WaitsForView,
    ) {
        self.waiting.push((cx.now.mono, waits));
        wings.membership.read_view(cx.turn);
    }

    /// The view was read that was asked for at this moment: what waited since before is judged.
    pub(crate) fn view_read(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        asked: Instant,
    ) {
        for (since, waits) in std::mem::take(&mut self.waiting) {
            if since > asked {
                self.waiting.push((since, waits));
                continue;
            }
            match waits {
                WaitsForView::Lane(key) => self.judge_lane(cx, wings, &key),
                WaitsForView::Everyone(push) => self.send_to_everyone(cx, wings, since, push),
                WaitsForView::Topics(push) => self.topics_judged(cx, wings, &push),
                WaitsForView::Record { part, rows } => self.judge_record(cx, wings, part, rows),
                WaitsForView::List {
                    call,
                    asked,
                    key,
                    rows,
                } => list::answer(cx, wings, asked, call, &key, &rows),
            }
        }
    }

    /// A reading failed: nobody can be judged by it.
    pub(crate) fn view_failed(&mut self, cx: &mut Context<'_>, wings: &mut Wings<'_>) {
        for (since, waits) in std::mem::take(&mut self.waiting) {
            match waits {
                WaitsForView::Lane(key) => self.lookup_failed(cx, wings, &key),
                WaitsForView::Everyone(push) => self.send_to_everyone(cx, wings, since, push),
                WaitsForView::Topics(push) => self.topics_unjudged(cx, wings, &push),
                WaitsForView::Record { part, rows } => {
                    self.record_unjudged(cx, wings, &part, &rows);
                }
                WaitsForView::List { call, key, .. } => {
                    list::connections_unknown(cx, wings, call, &key);
                }
            }
        }
    }

    /// Takes a push to everyone from those that wait. Returns since when it has waited.
    pub(super) fn stop_waiting(&mut self, push: PushKey) -> Option<Instant> {
        let everyone = WaitsForView::Everyone(push);
        let at = (self.waiting.iter()).position(|(_, waits)| *waits == everyone)?;
        let (since, _) = self.waiting.remove(at);
        Some(since)
    }
}
