use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How much there was in each of the last windows, as logarithms: what people do in a day differs by
/// factors, not by sums. The median and the median deviation from it are not moved by a few odd days.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct History(VecDeque<f32>);

/// So many windows are remembered.
const WINDOWS: usize = 120;

/// The median absolute deviation of a normal distribution, times this, is its standard deviation.
const NORMAL: f64 = 1.4826;

/// Nobody is so regular that less than this is a deviation: a quarter more or less.
const SPREAD_LEAST: f64 = 0.25;

impl History {
    pub(crate) fn push(&mut self, count: f64) {
        if self.0.len() == WINDOWS {
            self.0.pop_front();
        }
        self.0.push_back(count.ln_1p() as f32);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The count that lies so many deviations above the usual one.
    pub(crate) fn above(&self, deviations: f64) -> f64 {
        let (middle, spread) = self.middle_and_spread();
        (middle + deviations * spread).exp_m1()
    }

    /// How many deviations a count lies above the usual one.
    pub(crate) fn deviations(&self, count: f64) -> f64 {
        let (middle, spread) = self.middle_and_spread();
        (count.ln_1p() - middle) / spread
    }

    /// The most there was.
    pub(crate) fn peak(&self) -> f64 {
        let most = self.0.iter().copied().fold(0.0, f32::max);
        f64::from(most).exp_m1()
    }

    fn middle_and_spread(&self) -> (f64, f64) {
        let values: Vec<f64> = self.0.iter().map(|value| f64::from(*value)).collect();
        let middle = median(values.clone());
        let apart = values.iter().map(|value| (value - middle).abs());
        let spread = NORMAL * median(apart.collect());
        (middle, spread.max(SPREAD_LEAST))
    }
}

/// The middle one; zero of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_odd_days_do_not_move_what_is_usual() {
        let mut history = History::default();
        for day in 0..30 {
            history.push(if day % 10 == 0 {
                5_000.0
            } else {
                90.0 + f64::from(day)
            });
        }
        let limit = history.above(4.0);
        assert!((200.0..500.0).contains(&limit), "{limit}");
        assert!(history.deviations(1_000.0) > 4.0);
        assert!(history.deviations(100.0).abs() < 1.0);
    }

    #[test]
    fn it_forgets_and_does_not_grow() {
        let mut history = History::default();
        for _ in 0..1_000 {
            history.push(1.0);
        }
        assert_eq!(history.len(), WINDOWS);
    }
}
