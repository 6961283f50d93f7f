//! What a client of Centrifuge says whose connection carries nothing to the server: it says it on others, at any server.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use switchboard_tests::behaviour::{Behaviour, INSTANCES, ONE, PROCESSES};
use switchboard_tests::behaviours;
use switchboard_tests::cluster::Cluster;
use switchboard_tests::http::{HttpStream, Request, Response};
use switchboard_tests::matrix::Cell;
use switchboard_tests::patience::eventually;
use switchboard_tests::server::Server;

pub(crate) const LIST: &[Behaviour] = behaviours![
    (
        INSTANCES,
        what_a_client_says_is_heard_at_any_server_in_its_order
    ),
    (INSTANCES, nobody_speaks_for_another_session),
    (PROCESSES, a_session_ends_with_its_server),
    (PROCESSES, a_server_that_does_not_answer_is_not_waited_for),
    (INSTANCES, more_than_is_served_is_refused),
    (
        ONE,
        commands_are_taken_from_pages_that_may_connect_and_up_to_a_size
    ),
];

const SESSION: &str = "/emulation";

/// A client that is told by an answer that does not end.
struct Listener {
    stream: TcpStream,
    unread: Vec<u8>,
    session: String,
    node: String,
}

impl Listener {
    fn open(server: &Server) -> Self {
        let mut http = HttpStream::open(server.terminals()).expect("it listens");
        let connect = json!({"id": 1, "connect": {}}).to_string();
        let request = Request::new("POST", "/connection/http_stream?user=ann").body(connect);
        http.send(&request).expect("it is open");
        let (stream, unread) = http.into_parts();
        let mut listener = Self {
            stream,
            unread,
            session: String::new(),
            node: String::new(),
        };
        let connected = listener.reply(1)["connect"].take();
        let name = |name: &str| connected[name].as_str().expect("it has one").to_owned();
        (listener.session, listener.node) = (name("session"), name("node"));
        listener
    }

    /// The reply to a command. What else comes is left out.
    fn reply(&mut self, id: u64) -> Value {
        loop {
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                // The head, and what stands between chunks, is no object.
                if let Ok(reply) = serde_json::from_slice::<Value>(&line)
                    && reply["id"] == id
                {
                    return reply;
                }
            }
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes).expect("a reply");
            assert!(read > 0, "it has ended");
            self.unread.extend_from_slice(&bytes[..read]);
        }
    }

    fn says(&self, commands: &str) -> Value {
        json!({"session": self.session, "node": self.node, "data": commands})
    }
}

fn post(at: SocketAddr, body: &Value) -> Response {
    answered(at, Request::new("POST", SESSION).body(body.to_string()))
}

fn answered(at: SocketAddr, request: Request) -> Response {
    let mut http = HttpStream::open(at).expect("it listens");
    http.send(&request).expect("it is open");
    http.receive().expect("an answer")
}

/// A command that is answered.
fn stats(id: u64) -> String {
    json!({"id": id, "presence_stats": {"channel": "#ann"}}).to_string()
}

fn start(cell: Cell, servers: usize) -> Cluster {
    cell.start_with(servers, |settings| settings.with("frame_bytes", 16 << 10))
}

fn what_a_client_says_is_heard_at_any_server_in_its_order(cell: Cell) {
    let cluster = start(cell, 3);
    for home in 0..3 {
        let mut listener = Listener::open(&cluster[home]);
        for id in 2..20 {
            let at = cluster[id as usize % 3].terminals();
            let response = post(at, &listener.says(&stats(id)));
            assert_eq!(response.status, 204, "{}", response.text());
        }
        // One after the other: whoever finds the last has read past the others.
        for id in 2..20 {
            listener.reply(id);
        }
    }
}

/// H01: a session is a secret of its client, and is that of one server.
fn nobody_speaks_for_another_session(cell: Cell) {
    let cluster = start(cell, 2);
    let [listener, other] = [0, 1].map(|at| Listener::open(&cluster[at]));
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
            let body = json!({"session": session, "node": node, "data": stats(2)});
            post(server.terminals(), &body).expect_error(404, "not_found");
        }
        let nobody = json!({"session": session, "node": "here", "data": stats(2)});
        post(server.terminals(), &nobody).expect_error(400, "bad_request");
    }
}

/// H32: and nobody else at its address is told what its clients say.
fn a_session_ends_with_its_server(cell: Cell) {
    let mut cluster = start(cell, 2);
    let listener = Listener::open(&cluster[0]);
    let (said, address) = (listener.says(&stats(2)), cluster[0].peer());
    assert_eq!(post(cluster[1].terminals(), &said).status, 204);
    cluster[0].sigkill();
    let again = cluster.add(|settings| settings.with("peer", address.to_string()));
    let response = post(cluster[again].terminals(), &said);
    assert!([404, 503].contains(&response.status), "{}", response.text());
    eventually("there is no such session", || {
        let response = post(cluster[1].terminals(), &said);
        assert!([404, 503].contains(&response.status), "{}", response.text());
        response.status == 404
    });
    // Commands of clients are none of the peers' port.
    assert_eq!(post(address, &said).status, 404);
}

fn a_server_that_does_not_answer_is_not_waited_for(cell: Cell) {
    let cluster = start(cell, 2);
    let listener = Listener::open(&cluster[0]);
    let said = listener.says(&stats(2));
    assert_eq!(post(cluster[1].terminals(), &said).status, 204);
    cluster[0].sigstop();
    let response = post(cluster[1].terminals(), &said);
    cluster[0].sigcont();
    response.expect_error(503, "unavailable");
}

/// H24: a client that does not read its answers is heard no further.
fn more_than_is_served_is_refused(cell: Cell) {
    let cluster = start(cell, 2);
    let listener = Listener::open(&cluster[0]);
    let commands: Vec<_> = (2..300)
        .map(|id| json!({"id": id, "unsubscribe": {"channel": "none"}}).to_string())
        .collect();
    let said = listener.says(&commands.join("\n"));
    for server in cluster.servers() {
        let refused = (0..2000).find_map(|_| {
            let response = post(server.terminals(), &said);
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
    let mut listener = Listener::open(&cluster[0]);
    let large = format!("{}{}", stats(2), " ".repeat(16 << 10));
    post(at, &listener.says(&large)).expect_error(413, "too_large");
    let request = |origin: &str| {
        let body = listener.says(&stats(3)).to_string();
        let request = Request::new("POST", SESSION).header("Origin", origin);
        request.body(body)
    };
    let foreign = answered(at, request("https://evil.example.com"));
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    let own = answered(at, request(&format!("http://{at}")));
    assert_eq!(own.status, 204, "{}", own.text());
    listener.reply(3);
    assert_eq!(answered(at, Request::new("GET", SESSION)).status, 405);
}
