//! What logs keep of the records that were appended here: an estimate, for people.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Config;
use crate::time::Instant;

/// Parts of the longest retention, each of which is counted as one: of a day 21 s.
const SPANS: u32 = 4096;
/// A span is not shorter than this, whatever the retention is.
const SPAN_MIN: Duration = Duration::from_secs(1);

/// Bytes of records whose retention is not over. The estimate knows of this instance's appends alone, and not of what gives
/// way before, because a log keeps so many records or bytes at most, or was deleted.
#[derive(Clone, Debug)]
pub(super) struct KeptBytes {
    span: Duration,
    /// By the span in which their retention ends: at most one more than there are of the longest retention.
    by_end: BTreeMap<u64, u64>,
}

impl KeptBytes {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            span: (config.log_age_max / SPANS).max(SPAN_MIN),
            by_end: BTreeMap::new(),
        }
    }

    /// A record of so many bytes was appended, and is kept for so long.
    pub(super) fn add(&mut self, now: Instant, age: Duration, bytes: u64) {
        let present = self.span_of(now);
        while let Some(first) = self.by_end.first_entry()
            && *first.key() < present
        {
            first.remove();
        }
        *self.by_end.entry(self.span_of(now + age)).or_default() += bytes;
    }

    /// Bytes of all of them.
    pub(super) fn at(&self, now: Instant) -> u64 {
        self.by_end
            .range(self.span_of(now)..)
            .map(|(_, bytes)| bytes)
            .sum()
    }

    fn span_of(&self, moment: Instant) -> u64 {
        let spans = moment.since(Instant::START).as_nanos() / self.span.as_nanos();
        u64::try_from(spans).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn bytes_count_until_their_retention_is_over() {
        let config = Config {
            log_age_max: Duration::from_secs(4096),
            ..Config::default()
        };
        let mut kept = KeptBytes::new(&config);
        let now = Instant::START;
        kept.add(now, 5 * SECOND, 1);
        kept.add(now, 60 * SECOND, 10);
        kept.add(now + 3 * SECOND, 60 * SECOND, 100);
        let at = |second| kept.at(now + SECOND * second);
        assert_eq!(
            [at(3), at(5), at(6), at(60), at(61), at(63), at(64)],
            [111, 111, 110, 110, 100, 100, 0]
        );
    }

    #[test]
    fn no_more_is_remembered_than_the_longest_retention_has_spans() {
        let config = Config::default();
        let mut kept = KeptBytes::new(&config);
        for second in 0..3 * config.log_age_max.as_secs() as u32 / 20 {
            kept.add(Instant::START + SECOND * 20 * second, config.log_age_max, 1);
        }
        assert!(
            kept.by_end.len() <= SPANS as usize + 1,
            "{}",
            kept.by_end.len()
        );
    }
}
