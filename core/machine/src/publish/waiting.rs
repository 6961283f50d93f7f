//! What cannot be judged before the others' leases are read again.

use crate::command::Outbox;
use crate::instance::Instance;
use crate::publish::push::WaitsForView;
use crate::time::{Instant, Now};

impl Instance {
    /// Judges something by a view that is asked from this moment on.
    pub(crate) fn wait_for_view(&mut self, now: Now, waits: WaitsForView) {
        self.publish.pushes.waiting_for_view.push((now.mono, waits));
        self.membership.read_view(self.base.turn);
    }

    /// The view was read that was asked for at this moment: what waited since before is judged.
    pub(crate) fn judge_waiting(&mut self, now: Now, asked: Instant, out: &mut Outbox) {
        let waiting = std::mem::take(&mut self.publish.pushes.waiting_for_view);
        for (since, waits) in waiting {
            if since > asked {
                self.publish.pushes.waiting_for_view.push((since, waits));
                continue;
            }
            match waits {
                WaitsForView::Lane(user) => self.judge_lane(now, &user, out),
                WaitsForView::Everyone(push) => self.send_to_everyone(now, since, push, out),
                WaitsForView::List {
                    call,
                    asked,
                    user,
                    rows,
                } => {
                    self.list_connections(now, asked, call, &user, &rows, out);
                }
            }
        }
    }

    /// A reading failed: nobody can be judged by it.
    pub(crate) fn view_failed(&mut self, now: Now, out: &mut Outbox) {
        for (since, waits) in std::mem::take(&mut self.publish.pushes.waiting_for_view) {
            match waits {
                WaitsForView::Lane(user) => self.lookup_failed(now, &user, out),
                WaitsForView::Everyone(push) => self.send_to_everyone(now, since, push, out),
                WaitsForView::List { call, user, .. } => {
                    self.connections_unknown(call, &user, out);
                }
            }
        }
    }
}
