//! What a token says, and what it must say.

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use switchboard_core::id::{InvalidTopic, TopicId};
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
    /// Topics that its terminal joins, as tokens of Centrifugo have them: `subs` by their names, whose options do not
    /// count here.
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    subs: BTreeMap<String, IgnoredAny>,
    /// The topic that it is for, if it is for a subscription; in other tokens it may be whatever it is.
    #[serde(default)]
    channel: Value,
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
        let mut rights = TopicRights::of_claim(self.topics.iter().map(String::as_str))?;
        // A channel of this kind is a user's own, or everyone's: all are subscribed to theirs.
        let channels = self.channels.iter().chain(self.subs.keys());
        for channel in channels.filter(|name| !name.starts_with('#')) {
            let topic = TopicId::new(channel)?;
            if !rights.joins.contains(&topic) {
                rights.joins.push(topic);
            }
        }
        Ok((!rights.is_empty()).then(|| rights.into()))
    }

    /// Whether it is for a subscription to some topic, and for nothing else.
    pub(super) fn is_for_one_topic(&self) -> bool {
        self.channel.as_str().is_some_and(|name| !name.is_empty())
    }

    /// Whether it is for a subscription to this topic.
    pub(super) fn is_for(&self, topic: &TopicId) -> bool {
        self.channel.as_str() == Some(topic.as_str())
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
