use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    alert::{Alert, Kind},
    history::{History, median},
    raised::Raised,
    tally::HOUR_S,
    thresholds::Thresholds,
};

/// A request that was answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timing {
    /// When.
    pub at: Timestamp,
    /// The route as it is declared, `/v1/bookings/{id}`.
    pub route: String,
    /// The studio, where one was bound.
    #[serde(default)]
    pub studio: Option<String>,
    /// How long it took.
    pub ms: u32,
}

/// At most so many pairs of route and studio are known: after some weeks they are 3 kB each where they are kept.
const ROUTES_MOST: usize = 2_500;
/// In the name of what no studio was bound for.
const NO_STUDIO: &str = "none";
/// Four to an octave.
const BUCKETS: usize = 80;
const WEEKS: usize = 4;
const WEEK_HOURS: i64 = 168;
/// So many answers make an hour that says something, and it is looked at after so many more.
const ANSWERS_LEAST: u32 = 100;
const EVERY: u32 = 50;
/// So much of the server's time in an hour is nobody's trouble.
const BUSY_LEAST_MS: u64 = 300_000;
/// Among fewer one of them is always the loudest.
const STUDIOS_LEAST: usize = 3;

/// How long answers take, a route and studio, against the same hour of past weeks; and which studio takes
/// the server's time. A copy costs little: it shares what each route has learned until one of the two goes on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Performance {
    routes: BTreeMap<String, Arc<Route>>,
    hour: i64,
    busy_ms: BTreeMap<String, u64>,
    shares: BTreeMap<String, History>,
    answers: u32,
    raised: Raised,
}

/// A route of a studio.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Route {
    hour: i64,
    answers: u32,
    buckets: Vec<u32>,
    /// What the slowest twentieth took, by the hour of the week.
    past: BTreeMap<i64, VecDeque<u32>>,
}

impl Performance {
    /// Takes an answer, and says what looks wrong now.
    pub fn observe(&mut self, timing: &Timing, thresholds: &Thresholds) -> Vec<Alert> {
        let studio = timing.studio.as_deref().unwrap_or(NO_STUDIO);
        let key = format!("{} {studio}", timing.route);
        let mut found = Vec::new();
        if self.routes.len() < ROUTES_MOST || self.routes.contains_key(&key) {
            let route = self.routes.entry(key.clone()).or_default();
            if Arc::make_mut(route).is_slow(timing, thresholds) {
                found.push(Alert::new(Kind::SlowRoute, Some(key), timing.at));
            }
        }
        if let Some(studio) = &timing.studio
            && self.is_noisy(studio, timing, thresholds)
        {
            found.push(Alert::new(
                Kind::NoisyStudio,
                Some(studio.clone()),
                timing.at,
            ));
        }
        let found = found.into_iter();
        found
            .filter_map(|alert| self.raised.unless_said(alert))
            .collect()
    }

    /// What the middle answer of a route took in the current hour, and those of which a twentieth and a
    /// hundredth were slower, in milliseconds.
    pub fn quantiles(&self, route: &str, studio: Option<&str>) -> Option<[u32; 3]> {
        let key = format!("{route} {}", studio.unwrap_or(NO_STUDIO));
        let route = self.routes.get(&key)?;
        Some([50, 95, 99].map(|percent| route.quantile(percent)))
    }

    /// The studios of which something is known.
    pub fn studios(&self) -> BTreeSet<String> {
        let of_routes = self.routes.keys().filter_map(|key| key.rsplit(' ').next());
        let all = of_routes.chain(self.busy_ms.keys().map(String::as_str));
        let all = all.chain(self.shares.keys().map(String::as_str));
        all.filter(|studio| *studio != NO_STUDIO)
            .map(str::to_owned)
            .collect()
    }

    /// Forgets all that is of a studio.
    pub fn forget(&mut self, studio: &str) {
        let end = format!(" {studio}");
        self.routes.retain(|key, _| !key.ends_with(&end));
        self.busy_ms.remove(studio);
        self.shares.remove(studio);
        self.raised.forget_subject(studio);
    }

    fn is_noisy(&mut self, studio: &str, timing: &Timing, thresholds: &Thresholds) -> bool {
        let hour = timing.at.as_second().div_euclid(HOUR_S);
        if hour > self.hour {
            let all: u64 = self.busy_ms.values().sum();
            for (studio, busy_ms) in std::mem::take(&mut self.busy_ms) {
                let share = 100.0 * busy_ms as f64 / all.max(1) as f64;
                self.shares.entry(studio).or_default().push(share);
            }
            self.hour = hour;
        }
        if self.busy_ms.len() >= ROUTES_MOST && !self.busy_ms.contains_key(studio) {
            return false;
        }
        *self.busy_ms.entry(studio.to_owned()).or_default() += u64::from(timing.ms);
        self.answers = self.answers.wrapping_add(1);
        if !self.answers.is_multiple_of(EVERY) {
            return false;
        }
        let all: u64 = self.busy_ms.values().sum();
        if all < BUSY_LEAST_MS || self.busy_ms.len() < STUDIOS_LEAST {
            return false;
        }
        let own = self.busy_ms.get(studio).copied().unwrap_or_default();
        let share = 100.0 * own as f64 / all as f64;
        let usual = self.shares.get(studio).filter(|past| past.len() >= 24);
        share >= f64::from(thresholds.noisy_percent)
            && usual.is_none_or(|usual| share > usual.above(thresholds.role()))
    }
}

impl Route {
    fn is_slow(&mut self, timing: &Timing, thresholds: &Thresholds) -> bool {
        let hour = timing.at.as_second().div_euclid(HOUR_S);
        if hour > self.hour {
            self.end_hour();
            self.hour = hour;
        }
        self.answers = self.answers.saturating_add(1);
        if let Some(count) = self.buckets.get_mut(bucket(timing.ms)) {
            *count = count.saturating_add(1);
        }
        if self.answers < ANSWERS_LEAST || !self.answers.is_multiple_of(EVERY) {
            return false;
        }
        let Some(past) = self.past.get(&hour.rem_euclid(WEEK_HOURS)) else {
            return false;
        };
        let usual = median(past.iter().map(|ms| f64::from(*ms)).collect());
        let now = f64::from(self.quantile(95));
        now >= f64::from(thresholds.slow_least_ms)
            && now * 100.0 > usual * f64::from(thresholds.slow_percent)
    }

    fn end_hour(&mut self) {
        if self.answers >= ANSWERS_LEAST {
            let slowest = self.quantile(95);
            let past = self
                .past
                .entry(self.hour.rem_euclid(WEEK_HOURS))
                .or_default();
            if past.len() == WEEKS {
                past.pop_front();
            }
            past.push_back(slowest);
        }
        self.answers = 0;
        self.buckets = vec![0; BUCKETS];
    }

    fn quantile(&self, percent: u32) -> u32 {
        let wanted = u64::from(self.answers) * u64::from(percent) / 100;
        let mut below = 0;
        let found = self.buckets.iter().position(|count| {
            below += u64::from(*count);
            below > wanted
        });
        2_f64.powf((found.unwrap_or_default() + 1) as f64 / 4.0) as u32
    }
}

/// The place of a duration among the buckets.
fn bucket(ms: u32) -> usize {
    ((f64::from(ms.max(1)).log2() * 4.0) as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn hour(watch: &mut Performance, hour: i64, ms: u32, answers: u32) -> Vec<Kind> {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        let mut kinds = Vec::new();
        for number in 0..answers {
            let timing = Timing {
                at,
                route: "/v1/bookings".to_owned(),
                studio: Some("one".to_owned()),
                ms: ms + number % 7,
            };
            let alerts = watch.observe(&timing, &Thresholds::default());
            kinds.extend(alerts.into_iter().map(|alert| alert.kind));
        }
        kinds
    }

    #[test]
    fn a_route_is_slow_against_the_same_hour_of_past_weeks_alone() {
        let mut watch = Performance::default();
        for week in 0..3 {
            // Mondays at nine are slow, at ten they are not.
            assert_eq!(hour(&mut watch, week * WEEK_HOURS + 9, 900, 200), []);
            assert_eq!(hour(&mut watch, week * WEEK_HOURS + 10, 100, 200), []);
        }
        assert_eq!(hour(&mut watch, 3 * WEEK_HOURS + 9, 1_200, 200), []);
        let slow = hour(&mut watch, 3 * WEEK_HOURS + 10, 1_200, 200);
        assert_eq!(slow, [Kind::SlowRoute]);
        assert_eq!(hour(&mut watch, 3 * WEEK_HOURS + 11, 9_000, 200), []);
        let [middle, ..] = watch.quantiles("/v1/bookings", Some("one")).unwrap();
        assert!((8_000..12_000).contains(&middle), "{middle}");
    }

    #[test]
    fn of_a_studio_that_is_forgotten_nothing_is_left_and_of_others_everything() {
        let mut watch = Performance::default();
        for week in 0..3 {
            hour(&mut watch, week * WEEK_HOURS + 10, 100, 200);
        }
        hour(&mut watch, 3 * WEEK_HOURS + 10, 1_200, 200);
        let text = |watch: &Performance| serde_json::to_string(watch).unwrap();
        let mut other = watch.clone();
        other.forget("on");
        other.forget("slow-route");
        assert_eq!(text(&other), text(&watch), "nobody of that name");
        assert_eq!(watch.studios(), BTreeSet::from(["one".to_owned()]));
        watch.forget("one");
        assert!(!text(&watch).contains("one\""), "{}", text(&watch));
        assert_eq!(watch.studios(), BTreeSet::new());
        assert!(other.quantiles("/v1/bookings", Some("one")).is_some());
    }

    #[test]
    fn the_studio_that_takes_the_servers_time_is_named_and_whoever_always_does_is_not() {
        let mut watch = Performance::default();
        let mut named = Vec::new();
        for hour in 0..60_i64 {
            for number in 0..1_500_u32 {
                let studio = ["large", "small", "other"][number as usize % 3];
                let ms = match (studio, hour) {
                    ("large", _) => 2_000,
                    ("small", 50..) => 12_000,
                    _ => 150,
                };
                let timing = Timing {
                    at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour),
                    route: "/v1/bookings".to_owned(),
                    studio: Some(studio.to_owned()),
                    ms,
                };
                for alert in watch.observe(&timing, &Thresholds::default()) {
                    if alert.kind == Kind::NoisyStudio && hour > 25 {
                        named.push(alert.subject.unwrap());
                    }
                }
            }
        }
        assert!(!named.is_empty());
        assert!(named.iter().all(|studio| studio == "small"), "{named:?}");
    }
}
