//! HTTP/1.1 as bytes, so that a test decides about every header and byte.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::patience::PATIENCE;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without body. The target goes out as it is.
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header. A given `Host` or `Content-Length` takes the place of the generated one.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        let _ = write!(self.target, "{separator}{name}={}", encode(value));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// What goes over the wire.
    pub fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !has("host") {
            let _ = write!(head, "Host: {host}\r\n");
        }
        if !has("content-length") && (!self.body.is_empty() || self.method == "POST") {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, names as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value; names are compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }

    /// It is an error with this status and code.
    ///
    /// # Panics
    ///
    /// If it is anything else.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.error_code(), code, "{}", self.text());
    }

    /// The code of the documented error body `{"error": {"code", "message"}}`.
    ///
    /// # Panics
    ///
    /// If the body is anything else.
    #[track_caller]
    pub fn error_code(&self) -> String {
        let body = self.json();
        let text = |field: &str| body["error"][field].as_str().map(str::to_owned);
        let message = text("message").unwrap_or_default();
        assert!(!message.is_empty(), "an error without a message: {body}");
        text("code").unwrap_or_else(|| panic!("an error without a code: {body}"))
    }

    /// The code and message of the documented error body.
    ///
    /// # Panics
    ///
    /// If the body is anything else.
    #[track_caller]
    pub fn error_message(&self) -> String {
        let _ = self.error_code();
        self.json()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// A TCP connection that speaks HTTP; requests may be sent before earlier ones are answered.
#[derive(Debug)]
pub struct HttpStream {
    stream: TcpStream,
    peer: SocketAddr,
    unread: Vec<u8>,
}

impl HttpStream {
    /// Opens a connection to a server.
    ///
    /// # Errors
    ///
    /// If nobody listens.
    pub fn open(peer: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&peer, PATIENCE)?, peer)
    }

    /// Takes a connected socket.
    ///
    /// # Errors
    ///
    /// If the socket is broken.
    pub fn over(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            peer,
            unread: Vec::new(),
        })
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        self.write(&request.bytes(self.peer))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads a response.
    ///
    /// # Errors
    ///
    /// If the connection ends before, or what comes is not HTTP.
    pub fn receive(&mut self) -> io::Result<Response> {
        let (mut response, body) = loop {
            if let Some(found) = parse_head(&mut self.unread)? {
                break found;
            }
            self.read_more()?;
        };
        match body {
            BodyLength::Known(length) => {
                while self.unread.len() < length {
                    self.read_more()?;
                }
                response.body = self.unread.drain(..length).collect();
            }
            BodyLength::UntilClosed => {
                self.stream.read_to_end(&mut self.unread)?;
                response.body = std::mem::take(&mut self.unread);
            }
        }
        Ok(response)
    }

    /// The socket, and what was read from it beyond the last response.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.unread)
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.unread.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}

/// Percent-encodes all that is not unreserved in URLs.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

enum BodyLength {
    Known(usize),
    UntilClosed,
}

/// Takes the head of a response off the front of `unread`, once it is complete.
fn parse_head(unread: &mut Vec<u8>) -> io::Result<Option<(Response, BodyLength)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(unread).map_err(|error| {
        io::Error::other(format!("{error}: {:?}", String::from_utf8_lossy(unread)))
    })?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let response = Response {
        status: head.code.unwrap_or_default(),
        headers: head
            .headers
            .iter()
            .map(|h| {
                (
                    h.name.to_owned(),
                    String::from_utf8_lossy(h.value).into_owned(),
                )
            })
            .collect(),
        body: Vec::new(),
    };
    unread.drain(..length);
    let body = match (response.status, response.header("content-length")) {
        (101 | 204 | 304, _) => BodyLength::Known(0),
        (_, Some(length)) => BodyLength::Known(length.parse().map_err(io::Error::other)?),
        (_, None) => BodyLength::UntilClosed,
    };
    Ok(Some((response, body)))
}
