//! Why there is no directory link, said once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use switchboard_core::id::InstanceId;
use tracing::debug;

use crate::directory::RedisUrl;
use crate::log::{Cause, damped};

/// Why a directory link cannot be had, or has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server wants another login.
    Login(String),
    /// The login is good, and may not do what is needed.
    Permission(String),
    /// A Sentinel wants another login.
    SentinelLogin(String),
    /// The server is a replica.
    Replica,
    /// The server is of a version that cannot do what is needed: its name and number.
    TooOld(String),
    /// Its keys are of another layout than this server's: what is there, and what to do.
    Layout(String),
    /// Anything that passes by itself, as a restart.
    Unreachable(String),
    /// A link that was up has ended.
    Lost(String),
}

impl Trouble {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Login(_) => "login refused",
            Self::Permission(_) => "permission refused",
            Self::SentinelLogin(_) => "login refused by a Sentinel",
            Self::Replica => "it is a replica",
            Self::TooOld(_) => "too old",
            Self::Layout(_) => "another layout",
            Self::Unreachable(_) => "unreachable",
            Self::Lost(_) => "lost",
        }
    }

    /// The same, met at a Sentinel.
    pub(super) fn of_sentinel(self, host: &str) -> Self {
        match self {
            Self::Login(why) | Self::Permission(why) => {
                Self::SentinelLogin(format!("Sentinel {host}: {why}"))
            }
            Self::Unreachable(why) => Self::Unreachable(format!("Sentinel {host}: {why}")),
            Self::SentinelLogin(_)
            | Self::Replica
            | Self::TooOld(_)
            | Self::Layout(_)
            | Self::Lost(_) => self,
        }
    }

    /// What was said or found, in few words.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Login(why)
            | Self::Permission(why)
            | Self::SentinelLogin(why)
            | Self::TooOld(why)
            | Self::Layout(why)
            | Self::Unreachable(why)
            | Self::Lost(why) => why,
            Self::Replica => self.kind(),
        }
    }
}

/// What the operator was told of the directory server. All instances of a process share it: they
/// have the same server, and the same trouble.
#[derive(Default)]
pub(crate) struct Troubles(Mutex<AlreadyTold>);

#[derive(Default)]
enum AlreadyTold {
    /// Nothing, as the server has just started.
    #[default]
    Nothing,
    /// That it works.
    Up,
    /// What is wrong with it, each cause once.
    Wrong(Vec<Trouble>),
}

/// Causes that are remembered between two times at which all is well. Further ones are not told
/// above DEBUG: by then the operator has read enough.
const CAUSES: usize = 8;

impl Troubles {
    /// A link is up.
    pub(super) fn end(&self, this: InstanceId, url: &RedisUrl) {
        let told = std::mem::replace(&mut *self.lock(), AlreadyTold::Up);
        match told {
            AlreadyTold::Nothing => tracing::info!(%this, %url, "directory link is up"),
            AlreadyTold::Up => debug!(%this, %url, "directory link is up"),
            AlreadyTold::Wrong(_) => damped!(
                INFO, Cause::all("directory link up again"), %this, %url,
                "directory link is up again"
            ),
        }
    }

    /// There is no link, and this is why.
    pub(super) fn tell(&self, this: InstanceId, url: &RedisUrl, trouble: &Trouble) {
        if !self.is_news(trouble) {
            debug!(%this, %url, ?trouble, "there is still no directory link");
            return;
        }
        // It is news again after each recovery, and a server may come and go all day.
        let cause = Cause::one("no directory link", trouble.kind());
        match trouble {
            Trouble::Login(why) => damped!(
                ERROR, cause, %this, %url, why,
                "the directory server refuses the login: give its user and password in --redis, as \
                 redis://user:password@host:port"
            ),
            Trouble::Permission(why) => damped!(
                ERROR, cause, %this, %url, why,
                "the directory server's user may not do what is needed; with the default --prefix this \
                 is enough: ACL SETUSER name on >password ~sb:* +@all -@dangerous +role +info"
            ),
            Trouble::SentinelLogin(why) => damped!(
                ERROR, cause, %this, %url, why,
                "a Sentinel refuses the login: give its user and password in --redis, as \
                 ...?sentinel_user=NAME&sentinel_password=PASSWORD"
            ),
            Trouble::Replica => damped!(
                ERROR, cause, %this, %url,
                "the directory server is a replica: name the primary in --redis, or let Sentinels name \
                 it with redis+sentinel://"
            ),
            Trouble::TooOld(found) => damped!(
                ERROR, cause, %this, %url, found,
                "the directory server is too old and is not used: Redis 7.0 or newer, or Valkey, is needed"
            ),
            Trouble::Layout(why) => damped!(
                ERROR, cause, %this, %url, why,
                "the directory server's keys are of another layout, and it is not used"
            ),
            Trouble::Unreachable(why) => damped!(
                WARN, cause, %this, %url, why, "directory link cannot be established"
            ),
            Trouble::Lost(why) => damped!(
                WARN, cause, %this, %url, why, "directory link is lost"
            ),
        }
    }

    fn is_news(&self, trouble: &Trouble) -> bool {
        let mut told = self.lock();
        if !matches!(*told, AlreadyTold::Wrong(_)) {
            *told = AlreadyTold::Wrong(Vec::new());
        }
        let AlreadyTold::Wrong(causes) = &mut *told else {
            return false;
        };
        let news = causes.len() < CAUSES && !causes.contains(trouble);
        if news {
            causes.push(trouble.clone());
        }
        news
    }

    fn lock(&self) -> MutexGuard<'_, AlreadyTold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H55: a cause is told once for a process, not at each attempt of each instance.
    #[test]
    fn a_cause_is_news_once_until_all_is_well() {
        let troubles = Troubles::default();
        let url: RedisUrl = "redis://127.0.0.1:6379".parse().expect("a good URL");
        assert!(troubles.is_news(&Trouble::Replica));
        assert!(!troubles.is_news(&Trouble::Replica));
        assert!(troubles.is_news(&Trouble::Login("WRONGPASS".to_owned())));
        assert!(!troubles.is_news(&Trouble::Replica));
        troubles.end(InstanceId::new(1), &url);
        assert!(troubles.is_news(&Trouble::Replica));
    }

    #[test]
    fn causes_that_never_repeat_are_not_told_for_ever() {
        let troubles = Troubles::default();
        let told = (0..100).filter(|n| troubles.is_news(&Trouble::Unreachable(n.to_string())));
        assert_eq!(told.count(), CAUSES);
    }
}
