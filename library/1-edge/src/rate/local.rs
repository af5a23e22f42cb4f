use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{Ask, Key, Standing, gcra};

/// At most so many buckets are kept; 24 bytes each, and what a map needs beside them.
const BUCKETS: usize = 65_536;

/// The buckets of one process.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<HashMap<Key, u64>>);

impl Table {
    pub(super) fn ask(&self, asks: &[Ask], now_us: u64) -> Vec<Standing> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() + asks.len() > BUCKETS {
            make_room(&mut buckets, now_us);
        }
        gcra::decide(asks, &mut buckets, now_us)
    }
}

/// Forgets what is whole again, which loses nothing. Where that is not half, the fullest buckets go
/// as well: whoever comes from ever new addresses pushes out those who used least, and no flood.
fn make_room(buckets: &mut HashMap<Key, u64>, now_us: u64) {
    buckets.retain(|_, full_at| *full_at > now_us);
    if buckets.len() <= BUCKETS / 2 {
        return;
    }
    let mut instants: Vec<u64> = buckets.values().copied().collect();
    let middle = instants.len() / 2;
    let (_, median, _) = instants.select_nth_unstable(middle);
    let median = *median;
    buckets.retain(|_, full_at| *full_at > median);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::{Quota, Units};

    fn ask(name: &str, units: u32) -> Ask {
        Ask {
            key: Key::of(&[name]),
            policy: "test",
            quota: Quota::per_second(1, 100),
            units: Units::Take(units),
        }
    }

    #[test]
    fn however_many_come_the_table_is_bounded_and_a_flood_is_remembered() {
        let (table, now_us) = (Table::default(), 1_000_000_000);
        let flood = table.ask(&[ask("flood", 100)], now_us);
        assert!(flood[0].again_after_s.is_none());
        for number in 0..3 * BUCKETS {
            let _ = table.ask(&[ask(&number.to_string(), 1)], now_us);
        }
        let kept = table.0.lock().unwrap().len();
        assert!(kept <= BUCKETS, "{kept}");
        assert_eq!(
            table.ask(&[ask("flood", 1)], now_us)[0].again_after_s,
            Some(1)
        );
    }
}
