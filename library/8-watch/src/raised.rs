use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    alert::Alert,
    tally::{DAY_S, HOUR_S},
};

/// After a silence of so long the same is something new.
const SILENCE_S: i64 = 7 * DAY_S;
/// At most so many are remembered; then the older half is forgotten.
const MOST: usize = 10_000;

/// What was said already. The same of the same is said again after an hour, as a repetition; after a week of
/// silence it is new.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Raised(BTreeMap<String, (i64, i64)>);

impl Raised {
    /// The alert, unless it was said within the hour.
    pub(crate) fn unless_said(&mut self, mut alert: Alert) -> Option<Alert> {
        let subject = alert.subject.as_deref().unwrap_or_default();
        let key = format!("{} {subject}", alert.kind.as_str());
        let now = alert.at.as_second();
        let (said, noticed) = self.0.get(&key).copied().unwrap_or((i64::MIN, i64::MIN));
        let is_known = now.saturating_sub(noticed) < SILENCE_S;
        if is_known && now.saturating_sub(said) < HOUR_S {
            self.0.insert(key, (said, now));
            return None;
        }
        alert.is_repeated = is_known;
        self.0.insert(key, (now, now));
        self.forget(alert.at);
        Some(alert)
    }

    /// Forgets what was said of that subject, or of that one by something.
    pub(crate) fn forget_subject(&mut self, subject: &str) {
        let end = format!(" {subject}");
        self.0.retain(|key, _| !key.ends_with(&end));
    }

    fn forget(&mut self, now: Timestamp) {
        if self.0.len() > MOST {
            let since = now.as_second() - SILENCE_S;
            self.0.retain(|_, (_, noticed)| *noticed > since);
        }
        if self.0.len() > MOST {
            let mut ages: Vec<i64> = self.0.values().map(|(_, noticed)| *noticed).collect();
            ages.sort_unstable_by(|one, other| other.cmp(one));
            let since = ages.get(MOST / 2).copied().unwrap_or(i64::MIN);
            self.0.retain(|_, (_, noticed)| *noticed > since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Kind;

    /// Whoever makes much be said makes nothing be said again that was said a moment ago.
    #[test]
    fn what_was_said_last_is_forgotten_last() {
        let mut raised = Raised::default();
        let mut say = |kind: Kind, subject: Option<String>, second: i64| {
            let at = Timestamp::from_second(second).unwrap();
            raised.unless_said(Alert::new(kind, subject, at)).is_some()
        };
        for n in 0..3 * i64::try_from(MOST).unwrap() {
            assert!(say(Kind::TokenBurst, Some(format!("network {n}")), n / 100));
            assert_eq!(say(Kind::ForeignPages, None, n / 100), n == 0);
        }
    }
}
