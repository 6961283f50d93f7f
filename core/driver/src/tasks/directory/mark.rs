//! The mark of the keys' layout, which the first instance leaves and the others heed.

use futures_io::{AsyncRead, AsyncWrite};
use switchboard_core::directory::DirectorySettings;
use switchboard_core::directory::redis::{Layout, Value};

use super::trouble::Trouble;
use crate::redis::{Connection, RedisError};

/// Leaves the mark if there is none.
///
/// # Errors
///
/// [`Trouble::Layout`] if there is another one.
pub(super) async fn leave_or_heed<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    settings: &DirectorySettings,
) -> Result<(), Trouble> {
    let mut found = read(connection, settings).await?;
    if found.is_none() {
        // Another instance may do so at the same time. A server without memory refuses this one even
        // where nothing is to be written: so it is not asked first.
        found = understood(connection.ask(&Layout::leave(settings)).await?)?;
    }
    heed(found.as_deref(), settings)
}

/// The mark that is there.
pub(super) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    settings: &DirectorySettings,
) -> Result<Option<Vec<u8>>, Trouble> {
    understood(connection.ask(&Layout::read(settings)).await?)
}

/// The mark that was answered.
pub(super) fn understood(answer: Value) -> Result<Option<Vec<u8>>, Trouble> {
    match answer {
        Value::Nil => Ok(None),
        Value::Bulk(mark) => Ok(Some(mark.to_vec())),
        Value::Error(error) => Err(RedisError::Refused(error).into()),
        other @ (Value::Int(_) | Value::Status(_) | Value::Array(_)) => Err(Trouble::Unreachable(
            format!("asked for the layout it answers {other:?}"),
        )),
    }
}

/// # Errors
///
/// [`Trouble::Layout`] if this is another mark than that of these settings.
pub(super) fn heed(found: Option<&[u8]>, settings: &DirectorySettings) -> Result<(), Trouble> {
    let other = found.and_then(|found| other(found, settings));
    other.map_or(Ok(()), |why| Err(Trouble::Layout(why)))
}

/// What to do about a mark that is not the one of these settings; `None` if it is.
pub(super) fn other(found: &[u8], settings: &DirectorySettings) -> Option<String> {
    let ours = Layout::of(settings);
    let key = Layout::key(settings);
    let prefix = &settings.prefix;
    let anew = |what: &str| {
        format!(
            "or give this one a --prefix of its own; or stop all servers that use the prefix {prefix}, \
             delete the key {key}, and start them with the same {what}"
        )
    };
    match Layout::parse(found) {
        Some(theirs) if theirs == ours => None,
        Some(theirs) if theirs.version == ours.version => Some(format!(
            "the keys with the prefix {prefix} are spread over {} partitions, and this server has \
             --partitions {}: set --partitions {}; {}",
            theirs.partitions,
            ours.partitions,
            theirs.partitions,
            anew("--partitions")
        )),
        Some(theirs) => Some(format!(
            "the keys with the prefix {prefix} are of layout {}, and this server's are of layout {}: run \
             the version of Switchboard that the other servers are of; {}",
            theirs.version,
            ours.version,
            anew("version")
        )),
        None => Some(format!(
            "the key {key} holds {:?}, where this server would write {:?}: give it a --prefix of its \
             own, or delete that key if nothing else uses the prefix {prefix}",
            String::from_utf8_lossy(found)
                .chars()
                .take(MARK_SHOWN)
                .collect::<String>(),
            ours.to_string()
        )),
    }
}

/// How much is shown of what is no mark.
const MARK_SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use switchboard_core::config::Config;

    use super::*;

    #[test]
    fn another_mark_is_named_with_what_to_do() {
        let settings = Config::default().directory();
        let said = |mark: &str| other(mark.as_bytes(), &settings);
        assert_eq!(said("version=1 partitions=1024"), None);
        for (mark, hints) in [
            (
                "version=1 partitions=512",
                ["512 partitions", "set --partitions 512", "sb:layout"],
            ),
            (
                "version=7 partitions=1024",
                ["of layout 7", "of layout 1", "sb:layout"],
            ),
            (
                "version=7 partitions=512",
                ["of layout 7", "of layout 1", "--prefix"],
            ),
            ("hello", ["sb:layout holds \"hello\"", "--prefix", "delete"]),
        ] {
            let said = said(mark).expect("it is another one");
            for hint in hints {
                assert!(said.contains(hint), "{mark}: {said}");
            }
        }
    }
}
