//! What a push is made of: all of it follows from its name.

use switchboard_core::id::PushId;
use uuid::Uuid;

use crate::noise;

/// The content of a push. No other's contains it.
pub(crate) fn content_of(name: &str) -> String {
    format!("<content of {name}>")
}

/// The id of a push.
pub(crate) fn id_of(name: &str) -> PushId {
    PushId::new(Uuid::from_u128(noise::id_of_name(name)))
}
