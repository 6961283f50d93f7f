//! Memory of idle terminals at the servers, and of users in Redis.

use std::thread;
use std::time::Duration;

use serde_json::json;
use switchboard_tests::adapter::Adapter;
use switchboard_tests::api::{json_post, push};
use switchboard_tests::measure::{Crowd, ONE_BY_ONE, Testbed};

/// Records that a follower is sent before its memory is read again.
const RECORDS: usize = 4;
/// For how long repeats of pushes are told, which takes memory as well.
const REPEATS: Duration = Duration::from_secs(10);

/// What a log and who follows it cost.
pub(crate) struct MemoryCost {
    /// Bytes of an idle follower beside those of a plain terminal.
    pub(crate) more: i64,
    /// Bytes in Redis of a user with one record of 200 B.
    pub(crate) in_redis: u64,
}

pub(crate) fn measure(adapter: Adapter, terminals: usize) -> MemoryCost {
    println!("resident memory of both servers for an idle terminal, of {terminals}:");
    let plain = idle(adapter, terminals, ("", "false"));
    let follower = idle(adapter, terminals, ("&log=1", "true"));
    println!(
        "  idle            plain {} B, follower {} B: {:+} B",
        plain.0,
        follower.0,
        follower.0 - plain.0
    );
    println!(
        "  {RECORDS} more pushes   plain {:+} B, follower, to which they are records, {:+} B",
        plain.1, follower.1
    );
    MemoryCost {
        more: follower.0 - plain.0,
        in_redis: in_redis(&Testbed::start(adapter)),
    }
}

/// What each of so many terminals adds to servers that have had some already, and then pushes to it that are durable or
/// not, when all that passes is forgotten. Plain pushes have been before, for which servers have made room.
fn idle(adapter: Adapter, terminals: usize, (query, durable): (&str, &str)) -> (i64, i64) {
    let place = Testbed::start_with(adapter, |settings| {
        settings.with("repeat_memory", format!("{}s", REPEATS.as_secs()))
    });
    let crowd = Crowd::new(&place);
    let queries = |from: usize, to: usize| {
        let users = from..to;
        users
            .map(|user| format!("user=user-{user}{query}"))
            .collect()
    };
    // Those that come first pay for tables and threads.
    let all = terminals + terminals / 10;
    crowd.connect(queries(0, terminals / 10), ONE_BY_ONE);
    let before = place.settled_memory();
    crowd.connect(queries(terminals / 10, all), ONE_BY_ONE);
    let idle = place.settled_memory();
    let pushed = |durable: &str| {
        // A record is announced by a frame of its own.
        let frames = if durable == "true" { 2 } else { 1 };
        let texts = crowd.texts();
        for _ in 0..RECORDS {
            push_to_all(&place, all, durable);
        }
        crowd.await_texts(texts + RECORDS * frames * all);
        thread::sleep(REPEATS * 3);
        place.settled_memory()
    };
    let plain = pushed("false");
    let later = pushed(durable);
    let each = |from: u64, to: u64, by: usize| (to as i64 - from as i64) / by as i64;
    (each(before, idle, terminals), each(plain, later, all))
}

/// A push to each of these users.
fn push_to_all(place: &Testbed, users: usize, durable: &str) {
    const AT_ONCE: usize = 100;
    let names: Vec<_> = (0..users).map(|user| format!("user-{user}")).collect();
    for names in names.chunks(AT_ONCE) {
        let request = json_post("/v1/push", &json!({"users": names, "text": "x"}));
        let request = request.query("durable", durable).query("deadline", "30s");
        place.servers[0].api().receipt(request);
    }
}

/// What Redis keeps of one user. Returns that of one with one record of 200 B.
fn in_redis(place: &Testbed) -> u64 {
    println!("bytes in Redis for a user, keys and all:");
    let crowd = Crowd::new(place);
    crowd.connect(
        vec!["user=plain".to_owned(), "user=follows&log=1".to_owned()],
        ONE_BY_ONE,
    );
    for user in ["plain", "pushed"] {
        place.servers[0].api().push(user, "hello");
    }
    let request = push("logged", vec![b'x'; 200]).query("durable", "true");
    place.servers[0].api().receipt(request);
    let mut with_a_record = 0;
    for (user, what) in [
        ("pushed", "nobody is connected, no log"),
        ("plain", "one terminal, no log"),
        ("follows", "one terminal that follows, no record"),
        ("logged", "nobody is connected, one record of 200 B"),
    ] {
        let [rows, meta, records, pushes] =
            ["u", "m", "h", "d"].map(|key| place.key_bytes(&format!("sb:{{p*}}{key}:{user}")));
        let all = rows + meta + records + pushes;
        println!(
            "  {what:<42}{all} (rows {rows}, position {meta}, records {records}, ids of pushes {pushes})"
        );
        if user == "logged" {
            with_a_record = all;
        }
    }
    assert!(
        with_a_record > 200,
        "the record of {with_a_record} B was not found"
    );
    with_a_record
}
