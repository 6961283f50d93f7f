//! What answers at the API's listener. The driver speaks HTTP there, and knows none of its paths.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};

use crate::handle::Handle;

/// Answers the requests that come to the listener of the API, at
/// [`ProcessConfig::api`](crate::ProcessConfig::api).
///
/// It is called on the thread of an instance, and must not block it: what takes time is awaited. A
/// caller that goes away is noticed when it is answered: one that has ended its side of the connection may still read.
pub trait ApiService: Send + Sync + 'static {
    /// Answers a request to this server. What the caller does wrong is an answer too. `sleep` is the
    /// runtime's timer.
    fn answer<'a>(
        &'a self,
        server: &'a Handle,
        request: Request<Incoming>,
        scope: Scope,
        sleep: MakeSleep,
    ) -> ApiFuture<'a>;
}

/// What [`ApiService::answer`] returns. It stays on its thread.
pub type ApiFuture<'a> = Pin<Box<dyn Future<Output = Response<ApiBody>> + 'a>>;

/// The body of an answer: there in full, or coming.
pub type ApiBody = Either<Full<Bytes>, Pin<Box<dyn Body<Data = Bytes, Error = Infallible>>>>;

/// Makes a future that ends after this time: the runtime's timer, whatever its type.
pub type MakeSleep = fn(Duration) -> Pin<Box<dyn Future<Output = ()>>>;

/// What a caller is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Whatever it may ask for.
    Everything,
    /// What tells how the server does, and nothing else: there is no room for more callers.
    Operation,
}
