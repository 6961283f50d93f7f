//! Certificates and keys that a test makes for itself.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    SignatureAlgorithm,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::redis::RedisServer;

/// A certificate for this machine's loopback address, by an authority of the test's own.
#[derive(Debug)]
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Makes both.
    ///
    /// # Panics
    ///
    /// If the folder cannot be written to.
    pub fn for_loopback() -> Self {
        let mut authority =
            CertificateParams::new(Vec::<String>::new()).expect("no name is a good list");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = key(&PKCS_ECDSA_P256_SHA256);
        let root = authority.self_signed(&authority_key).expect("the key fits");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server_key = key(&PKCS_ECDSA_P256_SHA256);
        let certificate = CertificateParams::new(names)
            .expect("good names")
            .signed_by(&server_key, &Issuer::new(authority, &authority_key))
            .expect("the key fits");

        let folder = TempDir::with_prefix("switchboard-").expect("a temporary folder");
        for (name, text) in [
            (AUTHORITY, root.pem()),
            (CERTIFICATE, certificate.pem()),
            (KEY, server_key.serialize_pem()),
        ] {
            fs::write(folder.path().join(name), text).expect("the folder is writable");
        }
        Self { folder }
    }

    /// The authority's certificate, for those who shall trust it.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join(AUTHORITY)
    }

    /// What a server shows.
    ///
    /// # Panics
    ///
    /// If the file is gone.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let file = self.folder.path().join(CERTIFICATE);
        let chain = CertificateDer::pem_file_iter(file).expect("the file is there");
        chain
            .map(|item| item.expect("it is a certificate"))
            .collect()
    }

    /// What a server proves it with.
    ///
    /// # Panics
    ///
    /// If the file is gone.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(self.folder.path().join(KEY)).expect("the file is there")
    }

    /// A Redis with this certificate, and its URL.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn redis(&self) -> (RedisServer, String) {
        let file = |name: &str| self.folder.path().join(name);
        RedisServer::start_with_tls(&file(CERTIFICATE), &file(KEY))
    }
}

const AUTHORITY: &str = "authority.pem";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// A new pair of keys for signatures of this kind.
///
/// # Panics
///
/// If the library cannot make keys of this kind.
pub fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("keys of this kind can be made")
}
