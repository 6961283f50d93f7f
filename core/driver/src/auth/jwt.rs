//! The authenticator that believes signed tokens.

use std::future::ready;
use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Parts;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use switchboard_core::id::UserId;
use switchboard_core::time::WallTime;

use super::token::{self, QueryToken};
use super::{AuthError, AuthKind};
use crate::{AuthFuture, Authenticator, Login};

/// Believes a JSON Web Token: the user is its `sub`, and the connection ends with it.
pub struct Jwt {
    key: DecodingKey,
    validation: Validation,
    query_token: QueryToken,
}

/// What a [`Jwt`] believes.
#[derive(Clone, Debug)]
pub struct JwtSettings {
    /// What tokens are signed with.
    pub key: JwtKey,
    /// A token must be for one of these (`aud`). Empty: `aud` is not looked at.
    pub audience: Vec<String>,
    /// A token must be by one of these (`iss`). Empty: `iss` is not looked at.
    pub issuer: Vec<String>,
    /// Whether a token must expire.
    pub expiry: Expiry,
    /// Whether a token is taken from the query.
    pub query_token: QueryToken,
}

/// What tokens are signed with. Its kind fixes the algorithm: a token that names another one is
/// refused.
#[derive(Clone)]
pub enum JwtKey {
    /// A shared secret: HS256. Line breaks at its end do not count, so that it can be a text file.
    Secret(Vec<u8>),
    /// A public key as PEM: RS256 for an RSA key, ES256 for one on P-256, EdDSA for Ed25519.
    PublicPem(Vec<u8>),
}

/// Whether a token must expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// A token without `exp` is refused.
    Required,
    /// A token without `exp` is good for ever, and so is its connection.
    Optional,
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The secret is empty.
    #[error("the secret is empty")]
    EmptySecret,
    /// The secret is a PEM file.
    #[error("this is a PEM file, not a secret: a public key goes into the setting for public keys")]
    SecretIsPem,
    /// The key is not a public one.
    #[error("this is not a public key: a PEM file that begins with `-----BEGIN PUBLIC KEY-----` is needed")]
    NotPublic,
    /// The key is none of those that can be used.
    #[error("this public key is neither RSA, nor on the curve P-256, nor Ed25519")]
    Unsupported,
}

impl Jwt {
    /// How far the clocks of issuer and server may differ, in seconds, when `exp` and `nbf` are
    /// compared with the time.
    pub const LEEWAY_SECONDS: u64 = 30;

    /// The authenticator for these settings.
    ///
    /// # Errors
    ///
    /// If the key cannot be used.
    pub fn new(settings: &JwtSettings) -> Result<Self, JwtError> {
        // The choice is the process's and is made once; an application that has made it keeps it.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let (key, algorithm) = match &settings.key {
            JwtKey::Secret(secret) => (secret_key(secret)?, Algorithm::HS256),
            JwtKey::PublicPem(pem) => public_key(pem)?,
        };
        Ok(Self {
            key,
            validation: validation(algorithm, settings),
            query_token: settings.query_token,
        })
    }

    /// The algorithm that the key fixes, as tokens name it.
    pub fn algorithm(&self) -> String {
        format!("{:?}", self.validation.algorithms[0])
    }

    /// Who the request's token says it is.
    ///
    /// # Errors
    ///
    /// If there is not exactly one token, or it does not count here.
    pub fn login(&self, parts: &Parts) -> Result<Login, AuthError> {
        let token = token::find(parts, self.query_token)?;
        self.verify(&token)
    }

    fn verify(&self, token: &str) -> Result<Login, AuthError> {
        let verified = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| AuthError::InvalidToken(self.explain(&error)))?;
        if verified.header.crit.is_some() {
            return Err(AuthError::InvalidToken(
                "the token has critical extensions (`crit`), and none is known here".to_owned(),
            ));
        }
        let user = UserId::new(&verified.claims.sub).map_err(|error| {
            AuthError::InvalidToken(format!("`sub` of the token cannot be a user: {error}"))
        })?;
        Ok(Login {
            user,
            expires: verified.claims.exp.map(|exp| end_of(exp, unix_seconds())),
            session: None,
        })
    }

    /// What is wrong with a token, without any part of it.
    fn explain(&self, error: &Error) -> String {
        let wanted = self.algorithm();
        match error.kind() {
            ErrorKind::ExpiredSignature => "the token has expired: get a new one".to_owned(),
            ErrorKind::ImmatureSignature => {
                "the token is not valid yet (`nbf`): compare the clocks".to_owned()
            }
            ErrorKind::InvalidSignature => {
                format!("the token's signature is wrong: it must be signed with {wanted} and the key that this server was given")
            }
            ErrorKind::InvalidAlgorithm => {
                format!("the token is signed with another algorithm: {wanted} is needed (`alg`)")
            }
            ErrorKind::InvalidAudience => "the token is for another audience (`aud`)".to_owned(),
            ErrorKind::InvalidIssuer => "the token is of another issuer (`iss`)".to_owned(),
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
                format!("the token has no valid `{claim}`, which is required")
            }
            ErrorKind::Json(_) => {
                "the token's header or claims cannot be read: `sub` must be a text, `exp` and `nbf` numbers".to_owned()
            }
            _ => "the token is not a JSON Web Token (three parts in base64url)".to_owned(),
        }
    }
}

impl Authenticator for Jwt {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> AuthFuture<'a> {
        Box::pin(ready(self.login(request)))
    }

    fn kind(&self) -> AuthKind {
        AuthKind::Jwt
    }
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jwt({})", self.algorithm())
    }
}

impl std::fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::PublicPem(_) => "PublicPem(..)",
        })
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: Option<f64>,
}

fn validation(algorithm: Algorithm, settings: &JwtSettings) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = Jwt::LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.validate_aud = !settings.audience.is_empty();
    let mut required = vec!["sub"];
    if settings.expiry == Expiry::Required {
        required.push("exp");
    }
    if !settings.audience.is_empty() {
        validation.set_audience(&settings.audience);
        required.push("aud");
    }
    if !settings.issuer.is_empty() {
        validation.set_issuer(&settings.issuer);
        required.push("iss");
    }
    validation.set_required_spec_claims(&required);
    validation
}

fn secret_key(secret: &[u8]) -> Result<DecodingKey, JwtError> {
    let end = secret
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
        .ok_or(JwtError::EmptySecret)?;
    let secret = &secret[..=end];
    if secret.starts_with(b"-----BEGIN ") {
        return Err(JwtError::SecretIsPem);
    }
    Ok(DecodingKey::from_secret(secret))
}

/// Bytes of a point on P-256, uncompressed: a tag and two coordinates.
const P256_POINT: usize = 65;

fn public_key(pem: &[u8]) -> Result<(DecodingKey, Algorithm), JwtError> {
    let text = std::str::from_utf8(pem).map_err(|_| JwtError::NotPublic)?;
    let public = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];
    if !public.iter().any(|begin| text.contains(begin)) {
        return Err(JwtError::NotPublic);
    }
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        return Ok((key, Algorithm::RS256));
    }
    if let Ok(key) = DecodingKey::from_ed_pem(pem) {
        return Ok((key, Algorithm::EdDSA));
    }
    match DecodingKey::from_ec_pem(pem) {
        Ok(key) if key.try_get_as_bytes().is_ok_and(|point| point.len() == P256_POINT) => {
            Ok((key, Algorithm::ES256))
        }
        Ok(_) | Err(_) => Err(JwtError::Unsupported),
    }
}

/// When the connection of a token ends: with the token, or, if it was let in although it had
/// expired by this server's clock, when the leeway ends.
fn end_of(exp: f64, now: u64) -> WallTime {
    // `as` saturates, and the claim was found to be a finite number that is not negative.
    let exp = (exp * 1000.0) as u64;
    if exp > now.saturating_mul(1000) {
        WallTime::from_millis(exp)
    } else {
        WallTime::from_millis(exp.saturating_add(Jwt::LEEWAY_SECONDS * 1000))
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
