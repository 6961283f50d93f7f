//! What a client of Centrifuge says whose connection carries nothing to the server: it says it on others, at any server.

use std::net::SocketAddr;

use serde_json::{Value, json};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::centrifuge::Encoding;
use switchboard_tests::centrifuge::listener::{Listener, SESSION, answered};
use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::{Request, Response};
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;
use switchboard_tests::server::Server;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        what_a_client_says_is_heard_at_any_server_in_its_order
    ),
    (INSTANCES, a_client_lives_by_requests_at_a_third_server),
    (INSTANCES, nobody_speaks_for_another_session),
    (PROCESSES, a_session_ends_with_its_server),
    (PROCESSES, a_server_that_does_not_answer_is_not_waited_for),
    (INSTANCES, more_than_is_served_is_refused),
    (
        ONE,
        commands_are_taken_from_pages_that_may_connect_and_up_to_a_size
    ),
];

fn open(server: &Server) -> Listener {
    Listener::open(server, Encoding::Json, "ann")
}

fn post(at: SocketAddr, body: &Value) -> Response {
    answered(at, &Request::new("POST", SESSION).body(body.to_string()))
}

/// A command that is answered.
fn stats(id: u64) -> Value {
    json!({"id": id, "presence_stats": {"channel": "#ann"}})
}

fn start(cell: Cell, servers: usize) -> Cluster {
    cell.start_with(servers, |settings| settings.with("frame_bytes", 16 << 10))
}

fn what_a_client_says_is_heard_at_any_server_in_its_order(cell: Cell) {
    let cluster = start(cell, 3);
    for encoding in Encoding::ALL {
        for home in 0..3 {
            let mut listener = Listener::open(&cluster[home], encoding, "ann");
            for id in 2..20 {
                let at = cluster[id as usize % 3].terminals();
                let response = answered(at, &listener.says(&[stats(id)]));
                assert_eq!(response.status, 204, "{}", response.text());
            }
            // One after the other: whoever finds the last has read past the others.
            for id in 2..20 {
                listener.reply(id);
            }
        }
    }
}

/// A client's own server, the one that its pushes come by, and one that has to do with neither.
fn a_client_lives_by_requests_at_a_third_server(cell: Cell) {
    let cluster = cell.start_with(3, |s| {
        s.with("namespaces", vec!["room:=subscribe+publish+history"])
    });
    for encoding in Encoding::ALL {
        let channel = format!("room:{encoding:?}");
        let mut ann = Listener::open(&cluster[0], encoding, "ann");
        let mut bob = Listener::open(&cluster[1], encoding, "bob");
        let third = cluster[2].terminals();
        for listener in [&mut ann, &mut bob] {
            let subscribe = json!({"id": 2, "subscribe": {"channel": &channel}});
            let response = answered(third, &listener.says(&[subscribe]));
            assert_eq!(response.status, 204, "{}", response.text());
            let subscribed = listener.reply(2);
            assert_eq!(subscribed["subscribe"]["recoverable"], true, "{subscribed}");
        }
        let text = json!({"text": "hello"});
        let publish = json!({"id": 3, "publish": {"channel": &channel, "data": &text}});
        let unsubscribe = json!({"id": 4, "unsubscribe": {"channel": &channel}});
        let commands = [publish, unsubscribe];
        assert_eq!(answered(third, &ann.says(&commands)).status, 204);
        assert_eq!(bob.publication(&channel)["data"], text);
        assert!(ann.reply(3)["publish"].is_object());
        assert!(ann.reply(4)["unsubscribe"].is_object());
        let history = json!({"id": 3, "history": {"channel": &channel, "limit": 10}});
        assert_eq!(answered(third, &bob.says(&[history])).status, 204);
        let history = bob.reply(3);
        assert_eq!(
            history["history"]["publications"][0]["data"], text,
            "{history}"
        );
    }
}

/// H01: a session is a secret of its client, and is that of one server.
fn nobody_speaks_for_another_session(cell: Cell) {
    let cluster = start(cell, 2);
    let [listener, other] = [0, 1].map(|at| open(&cluster[at]));
    let (session, node) = (&listener.session, &listener.node);
    let changed = |at: usize| {
        let mut forged = session.clone();
        let digit = if &session[at..=at] == "0" { "1" } else { "0" };
        forged.replace_range(at..=at, digit);
        forged
    };
    let mut foreign = vec![
        (changed(0), node.clone()),
        (changed(session.len() - 1), node.clone()),
        (String::new(), node.clone()),
        (session.clone(), "0000000000000007".to_owned()),
    ];
    if other.node != *node {
        foreign.push((session.clone(), other.node.clone()));
    }
    for server in cluster.servers() {
        for (session, node) in &foreign {
            let body = json!({"session": session, "node": node, "data": stats(2).to_string()});
            post(server.terminals(), &body).expect_error(404, "not_found");
        }
        let nobody = json!({"session": session, "node": "here", "data": stats(2).to_string()});
        post(server.terminals(), &nobody).expect_error(400, "bad_request");
    }
}

/// H32: and nobody else at its address is told what its clients say.
fn a_session_ends_with_its_server(cell: Cell) {
    let mut cluster = start(cell, 2);
    let listener = open(&cluster[0]);
    let (said, address) = (listener.says(&[stats(2)]), cluster[0].peer());
    assert_eq!(answered(cluster[1].terminals(), &said).status, 204);
    cluster[0].sigkill();
    let again = cluster.add(|settings| settings.with("peer", address.to_string()));
    let response = answered(cluster[again].terminals(), &said);
    assert!([404, 503].contains(&response.status), "{}", response.text());
    eventually("there is no such session", || {
        let response = answered(cluster[1].terminals(), &said);
        assert!([404, 503].contains(&response.status), "{}", response.text());
        response.status == 404
    });
    // Commands of clients are none of the peers' port.
    assert_eq!(answered(address, &said).status, 404);
}

fn a_server_that_does_not_answer_is_not_waited_for(cell: Cell) {
    let cluster = start(cell, 2);
    let listener = open(&cluster[0]);
    let said = listener.says(&[stats(2)]);
    assert_eq!(answered(cluster[1].terminals(), &said).status, 204);
    cluster[0].sigstop();
    let response = answered(cluster[1].terminals(), &said);
    cluster[0].sigcont();
    response.expect_error(503, "unavailable");
}

/// H24: a client that does not read its answers is heard no further.
fn more_than_is_served_is_refused(cell: Cell) {
    let cluster = start(cell, 2);
    let listener = open(&cluster[0]);
    let commands: Vec<_> = (2..300)
        .map(|id| json!({"id": id, "unsubscribe": {"channel": "none"}}))
        .collect();
    let said = listener.says(&commands);
    for server in cluster.servers() {
        let refused = (0..2000).find_map(|_| {
            let response = answered(server.terminals(), &said);
            (response.status != 204).then_some(response)
        });
        let refused = refused.expect("there is no end to what waits for it");
        refused.expect_error(503, "unavailable");
    }
}

/// H04, H09.
fn commands_are_taken_from_pages_that_may_connect_and_up_to_a_size(cell: Cell) {
    let cluster = start(cell, 1);
    let at = cluster[0].terminals();
    let mut listener = open(&cluster[0]);
    let large = json!({"id": 2, "presence_stats": {"channel": "#ann", "_": " ".repeat(16 << 10)}});
    answered(at, &listener.says(&[large])).expect_error(413, "too_large");
    let from = |origin: &str| listener.says(&[stats(3)]).header("Origin", origin);
    let foreign = answered(at, &from("https://evil.example.com"));
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    let own = answered(at, &from(&format!("http://{at}")));
    assert_eq!(own.status, 204, "{}", own.text());
    listener.reply(3);
    assert_eq!(answered(at, &Request::new("GET", SESSION)).status, 405);
}
