//! What stood in Redis: readings of all logs, before and after each of its faults.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::channel::Channel;
use super::position::Position;
use crate::redis::RedisServer;

/// All logs over the whole run.
#[derive(Debug, Default)]
pub(super) struct Histories {
    pub(super) readings: Vec<Reading>,
    logs: HashMap<Channel, Log>,
    /// What is wrong with the logs themselves, in a sentence.
    pub(super) wrong: Vec<(Channel, String)>,
    /// Records that were in one reading and not in the next, because of a fault.
    pub(super) lost: usize,
}

/// When all logs were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) begun: Duration,
    pub(super) since: Since,
}

/// What may have happened to Redis since the reading before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// It kept all that it was told.
    Kept,
    /// It may have lost records, but none that its replica had.
    Lost,
    /// It has lost everything.
    Emptied,
    /// As `Lost`, and for a while two servers took writes.
    Split,
}

impl Since {
    pub(super) const fn may_lose(self) -> bool {
        match self {
            Self::Kept => false,
            Self::Lost | Self::Emptied | Self::Split => true,
        }
    }

    /// Whether it may have lost what its replica had.
    pub(super) const fn may_lose_replicated(self) -> bool {
        match self {
            Self::Kept | Self::Lost | Self::Split => false,
            Self::Emptied => true,
        }
    }
}

/// One log over the whole run.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Each record that was ever read: its predecessor and its push. A record's predecessor is the same in
    /// every history.
    pub(super) records: HashMap<Position, (Position, Uuid)>,
    /// In which readings a position was that of a record or the base: the first and the last of them.
    kept: HashMap<Position, (usize, usize)>,
    /// In which reading those were missing first that Redis has lost.
    pub(super) lost: HashMap<Position, usize>,
    /// The last reading: base, and records in their order.
    base: Option<Position>,
    chain: Vec<Position>,
}

impl Log {
    /// Whether a position was known in a reading.
    pub(super) fn knows(&self, position: Position, reading: usize) -> bool {
        let kept = self.kept.get(&position);
        kept.is_some_and(|(first, last)| (*first..=*last).contains(&reading))
    }

    /// What it is about a position, for people.
    pub(super) fn tell(&self, position: Position) -> String {
        let kept = match self.kept.get(&position) {
            Some((first, last)) => format!("in readings {first} to {last}"),
            None => "in no reading".to_owned(),
        };
        match self.records.get(&position) {
            Some((before, _)) => format!("{kept}, behind {before}"),
            None => kept,
        }
    }

    fn head(&self) -> Option<Position> {
        self.chain.last().copied().or(self.base)
    }
}

impl Histories {
    pub(super) fn log(&self, channel: Channel) -> Option<&Log> {
        self.logs.get(&channel)
    }

    /// Where a log ended when it was read last.
    pub(super) fn head(&self, channel: Channel) -> Option<Position> {
        self.log(channel)?.head()
    }

    /// The first reading that began after a moment.
    pub(super) fn after(&self, moment: Duration) -> Option<usize> {
        let index = self.readings.partition_point(|r| r.begun <= moment);
        (index < self.readings.len()).then_some(index)
    }

    /// Reads all logs, at this moment of the run.
    ///
    /// # Panics
    ///
    /// If Redis does not answer.
    pub(super) fn read(
        &mut self,
        begun: Duration,
        redis: &RedisServer,
        channels: &[Channel],
        since: Since,
    ) {
        let keys: Vec<String> = redis.command(&["KEYS", "sb:{p*}*m:*"]);
        // By the name behind the partition.
        let found: HashMap<_, _> = keys
            .iter()
            .map(|key| key.split_once('}').expect("a log's key"))
            .map(|(partition, name)| (name, partition))
            .collect();
        let mut connection = redis.connection();
        let mut pipe = redis::pipe();
        let mut there = Vec::new();
        let mut gone = Vec::new();
        for channel in channels {
            let [meta, records] = channel.keys().map(|kind| format!("{kind}{channel}"));
            let Some(partition) = found.get(meta.as_str()) else {
                gone.push(*channel);
                continue;
            };
            there.push(*channel);
            pipe.cmd("GET").arg(format!("{partition}}}{meta}"));
            pipe.cmd("LRANGE").arg(format!("{partition}}}{records}"));
            pipe.arg(0).arg(-1);
        }
        let values: Vec<redis::Value> = if there.is_empty() {
            // A Redis that was emptied a moment ago; nothing is no command.
            Vec::new()
        } else {
            pipe.query(&mut connection).expect("Redis answers")
        };
        self.add_reading(begun, since);
        let mut values = values.into_iter();
        for channel in there {
            let meta = values.next().and_then(bytes).unwrap_or_default();
            let records = values.next().map_or_else(Vec::new, list);
            self.add(channel, &meta, &records);
        }
        for channel in gone {
            self.is_gone(channel);
        }
    }

    /// What follows was in Redis at this moment.
    pub(super) fn add_reading(&mut self, begun: Duration, since: Since) {
        self.readings.push(Reading { begun, since });
    }

    fn add(&mut self, channel: Channel, meta: &[u8], values: &[Vec<u8>]) {
        let split = Position::split(meta).and_then(|(head, rest)| {
            let (base, _) = Position::split(rest)?;
            Some((head, base))
        });
        let records: Option<Vec<_>> = values.iter().map(|value| record(value)).collect();
        let (Some((head, base)), Some(records)) = (split, records) else {
            return self.is_wrong(channel, "it cannot be read".to_owned());
        };
        // The records may have expired as a whole.
        let base = if records.is_empty() { head } else { base };
        let last = records.last().map_or(base, |(position, _)| *position);
        if head != last {
            self.is_wrong(
                channel,
                format!("the head is {head}, the last record {last}"),
            );
        }
        self.add_records(channel, base, &records);
    }

    /// In the last reading a log has this base and these records.
    pub(super) fn add_records(
        &mut self,
        channel: Channel,
        base: Position,
        records: &[(Position, Uuid)],
    ) {
        let reading = self.readings.len() - 1;
        let mut wrong = Vec::new();
        let log = self.logs.entry(channel).or_default();
        log.is_kept(base, reading, &mut wrong);
        let mut before = base;
        let mut pushes = HashMap::new();
        for &(position, push) in records {
            let known = *log.records.entry(position).or_insert((before, push));
            if known != (before, push) {
                wrong.push(format!("{position} is another record than before"));
            }
            if let Some(other) = pushes.insert(push, position) {
                wrong.push(format!("push {push} is at {other} and at {position}"));
            }
            log.is_kept(position, reading, &mut wrong);
            before = position;
        }
        // Those before the base are no longer kept, as a log keeps so many.
        let removed = log.chain.iter().position(|position| *position == base);
        let kept = &log.chain[removed.unwrap_or(0)..];
        let unknown = kept.iter().filter(|kept| !log.knows(**kept, reading));
        let gone: Vec<_> = unknown.copied().collect();
        if self.readings[reading].since.may_lose() {
            self.lost += gone.len();
            log.lost.extend(gone.iter().map(|gone| (*gone, reading)));
        } else if !gone.is_empty() {
            wrong.push(format!("{gone:?} have gone from {:?}", log.chain));
        }
        log.base = Some(base);
        log.chain = records.iter().map(|(position, _)| *position).collect();
        for what in wrong {
            self.is_wrong(channel, what);
        }
    }

    fn is_wrong(&mut self, channel: Channel, what: String) {
        self.wrong.push((channel, what));
    }

    /// There is no log.
    fn is_gone(&mut self, channel: Channel) {
        let after_loss = self.readings.last().is_some_and(|r| r.since.may_lose());
        let reading = self.readings.len() - 1;
        if let Some(log) = self.logs.get_mut(&channel)
            && log.base.is_some()
        {
            if after_loss {
                self.lost += log.chain.len();
                let lost = log.chain.iter().map(|lost| (*lost, reading));
                log.lost.extend(lost);
            } else {
                let wrong = "the log is gone".to_owned();
                self.wrong.push((channel, wrong));
            }
            log.base = None;
            log.chain.clear();
        }
    }
}

impl Log {
    fn is_kept(&mut self, position: Position, reading: usize, wrong: &mut Vec<String>) {
        let (_, last) = self.kept.entry(position).or_insert((reading, reading));
        if *last + 1 < reading {
            wrong.push(format!("{position} was lost, and is there again"));
        }
        *last = reading;
    }
}

fn record(value: &[u8]) -> Option<(Position, Uuid)> {
    let (position, rest) = Position::split(value)?;
    let (push, _) = rest.split_first_chunk()?;
    Some((position, Uuid::from_bytes(*push)))
}

fn bytes(value: redis::Value) -> Option<Vec<u8>> {
    redis::from_redis_value(value).ok()
}

fn list(value: redis::Value) -> Vec<Vec<u8>> {
    redis::from_redis_value(value).expect("a list of records")
}
