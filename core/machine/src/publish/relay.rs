//! What terminals say on other connections than their own, at an instance that has not got them: it is passed on to the
//! one that has, which is named, over the link that there is between the two.
//!
//! It needs no row, and nothing of it waits for the directory. A link that breaks behind it leaves open whether it has
//! come: it is not sent again, because it would count twice.

use crate::base::few::Few;
use crate::command::Command;
use crate::config::Config;
use crate::context::Context;
use crate::delivery::{Addressees, Delivery};
use crate::event::Answer;
use crate::frame::Payload;
use crate::id::{CallId, InstanceId, PushId, SessionName};
use crate::message::{Action, Hearing, Receipt, Until};
use crate::publish::Publish;
use crate::publish::push::send;
use crate::publish::receipt::{Caller, OpenPush};
use crate::publish::replicas::Replication;
use crate::vocabulary::timer::PublishTimer;
use crate::wings::Wings;

impl Publish {
    /// Has an instance hear what a terminal of it has said here. It is answered once, at the deadline at the latest.
    pub(crate) fn relay(
        &mut self,
        cx: &mut Context<'_>,
        wings: &mut Wings<'_>,
        call: CallId,
        (to, session): (InstanceId, SessionName),
        frame: Payload,
    ) {
        // An instance that may live is asked, whatever the directory says at present.
        if !wings.membership.everybody(cx, cx.now.mono).contains(&to) {
            return answer(cx, call, Some(Hearing::Gone));
        }
        if self.relays >= Config::RELAYS {
            return answer(cx, call, Some(Hearing::Full));
        }
        self.relays += 1;
        let due = cx.now.mono + Config::RELAY_DEADLINE;
        // Nobody sends it again.
        let id = PushId::new(uuid::Uuid::nil());
        let wanted = (Action::Frame(frame), Until::Written, Replication::default());
        let action = wanted.0.clone();
        let push = (self.open).insert(OpenPush::new(Caller::Relay(call), id, wanted, due, due));
        cx.arm(due, PublishTimer::Push(push));
        if let Some(open) = self.open.get_mut(push) {
            open.unfinished = 1;
        }
        let delivery = Delivery {
            id: self.begin_delivery(push, to, Few::new()),
            push: id,
            within: Config::RELAY_DEADLINE,
            action,
            to: Addressees::Session(session),
        };
        send(cx, wings, to, delivery, due);
    }

    /// The instance has heard it, or has not, or has not said so.
    pub(super) fn relayed(&mut self, cx: &mut Context<'_>, call: CallId, receipt: &Receipt) {
        self.relays -= 1;
        let counts = receipt.counts;
        let hearing = if counts.written > 0 {
            Some(Hearing::Heard)
        } else if counts.gone > 0 {
            Some(Hearing::Gone)
        } else if counts.overflow > 0 {
            Some(Hearing::Full)
        } else {
            None
        };
        answer(cx, call, hearing);
    }
}

fn answer(cx: &mut Context<'_>, call: CallId, hearing: Option<Hearing>) {
    let answer = Box::new(Answer::Relayed(hearing));
    cx.out.push(Command::Answer { call, answer });
}
