//! How schedules are written.

use std::fmt;
use std::time::Duration;

use crate::schedule::{Expected, Item, LogSettings, Schedule, ScheduleError};

mod forms;
mod read;
mod redis;
mod words;
mod write;

use forms::EXPECTED;
use words::{FLAWS, POLICIES, Read, Span, from_table, name_of, number, number32};
pub(crate) use words::{flaw_name, flaw_names, span};

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    ///
    /// Names the line and what is wrong with it.
    pub fn parse(schedule: &str) -> Result<Self, ScheduleError> {
        parse(schedule)
    }

    /// How schedules are written: the forms of all items, and the words in them.
    pub fn grammar() -> String {
        forms::grammar()
    }
}

impl fmt::Display for Schedule {
    /// As [`Schedule::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self, f)
    }
}

fn parse(text: &str) -> Result<Schedule, ScheduleError> {
    let mut schedule = Schedule {
        seed: 0,
        instances: 0,
        lease: Duration::from_secs(10),
        reconnect: None,
        tight: None,
        remembers: None,
        broadcast_rate: None,
        log: LogSettings::DEFAULT,
        flaw: None,
        expects: None,
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
            (true, ["expect", "violation", words @ ..]) => expected(&mut schedule, words),
            (true, [at, words @ ..]) => span(at).and_then(|at| {
                let act = read::act(words, schedule.instances)?;
                act.check(schedule.instances)?;
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

fn print(schedule: &Schedule, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Schedule {
        seed,
        instances,
        lease,
        reconnect,
        tight,
        remembers,
        broadcast_rate,
        log: LogSettings {
            records,
            age,
            check,
        },
        flaw,
        expects,
        items,
    } = schedule;
    let lease = Span(*lease);
    write!(
        f,
        "switchboard-sim 1  seed {seed:#x}  instances {instances}  lease {lease}"
    )?;
    if let Some(reconnect) = reconnect {
        write!(f, "  reconnect {}", Span(*reconnect))?;
    }
    if let Some(policy) = tight {
        write!(f, "  tight {}", name_of(POLICIES, policy))?;
    }
    if let Some(remembers) = remembers {
        write!(f, "  remembers {remembers}")?;
    }
    if let Some(rate) = broadcast_rate {
        write!(f, "  broadcast-rate {rate}")?;
    }
    if let Some(records) = records {
        write!(f, "  log-records {records}")?;
    }
    if let Some(age) = age {
        write!(f, "  log-age {}", Span(*age))?;
    }
    if let Some(check) = check {
        write!(f, "  log-check {}", Span(*check))?;
    }
    if let Some(flaw) = flaw {
        write!(f, "  flaw {}", flaw_name(*flaw))?;
    }
    writeln!(f)?;
    for item in items {
        writeln!(f, "{}  {}", Span(item.at), item.act)?;
    }
    if let Some(Expected { checker, by }) = expects {
        writeln!(f, "expect violation {checker} by {}", Span(*by))?;
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
    for (index, [name, value]) in pairs.iter().enumerate() {
        if pairs[..index].iter().any(|[other, _]| other == name) {
            return Err(format!("`{name}` is given twice"));
        }
        match *name {
            "seed" => schedule.seed = number(value)?,
            "instances" => schedule.instances = number(value)? as usize,
            "lease" => schedule.lease = span(value)?,
            "reconnect" => schedule.reconnect = Some(span(value)?),
            "tight" => schedule.tight = Some(from_table(POLICIES, value)?),
            "remembers" => schedule.remembers = Some(number32(value)?),
            "broadcast-rate" => schedule.broadcast_rate = Some(number32(value)?),
            "log-records" => schedule.log.records = Some(number32(value)?),
            "log-age" => schedule.log.age = Some(span(value)?),
            "log-check" => schedule.log.check = Some(span(value)?),
            "flaw" => schedule.flaw = Some(from_table(FLAWS, value)?),
            other => {
                let settings = forms::settings();
                return Err(format!("`{other}` is none of the settings {settings}"));
            }
        }
    }
    schedule.check_head()
}

fn expected(schedule: &mut Schedule, words: &[&str]) -> Read<()> {
    let [checker, "by", by] = words else {
        return Err(format!("write `{EXPECTED}`"));
    };
    if schedule.expects.is_some() {
        return Err("one violation can be expected, and there is one already".to_owned());
    }
    let (checker, by) = ((*checker).to_owned(), span(by)?);
    schedule.expects = Some(Expected { checker, by });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_ITEM: &str = "\
switchboard-sim 1  seed 0x5eed  instances 3  lease 10.000s  reconnect 0.100s  tight drop-oldest  remembers 40  broadcast-rate 300  log-records 4  log-age 20.000s  log-check 5.000s
0.500s  client c1 connects i1 as alice
0.500250s  client c2 connects anywhere as bob
0.600s  client c3 connects i2 as bob for 20.000s
1.000s  client c1 closes sudden
1.000s  client c1 moves i2 silent
1.000s  client c1 moves anywhere clean
1.000s  client c1 follows
1.000s  client c1 follows history 5
1.000s  client c1 follows history 5 bringing 3
1.000s  client c1 follows bringing offset
1.000s  client c1 logs in after 0.300s
1.000s  client c1 logs in wrongly after 1.000s
1.000s  client c1 logs in never
1.000s  client c1 prolongs 20.000s
1.000s  client c4 fails i1 as bob
1.000s  client c4 fails anywhere as bob
1.000s  client c4 hangs i1 as bob
1.000s  client c1 forgets 2
1.000s  client c1 claims news,room-*
1.000s  client c1 joins room-1
1.000s  client c1 leaves room-1
1.000s  client c1 sends 3 messages
1.000s  client c1 sends 3 unwanted
1.000s  client c1 sends malformed
1.000s  client c1 sends oversized
1.000s  client c1 sends not-utf8
1.000s  client c2 stops reading
1.100s  client c2 reads
1.200s  client c2 reads every 0.200s
1.300s  storm i1
1.300s  storm everywhere
1.400s  balancer blind 5.000s
2.000s  push i2 alice m1
2.000s  push i2 alice,bob m2
2.000s  push i3 everyone m3
2.000s  push i1 topics news m6
2.000s  push i1 topics news,room-1 except c1 m7
2.000s  join i1 alice news j1
2.000s  leave i2 alice news j2 durable
2.000s  push i1 alice m4 durable
2.000s  push i1 alice m8 within 0.300s
2.000s  push i1 alice m9 durable confirmed within 0.300s
2.000s  push i1 topics news m10 durable published
2.000s  push i1 topics news m11 published within 0.300s
2.000s  push i1 alice,bob m5 durable
2.000s  push i1 alice m6 durable confirmed
2.000s  client c1 confirms
2.000s  client c1 confirms 3
2.000s  log i1 alice
2.000s  delete-log i1 alice
2.100s  repeat i1 m1
2.200s  kick i1 alice k1
2.200s  where i1 alice
2.200s  instances i2
2.300s  clock i1 +30.000s
2.300s  clock i1 -30.000s
3.000s  pause i1 25.000s
3.000s  kill i2
3.000s  kill i3 silent
3.000s  kill i3 after 3 commands
3.000s  kill i3 silent after 0 commands
4.000s  restart i2
4.000s  restart i3 new-address
4.000s  restart i3 address-of i2
5.000s  drain i1 1.000s 5.000s
5.000s  deploy 0.500s 2.000s 4.000s
6.000s  redis down
6.000s  redis up
6.000s  redis restart-empty
6.000s  redis saves
6.000s  redis restart
6.000s  redis failover 0.200s
6.000s  redis failover 0.200s former 2.000s
6.000s  redis evicts rows alice
6.000s  redis evicts log alice
6.000s  redis evicts topic news
6.000s  redis evicts leases
6.000s  redis clock +3.000s
6.000s  redis clock -0.250s
6.000s  redis flushes-scripts
6.000s  redis refuses READONLY 2.000s
6.000s  redis latency 0.050s
6.000s  redis refuses CLUSTERDOWN 0.500s
6.000s  redis i1 away 20.000s
6.000s  redis i1 refused MISCONF 20.000s
6.000s  redis i1 next register reply-lost
6.000s  redis i1 next renew reply-late
6.000s  redis i1 next lookup refused MOVED
6.000s  redis i1 next any refused OOM
7.000s  cut i1 -> i2
7.000s  cut i1 <-> i2
7.000s  clog i1 -> i2
7.000s  mend i1 <-> i2
7.000s  half-open i1 -> i2
7.000s  half-open i1 <-> i2
7.000s  refuse i1 -> i2 2.000s
7.000s  reset i1 <-> i2
7.000s  peer i1 -> i2 answers-twice 5.000s
7.000s  peer i2 -> i1 is-late 5.000s
7.000s  stranger i1 nonsense
7.000s  stranger i1 misdirects i2
7.000s  stranger i1 replays i2
7.000s  stranger i1 skips-proof i2
7.000s  stranger i1 poses-as i2
7.000s  links latency 0.100s
7.500s  on lookup of m1 after 0.000050s client c1 moves i3 sudden
7.500s  on register of c1 kill i1
7.500s  on joined of c1 push i2 topics news m8
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
    fn a_flaw_is_printed_as_it_was_read() {
        for (name, flaw) in FLAWS {
            let text =
                format!("switchboard-sim 1  seed 0x1  instances 2  lease 4.000s  flaw {name}\n");
            assert_eq!(parse(&text).unwrap().flaw, Some(*flaw));
            assert_eq!(parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_expected_violation_is_printed_as_it_was_read() {
        let text = "\
switchboard-sim 1  seed 0x1  instances 2  lease 4.000s
1.000s  heal
expect violation orphan-debt by 20.000s
";
        let schedule = parse(text).unwrap();
        assert_eq!(schedule.end(), Duration::from_secs(20));
        assert_eq!(schedule.to_string(), text);
    }

    #[test]
    fn an_error_names_its_line() {
        let error = parse("switchboard-sim 1 seed 1 instances 2\n\n1s pause i3 4s\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3: `i3` is none of i1 to i2");
        let error = parse("switchboard-sim 1 seed 1 instances 2\n1s dance\n").unwrap_err();
        assert_eq!(error.line, 2);
        assert_eq!(parse("").unwrap_err().line, 1);
    }

    #[test]
    fn an_error_says_what_is_allowed() {
        for (item, allowed) in [
            ("client c1 closes soon", "clean, sudden, silent"),
            (
                "client c1 sends love",
                "N messages, N unwanted, malformed, oversized, not-utf8",
            ),
            ("client c1 dances", "`client NAME moves i1|anywhere HOW`"),
            ("client c1 connects i1 as a until 3s", "as USER [for TIME]`"),
            (
                "client c1 sends 100001 messages",
                "100000 messages at once at most",
            ),
            ("client c1 reads every 0s", "every 1ms at the most often"),
            ("links latency 3600.1s", "an hour at most"),
            ("redis latency 999999999s", "an hour at most"),
            (
                "client c1 connects i1 as everyone",
                "stands for all of them",
            ),
            (
                "push i1 alice",
                "`push i1 USER[,USER...]|everyone NAME [durable [confirmed]] [published] [within TIME]`",
            ),
            ("push i1 alice m1 within 4s", "within 10ms to 3s"),
            ("push i1 , m2", "the user id is empty"),
            ("push i1 everyone,a m2", "stands for all of them"),
            ("push i1 topics a* m2", "is not one topic"),
            ("kick i1 topics a k2", "terminals of users are kicked"),
            ("join i1 alice news", "`join i1 USER TOPIC NAME [durable]`"),
            ("push i1 alice bob m1", "alice,bob"),
            ("cut i1 -> i1", "no link to itself"),
            ("redis i1 next register refused", "`refused ERROR`"),
            ("redis i1 next register soon", "`refused ERROR`"),
            ("on friday of m1 heal", "accept, register, hello"),
            ("on lookup m1", "`on MOMENT of NAME [after TIME] ITEM`"),
            ("kill i1 later", "`kill i1 [silent] [after N commands]`"),
            ("clock i1 30s", "`clock i1 +TIME` or `clock i1 -TIME`"),
            ("dance", "client, clients, push"),
            (
                "half-open i1 i2",
                "`half-open i1 -> i2` or `half-open i1 <-> i2`",
            ),
            ("redis explodes", "`redis down` or `redis up` or"),
        ] {
            let text = format!("switchboard-sim 1 seed 1 instances 2\n1s {item}\n");
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(allowed), "{item}: {error}");
        }
    }

    #[test]
    fn what_is_given_twice_or_unknown_is_an_error() {
        let long = format!("1s push i1 {} m1", "u".repeat(129));
        for (head, line, problem) in [
            ("lease 4s", "1s heal", "line 1: `lease` is given twice"),
            (
                "flaw nope",
                "1s heal",
                "`nope` is none of unregister-by-user, ",
            ),
            ("tight close", &long, "the user id has 129 bytes"),
            (
                "tight close",
                "expect violation order",
                "write `expect violation CHECKER by TIME`",
            ),
            (
                "tight close",
                "expect violation order by 4s\nexpect violation order by 4s",
                "line 3: one violation can be expected",
            ),
        ] {
            let text = format!("switchboard-sim 1 seed 1 instances 2 lease 10s {head}\n{line}\n");
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    /// The forms that are printed are those that are read.
    #[test]
    fn every_form_can_be_read() {
        let mut text = String::from("switchboard-sim 1 seed 1 instances 2\n");
        let grammar = Schedule::grammar();
        let forms = (grammar.lines()).filter_map(|line| line.strip_prefix("TIME "));
        for line in forms.filter(|line| !line.starts_with(' ')) {
            let line = (line.replace("i1|anywhere", "i1"))
                .replace("USER[,USER...]|everyone", "alice,bob")
                .replace("[new-address|address-of i2]", "address-of i2")
                .replace(['[', ']'], "");
            let word = |word: &str| match word {
                "TIME" | "DELAY" | "SPREAD" | "DEADLINE" => "1s".to_owned(),
                "+TIME" => "+1s".to_owned(),
                "-TIME" => "-1s".to_owned(),
                "HOW" => "clean".to_owned(),
                "SENT" => "malformed".to_owned(),
                "LIE" => "is-late".to_owned(),
                "N" => "3".to_owned(),
                "MOMENT" => "hello".to_owned(),
                "OPERATION" => "lookup".to_owned(),
                "FAULT" => "late".to_owned(),
                "ERROR" | "WRITE-ERROR" => "OOM".to_owned(),
                "ITEM" => "heal".to_owned(),
                other => other.to_lowercase(),
            };
            let line: Vec<String> = line.split(' ').map(word).collect();
            text += &format!("1s {}\n", line.join(" "));
        }
        let schedule = parse(&text).unwrap();
        assert!(schedule.items.len() > 40, "{text}");
    }
}
