//! Memory of idle terminals at the servers, and of users in Redis.

use switchboard_tests::adapter::Adapter;
use switchboard_tests::api::push;
use switchboard_tests::measure::{Crowd, ONE_BY_ONE, Testbed};

pub(crate) fn measure(adapter: Adapter, terminals: usize) {
    println!("resident memory of both servers for an idle terminal, of {terminals}:");
    let plain = idle(adapter, terminals, "");
    let follower = idle(adapter, terminals, "&log=1");
    println!("  plain     {plain} B");
    println!("  follower  {follower} B, {:+} B", follower - plain);
    in_redis(&Testbed::start(adapter));
}

/// What each of so many terminals adds to servers that have had some already.
fn idle(adapter: Adapter, terminals: usize, query: &str) -> i64 {
    let place = Testbed::start(adapter);
    let crowd = Crowd::new(&place);
    let queries = |from: usize, to: usize| {
        let users = from..to;
        users
            .map(|user| format!("user=user-{user}{query}"))
            .collect()
    };
    // Those that come first pay for tables and threads.
    crowd.connect(queries(0, terminals / 10), ONE_BY_ONE);
    let before = place.settled_memory();
    crowd.connect(
        queries(terminals / 10, terminals + terminals / 10),
        ONE_BY_ONE,
    );
    let after = place.settled_memory();
    (after as i64 - before as i64) / terminals as i64
}

/// What Redis keeps of one user.
fn in_redis(place: &Testbed) {
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
    for (user, what) in [
        ("pushed", "nobody is connected, no log"),
        ("plain", "one terminal, no log"),
        ("follows", "one terminal that follows, no record"),
        ("logged", "nobody is connected, one record of 200 B"),
    ] {
        let [rows, meta, records, pushes] =
            ["u", "m", "h", "d"].map(|key| place.key_bytes(&format!("sb:{{p*}}{key}:{user}")));
        println!(
            "  {what:<42}{} (rows {rows}, position {meta}, records {records}, ids of pushes {pushes})",
            rows + meta + records + pushes
        );
    }
}
