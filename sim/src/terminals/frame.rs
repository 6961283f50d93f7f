//! What a terminal's frame is: one of Switchboard's own, or a push. Nobody else looks into them.

use switchboard_core::frame::Payload;

/// What the simulator reads in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameContent {
    /// The hello.
    Hello {
        /// It says so.
        degraded: bool,
    },
    /// Another one of Switchboard's own.
    Own,
    /// An application's.
    Application,
}

/// What Switchboard's own frames begin with.
const OWN: &[u8] = br#"{"switchboard":"#;

impl FrameContent {
    pub(super) fn of(payload: &Payload) -> Self {
        let bytes = payload.bytes();
        let says = |word: &[u8]| bytes.windows(word.len()).any(|other| other == word);
        if !bytes.starts_with(OWN) {
            Self::Application
        } else if says(br#""hello""#) {
            Self::Hello {
                degraded: says(br#""degraded""#),
            }
        } else {
            Self::Own
        }
    }
}
