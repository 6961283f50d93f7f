//! Frames of a server's own, as far as logs are concerned.

use serde_json::Value;
use uuid::Uuid;

use super::channel::Channel;
use super::position::Position;

/// What a text frame outside of a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// About the log of a topic, or about that of the terminal's user.
    Of(Option<Channel>, Word),
    Other,
}

/// What is said about a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It is followed, and where from is said later.
    Greeted,
    Stands {
        position: Position,
        resumed: bool,
        expired: bool,
    },
    /// The next frame is a record.
    Message(Position, Uuid),
    Gap(Position),
    Back(Position),
    Left,
}

impl Heard {
    pub(super) fn of(text: &str) -> Self {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        Self::find(&frame["switchboard"]).unwrap_or(Self::Other)
    }

    fn find(own: &Value) -> Option<Self> {
        let (word, said) = own.as_object()?.iter().next()?;
        let position = |said: &Value| said["position"].as_str()?.parse().ok();
        let stands = |log: &Value| {
            Some(Word::Stands {
                position: position(log)?,
                resumed: log["resumed"].as_bool()?,
                expired: log["reason"] == "expired",
            })
        };
        let topic = match &said["topic"] {
            Value::Null => None,
            topic => Some(Channel::of_topic(topic.as_str()?)?),
        };
        let word = match (word.as_str(), topic) {
            ("hello", None) | ("joined", Some(_)) if said["log"].is_null() => Word::Greeted,
            ("hello", None) | ("joined", Some(_)) => stands(&said["log"])?,
            ("log", _) => stands(said)?,
            ("message", _) => {
                let push = said["id"].as_str()?.parse().ok()?;
                Word::Message(position(said)?, push)
            }
            ("gap", _) => Word::Gap(position(said)?),
            ("back", _) => Word::Back(position(said)?),
            ("left", Some(_)) => Word::Left,
            _ => return None,
        };
        Some(Self::Of(topic, word))
    }
}
