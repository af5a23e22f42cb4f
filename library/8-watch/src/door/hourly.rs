use serde::{Deserialize, Serialize};

use crate::tally::HOUR_S;

/// How many there were within an hour from the first of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Hourly {
    since_s: i64,
    count: u32,
}

impl Hourly {
    pub(super) fn add(&mut self, now_s: i64) -> u32 {
        if now_s - self.since_s >= HOUR_S {
            *self = Self {
                since_s: now_s,
                count: 0,
            };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}
