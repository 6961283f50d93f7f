//! Query strings and path segments, percent-decoded. A `+` is a plus sign: nothing here is a form.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The pairs of a query string, in their order.
pub(crate) fn pairs(
    query: Option<&str>,
) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), NotUtf8>> {
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
/// If what comes out is not UTF-8.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, NotUtf8> {
    percent_decode_str(text).decode_utf8().map_err(|_| NotUtf8)
}

/// Percent-encoded bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the percent-encoded text is not UTF-8")]
pub(crate) struct NotUtf8;

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
        assert_eq!(decode("%ff"), Err(NotUtf8));
        assert!(pairs(Some("user=%ff")).any(|pair| pair.is_err()));
    }
}
