//! Where each setting is from, for complaints about it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use switchboard_core::config::ConfigError;

use crate::catalogue::{self, flag, variable};

/// Where settings are from; those that are not here are defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(BTreeMap<String, Origin>);

/// Where a setting is from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Flag,
    Variable,
    File {
        path: PathBuf,
        line: usize,
    },
    /// The start of the process: what is set differs, and counts after a restart only.
    Start,
}

/// A combination of settings that cannot be, or must not. It says what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unfit(pub(crate) String);

impl Origins {
    /// Says where a setting is from.
    pub(crate) fn insert(&mut self, setting: &str, origin: Origin) {
        self.0.insert(setting.to_owned(), origin);
    }

    /// Whether the setting was given, rather than left at its default.
    pub(crate) fn is_given(&self, setting: &str) -> bool {
        self.0.contains_key(setting)
    }

    /// What to call the setting when something is wrong with it.
    pub(crate) fn place(&self, setting: &str) -> String {
        match self.0.get(setting) {
            Some(origin) => origin.place(setting),
            None => match catalogue::default_of(setting) {
                Some(default) => format!("{} (not given: {default})", flag(setting)),
                None => format!("{} (not given)", flag(setting)),
            },
        }
    }

    /// What is wrong with a setting, and what would do.
    pub(crate) fn unfit(&self, setting: &str, what: impl std::fmt::Display) -> Unfit {
        Unfit(format!("{}: {what}", self.place(setting)))
    }

    /// A complaint of the settings' own check.
    pub(crate) fn complaint(&self, error: &ConfigError) -> String {
        let setting = setting_of(error.field);
        let in_file = matches!(self.0.get(setting), Some(Origin::File { .. }));
        let rule = catalogue::calling(error.rule, |other| match self.0.get(other) {
            Some(Origin::Variable) => variable(other),
            Some(Origin::File { .. }) => format!("`{other}`"),
            None if in_file => format!("`{other}`"),
            Some(Origin::Flag | Origin::Start) | None => flag(other),
        });
        format!("{}: {rule}", self.place(setting))
    }
}

impl Origin {
    /// What to call a setting that is from here.
    pub(crate) fn place(&self, setting: &str) -> String {
        match self {
            Self::Flag => flag(setting),
            Self::Variable => variable(setting),
            Self::File { path, line } => format!("{}, line {line}: `{setting}`", path.display()),
            Self::Start => format!("{} (as it was at the start)", flag(setting)),
        }
    }
}

/// The setting that names the file of a secret which programs hand over as a value.
fn setting_of(field: &'static str) -> &'static str {
    match field {
        "api_keys" => "api_key_file",
        "cluster_secret" => "cluster_secret_file",
        other => other,
    }
}
