use serde::{Deserialize, Serialize};

use crate::slots::Slots;

const WINDOW_S: i64 = 600;
/// At most so many networks are counted at once; from more it is no burst but a spray.
const NETWORKS_MOST: usize = 10_000;

/// Tries of one network, within ten minutes from the first of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Bursts(Slots<u32>);

impl Bursts {
    pub(super) fn add(&mut self, network: &str, now_s: i64) -> u32 {
        let Some(count) = self.0.slot(network, now_s, WINDOW_S, NETWORKS_MOST) else {
            return 0;
        };
        *count = count.saturating_add(1);
        *count
    }
}
