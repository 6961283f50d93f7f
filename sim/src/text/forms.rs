//! How each item looks: what an error says, and what is printed for the writer of a schedule.

use std::fmt::Write as _;

use super::redis::{ERRORS, OPERATIONS, TRIP_FAULTS, WRITE_ERRORS};
use super::words::{FLAWS, HOW_CLOSED, LIES, MOMENTS, POLICIES, SENT, names};

/// The forms of the first line's settings.
pub(super) const SETTINGS: &[&str] = &[
    "seed NUMBER",
    "instances NUMBER",
    "lease TIME",
    "reconnect TIME",
    "tight POLICY",
    "remembers N",
    "broadcast-rate N",
    "log-records N",
    "log-age TIME",
    "log-check TIME",
    "flaw FLAW",
];

/// The forms of items, by the word with which they begin.
const ITEMS: &[(&str, &[&str])] = &[
    (
        "client",
        &[
            "client NAME connects i1|anywhere as USER [for TIME]",
            "client NAME moves i1|anywhere HOW",
            "client NAME closes HOW",
            "client NAME follows [history N] [bringing N]",
            "client NAME follows [history N] bringing offset",
            "client NAME logs in after TIME",
            "client NAME logs in wrongly after TIME",
            "client NAME logs in never",
            "client NAME prolongs TIME",
            "client NAME fails i1|anywhere as USER",
            "client NAME hangs i1|anywhere as USER",
            "client NAME forgets N",
            "client NAME confirms [N]",
            "client NAME claims TOPIC[,TOPIC...]",
            "client NAME confirms N of TOPIC",
            "client NAME joins TOPIC [log]",
            "client NAME joins TOPIC history N",
            "client NAME watches TOPIC",
            "client NAME leaves TOPIC",
            "client NAME sends N messages",
            "client NAME sends N unwanted",
            "client NAME sends SENT",
            "client NAME stops reading",
            "client NAME reads [every TIME]",
        ],
    ),
    ("clients", &["clients leave"]),
    (
        "push",
        &[
            "push i1 USER[,USER...]|everyone NAME [durable [confirmed]] [published] [within TIME]",
            "push i1 topics TOPIC[,TOPIC...] [except NAME] NAME [durable [confirmed]] [published] [within TIME]",
        ],
    ),
    ("join", &["join i1 USER TOPIC NAME [durable]"]),
    ("leave", &["leave i1 USER TOPIC NAME [durable]"]),
    ("repeat", &["repeat i1 NAME"]),
    ("kick", &["kick i1 USER[,USER...]|everyone NAME"]),
    ("where", &["where i1 USER"]),
    ("log", &["log i1 USER", "log i1 of TOPIC"]),
    (
        "delete-log",
        &["delete-log i1 USER", "delete-log i1 of TOPIC"],
    ),
    ("instances", &["instances i1"]),
    ("storm", &["storm i1", "storm everywhere"]),
    ("balancer", &["balancer blind TIME"]),
    ("pause", &["pause i1 TIME"]),
    ("kill", &["kill i1 [silent] [after N commands]"]),
    ("restart", &["restart i1 [new-address|address-of i2]"]),
    ("drain", &["drain i1 DELAY SPREAD"]),
    ("deploy", &["deploy DELAY SPREAD DEADLINE"]),
    ("clock", &["clock i1 +TIME", "clock i1 -TIME"]),
    (
        "redis",
        &[
            "redis down",
            "redis up",
            "redis restart-empty",
            "redis saves",
            "redis restart",
            "redis failover TIME [former TIME]",
            "redis evicts rows USER",
            "redis evicts log USER",
            "redis evicts log of TOPIC",
            "redis evicts topic TOPIC",
            "redis evicts leases",
            "redis clock +TIME",
            "redis clock -TIME",
            "redis flushes-scripts",
            "redis refuses ERROR TIME",
            "redis latency TIME",
            "redis i1 away TIME",
            "redis i1 refused WRITE-ERROR TIME",
            "redis i1 next OPERATION FAULT",
            "redis i1 next OPERATION refused ERROR",
        ],
    ),
    ("cut", &["cut i1 -> i2", "cut i1 <-> i2"]),
    ("clog", &["clog i1 -> i2", "clog i1 <-> i2"]),
    ("mend", &["mend i1 -> i2", "mend i1 <-> i2"]),
    ("half-open", &["half-open i1 -> i2", "half-open i1 <-> i2"]),
    ("refuse", &["refuse i1 -> i2 TIME"]),
    ("reset", &["reset i1 <-> i2"]),
    (
        "stranger",
        &[
            "stranger i1 nonsense",
            "stranger i1 misdirects i2",
            "stranger i1 replays i2",
            "stranger i1 skips-proof i2",
            "stranger i1 poses-as i2",
        ],
    ),
    ("peer", &["peer i1 -> i2 LIE TIME"]),
    ("links", &["links latency TIME"]),
    ("on", &["on MOMENT of NAME [after TIME] ITEM"]),
    ("heal", &["heal"]),
    ("expect", &["expect converged", "expect at-rest"]),
];

/// An expectation of the whole schedule: a line without a time of its own.
pub(super) const EXPECTED: &str = "expect violation CHECKER by TIME";

/// What an item can begin with.
pub(super) fn first_words() -> String {
    names(ITEMS)
}

/// How an item looks that begins with this word. What does not begin like any form is no item.
pub(super) fn forms(first: &str) -> Option<String> {
    let (_, forms) = ITEMS.iter().find(|(word, _)| *word == first)?;
    let forms: Vec<_> = forms.iter().map(|form| format!("`{form}`")).collect();
    Some(forms.join(" or "))
}

/// The words of settings, without what follows on them.
pub(super) fn settings() -> String {
    let words = SETTINGS.iter().filter_map(|form| form.split(' ').next());
    words.collect::<Vec<_>>().join(", ")
}

/// All forms, and what can stand for the words in capitals.
pub(super) fn grammar() -> String {
    let mut text = String::from(
        "A schedule is one line of settings and then one timed item a line; `#` begins a comment.\n\n",
    );
    let settings = SETTINGS.join("] [");
    let _ = writeln!(text, "switchboard-sim 1 [{settings}]");
    for (_, forms) in ITEMS {
        for form in *forms {
            let _ = writeln!(text, "TIME {form}");
        }
    }
    let _ = writeln!(text, "{EXPECTED}\n");
    for (word, what) in [
        (
            "TIME",
            "3.000s or 250ms, from the start or as a span; so are DELAY, SPREAD and DEADLINE"
                .to_owned(),
        ),
        ("i1", "an instance, numbered from 1".to_owned()),
        ("NUMBER, N", "a number; NUMBER also as 0x5eed".to_owned()),
        ("NAME", "a client's or a push's, one word".to_owned()),
        ("USER", "one word without a comma".to_owned()),
        (
            "TOPIC",
            "one word without a comma; in a claim also its beginning and a `*`".to_owned(),
        ),
        ("HOW", names(HOW_CLOSED)),
        ("SENT", names(SENT)),
        ("LIE", names(LIES)),
        ("MOMENT", names(MOMENTS)),
        ("OPERATION", names(OPERATIONS)),
        ("FAULT", names(TRIP_FAULTS)),
        ("ERROR", names(ERRORS)),
        ("WRITE-ERROR", names(WRITE_ERRORS)),
        ("POLICY", names(POLICIES)),
        ("FLAW", names(FLAWS)),
        ("CHECKER", "the name of a checker, or no-panic".to_owned()),
    ] {
        let _ = writeln!(text, "{word:<10} {what}");
    }
    text
}
