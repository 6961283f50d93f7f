//! Clients of the Centrifuge protocol, in JSON and in Protobuf, whose messages a test writes as JSON.

pub mod difference;
pub mod listener;
mod notes;
pub mod player;
mod protobuf;
pub mod sequence;
pub mod transcript;

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::patience::PATIENCE;
use crate::raw::is_timeout;
use crate::server::Server;
use crate::terminal::{Connect, Ending, ending};

/// How messages become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Text: one object a line.
    Json,
    /// Binary: each message behind its length.
    Protobuf,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Json, Self::Protobuf];
}

/// A client. It answers pings while it reads, unless it is told not to.
#[derive(Debug)]
pub struct Client {
    encoding: Encoding,
    socket: WebSocket<TcpStream>,
    commands: u64,
    /// The channels of commands that were about one, by their ids.
    channels: BTreeMap<u64, String>,
    /// What was read and not asked for.
    heard: VecDeque<Value>,
    /// Pings that were read.
    pub pings: usize,
    /// Pings of the WebSocket that were read, and answered by what reads them.
    pub control_pings: usize,
    /// Whether it answers them.
    pub answers_pings: bool,
    ending: Option<Ending>,
}

impl Client {
    /// One that has said nothing.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn open(server: &Server, encoding: Encoding) -> Self {
        Self::over(Connect::at(server.terminals(), PATH), encoding)
    }

    /// One that has said nothing, by a handshake of the test's.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn over(connect: Connect, encoding: Encoding) -> Self {
        let connect = match encoding {
            Encoding::Json => connect,
            Encoding::Protobuf => connect.query("format", "protobuf"),
        };
        let (response, stream, unread) = connect.handshake().expect("the server answers");
        assert_eq!(response.status, 101, "{}", response.text());
        Self {
            encoding,
            socket: WebSocket::from_partially_read(stream, unread, Role::Client, None),
            commands: 0,
            channels: BTreeMap::new(),
            heard: VecDeque::new(),
            pings: 0,
            control_pings: 0,
            answers_pings: true,
            ending: None,
        }
    }

    /// One that is connected with a token, and the result of its `connect`.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn connect(server: &Server, encoding: Encoding, connect: Value) -> (Self, Value) {
        let mut client = Self::open(server, encoding);
        let reply = client.call("connect", connect);
        assert_eq!(reply["error"], Value::Null, "{reply}");
        let result = reply["connect"].clone();
        (client, result)
    }

    /// Sends a command that is answered, and returns its id.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn ask(&mut self, name: &str, request: Value) -> u64 {
        let id = self.next_id();
        self.say(&json!({"id": id, (name): request}));
        id
    }

    /// The id of the next command.
    pub const fn next_id(&mut self) -> u64 {
        self.commands += 1;
        self.commands
    }

    /// Sends a command as it is.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn say(&mut self, command: &Value) {
        self.say_all(std::slice::from_ref(command));
    }

    /// Sends commands as they are, in one frame. Without any nothing is sent.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn say_all(&mut self, commands: &[Value]) {
        if commands.is_empty() {
            return;
        }
        for command in commands {
            let requests = command.as_object().into_iter().flatten();
            let mut channels = requests.filter_map(|(_, request)| request["channel"].as_str());
            if let (Some(id), Some(channel)) = (command["id"].as_u64(), channels.next()) {
                self.channels.insert(id, channel.to_owned());
            }
        }
        let frame = listener::bytes(self.encoding, commands);
        self.send(match self.encoding {
            Encoding::Json => Message::text(String::from_utf8_lossy(&frame).into_owned()),
            Encoding::Protobuf => Message::binary(frame),
        });
    }

    /// The channel that the command of a reply was about.
    pub fn asked_about(&self, reply: &Value) -> Option<&str> {
        let id = reply["id"].as_u64()?;
        self.channels.get(&id).map(String::as_str)
    }

    /// Sends a frame as it is.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn send(&mut self, message: Message) {
        self.socket.send(message).expect("the connection lives");
    }

    /// Sends a command and returns the reply to it. What else comes is kept.
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn call(&mut self, name: &str, request: Value) -> Value {
        let id = self.ask(name, request);
        self.reply(id)
    }

    /// The reply to the command of this id.
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn reply(&mut self, id: u64) -> Value {
        self.expect(&format!("a reply to {id}"), |said| said["id"] == id)
    }

    /// The code of the error by which a command is refused.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[track_caller]
    pub fn refused(&mut self, name: &str, request: Value) -> u64 {
        let reply = self.call(name, request);
        let code = reply["error"]["code"].as_u64();
        code.unwrap_or_else(|| panic!("{name} is not refused: {reply}"))
    }

    /// The next publication in a channel.
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn publication(&mut self, channel: &str) -> Value {
        self.push(channel, "pub")
    }

    /// The next publication in a channel. `None` if the connection ends before.
    ///
    /// # Panics
    ///
    /// If neither comes.
    #[track_caller]
    pub fn publication_or_end(&mut self, channel: &str) -> Option<Value> {
        let is_it = |said: &Value| {
            let push = &said["push"];
            push["channel"] == channel && push.get("pub").is_some()
        };
        let end = Instant::now() + PATIENCE;
        while !self.heard.iter().any(is_it) && self.ending.is_none() {
            assert!(
                Instant::now() < end,
                "neither a publication in {channel} nor the end"
            );
            self.read(end);
        }
        let found = self.heard.iter().position(is_it)?;
        Some(self.heard.remove(found)?["push"]["pub"].take())
    }

    /// The next push of this kind in a channel.
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn push(&mut self, channel: &str, kind: &str) -> Value {
        let what = format!("`{kind}` in {channel}");
        let is_it = |said: &Value| {
            let push = &said["push"];
            push["channel"].as_str().unwrap_or_default() == channel && push.get(kind).is_some()
        };
        self.expect(&what, is_it)["push"][kind].take()
    }

    /// The codes of the push and of the Close frame that end the connection.
    ///
    /// # Panics
    ///
    /// If it does not end so.
    #[track_caller]
    pub fn disconnected(&mut self) -> (Option<u64>, Option<u16>) {
        let ending = self.ended();
        let announced = |said: &Value| said["push"]["disconnect"]["code"].as_u64();
        let announced = self.heard.iter().find_map(announced);
        (announced, ending.code())
    }

    /// Reads until the connection has ended.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn ended(&mut self) -> Ending {
        let end = Instant::now() + PATIENCE;
        while self.ending.is_none() && Instant::now() < end {
            self.read(end);
        }
        self.ending.clone().expect("the connection ends")
    }

    /// Reads for so long. The connection lives on.
    ///
    /// # Panics
    ///
    /// If it ends.
    #[track_caller]
    pub fn read_for(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.read(end);
            assert_eq!(self.ending, None);
        }
    }

    /// Reads for so long, or until the connection ends.
    pub fn hear_for(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while self.ending.is_none() && Instant::now() < end {
            self.read(end);
        }
    }

    /// How the connection has ended, if it has.
    pub const fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Leaves out some of what was read and not asked for.
    pub fn forget(&mut self, which: impl Fn(&Value) -> bool) {
        self.heard.retain(|said| !which(said));
    }

    /// What was read and not asked for.
    pub fn heard(&self) -> impl Iterator<Item = &Value> {
        self.heard.iter()
    }

    /// The first that is this, of what was read and is read from here on.
    #[track_caller]
    fn expect(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.heard.iter().position(&is_it) {
                return self.heard.remove(found).expect("it was found");
            }
            assert!(
                self.ending.is_none() && Instant::now() < end,
                "no {what}: {:?}, ending: {:?}",
                self.heard,
                self.ending
            );
            self.read(end);
        }
    }

    /// Reads one frame, if one comes until then.
    fn read(&mut self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = left.max(Duration::from_millis(1));
        let stream = self.socket.get_ref();
        stream.set_read_timeout(Some(timeout)).expect("above zero");
        let replies = match self.socket.read() {
            Ok(Message::Text(text)) => {
                let lines = text.lines().filter(|line| !line.is_empty());
                lines
                    .map(|line| serde_json::from_str(line).expect("JSON"))
                    .collect()
            }
            Ok(Message::Binary(bytes)) => protobuf::replies(&bytes),
            Ok(Message::Close(frame)) => {
                self.ending = Some(ending(frame));
                Vec::new()
            }
            Ok(Message::Ping(_)) => {
                self.control_pings += 1;
                Vec::new()
            }
            Ok(Message::Pong(_) | Message::Frame(_)) => Vec::new(),
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => Vec::new(),
            Err(_) => {
                self.ending = Some(Ending::Lost);
                Vec::new()
            }
        };
        for reply in replies {
            if reply != json!({}) {
                self.heard.push_back(reply);
                continue;
            }
            self.pings += 1;
            if self.answers_pings {
                self.say(&json!({}));
            }
        }
    }
}

/// Where clients connect.
const PATH: &str = "/connection/websocket";

/// A handshake of a client, to be changed.
pub fn handshake(server: SocketAddr) -> Connect {
    Connect::at(server, PATH)
}
