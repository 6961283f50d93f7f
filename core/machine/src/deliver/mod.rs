//! Deliveries at the instance that has the terminals: outcomes, pushes to everyone, repeats.

pub(crate) mod broadcast;
pub(crate) mod inbound;
pub(crate) mod repeat;

use std::collections::VecDeque;

use crate::base::rng::SeededHash;
use crate::base::slots::Slots;
use crate::config::Config;
use crate::id::InboundKey;

use inbound::Inbound;
use repeat::Repeats;

/// The deliveries to terminals of this instance.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    pub(crate) inbound: Slots<InboundKey, Inbound>,
    pub(crate) broadcasts: VecDeque<InboundKey>,
    pub(crate) repeats: Repeats,
}

impl Deliveries {
    pub(crate) fn new(config: &Config, hash: &SeededHash) -> Self {
        Self {
            inbound: Slots::new(),
            broadcasts: VecDeque::new(),
            repeats: Repeats::new(config.repeat_memory, config.repeat_entries, hash),
        }
    }
}
