//! Settings from flags, variables and file, in this order of precedence.

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Deserialize as _;
use toml::de::{DeTable, ValueDeserializer};
use toml::{Table, Value};

use crate::catalogue::{self, Tables};
use crate::complaints::Complaints;
use crate::options::Serve;
use crate::origins::{Origin, Origins};
use crate::values;

/// All settings of a server, and where each is from.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) tables: Tables,
    pub(crate) origins: Origins,
}

/// Puts the settings together: `given` are the flags and variables, which `matches` tells apart.
///
/// # Errors
///
/// Names each setting that is unknown or has a bad value, and where it stands.
pub(crate) fn load(given: &Serve, matches: &ArgMatches) -> Result<Loaded, Complaints> {
    let mut origins = Origins::default();
    let mut complaints = Complaints::default();
    let mut table = match &given.config {
        Some(path) => read(path, &mut origins, &mut complaints),
        None => Table::new(),
    };
    complaints.check()?;
    for (name, value) in given.options.table() {
        origins.insert(name, origin(matches, name));
        table.insert(name.clone(), value.clone());
    }
    Loaded::of(&table, origins)
}

/// Everything that is wrong with single values, if something is: of flags, variables and file.
/// `matches` are those of a command that takes any text for its settings.
pub(crate) fn wrong_values(matches: &ArgMatches) -> Complaints {
    let mut complaints = Complaints::default();
    for setting in catalogue::settings() {
        let name = setting.name;
        for text in matches.get_raw(name).into_iter().flatten() {
            let place = origin(matches, name).place(name);
            let read = values::read(setting, &text.to_string_lossy());
            complaints.note(read.map_err(|why| format!("{place}: {why}")));
        }
    }
    if let Ok(Some(path)) = matches.try_get_one::<PathBuf>("config") {
        read(path, &mut Origins::default(), &mut complaints);
    }
    complaints
}

impl Loaded {
    fn of(table: &Table, origins: Origins) -> Result<Self, Complaints> {
        match Tables::with(table) {
            Ok(tables) => Ok(Self { tables, origins }),
            Err(wrong) => {
                let mut complaints = Complaints::default();
                for wrong in wrong {
                    complaints.add(format!("{}: {}", origins.place(wrong.setting), wrong.why));
                }
                Err(complaints)
            }
        }
    }

    /// With the values of `force`, as [`Tables::values`] returns them, for these settings.
    ///
    /// # Errors
    ///
    /// None, if the values are those of settings.
    pub(crate) fn keeping(
        mut self,
        force: &Table,
        settings: impl IntoIterator<Item = &'static str>,
    ) -> Result<Self, Complaints> {
        let mut table = self.tables.values();
        for setting in settings {
            let kept = match force.get(setting) {
                Some(value) => table.insert(setting.to_owned(), value.clone()),
                None => table.remove(setting),
            };
            if kept.as_ref() != force.get(setting) {
                self.origins.insert(setting, Origin::Start);
            }
        }
        Self::of(&table, self.origins)
    }
}

/// Where a setting is from that is among the flags and variables.
fn origin(matches: &ArgMatches, setting: &str) -> Origin {
    match matches.value_source(setting) {
        Some(ValueSource::EnvVariable) => Origin::Variable,
        _ => Origin::Flag,
    }
}

/// Reads a settings file. What is wrong in it is left out, and noted.
fn read(path: &Path, origins: &mut Origins, complaints: &mut Complaints) -> Table {
    let mut settings = Table::new();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            complaints.add(format!(
                "cannot read the settings: {}: {error}",
                path.display()
            ));
            return settings;
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
        let name = key.into_inner().into_owned();
        let Some(setting) = catalogue::setting(&name) else {
            complaints.add(format!(
                "{}, line {line}: there is no setting `{name}`{}",
                path.display(),
                meant(&name)
            ));
            continue;
        };
        let path = path.to_owned();
        origins.insert(&name, Origin::File { path, line });
        let read = Value::deserialize(ValueDeserializer::from(value))
            .map_err(|error| error.message().to_owned())
            .and_then(|value| values::read_toml(setting, &value))
            .map_err(|why| format!("{}: {why}", origins.place(&name)));
        if let Some(value) = complaints.note(read) {
            settings.insert(name, value);
        }
    }
    settings
}

/// Asks for the setting that was probably meant.
fn meant(name: &str) -> String {
    let suggestion = catalogue::nearest(name);
    suggestion.map_or_else(String::new, |name| format!(": did you mean `{name}`?"))
}

fn line(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
        + 1
}
