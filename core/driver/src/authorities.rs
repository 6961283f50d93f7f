//! The authorities that vouch for servers which are asked over TLS.

use std::env;
use std::fs::File;

use rustls::pki_types::CertificateDer;

/// The machine has no authorities that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAuthorities {
    /// There are none.
    #[error(
        "this machine has no certificates of authorities (Debian: ca-certificates); name a file with \
         them in SSL_CERT_FILE"
    )]
    Machine,
    /// The file of `SSL_CERT_FILE` cannot be read, or has none.
    #[error("SSL_CERT_FILE: {0}")]
    Named(String),
}

/// The authorities that the machine trusts, or those of the variable `SSL_CERT_FILE`, as OpenSSL has it. It reads
/// files.
///
/// # Errors
///
/// If there is none. What cannot be read of several is as if it were not there, unless somebody has named it.
pub fn authorities_of_machine() -> Result<Vec<CertificateDer<'static>>, NoAuthorities> {
    let named = env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
    let named = named.map(|file| file.to_string_lossy().into_owned());
    if let Some(file) = &named
        && let Err(error) = File::open(file)
    {
        return Err(NoAuthorities::Named(format!("{file}: {error}")));
    }
    let found = rustls_native_certs::load_native_certs().certs;
    match (found.is_empty(), named) {
        (false, _) => Ok(found),
        (true, Some(file)) => Err(NoAuthorities::Named(format!(
            "{file} is not a PEM file with certificates"
        ))),
        (true, None) => Err(NoAuthorities::Machine),
    }
}
