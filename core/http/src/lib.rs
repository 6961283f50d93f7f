//! The HTTP API of a Switchboard server, its metrics and its status page, and the authenticators that
//! come with Switchboard.
//!
//! The driver has the sockets. It hands each request at the API's listener to an [`Api`], and each
//! handshake of a terminal to an authenticator: one of [`auth`], or one of the application's own.
//! Nothing here knows a runtime or a socket.
//!
//! ```no_run
//! use switchboard_driver::runtime::Runtime;
//! use switchboard_driver::{Builder, Server, Settings};
//! use switchboard_http::auth::Open;
//! use switchboard_http::{Api, ApiSettings};
//!
//! # async fn run<R: Runtime>() -> Result<Server, Box<dyn std::error::Error>> {
//! let mut settings = Settings::default();
//! settings.process.listen = Some("127.0.0.1:8080".parse()?);
//! settings.process.api = Some("127.0.0.1:8081".parse()?);
//! let builder = Builder::<R>::default().settings(settings);
//! let api = Api::new(ApiSettings::default())?;
//! let server = builder.authenticator(Open).api(api).start().await?;
//! # Ok(server)
//! # }
//! ```

#![deny(unsafe_code)]

mod api;
pub mod auth;
#[cfg(feature = "jwks-url")]
pub mod fetch;
mod metrics;

pub use api::{AccessCheck, Api, ApiConfig, ApiSettings};
