//! A directory in the memory of the process.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use switchboard_core::command::RoundTrip;
use switchboard_core::config::ClusterSecret;
use switchboard_core::directory::DirectorySettings;
use switchboard_core::directory::memory::MemoryDirectory;
use switchboard_core::event::Event;

use crate::clock;

/// A directory in the memory of this process. Clones are the same directory: give one to several
/// servers of a process, and they are a cluster, with a secret of its own. It executes by the
/// settings of the server that used it first.
#[derive(Clone)]
pub struct EmbeddedDirectory(Arc<Embedded>);

struct Embedded {
    directory: Mutex<Option<MemoryDirectory>>,
    secret: ClusterSecret,
}

impl Default for EmbeddedDirectory {
    fn default() -> Self {
        let secret = ClusterSecret::new(&crate::random_bytes::<32>())
            .expect("32 bytes are enough for a secret");
        Self(Arc::new(Embedded {
            directory: Mutex::default(),
            secret,
        }))
    }
}

impl fmt::Debug for EmbeddedDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmbeddedDirectory")
    }
}

impl EmbeddedDirectory {
    /// What the servers that share this directory prove to each other, unless they were given
    /// something else.
    pub(crate) fn secret(&self) -> &ClusterSecret {
        &self.0.secret
    }

    pub(crate) fn execute(&self, settings: &DirectorySettings, trip: &RoundTrip) -> Event {
        let now = clock::mono();
        let directory = self.0.directory.lock();
        let mut directory = directory.unwrap_or_else(PoisonError::into_inner);
        let directory = directory.get_or_insert_with(|| MemoryDirectory::new(settings.clone()));
        let outcomes = trip
            .operations
            .iter()
            .map(|operation| directory.execute(now, operation));
        Event::Directory {
            op: trip.op,
            outcomes: Ok(outcomes.collect()),
        }
    }
}
