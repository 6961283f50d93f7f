//! The command line of the server `switchboard`: all of it but the runtime, which [`run`] is given.

#![deny(unsafe_code)]
#![allow(
    rustdoc::bare_urls,
    reason = "doc comments of flags are what `--help` prints"
)]

mod assemble;
mod catalogue;
mod check;
mod client;
mod complaints;
mod demo;
#[cfg(test)]
mod documents;
mod failure;
mod load;
mod log_queue;
mod logging;
mod open_files;
mod options;
mod origins;
mod output;
mod reload;
mod sample;
mod secrets;
mod serve;
mod settings;
mod signals;
mod stop;
mod token;
mod tokens;
mod usage;
mod values;
mod waiting;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::Failure;
use options::{Demo, Serve};
use reload::Reloader;
use stop::Stop;
use switchboard_driver::runtime::Runtime;
use tokens::Fetching;
use waiting::wait_for;

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
    Demo(Demo),
    /// Pushes a text to all terminals of a user, and prints the receipt.
    #[command(after_long_help = client::AFTER_HELP)]
    Push(client::Push),
    /// Shows where a user is connected.
    #[command(after_long_help = client::AFTER_HELP)]
    Where(client::Where),
    /// Shows the log of a user's durable pushes, or removes what it keeps.
    #[command(after_long_help = client::AFTER_HELP)]
    Log(client::ReadLog),
    /// Ends a user's connections (4001), or one of them.
    #[command(after_long_help = client::AFTER_HELP)]
    Kick(client::Kick),
    /// Pushes to a topic, makes users its members, lists who is one, and shows its log.
    #[command(subcommand)]
    Topic(client::Topic),
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

const AFTER_HELP: &str = "\
Standard output says where the server is, one listener a line, and then `ready`.
SIGTERM and SIGINT drain: no new terminals (503) and not ready at once, terminals closed (1012)
evenly over --drain, then exit with 0. All of it takes --drain-delay, --drain, --close-timeout, three
times --directory-timeout and a second at most. A second signal ends it at once.
SIGHUP reads the settings file, and those that settings name, again: who may connect, origins, the
API's keys and hosts, drain times and log level are taken. The log says what was taken and what was
not. If a file is faulty, all stays as it was.
Exit status: 0 drained, 1 could not start or died, 2 wrong usage or settings, 4 ended although
something was stuck, 130 or 143 second signal.";

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
        Err(error) => return usage::refuse(command(), error, &arguments),
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
        Command::Demo(demo) => demonstrate::<R>(&demo),
        Command::Push(push) => client::push(&push),
        Command::Where(locate) => client::locate(&locate),
        Command::Log(log) => client::log(&log),
        Command::Kick(kick) => client::kick(&kick),
        Command::Topic(command) => client::topic_command(&command),
        Command::Instances(list) => client::instances(&list),
        Command::Check(serve) => check::run::<R>(&serve, matches),
        Command::Token(token) => token::print(&token, matches),
        Command::Config => {
            output::say(sample::file().trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn demonstrate<R: Runtime>(demo: &Demo) -> Result<ExitCode, Failure> {
    let (form, level) = demo.log();
    logging::start(form, level)?;
    wait_for::<R, _>(demo::run::<R>())
}

fn start<R: Runtime>(serve: Serve, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    // Before anything else: an order to end that comes while the server starts is not lost.
    let signals = serve::listen_for_signals()?;
    let loaded = load::load(&serve, matches)?;
    let server = &loaded.tables.server;
    logging::start(server.log, server.log_level)?;
    usage::warn_of_unknown_variables();
    let connections_given = loaded.origins.is_given("connections");
    let mut parts = assemble::assemble(
        loaded.clone(),
        assemble::Secret::Read(|name: &str| std::env::var(name).ok()),
        Fetching::Begun,
    )?;
    open_files::raise_limit(&mut parts.settings, connections_given);
    let reloader = Reloader::new(serve, matches.clone(), &loaded, &parts);
    let stop = Stop::of(&loaded);
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
