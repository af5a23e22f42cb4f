use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{history::History, tally::HOUR_S, thresholds::Thresholds};

const WINDOW_S: i64 = 6 * HOUR_S;
const NETWORKS_MOST: usize = 5_000;
/// So many hours are learned before what is usual counts.
const LEARN_HOURS: usize = 24;

/// Many networks, each with a few tries: none of them is a burst. The networks of the last six hours are
/// counted, and compared with how many there usually are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Spray {
    networks: BTreeMap<String, i64>,
    hour: i64,
    usual: History,
}

impl Spray {
    pub(super) fn is_wide(&mut self, network: &str, now_s: i64, thresholds: &Thresholds) -> bool {
        let hour = now_s.div_euclid(HOUR_S);
        if hour > self.hour {
            self.hour = hour;
            self.networks.retain(|_, met_s| now_s - *met_s < WINDOW_S);
            self.usual.push(self.networks.len() as f64);
        }
        if self.networks.len() < NETWORKS_MOST || self.networks.contains_key(network) {
            self.networks.insert(network.to_owned(), now_s);
        }
        let count = self.networks.len() as f64;
        let is_unusual =
            self.usual.len() < LEARN_HOURS || count > self.usual.above(thresholds.role());
        count >= f64::from(thresholds.spray_networks) && is_unusual
    }
}
