use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    alert::{Alert, Kind},
    history::History,
    raised::Raised,
    tally::{DAY_S, HOUR_S},
    thresholds::Thresholds,
};

/// What a server counted in a minute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Minute {
    /// When it ended.
    pub at: Timestamp,
    /// Answers.
    pub answers: u32,
    /// Those of them that are failures of ours.
    pub failures: u32,
    /// Those of them that are refusals, by the rule that refused.
    pub refusals: BTreeMap<String, u32>,
    /// Work that did not get done.
    pub failed_jobs: u32,
}

/// What is known of a server and what belongs to it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    /// It has just started.
    pub has_started: bool,
    /// How far its clock is from the database's.
    pub clock_drift_ms: Option<i64>,
    /// Until when the certificate is good.
    pub certificate_until: Option<Timestamp>,
    /// Since when each key is used, by its name.
    pub keys_since: BTreeMap<String, Timestamp>,
    /// When the last backup was made, where some are to be.
    pub backup_at: Option<Timestamp>,
    /// Since when something is over that was not let go.
    pub retention_since: Option<Timestamp>,
}

/// At most so many rules are known.
const RULES_MOST: usize = 200;
const WINDOW_S: i64 = 600;
/// Fewer answers say nothing.
const ANSWERS_LEAST: u32 = 100;
/// Fewer refusals by a rule are nobody's trouble.
const REFUSALS_LEAST: f64 = 200.0;

/// Failures, refusals, starts, and what is too old.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Health {
    window: i64,
    answers: u32,
    failures: u32,
    failed_jobs: u32,
    refusals: BTreeMap<String, (f64, History)>,
    starts_s: Vec<i64>,
    raised: Raised,
}

impl Health {
    /// Takes a minute, and says what looks wrong now.
    pub fn observe(&mut self, minute: &Minute, thresholds: &Thresholds) -> Vec<Alert> {
        let window = minute.at.as_second().div_euclid(WINDOW_S);
        if window > self.window {
            self.end_window(window);
        }
        self.answers = self.answers.saturating_add(minute.answers);
        self.failures = self.failures.saturating_add(minute.failures);
        self.failed_jobs = self.failed_jobs.saturating_add(minute.failed_jobs);
        let mut found = Vec::new();
        let percent = u64::from(self.failures) * 100 / u64::from(self.answers.max(1));
        if self.answers >= ANSWERS_LEAST && percent >= u64::from(thresholds.failed_percent) {
            found.push((Kind::FailedAnswers, None));
        }
        if self.failed_jobs >= thresholds.failed_jobs {
            found.push((Kind::FailedJobs, None));
        }
        for (rule, count) in &minute.refusals {
            if self.refusals.len() >= RULES_MOST && !self.refusals.contains_key(rule) {
                continue;
            }
            let (now, before) = self.refusals.entry(rule.clone()).or_default();
            *now += f64::from(*count);
            if *now >= REFUSALS_LEAST && before.len() >= 12 && *now > before.above(thresholds.own())
            {
                found.push((Kind::Refusals, Some(rule.clone())));
            }
        }
        self.say(found, minute.at)
    }

    /// Takes what is known now, and says what is too old or wrong.
    pub fn examine(
        &mut self,
        facts: &Facts,
        now: Timestamp,
        thresholds: &Thresholds,
    ) -> Vec<Alert> {
        let now_s = now.as_second();
        if facts.has_started {
            self.starts_s.retain(|started_s| now_s - started_s < HOUR_S);
            self.starts_s.push(now_s);
        }
        let starts = u32::try_from(self.starts_s.len()).unwrap_or(u32::MAX);
        let older =
            |at: Option<Timestamp>, age_s: i64| at.is_some_and(|at| now_s - at.as_second() > age_s);
        let days = |days: u32| i64::from(days) * DAY_S;
        let drift = facts.clock_drift_ms.map_or(0, i64::unsigned_abs);
        let plain = [
            (
                Kind::Restarts,
                facts.has_started && starts >= thresholds.restarts_an_hour,
            ),
            (
                Kind::ClockDrift,
                drift > u64::from(thresholds.clock_drift_ms),
            ),
            (
                Kind::CertificateAge,
                older(facts.certificate_until, -days(thresholds.certificate_days)),
            ),
            (
                Kind::BackupAge,
                older(facts.backup_at, i64::from(thresholds.backup_hours) * HOUR_S),
            ),
            (
                Kind::RetentionOverdue,
                older(facts.retention_since, days(thresholds.retention_days)),
            ),
        ];
        let plain = plain.into_iter().filter(|(_, is_so)| *is_so);
        let mut found: Vec<(Kind, Option<String>)> = plain.map(|(kind, _)| (kind, None)).collect();
        let keys = facts.keys_since.iter();
        let old = keys.filter(|(_, since)| older(Some(**since), days(thresholds.key_days)));
        found.extend(old.map(|(key, _)| (Kind::KeyAge, Some(key.clone()))));
        self.say(found, now)
    }

    fn end_window(&mut self, window: i64) {
        (self.answers, self.failures, self.failed_jobs) = (0, 0, 0);
        for (now, before) in self.refusals.values_mut() {
            before.push(std::mem::take(now));
        }
        self.window = window;
    }

    fn say(&mut self, found: Vec<(Kind, Option<String>)>, at: Timestamp) -> Vec<Alert> {
        let alerts = found.into_iter();
        let alerts = alerts.map(|(kind, subject)| Alert::new(kind, subject, at));
        alerts
            .filter_map(|alert| self.raised.unless_said(alert))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn kinds(alerts: &[Alert]) -> Vec<Kind> {
        alerts.iter().map(|alert| alert.kind).collect()
    }

    fn at_minute(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    #[test]
    fn failures_are_a_share_and_refusals_are_compared_with_what_is_usual() {
        let mut health = Health::default();
        let thresholds = Thresholds::default();
        let minute = |at, failures, refusals| Minute {
            at: at_minute(at),
            answers: 1_000,
            failures,
            refusals: BTreeMap::from([("rate".to_owned(), refusals)]),
            failed_jobs: 0,
        };
        for at in 0..300 {
            assert_eq!(health.observe(&minute(at, 10, 40), &thresholds), []);
        }
        let alerts = health.observe(&minute(300, 100, 40), &thresholds);
        assert_eq!(kinds(&alerts), [Kind::FailedAnswers]);
        let alerts = health.observe(&minute(310, 0, 5_000), &thresholds);
        assert_eq!(kinds(&alerts), [Kind::Refusals]);
        assert_eq!(alerts[0].subject.as_deref(), Some("rate"));
    }

    #[test]
    fn what_is_too_old_or_wrong_is_said_once_and_what_is_not_known_is_not() {
        let mut health = Health::default();
        let thresholds = Thresholds::default();
        let now = at_minute(1_000_000);
        let day = SignedDuration::from_hours(24);
        assert_eq!(health.examine(&Facts::default(), now, &thresholds), []);
        let good = Facts {
            clock_drift_ms: Some(-900),
            certificate_until: Some(now + day * 30),
            keys_since: BTreeMap::from([("context".to_owned(), now - day * 30)]),
            backup_at: Some(now - day),
            retention_since: Some(now - day),
            has_started: true,
        };
        assert_eq!(health.examine(&good, now, &thresholds), []);
        let bad = Facts {
            clock_drift_ms: Some(-9_000),
            certificate_until: Some(now + day * 3),
            keys_since: BTreeMap::from([("context".to_owned(), now - day * 500)]),
            backup_at: Some(now - day * 3),
            retention_since: Some(now - day * 9),
            has_started: false,
        };
        let alerts = health.examine(&bad, now, &thresholds);
        let all = [
            Kind::ClockDrift,
            Kind::CertificateAge,
            Kind::BackupAge,
            Kind::RetentionOverdue,
            Kind::KeyAge,
        ];
        assert_eq!(kinds(&alerts), all);
        assert_eq!(health.examine(&bad, now, &thresholds), []);
        let again: Vec<Kind> = (0..3)
            .flat_map(|_| health.examine(&good, now, &thresholds))
            .map(|alert| alert.kind)
            .collect();
        assert_eq!(again, [Kind::Restarts]);
    }
}
