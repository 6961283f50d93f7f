//! Numbers by which clients decide what to do.

use switchboard_core::frame::CloseCode;

use super::message::Error;
use crate::Farewell;

/// What a command is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    /// Nobody can say at present. The client tries again.
    Internal,
    /// The client has not shown who it is.
    Unauthorized,
    /// There is no such channel.
    UnknownChannel,
    /// The client may not do this.
    PermissionDenied,
    /// It is subscribed.
    AlreadySubscribed,
    /// It has as many subscriptions as it may have.
    LimitExceeded,
    /// Its user has as many connections as it may have. Some of them may be dead, and not be noticed yet: the client
    /// tries again.
    TooManyConnections,
    /// It cannot be meant.
    BadRequest,
    /// There is no such thing here.
    NotAvailable,
    /// The client gets a new token, and tries again.
    TokenExpired,
    /// It asks too often. The client tries again.
    TooManyRequests,
    /// What came after the position that was asked for is not known.
    UnrecoverablePosition,
}

impl ErrorCode {
    /// As a reply has it.
    pub(super) fn error(self) -> Error {
        let (code, message) = match self {
            Self::Internal => (100, "internal server error"),
            Self::Unauthorized => (101, "unauthorized"),
            Self::UnknownChannel => (102, "unknown channel"),
            Self::PermissionDenied => (103, "permission denied"),
            Self::AlreadySubscribed => (105, "already subscribed"),
            Self::LimitExceeded => (106, "limit exceeded"),
            Self::TooManyConnections => (106, "connection limit"),
            Self::BadRequest => (107, "bad request"),
            Self::NotAvailable => (108, "not available"),
            Self::TokenExpired => (109, "token expired"),
            Self::TooManyRequests => (111, "too many requests"),
            Self::UnrecoverablePosition => (112, "unrecoverable position"),
        };
        Error {
            code,
            message: message.to_owned(),
            temporary: matches!(
                self,
                Self::Internal | Self::TooManyRequests | Self::TooManyConnections
            ),
        }
    }
}

/// Why a client is unsubscribed that has not asked for it: below 2500 it stays so.
pub(super) const SERVER_UNSUBSCRIBE: (u32, &str) = (2000, "server unsubscribe");

/// It has missed something: it subscribes again, and is told so.
pub(super) const INSUFFICIENT_STATE: (u32, &str) = (2500, "insufficient state");

/// Its token for the subscription has expired: it gets a new one, and subscribes again.
pub(super) const SUBSCRIPTION_EXPIRED: (u32, &str) = (2501, "subscription expired");

/// How clients are told why they are closed. By the number they connect again, or stay away (3500 to 3999, and
/// 4500 to 4999). No reason is JSON, which clients would read for advice.
pub(super) const fn farewell(code: CloseCode) -> Farewell {
    let (number, reason) = match code {
        CloseCode::ServiceRestart => (3001, "shutdown"),
        CloseCode::TokenExpired => (3005, "connection expired"),
        CloseCode::SlowConsumer => (3008, "slow"),
        CloseCode::PositionLost => (3010, "insufficient state"),
        CloseCode::PingTimeout => (3012, "no pong"),
        CloseCode::InvalidToken => (3500, "invalid token"),
        CloseCode::ProtocolError | CloseCode::InvalidPayload => (3501, "bad request"),
        CloseCode::NotAuthenticated => (3502, "stale"),
        CloseCode::Kicked => (3503, "force disconnect"),
        // Of those that are counted some may be dead, and not be noticed yet.
        CloseCode::TooManyConnections => (3013, "connection limit"),
        CloseCode::Forbidden => (3507, "permission denied"),
        // 1009 is final for one client and begins a loop with others.
        CloseCode::TooLarge => (4500, "message too large"),
    };
    Farewell { number, reason }
}

/// How a client is closed that is to come again, because the server has not answered it.
pub(super) const SERVER_ERROR: Farewell = Farewell {
    number: 3004,
    reason: "internal server error",
};

/// Whether a client is told why before it is closed: not if it does not read what it is told.
pub(super) const fn is_announced(code: CloseCode) -> bool {
    !matches!(code, CloseCode::SlowConsumer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As clients decide it.
    const fn stays_away(number: u16) -> bool {
        matches!(number, 3500..=3999 | 4500..=4999)
    }

    #[test]
    fn who_can_do_better_next_time_connects_again_and_others_stay_away() {
        for code in CloseCode::ALL {
            let final_for = match code {
                CloseCode::ServiceRestart
                | CloseCode::TokenExpired
                | CloseCode::SlowConsumer
                | CloseCode::PositionLost
                | CloseCode::TooManyConnections
                | CloseCode::PingTimeout => false,
                CloseCode::InvalidToken
                | CloseCode::ProtocolError
                | CloseCode::InvalidPayload
                | CloseCode::NotAuthenticated
                | CloseCode::Kicked
                | CloseCode::Forbidden
                | CloseCode::TooLarge => true,
            };
            assert_eq!(stays_away(farewell(code).number), final_for, "{code:?}");
        }
        assert!(!stays_away(SERVER_ERROR.number));
    }

    #[test]
    fn no_reason_is_json_and_each_fits_a_close_frame() {
        for code in CloseCode::ALL {
            let reason = farewell(code).reason;
            assert!((1..=123).contains(&reason.len()), "{reason}");
            assert!(
                serde_json::from_str::<serde_json::Value>(reason).is_err(),
                "{reason}"
            );
        }
    }
}
