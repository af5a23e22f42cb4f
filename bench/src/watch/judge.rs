use std::{collections::BTreeMap, fmt};

use watertight_watch::Alert;

use super::{
    life::{DAY_S, HOUR_S},
    misuse::{Misuse, Plant},
};

/// What is promised.
const RECALL_LEAST: f64 = 0.9;
const FALSE_A_WEEK_MOST: f64 = 1.0;

/// An alert about the subject of a plant so long after its end is of the plant.
const GRACE_S: i64 = 2 * DAY_S;

/// How many plants were found, and how many alerts were of none.
#[derive(Default)]
pub(super) struct Verdict {
    kinds: BTreeMap<String, (u32, u32)>,
    false_kinds: BTreeMap<&'static str, u32>,
    days: i64,
}

impl Verdict {
    pub(super) fn add(&mut self, other: Self) {
        for (kind, (planted, found)) in other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            *sum = (sum.0 + planted, sum.1 + found);
        }
        for (kind, count) in other.false_kinds {
            *self.false_kinds.entry(kind).or_default() += count;
        }
        self.days += other.days;
    }

    fn recall(&self) -> f64 {
        let (planted, found) = self.planted_and_found();
        f64::from(found) / f64::from(planted.max(1))
    }

    fn planted_and_found(&self) -> (u32, u32) {
        let kinds = self.kinds.values();
        kinds.fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1))
    }

    fn false_a_week(&self) -> f64 {
        let all: u32 = self.false_kinds.values().sum();
        f64::from(all) * 7.0 / self.days.max(1) as f64
    }

    pub(super) fn is_good(&self) -> bool {
        self.recall() >= RECALL_LEAST && self.false_a_week() <= FALSE_A_WEEK_MOST
    }

    /// Each kind of misuse with how many of it were found, and each kind of alert that was of none.
    pub(super) fn by_kind(&self) -> String {
        let found = self
            .kinds
            .iter()
            .map(|(kind, (planted, found))| format!("  {kind}: {found} of {planted}\n"));
        let wrong = self
            .false_kinds
            .iter()
            .map(|(kind, count)| format!("  for nothing: {kind} {count}\n"));
        found.chain(wrong).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (planted, found) = self.planted_and_found();
        let weeks = self.days as f64 / 7.0;
        write!(
            f,
            "recall {:.3} ({found} of {planted}), {:.2} false alerts a studio and week ({weeks:.0} weeks)",
            self.recall(),
            self.false_a_week()
        )
    }
}

/// Compares what was said with what was planted. `days` of a studio's life are counted.
pub(super) fn judge(plants: &[Plant], alerts: &[Alert], days: i64, explain: bool) -> Verdict {
    let mut verdict = Verdict {
        days,
        ..Verdict::default()
    };
    for plant in plants {
        let found = alerts
            .iter()
            .any(|alert| is_of(alert, plant) && plant.misuse.found_by().contains(&alert.kind));
        if explain && !found {
            println!(
                "missed: {:?} by {:?} at {}",
                plant.misuse, plant.subject, plant.from_s
            );
        }
        let sum = verdict
            .kinds
            .entry(format!("{:?}", plant.misuse))
            .or_default();
        *sum = (sum.0 + 1, sum.1 + u32::from(found));
    }
    for alert in alerts.iter().filter(|alert| !alert.is_repeated) {
        if plants.iter().any(|plant| is_of(alert, plant)) {
            continue;
        }
        if explain {
            println!(
                "for nothing: {} {:?} at {}",
                alert.kind.as_str(),
                alert.subject,
                alert.at
            );
        }
        *verdict.false_kinds.entry(alert.kind.as_str()).or_default() += 1;
    }
    verdict
}

fn is_of(alert: &Alert, plant: &Plant) -> bool {
    let at_s = alert.at.as_second();
    let is_then = (plant.from_s..=plant.until_s + GRACE_S).contains(&at_s);
    let is_theirs = match plant.misuse {
        // Alerts about strangers name networks, or nobody.
        Misuse::TokenBurst | Misuse::SlowSpray | Misuse::ForgedKeys => {
            at_s <= plant.until_s + HOUR_S
        }
        _ => alert.subject == plant.subject,
    };
    is_then && is_theirs
}
