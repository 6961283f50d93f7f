//! A client of Redis: as much of one as a directory needs.
//!
//! A [`Connection`] is on the thread that uses it, over the socket of its [`Runtime`], and in no task of its own: it is
//! written and read while somebody waits for [an answer](Connection::next). What is asked is answered in its order.

mod address;
mod resp;
mod tls;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use sha1::{Digest as _, Sha1};
use switchboard_core::directory::redis::{Request, Script, Value};

pub(crate) use address::{Address, Credentials};

use crate::runtime::Runtime;
use resp::{Decoder, NotRedis};
use tls::Socket;

/// What is read at once.
const READ: usize = 16 << 10;
/// What is kept of the buffer for writing when all of it was written.
const UNWRITTEN_KEPT: usize = 64 << 10;

/// Why a server cannot be asked, or refuses to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedisError {
    /// There is no connection, or no more.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It answers an error, which has its code as the first word.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    NotRedis(#[from] NotRedis),
}

/// A connection to a server, which has taken the login.
pub(crate) struct Connection<S> {
    socket: Socket<S>,
    /// What was asked and is not written, from `written` on.
    asked: Vec<u8>,
    written: usize,
    decoder: Decoder,
    /// What is read goes through here.
    buffer: Box<[u8]>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Dials a server and logs in.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, or refuses the login.
    pub(crate) async fn open<R: Runtime<Stream = S>>(
        address: &Address,
    ) -> Result<Self, RedisError> {
        let stream = R::dial(address.socket()).await?;
        let socket = match address.is_encrypted {
            true => tls::encrypted(stream, &address.host).await?,
            false => Socket::Plain(stream),
        };
        let mut connection = Self {
            socket,
            asked: Vec::new(),
            written: 0,
            decoder: Decoder::default(),
            buffer: vec![0; READ].into(),
        };
        connection.log_in(address).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, address: &Address) -> Result<(), RedisError> {
        let database = address.database.to_string();
        let mut commands: Vec<Vec<&str>> = Vec::new();
        if let Some(credentials) = &address.credentials {
            let words = [
                Some("AUTH"),
                credentials.user.as_deref(),
                Some(&credentials.password),
            ];
            commands.push(words.into_iter().flatten().collect());
        }
        if address.database != 0 {
            commands.push(vec!["SELECT", &database]);
        }
        let needed = commands.len();
        // For whoever looks at the server's `CLIENT LIST`. It need not know the question, or allow it.
        commands.push(vec!["CLIENT", "SETINFO", "LIB-NAME", "switchboard"]);
        let mut answers = self.ask_all(commands).await?;
        answers.truncate(needed);
        answers
            .into_iter()
            .try_for_each(|answer| accepted(answer).map(drop))
    }

    /// Asks for this, behind all that was asked before.
    pub(crate) fn command<'a>(
        &mut self,
        words: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>,
    ) {
        resp::command(&mut self.asked, words);
    }

    /// The same, of what core asks.
    pub(crate) fn request(&mut self, request: &Request) {
        match request {
            Request::Eval { script, keys, args } => {
                let count = keys.len().to_string();
                let before = ["EVALSHA", hash(*script), &count].map(str::as_bytes);
                let args = keys.iter().chain(args).map(Vec::as_slice);
                self.command(before.into_iter().chain(args));
            }
            Request::Command { name, args } => {
                let args = args.iter().map(Vec::as_slice);
                self.command([name.as_bytes()].into_iter().chain(args));
            }
        }
    }

    /// The next answer. If this is dropped before, nothing is lost.
    ///
    /// # Errors
    ///
    /// If the connection has ended; what was asked and is not answered may have been executed.
    pub(crate) async fn next(&mut self) -> Result<Value, RedisError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, RedisError>> {
        // While it cannot be written, it is read: a server that is not read takes nothing more.
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error.into()));
        }
        loop {
            if let Some(answer) = self.decoder.next()? {
                return Poll::Ready(Ok(answer));
            }
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut self.buffer))?;
            if read == 0 {
                let ended = "the server has closed the connection";
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, ended);
                return Poll::Ready(Err(error.into()));
            }
            self.decoder.extend(&self.buffer[..read]);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.asked.len() {
            let rest = &self.asked[self.written..];
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.asked.clear();
        self.asked.shrink_to(UNWRITTEN_KEPT);
        self.written = 0;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Asks for all of these, and waits for the answers.
    ///
    /// # Errors
    ///
    /// If the connection has ended. Errors that the server answers are among the answers.
    pub(crate) async fn ask_all<'a>(
        &mut self,
        commands: impl IntoIterator<Item: AsRef<[&'a str]>>,
    ) -> Result<Vec<Value>, RedisError> {
        let mut count = 0;
        for command in commands {
            self.command(words(command.as_ref()));
            count += 1;
        }
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            answers.push(self.next().await?);
        }
        Ok(answers)
    }

    /// Asks for one thing.
    ///
    /// # Errors
    ///
    /// The same, and if the server answers an error.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Value, RedisError> {
        self.request(request);
        accepted(self.next().await?)
    }
}

/// The words of a command that is all text.
pub(crate) fn words<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'a [u8]> + Clone {
    words.iter().map(|word| word.as_bytes())
}

/// An answer that is no error.
pub(crate) fn accepted(answer: Value) -> Result<Value, RedisError> {
    match answer {
        Value::Error(error) => Err(RedisError::Refused(error)),
        other => Ok(other),
    }
}

/// The SHA-1 of a script, under which a server knows it.
fn hash(script: Script) -> &'static str {
    use std::sync::OnceLock;
    static HASHES: OnceLock<Vec<String>> = OnceLock::new();
    let hashes = HASHES.get_or_init(|| {
        let hash = |script: Script| hexadecimal(&Sha1::digest(script.text()));
        Script::ALL.into_iter().map(hash).collect()
    });
    &hashes[script as usize]
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
