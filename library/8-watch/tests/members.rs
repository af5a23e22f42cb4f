//! What each detector of a member says, and what it does not: a flaw, and a near miss.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests stop at the first thing that is not as it must be"
)]

use serde_json::{Value, json};
use watertight_watch::{Alert, Kind, Seen, StudioWatch, Thresholds};

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;
/// A Tuesday, far from the turn of a month.
const START_S: i64 = 1_930_867_200 - 3 * DAY_S;

/// A studio whose members are at work from nine on, each day.
struct World {
    watch: StudioWatch,
    seq: i64,
    alerts: Vec<Alert>,
}

impl World {
    /// One in which `days` have passed.
    fn after(days: i64) -> Self {
        let mut world = Self {
            watch: StudioWatch::default(),
            seq: 0,
            alerts: Vec::new(),
        };
        for day in 0..days {
            for turn in 0..20 {
                for member in ["ann", "bob", "cyd"] {
                    let rows = turn % 5 * 10;
                    world.see(
                        member,
                        at(day, 9, turn * 300),
                        json!({ "ids": ids(rows, 10) }),
                    );
                }
            }
        }
        assert_eq!(world.kinds(), [], "ordinary days");
        world
    }

    fn see(&mut self, actor: &str, at_s: i64, more: Value) {
        let mut line = json!({
            "seq": self.seq, "time": jiff::Timestamp::from_second(at_s).unwrap(), "actor": actor, "role": "manager",
            "action": "booking.view", "outcome": "allowed", "status": 200, "address": "192.0.2.1", "client": "browser",
        });
        for (name, value) in more.as_object().unwrap() {
            line[name] = value.clone();
        }
        if line["ids_count"].is_null() {
            line["ids_count"] = json!(line["ids"].as_array().map_or(0, Vec::len));
        }
        let seen = Seen::parse(&line.to_string()).unwrap();
        let alerts = self.watch.observe(&seen, &Thresholds::default());
        self.alerts.extend(alerts);
        self.seq += 1;
    }

    /// What was said, each once.
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = self.alerts.iter().map(|alert| alert.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// Stops and starts again.
    fn restart(&mut self) {
        let saved = serde_json::to_vec(&self.watch).unwrap();
        self.watch = serde_json::from_slice(&saved).unwrap();
    }
}

fn at(day: i64, hour: i64, s: i64) -> i64 {
    START_S + day * DAY_S + hour * HOUR_S + s
}

fn ids(first: i64, many: i64) -> Vec<uuid::Uuid> {
    let id = |number| uuid::Uuid::from_u64_pair(u64::try_from(number).unwrap(), 7);
    (first..first + many).map(id).collect()
}

#[test]
fn many_different_records_are_mass_reading_and_the_same_ones_again_are_not() {
    for (is_same, said) in [(false, vec![Kind::MassReading]), (true, vec![])] {
        let mut world = World::after(12);
        for turn in 0..120 {
            // Half of each answer was seen before: nobody goes from record to record.
            let first = if is_same { turn % 5 * 10 } else { turn * 5 };
            world.see(
                "ann",
                at(12, 9, turn * 20),
                json!({ "ids": ids(first, 10) }),
            );
        }
        assert_eq!(world.kinds(), said);
        if let Some(alert) = world.alerts.first() {
            assert_eq!(alert.subject.as_deref(), Some("ann"));
            assert!(alert.evidence.len() > 10 && alert.evidence.len() <= 50);
            assert!(alert.evidence.iter().all(|seq| *seq < world.seq));
        }
    }
}

#[test]
fn what_is_not_listed_counts_by_its_digest() {
    let mut world = World::after(12);
    for turn in 0..12 {
        let more = json!({ "ids": ids(0, 10), "ids_count": 95, "ids_digest": format!("{turn}") });
        world.see("ann", at(12, 9, turn * 60), more);
    }
    assert_eq!(world.kinds(), [Kind::MassReading]);
}

#[test]
fn a_few_times_the_usual_day_after_day_is_slow_reading_and_one_such_day_is_not() {
    for (days, said) in [(6, vec![Kind::SlowReading]), (1, vec![])] {
        let mut world = World::after(12);
        for day in 12..12 + days {
            for turn in 0..44 {
                let first = if turn % 2 == 0 {
                    0
                } else {
                    day * 1_000 + turn * 5
                };
                world.see(
                    "ann",
                    at(day, 9, turn * 400),
                    json!({ "ids": ids(first, 10) }),
                );
            }
        }
        world.see("ann", at(12 + days, 9, 0), json!({ "ids": ids(0, 10) }));
        assert_eq!(world.kinds(), said, "{days} days");
    }
}

#[test]
fn the_first_export_of_somebody_known_is_said_once_and_that_of_a_new_member_is_not() {
    for (member, said) in [("ann", vec![Kind::FirstExport]), ("new", vec![])] {
        let mut world = World::after(12);
        for turn in 0..3 {
            let more = json!({ "ids": ids(0, 100), "ids_count": 900, "ids_digest": "a" });
            world.see(member, at(12, 10, turn * 4_000), more);
        }
        assert_eq!(world.kinds(), said);
    }
}

#[test]
fn work_at_an_hour_at_which_nobody_is_at_work_is_unusual_and_a_glance_is_not() {
    for (requests, said) in [(15, vec![Kind::UnusualHour]), (5, vec![])] {
        let mut world = World::after(12);
        for turn in 0..requests {
            world.see("ann", at(12, 2, turn * 60), json!({ "ids": ids(0, 10) }));
        }
        assert_eq!(world.kinds(), said);
    }
    // Where others are at work then, it is not unusual.
    let mut world = World::after(0);
    for day in 0..12 {
        for turn in 0..8 {
            world.see("dee", at(day, 2, turn), json!({ "ids": ids(0, 10) }));
            world.see("ann", at(day, 9, turn), json!({ "ids": ids(0, 10) }));
        }
    }
    for turn in 0..15 {
        world.see("ann", at(12, 2, turn * 60), json!({ "ids": ids(0, 10) }));
    }
    assert_eq!(world.kinds(), []);
}

#[test]
fn another_machine_elsewhere_while_the_member_works_is_unusual_and_a_journey_is_not() {
    let elsewhere =
        |client: &str| json!({ "address": "198.51.100.9", "client": client, "ids": ids(0, 10) });
    let mut world = World::after(12);
    for turn in 0..12 {
        world.see("ann", at(12, 9, turn * 60), elsewhere("stranger"));
        world.see(
            "ann",
            at(12, 9, turn * 60 + 20),
            json!({ "ids": ids(0, 10) }),
        );
    }
    assert_eq!(world.kinds(), [Kind::UnusualNetwork]);
    let mut world = World::after(12);
    for turn in 0..12 {
        world.see("ann", at(12, 9, turn * 60), elsewhere("browser"));
    }
    assert_eq!(world.kinds(), []);
}

#[test]
fn record_after_record_is_enumeration_and_going_back_to_the_list_is_not() {
    for (returns, said) in [(false, vec![Kind::Enumeration]), (true, vec![])] {
        let mut world = World::after(12);
        for turn in 0..50 {
            world.see(
                "ann",
                at(12, 9, turn * 5),
                json!({ "ids": ids(1_000 + turn, 1) }),
            );
            if returns && turn % 10 == 0 {
                world.see(
                    "ann",
                    at(12, 9, turn * 5 + 1),
                    json!({ "ids": ids(1_000, turn.max(2)) }),
                );
            }
        }
        assert_eq!(world.kinds(), said);
    }
}

#[test]
fn many_ids_in_vain_are_probing_and_one_asked_for_again_and_again_is_not() {
    for (is_one, said) in [(false, vec![Kind::Probing]), (true, vec![])] {
        let mut world = World::after(12);
        for turn in 0..60 {
            let id = if is_one { 5_000 } else { 5_000 + turn };
            let more = json!({ "ids": ids(id, 1), "outcome": "refused", "status": 404, "rule": "not-found" });
            world.see("ann", at(12, 9, turn * 30), more);
        }
        assert_eq!(world.kinds(), said);
    }
}

#[test]
fn personal_fields_of_many_people_are_said_and_those_of_a_few_are_not() {
    for (people, said) in [(70, vec![Kind::PersonalFields]), (10, vec![])] {
        let mut world = World::after(12);
        for turn in 0..people {
            // Not one after the other: that would be enumeration.
            let more = json!({ "action": "artist.view", "ids": ids(turn, 1), "opened": ["email"] });
            world.see("ann", at(12, 9, turn * 60), more);
            world.see(
                "ann",
                at(12, 9, turn * 60 + 1),
                json!({ "ids": ids(0, 10) }),
            );
        }
        assert_eq!(world.kinds(), said);
    }
}

#[test]
fn an_account_that_slept_is_said_when_it_wakes_and_a_holiday_is_not() {
    for (days, said) in [(23, vec![Kind::DormantAwake]), (14, vec![])] {
        let mut world = World::after(5);
        world.see("ann", at(4 + days, 9, 0), json!({ "ids": ids(0, 10) }));
        assert_eq!(world.kinds(), said);
    }
}

#[test]
fn services_and_operators_are_not_looked_at() {
    let mut world = World::after(12);
    for actor in ["service:delivery", "operator:studio_ops"] {
        for turn in 0..200 {
            world.see(actor, at(12, 2, turn), json!({ "ids": ids(turn * 10, 10) }));
        }
    }
    assert_eq!(world.kinds(), []);
}

#[test]
fn a_restart_forgets_nothing_and_what_was_said_is_repeated_once_an_hour() {
    let probe = |world: &mut World, turn: i64| {
        let more = json!({ "ids": ids(5_000 + turn, 1), "outcome": "refused", "status": 404 });
        world.see("ann", at(12, 9, turn * 60), more);
    };
    let (mut one, mut other) = (World::after(12), World::after(12));
    for turn in 0..180 {
        probe(&mut one, turn);
        probe(&mut other, turn);
        other.restart();
    }
    assert_eq!(one.alerts, other.alerts);
    let repeated: Vec<bool> = one.alerts.iter().map(|alert| alert.is_repeated).collect();
    assert_eq!(repeated, [false, true, true]);
}

#[test]
fn nothing_that_a_member_sends_makes_it_grow_without_bound() {
    let mut world = World::after(0);
    for turn in 0..6_000 {
        let more = json!({
            "ids": ids(turn * 50, 50), "client": format!("client {turn}"),
            "address": format!("10.{}.{}.1", turn / 250, turn % 250),
        });
        world.see("ann", at(0, 9, turn), more);
    }
    let bytes = serde_json::to_vec(&world.watch).unwrap().len();
    assert!(bytes < 400_000, "{bytes} bytes");
}
