//! The documents say of settings what the tables say. What they list of them is made from the tables, between
//! a line `<!-- settings: NAME (...) -->` and a line `<!-- end -->`: this writes it again,
//!
//! ```sh
//! UPDATE=1 cargo test -p switchboard-cli documents
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use switchboard_core::settings::{Reload, Scope, Setting, Unit};
use toml::Value;

use crate::catalogue::{self, HEADINGS, calling, flag};
use crate::values::written_size;

/// Writes the lists in the documents again.
const WRITE: &str = "UPDATE=1 cargo test -p switchboard-cli documents";

#[test]
fn what_documents_list_of_settings_is_what_the_tables_say() {
    let mut stale = Vec::new();
    for (path, name, list) in [
        ("README.md", "limits", limits()),
        ("README.md", "alike", alike()),
        ("docs/settings.md", "all", all()),
    ] {
        let text = read(path);
        let begin = format!("<!-- settings: {name} ({WRITE}) -->\n");
        let end = "<!-- end -->";
        let (before, rest) = text.split_once(&begin).expect(&begin);
        let (listed, after) = rest.split_once(end).expect(end);
        let list = format!("\n{list}\n");
        if listed == list {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            let text = format!("{before}{begin}{list}{end}{after}");
            std::fs::write(root().join(path), text).expect(path);
        } else {
            stale.push(format!("{path}, {name}: should be:\n{list}"));
        }
    }
    assert!(stale.is_empty(), "{WRITE}\n{}", stale.join("\n"));
}

/// Counts and sizes: whatever grows with load has one.
fn limits() -> String {
    let mut limits = catalogue::settings();
    limits.retain(|setting| matches!(setting.unit, Unit::Bytes | Unit::Count));
    let mut table = "| setting | default | what |\n|---|---|---|\n".to_owned();
    for setting in limits {
        table.push_str(&row(setting, &[what(setting)]));
    }
    table
}

/// Settings that all instances of a cluster must have alike.
fn alike() -> String {
    let mut alike = catalogue::settings();
    alike.retain(|setting| matches!(setting.scope, Scope::Cluster(_)));
    let mut list = String::new();
    for setting in alike {
        list.push_str(&format!("- `{}`\n", flag(setting.name)));
    }
    list
}

/// Everything that the tables say.
fn all() -> String {
    let mut text = String::new();
    for heading in HEADINGS {
        text.push_str(&format!(
            "\n## {heading}\n\n| setting | default | what |\n|---|---|---|\n"
        ));
        let mut settings = catalogue::settings();
        settings.retain(|setting| setting.group == heading);
        for setting in settings {
            let mut said = vec![what(setting)];
            if let Unit::OneOf(_, choices) = setting.unit {
                let words: Vec<_> = choices
                    .iter()
                    .map(|choice| format!("`{}`", choice.word))
                    .collect();
                said.push(format!("One of {}.", words.join(", ")));
            }
            said.extend(setting.rule.map(|rule| format!("It {}.", cell(rule))));
            if matches!(setting.scope, Scope::Cluster(_)) {
                said.push("**Alike** at all instances.".to_owned());
            }
            if setting.reload == Reload::Taken {
                said.push("Taken on **SIGHUP**.".to_owned());
            }
            text.push_str(&row(setting, &said));
        }
    }
    text.trim_start().to_owned()
}

/// A row of a table of settings.
fn row(setting: &Setting, said: &[String]) -> String {
    let told = without_default(setting.help).1.map(cell);
    let default = default_if_any(setting).or(told).unwrap_or_default();
    let said = said.join(" ");
    format!(
        "| `{}` | {default} | {said} |
",
        flag(setting.name)
    )
}

/// What a setting does.
fn what(setting: &Setting) -> String {
    let help = without_default(setting.help).0;
    format!("{}.", cell(help.trim_end_matches('.')))
}

/// A help without what it says of a default, and that.
fn without_default(help: &str) -> (&str, Option<&str>) {
    match help.split_once(" [default: ") {
        Some((help, default)) => (help, default.strip_suffix(']')),
        None => (help, None),
    }
}

/// A text of a table as Markdown has it in a cell, with flags for the settings that it names.
fn cell(text: &str) -> String {
    let text = calling(text, |setting| format!("`{}`", flag(setting)));
    let parts = text.split('`').enumerate();
    let parts: Vec<_> = parts
        .map(|(place, part)| match place % 2 {
            0 => part.replace('*', r"\*"),
            _ => part.to_owned(),
        })
        .collect();
    parts.join("`").replace('|', r"\|")
}

#[test]
fn each_setting_stands_under_a_heading() {
    for Setting { name, group, .. } in catalogue::settings() {
        assert!(HEADINGS.contains(group), "{name}: {group}");
    }
}

#[test]
fn flags_in_documents_are_those_of_a_command() {
    /// Of other programs.
    const OTHERS: [&str; 2] = ["example", "unhandled-rejections"];
    let commands = crate::Cli::command();
    let all = commands
        .get_subcommands()
        .flat_map(clap::Command::get_arguments);
    let known: BTreeSet<_> = all.filter_map(clap::Arg::get_long).collect();
    for path in documents() {
        let text = read(&path);
        let code = text.split('`').skip(1).step_by(2);
        for flag in code.filter_map(|code| code.strip_prefix("--")) {
            let end = flag.find(|next: char| !next.is_ascii_lowercase() && next != '-');
            let flag = &flag[..end.unwrap_or(flag.len())];
            assert!(
                known.contains(flag) || OTHERS.contains(&flag),
                "{path}: --{flag}"
            );
        }
    }
}

#[test]
fn the_deployed_file_has_settings() {
    let file: toml::Table = read("deploy/switchboard.toml").parse().expect("TOML");
    for name in file.keys() {
        assert!(catalogue::setting(name).is_some(), "{name}");
    }
}

/// As in: over `--drain` (10 s).
#[test]
fn a_value_in_parentheses_behind_a_flag_is_its_default() {
    for path in documents() {
        let text = read(&path);
        let mut parts = text.split("`--");
        parts.next();
        for part in parts {
            let Some((flag, rest)) = part.split_once('`') else {
                continue;
            };
            let value = rest.trim_start().strip_prefix('(');
            let value = value.and_then(|value| value.split(')').next());
            match value {
                Some(value) if value.starts_with(|first: char| first.is_ascii_digit()) => {
                    let default = default_of(setting_of(&format!("--{flag}")));
                    let words: Vec<_> = value.split_whitespace().collect();
                    assert_eq!(words.join(" "), default, "{path}: --{flag}");
                }
                Some(_) | None => {}
            }
        }
    }
}

#[test]
fn variables_in_documents_and_deployments_are_those_of_settings() {
    /// The last one is what Kubernetes sets for a service of this name.
    const OTHERS: [&str; 3] = ["config", "cluster_secret", "port"];
    for path in documents().into_iter().chain(files("deploy")) {
        let text = read(&path);
        let mut variables = text.split("SWITCHBOARD_");
        variables.next();
        for rest in variables {
            let end = rest.find(|next: char| !next.is_ascii_uppercase() && next != '_');
            let name = rest[..end.unwrap_or(rest.len())].to_lowercase();
            let known = OTHERS.contains(&&*name) || catalogue::setting(&name).is_some();
            assert!(known, "{path}: SWITCHBOARD_{}", name.to_uppercase());
        }
    }
}

fn setting_of(flag: &str) -> &'static Setting {
    let name = flag.trim_start_matches('-').replace('-', "_");
    catalogue::setting(&name).unwrap_or_else(|| panic!("there is no {flag}"))
}

/// A default as people write it.
fn default_of(setting: &Setting) -> String {
    let default = default_if_any(setting);
    default.unwrap_or_else(|| panic!("{} has no default", setting.name))
}

fn default_if_any(setting: &Setting) -> Option<String> {
    let default = match (setting.unit, catalogue::defaults().remove(setting.name)?) {
        (_, Value::Array(_) | Value::Boolean(false)) => return None,
        (Unit::Bytes, Value::Integer(bytes)) => {
            let written = written_size(bytes);
            let unit = written.find(|next: char| !next.is_ascii_digit());
            let (number, unit) = written.split_at(unit.unwrap_or(written.len()));
            format!("{number} {unit}")
        }
        (Unit::Time, Value::String(time)) => {
            let unit = time.find(|next: char| !next.is_ascii_digit());
            let (number, unit) = time.split_at(unit.unwrap_or(time.len()));
            format!("{number} {}", if unit == "m" { "min" } else { unit })
        }
        (_, Value::Integer(number)) => grouped(&number.to_string()),
        (_, Value::String(text)) => text,
        (_, other) => other.to_string(),
    };
    Some(default)
}

/// A number with a comma before each three digits.
fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn documents() -> Vec<String> {
    let mut documents = files("docs");
    documents.extend(["README.md".to_owned(), "deploy/README.md".to_owned()]);
    documents
}

fn files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder of the repository");
    let entries = entries.map(|entry| entry.expect("a file"));
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy()))
        .collect()
}

fn read(path: &str) -> String {
    let text = std::fs::read_to_string(root().join(path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
