//! The documents say of settings what the tables say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use switchboard_core::settings::{Scope, Setting, Unit};
use toml::Value;

use crate::catalogue;
use crate::values::written_size;

#[test]
fn the_readmes_limits_have_the_defaults() {
    let readme = read("README.md");
    let limits = readme.split("\n## Limits\n").nth(1).expect("a chapter");
    let rows = limits.lines().skip_while(|line| !line.starts_with('|'));
    for row in rows.skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').collect();
        let &[_, _, told, flags, _] = &*cells else {
            panic!("a row of three cells: {row}");
        };
        let mut rest = told;
        for flag in flags_of(flags) {
            let setting = setting_of(flag);
            let default = default_of(setting);
            let at = rest.find(&default);
            let at = at.unwrap_or_else(|| panic!("README.md: {flag} is {default}: {row}"));
            rest = &rest[at + default.len()..];
        }
    }
}

#[test]
fn the_readme_names_what_all_servers_must_have_alike() {
    let readme = read("README.md");
    let alike = readme.split("Give all servers the same ").nth(1);
    let alike = alike.and_then(|text| text.split(". ").next());
    let named: BTreeSet<_> = flags_of(alike.expect("a sentence")).collect();
    let mut settings = catalogue::settings();
    settings.retain(|setting| matches!(setting.scope, Scope::Cluster(_)));
    let flags: Vec<_> = settings
        .iter()
        .map(|setting| catalogue::flag(setting.name))
        .collect();
    assert_eq!(named, flags.iter().map(String::as_str).collect());
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
                    assert_eq!(value, default, "{path}: --{flag}");
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

fn flags_of(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.starts_with("--"))
}

fn setting_of(flag: &str) -> &'static Setting {
    let name = flag.trim_start_matches('-').replace('-', "_");
    catalogue::setting(&name).unwrap_or_else(|| panic!("there is no {flag}"))
}

/// A default as people write it.
fn default_of(setting: &Setting) -> String {
    let default = catalogue::defaults().remove(setting.name);
    let default = default.unwrap_or_else(|| panic!("{} has no default", setting.name));
    match (setting.unit, default) {
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
    }
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
