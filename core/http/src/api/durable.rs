//! What the query of a push says about logs.

use std::time::Duration;

use switchboard_core::config::{Config, duration};
use switchboard_core::directory::log::Retention;
use switchboard_core::message::{Durability, Durable, Until, WithoutLog};

use super::error::ApiError;
use super::parameter::once;

/// What was read of it.
#[derive(Debug, Default)]
pub(crate) struct AskedOfLog {
    durable: Option<bool>,
    retention: Option<Retention>,
    until: Option<Until>,
    without_log: Option<WithoutLog>,
    durability: Option<Durability>,
}

impl AskedOfLog {
    /// Reads a parameter. Returns whether it is one of these.
    ///
    /// # Errors
    ///
    /// If it is given twice, or cannot be read.
    pub(crate) fn read(
        &mut self,
        name: &str,
        value: &str,
        config: &Config,
    ) -> Result<bool, ApiError> {
        match name {
            "durable" => {
                let durable = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(ApiError::BadDurable),
                };
                once("durable", &mut self.durable, durable)?;
            }
            "retain" => {
                let retention = retention(value, config)?;
                once("retain", &mut self.retention, retention)?;
            }
            "until" => {
                let until = match value {
                    "written" => Until::Written,
                    "acked" => Until::Acked,
                    _ => return Err(ApiError::BadUntil),
                };
                once("until", &mut self.until, until)?;
            }
            "log" => {
                let without_log = match value {
                    "required" => WithoutLog::Refused,
                    "optional" => WithoutLog::Plain,
                    _ => return Err(ApiError::BadLog),
                };
                once("log", &mut self.without_log, without_log)?;
            }
            "durability" => {
                let durability = match value {
                    "primary" => Durability::Primary,
                    "replica" => Durability::Replica,
                    _ => return Err(ApiError::BadDurability),
                };
                once("durability", &mut self.durability, durability)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is asked for, of a durable push.
    ///
    /// # Errors
    ///
    /// If something is asked for that only a durable push can have.
    pub(crate) fn asked(self) -> Result<Option<Durable>, ApiError> {
        let Self {
            durable,
            retention,
            until,
            without_log,
            durability,
        } = self;
        if durable == Some(true) {
            return Ok(Some(Durable {
                retention,
                until: until.unwrap_or_default(),
                without_log: without_log.unwrap_or_default(),
                durability: durability.unwrap_or_default(),
            }));
        }
        if until == Some(Until::Acked) {
            return Err(ApiError::AckedIsDurable);
        }
        if durability.is_some() {
            return Err(ApiError::DurabilityIsDurable);
        }
        match (retention, without_log) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(ApiError::RetainIsDurable),
            (None, Some(_)) => Err(ApiError::LogIsDurable),
        }
    }
}

/// A time, a number of records, or both with a comma between them; of the others what the settings say.
fn retention(text: &str, config: &Config) -> Result<Retention, ApiError> {
    let usual = config.retention();
    let read = match text.split_once(',') {
        Some((age, records)) => age_of(age).zip(records_of(records)),
        None => match (age_of(text), records_of(text)) {
            (Some(age), _) => Some((age, usual.records)),
            (None, Some(records)) => Some((usual.age, records)),
            (None, None) => None,
        },
    };
    let (age, records) = read.ok_or(ApiError::BadRetain)?;
    Ok(Retention {
        age,
        records,
        ..usual
    })
}

fn age_of(text: &str) -> Option<Duration> {
    duration::parse(text).ok()
}

fn records_of(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Durable>, ApiError> {
        let mut asked = AskedOfLog::default();
        for (name, value) in pairs {
            assert!(asked.read(name, value, &Config::default())?, "{name}");
        }
        asked.asked()
    }

    #[test]
    fn a_durable_push_says_what_its_log_keeps() {
        let usual = Retention::default();
        let hour = Duration::from_secs(3600);
        for (text, age, records) in [
            ("1h", hour, usual.records),
            ("7", usual.age, 7),
            ("1h,7", hour, 7),
        ] {
            let asked = read(&[("durable", "true"), ("retain", text)]).expect(text);
            let retention = asked.and_then(|durable| durable.retention);
            let expected = Retention {
                age,
                records,
                ..usual
            };
            assert_eq!(retention, Some(expected), "{text}");
        }
        assert_eq!(read(&[("durable", "true")]), Ok(Some(Durable::default())));
        assert_eq!(
            read(&[("durable", "false"), ("until", "written")]),
            Ok(None)
        );
    }

    #[test]
    fn a_durable_push_may_do_without_a_log() {
        let without = |text| {
            let asked = read(&[("log", text), ("durable", "true")]);
            asked.map(|durable| durable.map(|durable| durable.without_log))
        };
        assert_eq!(without("optional"), Ok(Some(WithoutLog::Plain)));
        assert_eq!(without("required"), Ok(Some(WithoutLog::Refused)));
    }

    #[test]
    fn a_durable_push_says_who_has_to_have_its_record() {
        let asked = |text| {
            let asked = read(&[("durability", text), ("durable", "true")]);
            asked.map(|durable| durable.map(|durable| durable.durability))
        };
        assert_eq!(asked("primary"), Ok(Some(Durability::Primary)));
        assert_eq!(asked("replica"), Ok(Some(Durability::Replica)));
    }

    /// H45
    #[test]
    fn what_cannot_be_asked_of_a_log_is_refused() {
        let durable = ("durable", "true");
        for (pairs, code) in [
            (vec![("durable", "1")], "bad_durable"),
            (vec![durable, ("retain", "")], "bad_retain"),
            (vec![durable, ("retain", "+7")], "bad_retain"),
            (vec![durable, ("retain", "7,1h")], "bad_retain"),
            (vec![durable, ("retain", "1h,")], "bad_retain"),
            (vec![durable, ("retain", "1d")], "bad_retain"),
            (vec![durable, ("retain", "99999999999")], "bad_retain"),
            (vec![durable, ("retain", "7"), ("retain", "7")], "bad_query"),
            (vec![durable, durable], "bad_query"),
            (vec![("retain", "7")], "bad_retain"),
            (vec![("durable", "false"), ("retain", "7")], "bad_retain"),
            (vec![("log", "optional")], "bad_log"),
            (vec![durable, ("log", "1")], "bad_log"),
            (vec![durable, ("durability", "disk")], "bad_durability"),
            (vec![("durability", "replica")], "bad_durability"),
            (vec![("until", "acked")], "bad_until"),
        ] {
            let error = read(&pairs).expect_err("it is wrong");
            assert_eq!(error.status().1, code, "{pairs:?}");
        }
    }
}
