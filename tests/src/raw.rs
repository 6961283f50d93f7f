//! Sockets without manners: broken frames, silence, bytes that are no protocol at all.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::patience::PATIENCE;
use crate::sockets;

/// Opcodes of RFC 6455.
pub mod opcode {
    /// A continuation.
    pub const CONTINUATION: u8 = 0x0;
    /// A text frame.
    pub const TEXT: u8 = 0x1;
    /// A binary frame.
    pub const BINARY: u8 = 0x2;
    /// A close frame.
    pub const CLOSE: u8 = 0x8;
    /// A ping frame.
    pub const PING: u8 = 0x9;
    /// A pong frame.
    pub const PONG: u8 = 0xA;
}

/// A WebSocket connection whose frames the test makes by hand. It answers nothing by itself.
#[derive(Debug)]
pub struct RawTerminal {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl RawTerminal {
    /// Takes a socket behind its handshake.
    pub const fn new(stream: TcpStream, unread: Vec<u8>) -> Self {
        Self { stream, unread }
    }

    /// Sends a masked frame.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.write(&masked_frame(0x80 | opcode, payload))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one frame: opcode and payload.
    ///
    /// # Errors
    ///
    /// If the connection ends before it is complete.
    pub fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        self.fill(2)?;
        let (extra, short) = match self.unread[1] {
            126 => (2, 0),
            127 => (8, 0),
            length => (0, usize::from(length)),
        };
        self.fill(2 + extra)?;
        let length = self.unread[2..2 + extra]
            .iter()
            .fold(short, |length, byte| length << 8 | usize::from(*byte));
        let end = 2 + extra + length;
        self.fill(end)?;
        let frame: Vec<u8> = self.unread.drain(..end).collect();
        Ok((frame[0] & 0x0F, frame[2 + extra..].to_vec()))
    }

    /// Reads what comes next, up to so many bytes, and keeps it for `read_frame`. Returns how many
    /// came.
    ///
    /// # Errors
    ///
    /// If the connection has ended.
    pub fn trickle(&mut self, bytes: usize) -> io::Result<usize> {
        let mut chunk = vec![0; bytes];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.unread.extend_from_slice(&chunk[..n]);
                Ok(n)
            }
        }
    }

    /// Reads frames until a Close frame, and returns its code.
    ///
    /// # Errors
    ///
    /// If the connection ends without one.
    pub fn close_code(&mut self) -> io::Result<u16> {
        loop {
            let (kind, payload) = self.read_frame()?;
            if kind == opcode::CLOSE {
                let code = payload.first_chunk().copied().unwrap_or_default();
                return Ok(u16::from_be_bytes(code));
            }
        }
    }

    /// Whether the connection has ended, read to the end of what was sent on it.
    pub fn has_ended(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return !is_timeout(&error),
            }
        }
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        let _ = sockets::reset(self.stream);
    }

    fn fill(&mut self, length: usize) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        while self.unread.len() < length {
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.unread.extend_from_slice(&chunk[..n]),
            }
        }
        Ok(())
    }
}

/// A frame as a client must send it. The first byte holds FIN, reserved bits and opcode.
pub fn masked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).unwrap_or_default()),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(length).unwrap_or_default().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// Sends bytes to a server and reads what comes until it ends the connection, in whatever way.
///
/// # Errors
///
/// If nobody listens, or the connection does not end.
pub fn exchange(server: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = open(server)?;
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    read_to_end(stream)
}

/// Sends bytes to a server, ends this side of the connection at once, and reads what comes until the
/// server ends the other, in whatever way.
///
/// # Errors
///
/// If nobody listens, or the connection does not end.
pub fn exchange_half_closed(server: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = open(server)?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    read_to_end(stream)
}

fn open(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read_to_end(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if is_timeout(&error) => Err(error),
        Ok(_) | Err(_) => Ok(answer),
    }
}

/// The status in an HTTP answer, if it is one.
pub fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    let rest = text.strip_prefix("HTTP/1.")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// Whether a read ended because its patience did.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
