use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// So many numbers are kept: exact below, within a tenth above.
const KEPT: usize = 256;

/// How many different ones there were, in bounded memory: the smallest of their hashes are kept, and how
/// closely they stand says how many there are (Bar-Yossef and others, 2002: k minimum values).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Distinct(BTreeSet<u64>);

impl Distinct {
    pub(crate) fn add(&mut self, mixed: u64) {
        if self.0.len() < KEPT {
            self.0.insert(mixed);
        } else if self.0.last().is_some_and(|largest| mixed < *largest) && self.0.insert(mixed) {
            self.0.pop_last();
        }
    }

    pub(crate) fn count(&self) -> f64 {
        match self.0.last() {
            Some(largest) if self.0.len() == KEPT => {
                (KEPT - 1) as f64 / ((*largest as f64 + 1.0) / u64::MAX as f64)
            }
            _ => self.0.len() as f64,
        }
    }
}

/// Spreads a number over all 64 bits (the finalizer of SplitMix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_counted_exactly_many_within_a_fifth_and_none_twice() {
        for many in [0_u64, 1, 200, 1_000, 50_000] {
            let mut distinct = Distinct::default();
            for number in (0..many).chain(0..many) {
                distinct.add(mixed(number));
            }
            let error = (distinct.count() - many as f64).abs();
            let most = if many < KEPT as u64 {
                0.0
            } else {
                many as f64 / 5.0
            };
            assert!(error <= most, "{many}: {}", distinct.count());
        }
    }
}
