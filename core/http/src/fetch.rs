//! HTTP requests of our own, to other servers. They block: whoever makes them has a thread for it, so
//! that they need no runtime.

use std::time::Duration;

use switchboard_driver::authorities_of_machine;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// The largest head of an answer, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// The authorities that may vouch for a server that is asked over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that the machine trusts, or those of the variable `SSL_CERT_FILE`.
    Machine,
    /// The authorities of this PEM file, and no others.
    Authorities(Vec<u8>),
}

/// Whether the proxy of the variables `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxies {
    /// As they say: the server is anywhere.
    OfEnvironment,
    /// The server is near, and no proxy would find it.
    Ignored,
}

/// Authorities that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAuthorities {
    /// The machine has none.
    #[error(transparent)]
    Machine(#[from] switchboard_driver::NoAuthorities),
    /// The file has none.
    #[error(
        "this is not a PEM file with certificates: one that begins with `-----BEGIN CERTIFICATE-----` \
         is needed"
    )]
    File,
}

/// What makes requests. A whole one, with its answer, may take `limit`. Statuses are answers, not
/// errors, and no redirect is followed.
///
/// # Errors
///
/// If `trust` is given, and holds nobody.
pub fn agent(
    trust: Option<&Trust>,
    proxies: Proxies,
    limit: Duration,
) -> Result<Agent, NoAuthorities> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(HEAD_BYTES)
        .timeout_global(Some(limit))
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")));
    if proxies == Proxies::Ignored {
        config = config.proxy(None);
    }
    if let Some(trust) = trust {
        // It is asked for when TLS begins. If there is one already, somebody chose it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = RootCerts::new_with_certs(&authorities(trust)?);
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    Ok(config.build().into())
}

fn authorities(trust: &Trust) -> Result<Vec<Certificate<'static>>, NoAuthorities> {
    match trust {
        Trust::Machine => Ok(authorities_of_machine()?
            .iter()
            .map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned())
            .collect()),
        Trust::Authorities(pem) => {
            let certificates: Vec<_> = parse_pem(pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    Ok(_) | Err(_) => None,
                })
                .collect();
            match certificates.is_empty() {
                true => Err(NoAuthorities::File),
                false => Ok(certificates),
            }
        }
    }
}
