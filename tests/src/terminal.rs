//! Terminals: WebSocket clients that do what a test tells them.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};
use uuid::Uuid;

use crate::http::{HttpStream, Request, Response};
use crate::patience::{PATIENCE, eventually};
use crate::raw::{RawTerminal, is_timeout};
use crate::sockets;

/// A handshake in preparation.
#[derive(Clone, Debug)]
pub struct Connect {
    server: SocketAddr,
    request: Request,
    receive_buffer: Option<usize>,
}

impl Connect {
    /// To `/connect` of a server.
    pub fn to(server: SocketAddr) -> Self {
        Self::at(server, "/connect")
    }

    /// To any path.
    pub fn at(server: SocketAddr, path: &str) -> Self {
        Self {
            server,
            request: Request::new("GET", path),
            receive_buffer: None,
        }
    }

    /// As this user, the way of `--auth open`.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.query("user", user)
    }

    /// With a token in the `Authorization` header.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// With a parameter in the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.query(name, value);
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// With this much room in the kernel for what is not read.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Connects and reads the hello.
    ///
    /// # Panics
    ///
    /// If the server refuses, or sends anything before the hello.
    #[track_caller]
    pub fn open(self) -> Terminal {
        match self.try_open() {
            Ok(terminal) => terminal,
            Err(response) => panic!("refused: {} {}", response.status, response.text()),
        }
    }

    /// The response of a server that refuses.
    ///
    /// # Panics
    ///
    /// If it accepts.
    #[track_caller]
    pub fn refused(self) -> Response {
        match self.try_open() {
            Ok(terminal) => panic!("accepted as {}", terminal.uuid),
            Err(response) => response,
        }
    }

    /// Connects and reads the hello.
    ///
    /// # Errors
    ///
    /// The response, if the server refuses.
    ///
    /// # Panics
    ///
    /// If the first frame is not a hello.
    #[track_caller]
    pub fn try_open(self) -> Result<Terminal, Response> {
        let (response, stream, unread) = self.handshake().expect("the server answers");
        if response.status != 101 {
            return Err(response);
        }
        Ok(Terminal::greeted(stream, unread, &response))
    }

    /// Connects and returns the socket: frames are up to the test, also the hello.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    #[track_caller]
    pub fn raw(self) -> RawTerminal {
        let (response, stream, unread) = self.handshake().expect("the server answers");
        assert_eq!(response.status, 101, "{}", response.text());
        RawTerminal::new(stream, unread)
    }

    /// Sends the handshake and reads the response.
    ///
    /// # Errors
    ///
    /// If the server is not there, or ends the connection.
    pub fn handshake(self) -> io::Result<(Response, TcpStream, Vec<u8>)> {
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        let socket = Socket::new(Domain::for_address(self.server), Type::STREAM, None)?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect_timeout(&self.server.into(), PATIENCE)?;
        let mut http = HttpStream::over(socket.into(), self.server)?;
        let upgrade = self
            .request
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", KEY);
        http.send(&upgrade)?;
        let response = http.receive()?;
        if response.status == 101 {
            let accept = response.header("sec-websocket-accept");
            assert_eq!(accept, Some(derive_accept_key(KEY.as_bytes()).as_str()));
        }
        let (stream, unread) = http.into_parts();
        Ok((response, stream, unread))
    }
}

/// One payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
}

impl Frame {
    /// The text of a text frame.
    ///
    /// # Panics
    ///
    /// If it is binary.
    #[track_caller]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Binary(bytes) => panic!("binary: {bytes:?}"),
        }
    }
}

/// How a connection ended, seen by its terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a Close frame of this code and reason.
    Closed(u16, String),
    /// Without a Close frame.
    Lost,
}

impl Ending {
    /// The code of the Close frame, if there was one.
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::Closed(code, _) => Some(*code),
            Self::Lost => None,
        }
    }
}

/// A connected terminal. Pings are answered while it reads.
#[derive(Debug)]
pub struct Terminal {
    /// The connection's UUID, from the hello.
    pub uuid: Uuid,
    /// Whether the hello said `degraded`.
    pub degraded: bool,
    /// What the hello said of the log: `Null`, if nothing.
    pub log: Value,
    /// The subprotocol that the server chose.
    pub protocol: Option<String>,
    socket: WebSocket<TcpStream>,
    ending: Option<Ending>,
}

impl Terminal {
    #[track_caller]
    fn greeted(stream: TcpStream, unread: Vec<u8>, response: &Response) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let mut terminal = Self {
            uuid: Uuid::nil(),
            degraded: false,
            log: Value::Null,
            protocol: response.header("sec-websocket-protocol").map(str::to_owned),
            socket: WebSocket::from_partially_read(stream, unread, Role::Client, Some(config)),
            ending: None,
        };
        let frame = terminal.recv();
        let hello: Value = serde_json::from_str(frame.text()).expect("the hello is JSON");
        let uuid = hello["switchboard"]["hello"]["uuid"].as_str();
        terminal.uuid = uuid
            .and_then(|text| Uuid::try_parse(text).ok())
            .unwrap_or_else(|| panic!("the first frame is not a hello: {hello}"));
        terminal.degraded = hello["switchboard"]["hello"]["degraded"] == true;
        terminal.log = hello["switchboard"]["hello"]["log"].clone();
        terminal
    }

    /// The next payload.
    ///
    /// # Panics
    ///
    /// If none comes.
    #[track_caller]
    pub fn recv(&mut self) -> Frame {
        match self.try_recv(PATIENCE) {
            Some(frame) => frame,
            None => panic!("no frame came; ending: {:?}", self.ending),
        }
    }

    /// The next payload, if one comes in time and the connection does not end before.
    pub fn try_recv(&mut self, patience: Duration) -> Option<Frame> {
        let end = Instant::now() + patience;
        while self.ending.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            // Zero would mean no timeout at all.
            let timeout = left.max(Duration::from_millis(1));
            let stream = self.socket.get_ref();
            stream.set_read_timeout(Some(timeout)).expect("above zero");
            match self.socket.read() {
                Ok(Message::Text(text)) => return Some(Frame::Text(text.as_str().to_owned())),
                Ok(Message::Binary(bytes)) => return Some(Frame::Binary(bytes.to_vec())),
                Ok(Message::Close(frame)) => self.ending = Some(ending(frame)),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(Error::Io(error)) if is_timeout(&error) => {}
                Err(_) => self.ending = Some(Ending::Lost),
            }
            if left.is_zero() {
                break;
            }
        }
        None
    }

    /// The next payload is this text.
    ///
    /// # Panics
    ///
    /// If it is another, or none comes.
    #[track_caller]
    pub fn expect_text(&mut self, text: &str) {
        assert_eq!(self.recv(), Frame::Text(text.to_owned()));
    }

    /// The next two payloads are a record with this text, and the frame that announces it. Returns its position.
    ///
    /// # Panics
    ///
    /// If it is another, or none comes.
    #[track_caller]
    pub fn expect_record(&mut self, text: &str) -> String {
        let position = self.expect_word("message");
        self.expect_text(text);
        position
    }

    /// The next payload tells a follower this of its log. Returns the position in it.
    ///
    /// # Panics
    ///
    /// If it is another, or none comes.
    #[track_caller]
    pub fn expect_word(&mut self, word: &str) -> String {
        let frame = self.recv();
        let said: Value = serde_json::from_str(frame.text()).expect("JSON");
        let position = said["switchboard"][word]["position"].as_str();
        position
            .unwrap_or_else(|| panic!("{said} is no `{word}`"))
            .to_owned()
    }

    /// Asks to join a topic.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn join(&mut self, topic: &str) {
        self.send_text(&json!({"switchboard": {"join": topic}}).to_string());
    }

    /// Asks to join a topic, and for its log: for no more, or for what comes after a position.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn follow_topic(&mut self, topic: &str, after: Option<&str>) {
        let wish = match after {
            None => json!({"join": topic, "log": true}),
            Some(position) => json!({"join": topic, "after": [position]}),
        };
        self.send_text(&json!({"switchboard": wish}).to_string());
    }

    /// The next payload is this record of a topic. Returns its position.
    ///
    /// # Panics
    ///
    /// If it is another, or none comes.
    #[track_caller]
    pub fn expect_record_of(&mut self, topic: &str, text: &str) -> String {
        let told = self.expect_topic("message", topic);
        self.expect_text(text);
        told["position"].as_str().expect("a position").to_owned()
    }

    /// Asks to leave a topic.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn leave(&mut self, topic: &str) {
        self.send_text(&json!({"switchboard": {"leave": topic}}).to_string());
    }

    /// The next payload tells of a topic, as `joined`, `left` or `refused`. Returns what it says.
    ///
    /// # Panics
    ///
    /// If it is another, or none comes.
    #[track_caller]
    pub fn expect_topic(&mut self, word: &str, topic: &str) -> Value {
        let frame = self.recv();
        let said: Value = serde_json::from_str(frame.text()).expect("JSON");
        let told = &said["switchboard"][word];
        assert_eq!(told["topic"], topic, "{said} is no `{word}`");
        told.clone()
    }

    /// No payload comes for `span`, and the connection lives on.
    ///
    /// # Panics
    ///
    /// If one comes, or the connection ends.
    #[track_caller]
    pub fn expect_silence(&mut self, span: Duration) {
        assert_eq!(self.try_recv(span), None);
        assert_eq!(self.ending, None);
    }

    /// Sends a text message.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn send_text(&mut self, text: &str) {
        self.socket
            .send(Message::text(text))
            .expect("the connection lives");
    }

    /// Sends a binary message.
    ///
    /// # Panics
    ///
    /// If the connection is broken.
    #[track_caller]
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.socket
            .send(Message::binary(bytes.to_vec()))
            .expect("the connection lives");
    }

    /// Reads until the connection has ended; payloads before that are dropped.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn ended(&mut self) -> Ending {
        let end = Instant::now() + PATIENCE;
        while self.ending.is_none() && Instant::now() < end {
            let _ = self.try_recv(PATIENCE);
        }
        // Gives the echo of the Close frame to the kernel and waits for the server's end of file.
        while self.ending.is_some() && self.socket.read().is_ok() {}
        self.ending.clone().expect("the connection ends")
    }

    /// Closes the connection with a closing handshake, and returns the server's answer.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    #[track_caller]
    pub fn close(mut self) -> Ending {
        let frame = CloseFrame {
            code: 1000.into(),
            reason: "bye".into(),
        };
        self.socket
            .close(Some(frame))
            .expect("the connection lives");
        self.ended()
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        let stream = self
            .socket
            .get_ref()
            .try_clone()
            .expect("a descriptor is free");
        drop(self.socket);
        // The clone holds the socket open, so the reset is what ends it.
        let _ = sockets::reset(stream);
    }

    /// Goes on reading in a thread of its own.
    pub fn follow(self) -> Follower {
        Follower::start(self)
    }
}

/// A terminal that reads all the time.
#[derive(Debug)]
pub struct Follower {
    /// The connection's UUID.
    pub uuid: Uuid,
    state: Arc<FollowerState>,
    thread: Option<thread::JoinHandle<Terminal>>,
}

#[derive(Debug, Default)]
struct FollowerState {
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    frames: Vec<Frame>,
    ending: Option<Ending>,
}

impl Follower {
    fn start(mut terminal: Terminal) -> Self {
        const TURN: Duration = Duration::from_millis(50);
        let uuid = terminal.uuid;
        let state = Arc::new(FollowerState::default());
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            while !shared.stop.load(Ordering::Relaxed) && terminal.ending.is_none() {
                let frame = terminal.try_recv(TURN);
                shared.seen(|seen| {
                    seen.frames.extend(frame);
                    seen.ending.clone_from(&terminal.ending);
                });
            }
            if terminal.ending.is_some() {
                let _ = terminal.ended();
            }
            terminal
        });
        Self {
            uuid,
            state,
            thread: Some(thread),
        }
    }

    /// What came until this moment.
    pub fn frames(&self) -> Vec<Frame> {
        self.state.seen(|seen| seen.frames.clone())
    }

    /// The texts that came until this moment.
    pub fn texts(&self) -> Vec<String> {
        self.frames()
            .iter()
            .map(|frame| frame.text().to_owned())
            .collect()
    }

    /// How the connection ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        self.state.seen(|seen| seen.ending.clone())
    }

    /// Waits until at least `count` payloads have come.
    ///
    /// # Panics
    ///
    /// If fewer come.
    #[track_caller]
    pub fn await_frames(&self, count: usize) {
        eventually(&format!("a terminal gets {count} frames"), || {
            self.state.seen(|seen| seen.frames.len()) >= count
        });
    }

    /// Waits until the connection has ended.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[track_caller]
    pub fn await_ending(&self) -> Ending {
        crate::patience::eventually_some("the connection ends", || self.ending())
    }

    /// Stops reading and returns the terminal.
    pub fn stop(mut self) -> Terminal {
        self.state.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("taken here only");
        thread.join().expect("the reading thread does not panic")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
    }
}

impl FollowerState {
    fn seen<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) fn ending(frame: Option<CloseFrame>) -> Ending {
    // 1005 is what RFC 6455 calls a Close frame without a code.
    frame.map_or(Ending::Closed(1005, String::new()), |frame| {
        Ending::Closed(frame.code.into(), frame.reason.as_str().to_owned())
    })
}
