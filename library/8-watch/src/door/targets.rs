use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{slots::Slots, tally::HOUR_S};

const TARGETS_MOST: usize = 5_000;
const NETWORKS_MOST: usize = 200;

/// From how many networks tokens of one person or studio were tried, within an hour from the first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Targets(Slots<BTreeSet<String>>);

impl Targets {
    /// Up to `most` of them are counted: whoever names thousands fills no memory with their networks.
    pub(super) fn add(&mut self, target: &str, network: &str, now_s: i64, most: u32) -> u32 {
        let Some(networks) = self.0.slot(target, now_s, HOUR_S, TARGETS_MOST) else {
            return 0;
        };
        if networks.len() < NETWORKS_MOST.min(most as usize) {
            networks.insert(network.to_owned());
        }
        u32::try_from(networks.len()).unwrap_or(u32::MAX)
    }
}
