//! Pushes and questions at the instance that is asked: order per user, routes, receipts.

pub(crate) mod lane;
pub(crate) mod list;
pub(crate) mod push;
pub(crate) mod receipt;
pub(crate) mod route;

use crate::base::rng::SeededHash;
use crate::delivery::Delivered;

use push::Pushes;

/// The pushes and questions of this instance.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) pushes: Pushes,
    /// This instance's answers to its own deliveries, taken up at the end of the turn.
    pub(crate) delivered: Vec<Delivered>,
}

impl Publish {
    pub(crate) fn new(hash: &SeededHash) -> Self {
        Self {
            pushes: Pushes::new(hash),
            delivered: Vec::new(),
        }
    }
}
