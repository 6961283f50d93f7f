//! What was given and cannot be meant: arguments and variables.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::complaints::Complaints;
use crate::failure::WRONG_USAGE;
use crate::{catalogue, load, logging, options};

/// Says what is wrong with the arguments. clap stops at the first bad value; all of them are told.
pub(crate) fn refuse(command: Command, error: clap::Error, arguments: &[OsString]) -> ExitCode {
    let wrong_value = matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    );
    let wrong = wrong_value
        .then(|| wrong_values(command, arguments))
        .flatten();
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
fn wrong_values(command: Command, arguments: &[OsString]) -> Option<Complaints> {
    const WITH_SETTINGS: [&str; 3] = ["serve", "check", "token"];
    let lenient = WITH_SETTINGS.iter().fold(command, |command, name| {
        command.mut_subcommand(name, options::lenient)
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
    let variable = catalogue::variable(&flag.trim_start_matches('-').replace('-', "_"));
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
pub(crate) fn warn_of_unknown_variables() {
    for (name, _) in std::env::vars_os() {
        let Some(setting) = name
            .to_str()
            .and_then(|name| name.strip_prefix(catalogue::VARIABLES))
        else {
            continue;
        };
        let setting = setting.to_lowercase();
        let known = catalogue::setting(&setting).is_some()
            || ["config", "cluster_secret"].contains(&setting.as_str());
        // Kubernetes sets these for a service of this name.
        let kubernetes = setting.contains("service_") || setting.starts_with("port");
        if !known && !kubernetes {
            match catalogue::nearest(&setting) {
                Some(meant) => tracing::warn!(
                    variable = ?name,
                    "there is no such setting: did you mean {}?",
                    catalogue::variable(meant)
                ),
                None => tracing::warn!(variable = ?name, "there is no such setting"),
            }
        }
    }
}
