//! Clients whose connection carries nothing to the server: they are told by an answer that does not end, and say what they
//! say in requests of their own, at whatever server.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::{Encoding, protobuf};
use crate::http::{HttpStream, Request, Response};
use crate::server::Server;

/// A client that is told by an answer that does not end.
#[derive(Debug)]
pub struct Listener {
    encoding: Encoding,
    stream: TcpStream,
    unread: Vec<u8>,
    /// What has come of the answer's body, and is not read.
    told: Vec<u8>,
    is_greeted: bool,
    /// What names it, beside the server.
    pub session: String,
    /// The server that has it.
    pub node: String,
}

/// Where clients say what they say.
pub const SESSION: &str = "/emulation";

const OCTETS: &str = "application/octet-stream";

impl Listener {
    /// One that is connected as this user, the way of `--auth open`.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn open(server: &Server, encoding: Encoding, user: &str) -> Self {
        let mut http = HttpStream::open(server.terminals()).expect("it listens");
        let connect = bytes(encoding, &[json!({"id": 1, "connect": {}})]);
        let target = format!("/connection/http_stream?user={user}");
        let request = typed(encoding, Request::new("POST", target)).body(connect);
        http.send(&request).expect("it is open");
        let (stream, unread) = http.into_parts();
        let mut listener = Self {
            encoding,
            stream,
            unread,
            told: Vec::new(),
            is_greeted: false,
            session: String::new(),
            node: String::new(),
        };
        let connected = listener.reply(1)["connect"].take();
        let name = |name: &str| connected[name].as_str().expect("it has one").to_owned();
        (listener.session, listener.node) = (name("session"), name("node"));
        listener
    }

    /// The reply to a command. What else comes is left out.
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn reply(&mut self, id: u64) -> Value {
        self.expect(|said| said["id"] == id)
    }

    /// The next publication in a channel. What else comes is left out.
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn publication(&mut self, channel: &str) -> Value {
        let is_it = |said: &Value| {
            let push = &said["push"];
            push["channel"] == channel && push["pub"].is_object()
        };
        self.expect(is_it)["push"]["pub"].take()
    }

    #[track_caller]
    fn expect(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            while let Some(said) = self.next() {
                if is_it(&said) {
                    return said;
                }
            }
            let mut bytes = [0; 4096];
            let read = self.stream.read(&mut bytes).expect("a reply");
            assert!(read > 0, "it has ended");
            self.unread.extend_from_slice(&bytes[..read]);
            self.take_body();
        }
    }

    /// A request that says these commands.
    pub fn says(&self, commands: &[Value]) -> Request {
        let data = bytes(self.encoding, commands);
        let request = typed(self.encoding, Request::new("POST", SESSION));
        request.body(match self.encoding {
            Encoding::Json => {
                let data = String::from_utf8_lossy(&data);
                let body = json!({"session": self.session, "node": self.node, "data": data});
                body.to_string().into_bytes()
            }
            Encoding::Protobuf => protobuf::relayed(&self.node, &self.session, &data),
        })
    }

    /// Takes what has come behind the head.
    fn take_body(&mut self) {
        if !self.is_greeted {
            let Some(end) = position(&self.unread, b"\r\n\r\n") else {
                return;
            };
            self.unread.drain(..end + 4);
            self.is_greeted = true;
        }
        // Its length is not told: it ends with the connection.
        self.told.append(&mut self.unread);
    }

    fn next(&mut self) -> Option<Value> {
        match self.encoding {
            Encoding::Json => {
                let end = position(&self.told, b"\n")?;
                let line: Vec<u8> = self.told.drain(..=end).collect();
                Some(serde_json::from_slice(&line).expect("JSON"))
            }
            Encoding::Protobuf => protobuf::next_reply(&mut self.told),
        }
    }
}

/// Sends a request on a connection of its own.
///
/// # Panics
///
/// If there is no answer.
#[track_caller]
pub fn answered(at: SocketAddr, request: &Request) -> Response {
    let mut http = HttpStream::open(at).expect("it listens");
    http.send(request).expect("it is open");
    http.receive().expect("an answer")
}

/// A frame of these commands.
pub(super) fn bytes(encoding: Encoding, commands: &[Value]) -> Vec<u8> {
    match encoding {
        Encoding::Json => {
            let lines: Vec<_> = commands.iter().map(Value::to_string).collect();
            lines.join("\n").into_bytes()
        }
        Encoding::Protobuf => {
            let messages: Vec<_> = commands.iter().map(protobuf::command).collect();
            messages.concat()
        }
    }
}

fn typed(encoding: Encoding, request: Request) -> Request {
    match encoding {
        Encoding::Json => request,
        Encoding::Protobuf => request.header("Content-Type", OCTETS),
    }
}

fn position(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
}
