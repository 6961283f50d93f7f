//! A server is killed: how long pushes to a topic name it, and when they do not.

use std::time::{Duration, Instant};

use switchboard_tests::http::Request;
use switchboard_tests::measure::{Crowd, Says, Testbed};
use switchboard_tests::patience::eventually;

const MEMBERS: usize = 20_000;
const APART: Duration = Duration::from_micros(400);

pub(crate) fn measure(mut place: Testbed) {
    println!(
        "a server with {} of {MEMBERS} members is killed:",
        MEMBERS / 2
    );
    let crowd = Crowd::new(&place);
    let queries = (0..MEMBERS).map(|user| format!("user=user-{user}"));
    crowd.connect_saying(queries.collect(), APART, |_| Says::Joins("all".to_owned()));
    let before = push(&place);
    assert_eq!(before, (false, MEMBERS as u64));
    let killed = Instant::now();
    place.servers[1].sigkill();
    let (mut degraded, mut pushes) = (0, 0);
    eventually("a receipt is not degraded", || {
        let (is_degraded, written) = push(&place);
        pushes += 1;
        degraded += u64::from(is_degraded);
        assert!(
            written >= MEMBERS as u64 / 2,
            "members of the other server are missed"
        );
        !is_degraded
    });
    println!(
        "  {degraded} of {pushes} receipts were degraded, for {:.1} s; none missed a member of the other server",
        killed.elapsed().as_secs_f64()
    );
    let left: Vec<String> = place.redis.command(&["KEYS", "*}t:all"]);
    let rows: u64 = left
        .iter()
        .map(|key| place.redis.command::<u64>(&["HLEN", key]))
        .sum();
    println!("  the topic has {rows} row in Redis");
}

/// Whether a receipt is degraded, and how many members it says were written to.
fn push(place: &Testbed) -> (bool, u64) {
    let request = Request::new("POST", "/v1/topics/all/push").body("x");
    let receipt = place.servers[0]
        .api()
        .receipt(request.query("deadline", "3s"));
    (receipt.degraded, receipt.written)
}
