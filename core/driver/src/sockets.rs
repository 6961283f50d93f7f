//! How many sockets each listener may hold, so that each kind leaves room for the others.

/// Sockets that the listeners of a process hold at the same time, at most. Beyond them a terminal is
/// told that the server is full, and so is a caller of the API but for health and metrics; at the
/// peers' port whoever has proven nothing gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Terminals, from the moment when their connection is accepted to its end.
    pub terminals: usize,
    /// Those of them that have not completed their handshake.
    pub handshakes: usize,
    /// Connections to the API.
    pub api: usize,
    /// Connections to the peers' port whose handshake is not complete.
    pub peers: usize,
    /// Sockets of the terminals' listener, and of the API's, that are accepted beyond these, to be
    /// told so. Further ones are closed at once.
    pub spare: usize,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            terminals: usize::MAX,
            handshakes: 16_384,
            api: 4096,
            peers: 1024,
            spare: 256,
        }
    }
}

/// Descriptors of the process beside sockets of listeners and links: standard streams, listeners,
/// configuration.
const PROCESS: usize = 16;
/// Those of one instance: its runtime, its link to the directory, one that is being established.
const INSTANCE: usize = 8;

impl Sockets {
    /// What fits into so many descriptors, of a process with so many instances. The API, links and
    /// the directory have theirs whether or not they are in use.
    pub fn within(descriptors: usize, instances: usize) -> Self {
        let all = Self::default();
        // A share of few descriptors must be a large one to be enough; what is enough for a busy server need
        // not grow as they do.
        let share = |of_few: usize, least: usize, enough: usize, of_many: usize, most: usize| {
            let few = (descriptors / of_few).clamp(least, enough);
            few.max(descriptors / of_many).min(most)
        };
        let api = share(16, 16, 256, 64, all.api);
        let peers = share(32, 8, 128, 128, all.peers);
        let spare = share(64, 4, 64, 128, all.spare);
        // As many as may be half open, and as many that are proven.
        let links = peers.saturating_mul(2);
        let own = PROCESS + INSTANCE * instances;
        let reserved = own + links + api + 2 * spare;
        let terminals = descriptors.saturating_sub(reserved).max(1);
        Self {
            terminals,
            handshakes: all.handshakes.min(terminals),
            api,
            peers,
            spare,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_by_all_is_never_more_than_there_are() {
        for descriptors in [128, 256, 1024, 4096, 20_000, 65_536, 1_048_576] {
            let sockets = Sockets::within(descriptors, 2);
            let Sockets {
                terminals,
                handshakes,
                api,
                peers,
                spare,
            } = sockets;
            assert!(handshakes <= terminals);
            let held = terminals + api + peers + 2 * spare;
            assert!(held + PROCESS + 2 * INSTANCE <= descriptors, "{sockets:?}");
            // Terminals are what they are for.
            let part = match descriptors {
                0..1024 => 0.0,
                1024..16_384 => 0.75,
                16_384.. => 0.95,
            };
            assert!(terminals as f64 >= part * descriptors as f64, "{sockets:?}");
        }
    }
}
