//! More connections than there is room for: each kind has room of its own.

use std::io::Write;
use std::net::TcpStream;

use switchboard_tests::behaviour::{Behaviour, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::http::{HttpStream, Request};
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;
use switchboard_tests::server::Server;
use switchboard_tests::settings::Settings;
use switchboard_tests::sockets::descriptors;
use switchboard_tests::terminal::{Connect, Terminal};

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        PROCESSES,
        terminals_that_use_up_the_descriptors_leave_room_for_all_else
    ),
    (ONE, callers_that_take_the_whole_api_leave_room_for_health),
    (PROCESSES, strangers_at_the_peers_port_give_way_to_peers),
];

/// Descriptors of a server.
const FILES: u64 = 256;

fn few_files(settings: Settings) -> Settings {
    settings.with_open_files(FILES)
}

/// H08, H54: what is announced is the limit; one more terminal is told so.
fn terminals_that_use_up_the_descriptors_leave_room_for_all_else(cell: Cell) {
    let cluster = cell.start_with(2, few_files);
    let server = &cluster[0];
    let fit = announced(server);
    let mut terminals: Vec<Terminal> = (0..fit).map(|_| server.terminal("ann")).collect();

    let refused = server.connect().user("ann").refused();
    refused.expect_error(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    // Whoever says nothing holds no place of those who do.
    let silent: Vec<_> = (0..FILES)
        .map(|_| TcpStream::connect(server.terminals()).expect("the kernel takes it"))
        .collect();

    for _ in 0..20 {
        server.api().push("bob", "nobody").expect_written(0);
        assert_eq!(server.api().get("/health/live").status, 200);
        assert_eq!(server.api().get("/health/ready").status, 200);
    }
    assert!(server.api().metric("switchboard_connections_dropped_total") >= 1.0);
    assert!(descriptors(server.pid()) < usize::try_from(FILES).expect("a few"));
    let there = u64::try_from(fit).expect("a few");
    cluster[1]
        .api()
        .push("ann", "from elsewhere")
        .expect_written(there);
    drop(silent);
    terminals.pop();
    eventually("there is room for another one", || {
        // It is closed unanswered while those who said nothing are going.
        let answer = server.connect().user("ann").handshake();
        answer.is_ok_and(|(response, ..)| response.status == 101)
    });
}

/// H54: idle connections to the API keep neither probes nor Prometheus out.
fn callers_that_take_the_whole_api_leave_room_for_health(cell: Cell) {
    let cluster = cell.start_with(1, few_files);
    let server = &cluster[0];
    let api = server.api();
    let mut idle = Vec::new();
    let crowded = eventually_some(|| {
        let mut caller = HttpStream::open(server.api().address()).ok()?;
        caller.send(&Request::new("GET", "/v1/instances")).ok()?;
        let answer = caller.receive().ok()?;
        if answer.status == 200 {
            idle.push(caller);
            return None;
        }
        Some(answer)
    });
    crowded.expect_error(503, "overloaded");
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(api.get(path).status, 200, "{path}");
    }
    drop(idle);
    eventually("there is room again", || {
        // A connection beyond all limits is reset.
        let answer = api.try_send(Request::new("GET", "/v1/instances"));
        answer.is_ok_and(|answer| answer.status == 200)
    });
}

/// H03, H10: whoever has proven nothing keeps no peer out, however far it has come.
fn strangers_at_the_peers_port_give_way_to_peers(cell: Cell) {
    // Longer than a push waits.
    let cluster = cell.start_with(2, |s| {
        few_files(s)
            .with("handshake_timeout", "20s")
            .with("link_timeout", "20s")
    });
    let terminal = cluster[0].terminal("ann");
    let instance = cluster[0].api().instances();
    let instance = instance.iter().find(|i| i.this).expect("it is one of them");
    let path = format!("/link/{}", instance.instance);
    let mut strangers = Vec::new();
    for _ in 0..60 {
        let mut silent = TcpStream::connect(cluster[0].peer()).expect("it listens");
        let begun = silent.write_all(b"GET /link/");
        begun.expect("it was taken a moment ago");
        strangers.push(silent);
    }
    let upgraded: Vec<_> = (0..60)
        .map(|_| Connect::at(cluster[0].peer(), &path).raw())
        .collect();

    cluster[1].api().push("ann", "hello").expect_written(1);
    let terminal = terminal.follow();
    terminal.await_frames(1);
    // The link that is proven stays.
    let more: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(cluster[0].peer()).expect("it listens"))
        .collect();
    cluster[1].api().push("ann", "again").expect_written(1);
    assert!(descriptors(cluster[0].pid()) < 200);
    terminal.await_frames(2);
    drop((strangers, upgraded, more));
}

/// How many terminals fit, as it says in its log.
fn announced(server: &Server) -> usize {
    const SAID: &str = " terminals fit";
    server.await_log(SAID);
    let log = server.log();
    let said = log.split_once(SAID).expect("it says how many fit").0;
    let number = said.rsplit(' ').next().expect("a number");
    number.parse().expect("a number")
}

/// Tries until there is something.
fn eventually_some<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually("there is something", || {
        found = attempt();
        found.is_some()
    });
    found.expect("it was found")
}
