//! What a server is started with.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// The settings file of a server, the files that it names, and flags and variables beside it. The
/// servers of all runtimes take the same.
#[derive(Clone, Debug)]
pub struct Settings {
    table: Table,
    files: BTreeMap<String, Vec<u8>>,
    flags: Vec<String>,
    variables: BTreeMap<String, String>,
    open_files: Option<u64>,
}

impl Settings {
    /// Free ports, one worker, and times that are short enough for tests.
    pub fn for_tests() -> Self {
        let nothing = Self {
            table: Table::new(),
            files: BTreeMap::new(),
            flags: Vec::new(),
            variables: BTreeMap::new(),
            open_files: None,
        };
        nothing
            .with("listen", "127.0.0.1:0")
            .with("api", "127.0.0.1:0")
            .with("peer", "127.0.0.1:0")
            .with("workers", 1)
            .with("lease", "3s")
            .with("lease_renewal", "500ms")
            .with("view_interval", "200ms")
            .with("directory_timeout", "1s")
    }

    /// With a setting; the last value counts.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.table.insert(name.to_owned(), value.into());
        self
    }

    /// With a setting that names a file, of which this is the text.
    #[must_use]
    pub fn with_file(mut self, name: &str, text: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.to_owned(), text.into());
        self
    }

    /// Without a setting.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.table.remove(name);
        self.files.remove(name);
        self
    }

    /// With a flag on the command line.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        self.flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// With an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// With so many open files that the system allows it.
    #[must_use]
    pub const fn with_open_files(mut self, files: u64) -> Self {
        self.open_files = Some(files);
        self
    }

    /// How many open files the system allows it, if that is limited for it alone.
    pub const fn open_files(&self) -> Option<u64> {
        self.open_files
    }

    /// How many workers each process has.
    pub fn workers(&self) -> usize {
        let workers = self.table.get("workers").and_then(Value::as_integer);
        workers.and_then(|n| usize::try_from(n).ok()).unwrap_or(1)
    }

    /// Writes the settings file, and those that it names, into a folder, and returns its path.
    ///
    /// # Panics
    ///
    /// If the folder cannot be written to.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let mut table = self.table.clone();
        for (name, text) in &self.files {
            let path = write_private(folder, name, text);
            table.insert(name.clone(), path.display().to_string().into());
        }
        write_private(folder, "switchboard.toml", table.to_string().as_bytes())
    }

    /// The flags and their values.
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// The variables.
    pub const fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }
}

/// Writes a file that nobody but its owner may read, as secrets must be.
fn write_private(folder: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("the folder is writable");
    let for_owner = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&path, for_owner).expect("the file is ours");
    path
}
