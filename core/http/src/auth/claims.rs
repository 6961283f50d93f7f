//! What a token says, and what it must say.

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use switchboard_core::id::InvalidTopic;
use switchboard_core::time::WallTime;
use switchboard_core::topic::{SharedRights, TopicRights};

use super::settings::{Expiry, JwtSettings};

/// What a token says.
#[derive(Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    exp: Option<f64>,
    /// Topics that its terminal joins, and patterns of those that it may join.
    #[serde(default)]
    topics: Vec<String>,
}

/// How far the clocks of issuer and server may differ.
pub(super) const LEEWAY_SECONDS: u64 = 30;

/// The latest end of a token, in seconds: that of the year 9999, the last that calendars write. All
/// moments since 1978 are beyond it in milliseconds.
const LAST_EXP: f64 = 253_402_300_799.0;

impl Claims {
    /// Whether its end is beyond all calendars: then it was not meant.
    pub(super) fn never_expires(&self) -> bool {
        self.exp.is_some_and(|exp| exp > LAST_EXP)
    }

    /// What its terminal has to do with topics. `None`: nothing.
    pub(super) fn topics(&self) -> Result<Option<SharedRights>, InvalidTopic> {
        if self.topics.is_empty() {
            return Ok(None);
        }
        let rights = TopicRights::of_claim(self.topics.iter().map(String::as_str))?;
        Ok(Some(rights.into()))
    }

    /// When the connection of the token ends: with the token, or, if it was let in although it had
    /// expired by this server's clock, when the leeway ends.
    pub(super) fn end(&self, now: u64) -> Option<WallTime> {
        // `as` saturates, and the claim was found to be a finite number that is not negative.
        let exp = (self.exp? * 1000.0) as u64;
        Some(WallTime::from_millis(if exp > now.saturating_mul(1000) {
            exp
        } else {
            exp.saturating_add(LEEWAY_SECONDS * 1000)
        }))
    }
}

/// What a token must say. The algorithm is that of the key which it is compared with.
pub(super) fn validation(settings: &JwtSettings) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.algorithms.clear();
    validation.leeway = LEEWAY_SECONDS;
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
