//! What a terminal asks of the log of its user.

use http::Uri;
use switchboard_core::event::Follow;
use switchboard_core::position::{InvalidPosition, Position};
use switchboard_protocol::Following;

use super::query::{self, BadEncoding};

/// What the query of a handshake asks of the log: `log=1`, or `after=POSITION`, newest first, or `history=N`; and
/// if it says nothing, what its protocol says. Other parameters are others' business.
///
/// # Errors
///
/// If it cannot be read.
pub(crate) fn follow(uri: &Uri, following: Following) -> Result<Option<Follow>, BadFollow> {
    let mut asked = match following {
        Following::IfAsked => false,
        Following::UnlessDeclined => true,
    };
    let mut follow = Follow::default();
    for pair in query::pairs(uri.query()) {
        let (name, value) = pair?;
        match name.as_ref() {
            "log" => match value.as_ref() {
                "1" => asked = true,
                "0" => asked = false,
                _ => return Err(BadFollow::Log),
            },
            "after" => {
                if follow.after.len() == Follow::AFTER_MAX {
                    return Err(BadFollow::TooMany);
                }
                follow.after.push(value.parse::<Position>()?);
            }
            "history" => follow.history = value.parse().map_err(|_| BadFollow::History)?,
            _ => {}
        }
    }
    asked |= !follow.after.is_empty() || follow.history > 0;
    Ok(asked.then_some(follow))
}

/// Something of the log that cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFollow {
    #[error("`log` is 1, or 0")]
    Log,
    #[error("`after`: {0}")]
    After(#[from] InvalidPosition),
    #[error("`after` is given {limit} times at most", limit = Follow::AFTER_MAX)]
    TooMany,
    #[error("`history` is a number of records")]
    History,
    #[error("{0}")]
    Encoding(#[from] BadEncoding),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<Option<Follow>, BadFollow> {
        follow(&uri(query), Following::IfAsked)
    }

    fn uri(query: &str) -> Uri {
        format!("/connect?{query}").parse().expect("a URI")
    }

    #[test]
    fn a_terminal_whose_protocol_has_the_log_may_do_without() {
        let all = Some(Follow::default());
        let asked = |query| follow(&uri(query), Following::UnlessDeclined);
        assert_eq!(asked("user=ann"), Ok(all));
        assert_eq!(asked("log=0"), Ok(None));
        let history = asked("history=7").expect("it can be read");
        assert_eq!(history.map(|follow| follow.history), Some(7));
    }

    #[test]
    fn a_terminal_asks_for_its_log_by_any_of_three_parameters() {
        let position = Position::new(5, 7).expect("in range");
        let other = Position::new(4, 7).expect("in range");
        assert_eq!(asked("user=ann"), Ok(None));
        assert_eq!(asked("log=0"), Ok(None));
        assert_eq!(asked("log=1&user=ann"), Ok(Some(Follow::default())));
        let after = Follow {
            after: vec![position, other],
            behind: None,
            history: 0,
        };
        assert_eq!(
            asked(&format!("after={position}&after={other}")),
            Ok(Some(after))
        );
        let history = Follow {
            after: Vec::new(),
            behind: None,
            history: 20,
        };
        assert_eq!(asked("history=20"), Ok(Some(history)));
    }

    /// H36, H45
    #[test]
    fn what_cannot_be_read_is_refused() {
        let many = vec!["after=00000000000005ffffffff"; 17].join("&");
        for (query, error) in [
            ("log=yes", BadFollow::Log),
            ("log=", BadFollow::Log),
            ("after=", BadFollow::After(InvalidPosition)),
            ("after=5-7", BadFollow::After(InvalidPosition)),
            ("history=-1", BadFollow::History),
            ("history=99999999999", BadFollow::History),
            (&many, BadFollow::TooMany),
            ("after=%zz", BadFollow::Encoding(BadEncoding::Digits)),
        ] {
            assert_eq!(asked(query), Err(error), "{query}");
        }
    }
}
