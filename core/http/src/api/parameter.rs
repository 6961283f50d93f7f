//! Parameters of a query, each of which may be given once.

use super::error::ApiError;

/// A parameter that may be given once.
///
/// # Errors
///
/// If it was given before.
pub(super) fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), ApiError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ApiError::RepeatedParameter(name)),
    }
}

/// A whole number that may be given once.
///
/// # Errors
///
/// If it is none, or was given before.
pub(super) fn number(
    name: &'static str,
    text: &str,
    place: &mut Option<u32>,
) -> Result<(), ApiError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let read = is_number.then(|| text.parse().ok()).flatten();
    once(name, place, read.ok_or(ApiError::BadNumber(name))?)
}
