//! Settings from flags, variables and file, in this order of precedence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::de::value::Error as ProbeError;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use switchboard_core::config::{Config, ConfigError};
use toml::de::DeTable;
use toml::{Table, Value};

use super::options::{self, Options};
use super::settings::ServerSettings;

/// All settings of a server, and where each is from.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) server: ServerSettings,
    pub(super) core: Config,
    pub(super) origins: Origins,
}

/// Where settings are from; those that are not here are defaults.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

/// Where a setting is from.
#[derive(Clone, Debug)]
enum Origin {
    Flag,
    Variable,
    File { path: PathBuf, line: usize },
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("cannot read the settings: {}: {error}", path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error("{}, line {line}: there is no setting `{key}`{}", path.display(), meant(*suggestion))]
    Unknown {
        path: PathBuf,
        line: usize,
        key: String,
        suggestion: Option<&'static str>,
    },
    #[error("{place}: {message}")]
    Value { place: String, message: String },
}

/// Puts the settings together: `given` are the flags and variables, which `matches` tells apart.
///
/// # Errors
///
/// Names the setting that is unknown or has a bad value, and where it stands.
pub(super) fn load(
    file: Option<&Path>,
    given: &Options,
    matches: &ArgMatches,
) -> Result<Loaded, LoadError> {
    let mut origins = Origins::default();
    let mut table = match file {
        Some(path) => read(path, &mut origins)?,
        None => Table::new(),
    };
    let given = Table::try_from(given).map_err(|error| LoadError::Value {
        place: "flags and variables".to_owned(),
        message: error.to_string(),
    })?;
    for (key, value) in given {
        let origin = match matches.value_source(&key) {
            Some(ValueSource::EnvVariable) => Origin::Variable,
            _ => Origin::Flag,
        };
        origins.0.insert(key.clone(), origin);
        table.insert(key, value);
    }
    let core = section(&mut table, &origins)?;
    let server = section(&mut table, &origins)?;
    Ok(Loaded {
        server,
        core,
        origins,
    })
}

/// The names of all settings.
pub(super) fn settings() -> Vec<&'static str> {
    [fields::<Config>(), fields::<ServerSettings>()].concat()
}

/// The defaults of all settings that have one.
pub(super) fn defaults() -> Table {
    let mut all = Table::new();
    // Neither can fail: numbers, text and lists have a form in TOML. What is absent is left out.
    all.extend(Table::try_from(Config::default()).unwrap_or_default());
    all.extend(Table::try_from(ServerSettings::default()).unwrap_or_default());
    all
}

impl Origins {
    /// Whether the setting was given, rather than left at its default.
    pub(super) fn is_given(&self, setting: &str) -> bool {
        self.0.contains_key(setting)
    }

    /// What to call the setting when something is wrong with it.
    pub(super) fn place(&self, setting: &str) -> String {
        match self.0.get(setting) {
            Some(Origin::Flag) => options::flag(setting),
            Some(Origin::Variable) => options::variable(setting),
            Some(Origin::File { path, line }) => {
                format!("{}, line {line}: `{setting}`", path.display())
            }
            None => format!("{} (not given)", options::flag(setting)),
        }
    }

    /// A complaint of the settings' own check.
    pub(super) fn complaint(&self, error: &ConfigError) -> String {
        format!("{}: {}", self.place(setting_of(error.field)), error.rule)
    }
}

/// The setting behind a field of the driver's settings.
pub(super) fn setting_of(field: &'static str) -> &'static str {
    match field {
        "terminals" => "listen",
        "api_keys" => "api_key_file",
        "cluster_secret" => "cluster_secret_file",
        other => other,
    }
}

fn read(path: &Path, origins: &mut Origins) -> Result<Table, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|error| LoadError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let syntax = |error: toml::de::Error| LoadError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line(&text, span.start)),
        message: error.message().to_owned(),
    };
    let known = settings();
    for key in DeTable::parse(&text).map_err(syntax)?.get_ref().keys() {
        let line = line(&text, key.span().start);
        let name: &str = key.get_ref();
        if !known.contains(&name) {
            return Err(LoadError::Unknown {
                path: path.to_owned(),
                line,
                key: name.to_owned(),
                suggestion: nearest(name, &known),
            });
        }
        let origin = Origin::File {
            path: path.to_owned(),
            line,
        };
        origins.0.insert(name.to_owned(), origin);
    }
    text.parse().map_err(syntax)
}

/// Takes the settings of one struct out of the table.
fn section<T: DeserializeOwned>(table: &mut Table, origins: &Origins) -> Result<T, LoadError> {
    let mut own = Table::new();
    for field in fields::<T>() {
        let Some(value) = table.remove(*field) else {
            continue;
        };
        // Each by itself, so that an error can say which.
        let alone = Table::from_iter([((*field).to_owned(), value.clone())]);
        if let Err(error) = Value::Table(alone).try_into::<T>() {
            return Err(LoadError::Value {
                place: origins.place(field),
                message: error.message().to_owned(),
            });
        }
        own.insert((*field).to_owned(), value);
    }
    Value::Table(own)
        .try_into()
        .map_err(|error| LoadError::Value {
            place: "settings".to_owned(),
            message: error.message().to_owned(),
        })
}

/// The names of a struct's fields, as serde knows them.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &[&str] = &[];
    // It ends in an error, always: the probe has no values.
    let _ = T::deserialize(Probe(&mut fields));
    fields
}

/// Asks a struct for its fields.
struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = ProbeError;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, ProbeError> {
        *self.0 = fields;
        Err(ProbeError::custom("a probe has no values"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, ProbeError> {
        Err(ProbeError::custom("not a struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The setting that was probably meant.
pub(super) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    /// Below this similarity a suggestion confuses more than it helps; it is what clap takes.
    const SIMILAR: f64 = 0.8;
    let name = name.replace('-', "_").to_lowercase();
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&name, candidate), *candidate))
        .filter(|(similarity, _)| *similarity > SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

fn meant(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(": did you mean `{name}`?"))
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
        + 1
}
