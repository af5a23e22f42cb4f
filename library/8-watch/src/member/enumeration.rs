use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Found, Look};
use crate::{alert::Kind, tally::Evidence};

/// Who pauses for longer begins anew.
const PAUSE_S: i64 = 600;
/// So many records of a run are remembered.
const ROWS_MOST: usize = 4_000;

/// Record after record, or window after window: each answer has what none before had. People go back to
/// their lists; programs that take everything along do not.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Enumeration {
    run: u32,
    last_s: i64,
    action: String,
    rows: BTreeSet<u64>,
    evidence: Evidence,
}

impl Enumeration {
    pub(super) fn look(&mut self, look: &Look<'_>) -> Option<Found> {
        let seen = look.seen;
        if !seen.is_reading() || seen.ids.is_empty() {
            return None;
        }
        let now_s = seen.time.as_second();
        if now_s - self.last_s > PAUSE_S || self.action != seen.action {
            self.begin(&seen.action);
        }
        self.last_s = now_s;
        let (mut rows, mut new) = (0_u32, 0_u32);
        for row in seen.rows().take(seen.ids.len()) {
            rows += 1;
            new += u32::from(self.rows.insert(row));
        }
        while self.rows.len() > ROWS_MOST {
            self.rows.pop_first();
        }
        // A window has what the one before it ended with.
        if 4 * new < 3 * rows {
            self.run = 0;
            self.evidence.clear();
            return None;
        }
        self.run += 1;
        self.evidence.add(seen.seq);
        (self.run >= look.thresholds.enumeration_requests).then(|| Found {
            kind: Kind::Enumeration,
            evidence: self.evidence.list(),
        })
    }

    fn begin(&mut self, action: &str) {
        self.run = 0;
        self.rows.clear();
        self.evidence.clear();
        action.clone_into(&mut self.action);
    }
}
