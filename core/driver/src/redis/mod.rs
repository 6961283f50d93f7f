//! A client of Redis: as much of one as a directory needs.
//!
//! A [`Connection`] is on the thread that uses it, over the socket of its [`Runtime`], and in no task of its own: it is
//! written and read while somebody waits for [an answer](Connection::next). What is asked is answered in its order.

mod address;
mod resp;
mod tls;

use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use sha1::{Digest as _, Sha1};
use switchboard_core::directory::redis::{Request, Script, Value};

pub(crate) use address::{Address, Credentials};

use crate::hex;
use crate::read_buffer;
use crate::runtime::Runtime;
use crate::task::Portion;
use resp::{Decoder, NotRedis};
use tls::Socket;

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
    /// It does not take the login. What it says of it has no password.
    #[error("{0}")]
    Login(String),
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
    portion: Portion,
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
        let mut connection = Self::over(socket);
        connection.log_in(address).await?;
        Ok(connection)
    }

    fn over(socket: Socket<S>) -> Self {
        Self {
            socket,
            asked: Vec::new(),
            written: 0,
            decoder: Decoder::default(),
            portion: Portion::default(),
        }
    }

    async fn log_in(&mut self, address: &Address) -> Result<(), RedisError> {
        if let Some(credentials) = &address.credentials {
            let user = credentials.user.as_deref();
            let command = [Some("AUTH"), user, Some(&credentials.password)];
            self.command(command.into_iter().flatten().map(str::as_bytes));
        }
        if address.database != 0 {
            let database = address.database.to_string();
            self.command(words(&["SELECT", &database]));
        }
        // For whoever looks at the server's `CLIENT LIST`. It need not know the question, or allow it.
        self.command(words(&["CLIENT", "SETINFO", "LIB-NAME", "switchboard"]));
        // One after the other: a server that wants no more clients says why, and ends the connection.
        if let Some(credentials) = &address.credentials
            && let Value::Error(error) = self.next().await?
        {
            return Err(refused_login(error, credentials));
        }
        if address.database != 0 {
            accepted(self.next().await?)?;
        }
        match self.next().await? {
            Value::Error(error) if wants_no_client(&error) => Err(RedisError::Refused(error)),
            _ => Ok(()),
        }
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
        // While it cannot be written, it is read: a server that is not read takes nothing more. What was answered
        // counts, also if nothing can be written any more.
        let written = self.poll_write(cx);
        loop {
            if let Some(answer) = self.decoder.next()? {
                return Poll::Ready(Ok(answer));
            }
            ready!(self.portion.poll_take(cx));
            let (socket, decoder) = (&mut self.socket, &mut self.decoder);
            let read = read_buffer::with(|buffer| {
                let read = Pin::new(socket).poll_read(cx, buffer);
                read.map_ok(|read| {
                    decoder.extend(&buffer[..read]);
                    read
                })
            });
            match read {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ended().into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Err(ended().into()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    return match written {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.asked.len() {
            let rest = &self.asked[self.written..];
            match Pin::new(&mut self.socket).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.written += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // There may always be something more to write.
                    if self.written > self.asked.len() / 2 {
                        self.asked.drain(..mem::take(&mut self.written));
                    }
                    return Poll::Pending;
                }
            }
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

fn ended() -> io::Error {
    let why = "the server has closed the connection";
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}

/// Whether this is what a server says to any client, before it ends the connection.
fn wants_no_client(error: &str) -> bool {
    error.starts_with("DENIED") || error.starts_with("ERR max number of clients")
}

/// What became of AUTH.
fn refused_login(error: String, credentials: &Credentials) -> RedisError {
    if wants_no_client(&error) {
        return RedisError::Refused(error);
    }
    // A server that does not know a command repeats it.
    RedisError::Login(if error.starts_with("ERR unknown command") {
        "it knows no AUTH".to_owned()
    } else if error.contains(&credentials.password) {
        "it refuses AUTH".to_owned()
    } else {
        error
    })
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
        let hash = |script: Script| hex(&Sha1::digest(script.text()));
        Script::ALL.into_iter().map(hash).collect()
    });
    &hashes[script as usize]
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use futures_util::FutureExt as _;

    use super::*;

    /// A socket that does what it is told.
    #[derive(Default)]
    struct Scripted {
        /// What is read, one after the other; then nothing comes, or the end.
        says: VecDeque<&'static str>,
        has_ended: bool,
        /// How many bytes it takes, and then no more; and whether it takes nothing for good.
        takes: usize,
        is_broken: bool,
        taken: Vec<u8>,
    }

    impl AsyncRead for Scripted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            to: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            match self.says.pop_front() {
                Some(said) => {
                    to[..said.len()].copy_from_slice(said.as_bytes());
                    Poll::Ready(Ok(said.len()))
                }
                None if self.has_ended => Poll::Ready(Ok(0)),
                None => Poll::Pending,
            }
        }
    }

    impl AsyncWrite for Scripted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            from: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = from.len().min(self.takes);
            if self.is_broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if count == 0 {
                return Poll::Pending;
            }
            self.takes -= count;
            self.taken.extend_from_slice(&from[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn over(socket: Scripted) -> Connection<Scripted> {
        Connection::over(Socket::Plain(socket))
    }

    fn socket(connection: &mut Connection<Scripted>) -> &mut Scripted {
        match &mut connection.socket {
            Socket::Plain(socket) => socket,
            Socket::Encrypted(_) => panic!("it is a plain one"),
        }
    }

    fn says(says: impl IntoIterator<Item = &'static str>) -> Scripted {
        Scripted {
            says: says.into_iter().collect(),
            takes: usize::MAX,
            ..Scripted::default()
        }
    }

    #[test]
    fn what_is_asked_is_written_in_its_order_however_little_the_socket_takes() {
        let mut connection = over(Scripted::default());
        let mut expected = Vec::new();
        for number in 0..1000 {
            let number = number.to_string();
            connection.command(words(&["ECHO", &number]));
            resp::command(&mut expected, words(&["ECHO", &number]));
            socket(&mut connection).takes = 7;
            assert!(connection.next().now_or_never().is_none());
            // What is written is not kept, though there is always something more to write.
            let unwritten = expected.len() - socket(&mut connection).taken.len();
            assert!(connection.asked.len() <= 2 * unwritten + 7);
        }
        socket(&mut connection).takes = usize::MAX;
        assert!(connection.next().now_or_never().is_none());
        assert_eq!(socket(&mut connection).taken, expected);
    }

    /// A server that is not read takes nothing more.
    #[test]
    fn answers_are_read_while_nothing_can_be_written() {
        let mut connection = over(Scripted {
            takes: 3,
            ..says([":1\r\n:", "2\r\n"])
        });
        connection.command(words(&["PING"]));
        for number in 1..=2 {
            let answer = connection.next().now_or_never().expect("it is there");
            assert_eq!(answer.expect("an answer"), Value::Int(number));
        }
    }

    #[test]
    fn what_was_answered_counts_although_the_connection_has_ended() {
        let ends = [
            (
                Scripted {
                    is_broken: true,
                    ..says([":1\r\n"])
                },
                "broken pipe",
            ),
            (
                Scripted {
                    has_ended: true,
                    ..says([":1\r\n"])
                },
                "the server has closed the connection",
            ),
        ];
        for (script, why) in ends {
            let mut connection = over(script);
            connection.command(words(&["PING"]));
            let answer = connection.next().now_or_never().expect("it is there");
            assert_eq!(answer.expect("an answer"), Value::Int(1));
            let error = connection.next().now_or_never().expect("it has ended");
            assert_eq!(error.expect_err("it has ended").to_string(), why);
        }
    }

    /// H37: whoever always has more to say leaves turns to the other tasks of the thread.
    #[test]
    fn a_long_answer_is_read_in_portions() {
        let mut connection = over(says(["*100\r\n"].into_iter().chain([":1\r\n"; 100])));
        let mut turns = 1;
        let mut next = Box::pin(connection.next());
        let mut cx = Context::from_waker(Waker::noop());
        while next.as_mut().poll(&mut cx).is_pending() {
            turns += 1;
            assert!(turns < 100);
        }
        assert!(turns > 5, "{turns}");
    }

    /// H39: a refused login is called so, and what is told of it has no password.
    #[test]
    fn a_refused_login_is_told_without_the_password() {
        let address = Address::parse("redis://app:s3cret@h/3").expect("a URL");
        for (answers, login, told) in [
            (
                "-WRONGPASS invalid username-password pair\r\n",
                true,
                "WRONGPASS",
            ),
            (
                "-ERR AUTH <password> called without any password configured\r\n",
                true,
                "without any",
            ),
            (
                "-ERR unknown command 'AUTH', with args beginning with: 'app' 's3cret'\r\n",
                true,
                "knows no AUTH",
            ),
            ("-ERR s3cret is wrong\r\n", true, "it refuses AUTH"),
            (
                "-ERR max number of clients reached\r\n",
                false,
                "max number",
            ),
            (
                "+OK\r\n-ERR DB index is out of range\r\n",
                false,
                "DB index",
            ),
            (
                "+OK\r\n+OK\r\n-DENIED Redis is running in protected mode\r\n",
                false,
                "protected",
            ),
        ] {
            let mut connection = over(Scripted {
                has_ended: true,
                ..says([answers])
            });
            let error = connection
                .log_in(&address)
                .now_or_never()
                .expect("it is answered");
            let error = error.expect_err(answers);
            assert_eq!(matches!(error, RedisError::Login(_)), login, "{error}");
            let text = error.to_string();
            assert!(text.contains(told) && !text.contains("s3cret"), "{text}");
        }
        let mut connection = over(says(["+OK\r\n+OK\r\n-ERR unknown subcommand\r\n"]));
        let done = connection.log_in(&address).now_or_never();
        done.expect("it is answered")
            .expect("SETINFO need not be known");
    }

    /// As `SCRIPT LOAD` answers.
    #[test]
    fn scripts_are_named_as_the_server_names_them() {
        assert_eq!(
            hex(&Sha1::digest("return 1")),
            "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
        );
        let names: std::collections::BTreeSet<_> = Script::ALL.map(hash).into();
        assert_eq!(names.len(), Script::ALL.len());
    }
}
