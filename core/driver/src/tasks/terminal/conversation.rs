//! What a terminal says that has a session, and how it is answered: who it is, what it asks and publishes.
//!
//! One thing is under way at a time, and nothing is read meanwhile.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::join_all;
use http::Uri;
use http::request::Parts;
use switchboard_core::event::{Closure, Event, Login as CoreLogin, Pings};
use switchboard_core::frame::{CloseCode, Outgoing, Payload};
use switchboard_core::id::{TopicId, UserId};
use switchboard_core::logs::LogPage;
use switchboard_core::message::Push;
use switchboard_core::pace::ActPace;
use switchboard_protocol::Family;
use switchboard_protocol::centrifuge::{
    Answered, Errand, LoginRefused, Question, Session, SubscriptionEnd, Told,
};

use super::logins::{carrying, end_of, no_request, refused, ttl};
use super::patience::Patience;
use super::questions::{UNDER_WAY, publication, publish, record};
use super::token_pace::{LOGINS, TokenPace};
use super::{AcceptedTerminal, Phase, Pump, Step};
use crate::clock;
use crate::inbox::{Input, LoggedIn};
use crate::login::{AuthError, Login};
use crate::request::query;
use crate::runtime::{Runtime, race};
use crate::transport::{Carried, Transport};

/// Bytes of answers that a terminal may leave unread before no more is read of it.
const UNREAD_MAX: usize = 64 << 10;

/// How long it takes at most to find out where a terminal begins in the logs of topics, as long as a hello waits for its
/// row. What is not known then is said later.
const FOUND_WITHIN: Duration = Duration::from_secs(1);

/// Logs that are looked at together for one login: half of what terminals may ask at the same time.
const FOUND_AT_ONCE: usize = UNDER_WAY / 2;

/// The conversation with one terminal.
pub(super) struct Conversation {
    session: Session,
    /// Its handshake, until it has said who it is.
    request: Option<Box<Parts>>,
    under_way: Option<Pin<Box<dyn Future<Output = Concluded>>>>,
    /// Bytes of answers since all that was queued was written.
    unread: usize,
    /// Records of topics that were not sent, from these offsets on, and of which the instance does not know that.
    withheld: Vec<(TopicId, u64)>,
    /// The pace at which its tokens are judged.
    tokens: TokenPace,
    /// And those for subscriptions.
    topic_tokens: TokenPace,
    /// The pace at which it publishes.
    publications: ActPace,
    /// The pace at which it asks about topics: a log that is read begins, as that of a topic that is joined.
    questions: ActPace,
    /// How long it waits for what it asks.
    patience: Patience,
}

/// What was under way.
enum Concluded {
    LoggedIn(Result<Login, AuthError>),
    /// It is known where a terminal begins in the logs of the topics that it joins, as far as they can be read.
    Found(Login, Vec<(TopicId, LogPage)>),
    /// The instance has been told of the login, or has ended.
    Entered,
    Refreshed(Result<Login, AuthError>),
    Answered(Answered),
    Judged(Result<Option<SubscriptionEnd>, LoginRefused>),
}

impl Conversation {
    /// `None` if the terminal's protocol has no sessions.
    pub(super) fn begin<R: Runtime>(accepted: &mut AcceptedTerminal<R>) -> Option<Self> {
        let names = accepted.names.take().map(|names| *names);
        let protocol = accepted.terminal.protocol;
        let is_websocket = names.is_none() && protocol.family() == Family::Centrifuge;
        let session = protocol.session(&accepted.context.sessions, names)?;
        let session = match &accepted.request {
            Some(request) if is_websocket && wants_control_pings(&request.uri) => {
                session.pinged_by_transport()
            }
            Some(_) | None => session,
        };
        Some(Self {
            session,
            request: accepted.request.take(),
            under_way: None,
            unread: 0,
            withheld: Vec::new(),
            tokens: TokenPace::default(),
            topic_tokens: TokenPace::default(),
            publications: ActPace::NEW,
            questions: ActPace::NEW,
            patience: Patience::Whole,
        })
    }

    pub(super) fn hear(&mut self, frame: &Payload) {
        self.session.hear(frame);
    }

    /// Whether something is to be done that the terminal has not said.
    pub(super) fn is_due(&self) -> bool {
        self.session.is_due() || !self.withheld.is_empty()
    }

    /// Whether the terminal waits for what is not its own: it is not read meanwhile.
    pub(super) const fn is_held_up(&self) -> bool {
        self.under_way.is_some()
    }
}

/// Whether a client of Centrifuge asks for pings of WebSockets, which browsers answer, and not for those of the protocol.
fn wants_control_pings(uri: &Uri) -> bool {
    let mut wishes = query::pairs(uri.query()).flatten();
    wishes.any(|(name, value)| name == "cf_ws_frame_ping_pong" && value == "true")
}

impl<T: Transport> Pump<T> {
    /// Serves what the terminal has said. `Ready(None)`: all of it, and more can be read.
    pub(super) fn poll_conversation(&mut self, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        if self.phase != Phase::Open {
            return Poll::Ready(None);
        }
        let most = self.context.topic_joins;
        loop {
            let Some(conversation) = &mut self.conversation else {
                return Poll::Ready(None);
            };
            if self.transport.is_flushed() {
                conversation.unread = 0;
            } else if conversation.unread > UNREAD_MAX {
                return Poll::Pending;
            }
            let errand = if let Some(under_way) = &mut conversation.under_way {
                let concluded = ready!(under_way.as_mut().poll(cx));
                conversation.under_way = None;
                let Some(errand) = self.conclude(concluded) else {
                    continue;
                };
                errand
            } else {
                match conversation.session.next_errand() {
                    // What answers one question may take several of them.
                    Some(Errand::Ask(question))
                        if question.is_about_topic()
                            && (conversation.questions).is_exceeded(clock::now().mono, most) =>
                    {
                        let refused = Concluded::Answered(Answered::Overloaded);
                        let Some(errand) = self.conclude(refused) else {
                            continue;
                        };
                        errand
                    }
                    Some(errand) => errand,
                    None if conversation.session.is_busy() => return Poll::Pending,
                    None => {
                        conversation.patience = Patience::Whole;
                        return Poll::Ready(None);
                    }
                }
            };
            if let Some(step) = self.execute(cx, errand) {
                return step.map(Some);
            }
        }
    }

    /// Returns what it comes to, if the terminal waits for that.
    fn execute(&mut self, cx: &mut Context<'_>, errand: Errand) -> Option<Poll<Step>> {
        match errand {
            Errand::Tell(frame) => self.answer(frame),
            Errand::Message(payload) => return Some(self.hold_message(cx, payload)),
            Errand::Topic(wish) => return Some(self.hold_wish(cx, wish)),
            Errand::LogIn(token) => self.log_in(&token),
            Errand::Refresh(token, user) => self.refresh(token, user),
            Errand::JudgeSubscription(token, user, topic) => self.judge(token, user, topic),
            Errand::Publish(topic, payload) => {
                return self.publish(cx, publication(topic, payload));
            }
            Errand::PublishDurably(topic, payload, retention) => {
                return self.publish(cx, record(topic, payload, retention));
            }
            Errand::Ask(question) => {
                let inbox = self.context.reports.inbox().clone();
                let questions = Rc::clone(&self.context.questions);
                self.begin_to_ask(async move { questions.ask(&inbox, question).await });
            }
            Errand::Close(code) => {
                self.end(cx, Closure::Violation(code));
                return Some(Poll::Pending);
            }
        }
        None
    }

    /// Tells the terminal what its instance says, but for pushes.
    pub(super) fn tell(&mut self, cx: &mut Context<'_>, outgoing: &Outgoing) {
        let Some(conversation) = &mut self.conversation else {
            debug_assert!(false, "only a session is told something");
            return;
        };
        match conversation.session.told(outgoing) {
            Told::Nothing => {}
            Told::Frame(frame) => self.send(frame),
            Told::Frames(frames) => frames.into_iter().for_each(|frame| self.send(frame)),
            Told::Close(code) => self.end(cx, Closure::Violation(code)),
        }
    }

    /// A record of this offset is about to be sent, of the log of a topic or of its user. Returns whether it is to be.
    pub(super) fn is_sent(&mut self, topic: Option<&TopicId>, offset: u64) -> bool {
        let Some(conversation) = &mut self.conversation else {
            return true;
        };
        let is_sent = conversation.session.is_sent(topic, offset);
        if let Some(topic) = topic.filter(|_| !is_sent)
            && !conversation.withheld.iter().any(|(of, _)| of == topic)
        {
            conversation.withheld.push((topic.clone(), offset));
        }
        is_sent
    }

    /// Some that were not sent. The instance is to know it before it is told that all is written.
    pub(super) fn next_withheld(&mut self) -> Option<Step> {
        let (topic, from) = self.conversation.as_mut()?.withheld.pop()?;
        Some(Step::Withheld(topic, from))
    }

    pub(super) fn ping(&mut self) {
        let conversation = self.conversation.as_mut();
        let frame = conversation.and_then(|it| it.session.ping(clock::now().wall));
        let carried = frame.map(|frame| Carried::alone(T::KIND, frame));
        let is_answered = self.terminal.protocol.family() != Family::CentrifugeOneWay;
        self.transport.ping(carried.as_ref(), is_answered);
    }

    /// Tells the terminal why its connection ends, in the words of its protocol.
    pub(super) fn say_goodbye(&mut self, cx: &mut Context<'_>, code: CloseCode) {
        let farewell = match &self.conversation {
            None => self.terminal.protocol.farewell(code),
            Some(conversation) => {
                let (frame, farewell) = conversation.session.farewell(code);
                if let Some(frame) = frame {
                    self.send(frame);
                }
                farewell
            }
        };
        self.transport.close(cx, farewell);
    }

    pub(super) fn send(&mut self, frame: Payload) {
        let carried = Carried::alone(T::KIND, frame);
        self.transport.send(&carried);
    }

    fn answer(&mut self, frame: Payload) {
        if let Some(conversation) = &mut self.conversation {
            conversation.unread += frame.len();
        }
        self.send(frame);
    }

    fn log_in(&mut self, token: &str) {
        let Some(conversation) = &mut self.conversation else {
            return;
        };
        let parts = conversation.request.take().map(|parts| *parts);
        let parts = carrying(parts.unwrap_or_else(no_request), token);
        let logins = Rc::clone(&self.context.logins);
        let sleep = logins.sleep;
        let judged = async move { Concluded::LoggedIn(logins.authenticate(parts).await) };
        let judged = conversation.tokens.paced(LOGINS, sleep, judged);
        conversation.under_way = Some(Box::pin(judged));
    }

    fn refresh(&mut self, token: String, user: UserId) {
        let logins = Rc::clone(&self.context.logins);
        let inbox = self.context.reports.inbox().clone();
        let (connection, grace) = (self.terminal.key, self.context.refresh_grace);
        let Some(conversation) = &mut self.conversation else {
            return;
        };
        let sleep = logins.sleep;
        let judged = async move {
            let login = logins.refresh(&token, &user).await;
            if let Ok(login) = &login {
                let event = Event::Refreshed {
                    connection,
                    expires: end_of(login, grace),
                    topics: login.topics.clone(),
                };
                // It fails only when the instance has ended.
                let _ = inbox.send(Input::Event(event)).await;
            }
            Concluded::Refreshed(login)
        };
        let judged = conversation.tokens.paced(LOGINS, sleep, judged);
        conversation.under_way = Some(Box::pin(judged));
    }

    fn publish(&mut self, cx: &mut Context<'_>, publication: Push) -> Option<Poll<Step>> {
        if self.publishes_too_often() {
            return self
                .conclude(Concluded::Answered(Answered::Overloaded))
                .and_then(|errand| self.execute(cx, errand));
        }
        // One that is handed in is waited for until its own deadline, as it may be a record all the same. What stands behind
        // one of which nobody could say is not handed in.
        let is_worn = (self.conversation.as_ref()).is_some_and(|it| it.patience == Patience::Worn);
        if is_worn && publication.durable.is_some() {
            return self
                .conclude(Concluded::Answered(Answered::Overloaded))
                .and_then(|errand| self.execute(cx, errand));
        }
        let inbox = self.context.reports.inbox().clone();
        let sleep = self.context.logins.sleep;
        self.begin_to(
            async move { Concluded::Answered(publish(&inbox, sleep, publication).await) },
        );
        None
    }

    fn publishes_too_often(&mut self) -> bool {
        let most = self.context.topic_publications;
        let conversation = self.conversation.as_mut();
        conversation.is_some_and(|it| it.publications.is_exceeded(clock::now().mono, most))
    }

    fn judge(&mut self, token: String, user: UserId, topic: TopicId) {
        let Some(conversation) = &mut self.conversation else {
            return;
        };
        let logins = Rc::clone(&self.context.logins);
        let (sleep, most) = (logins.sleep, self.context.topic_joins);
        let judged =
            async move { Concluded::Judged(logins.subscription(&token, &user, &topic).await) };
        let too_late = Concluded::Judged(Err(LoginRefused::Unavailable));
        // It has its patience when it is judged.
        let judged = conversation.patience.with(sleep, judged, too_late);
        let judged = conversation.topic_tokens.paced(most, sleep, judged);
        conversation.under_way = Some(Box::pin(judged));
    }

    /// The same comes of it too late as if nobody could say.
    fn begin_to_ask(&mut self, asked: impl Future<Output = Answered> + 'static) {
        let Some(conversation) = &mut self.conversation else {
            return;
        };
        let answered = async move { Concluded::Answered(asked.await) };
        let too_late = Concluded::Answered(Answered::Unknown);
        let sleep = self.context.logins.sleep;
        let answered = conversation.patience.with(sleep, answered, too_late);
        self.begin_to(answered);
    }

    fn begin_to(&mut self, act: impl Future<Output = Concluded> + 'static) {
        if let Some(conversation) = &mut self.conversation {
            conversation.under_way = Some(Box::pin(act));
        }
    }

    /// Returns what is to be done then.
    fn conclude(&mut self, concluded: Concluded) -> Option<Errand> {
        let conversation = self.conversation.as_mut()?;
        let session = &mut conversation.session;
        match concluded {
            Concluded::LoggedIn(Ok(login)) => {
                self.look_for(login);
                None
            }
            Concluded::Found(login, pages) => {
                for (topic, page) in pages {
                    session.found(topic, page);
                }
                self.enter(login);
                None
            }
            Concluded::LoggedIn(Err(error)) | Concluded::Refreshed(Err(error)) => {
                session.not_logged_in(refused(&error)).map(Errand::Tell)
            }
            Concluded::Entered => None,
            Concluded::Refreshed(Ok(login)) => session.refreshed(ttl(&login)).map(Errand::Tell),
            Concluded::Answered(answered) => {
                conversation.patience = match &answered {
                    // It says nothing of who was asked before.
                    Answered::Overloaded => conversation.patience,
                    other => Patience::behind(*other != Answered::Unknown),
                };
                session.answered(answered)
            }
            Concluded::Judged(judged) => {
                let is_judged = judged != Err(LoginRefused::Unavailable);
                conversation.patience = Patience::behind(is_judged);
                session.subscription_judged(judged)
            }
        }
    }

    /// Finds out where a terminal begins in the logs of the topics that it joins, before it is served.
    fn look_for(&mut self, login: Login) {
        let Some(conversation) = &mut self.conversation else {
            return;
        };
        let joins = login.topics.as_ref().map(|rights| &rights.joins[..]);
        let looked_for = conversation.session.looks_for(joins.unwrap_or_default());
        if looked_for.is_empty() {
            return self.enter(login);
        }
        let inbox = self.context.reports.inbox().clone();
        let questions = Rc::clone(&self.context.questions);
        let sleep = self.context.logins.sleep;
        self.begin_to(async move {
            let mut pages = Vec::new();
            let found = async {
                for some in looked_for.chunks(FOUND_AT_ONCE) {
                    let asked = some.iter().map(|(topic, behind)| {
                        questions.ask(&inbox, Question::Stand(topic.clone(), *behind))
                    });
                    for ((topic, _), answered) in some.iter().zip(join_all(asked).await) {
                        // Where one cannot be read others cannot, and the terminal is not to wait for them.
                        let Answered::Log(page) = answered else {
                            return;
                        };
                        pages.push((topic.clone(), page));
                    }
                }
            };
            race(found, sleep(FOUND_WITHIN)).await;
            Concluded::Found(login, pages)
        });
    }

    /// Has the instance serve the terminal as this user's.
    fn enter(&mut self, login: Login) {
        let (inbox, grace) = (
            self.context.reports.inbox().clone(),
            self.context.refresh_grace,
        );
        let connection = self.terminal.key;
        self.terminal.user = Some(login.user.clone());
        let Some(conversation) = &mut self.conversation else {
            return;
        };
        let joins = login.topics.as_ref().map(|rights| rights.joins.clone());
        let session = &mut conversation.session;
        let follow = session.logged_in(login.user.clone(), ttl(&login), joins.unwrap_or_default());
        let logged_in = LoggedIn {
            connection,
            login: CoreLogin {
                expires: end_of(&login, grace),
                user: login.user,
                follow: Some(follow),
                topics: login.topics,
                pings: Pings::EachInterval,
            },
            session: login.session,
        };
        conversation.under_way = Some(Box::pin(async move {
            // It fails only when the instance has ended.
            let _ = inbox.send(Input::LogIn(Box::new(logged_in))).await;
            Concluded::Entered
        }));
    }
}
