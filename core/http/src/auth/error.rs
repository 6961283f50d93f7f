//! Why keys cannot be used, or are not available.

#[cfg(feature = "jwks-url")]
use http::StatusCode;

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The secret is empty.
    #[error("the secret is empty")]
    EmptySecret,
    /// The secret is shorter than the hash that it keys.
    #[error(
        "the secret has {bytes} bytes, and HS256 needs at least {least}: make one with `openssl rand -hex 32`"
    )]
    ShortSecret {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it must have: [`JwtKey::SECRET_MIN_BYTES`](super::JwtKey::SECRET_MIN_BYTES).
        least: usize,
    },
    /// The secret has several lines.
    #[error(
        "the secret has several lines: one counts, so a file with the old one and the new one is neither"
    )]
    SeveralLines,
    /// The secret is a PEM file.
    #[error("this is a PEM file, not a secret: a public key goes into the setting for public keys")]
    SecretIsPem,
    /// The key is not a public one.
    #[error(
        "this is not a public key: PEM that begins with `-----BEGIN PUBLIC KEY-----` is needed"
    )]
    NotPublic,
    /// PEM that breaks off.
    #[error("the key breaks off: its line `-----END PUBLIC KEY-----` is missing")]
    CutOff,
    /// The key is none of those that can be used.
    #[error("this public key is neither RSA, nor on the curve P-256, nor Ed25519")]
    Unsupported,
    /// An RSA key of a size that cannot be used.
    #[error(
        "this RSA key has {bits} bits, and those of {least} to {most} can be used: make one with \
         `openssl genrsa {least}`"
    )]
    RsaSize {
        /// Bits that it has.
        bits: usize,
        /// Bits that it must have: [`JwtKey::RSA_MIN_BITS`](super::JwtKey::RSA_MIN_BITS).
        least: usize,
        /// Bits that it may have: [`JwtKey::RSA_MAX_BITS`](super::JwtKey::RSA_MAX_BITS).
        most: usize,
    },
    /// There is no key at all.
    #[error("there is no key")]
    NoKey,
    /// More keys than are tried for a token.
    #[error("there are {keys} keys, and at most {limit} can count side by side")]
    TooMany {
        /// Keys that there are.
        keys: usize,
        /// Keys that can be.
        limit: usize,
    },
    /// The text is not a JSON Web Key Set.
    #[error("this is not a JSON Web Key Set, which is {{\"keys\": [...]}}: {0}")]
    NotASet(String),
    /// No key of a set can be used.
    #[error(
        "the set has no public key for signatures: RSA of 2048 to 8192 bits, P-256, P-384 and Ed25519 \
         keys count, and shared secrets never do"
    )]
    NothingUsable,
    /// One of several keys cannot be used.
    #[error("key {number} of the file: {error}")]
    OfSeveral {
        /// Its place among them, from 1.
        number: usize,
        /// What is wrong with it.
        error: Box<Self>,
    },
}

/// Why keys cannot be fetched.
#[cfg(feature = "jwks-url")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// The address cannot be one.
    #[error(
        "write https://HOST/PATH; http:// is for this machine alone, because whoever can change keys on \
         their way can be anybody"
    )]
    Url,
    /// The address has a user or a password.
    #[error(
        "write the address without a user and a password: keys to check tokens with are public"
    )]
    UserInfo,
    /// Nobody can vouch for the provider.
    #[error("{0}")]
    Authorities(String),
    /// The operating system refuses a thread.
    #[error("the operating system refuses a thread: {0}")]
    Thread(String),
    /// There was no answer.
    #[error("{0}")]
    Unreachable(String),
    /// The certificate does not count.
    #[error("the certificate does not count ({0}): is its authority one that is trusted here?")]
    Certificate(String),
    /// The answer is something else.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// The answer is no set of keys that can be used.
    #[error("{0}")]
    Set(JwtError),
}
