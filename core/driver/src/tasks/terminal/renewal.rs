//! The token of a terminal whose protocol has no sessions: it is told when that expires, and may send a new one.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use switchboard_core::event::Event;
use switchboard_core::time::WallTime;
use switchboard_protocol::{OfToken, Token};

use super::logins::{end_of, ttl, until};
use super::token_pace::{LOGINS, TokenPace};
use super::{Phase, Pump};
use crate::clock;
use crate::inbox::Input;
use crate::log::journal;
use crate::transport::Transport;

/// What is known of the token by which a terminal was let in.
pub(super) struct Renewal {
    /// When it expires, if the terminal is to be told.
    ends: Option<WallTime>,
    /// A new one is judged.
    under_way: Option<Pin<Box<dyn Future<Output = Judged>>>>,
    pace: TokenPace,
}

/// When the new token expires, and what the terminal is told of it.
struct Judged(Option<WallTime>, OfToken);

impl Renewal {
    pub(super) fn of(ends: Option<WallTime>) -> Self {
        Self {
            ends,
            under_way: None,
            pace: TokenPace::default(),
        }
    }

    /// Whether the terminal waits for what is not its own: it is not read meanwhile.
    pub(super) const fn is_held_up(&self) -> bool {
        self.under_way.is_some()
    }

    /// In how many seconds its token expires, if that is before the ping after the next one, and it was not told.
    fn soon(&mut self, pinged_within: Duration) -> Option<u32> {
        let now = clock::now().wall.as_millis();
        let two = u64::try_from(2 * pinged_within.as_millis()).unwrap_or(u64::MAX);
        let ends = (self.ends).filter(|ends| ends.as_millis() <= now.saturating_add(two))?;
        self.ends = None;
        Some(until(ends))
    }
}

impl<T: Transport> Pump<T> {
    /// The terminal has a new token.
    pub(super) fn renew(&mut self, Token(token): Token) {
        let Some(user) = self.terminal.user.clone() else {
            return;
        };
        let logins = Rc::clone(&self.context.logins);
        let inbox = self.context.reports.inbox().clone();
        let (connection, this) = (self.terminal.key, self.context.instance);
        let sleep = logins.sleep;
        let judged = async move {
            let login = match logins.refresh(&token, &user).await {
                Ok(login) => login,
                Err(error) => return Judged(None, OfToken::Refused(error.code())),
            };
            let event = Event::Refreshed {
                connection,
                expires: end_of(&login, Duration::ZERO),
                topics: login.topics.clone(),
            };
            // It fails only when the instance has ended.
            let _ = inbox.send(Input::Event(event)).await;
            journal::renewed(this, &user);
            Judged(login.expires, OfToken::Renewed(ttl(&login)))
        };
        let judged = self.renewal.pace.paced(LOGINS, sleep, judged);
        self.renewal.under_way = Some(Box::pin(judged));
    }

    /// `Ready`: no token is judged. The hello comes before what is said of one, and nothing behind a Close frame.
    pub(super) fn poll_renewal(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase != Phase::Open {
            self.renewal.under_way = None;
        }
        let Some(under_way) = &mut self.renewal.under_way else {
            return Poll::Ready(());
        };
        if !self.greeted {
            return Poll::Pending;
        }
        let Judged(ends, said) = ready!(under_way.as_mut().poll(cx));
        self.renewal.under_way = None;
        if let OfToken::Renewed(_) = said {
            self.renewal.ends = ends;
        }
        self.tell_of_token(said);
        Poll::Ready(())
    }

    /// It is pinged: that is time to tell it that its token expires, if it can say anything.
    pub(super) fn tell_of_end(&mut self) {
        if !T::KIND.upgrades() || self.phase != Phase::Open || !self.greeted {
            return;
        }
        if let Some(seconds) = self.renewal.soon(self.context.pinged_within) {
            self.tell_of_token(OfToken::Ends(seconds));
        }
    }

    fn tell_of_token(&mut self, said: OfToken) {
        if let Some(frame) = self.terminal.protocol.of_token(said) {
            self.send(frame);
        }
    }
}
