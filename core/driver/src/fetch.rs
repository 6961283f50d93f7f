//! HTTP requests of our own, to other servers. They block: whoever makes them has a thread for it, so
//! that they need no runtime.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The largest head of an answer, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A server without TLS.
    Plainly,
    /// One with a certificate by an authority that the machine trusts, or one of those in the file
    /// that the variable `SSL_CERT_FILE` names.
    OverTls,
}

/// This machine trusts nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine has no certificates of authorities (Debian: ca-certificates); name a file with them \
     in SSL_CERT_FILE"
)]
pub(crate) struct NoAuthorities;

/// What makes requests to a server that is near: the proxy of the environment is not used. A whole
/// request, with its answer, may take `limit`. Statuses are answers, not errors, and no redirect is
/// followed.
///
/// # Errors
///
/// If it is asked over TLS, and this machine trusts nobody.
pub(crate) fn agent(asked: Asked, limit: Duration) -> Result<Agent, NoAuthorities> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(HEAD_BYTES)
        .timeout_global(Some(limit))
        .proxy(None)
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")));
    if asked == Asked::OverTls {
        // It is asked for when TLS begins. If there is one already, somebody chose it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = RootCerts::new_with_certs(&authorities()?);
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    Ok(config.build().into())
}

fn authorities() -> Result<Vec<Certificate<'static>>, NoAuthorities> {
    // What cannot be read of them is as if it were not there.
    let found = rustls_native_certs::load_native_certs().certs;
    let certificates: Vec<_> = found
        .iter()
        .map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned())
        .collect();
    match certificates.is_empty() {
        true => Err(NoAuthorities),
        false => Ok(certificates),
    }
}
