use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{slots::Slots, tally::HOUR_S};

const TARGETS_MOST: usize = 5_000;
const NETWORKS_MOST: usize = 200;
/// So many are named in an hour: anybody can write names into tokens.
const NAMED_MOST: usize = 20;

/// From how many networks tokens of one person or studio were tried, within an hour from the first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Targets {
    networks: Slots<BTreeSet<String>>,
    /// Which were named, and when first within the hour.
    named: BTreeMap<String, i64>,
}

impl Targets {
    /// Up to `most` of them are counted: whoever names thousands fills no memory with their networks.
    pub(super) fn add(&mut self, target: &str, network: &str, now_s: i64, most: u32) -> u32 {
        let Some(networks) = self.networks.slot(target, now_s, HOUR_S, TARGETS_MOST) else {
            return 0;
        };
        if networks.len() < NETWORKS_MOST.min(most as usize) {
            networks.insert(network.to_owned());
        }
        u32::try_from(networks.len()).unwrap_or(u32::MAX)
    }

    /// The name of one that is told of, unless too many were named in the last hour: the others are told of without.
    pub(super) fn name(&mut self, target: String, now_s: i64) -> Option<String> {
        self.named.retain(|_, since| now_s - *since < HOUR_S);
        if self.named.len() >= NAMED_MOST && !self.named.contains_key(&target) {
            return None;
        }
        self.named.entry(target.clone()).or_insert(now_s);
        Some(target)
    }
}
