//! An identity provider that publishes its keys, over HTTP or HTTPS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::certificate::Certificate;

/// The provider. It ends with the process.
#[derive(Debug)]
pub struct KeyServer {
    url: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reply: Mutex<Reply>,
    requests: AtomicUsize,
}

/// What it answers.
#[derive(Clone, Debug)]
enum Reply {
    /// This status and body.
    Http(u16, String),
    /// It breaks the connection.
    Nothing,
    /// It says nothing.
    Silence,
}

impl KeyServer {
    /// One that speaks HTTP.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn http() -> Self {
        Self::start("http", |socket, shared| answer(socket, &shared))
    }

    /// One that speaks HTTPS, with this certificate.
    ///
    /// # Panics
    ///
    /// If there is no free port, or the certificate is none.
    pub fn https(certificate: &Certificate) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the versions that all speak")
            .with_no_client_auth()
            .with_single_cert(certificate.chain(), certificate.private_key())
            .expect("the key fits");
        let config = Arc::new(config);
        Self::start("https", move |socket, shared| {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a good configuration");
            answer(StreamOwned::new(session, socket), &shared);
        })
    }

    fn start(
        scheme: &str,
        serve: impl Fn(TcpStream, Arc<Shared>) + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            reply: Mutex::new(Reply::Http(200, json!({"keys": []}).to_string())),
            requests: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (serve, shared) = (serve.clone(), Arc::clone(&serving));
                thread::spawn(move || serve(socket, shared));
            }
        });
        Self {
            url: format!("{scheme}://{address}/keys"),
            shared,
        }
    }

    /// Where its keys are.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Publishes these keys, and no others.
    pub fn publish(&self, keys: &[Value]) {
        self.answer(Reply::Http(200, json!({"keys": keys}).to_string()));
    }

    /// Answers something else.
    pub fn publish_nonsense(&self, status: u16, body: &str) {
        self.answer(Reply::Http(status, body.to_owned()));
    }

    /// Breaks connections from now on.
    pub fn go_away(&self) {
        self.answer(Reply::Nothing);
    }

    /// Takes requests, and does not answer.
    pub fn hang(&self) {
        self.answer(Reply::Silence);
    }

    fn answer(&self, reply: Reply) {
        *self.shared.lock() = reply;
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers one request. What fails is the client's business.
fn answer(mut stream: impl Read + Write, shared: &Shared) {
    /// Longer than anybody waits for an answer.
    const SILENCE: Duration = Duration::from_secs(60);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) | Err(_) => return,
        }
    }
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let reply = shared.lock().clone();
    match reply {
        Reply::Http(status, body) => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n"
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body.as_bytes()))
                .and_then(|()| stream.flush());
        }
        Reply::Nothing => {}
        Reply::Silence => thread::sleep(SILENCE),
    }
}
