//! A connection whose bytes a test decides.

use std::fmt;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use redis::{Cmd, Parser, RedisResult, Value};

/// A connection to a server, without a client library between the test and its socket: a pipeline can
/// be sent by halves.
pub struct Wire {
    stream: TcpStream,
    parser: Parser,
}

/// When an answer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

impl Wire {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            parser: Parser::new(),
        })
    }

    /// Sends these bytes.
    ///
    /// # Errors
    ///
    /// What the socket says: the server may be gone.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads one answer, also one that is an error.
    ///
    /// # Errors
    ///
    /// What the socket says: the server may be gone.
    pub fn answer(&mut self) -> RedisResult<Value> {
        self.parser.parse_value(&self.stream)
    }

    /// Sends a command and reads its answer.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.send(&command.get_packed_command())?;
        self.answer()
    }

    /// Sends no more. The server has read all when it closes its end as well.
    ///
    /// # Errors
    ///
    /// What the socket says.
    pub fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({:?})", self.stream)
    }
}
