use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whoever fills it makes it look for room once in so long, and not each time.
const SWEEP_S: i64 = 60;

/// A place for each of a bounded number of names, that of a time long past anew.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Slots<V> {
    slots: BTreeMap<String, Slot<V>>,
    swept_s: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Slot<V> {
    since_s: i64,
    value: V,
}

impl<V: Default> Slots<V> {
    /// The place of a name; a new one where there was none, or one for longer than `lasts_s`. None where `most`
    /// others have theirs.
    pub(crate) fn slot(
        &mut self,
        name: &str,
        now_s: i64,
        lasts_s: i64,
        most: usize,
    ) -> Option<&mut V> {
        if self.slots.len() >= most && now_s - self.swept_s >= SWEEP_S {
            self.swept_s = now_s;
            self.slots.retain(|_, slot| now_s - slot.since_s < lasts_s);
        }
        if self.slots.len() >= most && !self.slots.contains_key(name) {
            return None;
        }
        let new = || Slot {
            since_s: now_s,
            value: V::default(),
        };
        let slot = self.slots.entry(name.to_owned()).or_insert_with(new);
        if now_s - slot.since_s >= lasts_s {
            *slot = new();
        }
        Some(&mut slot.value)
    }

    /// How many have one.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
