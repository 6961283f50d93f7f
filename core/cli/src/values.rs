//! What the value of one setting may be, wherever it is from: what its flag takes.

use std::net::SocketAddr;

use switchboard_core::config::duration;
use switchboard_core::settings::{Choice, Setting, Unit};
use toml::Value;

/// Reads the value of a setting as its flag would.
///
/// # Errors
///
/// Says what would do.
pub(crate) fn read(setting: &Setting, text: &str) -> Result<Value, String> {
    match setting.unit {
        Unit::List => Ok(Value::Array(text.split(',').map(Value::from).collect())),
        unit @ (Unit::Time
        | Unit::Bytes
        | Unit::Count
        | Unit::Switch
        | Unit::Address
        | Unit::File
        | Unit::Text(_)
        | Unit::OneOf(..)) => parse(unit, text),
    }
}

/// Reads the value of a setting that stands in a file, where numbers, lists and texts may be written
/// as TOML has them.
///
/// # Errors
///
/// Says what would do.
pub(crate) fn read_toml(setting: &Setting, value: &Value) -> Result<Value, String> {
    match value {
        // A text of a list in a file may hold a comma.
        Value::Array(items) if setting.unit == Unit::List => {
            let texts = items.iter().map(|item| text(item).map(Value::String));
            texts.collect::<Result<_, _>>().map(Value::Array)
        }
        Value::Array(_) => Err("a list stands here, and one value is needed".to_owned()),
        value => read(setting, &text(value)?),
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

/// Reads one value, of a list one of its texts.
///
/// # Errors
///
/// Says what would do.
pub(crate) fn parse(unit: Unit, text: &str) -> Result<Value, String> {
    match unit {
        Unit::Time => time(text).map(Value::from),
        Unit::Bytes => size(text).map(Value::from),
        Unit::Count => count(text).map(Value::from),
        Unit::Switch => boolean(text).map(Value::from),
        Unit::Address => address(text).map(|address| address.to_string().into()),
        Unit::OneOf(..) | Unit::File if text.is_empty() => Err("a value is missing".to_owned()),
        Unit::OneOf(_, choices) => word(choices, text).map(Value::from),
        Unit::File | Unit::List | Unit::Text(_) => Ok(text.into()),
    }
}

/// A duration that the settings will take, as it was written.
fn time(text: &str) -> Result<&str, String> {
    let duration = duration::parse(text).map_err(|error| error.to_string());
    duration.map(|_| text)
}

/// One of the words that can be chosen.
fn word<'a>(choices: &[Choice], text: &'a str) -> Result<&'a str, String> {
    let words: Vec<_> = choices.iter().map(|choice| choice.word).collect();
    match words.contains(&text) {
        true => Ok(text),
        false => Err(format!("`{text}` is none of {}", words.join(", "))),
    }
}

/// An address to listen at: names are not looked up, so that it is clear which interface is meant.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let is_url = text.contains("://");
        let more = match is_url {
            true => ", without a scheme; commands that ask a server take that as well",
            false => "",
        };
        format!(
            "`{text}` is not an address: write an IP address and a port, as in 127.0.0.1:8080 or \
             [::1]:8080{more}"
        )
    })
}

/// A number of things.
fn count(text: &str) -> Result<u32, String> {
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
fn size(text: &str) -> Result<u32, String> {
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

/// A value as one would write it; `None` if it is that there is nothing.
pub(crate) fn written(value: &Value, unit: Unit) -> Option<String> {
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

/// Yes or no.
fn boolean(text: &str) -> Result<bool, String> {
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
