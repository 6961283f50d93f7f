//! The settings as flags and variables.
//!
//! What there is to say of a setting stands in its row of a table: see [`Tables`](crate::catalogue::Tables).

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use switchboard_core::settings::{Setting, Unit};
use toml::{Table, Value};

use crate::catalogue::{self, flag, sentence, variable};
use crate::settings::{Level, LogFormat};
use crate::values;

/// The flags of a command that takes all settings of a server.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// TOML file with any of the settings below, named as the flags are, with _ for -
    #[arg(
        long,
        value_name = "FILE",
        env = "SWITCHBOARD_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: Options<AllSettings>,
}

/// The flags of `switchboard demo`.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    #[command(flatten)]
    options: Options<LogOfDemo>,
}

/// The settings that were given by flags and variables, as a file has them.
#[derive(Debug)]
pub(crate) struct Options<O>(Table, PhantomData<O>);

/// Settings that a command offers.
pub(crate) trait Offer {
    /// The settings, in the order of the help.
    fn settings() -> Vec<&'static Setting>;
    /// The defaults that the command says.
    fn defaults() -> Table;
}

/// Those of a server.
#[derive(Debug)]
pub(crate) enum AllSettings {}

/// Those of the log, which is quieter where somebody looks at a demo.
#[derive(Debug)]
pub(crate) enum LogOfDemo {}

impl Offer for AllSettings {
    fn settings() -> Vec<&'static Setting> {
        catalogue::settings()
    }

    fn defaults() -> Table {
        catalogue::defaults()
    }
}

impl Offer for LogOfDemo {
    fn settings() -> Vec<&'static Setting> {
        let mut settings = catalogue::settings();
        settings.retain(|setting| Self::defaults().contains_key(setting.name));
        settings
    }

    fn defaults() -> Table {
        Table::from_iter([
            ("log".to_owned(), "human".into()),
            ("log_level".to_owned(), "warn".into()),
        ])
    }
}

impl Demo {
    /// The form of the log and its least level.
    pub(crate) fn log(&self) -> (LogFormat, Level) {
        let mut values = LogOfDemo::defaults();
        values.extend(self.options.table().clone());
        match catalogue::Tables::with(&values) {
            Ok(tables) => (tables.server.log, tables.server.log_level),
            Err(wrong) => unreachable!("the flags take words that can be chosen: {wrong:?}"),
        }
    }
}

impl<O> Options<O> {
    /// The settings that were given.
    pub(crate) const fn table(&self) -> &Table {
        &self.0
    }
}

impl<O: Offer> Args for Options<O> {
    fn augment_args(command: Command) -> Command {
        let defaults = O::defaults();
        let settings = O::settings().into_iter();
        command.args(settings.map(|setting| flag_of(setting, defaults.get(setting.name))))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<O: Offer> FromArgMatches for Options<O> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(O::settings(), matches), PhantomData))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.extend(given(O::settings(), matches));
        Ok(())
    }
}

/// The same command, which takes any text for its settings.
pub(crate) fn lenient(command: Command) -> Command {
    command.mut_args(
        |arg| match catalogue::setting(arg.get_id().as_str()).is_some() {
            true => arg.value_parser(ValueParser::string()),
            false => arg,
        },
    )
}

/// The flag of a setting, with its variable.
fn flag_of(setting: &'static Setting, default: Option<&Value>) -> Arg {
    let arg = Arg::new(setting.name)
        .long(flag(setting.name).trim_start_matches('-').to_owned())
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
    match default.and_then(|default| values::written(default, setting.unit)) {
        Some(default) => format!("{help} [default: {default}]"),
        None => help.to_owned(),
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
