//! What a run prints: its progress, a table at the end, and what was seen of a log with which something is wrong.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::Plan;
use super::channel::Channel;
use super::faults::Happened;
use super::history::Histories;
use super::judge::{Fault, Judged, Tally};
use super::producers::{Producers, Push, Said};
use super::terminals::{Event, Terminals, Told};

/// What has become of a run.
#[derive(Debug)]
pub struct Report {
    table: Vec<(String, String)>,
    wrong: Vec<String>,
    history: String,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "it is about all of it")]
    pub(super) fn new(
        plan: &Plan,
        begin: Instant,
        kills: usize,
        redis_faults: Vec<Happened>,
        histories: &Histories,
        pushes: &[Push],
        told: &[Told],
        judged: Judged,
        late: usize,
    ) -> Self {
        let mut table = Table::default();
        table.line("seed", plan.seed);
        table.line("servers", format!("{}, {}", plan.servers, plan.fleet));
        let of_users = |told: &&Told| matches!(told.channel, Channel::User(_));
        let terminals = told.iter().filter(of_users).count();
        table.line("users, terminals", format!("{}, {terminals}", plan.users));
        let members = told.len() - terminals;
        table.line(
            "topics, who follows them",
            format!("{}, {members}", plan.topics),
        );
        let seconds = plan.time.as_secs_f64();
        let rate = pushes.len() as f64 / seconds;
        let all = begin.elapsed().as_secs();
        table.line(
            "time",
            format!("{seconds:.0} s, {all} s with start and end"),
        );
        table.line("pushes", format!("{}, {rate:.0} a second", pushes.len()));
        for (said, count) in receipts(pushes) {
            table.line(&format!("  answered: {said}"), count);
        }
        table.line("servers killed", kills);
        let tally = &judged.tally;
        let asked = pushes.iter().filter(|push| push.for_replica).count();
        let replicated = format!(
            "{} of {asked} pushes; lost when Redis was emptied {}",
            tally.replicated, tally.replicated_emptied
        );
        table.line("receipts that say that a replica has it", replicated);
        for (fault, [count, seconds, lost, receipts]) in faults(&redis_faults, tally) {
            let what = format!(
                "{count}, {seconds} s; of records read before it lost {lost}, of those called logged meanwhile {receipts}"
            );
            table.line(&format!("  Redis {fault}"), what);
        }
        table.line("records that Redis lost", histories.lost);
        table.line("connections of terminals", tally.connects);
        table.line("  refused", tally.refused);
        table.line("  resumed", tally.resumes);
        table.line("  resumed at an older position", tally.resumed_behind);
        table.line(
            "joins, leaves",
            format!("{}, {}", tally.joins, tally.leaves),
        );
        table.line("records that terminals got", tally.records);
        table.line("  that no reading of Redis has", tally.records_unread);
        table.line("  again, behind a gap or a step back", tally.again);
        table.line("gaps", tally.gaps);
        table.line("steps back", tally.backs);
        table.line("not at the end of the log in the end", late);
        for (fault, name) in FAULTS {
            table.line(name, judged.count(*fault));
        }
        let tell =
            |channel: &Channel| history(*channel, plan, &redis_faults, histories, pushes, told);
        let history = judged.channels().first().map(tell).unwrap_or_default();
        if let Some(folder) = &plan.output {
            let always = [Channel::User(0), Channel::Topic(0)];
            let wrong = judged.channels().into_iter().take(HISTORIES);
            for channel in always.into_iter().chain(wrong) {
                // If it cannot be written, whoever looks for it sees that it is not there.
                let _ = fs::write(folder.join(format!("{channel}.txt")), tell(&channel));
            }
        }
        let wrong = judged.wrong.iter().map(|wrong| {
            let seconds = wrong.at.as_secs_f64();
            format!(
                "{:?} of {} at {seconds:.3}: {}",
                wrong.fault, wrong.channel, wrong.what
            )
        });
        Self {
            table: table.lines,
            wrong: wrong.collect(),
            history,
        }
    }

    /// Whether all is as it must be.
    pub const fn is_clean(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// Logs with which something is wrong and whose histories are written into the folder, at most.
const HISTORIES: usize = 20;

const FAULTS: &[(Fault, &str)] = &[
    (Fault::Lost, "LOST"),
    (Fault::Doubled, "DOUBLED"),
    (Fault::FalseGap, "FALSE GAPS"),
    (Fault::FalseBack, "FALSE STEPS BACK"),
    (Fault::FalseReceipt, "FALSE RECEIPTS"),
    (Fault::LostReplicated, "LOST ALTHOUGH A REPLICA HAD IT"),
    (Fault::BrokenLog, "BROKEN LOGS"),
    (Fault::Other, "OTHERWISE WRONG"),
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        f.write_str(&self.history)?;
        for wrong in self.wrong.iter().take(SHOWN) {
            writeln!(f, "{wrong}")?;
        }
        if self.wrong.len() > SHOWN {
            writeln!(f, "and {} more", self.wrong.len() - SHOWN)?;
        }
        for (name, value) in &self.table {
            writeln!(f, "{name:<54}{value}")?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Table {
    lines: Vec<(String, String)>,
}

impl Table {
    fn line(&mut self, name: &str, value: impl fmt::Display) {
        self.lines.push((name.to_owned(), value.to_string()));
    }
}

/// How many answers there were of each kind.
fn receipts(pushes: &[Push]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for attempt in pushes.iter().flat_map(|push| &push.attempts) {
        let kind = match &attempt.said {
            Said::Logged { .. } => "logged".to_owned(),
            Said::Expired => "expired".to_owned(),
            Said::Unknown => "unknown".to_owned(),
            Said::Refused => "refused".to_owned(),
            Said::Error(status, code) => format!("{status} {code}"),
            Said::Nothing(_) => "not at all".to_owned(),
        };
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// How often each fault of Redis has happened, for how many seconds, how many records that were read before it
/// has lost, and how many that receipts called logged since.
fn faults(happened: &[Happened], tally: &Tally) -> BTreeMap<String, [u64; 4]> {
    let mut sums: BTreeMap<_, [u64; 4]> = BTreeMap::new();
    for happened in happened {
        let of_this = [
            1,
            (happened.ended - happened.begun).as_secs(),
            happened.lost as u64,
            tally
                .receipts_lost
                .get(&happened.reading)
                .copied()
                .unwrap_or_default() as u64,
        ];
        let sums = sums.entry(happened.fault.to_string()).or_default();
        for (sum, one) in sums.iter_mut().zip(of_this) {
            *sum += one;
        }
    }
    sums
}

/// Prints how it goes, until the end.
pub(super) fn progress(begin: Instant, end: Instant, terminals: &Terminals, producers: &Producers) {
    const EVERY: Duration = Duration::from_secs(10);
    while Instant::now() < end {
        thread::sleep(EVERY.min(end.saturating_duration_since(Instant::now())));
        let (begun, known, waiting) = producers.counts();
        eprintln!(
            "{:>4} s: {begun} pushes, {known} known, {waiting} to be repeated; in {} of {} logs followed \
             terminals know where they stand, {} records have come",
            begin.elapsed().as_secs(),
            terminals.standing().count(),
            terminals.followed(),
            terminals.records(),
        );
    }
}

/// All that is known of a log and those who follow it, in its order.
fn history(
    channel: Channel,
    plan: &Plan,
    redis_faults: &[Happened],
    histories: &Histories,
    pushes: &[Push],
    told: &[Told],
) -> String {
    let mut lines = Vec::new();
    for happened in redis_faults {
        lines.push((happened.begun, format!("redis: {}", happened.fault)));
        let mended = format!("redis: mended, {} records lost", happened.lost);
        lines.push((happened.ended, mended));
    }
    for (number, reading) in histories.readings.iter().enumerate() {
        lines.push((reading.begun, format!("redis: reading {number}")));
    }
    let log = histories.log(channel);
    for push in pushes.iter().filter(|push| push.to == channel) {
        for attempt in &push.attempts {
            let sent = format!("push {} is sent to server {}", push.text, attempt.server);
            lines.push((attempt.sent, sent));
            let mut said = format!("push {}: ", push.text);
            let _ = match &attempt.said {
                Said::Nothing(why) => write!(said, "not answered: {why}"),
                other => write!(said, "{other:?}"),
            };
            if let (Said::Logged { position, .. }, Some(log)) = (&attempt.said, log) {
                let _ = write!(said, ", {}", log.tell(*position));
            }
            lines.push((attempt.answered, said));
        }
    }
    for told in told.iter().filter(|told| told.channel == channel) {
        for (at, event) in &told.events {
            let mut line = format!("terminal {}: ", told.number);
            let _ = match event {
                Event::Asks { server, after } => {
                    write!(line, "asks server {server} for what is after {after:?}")
                }
                other => write!(line, "{other:?}"),
            };
            if let (Event::Record { position, .. }, Some(log)) = (event, log) {
                let _ = write!(line, ", {}", log.tell(*position));
            }
            lines.push((*at, line));
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    let mut text = format!("--- {channel}, seed {}\n", plan.seed);
    for (at, line) in lines {
        let _ = writeln!(text, "{:>9.3} {line}", at.as_secs_f64());
    }
    text
}
