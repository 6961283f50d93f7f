//! Settings from flags, variables and file, in this order of precedence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Deserialize as _;
use serde::de::value::Error as ProbeError;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use switchboard_core::config::{Config, ConfigError};
use toml::de::{DeTable, ValueDeserializer};
use toml::{Table, Value};

use crate::complaints::Complaints;
use crate::options::{self, Options};
use crate::settings::ServerSettings;
use crate::values;

/// All settings of a server, and where each is from.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) server: ServerSettings,
    pub(crate) core: Config,
    pub(crate) origins: Origins,
}

/// Where settings are from; those that are not here are defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(BTreeMap<String, Origin>);

/// Where a setting is from.
#[derive(Clone, Debug)]
enum Origin {
    Flag,
    Variable,
    File {
        path: PathBuf,
        line: usize,
    },
    /// The start of the process: what is set differs, and counts after a restart only.
    Start,
}

/// Puts the settings together: `given` are the flags and variables, which `matches` tells apart.
///
/// # Errors
///
/// Names each setting that is unknown or has a bad value, and where it stands.
pub(crate) fn load(
    file: Option<&Path>,
    given: &Options,
    matches: &ArgMatches,
) -> Result<Loaded, Complaints> {
    let mut origins = Origins::default();
    let mut complaints = Complaints::default();
    let mut table = match file {
        Some(path) => read(path, &mut origins, &mut complaints),
        None => Table::new(),
    };
    complaints.check()?;
    let mut complaints = Complaints::default();
    // It cannot fail: flags are texts, numbers and lists of texts.
    let given = complaints.note(Table::try_from(given)).unwrap_or_default();
    for (key, value) in given {
        origins.0.insert(key.clone(), Origin::of(matches, &key));
        table.insert(key, value);
    }
    let core = complaints.note(section(&mut table, &origins));
    let server = complaints.note(section(&mut table, &origins));
    match (core, server) {
        (Some(core), Some(server)) if complaints.is_empty() => Ok(Loaded {
            server,
            core,
            origins,
        }),
        _ => Err(complaints),
    }
}

/// Everything that is wrong with single values, if something is: of flags, variables and file.
/// `matches` are those of a command that takes any text for its settings.
pub(crate) fn wrong_values(matches: &ArgMatches) -> Complaints {
    let serve = super::serve_command();
    let mut complaints = Complaints::default();
    for setting in settings() {
        let given = !matches!(
            matches.value_source(setting),
            None | Some(ValueSource::DefaultValue)
        );
        let texts: Option<Vec<String>> = matches.get_raw(setting).filter(|_| given).map(|texts| {
            texts
                .map(|text| text.to_string_lossy().into_owned())
                .collect()
        });
        if let Some(texts) = texts {
            let origin = Origin::of(matches, setting);
            let origin = Origins(BTreeMap::from([(setting.to_owned(), origin)]));
            let read = values::read(&serve, setting, &texts);
            complaints.note(read.map_err(|why| format!("{}: {why}", origin.place(setting))));
        }
    }
    if let Ok(Some(path)) = matches.try_get_one::<PathBuf>("config") {
        read(path, &mut Origins::default(), &mut complaints);
    }
    complaints
}

/// The names of all settings.
pub(crate) fn settings() -> Vec<&'static str> {
    [fields::<Config>(), fields::<ServerSettings>()].concat()
}

/// The defaults of all settings that have one.
pub(crate) fn defaults() -> Table {
    table(&Config::default(), &ServerSettings::default())
}

impl Loaded {
    /// All settings that have a value.
    pub(crate) fn table(&self) -> Table {
        table(&self.core, &self.server)
    }

    /// With the values of `force`, as [`Self::table`] gave them, for these settings.
    ///
    /// # Errors
    ///
    /// None, if the values are those of settings.
    pub(crate) fn keeping(
        mut self,
        force: &Table,
        settings: impl IntoIterator<Item = &'static str>,
    ) -> Result<Self, Complaints> {
        let mut table = self.table();
        for setting in settings {
            let kept = match force.get(setting) {
                Some(value) => table.insert(setting.to_owned(), value.clone()),
                None => table.remove(setting),
            };
            if kept.as_ref() != force.get(setting) {
                self.origins.0.insert(setting.to_owned(), Origin::Start);
            }
        }
        let mut complaints = Complaints::default();
        let core = complaints.note(section(&mut table, &self.origins));
        let server = complaints.note(section(&mut table, &self.origins));
        match (core, server) {
            (Some(core), Some(server)) => Ok(Self {
                core,
                server,
                origins: self.origins,
            }),
            _ => Err(complaints),
        }
    }
}

fn table(core: &Config, server: &ServerSettings) -> Table {
    let mut all = Table::new();
    // Neither can fail: numbers, text and lists have a form in TOML. What is absent is left out.
    all.extend(Table::try_from(core).unwrap_or_default());
    all.extend(Table::try_from(server).unwrap_or_default());
    all
}

impl Origin {
    /// Where a setting is from that is among the flags and variables.
    fn of(matches: &ArgMatches, setting: &str) -> Self {
        match matches.value_source(setting) {
            Some(ValueSource::EnvVariable) => Self::Variable,
            _ => Self::Flag,
        }
    }
}

impl Origins {
    /// Whether the setting was given, rather than left at its default.
    pub(crate) fn is_given(&self, setting: &str) -> bool {
        self.0.contains_key(setting)
    }

    /// What to call the setting when something is wrong with it.
    pub(crate) fn place(&self, setting: &str) -> String {
        match self.0.get(setting) {
            Some(Origin::Flag) => options::flag(setting),
            Some(Origin::Variable) => options::variable(setting),
            Some(Origin::File { path, line }) => {
                format!("{}, line {line}: `{setting}`", path.display())
            }
            Some(Origin::Start) => format!("{} (as it was at the start)", options::flag(setting)),
            None => format!("{} (not given)", options::flag(setting)),
        }
    }

    /// A complaint of the settings' own check.
    pub(crate) fn complaint(&self, error: &ConfigError) -> String {
        format!("{}: {}", self.place(setting_of(error.field)), error.rule)
    }
}

/// The setting behind a field of the driver's settings.
pub(crate) fn setting_of(field: &'static str) -> &'static str {
    match field {
        "terminals" => "listen",
        "api_keys" => "api_key_file",
        "cluster_secret" => "cluster_secret_file",
        other => other,
    }
}

/// Reads a settings file. What is wrong in it is left out, and noted.
fn read(path: &Path, origins: &mut Origins, complaints: &mut Complaints) -> Table {
    let mut settings_read = Table::new();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            complaints.add(format!(
                "cannot read the settings: {}: {error}",
                path.display()
            ));
            return settings_read;
        }
    };
    let (document, broken) = DeTable::parse_recoverable(&text);
    let mut broken_lines = Vec::new();
    for error in broken {
        let line = error.span().map_or(1, |span| line(&text, span.start));
        broken_lines.push(line);
        complaints.add(format!(
            "{}, line {line}: {}",
            path.display(),
            error.message()
        ));
    }
    let (known, serve) = (settings(), super::serve_command());
    let mut found: Vec<_> = document.into_inner().into_iter().collect();
    found.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in found {
        let line = line(&text, key.span().start);
        if broken_lines.contains(&line) {
            continue;
        }
        let key = key.into_inner().into_owned();
        if !known.contains(&&*key) {
            let meant = meant(nearest(&key, &known));
            complaints.add(format!(
                "{}, line {line}: there is no setting `{key}`{meant}",
                path.display()
            ));
            continue;
        }
        let path = path.to_owned();
        origins.0.insert(key.clone(), Origin::File { path, line });
        let read = Value::deserialize(ValueDeserializer::from(value))
            .map_err(|error| error.message().to_owned())
            .and_then(|value| values::read_toml(&serve, &key, &value))
            .map_err(|why| format!("{}: {why}", origins.place(&key)));
        if let Some(value) = complaints.note(read) {
            settings_read.insert(key, value);
        }
    }
    settings_read
}

/// Takes the settings of one struct out of the table.
fn section<T: DeserializeOwned>(table: &mut Table, origins: &Origins) -> Result<T, String> {
    let mut own = Table::new();
    for field in fields::<T>() {
        let Some(value) = table.remove(*field) else {
            continue;
        };
        // Each by itself, so that an error can say which.
        let alone = Table::from_iter([((*field).to_owned(), value.clone())]);
        if let Err(error) = Value::Table(alone).try_into::<T>() {
            return Err(format!("{}: {}", origins.place(field), error.message()));
        }
        own.insert((*field).to_owned(), value);
    }
    let all = Value::Table(own).try_into();
    all.map_err(|error| format!("settings: {}", error.message()))
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
pub(crate) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
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
