//! What is known of one instance: its lease as last read, and other signs of its life.

use std::hash::Hasher;

use crate::base::fingerprint::Fingerprint;
use crate::config::Config;
use crate::directory::{Lease, LeaseState, Load};
use crate::time::Instant;
use crate::vocabulary::service::Service;

/// What is known of one instance.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) lease: Lease,
    pub(super) load: Load,
    /// When the lease expires, counted from when it was asked for.
    pub(super) until: Instant,
    /// It is doubted until then.
    pub(super) doubted_until: Instant,
    /// When it was read, counted from when that was asked.
    pub(super) read: Instant,
    pub(super) contact: Contact,
    pub(super) word: Word,
}

/// Whether an instance shows beside its lease that it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// There is no link to it.
    Untried,
    /// It was dialled because its lease had expired.
    Dialled,
    /// There is a link to it.
    Linked,
    /// It was dialled in vain when its lease had expired, and is dialled again, not before this moment.
    Lost { dial_from: Instant },
}

/// What an instance has said on its link of its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing: its lease says it.
    #[default]
    Nothing,
    /// It is to be asked.
    Ask,
    /// It has no terminals and takes none.
    Nobody,
    /// It was, until this moment: a lease that is read later says what there is to say.
    AskUntilRead { since: Instant },
}

impl Word {
    pub(super) const fn of(service: Service) -> Self {
        match service {
            Service::Full => Self::Nothing,
            Service::Behind | Service::None => Self::Ask,
            Service::Vacant => Self::Nobody,
        }
    }

    /// What is left of it when the lease was read that was asked for at this moment.
    pub(super) fn after_reading(self, asked: Instant) -> Self {
        match self {
            Self::AskUntilRead { since } if !asked.has_come(since) => Self::Nothing,
            Self::Nothing | Self::Ask | Self::Nobody | Self::AskUntilRead { .. } => self,
        }
    }
}

impl Known {
    /// Whether it says that it must be asked by key, by its lease or on its link.
    pub(super) fn asks(&self) -> bool {
        match self.word {
            Word::Ask | Word::AskUntilRead { .. } => true,
            Word::Nothing | Word::Nobody => self.settles(),
        }
    }

    fn settles(&self) -> bool {
        match self.lease.state {
            LeaseState::Up | LeaseState::Released => false,
            LeaseState::Settling => true,
            // A draining lease cannot say that it settles as well; its floor does.
            LeaseState::Draining => self.lease.floor < self.lease.epoch,
        }
    }

    /// Whether its lease has not expired.
    pub(super) const fn is_alive(&self, now: Instant) -> bool {
        !self.until.has_come(now)
    }

    /// Whether its lease had not expired when it was read.
    pub(super) const fn was_alive(&self) -> bool {
        self.is_alive(self.read)
    }

    /// Whether it may have terminals although its lease has expired.
    fn may_live(&self) -> bool {
        match self.contact {
            Contact::Untried | Contact::Lost { .. } => false,
            Contact::Dialled | Contact::Linked => self.word != Word::Nobody,
        }
    }

    /// Whether it was doubtful at some moment since.
    pub(super) fn doubtful(&self, since: Instant, now: Instant) -> bool {
        let doubtful_at_present = if self.is_alive(now) {
            self.asks()
        } else {
            self.may_live()
        };
        !self.doubted_until.has_come(since) || doubtful_at_present
    }

    /// Before this moment it is not doubtful by what it says, or does not say.
    pub(super) fn quiet_until(&self) -> Instant {
        if self.asks() {
            Instant::START
        } else if self.may_live() {
            self.until
        } else {
            Instant::NEVER
        }
    }

    /// Whether the lease expires earlier than it was seen to before: the directory's clock has jumped,
    /// or the directory has lost a renewal. Its instance cannot know that, and may not renew it in time.
    pub(super) fn went_back(&self, before: &Self, config: &Config) -> bool {
        if self.was_alive() {
            // The time that remains was counted from before it was read.
            return before.is_alive(self.until + config.directory_timeout);
        }
        // What was claimed since the last reading has a time of its own.
        let first_end = before.read + config.lease;
        let claimed = self.lease.epoch > before.lease.epoch && !first_end.has_come(self.read);
        before.is_alive(self.read) || claimed
    }
}

impl Fingerprint for Contact {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match self {
            Self::Untried => hasher.write_u8(0),
            Self::Dialled => hasher.write_u8(1),
            Self::Linked => hasher.write_u8(2),
            Self::Lost { dial_from } => {
                hasher.write_u8(3);
                dial_from.fingerprint(now, hasher);
            }
        }
    }
}

impl Fingerprint for Word {
    fn fingerprint(&self, now: Instant, hasher: &mut impl Hasher) {
        match self {
            Self::Nothing => hasher.write_u8(0),
            Self::Ask => hasher.write_u8(1),
            Self::AskUntilRead { since } => {
                hasher.write_u8(2);
                since.fingerprint(now, hasher);
            }
            Self::Nobody => hasher.write_u8(3),
        }
    }
}
