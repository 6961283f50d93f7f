//! Secrets from files and from the environment.

use std::path::{Path, PathBuf};

use switchboard_core::config::ClusterSecret;

/// The variable that holds the cluster's secret.
pub(crate) const CLUSTER_SECRET: &str = "SWITCHBOARD_CLUSTER_SECRET";

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("{}: {error}", path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{} is empty", path.display())]
    Empty { path: PathBuf },
    #[error("{} must hold text, in UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("{}, line {line}: a key must have at least {least} bytes: make one with `openssl rand -hex 32`", path.display())]
    ShortKey {
        path: PathBuf,
        line: usize,
        least: usize,
    },
    #[error("a secret must have at least {least} bytes: make one with `openssl rand -hex 32`")]
    Short { least: usize },
}

/// Reads a file that holds one secret. A line end behind it is not part of it.
///
/// # Errors
///
/// If it cannot be read, or is empty.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, SecretError> {
    let mut bytes = std::fs::read(path).map_err(|error| SecretError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    while bytes
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(SecretError::Empty {
            path: path.to_owned(),
        });
    }
    warn_if_others_can_read(path);
    Ok(bytes)
}

/// Reads a file that holds keys, one a line. Empty lines and those that begin with `#` are skipped.
///
/// # Errors
///
/// If it cannot be read, holds no key, or one that is short.
pub(crate) fn read_keys(path: &Path) -> Result<Vec<String>, SecretError> {
    /// Shorter ones can be guessed.
    const LEAST: usize = 16;
    let text = String::from_utf8(read(path)?).map_err(|_| SecretError::NotText {
        path: path.to_owned(),
    })?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let key = line.trim();
        if key.is_empty() || key.starts_with('#') {
            continue;
        }
        if key.len() < LEAST {
            return Err(SecretError::ShortKey {
                path: path.to_owned(),
                line: index + 1,
                least: LEAST,
            });
        }
        keys.push(key.to_owned());
    }
    if keys.is_empty() {
        return Err(SecretError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(keys)
}

/// The cluster's secret of these bytes.
///
/// # Errors
///
/// If there are too few.
pub(crate) fn cluster(bytes: &[u8]) -> Result<ClusterSecret, SecretError> {
    ClusterSecret::new(bytes).map_err(|_| SecretError::Short {
        least: ClusterSecret::MIN_BYTES,
    })
}

#[cfg(unix)]
fn warn_if_others_can_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    /// Read by those who are neither owner nor of the group.
    const OTHERS_READ: u32 = 0o004;
    let open =
        std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & OTHERS_READ != 0);
    if open {
        tracing::warn!(file = %path.display(), "every user of this machine can read this secret: chmod o= it");
    }
}

#[cfg(not(unix))]
fn warn_if_others_can_read(_path: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_end_behind_a_secret_is_not_part_of_it() {
        let file = SecretFile::with("one", "secret of sixteen\r\n");
        assert_eq!(read(&file.0).expect("a secret"), b"secret of sixteen");
    }

    #[test]
    fn a_file_without_a_secret_is_refused() {
        let file = SecretFile::with("empty", "\n\n");
        assert!(matches!(read(&file.0), Err(SecretError::Empty { .. })));
        let file = SecretFile::with("comments", "# only a comment\n");
        assert!(matches!(read_keys(&file.0), Err(SecretError::Empty { .. })));
        assert!(matches!(
            read(Path::new("/nonexistent/secret")),
            Err(SecretError::Unreadable { .. })
        ));
    }

    #[test]
    fn keys_stand_one_a_line_and_a_short_one_is_named() {
        let file = SecretFile::with("keys", "# first\n0123456789abcdef\n\nfedcba9876543210\n");
        let keys = read_keys(&file.0).expect("two keys");
        assert_eq!(keys, ["0123456789abcdef", "fedcba9876543210"]);
        let file = SecretFile::with("short", "0123456789abcdef\nshort\n");
        assert!(matches!(
            read_keys(&file.0),
            Err(SecretError::ShortKey { line: 2, .. })
        ));
    }

    /// A file that is removed when dropped.
    struct SecretFile(PathBuf);

    impl SecretFile {
        fn with(name: &str, content: &str) -> Self {
            let path = std::env::temp_dir()
                .join(format!("switchboard-secret-{}-{name}", std::process::id()));
            std::fs::write(&path, content).expect("the folder for temporary files can be written");
            Self(path)
        }
    }

    impl Drop for SecretFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
