//! Query strings and path segments, percent-decoded. A `+` is a plus sign: nothing here is a form.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The pairs of a query string, in their order.
pub fn pairs(
    query: Option<&str>,
) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), BadEncoding>> {
    query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
}

/// Percent-decodes a text.
///
/// # Errors
///
/// If a percent sign is not followed by two hexadecimal digits, or what comes out is not UTF-8.
pub fn decode(text: &str) -> Result<Cow<'_, str>, BadEncoding> {
    let encoded = text.split('%').skip(1);
    if encoded.clone().any(|behind| !begins_with_a_byte(behind)) {
        return Err(BadEncoding::Digits);
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| BadEncoding::NotUtf8)
}

fn begins_with_a_byte(text: &str) -> bool {
    let digits = text.as_bytes().first_chunk::<2>();
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// A text that cannot be percent-decoded. To take it as it stands would give one text two spellings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEncoding {
    /// A percent sign without a byte behind it.
    #[error("a `%` is not followed by two hexadecimal digits: write it as `%25`")]
    Digits,
    /// Bytes that are no text.
    #[error("the percent-encoded text is not UTF-8")]
    NotUtf8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_kept_in_order() {
        let found: Vec<_> = pairs(Some("a=1&b=x%20y&&a=%C3%A9&flag&p=1+1"))
            .map(|pair| pair.expect("all are UTF-8"))
            .collect();
        let expected = [
            ("a", "1"),
            ("b", "x y"),
            ("a", "é"),
            ("flag", ""),
            ("p", "1+1"),
        ];
        assert_eq!(found.len(), expected.len());
        for ((name, value), (wanted_name, wanted_value)) in found.iter().zip(expected) {
            assert_eq!((name.as_ref(), value.as_ref()), (wanted_name, wanted_value));
        }
        assert_eq!(pairs(None).count(), 0);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(decode("%ff"), Err(BadEncoding::NotUtf8));
        assert!(pairs(Some("user=%ff")).any(|pair| pair.is_err()));
    }

    #[test]
    fn what_only_looks_encoded_is_refused() {
        for text in ["%", "a%", "%a", "%zz", "%2", "%%25", "%+1", "%é", "%25%"] {
            assert_eq!(decode(text), Err(BadEncoding::Digits), "{text}");
            assert!(pairs(Some(&format!("{text}=1"))).any(|pair| pair.is_err()));
            assert!(pairs(Some(&format!("a={text}"))).any(|pair| pair.is_err()));
        }
        assert_eq!(decode("%25zz%2f").as_deref(), Ok("%zz/"));
    }
}
