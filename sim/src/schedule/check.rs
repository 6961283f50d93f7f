//! What a schedule must be beyond its form: instances that are there, times that can be reckoned with,
//! names that can be written.

use std::time::Duration;

use switchboard_core::config::Config;
use switchboard_core::id::{TopicId, UserId};
use switchboard_core::topic::TopicRights;

use super::{
    Act, ClockStep, Host, LateLogin, LogOf, LogSettings, NewAddress, RedisAct, Schedule,
    ScheduleError, Sent, StrangerWords, To, TopicAct,
};

/// Instances of one world, at most.
pub(crate) const MAX_INSTANCES: usize = 64;
/// A lease is at least so long, as in the settings of an instance.
const MIN_LEASE: Duration = Duration::from_secs(1);
/// A round of checks takes at least so long, as in the settings of an instance.
const MIN_CHECK: Duration = Duration::from_secs(1);
/// No time is as long as this, some thirty years: sums of some of them can be reckoned with.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(1_000_000_000);
/// Messages that one item sends, at most: all of them are on their way at once.
const MAX_MESSAGES: u32 = 100_000;
/// Items that wait for each other's moments, at most: reading and checking them recurses so often.
pub(crate) const MAX_NESTED: usize = 8;
/// A slow reader reads once in such a time at the most often.
const MIN_EVERY: Duration = Duration::from_millis(1);
/// Latencies, at most: on the default settings nobody waits so long for an answer.
pub(crate) const MAX_LATENCY: Duration = Duration::from_secs(3600);

type Checked = Result<(), String>;

impl Schedule {
    /// Checks that it can be run.
    ///
    /// # Errors
    ///
    /// Names the line, as it would be printed, and what is wrong with it.
    pub fn validate(&self) -> Result<(), ScheduleError> {
        let on = |line| move |problem| ScheduleError { line, problem };
        self.check_head().map_err(on(1))?;
        for (index, item) in self.items.iter().enumerate() {
            let checked = time(item.at).and_then(|()| item.act.check(self.instances));
            checked.map_err(on(index + 2))?;
        }
        let Some(expected) = &self.expects else {
            return Ok(());
        };
        let checked = name(&expected.checker).and_then(|()| time(expected.by));
        checked.map_err(on(self.items.len() + 2))
    }

    /// Checks what is in the first line.
    pub(crate) fn check_head(&self) -> Checked {
        if self.instances == 0 || self.instances > MAX_INSTANCES {
            return Err(format!("`instances` must be from 1 to {MAX_INSTANCES}"));
        }
        if self.lease < MIN_LEASE {
            return Err("`lease` must be at least 1s".to_owned());
        }
        time(self.lease)?;
        if self.remembers == Some(0) {
            return Err("`remembers` must be at least 1".to_owned());
        }
        if self.broadcast_rate == Some(0) {
            return Err("`broadcast-rate` must be at least 1".to_owned());
        }
        time(self.reconnect.unwrap_or_default())?;
        let LogSettings {
            records,
            age,
            check,
        } = self.log;
        if records == Some(0) {
            return Err("`log-records` must be at least 1".to_owned());
        }
        if check.is_some_and(|check| check < MIN_CHECK) {
            return Err("`log-check` must be at least 1s".to_owned());
        }
        if !Config::default().allows(self.log.retention()) {
            return Err(
                "`log-records` must be at most 1000, and `log-age` from 1s to 24h".to_owned(),
            );
        }
        time(age.unwrap_or_default())?;
        time(check.unwrap_or_default())
    }
}

impl Act {
    /// Checks that it can happen in a cluster of so many instances.
    pub(crate) fn check(&self, instances: usize) -> Checked {
        self.check_nested(instances, MAX_NESTED)
    }

    /// And that so many items wait for each other in it, at most.
    fn check_nested(&self, instances: usize, depth: usize) -> Checked {
        self.check_names()?;
        let (one, other) = self.hosts();
        for Host(host) in one.into_iter().chain(other) {
            if host >= instances {
                return Err(format!("`i{}` is none of i1 to i{instances}", host + 1));
            }
        }
        if let (true, Some(host)) = (self.is_between_two() && one == other, one) {
            return Err(format!("{host} has no link to itself"));
        }
        self.spans().into_iter().try_for_each(time)?;
        self.check_extent()?;
        let Self::On { act, .. } = self else {
            return Ok(());
        };
        let depth = depth.checked_sub(1).ok_or_else(too_nested)?;
        act.check_nested(instances, depth)
    }

    /// Checks figures that have a limit of their own, and what cannot be said of topics.
    fn check_extent(&self) -> Checked {
        if let Self::Kick {
            to: To::Topics { .. },
            ..
        } = self
        {
            return Err("terminals of users are kicked, not members of topics".to_owned());
        }
        let deadlines = Config::DEADLINE_MIN..=Config::DEADLINE_DEFAULT;
        if let Self::Push {
            within: Some(within),
            ..
        } = self
            && !deadlines.contains(within)
        {
            return Err("a push is to be answered within 10ms to 3s".to_owned());
        }
        if let Self::ReadSlowly { every, .. } = self
            && *every < MIN_EVERY
        {
            return Err("a client reads every 1ms at the most often".to_owned());
        }
        if let Self::Send { what, .. } = self
            && let Sent::Messages(count) | Sent::Unwanted(count) = what
            && *count > MAX_MESSAGES
        {
            return Err(format!(
                "a client sends {MAX_MESSAGES} messages at once at most"
            ));
        }
        if let Self::LinkLatency(latency) | Self::Redis(RedisAct::Latency(latency)) = self
            && *latency > MAX_LATENCY
        {
            return Err("a latency is an hour at most".to_owned());
        }
        Ok(())
    }

    fn check_names(&self) -> Checked {
        match self {
            Self::Connect { client, user, .. } | Self::FailUpgrade { client, user, .. } => {
                name(client).and_then(|()| self::user(user))
            }
            Self::Push { to, name, .. } | Self::Kick { to, name, .. } => {
                self::name(name)?;
                to.check_names()
            }
            Self::OfTopic { client, does } => {
                name(client)?;
                match does {
                    TopicAct::Claim(claim) => {
                        let rights = TopicRights::of_claim(claim.iter().map(String::as_str));
                        rights.map(|_| ()).map_err(|error| error.to_string())
                    }
                    TopicAct::Join(topic)
                    | TopicAct::Watch(topic)
                    | TopicAct::Follow { topic, .. }
                    | TopicAct::Confirm { topic, .. }
                    | TopicAct::Leave(topic) => self::topic(topic),
                }
            }
            Self::Enrol {
                user, topic, name, ..
            } => {
                self::name(name)?;
                self::user(user)?;
                self::topic(topic)
            }
            Self::Where { user, .. } => self::user(user),
            Self::ReadLog { of, .. } | Self::DeleteLog { of, .. } => of.check(),
            Self::Redis(act) => act.check_names(),
            Self::Move { client: name, .. }
            | Self::Follow { client: name, .. }
            | Self::LogIn { client: name, .. }
            | Self::Forget { client: name, .. }
            | Self::Prolong { client: name, .. }
            | Self::Confirm { client: name, .. }
            | Self::Send { client: name, .. }
            | Self::Close { client: name, .. }
            | Self::StopReading { client: name }
            | Self::Read { client: name }
            | Self::ReadSlowly { client: name, .. }
            | Self::Repeat { name, .. }
            | Self::On { of: name, .. } => self::name(name),
            Self::Storm { .. }
            | Self::BlindBalancer(_)
            | Self::AllLeave
            | Self::Instances { .. }
            | Self::StepClock { .. }
            | Self::Pause { .. }
            | Self::Kill { .. }
            | Self::KillMidBatch { .. }
            | Self::Restart { .. }
            | Self::Drain { .. }
            | Self::Deploy { .. }
            | Self::RedisAway { .. }
            | Self::RedisRefuses { .. }
            | Self::NextTrip { .. }
            | Self::Cut { .. }
            | Self::Clog { .. }
            | Self::Mend { .. }
            | Self::HalfOpen { .. }
            | Self::RefuseDials { .. }
            | Self::Reset { .. }
            | Self::Stranger { .. }
            | Self::Lie { .. }
            | Self::LinkLatency(_)
            | Self::Heal
            | Self::ExpectConverged
            | Self::ExpectAtRest => Ok(()),
        }
    }

    /// The instances that it names.
    const fn hosts(&self) -> (Option<Host>, Option<Host>) {
        match self {
            Self::Connect { at, .. }
            | Self::FailUpgrade { at, .. }
            | Self::Move { at, .. }
            | Self::Storm { at } => (*at, None),
            Self::Push { at: host, .. }
            | Self::Enrol { at: host, .. }
            | Self::Repeat { at: host, .. }
            | Self::Kick { at: host, .. }
            | Self::Where { at: host, .. }
            | Self::ReadLog { at: host, .. }
            | Self::DeleteLog { at: host, .. }
            | Self::Instances { at: host }
            | Self::StepClock { host, .. }
            | Self::Pause { host, .. }
            | Self::Kill { host, .. }
            | Self::KillMidBatch { host, .. }
            | Self::Drain { host, .. }
            | Self::RedisAway { host, .. }
            | Self::RedisRefuses { host, .. }
            | Self::NextTrip { host, .. } => (Some(*host), None),
            Self::Restart { host, address } => match address {
                NewAddress::Same | NewAddress::New => (Some(*host), None),
                NewAddress::Of(other) => (Some(*host), Some(*other)),
            },
            Self::Cut { from, to, .. }
            | Self::Clog { from, to, .. }
            | Self::Mend { from, to, .. }
            | Self::HalfOpen { from, to, .. }
            | Self::RefuseDials { from, to, .. }
            | Self::Lie { from, to, .. }
            | Self::Reset {
                one: from,
                other: to,
            } => (Some(*from), Some(*to)),
            Self::Stranger { at, says } => match says {
                StrangerWords::Nonsense => (Some(*at), None),
                StrangerWords::Misdirected(of)
                | StrangerWords::Replayed(of)
                | StrangerWords::Unproven(of)
                | StrangerWords::Posing(of) => (Some(*at), Some(*of)),
            },
            // What waits for a moment is checked by itself.
            Self::On { .. }
            | Self::Follow { .. }
            | Self::LogIn { .. }
            | Self::Forget { .. }
            | Self::Prolong { .. }
            | Self::Confirm { .. }
            | Self::OfTopic { .. }
            | Self::Send { .. }
            | Self::Close { .. }
            | Self::StopReading { .. }
            | Self::Read { .. }
            | Self::ReadSlowly { .. }
            | Self::BlindBalancer(_)
            | Self::AllLeave
            | Self::Deploy { .. }
            | Self::Redis(_)
            | Self::LinkLatency(_)
            | Self::Heal
            | Self::ExpectConverged
            | Self::ExpectAtRest => (None, None),
        }
    }

    /// Whether it is about the links between two instances.
    const fn is_between_two(&self) -> bool {
        matches!(
            self,
            Self::Cut { .. }
                | Self::Clog { .. }
                | Self::Mend { .. }
                | Self::HalfOpen { .. }
                | Self::RefuseDials { .. }
                | Self::Lie { .. }
                | Self::Reset { .. }
        )
    }

    /// The times that it names; zero stands for none.
    fn spans(&self) -> [Duration; 3] {
        let one = |span| [span, Duration::ZERO, Duration::ZERO];
        match self {
            Self::Connect { token, .. } => one(token.unwrap_or_default()),
            Self::LogIn { login, .. } => match login {
                LateLogin::After(span) | LateLogin::Wrongly(span) => one(*span),
                LateLogin::Never => one(Duration::ZERO),
            },
            Self::ReadSlowly { every: span, .. }
            | Self::BlindBalancer(span)
            | Self::Pause { span, .. }
            | Self::RedisAway { span, .. }
            | Self::RedisRefuses { span, .. }
            | Self::RefuseDials { span, .. }
            | Self::Lie { span, .. }
            | Self::LinkLatency(span)
            | Self::On { after: span, .. }
            | Self::Prolong { token: span, .. } => one(*span),
            Self::StepClock { step, .. } => one(step.span()),
            Self::Redis(act) => act.spans(),
            Self::Drain { delay, spread, .. } => [*delay, *spread, Duration::ZERO],
            Self::Deploy {
                delay,
                spread,
                deadline,
            } => [*delay, *spread, *deadline],
            Self::Move { .. }
            | Self::Follow { .. }
            | Self::Forget { .. }
            | Self::FailUpgrade { .. }
            | Self::Confirm { .. }
            | Self::OfTopic { .. }
            | Self::Send { .. }
            | Self::Close { .. }
            | Self::StopReading { .. }
            | Self::Read { .. }
            | Self::Storm { .. }
            | Self::AllLeave
            | Self::Push { .. }
            | Self::Enrol { .. }
            | Self::Repeat { .. }
            | Self::Kick { .. }
            | Self::Where { .. }
            | Self::ReadLog { .. }
            | Self::DeleteLog { .. }
            | Self::Instances { .. }
            | Self::Kill { .. }
            | Self::KillMidBatch { .. }
            | Self::Restart { .. }
            | Self::NextTrip { .. }
            | Self::Cut { .. }
            | Self::Clog { .. }
            | Self::Mend { .. }
            | Self::HalfOpen { .. }
            | Self::Reset { .. }
            | Self::Stranger { .. }
            | Self::Heal
            | Self::ExpectConverged
            | Self::ExpectAtRest => [Duration::ZERO; 3],
        }
    }
}

impl To {
    fn check_names(&self) -> Checked {
        match self {
            Self::User(user) => self::user(user),
            Self::Users(users) => users.iter().try_for_each(|user| self::user(user)),
            Self::Everyone => Ok(()),
            Self::Topics { topics, except } => {
                topics.iter().try_for_each(|topic| self::topic(topic))?;
                except.as_ref().map_or(Ok(()), |client| name(client))
            }
        }
    }
}

impl RedisAct {
    fn check_names(&self) -> Checked {
        match self {
            Self::EvictRows(user) => self::user(user),
            Self::EvictLog(of) => of.check(),
            Self::EvictTopic(topic) => self::topic(topic),
            Self::Down
            | Self::Up
            | Self::RestartEmpty
            | Self::Save
            | Self::Restart
            | Self::Failover { .. }
            | Self::Refuse(..)
            | Self::EvictLeases
            | Self::Clock(_)
            | Self::FlushScripts
            | Self::Latency(_) => Ok(()),
        }
    }

    fn spans(&self) -> [Duration; 3] {
        let one = |span| [span, Duration::ZERO, Duration::ZERO];
        match self {
            Self::Failover { lost, former } => [*lost, former.unwrap_or_default(), Duration::ZERO],
            Self::Refuse(_, span) | Self::Latency(span) => one(*span),
            Self::Clock(step) => one(step.span()),
            Self::Down
            | Self::Up
            | Self::RestartEmpty
            | Self::Save
            | Self::Restart
            | Self::EvictRows(_)
            | Self::EvictLog(_)
            | Self::EvictTopic(_)
            | Self::EvictLeases
            | Self::FlushScripts => [Duration::ZERO; 3],
        }
    }
}

impl ClockStep {
    const fn span(self) -> Duration {
        match self {
            Self::Forward(span) | Self::Back(span) => span,
        }
    }
}

fn time(time: Duration) -> Checked {
    if time < MAX_TIME {
        return Ok(());
    }
    Err(format!("{time:?} is too long: a time is below 1000000000s"))
}

/// What is said of an item in which too many wait for each other.
pub(crate) fn too_nested() -> String {
    format!("`on` stands in `on` {MAX_NESTED} deep at most")
}

/// A name is a word: it is written in a line with others.
fn name(name: &str) -> Checked {
    let is_word = |character: char| !character.is_whitespace() && character != '#';
    if !name.is_empty() && name.chars().all(is_word) {
        return Ok(());
    }
    Err(format!(
        "`{name}` is not a name: one word without spaces and `#`"
    ))
}

fn user(user: &str) -> Checked {
    UserId::new(user).map_err(|error| format!("`{user}` is not a user: {error}"))?;
    name(user)?;
    if user.contains(',') {
        return Err(format!("`{user}` is not one user"));
    }
    if user == "everyone" {
        return Err("`everyone` is not a user: it stands for all of them".to_owned());
    }
    Ok(())
}

impl LogOf {
    fn check(&self) -> Checked {
        match self {
            // A user of this name could not be told from the word.
            Self::User(user) if user == "of" => {
                Err("`of` is not a user: a topic follows it".to_owned())
            }
            Self::User(user) => self::user(user),
            Self::Topic(topic) => self::topic(topic),
        }
    }
}

fn topic(topic: &str) -> Checked {
    TopicId::new(topic).map_err(|error| format!("`{topic}` is not a topic: {error}"))?;
    name(topic)?;
    if topic.contains([',', '*']) {
        return Err(format!("`{topic}` is not one topic"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Item, Moment};

    const HEAD: &str = "switchboard-sim 1  seed 1  instances 2  lease 10s\n";

    #[test]
    fn a_schedule_made_by_hand_is_checked() {
        let second = Duration::from_secs(1);
        let (from, to, span) = (Host(1), Host(1), second);
        let user = "u".repeat(129);
        for (act, problem) in [
            (
                Act::Pause {
                    host: Host(7),
                    span,
                },
                "line 3: `i8` is none of i1 to i2",
            ),
            (
                Act::RefuseDials { from, to, span },
                "line 3: i2 has no link to itself",
            ),
            (
                Act::LinkLatency(Duration::MAX),
                "a time is below 1000000000s",
            ),
            (
                Act::RedisAway {
                    host: Host(0),
                    span: Duration::MAX,
                },
                "a time is below 1000000000s",
            ),
            (Act::Redis(RedisAct::EvictRows(user)), "is not a user"),
            (
                Act::Read {
                    client: "c 1".to_owned(),
                },
                "`c 1` is not a name",
            ),
        ] {
            let mut schedule = Schedule::parse(&format!("{HEAD}1s heal")).unwrap();
            schedule.items.push(Item { at: second, act });
            let error = schedule.validate().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn the_head_is_checked() {
        let schedule = Schedule::parse(HEAD).unwrap();
        assert_eq!(schedule.validate(), Ok(()));
        let empty = Schedule {
            instances: 0,
            ..schedule.clone()
        };
        let error = empty.validate().unwrap_err().to_string();
        assert_eq!(error, "line 1: `instances` must be from 1 to 64");
        let short = Schedule {
            lease: Duration::ZERO,
            ..schedule
        };
        let error = short.validate().unwrap_err().to_string();
        assert_eq!(error, "line 1: `lease` must be at least 1s");
    }

    #[test]
    fn what_waits_for_a_moment_is_checked_as_well() {
        let text = format!("{HEAD}1s on hello of c1 cut i1 -> i1");
        let error = Schedule::parse(&text).unwrap_err().to_string();
        assert_eq!(error, "line 2: i1 has no link to itself");
    }

    #[test]
    fn items_wait_for_each_other_so_deep_at_most() {
        let text = |depth| format!("{HEAD}1s {}heal\n", "on hello of c1 ".repeat(depth));
        let deepest = Schedule::parse(&text(MAX_NESTED)).unwrap();
        assert_eq!(deepest.validate(), Ok(()));
        for depth in [MAX_NESTED + 1, 100_000] {
            let error = Schedule::parse(&text(depth)).unwrap_err().to_string();
            assert_eq!(error, "line 2: `on` stands in `on` 8 deep at most");
        }
        let mut deeper = deepest;
        let act = Box::new(deeper.items[0].act.clone());
        deeper.items[0].act = Act::On {
            moment: Moment::Hello,
            of: "c1".to_owned(),
            after: Duration::ZERO,
            act,
        };
        let error = deeper.validate().unwrap_err().to_string();
        assert_eq!(error, "line 2: `on` stands in `on` 8 deep at most");
    }
}
