//! What a terminal says that has a session, and how it is answered: who it is, what it asks of its user.
//!
//! One thing is under way at a time, and nothing is read meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use futures_channel::oneshot;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Request};
use switchboard_core::event::{Answer, Closure, Event, Login as CoreLogin};
use switchboard_core::frame::{CloseCode, Outgoing, Payload};
use switchboard_core::id::UserId;
use switchboard_core::logs::{LogAnswer, LogRequest};
use switchboard_core::time::WallTime;
use switchboard_protocol::centrifuge::{Answered, Deed, LoginRefused, Question, Session, Told};

use super::{Phase, Pump, Step, Terminal, TerminalContext};
use crate::admission::Admitted;
use crate::clock;
use crate::inbox::{Inbox, Input, LoggedIn};
use crate::login::{AuthError, Login};
use crate::transport::{Carried, Transport};

/// Bytes of answers that a terminal may leave unread before no more is read of it.
const UNREAD_MAX: usize = 64 << 10;

/// The conversation with one terminal.
pub(super) struct Conversation {
    session: Session,
    /// Its handshake, until it has said who it is.
    request: Option<Box<Parts>>,
    under_way: Option<Pin<Box<dyn Future<Output = Concluded>>>>,
    /// Bytes of answers since all that was queued was written.
    unread: usize,
}

/// What was under way.
enum Concluded {
    LoggedIn(Result<Login, AuthError>),
    /// The instance has been told of the login, or has ended.
    Entered,
    Refreshed(Result<Login, AuthError>),
    Answered(Answered),
}

impl Conversation {
    /// `None` if the terminal's protocol has no sessions.
    pub(super) fn begin(context: &TerminalContext, terminal: &mut Terminal) -> Option<Self> {
        let session = terminal.protocol.session(context.sessions)?;
        Some(Self {
            session,
            request: terminal.request.take(),
            under_way: None,
            unread: 0,
        })
    }

    pub(super) fn hear(&mut self, frame: &Payload) {
        self.session.hear(frame);
    }
}

impl<T: Transport> Pump<'_, T> {
    /// Serves what the terminal has said. `Ready(None)`: all of it, and more can be read.
    pub(super) fn poll_conversation(&mut self, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        if self.phase != Phase::Open {
            return Poll::Ready(None);
        }
        loop {
            let Some(conversation) = &mut self.conversation else {
                return Poll::Ready(None);
            };
            if self.transport.is_flushed() {
                conversation.unread = 0;
            } else if conversation.unread > UNREAD_MAX {
                return Poll::Pending;
            }
            if let Some(under_way) = &mut conversation.under_way {
                let concluded = ready!(under_way.as_mut().poll(cx));
                conversation.under_way = None;
                self.conclude(concluded);
                continue;
            }
            match conversation.session.next_deed() {
                Some(Deed::Tell(frame)) => self.answer(frame),
                Some(Deed::Message(payload)) => return self.hold_message(cx, payload).map(Some),
                Some(Deed::Topic(wish)) => return Poll::Ready(Some(Step::Topic(wish))),
                Some(Deed::LogIn(token)) => self.log_in(&token),
                Some(Deed::Refresh(token, user)) => self.refresh(&token, user),
                Some(Deed::Ask(user, question)) => self.ask(user, question),
                Some(Deed::Close(code)) => {
                    self.end(cx, Closure::Violation(code));
                    return Poll::Pending;
                }
                None if conversation.session.is_busy() => return Poll::Pending,
                None => return Poll::Ready(None),
            }
        }
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
            Told::Close(code) => self.end(cx, Closure::Violation(code)),
        }
    }

    /// A record of this offset follows.
    pub(super) fn is_sent(&mut self, offset: u64) {
        if let Some(conversation) = &mut self.conversation {
            conversation.session.is_sent(offset);
        }
    }

    pub(super) fn ping(&mut self) {
        let conversation = self.conversation.as_mut();
        let frame = conversation.map(|conversation| conversation.session.ping());
        let carried = frame.map(|frame| Carried::alone(T::KIND, frame));
        self.transport.ping(carried.as_ref());
    }

    /// Tells the terminal why its connection ends, in the words of its protocol.
    pub(super) fn say_goodbye(&mut self, cx: &mut Context<'_>, code: CloseCode) {
        let conversation = self.conversation.as_ref();
        if let Some(frame) = conversation.and_then(|it| it.session.farewell(code)) {
            self.send(frame);
        }
        let farewell = self.terminal.protocol.farewell(code);
        self.transport.close(cx, farewell);
    }

    fn send(&mut self, frame: Payload) {
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
        let admitted = Arc::clone(&self.context.admitted);
        conversation.under_way = Some(Box::pin(async move {
            Concluded::LoggedIn(authenticate(&admitted, parts).await)
        }));
    }

    fn refresh(&mut self, token: &str, user: UserId) {
        let parts = carrying(no_request(), token);
        let admitted = Arc::clone(&self.context.admitted);
        let inbox = self.context.reports.inbox().clone();
        let (connection, grace) = (self.terminal.key, self.context.refresh_grace);
        let under_way = Box::pin(async move {
            let login = authenticate(&admitted, parts).await;
            let login = login.and_then(|login| match login.user == user {
                true => Ok(login),
                false => {
                    let text = "the token is of another user";
                    Err(AuthError::InvalidToken(text.to_owned()))
                }
            });
            if let Ok(login) = &login {
                let expires = login.expires.map(|expires| later(expires, grace));
                let event = Event::Refreshed {
                    connection,
                    expires,
                };
                // It fails only when the instance has ended.
                let _ = inbox.send(Input::Event(event)).await;
            }
            Concluded::Refreshed(login)
        });
        if let Some(conversation) = &mut self.conversation {
            conversation.under_way = Some(under_way);
        }
    }

    fn ask(&mut self, user: UserId, question: Question) {
        let inbox = self.context.reports.inbox().clone();
        if let Some(conversation) = &mut self.conversation {
            conversation.under_way = Some(Box::pin(async move {
                let answered = ask(&inbox, user, question).await;
                Concluded::Answered(answered.unwrap_or(Answered::Unknown))
            }));
        }
    }

    fn conclude(&mut self, concluded: Concluded) {
        let Some(conversation) = &mut self.conversation else {
            return;
        };
        let answer = match concluded {
            Concluded::LoggedIn(Ok(login)) => {
                self.enter(login);
                None
            }
            Concluded::LoggedIn(Err(error)) | Concluded::Refreshed(Err(error)) => {
                conversation.session.not_logged_in(refused(&error))
            }
            Concluded::Entered => None,
            Concluded::Refreshed(Ok(login)) => conversation.session.refreshed(ttl(&login)),
            Concluded::Answered(answered) => conversation.session.answered(answered),
        };
        if let Some(frame) = answer {
            self.answer(frame);
        }
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
                user: login.user,
                expires: login.expires.map(|expires| later(expires, grace)),
                follow: Some(follow),
                topics: login.topics,
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

/// What an authenticator is asked about a terminal whose handshake is over.
fn no_request() -> Parts {
    Request::new(()).into_parts().0
}

/// A request with a token that was sent behind it. It counts instead of the one that the request has, if it is one.
fn carrying(mut parts: Parts, token: &str) -> Parts {
    if token.is_empty() {
        return parts;
    }
    // What cannot stand in a header is no token.
    let bearer = HeaderValue::try_from(format!("Bearer {token}"));
    let mut bearer = bearer.unwrap_or(HeaderValue::from_static("Bearer"));
    bearer.set_sensitive(true);
    parts.headers.insert(AUTHORIZATION, bearer);
    parts
}

async fn authenticate(admitted: &ArcSwap<Admitted>, parts: Parts) -> Result<Login, AuthError> {
    let authenticator = admitted.load().admission.authenticator.clone();
    match authenticator {
        Some(authenticator) => authenticator.authenticate(&parts).await,
        None => {
            let text = "nobody says who a terminal belongs to";
            Err(AuthError::Unavailable(text.to_owned()))
        }
    }
}

async fn ask(inbox: &Inbox, user: UserId, question: Question) -> Option<Answered> {
    let (answer, answered) = oneshot::channel();
    let input = match question {
        Question::Connections => Input::Connections(user, answer),
        Question::Log(query) => Input::Log(user, LogRequest::Read(query), answer),
    };
    inbox.send(input).await.ok()?;
    match answered.await.ok()? {
        Answer::Connections(Ok(found)) => {
            let connections = found.connections.iter();
            let connections = connections.map(|info| info.connection).collect();
            Some(Answered::Connections(connections))
        }
        Answer::Log(Ok(LogAnswer::Page(page))) => Some(Answered::Log(page)),
        Answer::Connections(Err(_))
        | Answer::Log(Ok(LogAnswer::Deleted { .. }) | Err(_))
        | Answer::Push(_)
        | Answer::Instances(_) => None,
    }
}

const fn refused(error: &AuthError) -> LoginRefused {
    match error {
        AuthError::NoToken(_) | AuthError::Malformed(_) => LoginRefused::Missing,
        AuthError::InvalidToken(_) => LoginRefused::Invalid,
        AuthError::TokenExpired(_) => LoginRefused::Expired,
        AuthError::Forbidden(_) => LoginRefused::Forbidden,
        AuthError::Unavailable(_) => LoginRefused::Unavailable,
    }
}

/// Seconds until a token runs out: one at least, or its client asks for a new one again and again.
fn ttl(login: &Login) -> Option<u32> {
    let left = login.expires?.as_millis();
    let left = left.saturating_sub(clock::now().wall.as_millis()) / 1000;
    Some(u32::try_from(left).unwrap_or(u32::MAX).max(1))
}

fn later(expires: WallTime, grace: std::time::Duration) -> WallTime {
    let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    WallTime::from_millis(expires.as_millis().saturating_add(grace))
}
