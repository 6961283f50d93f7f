//! The matrix: on which servers and which directory a behaviour is tried.

use std::fmt;

use crate::adapter::Adapter;
use crate::cluster::Cluster;
use crate::settings::Settings;

/// One place of the matrix. It starts what a behaviour needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// On which runtimes the servers run.
    pub fleet: Fleet,
    /// What they have for a directory.
    pub directory: DirectoryKind,
}

/// The servers of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fleet {
    /// All on one runtime.
    Of(Adapter),
    /// Each on another runtime than the one started before it.
    Mixed,
}

/// The directory of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryKind {
    /// The one that is built in, for one process.
    Embedded,
    /// One Redis.
    Redis,
    /// A Redis with a replica, and a Sentinel that lets it take over.
    Sentinel,
}

impl Cell {
    /// The whole matrix.
    pub fn all() -> impl Iterator<Item = Self> {
        const FLEETS: &[Fleet] = &[
            Fleet::Of(Adapter::Tokio),
            Fleet::Of(Adapter::Smol),
            Fleet::Mixed,
        ];
        const DIRECTORIES: &[DirectoryKind] = &[
            DirectoryKind::Redis,
            DirectoryKind::Embedded,
            DirectoryKind::Sentinel,
        ];
        let of_fleet = |&fleet| DIRECTORIES.iter().map(move |&directory| (fleet, directory));
        let cells = FLEETS.iter().flat_map(of_fleet);
        cells.map(|(fleet, directory)| Self { fleet, directory })
    }

    /// So many instances that know each other.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn start(self, instances: usize) -> Cluster {
        self.start_with(instances, |settings| settings)
    }

    /// So many instances with other settings.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[track_caller]
    pub fn start_with(
        self,
        instances: usize,
        configure: impl FnOnce(Settings) -> Settings,
    ) -> Cluster {
        Cluster::start(self, instances, configure)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.fleet, self.directory)
    }
}

impl Fleet {
    /// What the server with this number is on.
    pub const fn adapter(self, number: usize) -> Adapter {
        match self {
            Self::Of(adapter) => adapter,
            Self::Mixed => Adapter::ALL[number % Adapter::ALL.len()],
        }
    }
}

impl fmt::Display for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(adapter) => adapter.fmt(f),
            Self::Mixed => f.write_str("mixed"),
        }
    }
}

impl fmt::Display for DirectoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
            Self::Sentinel => "sentinel",
        })
    }
}
