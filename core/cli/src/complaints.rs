//! What is wrong with the settings: all of it at once.

use std::fmt;

/// What is wrong with the settings, in the order in which it was found. Each names a setting where it
/// was set, and says what would do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaints(Vec<String>);

impl Complaints {
    /// Adds a complaint.
    pub(crate) fn add(&mut self, complaint: String) {
        self.0.push(complaint);
    }

    /// Keeps what is right, and notes what is wrong.
    pub(crate) fn note<T>(&mut self, result: Result<T, impl fmt::Display>) -> Option<T> {
        result.map_err(|error| self.add(error.to_string())).ok()
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, if there are any.
    ///
    /// # Errors
    ///
    /// If something is wrong.
    pub(crate) fn check(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [complaint] = &*self.0 {
            return f.write_str(complaint);
        }
        write!(f, "{} settings cannot be used:", self.0.len())?;
        self.0
            .iter()
            .try_for_each(|complaint| write!(f, "\n  {complaint}"))
    }
}

impl std::error::Error for Complaints {}
