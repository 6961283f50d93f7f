//! What happened to pushes, rows and leases, as a recorder has seen it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use switchboard_core::directory::{Operation, Reply, Row};
use switchboard_core::frame::{CloseCode, Outgoing};
use switchboard_core::id::{ConnectionId, InstanceId, PushId, UserId};
use switchboard_core::message::{Audience, PushRefused, Receipt};
use switchboard_core::time::Instant;

use crate::checker::{Checker, Watch};
use crate::ledger::Excuse;
use crate::observed::{Executed, HandIn, Life, LinkStep, Observed, Topic};

/// A step of something.
#[derive(Clone, Debug)]
pub(super) struct HistoryStep {
    pub(super) at: Instant,
    pub(super) what: Happened,
}

/// What can have happened.
#[derive(Clone, Debug)]
pub(super) enum Happened {
    Gone(Life),
    Accepted {
        session: usize,
    },
    Greeted {
        session: usize,
        degraded: bool,
    },
    Ended {
        session: usize,
    },
    /// An instance ends a connection.
    Closing {
        session: usize,
        code: Option<CloseCode>,
    },
    HandedIn {
        hand_in: HandIn,
        life: Life,
        reachable: Vec<usize>,
    },
    Refused {
        hand_in: HandIn,
        refused: PushRefused,
    },
    Answered {
        hand_in: HandIn,
        receipt: Box<Receipt>,
    },
    /// The directory has read the rows of a user for an instance, or refused that.
    LookedUp {
        life: Life,
        user: UserId,
        found: Result<Vec<Found>, String>,
    },
    /// The row of a session changes, by an operation or, if nobody asked for it, by what is wrong.
    RowChanged {
        session: usize,
        before: Option<Row>,
        after: Option<Row>,
        by: Option<Box<Executed>>,
    },
    /// An instance was refused a row that it wanted to write.
    RowRefused {
        session: usize,
        life: Life,
        why: String,
    },
    /// An instance has been told of another.
    Told {
        life: Life,
        of: InstanceId,
    },
    /// A batch with the content of a push is on a link.
    OnLink {
        push: usize,
        from: usize,
        to: usize,
        step: LinkStep,
    },
    /// An instance has sent the frame of a push to a terminal's socket.
    Given {
        push: usize,
        session: usize,
    },
    /// The frame is with the operating system.
    Written {
        push: usize,
        session: usize,
    },
    /// The terminal has it.
    Seen {
        push: usize,
        session: usize,
    },
}

/// A row that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) connection: ConnectionId,
    pub(super) instance: InstanceId,
    pub(super) state: RowState,
}

/// What a row counts for, by the lease of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowState {
    Live,
    /// The lease is not there.
    NoLease,
    /// It has expired.
    LeaseRunOut,
    /// Its epoch is below the floor.
    BelowFloor,
}

/// A session, as it was last.
#[derive(Clone, Debug)]
pub(super) struct SessionFacts {
    pub(super) client: String,
    pub(super) user: UserId,
    pub(super) life: Option<Life>,
    pub(super) connection: Option<ConnectionId>,
}

/// What the explanation needs of a push.
#[derive(Clone, Debug)]
pub(super) struct PushFacts {
    pub(super) name: String,
    pub(super) to: Audience,
    pub(super) content: Option<Bytes>,
}

/// All that was recorded.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) steps: Vec<HistoryStep>,
    pub(super) sessions: Vec<SessionFacts>,
    pub(super) pushes: Vec<PushFacts>,
    pub(super) instances: BTreeMap<InstanceId, Life>,
    /// The excuse ledger.
    pub(super) faults: Vec<Excuse>,
    /// When the last thing happened.
    pub(super) end: Option<Instant>,
    names: BTreeMap<PushId, String>,
    rows: BTreeMap<usize, Row>,
    by_connection: BTreeMap<ConnectionId, usize>,
}

/// Takes everything down, and hands it over when its world is dropped.
#[derive(Clone, Debug)]
pub(super) struct HistoryRecorder {
    history: History,
    to: Sender<History>,
}

impl HistoryRecorder {
    /// `names`: what the schedule calls its pushes.
    pub(super) fn new(names: BTreeMap<PushId, String>) -> (Self, Receiver<History>) {
        let history = History {
            names,
            ..History::default()
        };
        let (to, recorded) = channel();
        (Self { history, to }, recorded)
    }
}

impl Drop for HistoryRecorder {
    fn drop(&mut self) {
        // Copies that have watched nothing have nothing to hand over.
        if self.history.end.is_some() {
            // Whoever wanted it may have gone.
            let _ = self.to.send(std::mem::take(&mut self.history));
        }
    }
}

impl Checker for HistoryRecorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        self.history.take(event, watch);
    }

    fn topics(&self) -> &'static [Topic] {
        &[
            Topic::Lives,
            Topic::Sessions,
            Topic::Words,
            Topic::Frames,
            Topic::Pushes,
            Topic::Directory,
            Topic::Faults,
            Topic::Time,
            Topic::Links,
        ]
    }
}

impl History {
    /// Whether a push was due to a session that has not got it.
    pub(super) fn is_lost(&self, push: usize, session: usize) -> bool {
        let (facts, to) = (&self.sessions[session], &self.pushes[push].to);
        let is_meant = match to {
            Audience::User(user) => *user == facts.user,
            Audience::Users(users) => users.contains(&facts.user),
            Audience::Connections { user, connections } => {
                let named = facts.connection.is_some_and(|id| connections.contains(&id));
                *user == facts.user && named
            }
            Audience::Everyone => true,
            // Who is a member is not recorded.
            Audience::Topics { .. } => false,
        };
        let has_content = self.pushes[push].content.is_some();
        is_meant && has_content && !self.is_written(push, session)
    }

    fn is_written(&self, push: usize, session: usize) -> bool {
        self.steps.iter().any(|step| {
            matches!(step.what, Happened::Written { push: of, session: to } if (of, to) == (push, session))
        })
    }

    /// Pushes, and the sessions to which they were due when they were handed in first.
    pub(super) fn due(&self) -> impl Iterator<Item = (usize, usize)> {
        self.steps.iter().flat_map(|step| {
            let (push, due): (usize, &[usize]) = match &step.what {
                Happened::HandedIn {
                    hand_in, reachable, ..
                } if hand_in.time == 0 => (hand_in.push, reachable),
                _ => (0, &[]),
            };
            due.iter().map(move |session| (push, *session))
        })
    }

    fn note(&mut self, at: Instant, what: Happened) {
        self.steps.push(HistoryStep { at, what });
    }

    fn take(&mut self, event: &Observed, watch: &Watch<'_>) {
        let now = watch.now();
        self.end = Some(now);
        self.know_sessions(watch);
        let happened = match event {
            Observed::Started(life) => {
                let id = watch.scene().instance_of(*life);
                self.instances.insert(id, *life);
                return;
            }
            Observed::Gone(life) => Happened::Gone(*life),
            Observed::Accepted { session } => Happened::Accepted { session: *session },
            Observed::Greeted { session, degraded } => Happened::Greeted {
                session: *session,
                degraded: *degraded,
            },
            Observed::Ended { session } => Happened::Ended { session: *session },
            Observed::Closing { session, code } => Happened::Closing {
                session: *session,
                code: *code,
            },
            Observed::HandedIn(hand_in) => self.handed_in(*hand_in, watch),
            Observed::PushRefused { hand_in, refused } => Happened::Refused {
                hand_in: *hand_in,
                refused: *refused,
            },
            Observed::Answered { hand_in, receipt } => Happened::Answered {
                hand_in: *hand_in,
                receipt: receipt.clone(),
            },
            Observed::Given { session, outgoing } => return self.given(now, *session, outgoing),
            Observed::Written { session, push, .. } | Observed::Seen { session, push, .. } => {
                let (Some(push), session) = (*push, *session) else {
                    return;
                };
                match event {
                    Observed::Written { .. } => Happened::Written { push, session },
                    _ => Happened::Seen { push, session },
                }
            }
            Observed::Executed(executed) => return self.executed(now, executed, watch),
            Observed::Viewed { life, leases } => {
                for lease in leases.iter().filter(|lease| lease.remaining.is_some()) {
                    let (life, of) = (*life, lease.instance);
                    self.note(now, Happened::Told { life, of });
                }
                return;
            }
            Observed::Carried {
                from,
                to,
                step,
                batch,
            } => {
                return self.carried(now, (*from, *to), *step, batch);
            }
            Observed::FaultBegan(entry) => {
                self.faults.push(*entry);
                return self.compare_rows(now, None, watch);
            }
            Observed::FaultEnded(entry) => {
                let same = |fault: &&mut Excuse| {
                    (fault.kind, fault.scope, fault.from) == (entry.kind, entry.scope, entry.from)
                };
                if let Some(fault) = self.faults.iter_mut().find(same) {
                    fault.until = entry.until;
                }
                return;
            }
            Observed::Tick => return self.compare_rows(now, None, watch),
            _ => return,
        };
        self.note(now, happened);
    }

    /// Sessions are told of by their number: who they are, the scene says.
    fn know_sessions(&mut self, watch: &Watch<'_>) {
        let sessions = watch.scene().sessions();
        for (number, session) in sessions.iter().enumerate() {
            let facts = SessionFacts {
                client: session.client().to_owned(),
                user: session.user().clone(),
                life: session.life(),
                connection: session.connection(),
            };
            if let Some(connection) = facts.connection {
                self.by_connection.insert(connection, number);
            }
            match self.sessions.get_mut(number) {
                Some(known) if known.connection.is_some() => {}
                Some(known) => *known = facts,
                None => self.sessions.push(facts),
            }
        }
    }

    fn handed_in(&mut self, hand_in: HandIn, watch: &Watch<'_>) -> Happened {
        let pushes = watch.scene().pushes();
        for (number, published) in pushes.iter().enumerate().skip(self.pushes.len()) {
            let unnamed = || format!("number {number}");
            self.pushes.push(PushFacts {
                name: self
                    .names
                    .get(&published.id())
                    .cloned()
                    .unwrap_or_else(unnamed),
                to: published.to().clone(),
                content: published.payload().map(|payload| payload.bytes().clone()),
            });
        }
        let time = &pushes[hand_in.push].times()[hand_in.time];
        Happened::HandedIn {
            hand_in,
            life: time.life,
            reachable: time.reachable.clone(),
        }
    }

    fn given(&mut self, now: Instant, session: usize, outgoing: &Outgoing) {
        if let Outgoing::Pushed(pushed) | Outgoing::Record(pushed) = outgoing {
            let content = pushed.payload().bytes();
            let push = self
                .pushes
                .iter()
                .position(|push| push.content.as_ref() == Some(content));
            if let Some(push) = push {
                self.note(now, Happened::Given { push, session });
            }
        }
    }

    fn carried(&mut self, now: Instant, (from, to): (usize, usize), step: LinkStep, batch: &[u8]) {
        let is_in = |push: &PushFacts| {
            let content = push.content.as_ref();
            content
                .is_some_and(|content| batch.windows(content.len()).any(|window| window == content))
        };
        let carried: Vec<_> = (self.pushes.iter().enumerate())
            .filter(|(_, push)| is_in(push))
            .map(|(push, _)| push)
            .collect();
        for push in carried {
            self.note(
                now,
                Happened::OnLink {
                    push,
                    from,
                    to,
                    step,
                },
            );
        }
    }

    fn executed(&mut self, now: Instant, executed: &Executed, watch: &Watch<'_>) {
        self.compare_rows(now, Some(executed), watch);
        let life = executed.life;
        match (&executed.operation, &executed.outcome) {
            (Operation::Lookup { key }, outcome) => {
                let found = match outcome {
                    Ok(Reply::Rows { rows, .. }) => {
                        let found = rows.iter().map(|(connection, row)| Found {
                            connection: *connection,
                            instance: row.instance,
                            state: state_of(*row, watch),
                        });
                        Ok(found.collect())
                    }
                    Ok(other) => Err(format!("{other:?}")),
                    Err(error) => Err(error.to_string()),
                };
                let user = key.user().clone();
                self.note(now, Happened::LookedUp { life, user, found });
            }
            (Operation::Register { connection, .. }, outcome) => {
                let why = match outcome {
                    Ok(Reply::Registered) => return,
                    Ok(Reply::Superseded) => "another one stands there".to_owned(),
                    Ok(other) => format!("{other:?}"),
                    Err(error) => error.to_string(),
                };
                if let Some(session) = self.session_of(*connection) {
                    self.note(now, Happened::RowRefused { session, life, why });
                }
            }
            _ => {}
        }
    }

    /// Rows that are others than at the last look. What an operation changes beside its own row shows so.
    fn compare_rows(&mut self, now: Instant, by: Option<&Executed>, watch: &Watch<'_>) {
        let present: BTreeMap<usize, Row> = (watch.scene().rows())
            .filter_map(|(connection, row)| Some((self.session_of(connection)?, row)))
            .collect();
        let before = std::mem::take(&mut self.rows);
        let all = before.keys().chain(
            present
                .keys()
                .filter(|session| !before.contains_key(session)),
        );
        for session in all.copied().collect::<Vec<_>>() {
            let (before, after) = (
                before.get(&session).copied(),
                present.get(&session).copied(),
            );
            if before != after {
                let by = by.cloned().map(Box::new);
                self.note(
                    now,
                    Happened::RowChanged {
                        session,
                        before,
                        after,
                        by,
                    },
                );
            }
        }
        self.rows = present;
    }

    pub(super) fn session_of(&self, connection: ConnectionId) -> Option<usize> {
        self.by_connection.get(&connection).copied()
    }
}

/// What a row counts for by the directory as it is at this moment.
fn state_of(row: Row, watch: &Watch<'_>) -> RowState {
    match watch.scene().lease(row.instance) {
        None => RowState::NoLease,
        Some(lease) if lease.remaining.is_none() => RowState::LeaseRunOut,
        Some(lease) if row.epoch < lease.lease.floor => RowState::BelowFloor,
        Some(_) => RowState::Live,
    }
}
