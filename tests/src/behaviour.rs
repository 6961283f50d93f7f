//! A behaviour: what servers do for those who talk to them, and where in the matrix that applies.

use crate::adapter::Adapter;
use crate::matrix::{Cell, DirectoryKind, Fleet};

/// One behaviour. [`behaviours!`](crate::behaviours) makes a list of them.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// The path of its module, as the compiler gives it.
    pub module: &'static str,
    /// The name of its function, which says what holds.
    pub name: &'static str,
    /// Where it applies.
    pub needs: Needs,
    /// Tries it in a cell; a panic is a failure.
    pub run: fn(Cell),
}

impl Behaviour {
    /// Whether every change is tried in this cell, or only the whole matrix is.
    ///
    /// With Redis it is tried on both runtimes: on each alone, if it is about one server, and otherwise in a mixed
    /// cluster. Of the other directories every change is tried on what they are responsible for: the embedded one
    /// carries pushes between workers, on one runtime, which the behaviour's name decides, and the Sentinel fails over.
    pub fn with_every_change(&self, cell: Cell) -> bool {
        let needs = self.needs;
        match (cell.directory, needs.servers) {
            (DirectoryKind::Redis, Servers::One) => true,
            (DirectoryKind::Redis, Servers::Instances | Servers::Processes) => {
                cell.fleet == Fleet::Mixed
            }
            (DirectoryKind::Embedded, Servers::Instances) => {
                cell.fleet == Fleet::Of(self.runtime())
            }
            (DirectoryKind::Embedded, Servers::One | Servers::Processes) => {
                matches!(needs.directory, Directories::Own)
            }
            (DirectoryKind::Sentinel, Servers::One) => {
                matches!(needs.directory, Directories::Sentinel)
                    && cell.fleet == Fleet::Of(self.runtime())
            }
            (DirectoryKind::Sentinel, Servers::Instances | Servers::Processes) => {
                matches!(needs.directory, Directories::Sentinel) && cell.fleet == Fleet::Mixed
            }
        }
    }

    /// One of the two runtimes: half of the names have the one, and half the other.
    fn runtime(&self) -> Adapter {
        let letters: usize = self.name.bytes().map(usize::from).sum();
        Adapter::ALL[letters % Adapter::ALL.len()]
    }
}
/// A list of behaviours: `behaviours![(INSTANCES, pushes_arrive_in_order)]`. A function that
/// stands in no list is dead code, which the lints refuse.
#[macro_export]
macro_rules! behaviours {
    ($(($needs:expr, $behaviour:ident)),* $(,)?) => {
        &[$($crate::behaviour::Behaviour {
            module: module_path!(),
            name: stringify!($behaviour),
            needs: $needs,
            run: $behaviour,
        }),*]
    };
}

/// What a behaviour needs, which decides the cells in which it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    servers: Servers,
    directory: Directories,
    fleets: Fleets,
}

/// One server: nothing in the behaviour crosses from one instance to another.
pub const ONE: Needs = Needs {
    servers: Servers::One,
    directory: Directories::Any,
    fleets: Fleets::All,
};

/// Several instances, which may be workers of one process.
pub const INSTANCES: Needs = Needs {
    servers: Servers::Instances,
    directory: Directories::Any,
    fleets: Fleets::All,
};

/// Several processes, which the behaviour ends, stalls, or tells apart by their addresses.
pub const PROCESSES: Needs = Needs {
    servers: Servers::Processes,
    directory: Directories::Any,
    fleets: Fleets::All,
};

/// The executable alone, whatever it is told.
pub const COMMAND_LINE: Needs = Needs {
    servers: Servers::One,
    directory: Directories::Own,
    fleets: Fleets::All,
};

impl Needs {
    /// And a directory in Redis, into which the behaviour looks.
    #[must_use]
    pub const fn in_redis(self) -> Self {
        self.on(Directories::InRedis)
    }

    /// And a single Redis, which the behaviour has for itself: it sets it up, or lets it fail.
    #[must_use]
    pub const fn single_redis(self) -> Self {
        self.on(Directories::SingleRedis)
    }

    /// And a Sentinel with a replica.
    #[must_use]
    pub const fn sentinel(self) -> Self {
        self.on(Directories::Sentinel)
    }

    /// And nothing but the embedded directory.
    #[must_use]
    pub const fn embedded(self) -> Self {
        self.on(Directories::Own)
    }

    /// And servers on both runtimes: it takes long, and is tried where all of them are.
    #[must_use]
    pub const fn in_mixed_clusters(self) -> Self {
        Self {
            fleets: Fleets::Mixed,
            ..self
        }
    }

    const fn on(self, directory: Directories) -> Self {
        Self { directory, ..self }
    }

    /// Why the behaviour does not apply in a cell.
    pub const fn obstacle(self, cell: Cell) -> Option<&'static str> {
        const ONE_PROCESS: &str = "a cluster on the embedded directory is one process";
        match (cell.fleet, self.servers, cell.directory) {
            (Fleet::Mixed, Servers::One, _) => return Some("one server is on one runtime"),
            (Fleet::Mixed, _, DirectoryKind::Embedded)
            | (_, Servers::Processes, DirectoryKind::Embedded) => return Some(ONE_PROCESS),
            (
                Fleet::Of(_) | Fleet::Mixed,
                Servers::One | Servers::Instances | Servers::Processes,
                DirectoryKind::Embedded | DirectoryKind::Redis | DirectoryKind::Sentinel,
            ) => {}
        }
        match (self.fleets, cell.fleet) {
            (Fleets::Mixed, Fleet::Of(_)) => {
                return Some("it takes long, and is tried where both runtimes are");
            }
            (Fleets::All, Fleet::Of(_) | Fleet::Mixed) | (Fleets::Mixed, Fleet::Mixed) => {}
        }
        match (self.directory, cell.directory) {
            (Directories::Any, _)
            | (Directories::InRedis, DirectoryKind::Redis | DirectoryKind::Sentinel)
            | (Directories::SingleRedis, DirectoryKind::Redis)
            | (Directories::Sentinel, DirectoryKind::Sentinel)
            | (Directories::Own, DirectoryKind::Embedded) => None,
            (Directories::InRedis | Directories::SingleRedis, DirectoryKind::Embedded) => {
                Some("it is about Redis")
            }
            (Directories::SingleRedis, DirectoryKind::Sentinel) => {
                Some("it is about a single Redis; `failover` is about two")
            }
            (Directories::Sentinel, DirectoryKind::Embedded | DirectoryKind::Redis) => {
                Some("it is about a failover")
            }
            (Directories::Own, DirectoryKind::Redis | DirectoryKind::Sentinel) => {
                Some("it is about a server without Redis, or one that does not start")
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    One,
    Instances,
    Processes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directories {
    Any,
    InRedis,
    SingleRedis,
    Sentinel,
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fleets {
    All,
    Mixed,
}
