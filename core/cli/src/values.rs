//! What the value of one setting may be, wherever it is from: what its flag takes.

use std::error::Error as _;
use std::net::SocketAddr;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Command, FromArgMatches};
use switchboard_core::config::duration;
use toml::{Table, Value};

use crate::options::{Options, flag};

/// Reads the value of a setting as its flag would.
///
/// # Errors
///
/// Says what would do.
pub(crate) fn read(serve: &Command, setting: &str, texts: &[String]) -> Result<Value, String> {
    let flags = texts.iter().map(|text| format!("{}={text}", flag(setting)));
    let alone = serve
        .clone()
        .no_binary_name(true)
        .mut_args(|arg| arg.env(None::<&str>));
    let options = alone
        .try_get_matches_from(flags)
        .and_then(|matches| Options::from_arg_matches(&matches));
    let options = options.map_err(|error| explain(&error))?;
    let read = Table::try_from(options)
        .ok()
        .and_then(|mut table| table.remove(setting));
    read.ok_or_else(|| "a value is missing".to_owned())
}

/// Reads the value of a setting that stands in a file, where numbers, lists and texts may be written
/// as TOML has them.
///
/// # Errors
///
/// Says what would do.
pub(crate) fn read_toml(serve: &Command, setting: &str, value: &Value) -> Result<Value, String> {
    let is_list = serve
        .get_arguments()
        .find(|arg| arg.get_id() == setting)
        .is_some_and(|arg| matches!(arg.get_action(), ArgAction::Append));
    match value {
        Value::Array(items) if is_list => {
            let texts: Vec<String> = items.iter().map(text).collect::<Result<_, _>>()?;
            if !texts.is_empty() {
                read(serve, setting, &texts)?;
            }
            // A text of a list in a file may hold a comma.
            Ok(Value::Array(texts.into_iter().map(Value::String).collect()))
        }
        Value::Array(_) => Err("a list stands here, and one value is needed".to_owned()),
        value => read(serve, setting, &[text(value)?]),
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            Ok(value.to_string())
        }
        Value::Array(_) => Err("a list stands in a list".to_owned()),
        Value::Table(_) => Err("a table stands here, and a value is needed".to_owned()),
    }
}

/// What clap finds wrong with a value, in one line and without the flag.
fn explain(error: &clap::Error) -> String {
    if let Some(why) = error.source() {
        return why.to_string();
    }
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(_) | None => "",
    };
    let value = context(ContextKind::InvalidValue);
    match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(known))) if !value.is_empty() => {
            format!("`{value}` is none of {}", known.join(", "))
        }
        (ErrorKind::InvalidValue, _) => "a value is missing".to_owned(),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    }
}

/// The same command, which takes any text for its settings.
pub(crate) fn lenient(command: Command, settings: &[&str]) -> Command {
    command.mut_args(|arg| {
        if settings.contains(&arg.get_id().as_str()) {
            arg.value_parser(ValueParser::string())
        } else {
            arg
        }
    })
}

/// A duration that the settings will take, as it was written.
pub(crate) fn time(text: &str) -> Result<String, duration::InvalidDuration> {
    duration::parse(text).map(|_| text.to_owned())
}

/// An address to listen at: names are not looked up, so that it is clear which interface is meant.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "`{text}` is not an address: write an IP address and a port, as in 127.0.0.1:8080 or [::1]:8080"
        )
    })
}

/// A number of things.
pub(crate) fn count(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(format!(
            "`{text}` is not a number: write a whole one, as in 1000"
        ));
    }
    text.parse()
        .map_err(|_| format!("`{text}` is too large: {} is the most", u32::MAX))
}

/// The units in which a size can be written.
const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// A number of bytes.
pub(crate) fn size(text: &str) -> Result<u32, String> {
    let (number, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), *shift)))
        .unwrap_or((text, 0));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(format!(
            "`{text}` is not a size: write a whole number of bytes, or of KiB, MiB or GiB, as in 65536 or 64KiB"
        ));
    }
    let bytes = number.parse::<u64>().ok().and_then(|number| {
        let bytes = number.checked_mul(1 << shift)?;
        u32::try_from(bytes).ok()
    });
    bytes.ok_or_else(|| format!("`{text}` is too large: {} bytes are the most", u32::MAX))
}

/// A size as [`size`] reads it, in the largest unit that divides it.
pub(crate) fn written_size(bytes: i64) -> String {
    let fitting = UNITS
        .iter()
        .find(|(_, shift)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    match fitting {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Yes or no.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// H45: no text is taken for a number that it is not.
    #[test]
    fn sizes_and_counts_are_read_strictly() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("64KiB", 65536),
            ("4 MiB", 4 << 20),
            ("3GiB", 3 << 30),
            ("4294967295", u32::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "KiB", "4MB", "4M", "-1", "+1", "1.5MiB", "0x10", "many", "4kib", "1e6",
        ] {
            let error = size(text).expect_err(text);
            assert!(error.contains("64KiB"), "{error}");
            assert!(count(text).is_err(), "{text}");
        }
        for text in ["4GiB", "99999999999999999999", "4294967296"] {
            assert!(size(text).expect_err(text).contains("too large"), "{text}");
        }
        assert_eq!(count("1000"), Ok(1000));
        assert!(count("4294967296").is_err_and(|error| error.contains("too large")));
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["0", "125", "16KiB", "4MiB", "1025", "1GiB", "1536KiB"] {
            let bytes = size(text).expect("a size");
            assert_eq!(written_size(bytes.into()), text);
        }
    }
}
