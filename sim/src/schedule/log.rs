//! How logs of durable pushes are kept and checked in a schedule.

use std::time::Duration;

use switchboard_core::directory::log::Retention;

/// What a schedule says of logs. `None` is as by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Records that a log keeps, at most; at least one.
    pub records: Option<u32>,
    /// How old they become, at most.
    pub age: Option<Duration>,
    /// The time in which the head of each log is compared with where its followers stand.
    pub check: Option<Duration>,
}

impl LogSettings {
    /// All as by default.
    pub const DEFAULT: Self = Self {
        records: None,
        age: None,
        check: None,
    };

    /// What is kept with each durable push.
    pub fn retention(&self) -> Retention {
        let usual = Retention::default();
        Retention {
            records: self.records.unwrap_or(usual.records),
            age: self.age.unwrap_or(usual.age),
            ..usual
        }
    }
}
