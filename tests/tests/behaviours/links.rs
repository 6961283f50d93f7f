//! Links between servers, and what else comes to their listener.

use switchboard_tests::api::push;
use switchboard_tests::behaviour::{Behaviour, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::http::Request;
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::{SILENCE, eventually};
use switchboard_tests::sockets::connections_at;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        PROCESSES,
        pushes_open_no_further_connections_between_servers
    ),
    (ONE.in_redis(), the_peers_port_refuses_strangers),
    (
        PROCESSES,
        a_push_that_is_too_large_for_another_server_costs_nobody_anything
    ),
    (
        PROCESSES,
        first_pushes_in_all_directions_at_once_are_delivered_once
    ),
];

/// H44, H47: a thousand pushes use the link that is there; no port is used up.
fn pushes_open_no_further_connections_between_servers(cell: Cell) {
    const PUSHES: usize = 1000;
    let cluster = cell.start(2);
    let terminals = [
        cluster[0].terminal("ann").follow(),
        cluster[1].terminal("ann").follow(),
    ];
    let at_peers = || {
        cluster
            .servers()
            .iter()
            .map(|s| connections_at(s.peer().port()))
            .sum::<usize>()
    };
    for server in cluster.servers() {
        server.api().push("ann", "warm").expect_written(2);
    }
    eventually("one link is left, if both dialled", || at_peers() <= 2);
    let before = at_peers();

    let mut publishers = [cluster[0].api().publisher(), cluster[1].api().publisher()];
    for n in 0..PUSHES {
        publishers[n % 2]
            .push("ann", &n.to_string())
            .expect_written(2);
    }

    assert_eq!(at_peers(), before);
    for terminal in &terminals {
        terminal.await_frames(PUSHES + 2);
    }
}

/// H03, H34: the peers' port serves members of the cluster and nobody else.
fn the_peers_port_refuses_strangers(cell: Cell) {
    let cluster = cell.start(1);
    let mut terminal = cluster[0].terminal("ann");
    let api = switchboard_tests::api::Api::new(cluster[0].peer());
    let instance = cluster[0].api().instances()[0].instance.clone();
    let upgrade = |target: String| {
        Request::new("GET", target)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let cases = [
        (404, Request::new("GET", "/")),
        (404, Request::new("POST", "/v1/users/ann/push").body("x")),
        (404, upgrade("/connect?user=ann".to_owned())),
        (421, upgrade("/link/0000000000000001".to_owned())),
    ];
    for (status, request) in cases {
        let response = api.send(request.clone());
        assert_eq!(response.status, status, "{request:?}: {}", response.text());
    }
    let malformed = api.send(upgrade("/link/nonsense".to_owned()));
    assert!(
        (400..500).contains(&malformed.status),
        "{}",
        malformed.text()
    );

    // Somebody who knows the id, and not the secret.
    let mut stranger =
        switchboard_tests::terminal::Connect::at(cluster[0].peer(), &format!("/link/{instance}"))
            .raw();
    for garbage in [&b"let me in"[..], &[0; 64], &[0xFF; 200]] {
        let _ = stranger.send(switchboard_tests::raw::opcode::BINARY, garbage);
    }
    assert!(stranger.has_ended(), "it is let go");
    assert!(cluster[0].api().metric("switchboard_peers_refused_total") >= 1.0);

    terminal.expect_silence(SILENCE);
    cluster[0]
        .api()
        .push("ann", "all is well")
        .expect_written(1);
    terminal.expect_text("all is well");
}

/// H43: all sides dial at the same instant: one link of each pair stays, and nothing is lost,
/// doubled or called unreachable meanwhile.
fn first_pushes_in_all_directions_at_once_are_delivered_once(cell: Cell) {
    const ROUNDS: usize = 5;
    const PUBLISHERS: usize = 3;
    for _ in 0..ROUNDS {
        let cluster = cell.start(3);
        let terminals: Vec<_> = (0..3)
            .map(|i| cluster[i].terminal("ann").follow())
            .collect();

        std::thread::scope(|scope| {
            for server in cluster.servers() {
                for _ in 0..PUBLISHERS {
                    scope.spawn(|| server.api().push("ann", "to all").expect_written(3));
                }
            }
        });

        for terminal in terminals {
            terminal.await_frames(3 * PUBLISHERS);
            let mut terminal = terminal.stop();
            terminal.expect_silence(SILENCE / 3);
        }
    }
}

/// H25: servers with other limits say so by name, and what never fits is told so: neither terminal nor
/// link is closed for it.
fn a_push_that_is_too_large_for_another_server_costs_nobody_anything(cell: Cell) {
    const LARGE: usize = 6 << 20;
    let mut cluster = cell.start_with(1, |s| {
        s.with("push_bytes", 8 << 20).with("queue_bytes", 16 << 20)
    });
    cluster.add(|s| {
        s.with("push_bytes", 1 << 20)
            .with("queue_bytes", 4 << 20)
            .with("link_queue_bytes", 2 << 20)
    });
    let here = cluster[0].terminal("ann").follow();
    let there = cluster[1].terminal("ann").follow();
    let api = cluster[0].api();

    for request in [
        push("ann", "x".repeat(LARGE)),
        Request::new("POST", "/v1/broadcast").body("x".repeat(LARGE)),
    ] {
        let receipt = api.receipt(request);
        assert_eq!(
            (receipt.written, receipt.queued, receipt.failed),
            (1, 0, 1),
            "{receipt:?}"
        );
        let told = receipt
            .terminals
            .iter()
            .map(|terminal| terminal.outcome.as_str());
        assert!(
            told.clone().count() == 0 || told.clone().any(|outcome| outcome == "too_large"),
            "{receipt:?}"
        );
    }
    api.push("ann", "all is well").expect_written(2);

    here.await_frames(3);
    there.await_frames(1);
    assert_eq!(there.texts(), ["all is well"]);
    for server in cluster.servers() {
        let failed = server.api().metric("switchboard_links_failed_total");
        let differ = server.api().metric("switchboard_peers_differ_total");
        assert!(failed == 0.0 && differ >= 1.0, "{failed} {differ}");
        server.await_log("push_bytes is ");
        server.await_log("queue_bytes is ");
    }
}
