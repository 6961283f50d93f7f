//! The settings as flags and variables.
//!
//! What there is to say of a setting stands in its row: in [`ServerSettings`](crate::settings::ServerSettings),
//! or in the core's [`Config`](switchboard_core::config::Config). Its name is that in the file; the flag
//! has dashes for underscores, and the variable is in capitals behind `SWITCHBOARD_`.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde::Deserialize;
use switchboard_core::settings::{Setting, Unit};
use toml::{Table, Value};

use crate::load;
use crate::settings::{Level, LogFormat};
use crate::values::{self, written_size};

/// The settings that were given by flags and variables, as a file has them.
#[derive(Debug)]
pub(crate) struct Options(Table);

/// The flags of `switchboard demo`: those of the log, with defaults of their own.
#[derive(Debug, Deserialize)]
pub(crate) struct Logging {
    pub(crate) log: LogFormat,
    pub(crate) log_level: Level,
}

impl Options {
    /// The settings that were given.
    pub(crate) const fn table(&self) -> &Table {
        &self.0
    }
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        let defaults = load::defaults();
        let settings = load::settings().into_iter();
        command.args(settings.map(|setting| flag_of(setting, defaults.get(setting.name))))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(load::settings(), matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(given(load::settings(), matches));
        Ok(())
    }
}

impl Logging {
    fn defaults() -> Table {
        Table::from_iter([
            ("log".to_owned(), "human".into()),
            ("log_level".to_owned(), "warn".into()),
        ])
    }

    fn settings() -> Vec<&'static Setting> {
        let mut settings = load::settings();
        settings.retain(|setting| Self::defaults().contains_key(setting.name));
        settings
    }
}

impl Args for Logging {
    fn augment_args(command: Command) -> Command {
        let defaults = Self::defaults();
        let settings = Self::settings().into_iter();
        command.args(settings.map(|setting| flag_of(setting, defaults.get(setting.name))))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Logging {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut table = Self::defaults();
        table.extend(given(Self::settings(), matches));
        table
            .try_into()
            .map_err(|error| clap::Error::raw(clap::error::ErrorKind::InvalidValue, error))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flag of a setting, with its variable.
fn flag_of(setting: &'static Setting, default: Option<&Value>) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.name.replace('_', "-"))
        .value_name(placeholder(setting.unit))
        .value_parser(parser(setting.unit))
        .help(help(setting, default))
        .help_heading(setting.group)
        .env(variable(setting.name))
        .hide_env_values(true);
    match setting.unit {
        Unit::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Unit::List => arg.value_delimiter(',').action(ArgAction::Append),
        Unit::Time
        | Unit::Bytes
        | Unit::Count
        | Unit::Address
        | Unit::File
        | Unit::Text(_)
        | Unit::OneOf(..) => arg,
    }
}

/// What stands for a value in the help.
const fn placeholder(unit: Unit) -> &'static str {
    match unit {
        Unit::Time => "TIME",
        Unit::Bytes => "BYTES",
        Unit::Count => "N",
        Unit::Switch => "BOOL",
        Unit::Address => "IP:PORT",
        Unit::File => "FILE",
        Unit::List => "LIST",
        Unit::Text(placeholder) | Unit::OneOf(placeholder, _) => placeholder,
    }
}

fn parser(unit: Unit) -> ValueParser {
    match unit {
        Unit::OneOf(_, choices) => {
            let words = choices
                .iter()
                .map(|choice| PossibleValue::new(choice.word).help(sentence(choice.help)));
            PossibleValuesParser::new(words).map(Value::String).into()
        }
        Unit::Time
        | Unit::Bytes
        | Unit::Count
        | Unit::Switch
        | Unit::Address
        | Unit::File
        | Unit::List
        | Unit::Text(_) => ValueParser::new(move |text: &str| values::parse(unit, text)),
    }
}

fn help(setting: &Setting, default: Option<&Value>) -> String {
    let help = sentence(setting.help);
    match default.and_then(|default| written(default, setting.unit)) {
        Some(default) => format!("{help} [default: {default}]"),
        None => help.to_owned(),
    }
}

/// Help as commands print it: without the period at its end.
pub(crate) fn sentence(help: &'static str) -> &'static str {
    help.strip_suffix('.').unwrap_or(help)
}

/// A default as one would write it; `None` if it is that there is nothing.
fn written(value: &Value, unit: Unit) -> Option<String> {
    match value {
        Value::Integer(bytes) if unit == Unit::Bytes => Some(written_size(*bytes)),
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(true) => Some("true".to_owned()),
        Value::Boolean(false)
        | Value::Float(_)
        | Value::Datetime(_)
        | Value::Array(_)
        | Value::Table(_) => None,
    }
}

/// Those of some settings that were given.
fn given(settings: Vec<&'static Setting>, matches: &ArgMatches) -> Table {
    let given = settings.into_iter().filter_map(|setting| {
        let mut values = matches.get_many::<Value>(setting.name)?.cloned();
        let value = match setting.unit {
            Unit::List => Value::Array(values.collect()),
            Unit::Time
            | Unit::Bytes
            | Unit::Count
            | Unit::Switch
            | Unit::Address
            | Unit::File
            | Unit::Text(_)
            | Unit::OneOf(..) => values.next()?,
        };
        Some((setting.name.to_owned(), value))
    });
    given.collect()
}

/// The variable of a setting.
pub(crate) fn variable(setting: &str) -> String {
    format!("SWITCHBOARD_{}", setting.to_uppercase())
}

/// The flag of a setting.
pub(crate) fn flag(setting: &str) -> String {
    format!("--{}", setting.replace('_', "-"))
}
