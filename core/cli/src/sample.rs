//! `switchboard config`: a settings file with every setting, made of what `--help` is made of.

use switchboard_core::settings::{Setting, Unit};
use toml::Value;

use crate::catalogue::{self, sentence};

const HEAD: &str = "\
# Settings of Switchboard, for `switchboard serve --config FILE`. What is commented out says the
# default, or an example where there is none.
";

/// Columns of the file.
const WIDTH: usize = 100;

/// A settings file with all settings, at their defaults.
pub(crate) fn file() -> String {
    let defaults = catalogue::defaults();
    let mut file = HEAD.to_owned();
    let mut group = None;
    for setting in catalogue::settings() {
        let example = setting.example.map(Value::from);
        let Some(value) = defaults.get(setting.name).or(example.as_ref()) else {
            continue;
        };
        if group != Some(setting.group) {
            group = Some(setting.group);
            file.push_str(&format!("\n\n## {}\n", setting.group));
        }
        file.push('\n');
        for line in wrapped(&help(setting)) {
            file.push_str(&format!("# {line}\n"));
        }
        file.push_str(&format!("#{} = {value}\n", setting.name));
    }
    file
}

/// What `--help` says of a setting, and which words it takes.
fn help(setting: &Setting) -> String {
    let help = sentence(setting.help);
    match setting.unit {
        Unit::OneOf(_, choices) => {
            let words: Vec<_> = choices.iter().map(|choice| choice.word).collect();
            format!("{help} ({})", words.join(", "))
        }
        Unit::Time
        | Unit::Bytes
        | Unit::Count
        | Unit::Switch
        | Unit::Address
        | Unit::File
        | Unit::List
        | Unit::Text(_) => help.to_owned(),
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
