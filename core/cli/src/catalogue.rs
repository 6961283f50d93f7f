//! All settings, whatever table they stand in.
//!
//! A setting's name is that in the file; its flag has dashes for underscores, and its variable is in capitals
//! behind `SWITCHBOARD_`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use switchboard_core::config::{Config, ConfigError};
use switchboard_core::settings::{Setting, SettingTable};
use switchboard_driver::ProcessConfig;
use switchboard_http::ApiConfig;
use toml::{Table, Value};

use crate::settings::{FetchSettings, ServerSettings, TokenSettings, process_defaults};
use crate::values;

/// Declares [`Tables`]: a field for each table of settings, with the defaults that the server has.
macro_rules! tables {
    ($($(#[$help:meta])* $field:ident: $Table:ident = $defaults:expr,)+) => {
        /// All settings of a server.
        #[derive(Clone, Debug)]
        pub(crate) struct Tables {
            $($(#[$help])* pub(crate) $field: $Table,)+
        }

        impl Default for Tables {
            fn default() -> Self {
                Self { $($field: $defaults,)+ }
            }
        }

        impl Tables {
            /// All settings, table after table.
            const SETTINGS: &[&[Setting]] = &[$($Table::SETTINGS,)+];

            /// The settings that have a value, as a file has them.
            pub(crate) fn values(&self) -> Table {
                let mut all = Table::new();
                $(all.extend(values_of(&self.$field));)+
                all
            }

            /// What does not fit together within a table, and what would.
            pub(crate) fn misfits(&self) -> Vec<ConfigError> {
                [$(self.$field.misfits(),)+].concat()
            }

            /// The defaults, but for the settings that have one of these values.
            ///
            /// # Errors
            ///
            /// Names each value that cannot be, in tables before this one's order, and what is wrong with it.
            pub(crate) fn with(given: &Table) -> Result<Self, Vec<WrongValue>> {
                let defaults = Self::default();
                let mut wrong = Vec::new();
                $(let $field = take(given, defaults.$field, &mut wrong);)+
                match wrong.is_empty() {
                    true => Ok(Self { $($field,)+ }),
                    false => Err(wrong),
                }
            }
        }
    };
}

tables! {
    /// What the server `switchboard` has beside the others.
    server: ServerSettings = ServerSettings::default(),
    /// How signed tokens are read.
    tokens: TokenSettings = TokenSettings::default(),
    /// How published keys are fetched.
    fetches: FetchSettings = FetchSettings::default(),
    /// The HTTP API.
    api: ApiConfig = ApiConfig::default(),
    /// Settings of the process, which its instances share.
    process: ProcessConfig = process_defaults(),
    /// Settings of each instance.
    core: Config = Config::default(),
}

/// A value that its table does not take.
#[derive(Debug)]
pub(crate) struct WrongValue {
    pub(crate) setting: &'static str,
    pub(crate) why: String,
}

/// The headings of settings, in the order in which they are listed.
pub(crate) const HEADINGS: [&str; 12] = [
    "Listeners",
    "Cluster",
    "Who may connect",
    "HTTP API",
    "Stopping",
    "Log, on standard error",
    "Connections of an instance",
    "Topics",
    "Pushes",
    "Logs of durable pushes",
    "Links between instances",
    "Directory and lease",
];

/// All settings, those under one heading one after the other.
pub(crate) fn settings() -> Vec<&'static Setting> {
    let mut settings: Vec<_> = Tables::SETTINGS.iter().copied().flatten().collect();
    settings.sort_by_key(|setting| HEADINGS.iter().position(|group| *group == setting.group));
    let behind = |setting: &&Setting| setting.behind.is_some();
    let moved: Vec<&Setting> = settings.extract_if(.., |setting| behind(setting)).collect();
    for setting in moved {
        let place = settings
            .iter()
            .position(|other| Some(other.name) == setting.behind);
        settings.insert(place.map_or(settings.len(), |place| place + 1), setting);
    }
    settings
}

/// The setting of this name.
pub(crate) fn setting(name: &str) -> Option<&'static Setting> {
    settings().into_iter().find(|setting| setting.name == name)
}

/// The names of all settings.
pub(crate) fn names() -> Vec<&'static str> {
    let settings = settings().into_iter();
    settings.map(|setting| setting.name).collect()
}

/// The defaults of all settings that have one.
pub(crate) fn defaults() -> Table {
    Tables::default().values()
}

/// The default of a setting as one would write it, if there is something.
pub(crate) fn default_of(name: &str) -> Option<String> {
    values::written(defaults().get(name)?, setting(name)?.unit)
}

/// The setting that was probably meant.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    /// Below this similarity a suggestion confuses more than it helps; it is what clap takes.
    const SIMILAR: f64 = 0.8;
    let name = name.replace('-', "_").to_lowercase();
    names()
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// The variable of a setting.
pub(crate) fn variable(setting: &str) -> String {
    format!("{}{}", VARIABLES, setting.to_uppercase())
}

/// What each variable begins with.
pub(crate) const VARIABLES: &str = "SWITCHBOARD_";

/// The flag of a setting.
pub(crate) fn flag(setting: &str) -> String {
    format!("--{}", setting.replace('_', "-"))
}

/// A text of a table, in which each setting that it names in backticks is called as `call` says.
pub(crate) fn calling(text: &str, call: impl Fn(&str) -> String) -> String {
    let parts = text.split('`').enumerate();
    let called = parts.map(|(place, part)| match (place % 2, setting(part)) {
        (0, _) => part.to_owned(),
        (_, Some(setting)) => call(setting.name),
        (_, None) => format!("`{part}`"),
    });
    called.collect()
}

/// Help as commands print it: without the period at its end.
pub(crate) fn sentence(help: &'static str) -> &'static str {
    help.strip_suffix('.').unwrap_or(help)
}

/// The values of one table. None can fail: numbers, text and lists have a form in TOML. What is absent is
/// left out.
fn values_of(table: &impl Serialize) -> Table {
    Table::try_from(table).unwrap_or_default()
}

/// One table, with those of the values that are its own.
fn take<T>(given: &Table, defaults: T, wrong: &mut Vec<WrongValue>) -> T
where
    T: SettingTable + Serialize + DeserializeOwned,
{
    let mut own = values_of(&defaults);
    let before = wrong.len();
    for Setting { name, .. } in T::SETTINGS {
        let Some(value) = given.get(*name) else {
            continue;
        };
        // Each by itself, so that an error can say which.
        let alone = Table::from_iter([((*name).to_owned(), value.clone())]);
        if let Err(error) = Value::Table(alone).try_into::<T>() {
            let why = error.message().to_owned();
            wrong.push(WrongValue { setting: name, why });
        }
        own.insert((*name).to_owned(), value.clone());
    }
    match Value::Table(own).try_into() {
        Ok(table) => table,
        Err(_) if wrong.len() > before => defaults,
        Err(error) => unreachable!("each setting was read by itself: {error}"),
    }
}
