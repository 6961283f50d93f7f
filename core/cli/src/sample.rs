//! `switchboard config`: a settings file with every setting, made of what `--help` is made of.

use clap::{Arg, Command};
use toml::Table;

/// Values for the settings that have no default, as a file has them.
const EXAMPLES: &str = r#"
advertise = "10.0.0.7:8082"
api_key_file = "/etc/switchboard/api-keys"
auth = "jwt"
cluster_secret_file = "/etc/switchboard/cluster-secret"
jwks_ca_file = "/etc/switchboard/authorities.pem"
jwks_file = "/etc/switchboard/jwks.json"
jwks_url = "https://id.example.com/.well-known/jwks.json"
jwt_public_key_file = "/etc/switchboard/jwt-public.pem"
jwt_secret_file = "/etc/switchboard/jwt-secret"
name = "web1"
public_url = "wss://push.example.com/connect"
redis = "redis://127.0.0.1:6379"
"#;

const HEAD: &str = "\
# Settings of Switchboard, for `switchboard serve --config FILE`. What is commented out says the
# default, or an example where there is none.
";

/// Columns of the file.
const WIDTH: usize = 100;

/// The file, for the settings of this command.
pub(crate) fn file(serve: &Command, defaults: &Table) -> String {
    let examples = examples();
    let mut file = HEAD.to_owned();
    let mut heading = None;
    for arg in serve.get_arguments() {
        let setting = arg.get_id().as_str();
        let value = match (defaults.get(setting), examples.get(setting)) {
            (Some(value), _) | (None, Some(value)) => value,
            (None, None) => continue,
        };
        if arg.get_help_heading() != heading {
            heading = arg.get_help_heading();
            file.push_str(&format!("\n\n## {}\n", heading.unwrap_or_default()));
        }
        file.push('\n');
        for line in wrapped(&help(arg)) {
            file.push_str(&format!("# {line}\n"));
        }
        file.push_str(&format!("#{setting} = {value}\n"));
    }
    file
}

/// The examples, by setting.
pub(crate) fn examples() -> Table {
    EXAMPLES
        .parse()
        .unwrap_or_else(|error| unreachable!("the examples are a constant: {error}"))
}

/// What `--help` says of a setting, and which words it takes.
fn help(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let words: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|word| word.get_name().to_owned())
        .collect();
    let is_choice = !words.is_empty() && arg.get_action().takes_values();
    match is_choice && words != ["true", "false"] {
        true => format!("{help} ({})", words.join(", ")),
        false => help,
    }
}

/// A text in lines, broken between words.
fn wrapped(text: &str) -> Vec<String> {
    let room = WIDTH - "# ".len();
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}
