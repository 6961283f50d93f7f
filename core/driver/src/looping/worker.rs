//! The actor that owns an instance: the only place where it is called, one turn after the other.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use arc_swap::ArcSwap;
use futures_channel::oneshot;
use futures_util::future::poll_fn;
use switchboard_core::Instance;
use switchboard_core::command::Outbox;
use switchboard_core::event::Event;
use switchboard_core::id::{CallId, SessionName};
use switchboard_core::time::{Instant, Now};
use switchboard_protocol::Family;

use super::tables::{Links, Terminals};
use crate::admission::Admitted;
use crate::alarm::Alarm;
use crate::clock;
use crate::events::Queue;
use crate::figures::Snapshot;
use crate::inbox::{
    Accept, Caller, Input, LinkEnd, LoggedIn, PassedOn, Posted, Relayed, Reports, Who,
};
use crate::log::journal;
use crate::members::{Member, Shared};
use crate::permits::Service;
use crate::queue::Taker;
use crate::random_bytes;
use crate::runtime::Runtime;
use crate::session_names::SessionNames;
use crate::task::give_way;
use crate::tasks::Trust;
use crate::tasks::directory::{DirectoryContext, DirectoryLink, Troubles};
use crate::tasks::link::{self, LinkContext};
use crate::tasks::terminal::{self, Logins, Questions, TerminalContext};

/// Events that are handled under one reading of the clock, at most. Measured: one by one the
/// channel costs more than the instance; beyond some hundreds a larger batch gains nothing.
const BATCH: usize = 256;

/// Chunks of work between two batches of events, at most, so that neither starves the other.
const CHUNKS: usize = 64;

/// What the loop of an instance finds around it.
pub(crate) struct Surroundings {
    shared: Arc<Shared>,
    me: Arc<Member>,
    /// What the operator was told of the directory.
    troubles: Arc<Troubles>,
}

impl Surroundings {
    /// Of the instance that is this member.
    pub(crate) const fn new(shared: Arc<Shared>, me: Arc<Member>, troubles: Arc<Troubles>) -> Self {
        Self {
            shared,
            me,
            troubles,
        }
    }
}

/// One instance and what its commands are about.
pub(super) struct Worker {
    pub(super) me: Arc<Member>,
    /// The application's events.
    pub(super) events: Option<Arc<Queue>>,
    pub(super) for_terminals: Rc<TerminalContext>,
    pub(super) for_links: Rc<LinkContext>,
    pub(super) instance: Instance,
    pub(super) terminals: Terminals,
    session_names: SessionNames,
    admitted: Arc<ArcSwap<Admitted>>,
    pub(super) links: Links,
    pub(super) directory: DirectoryLink,
    /// What came of commands at once: events of the next batch.
    pub(super) outcomes: VecDeque<Event>,
    /// By number: the first call comes first, and most often is answered first.
    pub(super) calls: BTreeMap<CallId, Caller>,
    pub(super) drained: Vec<oneshot::Sender<()>>,
    pub(super) ended: bool,
    calls_made: u64,
}

/// Runs an instance until its inbox is closed.
pub(crate) async fn run<R: Runtime>(
    instance: Instance,
    around: Surroundings,
    inbox: Taker<Posted>,
) {
    let mut worker = Worker::new::<R>(instance, around);
    worker.serve::<R>(&inbox).await;
}

impl Worker {
    fn new<R: Runtime>(instance: Instance, around: Surroundings) -> Self {
        let Surroundings {
            shared,
            me,
            troubles,
        } = around;
        let reports = Reports::to(me.inbox.clone());
        let context = DirectoryContext {
            instance: me.id,
            reports: reports.clone(),
            settings: shared.settings.directory_settings(),
            timeout: shared.settings.core.directory_timeout,
            replica_wait: shared.settings.core.replica_wait(),
            troubles,
        };
        let directory = DirectoryLink::open::<R>(&shared.settings.directory, context);
        let for_terminals = TerminalContext {
            instance: me.id,
            reports: reports.clone(),
            events: shared.events.clone(),
            frame_bytes: shared.settings.process.frame_bytes,
            logins: Rc::new(logins::<R>(&shared, &me)),
            questions: Rc::new(Questions::new()),
            refresh_grace: shared.settings.process.refresh_grace,
            topic_joins: shared.settings.core.topic_joins,
            topic_publications: shared.settings.core.topic_publications,
            pinged_within: (shared.settings.core.ping_interval)
                .max(shared.settings.core.ping_timeout),
            sessions: Arc::new(shared.settings.sessions()),
            scratch: RefCell::default(),
        };
        let for_links = LinkContext {
            reports,
            siblings: shared.siblings(),
            dropped: Arc::clone(&shared.dropped),
            link_timeout: shared.settings.core.link_timeout,
        };
        Self {
            me,
            events: shared.events.clone(),
            for_terminals: Rc::new(for_terminals),
            for_links: Rc::new(for_links),
            instance,
            terminals: Terminals::default(),
            session_names: shared.session_names.clone(),
            admitted: Arc::clone(&shared.admitted),
            links: Links::default(),
            outcomes: directory.first_event().into_iter().collect(),
            directory,
            calls: BTreeMap::new(),
            drained: Vec::new(),
            ended: false,
            calls_made: 0,
        }
    }

    async fn serve<R: Runtime>(&mut self, inbox: &Taker<Posted>) {
        let mut out = Outbox::new();
        let mut alarm = Alarm::<R>::default();
        loop {
            let first = if self.outcomes.is_empty() && !self.is_due(clock::mono()) {
                let due = self.instance.next_timeout().map(|(due, _)| due);
                match wait(&mut alarm, due, inbox).await {
                    WokenBy::Input(posted) => Some(posted),
                    WokenBy::Timer => None,
                    WokenBy::Closed => return,
                }
            } else {
                None
            };
            let now = clock::now();
            for event in std::mem::take(&mut self.outcomes) {
                self.instance.handle(now, event, &mut out);
            }
            let batch = std::iter::from_fn(|| inbox.try_take());
            for posted in first.into_iter().chain(batch).take(BATCH) {
                self.input::<R>(now, posted.input, &mut out);
            }
            for _ in 0..CHUNKS {
                if !self.is_due(now.mono) {
                    break;
                }
                self.instance.handle_timeout(now, &mut out);
            }
            self.execute_all::<R>(&mut out);
            self.me
                .ready
                .store(self.instance.is_ready(), Ordering::Relaxed);
            // The tasks of this thread get their turn: what they report makes the next batch.
            give_way().await;
        }
    }

    /// Executes all commands. It is done before anything is accepted, too: what is still to be done for
    /// somebody who has ended in this batch would be done to whoever comes into the slot.
    fn execute_all<R: Runtime>(&mut self, out: &mut Outbox) {
        for command in out.drain() {
            self.execute::<R>(command);
        }
        self.terminals.rest();
    }

    fn is_due(&self, now: Instant) -> bool {
        self.instance
            .next_timeout()
            .is_some_and(|(due, _)| due <= now)
    }

    fn input<R: Runtime>(&mut self, now: Now, input: Input, out: &mut Outbox) {
        match input {
            Input::Event(event) => {
                if let Event::Closed {
                    connection,
                    closure,
                } = event
                    && let Some(ended) = self.instance.ended(now, connection, closure)
                {
                    journal::ended(self.me.id, closure, &ended);
                }
                self.instance.handle(now, event, out);
            }
            Input::Accept(accept) => {
                self.execute_all::<R>(out);
                self.accept::<R>(now, *accept);
            }
            Input::LogIn(logged_in) => {
                let LoggedIn {
                    connection,
                    login,
                    session,
                } = *logged_in;
                self.terminals.logged_in(connection, session);
                let login = Box::new(login);
                let event = Event::Authenticated { connection, login };
                self.instance.handle(now, event, out);
            }
            Input::Hear(relayed) => {
                let Relayed {
                    session,
                    frame,
                    answer,
                } = *relayed;
                // Whoever has brought it may have gone.
                let _ = answer.send(self.terminals.hear(&session, frame));
            }
            Input::PassOn(passed, answer) => {
                let call = self.call(answer);
                let PassedOn { to, session, frame } = *passed;
                let relay = Event::Relay {
                    call,
                    to,
                    session,
                    frame,
                };
                self.instance.handle(now, relay, out);
            }
            Input::AcceptLink(end) => {
                self.execute_all::<R>(out);
                if let Some(key) = self.instance.accept_link(now) {
                    let newcomer = match &end {
                        LinkEnd::Socket(newcomer) => Some(Arc::clone(&newcomer.permit)),
                        LinkEnd::Channel(_) => None,
                    };
                    let feed = self.links.insert(key, Trust::in_newcomer(), newcomer);
                    link::serve::<R>(&self.for_links, key, end, feed);
                } else if matches!(end, LinkEnd::Socket(_)) {
                    self.for_links.dropped.count(Service::Peers);
                }
            }
            Input::Push(push, caller) => {
                journal::push(self.me.id, &push);
                let call = self.call(caller);
                self.instance
                    .handle(now, Event::Push { call, push: *push }, out);
            }
            Input::Connections(user, caller) => {
                let call = self.call(caller);
                self.instance
                    .handle(now, Event::Connections { call, user }, out);
            }
            Input::Log(channel, request, caller) => {
                let call = self.call(caller);
                let asked = Event::Log {
                    call,
                    channel,
                    request,
                };
                self.instance.handle(now, asked, out);
            }
            Input::Instances(answer) => {
                let call = self.call(answer);
                self.instance.handle(now, Event::Instances { call }, out);
            }
            Input::Snapshot(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.snapshot());
            }
            Input::Levels(answer) => {
                let _ = answer.send(self.instance.levels());
            }
            Input::Drain {
                delay,
                spread,
                drained,
            } => {
                if !self.ended {
                    self.drained.push(drained);
                }
                self.instance
                    .handle(now, Event::Drain { delay, spread }, out);
            }
        }
    }

    fn accept<R: Runtime>(&mut self, now: Now, accept: Accept) {
        let (user, expires, request, accepted) = match accept.who {
            Who::Known(handshake) => {
                let (user, expires) = (handshake.user.clone(), handshake.expires);
                let accepted = self.instance.accept(now, handshake);
                (Some(user), expires, None, accepted)
            }
            Who::Stranger { size, request } => {
                let accepted = self.instance.accept_stranger(now, size);
                (None, None, Some(request), accepted)
            }
        };
        let key = match accepted {
            Ok(key) => key,
            Err(refused) => {
                let _ = accept.answer.send(Err(refused));
                return;
            }
        };
        let Some(id) = self.instance.connection_id(key) else {
            debug_assert!(false, "an accepted connection has an id");
            return;
        };
        let transport = accept.opening.kind();
        journal::accepted(self.me.id, id, user.as_ref(), transport.name());
        let is_named = accept.protocol.family() == Family::Centrifuge && !transport.upgrades();
        let name = is_named.then(|| SessionName::new(random_bytes()));
        let mailbox =
            (self.terminals).insert(key, accept.protocol, transport, accept.session, name);
        if let Some(first) = accept.first {
            mailbox.hear(first);
        }
        let opening = accept.opening.opened::<R>(Rc::clone(&mailbox).aborted());
        let accepted = Box::new(terminal::AcceptedTerminal {
            context: Rc::clone(&self.for_terminals),
            terminal: terminal::Terminal {
                key,
                id,
                user,
                protocol: accept.protocol,
                mailbox,
                _seat: accept.seat,
            },
            opening,
            expires,
            request,
            names: name.map(|name| Box::new(self.session_names.names(self.me.id, name))),
        });
        // If the handshake's task has gone, the opening fails and the terminal is reported closed.
        let _ = accept.answer.send(Ok(()));
        R::spawn(terminal::run(accepted));
    }

    fn call(&mut self, caller: impl Into<Caller>) -> CallId {
        self.calls_made += 1;
        let call = CallId::new(self.calls_made);
        self.calls.insert(call, caller.into());
        call
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            instance: self.instance.id(),
            stats: *self.instance.stats(),
            gauges: self.instance.gauges(clock::now()),
            ready: self.instance.is_ready() && self.admitted.load().admission.unready().is_none(),
            transports: self.terminals.by_transport(),
        }
    }
}

/// Who says who strangers are.
fn logins<R: Runtime>(shared: &Shared, me: &Arc<Member>) -> Logins {
    let me = Arc::clone(me);
    Logins {
        admitted: Arc::clone(&shared.admitted),
        patience: (shared.settings.core.handshake_timeout).min(Logins::PATIENCE_MAX),
        sleep: |span| Box::pin(R::sleep(span)),
        failed: Box::new(move |error| {
            me.refusals.count(error.code());
            journal::login_failed(me.id, error.code(), error);
        }),
    }
}

enum WokenBy {
    Input(Posted),
    Timer,
    Closed,
}

/// Waits for the next input, or until the instance has something to do by itself.
async fn wait<R: Runtime>(
    alarm: &mut Alarm<R>,
    due: Option<Instant>,
    inbox: &Taker<Posted>,
) -> WokenBy {
    poll_fn(|cx| {
        if let Poll::Ready(posted) = inbox.poll_take(cx) {
            return Poll::Ready(posted.map_or(WokenBy::Closed, WokenBy::Input));
        }
        match due {
            Some(due) => alarm.poll_at(due, cx).map(|()| WokenBy::Timer),
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use switchboard_core::Seed;
    use switchboard_core::command::Command;
    use switchboard_core::config::Identity;
    use switchboard_core::event::LinkFailure;
    use switchboard_core::frame::Payload;
    use switchboard_core::id::{InstanceId, LinkKey};
    use switchboard_core::message::{Audience, Push};

    use super::*;
    use crate::hasty::Hasty;
    use crate::inbox::{ChannelEnd, Inbox};

    /// H43: of all that two instances do when both dial at once, a dial that is given up, and a link that
    /// is accepted, may fall into one batch, and into one slot.
    #[test]
    fn a_link_is_not_taken_for_one_that_ended_in_its_slot() {
        let shared = Arc::new(Shared::of(Vec::new()));
        let [_, mut worker] = [1, 2].map(|id| {
            let mut worker = worker(id, &shared);
            assert_eq!(worker.batch(&mut Outbox::new()), None);
            worker
        });
        let push = Push::new(
            crate::new_push_id(),
            Audience::Everyone,
            Payload::binary(Bytes::new()),
        );
        let (answer, _) = oneshot::channel();
        let mut out = Outbox::new();
        worker.input::<Hasty>(
            clock::now(),
            Input::Push(Box::new(push), answer.into()),
            &mut out,
        );
        let link = worker.batch(&mut out).expect("it dials the other");
        let failure = LinkFailure::Broken;
        let down = Input::Event(Event::LinkDown { link, failure });
        worker.input::<Hasty>(clock::now(), down, &mut out);
        let (sender, batches) = async_channel::bounded(1);
        let end = LinkEnd::Channel(ChannelEnd {
            sender,
            receiver: batches.clone(),
        });
        worker.input::<Hasty>(clock::now(), Input::AcceptLink(end), &mut out);
        worker.execute_all::<Hasty>(&mut out);
        let keys: Vec<_> = worker.links.keys().collect();
        assert_eq!(keys.len(), 1);
        assert!(keys[0] != link && keys[0].slot() == link.slot(), "{keys:?}");
    }

    impl Worker {
        /// Does all there is to do, until a link is to be dialled.
        fn batch(&mut self, out: &mut Outbox) -> Option<LinkKey> {
            loop {
                let now = clock::now();
                while self.is_due(now.mono) {
                    self.instance.handle_timeout(now, out);
                }
                let dialled = out.commands().iter().find_map(|command| match command {
                    Command::Dial { link, .. } => Some(*link),
                    _ => None,
                });
                if dialled.is_some() {
                    return dialled;
                }
                self.execute_all::<Hasty>(out);
                if self.outcomes.is_empty() {
                    return None;
                }
                for event in std::mem::take(&mut self.outcomes) {
                    self.instance.handle(now, event, out);
                }
            }
        }
    }

    fn worker(id: u64, shared: &Arc<Shared>) -> Worker {
        let id = InstanceId::new(id);
        let settings = &shared.settings;
        let identity = Identity {
            instance: id,
            address: "127.0.0.1:1".to_owned(),
            secret: settings.secret().expect("a random one"),
        };
        let seed = Seed::new([0; 32]);
        let instance = Instance::new(settings.core.clone(), identity, seed, clock::now());
        let (inbox, _) = Inbox::new();
        let around = Surroundings {
            shared: Arc::clone(shared),
            me: Arc::new(Member::new(id, inbox)),
            troubles: Arc::default(),
        };
        Worker::new::<Hasty>(instance.expect("it fits"), around)
    }
}
