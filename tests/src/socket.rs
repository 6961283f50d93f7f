//! WebSockets of terminals that are many, served by a few threads.

use std::fmt;
use std::net::SocketAddr;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::TokioAdapter;
use tokio::net::TcpStream;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocketConfig;

/// An open connection.
pub type Socket = WebSocketStream<TokioAdapter<TcpStream>>;

/// Connects to `/connect` of a server, with this query.
///
/// # Errors
///
/// What is wrong, for people; the answer of a server that refuses begins with `refused`.
pub async fn open(server: SocketAddr, query: &str) -> Result<Socket, String> {
    open_at(server, "/connect", query).await
}

/// Connects to a path of a server, with this query.
///
/// # Errors
///
/// What is wrong, for people; the answer of a server that refuses begins with `refused`.
pub async fn open_at(server: SocketAddr, path: &str, query: &str) -> Result<Socket, String> {
    let told = |error: &dyn fmt::Display| error.to_string();
    let request = format!("ws://{server}{path}?{query}").into_client_request();
    let request = request.map_err(|error| told(&error))?;
    let stream = TcpStream::connect(server).await;
    let stream = TokioAdapter::new(stream.map_err(|error| told(&error))?);
    // Small buffers: there are many terminals, and their frames are small.
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0);
    let opened = async_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    match opened {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(body);
            Err(format!("refused with {}: {body}", response.status()))
        }
        Err(error) => Err(told(&error)),
    }
}
