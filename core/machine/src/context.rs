//! What every wing may use, and what belongs to none.

use std::collections::VecDeque;

use crate::base::alarm::Alarm;
use crate::base::flaws::Flaws;
use crate::base::rng::{self, Seed, Stream};
use crate::base::timer::Timers;
use crate::command::Outbox;
use crate::config::{Config, Identity};
use crate::stats::Stats;
use crate::time::{Instant, Now};
use crate::vocabulary::effect::Effect;
use crate::vocabulary::timer::Timer;

/// Room for effects that is kept when none waits: more than a push to one user means, and little memory. A
/// kick of many users, each with many terminals, leaves a hundred thousand.
const KEPT_EFFECTS: usize = 64;

/// What lives as long as the instance.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) timers: Timers<Timer>,
    pub(crate) random: Random,
    pub(crate) stats: Stats,
    pub(crate) flaws: Flaws,
    /// Counts up when a turn ends.
    pub(crate) turn: u64,
    /// There is none between calls of the instance.
    effects: VecDeque<Effect>,
}

/// Random numbers, a stream for each purpose.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    pub(crate) connection_ids: Stream,
    pub(crate) nonces: Stream,
    /// What makes positions in logs unlike each other.
    pub(crate) positions: Stream,
    pub(crate) jitter: Stream,
}

/// What a wing may use during a call. It is borrowed apart, so that one thing can be read while
/// another is changed.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a Config,
    pub(crate) identity: &'a Identity,
    pub(crate) out: &'a mut Outbox,
    pub(crate) random: &'a mut Random,
    pub(crate) stats: &'a mut Stats,
    pub(crate) flaws: Flaws,
    /// The number of this turn.
    pub(crate) turn: u64,
    timers: &'a mut Timers<Timer>,
    effects: &'a mut VecDeque<Effect>,
}

impl Base {
    pub(crate) fn new(config: Config, identity: Identity, seed: &Seed, now: Now) -> Self {
        Self {
            config,
            identity,
            timers: Timers::new(now.mono),
            random: Random {
                connection_ids: Stream::new(seed, rng::StreamPurpose::ConnectionIds),
                nonces: Stream::new(seed, rng::StreamPurpose::Nonces),
                positions: Stream::new(seed, rng::StreamPurpose::Positions),
                jitter: Stream::new(seed, rng::StreamPurpose::Jitter),
            },
            stats: Stats::default(),
            flaws: Flaws::NONE,
            turn: 0,
            effects: VecDeque::new(),
        }
    }

    pub(crate) const fn context<'a>(&'a mut self, now: Now, out: &'a mut Outbox) -> Context<'a> {
        Context {
            now,
            config: &self.config,
            identity: &self.identity,
            out,
            random: &mut self.random,
            stats: &mut self.stats,
            flaws: self.flaws,
            turn: self.turn,
            timers: &mut self.timers,
            effects: &mut self.effects,
        }
    }

    /// Whether an effect waits.
    pub(crate) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }
}

impl Context<'_> {
    /// Arms a timer of a wing.
    pub(crate) fn arm(&mut self, at: Instant, timer: impl Into<Timer>) {
        self.timers.arm(at, timer.into());
    }

    /// Sets a timer of which there is one. The earlier moment counts.
    pub(crate) fn set(&mut self, alarm: &mut Alarm, at: Instant, timer: impl Into<Timer>) {
        if alarm.set(at) {
            self.arm(at, timer);
        }
    }

    /// Leaves something to another wing, to be [carried](crate::wings) when this call has ended.
    pub(crate) fn emit(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// The oldest effect that was not carried.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front();
        if effect.is_none() && self.effects.capacity() > KEPT_EFFECTS {
            *self.effects = VecDeque::with_capacity(KEPT_EFFECTS);
        }
        effect
    }

    /// Whether an effect waits.
    pub(crate) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Changes of terminals that wait.
    pub(crate) fn waiting_changes(&self) -> usize {
        let changes = |effect: &&Effect| matches!(effect, Effect::Terminal(_));
        self.effects.iter().filter(changes).count()
    }

    /// A state that only a bug can reach.
    pub(crate) fn bug(&mut self, what: &str) {
        self.stats.bugs += 1;
        debug_assert!(false, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClusterSecret;
    use crate::id::InstanceId;
    use crate::time::WallTime;

    /// H24: a moment with many effects costs memory for that moment.
    #[test]
    fn the_room_of_many_effects_is_given_back() {
        let identity = Identity {
            instance: InstanceId::new(1),
            address: "host:1".to_owned(),
            secret: ClusterSecret::new(b"0123456789abcdef").expect("long enough"),
        };
        let now = Now {
            mono: Instant::START,
            wall: WallTime::from_millis(0),
        };
        let mut base = Base::new(Config::default(), identity, &Seed::new([1; 32]), now);
        let mut out = Outbox::new();
        let cx = &mut base.context(now, &mut out);
        for _ in 0..10_000 {
            cx.emit(Effect::DirectoryWorks);
        }
        while cx.next_effect().is_some() {}
        assert!(cx.effects.capacity() <= 2 * KEPT_EFFECTS);
    }
}
