//! What a neighbour does, and what happens to it, changes nobody else's trace: neither what others see, to the byte and
//! the nanosecond, nor what the directory is asked for them, nor the receipts of their pushes.
//!
//! A neighbour is a user, its terminals and applications, whoever opens links without the secret, and an instance at
//! which nobody else is. What is left out are things that an instance has once for all its terminals, where others do
//! notice:
//!
//! - An instance that is gone without a sign, or stands still for a lease, may have terminals that nobody knows of:
//!   applications wait for its answer, and are told `degraded`. What terminals see stays the same.
//! - The directory's faults are everybody's; and an instance whose writes it refuses says that rows of its terminals
//!   may be missing, not whose.
//! - A drain closes all terminals at one pace.
//! - Pushes to everyone go to neighbours, and are counted in their receipts; a list of instances counts them too.
//! - Positions of logs come from one stream of nonces, and logs are checked at one pace.
//! - Limits of the whole instance: connections, pushes, operations under way.
//! - The jitter of pings comes from one stream.

use std::fmt::Write as _;

use switchboard_core::config::Config;
use switchboard_sim::schedule::Schedule;

use crate::noise::seen::{but_for_applications, first_difference, seen};

/// Worlds for each thing that a neighbour may do.
const SEEDS: u64 = crate::seeds(25);

/// Worlds for each end of an instance.
const ENDS: u64 = 10;

/// A choice that hangs on the world and on what it is for.
pub(crate) fn pick(seed: u64, what: u64, below: u64) -> u64 {
    let mixed = (seed << 32 ^ what).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % below
}

/// A moment of a schedule, in microseconds.
pub(crate) fn moment(micros: u64) -> String {
    format!("{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
}

/// Two users with terminals at two instances, whose pushes, questions, topics and moves go on all the time. All links
/// are open from the beginning, and nobody is in doubt when the neighbour begins.
fn others(seed: u64) -> String {
    let mut text = format!(
        "switchboard-sim 1  seed {seed}  instances 3  lease 4s
         0.2s  client c1 claims news
         0.2s  client c4 claims news
         0.5s  client c1 connects i1 as alice
         0.5s  client c2 connects i2 as alice
         0.6s  client c3 connects i1 as bob
         0.6s  client c4 connects i2 as bob
         1.0s  push i1 everyone e1
         1.1s  push i2 everyone e2
         1.2s  push i3 everyone e3
         16s   heal\n"
    );
    for nth in 0..120 {
        let at = moment(6_000_000 + nth * 80_000 + pick(seed, nth, 80_000));
        let host = 1 + pick(seed, nth + 1000, 2);
        let user = ["alice", "bob", "alice,bob"][pick(seed, nth + 2000, 3) as usize];
        let what = match pick(seed, nth + 3000, 16) {
            0 => format!("client c1 moves i{host} sudden"),
            1 => format!("client c3 moves i{host} clean"),
            2 => "client c2 sends 3 messages".to_owned(),
            3 => format!("where i{host} alice"),
            4 => format!("kick i{host} bob k{nth}"),
            5 => format!("client d{nth} connects i{host} as bob"),
            6..=8 => format!("push i{host} topics news t{nth}"),
            _ => format!("push i{host} {user} m{nth}"),
        };
        writeln!(text, "{at}  {what}").expect("a text has room");
    }
    text
}

/// What a neighbour does, and what happens to it.
#[derive(Clone, Copy, Debug)]
enum Neighbour {
    /// It reads nothing while it is sent more than its queue holds.
    Stalls,
    /// It reads a frame now and then.
    ReadsSlowly,
    /// It sends messages without an end, and what its driver refuses.
    Floods,
    /// Its pushes come in bursts, to itself and to nobody.
    Publishes,
    /// Its terminals come and go, with and without a sign, some with tokens that expire.
    Flaps,
    /// It is kicked and enrolled while it comes back.
    IsKicked,
    /// Its terminals do not say who they are, or are not believed.
    IsNobody,
    /// Its rows and its log are lost.
    IsEvicted,
    /// Whoever does not know the secret speaks on links.
    Stranger,
    /// An instance at which only it has terminals stands still, for less than its lease.
    StandsStill,
    /// Its links carry nothing, break and cannot be opened.
    Links,
    /// It is reached slowly, and kept in logs.
    Logs,
}

impl Neighbour {
    const ALL: [Self; 12] = [
        Self::Stalls,
        Self::ReadsSlowly,
        Self::Floods,
        Self::Publishes,
        Self::Flaps,
        Self::IsKicked,
        Self::IsNobody,
        Self::IsEvicted,
        Self::Stranger,
        Self::StandsStill,
        Self::Links,
        Self::Logs,
    ];

    /// The items of what happens between 6 s and 16 s, each at a moment that hangs on the world.
    fn items(self, seed: u64) -> String {
        let mut text = "5.0s  client z1 connects i1 as zoe
                        5.0s  client z2 connects i2 as zoe
                        5.0s  client z3 connects i3 as zoe\n"
            .to_owned();
        for nth in 0..40 {
            let begin = 6_000_000 + nth * 240_000 + pick(seed, nth + 4000, 200_000);
            let (at, soon) = (moment(begin), moment(begin + 230_000));
            let host = 1 + pick(seed, nth + 5000, 3);
            let one = 1 + pick(seed, nth + 6000, 2);
            let choice = pick(seed, nth + 7000, 4) as usize;
            let what = self.act(nth, (host, one), choice);
            for line in what.lines() {
                writeln!(text, "{at}  {line}").expect("a text has room");
            }
            if matches!(self, Self::Links) {
                writeln!(text, "{soon}  mend i{one} <-> i3").expect("a text has room");
            }
        }
        text
    }

    /// One of these items, at one of the three instances and one of the two at which others are.
    fn act(self, nth: u64, (host, one): (u64, u64), choice: usize) -> String {
        match self {
            Self::Stalls if nth == 0 => format!("client z{one} stops reading"),
            Self::Stalls => burst(host, nth),
            Self::ReadsSlowly if nth < 3 => format!("client z{} reads every 700ms", nth + 1),
            Self::ReadsSlowly => burst(host, nth),
            Self::Floods => [
                format!("client z{host} sends 100 messages"),
                format!("client z{host} sends 30 unwanted"),
                format!("client z{host} sends malformed"),
                format!("client z{host} moves i{one} sudden"),
            ][choice]
                .clone(),
            Self::Publishes => [
                burst(host, nth),
                format!("push i{host} zoe,nobody n{nth}"),
                format!("push i{host} topics zoo p{nth}"),
                format!("where i{host} zoe"),
            ][choice]
                .clone(),
            Self::Flaps => [
                format!("client z{nth} connects i{host} as zoe for 300ms"),
                format!("client z{one} moves i{host} silent"),
                format!("client z{host} closes sudden"),
                format!("client z{host} connects i{one} as zoe"),
            ][choice]
                .clone(),
            Self::IsKicked => [
                format!("kick i{host} zoe l{nth}"),
                format!("client z{nth} connects i{host} as zoe"),
                format!("join i{host} zoe zoo j{nth}"),
                format!("push i{host} zoe n{nth}"),
            ][choice]
                .clone(),
            Self::IsNobody if nth < 20 => {
                let how = ["never", "wrongly after 1s", "after 500ms", "after 3s"][choice];
                format!("client z{} logs in {how}", nth + 10)
            }
            Self::IsNobody => format!("client z{} connects i{host} as zoe", nth - 10),
            Self::IsEvicted => [
                "redis evicts rows zoe".to_owned(),
                "redis evicts log zoe".to_owned(),
                format!("push i{host} zoe n{nth}"),
                format!("client z{nth} connects i{host} as zoe"),
            ][choice]
                .clone(),
            Self::Stranger => {
                let says = ["nonsense", "misdirects i2", "replays i2", "skips-proof i1"];
                format!("stranger i{host} {}", says[choice])
            }
            Self::StandsStill if nth.is_multiple_of(10) => "pause i3 1s".to_owned(),
            Self::StandsStill => burst(3, nth),
            Self::Links => [
                format!("cut i{one} <-> i3"),
                format!("half-open i{one} <-> i3"),
                format!("reset i{one} <-> i3"),
                format!("refuse i3 -> i{one} 500ms"),
            ][choice]
                .clone(),
            Self::Logs => [
                format!("push i{host} zoe n{nth} durable"),
                format!("client z{host} follows history 3"),
                format!("client z{host} moves i{one} clean"),
                format!("log i{host} zoe"),
            ][choice]
                .clone(),
        }
    }
}

/// As many pushes at once as fill a queue soon.
fn burst(host: u64, nth: u64) -> String {
    let pushes = (0..12).map(|one| format!("push i{host} zoe n{nth}.{one}\n"));
    pushes.collect()
}

fn seen_by_others(text: &str) -> Vec<String> {
    seen_where_pushes_are(Config::default().pushes, text)
}

/// What they see at instances that have so many pushes under way at most.
fn seen_where_pushes_are(pushes: usize, text: &str) -> Vec<String> {
    let schedule = Schedule::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let lease = schedule.lease;
    let config = Config {
        lease,
        lease_renewal: lease * 3 / 10,
        view_interval: lease / 10,
        isolation: lease * 2,
        queue_frames: 64,
        pushes,
        ..Config::default()
    };
    seen(schedule, config, "z")
}

#[test]
fn what_a_neighbour_does_changes_nobody_elses_trace() {
    let mut lines = 0;
    for seed in 0..SEEDS {
        let alone = others(seed);
        let seen_alone = seen_by_others(&alone);
        for neighbour in Neighbour::ALL {
            let seen_beside = seen_by_others(&format!("{alone}{}", neighbour.items(seed)));
            let differs = first_difference(&seen_alone, &seen_beside);
            assert_eq!(differs, None, "{neighbour:?}, seed {seed}");
            lines += seen_alone.len();
        }
    }
    assert!(
        lines > 400 * SEEDS as usize,
        "too little was seen: {lines} lines"
    );
}

/// An instance ends, or is taken for dead: others' applications notice it, and their terminals do not.
#[test]
fn the_end_of_a_neighbours_instance_changes_nothing_that_others_terminals_see() {
    let ends = [
        "7s  kill i3",
        "7s  kill i3 silent",
        "7s  kill i3 silent\n7.5s  restart i3",
        "7s  pause i3 5s",
        "7s  drain i3 500ms 1s",
    ];
    for seed in 0..ENDS {
        let alone = others(seed);
        let seen_alone = but_for_applications(seen_by_others(&alone));
        for end in ends {
            let beside = format!("{alone}5s  client z1 connects i3 as zoe\n{end}");
            let seen_beside = but_for_applications(seen_by_others(&beside));
            let differs = first_difference(&seen_alone, &seen_beside);
            assert_eq!(differs, None, "{end}, seed {seed}");
        }
    }
}

/// What does change others' traces: the comparison sees it.
#[test]
fn what_an_instance_has_once_for_all_is_noticed_by_others() {
    let noticed = |what: &str| {
        let alone = others(0);
        let beside = format!("{alone}{what}");
        let (alone, beside) = (seen_by_others(&alone), seen_by_others(&beside));
        assert!(first_difference(&alone, &beside).is_some(), "{what}");
    };
    noticed("7s  kill i3 silent");
    noticed("7s  pause i3 5s");
    noticed("7s  redis latency 5ms");
    noticed("7s  redis i1 away 1s");
    noticed("7s  drain i1 0s 5s");
    noticed("7s  cut i1 <-> i2");
    noticed(
        "5s    client z1 connects i1 as zoe
         7s    redis i1 refused OOM 5s
         7.1s  client z1 moves i1 clean",
    );
}

/// Where others share something with a neighbour that it fills, what it does is seen: so it would be if an instance
/// had for all what it has for each.
#[test]
fn what_a_neighbour_fills_is_noticed_where_it_is_shared() {
    let noticed = |seed, pushes| {
        let alone = others(seed);
        let beside = format!("{alone}{}", Neighbour::Stalls.items(seed));
        let [alone, beside] = [&alone, &beside].map(|text| seen_where_pushes_are(pushes, text));
        first_difference(&alone, &beside).is_some()
    };
    assert!((0..SEEDS).any(|seed| noticed(seed, 2)));
    assert!(!noticed(0, Config::default().pushes));
}
