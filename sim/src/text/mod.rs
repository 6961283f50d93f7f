//! How schedules are written.

use std::fmt;
use std::time::Duration;

use crate::schedule::{Item, Schedule, ScheduleError};

mod read;
mod redis;
mod words;
mod write;

pub(crate) use words::span;
use words::{Read, Span, number};

/// Instances of one world, at most.
pub(crate) const MAX_INSTANCES: usize = 64;

pub(crate) fn parse(text: &str) -> Result<Schedule, ScheduleError> {
    let mut schedule = Schedule {
        seed: 0,
        instances: 0,
        lease: Duration::from_secs(10),
        items: Vec::new(),
    };
    let mut begun = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let problem = match (begun, words.as_slice()) {
            (_, []) => Ok(()),
            (false, words) => {
                begun = true;
                head(&mut schedule, words)
            }
            (true, [at, words @ ..]) => span(at).and_then(|at| {
                let act = read::act(words, schedule.instances)?;
                schedule.items.push(Item { at, act });
                Ok(())
            }),
        };
        problem.map_err(|problem| ScheduleError {
            line: index + 1,
            problem,
        })?;
    }
    if !begun {
        return Err(ScheduleError {
            line: 1,
            problem: "the first line must be `switchboard-sim 1 seed S instances N`".to_owned(),
        });
    }
    Ok(schedule)
}

pub(crate) fn print(schedule: &Schedule, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Schedule {
        seed,
        instances,
        lease,
        items,
    } = schedule;
    let lease = Span(*lease);
    writeln!(
        f,
        "switchboard-sim 1  seed {seed:#x}  instances {instances}  lease {lease}"
    )?;
    for item in items {
        writeln!(f, "{}  {}", Span(item.at), item.act)?;
    }
    Ok(())
}

fn head(schedule: &mut Schedule, words: &[&str]) -> Read<()> {
    let ["switchboard-sim", "1", settings @ ..] = words else {
        return Err("a schedule begins with `switchboard-sim 1`".to_owned());
    };
    let (pairs, []) = settings.as_chunks::<2>() else {
        return Err("each setting has a name and a value".to_owned());
    };
    for [name, value] in pairs {
        match *name {
            "seed" => schedule.seed = number(value)?,
            "instances" => schedule.instances = number(value)? as usize,
            "lease" => schedule.lease = span(value)?,
            other => return Err(format!("there is no setting `{other}`")),
        }
    }
    if schedule.instances == 0 || schedule.instances > MAX_INSTANCES {
        return Err(format!("`instances` must be from 1 to {MAX_INSTANCES}"));
    }
    if schedule.lease < Duration::from_secs(1) {
        return Err("`lease` must be at least 1s".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_ITEM: &str = "\
switchboard-sim 1  seed 0x5eed  instances 3  lease 10.000s
0.500s  client c1 connects i1 as alice
0.500250s  client c2 connects anywhere as bob
1.000s  client c1 closes sudden
1.000s  client c2 stops reading
1.100s  client c2 reads
2.000s  push i2 alice m1
2.000s  push i2 alice,bob m2
2.000s  push i3 everyone m3
2.100s  repeat i1 m1
3.000s  pause i1 25.000s
3.000s  kill i2
3.000s  kill i3 silent
4.000s  restart i2
4.000s  restart i3 new-address
4.000s  restart i3 address-of i2
5.000s  drain i1 1.000s 5.000s
6.000s  redis down
6.000s  redis up
6.000s  redis restart-empty
6.000s  redis failover 0.200s
6.000s  redis refuses READONLY 2.000s
6.000s  redis latency 0.050s
6.000s  redis i1 next register reply-lost
6.000s  redis i1 next any refused OOM
7.000s  cut i1 -> i2
7.000s  cut i1 <-> i2
7.000s  reset i1 <-> i2
7.000s  links latency 0.100s
8.000s  heal
9.000s  expect converged
9.500s  clients leave
9.900s  expect at-rest
";

    #[test]
    fn what_is_printed_is_what_was_read() {
        let schedule = parse(EVERY_ITEM).unwrap();
        assert_eq!(schedule.to_string(), EVERY_ITEM);
    }

    #[test]
    fn an_error_names_its_line() {
        let error = parse("switchboard-sim 1 seed 1 instances 2\n\n1s pause i3 4s\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3: `i3` is none of i1 to i2");
        let error = parse("switchboard-sim 1 seed 1 instances 2\n1s dance\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: not an item: `dance`");
        assert_eq!(parse("").unwrap_err().line, 1);
    }
}
