//! `terminal-told`: what an instance says to a terminal, and of one, is so.

use std::collections::BTreeSet;

use switchboard_core::command::Log;
use switchboard_core::config::SlowConsumer;
use switchboard_core::event::{Closure, Disconnected, Ending, Heard, Notice};
use switchboard_core::frame::{CloseCode, HelloLog, Messages, Outgoing};
use switchboard_core::message::{Action, Audience};
use switchboard_core::time::Instant;

use super::counters::Counters;
use super::left_unwritten::left_unwritten;
use crate::checker::{Checker, Watch};
use crate::ledger::{FaultKind, Scope};
use crate::observed::{Account, Life, Observed, Quiescence, Topic};
use crate::publishing::{HandInProgress, Published};
use crate::terminals::Pace;

/// The hello comes first and has the connection's name; a push has its id and the key by which its terminals
/// are found; an answer counts exactly the messages that came before it. The application is told of
/// each terminal that was greeted once when it is there and once when it has gone, and why; so are
/// counters and log. No connection is ended for a reason that it does not have; and what waits for a terminal that is told
/// to go elsewhere, or that its token has expired, is written before that.
#[derive(Clone, Debug, Default)]
pub struct TerminalTold {
    /// What is known of each session, by its number.
    told: Vec<Record>,
    /// Instances that have said that they are isolated.
    isolated: BTreeSet<Life>,
    /// Terminals that were sent away without a cause that is known: their instances may say in the same turn that they are
    /// isolated. With what is said otherwise.
    sent_away: Vec<(Life, Instant, String)>,
    counters: Counters,
}

/// What an instance was told of a terminal, and has said.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// Messages that it has taken in.
    sent: Messages,
    /// Those that it has answered.
    answered: Messages,
    /// It has answered less than it had taken in by then: it had begun to end the connection before the rest came.
    was_last: bool,
    frames: u64,
    /// It was greeted before it was known where it stands in the log of its user.
    unplaced: bool,
    /// Bytes of the pushes among the frames.
    bytes: u64,
    /// What it has wanted of topics.
    wishes: usize,
    /// It has ended the connection, with a Close frame or without.
    closing: Option<Option<CloseCode>>,
    /// How its socket has ended, and when.
    closure: Option<(Closure, Instant)>,
    notices: Notices,
}

/// How far its application was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Notices {
    #[default]
    None,
    Connected,
    Disconnected,
}

impl Checker for TerminalTold {
    fn name(&self) -> &'static str {
        "terminal-told"
    }

    fn topics(&self) -> &'static [Topic] {
        &[Topic::Words, Topic::Log, Topic::Sessions, Topic::Pushes]
    }

    fn on_event(&mut self, event: &Observed, watch: &mut Watch<'_>) {
        self.counters.take_in(event, watch);
        while let Some((.., what)) = self.sent_away.pop_if(|(_, at, _)| *at < watch.now()) {
            watch.violated(what);
        }
        match event {
            Observed::Heard { session, frame } => {
                let sent = &mut self.of(*session).sent;
                match frame {
                    Heard::Control | Heard::Ack(_) => {}
                    Heard::Message => sent.received += 1,
                    Heard::Unwanted => sent.dropped += 1,
                }
            }
            Observed::Wished { session, .. } => self.of(*session).wishes += 1,
            Observed::Given { session, outgoing } => self.given(watch, *session, outgoing),
            Observed::Closing { session, code } => {
                let closing = &mut self.of(*session).closing;
                *closing = closing.or(Some(*code));
                if let Some(code) = code {
                    let causes = self.has_cause(watch, *session, *code);
                    judge(watch, causes, || {
                        format!(
                            "session {session} is closed with {code:?}, and has no cause for that"
                        )
                    });
                    let left = left_unwritten(watch, *session, *code);
                    judge(watch, left.is_none(), || {
                        format!(
                            "session {session} is closed with {code:?} before push {left:?} is written"
                        )
                    });
                }
            }
            Observed::Closed {
                session,
                closure,
                account,
            } => {
                self.of(*session).closure = Some((*closure, watch.now()));
                match account {
                    Some(account) => self.accounted(watch, *session, account),
                    None => {
                        watch.violated(format!("session {session} ends unknown to its instance"))
                    }
                }
            }
            Observed::Noticed { life, notice } => self.noticed(watch, *life, notice),
            Observed::Logged { life, log } if **log == Log::Isolated => {
                self.isolated.insert(*life);
                self.sent_away
                    .retain(|(sent_away_by, ..)| sent_away_by != life);
            }
            _ => {}
        }
    }

    fn at_quiescence(&mut self, quiescence: Quiescence, watch: &mut Watch<'_>) {
        let differ = self.counters.differ(watch);
        judge(watch, differ.is_none(), || differ.unwrap_or_default());
        for session in 0..self.told.len() {
            let (told, this) = (self.told[session], &watch.scene().sessions()[session]);
            let lives = this.life().is_some_and(|life| watch.scene().lives(life));
            match quiescence {
                Quiescence::Converged => {
                    let listens = this.is_open() && this.pace() == Pace::AtOnce;
                    if listens && this.greeted().is_some() && lives {
                        judge(watch, told.answered == told.sent, || {
                            format!(
                                "session {session} was answered {:?}, and sent {:?}",
                                told.answered, told.sent
                            )
                        });
                    }
                }
                Quiescence::AtRest => {
                    let over = told.notices != Notices::Connected;
                    judge(watch, over || !lives, || {
                        format!("nobody was told that session {session} has gone")
                    });
                }
            }
        }
    }
}

fn judge(watch: &mut Watch<'_>, holds: bool, otherwise: impl FnOnce() -> String) {
    if holds {
        watch.held();
    } else {
        watch.violated(otherwise());
    }
}

impl TerminalTold {
    fn of(&mut self, session: usize) -> &mut Record {
        if session >= self.told.len() {
            self.told.resize(session + 1, Record::default());
        }
        &mut self.told[session]
    }

    /// A frame for a terminal.
    fn given(&mut self, watch: &mut Watch<'_>, session: usize, outgoing: &Outgoing) {
        let told = self.of(session);
        told.frames += 1;
        let is_first = told.frames == 1;
        let is_record = matches!(outgoing, Outgoing::Record(_));
        let this = &watch.scene().sessions()[session];
        if !this.is_known() {
            watch.violated(format!(
                "session {session} is told {outgoing:?} before it has said who it is"
            ));
            return;
        }
        let holds = match outgoing {
            Outgoing::Hello {
                connection, log, ..
            } => {
                told.unplaced = *log == HelloLog::Unknown;
                is_first
                    && Some(*connection) == this.connection()
                    && told.notices == Notices::Connected
            }
            Outgoing::Received(messages) => {
                let is_new = *messages != told.answered;
                told.answered = *messages;
                let sent = told.sent;
                let some = messages.received <= sent.received && messages.dropped <= sent.dropped;
                let before = std::mem::replace(&mut told.was_last, *messages != sent);
                !is_first && is_new && some && !before
            }
            // Whether it is so is for `topic-members` to say.
            Outgoing::Joined { .. }
            | Outgoing::Left(_)
            | Outgoing::NotJoined(_, _)
            | Outgoing::NotWatched(_, _) => !is_first,
            // Whether it is so is for `presence-true` to say, and for those that judge logs.
            Outgoing::Presence(_) | Outgoing::TopicLog(..) => !is_first,
            // Whether it is so is for `log-complete` and `no-false-gap` to say.
            Outgoing::Log(_) | Outgoing::Gap(_) | Outgoing::Back(_) => {
                !is_first && this.follow().is_some()
            }
            Outgoing::Record(pushed) | Outgoing::Pushed(pushed) => {
                told.bytes += pushed.payload().len() as u64;
                let unplaced = told.unplaced;
                let published = watch.scene().pushes().iter();
                let published = published
                    .into_iter()
                    .find(|push| push.id() == pushed.push());
                let is_so = published.is_some_and(|published| {
                    let user = (pushed.key()).map(|key| key.user());
                    let (wanted, topics) = match published.to() {
                        Audience::Everyone => (None, None),
                        Audience::Topics { topics, .. } => (None, Some(topics)),
                        Audience::User(_) | Audience::Users(_) | Audience::Connections { .. } => {
                            (Some(this.user()), None)
                        }
                    };
                    let found = match (pushed.topic(), topics) {
                        (Some(topic), Some(topics)) => topics.contains(topic),
                        (topic, topics) => topic.is_none() && topics.is_none(),
                    };
                    let channel = this.channel(pushed.topic());
                    let follows = !this.asks_of(&channel).is_empty();
                    let durable = published.durable().is_some() && follows;
                    let record = pushed.position().is_some();
                    // Whoever has left the log of a topic may be a member of that as any other; and whoever was greeted
                    // first is reached, also by what stands where it begins.
                    let is_reached = pushed.topic().is_some() || unplaced;
                    let plainly = durable && !record && is_reached;
                    let kind = (record == durable || plainly) && record == is_record;
                    published.payload() == Some(pushed.payload()) && user == wanted && kind && found
                });
                !is_first && is_so
            }
        };
        judge(watch, holds, || {
            format!(
                "session {session} is told {outgoing:?}, as frame {}",
                self.told[session].frames
            )
        });
    }

    /// The application is told of a terminal.
    fn noticed(&mut self, watch: &mut Watch<'_>, life: Life, notice: &Notice) {
        let (id, user) = match notice {
            Notice::Connected { id, user, .. }
            | Notice::Acked { id, user, .. }
            | Notice::Member { id, user, .. }
            | Notice::Disconnected { id, user, .. } => (id, user),
        };
        let Some(session) = watch.scene().session_of(*id) else {
            return watch.violated(format!(
                "the application is told of {id:?}, which never was"
            ));
        };
        let this = &watch.scene().sessions()[session];
        let is_its = this.user() == user && this.life() == Some(life);
        let told = *self.of(session);
        let (follows, next, holds) = match notice {
            Notice::Connected { .. } => {
                // What was wanted in the turn in which the end came stands before it.
                let before = told.closure.is_none_or(|(_, at)| at == watch.now());
                (Notices::None, Notices::Connected, before)
            }
            Notice::Acked { .. } | Notice::Member { .. } => {
                (Notices::Connected, Notices::Connected, true)
            }
            Notice::Disconnected { reason, .. } => {
                let ending = match reason {
                    Disconnected::ByTerminal => Ending::ByTerminal,
                    Disconnected::Lost => Ending::Lost,
                    Disconnected::ByServer(code) => Ending::ByServer(*code),
                };
                let ended_so = self.ended_so(watch, session, ending);
                (Notices::Connected, Notices::Disconnected, ended_so)
            }
        };
        self.of(session).notices = next;
        judge(watch, is_its && told.notices == follows && holds, || {
            format!(
                "the application is told {notice:?} of session {session}, of which is known {told:?}"
            )
        });
    }

    /// Counters and log are told of a connection's end.
    fn accounted(&mut self, watch: &mut Watch<'_>, session: usize, account: &Account) {
        let told = *self.of(session);
        let this = &watch.scene().sessions()[session];
        let holds = account.messages == told.sent.received + told.sent.dropped
            && account.frames == told.frames
            && account.bytes == told.bytes
            && Some(account.lived) == this.accepted().map(|accepted| watch.now().since(accepted));
        let ended_so = self.ended_so(watch, session, account.ending);
        let is_sent_away = account.ending == Ending::ByServer(CloseCode::ServiceRestart);
        let otherwise = || {
            format!(
                "session {session} is said to have ended with {account:?}, and {told:?} is known"
            )
        };
        match this.life().filter(|_| holds && !ended_so && is_sent_away) {
            Some(life) => self.sent_away.push((life, watch.now(), otherwise())),
            None => judge(watch, holds && ended_so, otherwise),
        }
    }

    /// Whether a connection has ended like this.
    fn ended_so(&self, watch: &Watch<'_>, session: usize, ending: Ending) -> bool {
        let told = self.told[session];
        let closure = told.closure.map(|(closure, _)| closure);
        match (told.closing, ending) {
            (Some(Some(told)), ending) => ending == Ending::ByServer(told),
            (_, Ending::ByServer(code)) => {
                closure == Some(Closure::Violation(code)) || self.has_cause(watch, session, code)
            }
            (_, Ending::NotOpened) => told.frames == 0,
            (None, Ending::ByTerminal) => closure == Some(Closure::Clean),
            (None, Ending::Lost) => closure == Some(Closure::Abrupt),
            (Some(None), Ending::ByTerminal | Ending::Lost) => false,
        }
    }

    /// Whether there is a cause for an instance to end a connection with this code.
    fn has_cause(&self, watch: &Watch<'_>, session: usize, code: CloseCode) -> bool {
        let scene = watch.scene();
        let this = &scene.sessions()[session];
        let (Some(life), Some(accepted)) = (this.life(), this.accepted()) else {
            return false;
        };
        match code {
            // Of one that logs in late `terminal-times` knows when it ends.
            CloseCode::TokenExpired => {
                let expires = this.expires();
                // Another token may have come when its end had begun.
                let expired = watch.excuse(accepted, watch.now(), |excuse| {
                    excuse.kind == FaultKind::TokenExpired
                        && excuse.scope == Scope::Session(session)
                });
                expired.is_some()
                    || expires.is_some_and(|at| at <= watch.now() || !this.is_known_by_handshake())
            }
            CloseCode::Kicked => scene.pushes().iter().any(|push| {
                let taken =
                    |time: &crate::publishing::HandedIn| time.progress != HandInProgress::OnItsWay;
                *push.action() == Action::Close(code)
                    && push.is_for(this.user())
                    && push.times().iter().any(taken)
            }),
            CloseCode::ServiceRestart => {
                let drains = watch.excuse(accepted, watch.now(), |excuse| {
                    excuse.kind == FaultKind::Drain && excuse.scope == Scope::Instance(life.host)
                });
                drains.is_some() || self.isolated.contains(&life)
            }
            // Whether its queue can have been full is for `limits` to say.
            CloseCode::SlowConsumer => {
                let closes = scene.config().slow_consumer == SlowConsumer::Close;
                closes && this.follow().is_none() || self.asks_without_end(watch, session)
            }
            // And whether it has read.
            CloseCode::PingTimeout => true,
            // The driver ends it.
            CloseCode::ProtocolError
            | CloseCode::InvalidPayload
            | CloseCode::TooLarge
            | CloseCode::InvalidToken
            | CloseCode::Forbidden
            | CloseCode::PositionLost => false,
            // When it is due is for `terminal-times` to say.
            CloseCode::NotAuthenticated => !this.is_known(),
            // And whether there are so many, for `limits`.
            CloseCode::TooManyConnections => !this.is_known_by_handshake(),
        }
    }

    /// Whether a terminal that did not read has wanted so much of topics that no more words about them may wait: two for
    /// each wish.
    fn asks_without_end(&self, watch: &Watch<'_>, session: usize) -> bool {
        let scene = watch.scene();
        let user = scene.sessions()[session].user();
        let unread = watch.excuse(Instant::START, watch.now(), |excuse| {
            excuse.kind == FaultKind::SlowReader && excuse.scope == Scope::Session(session)
        });
        let joined = |push: &&Published| {
            matches!(push.action(), Action::Join(_) | Action::Leave(_)) && push.is_for(user)
        };
        let wishes = self.told.get(session).map_or(0, |told| told.wishes);
        let wishes = wishes + scene.pushes().iter().filter(joined).count();
        unread.is_some() && 2 * wishes >= scene.config().topic_words()
    }
}
