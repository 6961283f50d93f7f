//! Settings from flags, variables and file, in this order of precedence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use switchboard_core::config::{Config, ConfigError};
use switchboard_core::settings::{Setting, SettingTable};
use switchboard_driver::ProcessConfig;
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
    pub(crate) process: ProcessConfig,
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
    for (key, value) in given.table() {
        origins.0.insert(key.clone(), Origin::of(matches, key));
        table.insert(key.clone(), value.clone());
    }
    Loaded::of(table, origins)
}

/// Everything that is wrong with single values, if something is: of flags, variables and file.
/// `matches` are those of a command that takes any text for its settings.
pub(crate) fn wrong_values(matches: &ArgMatches) -> Complaints {
    let mut complaints = Complaints::default();
    for setting in settings() {
        let name = setting.name;
        for text in matches.get_raw(name).into_iter().flatten() {
            let origin = Origin::of(matches, name);
            let origin = Origins(BTreeMap::from([(name.to_owned(), origin)]));
            let read = values::read(setting, &text.to_string_lossy());
            complaints.note(read.map_err(|why| format!("{}: {why}", origin.place(name))));
        }
    }
    if let Ok(Some(path)) = matches.try_get_one::<PathBuf>("config") {
        read(path, &mut Origins::default(), &mut complaints);
    }
    complaints
}

/// Settings that are listed behind one of another table, because that is where a reader looks for them.
const LISTED_BEHIND: [(&str, &str); 4] = [
    ("workers", "name"),
    ("prefix", "redis"),
    ("frame_bytes", "connections_per_user"),
    ("header_bytes", "frame_bytes"),
];

/// All settings, those under one heading one after the other.
pub(crate) fn settings() -> Vec<&'static Setting> {
    let tables = [
        ServerSettings::SETTINGS,
        ProcessConfig::SETTINGS,
        Config::SETTINGS,
    ];
    let mut settings: Vec<_> = tables.into_iter().flatten().collect();
    let mut groups = Vec::new();
    for setting in &settings {
        if !groups.contains(&setting.group) {
            groups.push(setting.group);
        }
    }
    settings.sort_by_key(|setting| groups.iter().position(|group| *group == setting.group));
    for (name, before) in LISTED_BEHIND {
        let moved = settings.extract_if(.., |setting| setting.name == name);
        let moved: Vec<_> = moved.collect();
        let place = settings.iter().position(|setting| setting.name == before);
        let place = place.map_or(settings.len(), |before| before + 1);
        settings.splice(place..place, moved);
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
    let defaults = Loaded {
        server: ServerSettings::default(),
        process: ProcessConfig::default(),
        core: Config::default(),
        origins: Origins::default(),
    };
    defaults.table()
}

impl Loaded {
    /// All settings that have a value.
    pub(crate) fn table(&self) -> Table {
        let mut all = Table::new();
        // None can fail: numbers, text and lists have a form in TOML. What is absent is left out.
        all.extend(Table::try_from(&self.server).unwrap_or_default());
        all.extend(Table::try_from(&self.process).unwrap_or_default());
        all.extend(Table::try_from(&self.core).unwrap_or_default());
        all
    }

    fn of(mut table: Table, origins: Origins) -> Result<Self, Complaints> {
        let mut complaints = Complaints::default();
        let core = complaints.note(section(&mut table, &origins));
        let process = complaints.note(section(&mut table, &origins));
        let server = complaints.note(section(&mut table, &origins));
        match (server, process, core) {
            (Some(server), Some(process), Some(core)) => Ok(Self {
                server,
                process,
                core,
                origins,
            }),
            _ => Err(complaints),
        }
    }

    /// With the values of `force`, as [`Self::table`] returns them, for these settings.
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
        Self::of(table, self.origins)
    }
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
    let mut found: Vec<_> = document.into_inner().into_iter().collect();
    found.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in found {
        let line = line(&text, key.span().start);
        if broken_lines.contains(&line) {
            continue;
        }
        let key = key.into_inner().into_owned();
        let Some(setting) = setting(&key) else {
            let meant = meant(nearest(&key, &names()));
            complaints.add(format!(
                "{}, line {line}: there is no setting `{key}`{meant}",
                path.display()
            ));
            continue;
        };
        let path = path.to_owned();
        origins.0.insert(key.clone(), Origin::File { path, line });
        let read = Value::deserialize(ValueDeserializer::from(value))
            .map_err(|error| error.message().to_owned())
            .and_then(|value| values::read_toml(setting, &value))
            .map_err(|why| format!("{}: {why}", origins.place(&key)));
        if let Some(value) = complaints.note(read) {
            settings_read.insert(key, value);
        }
    }
    settings_read
}

/// Takes the settings of one struct out of the table.
fn section<T: SettingTable + DeserializeOwned>(
    table: &mut Table,
    origins: &Origins,
) -> Result<T, String> {
    let mut own = Table::new();
    for Setting { name, .. } in T::SETTINGS {
        let Some(value) = table.remove(*name) else {
            continue;
        };
        // Each by itself, so that an error can say which.
        let alone = Table::from_iter([((*name).to_owned(), value.clone())]);
        if let Err(error) = Value::Table(alone).try_into::<T>() {
            return Err(format!("{}: {}", origins.place(name), error.message()));
        }
        own.insert((*name).to_owned(), value);
    }
    let all = Value::Table(own).try_into();
    all.map_err(|error| format!("settings: {}", error.message()))
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
