//! Why the process ends with an error.

use std::process::ExitCode;

use crate::complaints::Complaints;

/// Why the process ends with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Settings(#[from] Complaints),
    #[error("{0}")]
    Start(String),
    #[error("{0}")]
    Asked(String),
    #[error("{0}; the server has ended")]
    Died(switchboard_driver::Died),
    #[error("the operating system refuses {doing}: {error}")]
    System {
        doing: &'static str,
        error: std::io::Error,
    },
}

/// The exit status of a process that was not told what to do, or what cannot be done.
pub(crate) const WRONG_USAGE: u8 = 2;

impl Failure {
    /// What the process ends with.
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            Self::Settings(_) => ExitCode::from(WRONG_USAGE),
            Self::Start(_) | Self::Asked(_) | Self::Died(_) | Self::System { .. } => {
                ExitCode::FAILURE
            }
        }
    }
}
