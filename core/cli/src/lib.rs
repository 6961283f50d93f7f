//! The command line of the server `switchboard`: all of it but the runtime, which [`run`] is given.

#![deny(unsafe_code)]
#![allow(
    rustdoc::bare_urls,
    reason = "doc comments of flags are what `--help` prints"
)]

mod assemble;
mod check;
mod client;
mod complaints;
mod demo;
#[cfg(test)]
mod documents;
mod load;
mod log_queue;
mod logging;
mod open_files;
mod options;
mod reload;
mod sample;
mod secrets;
mod serve;
mod settings;
mod signals;
mod token;
mod tokens;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use complaints::Complaints;
use options::{Logging, Options};
use reload::Reloader;
use switchboard_driver::runtime::Runtime;
use tokens::Fetching;

/// Pushes messages to people's terminals over WebSocket, across any number of server instances.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a server.
    ///
    /// Settings come from flags, variables and file: a flag goes before its variable, a variable
    /// before the file, the file before the default.
    ///
    /// Times are a whole number and ms, s, m or h: 500ms, 10s. Sizes are in bytes, or in KiB, MiB or
    /// GiB: 65536, 64KiB. In the file, lists are written as TOML has them, numbers too, and what has a
    /// unit as a text: origins = ["https://example.com"], links = 64, push_bytes = "4MiB".
    #[command(after_long_help = AFTER_HELP)]
    Serve(Box<Serve>),
    /// Runs two servers in this process, to look at and to try with curl. Nothing is kept.
    Demo(Logging),
    /// Pushes a text to all terminals of a user, and prints the receipt.
    #[command(after_long_help = client::AFTER_HELP)]
    Push(client::Push),
    /// Shows where a user is connected.
    #[command(after_long_help = client::AFTER_HELP)]
    Where(client::Where),
    /// Ends a user's connections (4001), or one of them.
    #[command(after_long_help = client::AFTER_HELP)]
    Kick(client::Kick),
    /// Lists the instances of the cluster.
    #[command(after_long_help = client::AFTER_HELP)]
    Instances(client::ListInstances),
    /// Prints a token for a terminal, for development: signed with the secret of --jwt-secret-file.
    ///
    /// It is one that a server with the same settings takes; they come from flags, variables and file,
    /// as those of `switchboard serve` do.
    Token(Box<token::Token>),
    /// Looks for what is wrong with settings, Redis and the other instances, and says what to do.
    ///
    /// It takes the settings that `switchboard serve` takes, and changes nothing in Redis but for one key
    /// that lives a second.
    #[command(after_long_help = check::AFTER_HELP)]
    Check(Box<Serve>),
    /// Prints a settings file with every setting, its explanation and its default.
    Config,
}

/// The flags of `switchboard serve`.
#[derive(Args, Debug)]
struct Serve {
    /// TOML file with any of the settings below, named as the flags are, with _ for -
    #[arg(long, value_name = "FILE", env = CONFIG, hide_env_values = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

const CONFIG: &str = "SWITCHBOARD_CONFIG";

const AFTER_HELP: &str = "\
Standard output says where the server is, one listener a line, and then `ready`.
SIGTERM and SIGINT drain: no new terminals (503) and not ready at once, terminals closed (1012)
evenly over --drain, then exit with 0. All of it takes --drain-delay, --drain, --close-timeout, three
times --directory-timeout and a second at most. A second signal ends it at once.
SIGHUP reads the settings file, and those that settings name, again: who may connect, origins, the
API's keys and hosts, drain times and log level are taken. The log says what was taken and what was
not. If a file is faulty, all stays as it was.
Exit status: 0 drained, 1 could not start or died, 2 wrong usage or settings, 130 or 143 second
signal.";

/// Why the process ends with an error.
#[derive(Debug, thiserror::Error)]
enum Failure {
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
const WRONG_USAGE: u8 = 2;

impl Failure {
    fn status(&self) -> ExitCode {
        match self {
            Self::Settings(_) => ExitCode::from(WRONG_USAGE),
            Self::Start(_) | Self::Asked(_) | Self::Died(_) | Self::System { .. } => {
                ExitCode::FAILURE
            }
        }
    }
}

/// Runs what these arguments say, the first of which is the program's name; servers run on `R`. What
/// it returns is for the process to end with.
///
/// ```no_run
/// # fn main_of<R: switchboard_driver::runtime::Runtime>() -> std::process::ExitCode {
/// switchboard_cli::run::<R>(std::env::args_os())
/// # }
/// ```
pub fn run<R: Runtime>(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return refuse(error, &arguments),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let result = execute::<R>(cli.command, of_command(&matches));
    let code = result.unwrap_or_else(|failure| {
        logging::last_words(&format!("switchboard: {failure}"));
        failure.status()
    });
    logging::finish();
    code
}

fn execute<R: Runtime>(command: Command, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(serve) => start::<R>(*serve, matches),
        Command::Demo(logging) => demonstrate::<R>(&logging),
        Command::Push(push) => client::push(&push),
        Command::Where(locate) => client::locate(&locate),
        Command::Kick(kick) => client::kick(&kick),
        Command::Instances(list) => client::instances(&list),
        Command::Check(serve) => check::run::<R>(&serve, matches),
        Command::Token(token) => token::print(&token, matches),
        Command::Config => {
            serve::say(sample::file().trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn demonstrate<R: Runtime>(log: &Logging) -> Result<ExitCode, Failure> {
    logging::start(log.log, log.log_level)?;
    wait_for::<R, _>(demo::run::<R>())
}

fn start<R: Runtime>(serve: Serve, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    // Before anything else: an order to end that comes while the server starts is not lost.
    let signals = serve::listen_for_signals()?;
    let loaded = load::load(serve.config.as_deref(), &serve.options, matches)?;
    logging::start(loaded.server.log, loaded.server.log_level)?;
    warn_of_unknown_variables();
    let connections_given = loaded.origins.is_given("connections");
    let mut parts = assemble::assemble(
        loaded.clone(),
        assemble::Secret::Read(|name: &str| std::env::var(name).ok()),
        Fetching::Begun,
    )?;
    open_files::raise_limit(&mut parts.settings, connections_given);
    let reloader = Reloader::new(serve, matches.clone(), &loaded, &parts);
    let stop = serve::Stop::of(&loaded);
    wait_for::<R, _>(serve::run::<R>(parts, reloader, stop, signals))
}

/// What was given to the command.
fn of_command(matches: &ArgMatches) -> &ArgMatches {
    match matches.subcommand() {
        Some((_, matches)) => matches,
        None => unreachable!("there is a command: clap asks for one"),
    }
}

/// The command line. A token shows of the settings those that matter to it.
fn command() -> clap::Command {
    Cli::command().mut_subcommand("token", |token| {
        token.mut_args(token::hide_what_is_not_about_tokens)
    })
}

/// Runs on this thread; servers have threads of their own.
fn wait_for<R: Runtime, T>(main: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let doing = "to wait for events";
    let mut result = None;
    R::run(async { result = Some(main.await) })
        .map_err(|error| Failure::System { doing, error })?;
    result.unwrap_or_else(|| unreachable!("a runtime runs its main future to the end"))
}

/// Says what is wrong with the arguments. clap stops at the first bad value; all of them are told.
fn refuse(error: clap::Error, arguments: &[OsString]) -> ExitCode {
    let wrong_value = matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    );
    let wrong = wrong_value.then(|| wrong_values(arguments)).flatten();
    if let Some(complaints) = wrong {
        logging::last_words(&format!("switchboard: {complaints}"));
        return ExitCode::from(WRONG_USAGE);
    }
    let error = with_variable_named(error, arguments);
    // Nothing is left to say if it cannot be written.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE))
}

/// All settings whose values cannot be, of a command that takes settings.
fn wrong_values(arguments: &[OsString]) -> Option<Complaints> {
    const WITH_SETTINGS: [&str; 3] = ["serve", "check", "token"];
    let lenient = WITH_SETTINGS.iter().fold(command(), |command, name| {
        command.mut_subcommand(name, values::lenient)
    });
    let matches = lenient.try_get_matches_from(arguments).ok()?;
    let (name, matches) = matches.subcommand()?;
    let takes_settings = WITH_SETTINGS.contains(&name);
    takes_settings
        .then(|| load::wrong_values(matches))?
        .check()
        .err()
}

/// Adds to a complaint about a value that it came from a variable.
fn with_variable_named(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    // As in `--lease <TIME>`.
    let flag = argument
        .split([' ', '[', '='])
        .next()
        .unwrap_or_default()
        .to_owned();
    let variable = options::variable(&flag.trim_start_matches('-').replace('-', "_"));
    let on_line = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .any(|argument| argument == flag || argument.starts_with(&format!("{flag}=")));
    if !on_line && std::env::var_os(&variable).is_some() {
        let tip = format!("the value is that of the variable {variable}").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// A variable that is misspelt would otherwise be ignored in silence.
fn warn_of_unknown_variables() {
    let settings = load::names();
    for (name, _) in std::env::vars_os() {
        let Some(setting) = name
            .to_str()
            .and_then(|name| name.strip_prefix("SWITCHBOARD_"))
        else {
            continue;
        };
        let setting = setting.to_lowercase();
        let known = settings.contains(&setting.as_str())
            || ["config", "cluster_secret"].contains(&setting.as_str());
        // Kubernetes sets these for a service of this name.
        let kubernetes = setting.contains("service_") || setting.starts_with("port");
        if !known && !kubernetes {
            match load::nearest(&setting, &settings) {
                Some(meant) => tracing::warn!(
                    variable = ?name,
                    "there is no such setting: did you mean {}?",
                    options::variable(meant)
                ),
                None => tracing::warn!(variable = ?name, "there is no such setting"),
            }
        }
    }
}
