//! A month of a studio: people with habits, deadlines, holidays, trips, month's end, and mistakes. It knows
//! nothing of what watches.

use serde_json::{Value, json};
use uuid::Uuid;

use super::dice::Dice;

pub(super) const DAYS: i64 = 31;
pub(super) const HOUR_S: i64 = 3_600;
pub(super) const DAY_S: i64 = 24 * HOUR_S;
/// A Monday.
pub(super) const START_S: i64 = 1_930_262_400;

/// What one request left in the ledger.
pub(super) struct Event {
    pub(super) at_s: i64,
    pub(super) actor: String,
    pub(super) role: &'static str,
    pub(super) action: &'static str,
    pub(super) outcome: &'static str,
    pub(super) status: u16,
    pub(super) ids: Vec<Uuid>,
    pub(super) opened: &'static [&'static str],
    pub(super) address: String,
    pub(super) client: String,
}

impl Event {
    /// The line that the export of the ledger has of it.
    pub(super) fn line(&self, seq: usize) -> Value {
        let time = jiff::Timestamp::from_second(self.at_s).unwrap_or_default();
        let shown: Vec<&Uuid> = self.ids.iter().take(100).collect();
        let digest = self
            .ids
            .iter()
            .fold(0_u128, |sum, id| sum.rotate_left(1) ^ id.as_u128());
        json!({
            "seq": seq, "time": time, "actor": self.actor, "role": self.role, "action": self.action,
            "resource": self.action.split('.').next(), "ids": shown, "ids_count": self.ids.len(),
            "ids_digest": format!("{digest:032x}"), "outcome": self.outcome, "status": self.status,
            "rule": (self.outcome == "refused").then_some(if self.status == 404 { "not-found" } else { "not-allowed" }),
            "opened": self.opened, "address": self.address, "client": self.client, "changes": [],
        })
    }
}

pub(super) struct Studio {
    pub(super) members: Vec<Person>,
    /// In the order of time.
    pub(super) bookings: Vec<Uuid>,
    pub(super) artists: Vec<Uuid>,
    pub(super) zone_s: i64,
    crunch: std::ops::Range<i64>,
    has_long_nights: bool,
    office: String,
}

pub(super) struct Person {
    pub(super) subject: String,
    pub(super) role: &'static str,
    /// Questions on an ordinary day.
    pub(super) questions: f64,
    pub(super) begins_h: i64,
    pub(super) hours: i64,
    pub(super) clients: Vec<String>,
    pub(super) home: String,
    pub(super) exports: bool,
    /// The days that they are not there.
    pub(super) away: std::ops::Range<i64>,
    pub(super) joins: i64,
    weekends: f64,
    office_share: f64,
    report_day: Option<i64>,
    trip: std::ops::Range<i64>,
    trip_network: String,
    carrier: i64,
    /// From this day on with another machine.
    changes: i64,
}

impl Person {
    pub(super) fn reads_all(&self) -> bool {
        self.role != "freelancer"
    }
}

impl Studio {
    pub(super) fn make(dice: &mut Dice) -> Self {
        let sizes = (
            dice.about(300.0, 4_000.0) as usize,
            dice.about(30.0, 250.0) as usize,
        );
        let managers = dice.between(3, 7);
        let freelancers = dice.between(5, 20);
        let office = dice.network();
        let zone_s = dice.between(-8, 9) * HOUR_S;
        let roles = std::iter::once("owner")
            .chain((0..managers).map(|_| "manager"))
            .chain((0..freelancers).map(|_| "freelancer"));
        let members = roles.map(|role| Person::make(role, dice)).collect();
        let crunch_begins = dice.between(3, 24);
        Self {
            members,
            bookings: (0..sizes.0).map(|_| dice.uuid()).collect(),
            artists: (0..sizes.1).map(|_| dice.uuid()).collect(),
            zone_s,
            crunch: crunch_begins..crunch_begins + dice.between(0, 5),
            has_long_nights: dice.happens(0.5),
            office,
        }
    }

    /// The whole month.
    pub(super) fn live(&self, dice: &mut Dice) -> Vec<Event> {
        let mut events = Vec::new();
        for person in &self.members {
            let mut dice = dice.part();
            for day in 0..DAYS {
                self.day(person, day, &mut dice, &mut events);
            }
        }
        events
    }

    /// When a local hour of a day is.
    pub(super) fn at(&self, day: i64, hour: i64) -> i64 {
        START_S + day * DAY_S + hour * HOUR_S - self.zone_s
    }

    fn day(&self, person: &Person, day: i64, dice: &mut Dice, events: &mut Vec<Event>) {
        if day < person.joins || person.away.contains(&day) || dice.happens(0.03) {
            return;
        }
        if dice.happens(0.05) {
            self.glance(person, day, dice, events);
        }
        let is_weekend = day % 7 >= 5;
        if is_weekend && !dice.happens(person.weekends) {
            return;
        }
        let in_crunch = self.crunch.contains(&day);
        let mut volume = person.questions * dice.factor(0.3);
        volume *= if in_crunch { 1.8 } else { 1.0 };
        volume *= if is_weekend { 0.4 } else { 1.0 };
        volume *= if dice.happens(0.04) { 2.0 } else { 1.0 };
        let is_new = day - person.joins < 4 && person.joins > 0;
        volume *= if is_new { 1.7 } else { 1.0 };
        let late = dice.happens(0.04) || in_crunch && self.has_long_nights && dice.happens(0.5);
        let hours = person.hours + if late { dice.between(2, 5) } else { 0 };
        let mut desk = self.desk(person, day, dice);
        let mut place = self.today(day);
        for _ in 0..volume as i64 {
            let at_s =
                self.at(day, person.begins_h) + (dice.share() * (hours * HOUR_S) as f64) as i64;
            desk.at_s = at_s;
            self.visit(person, &mut place, &desk, dice, events);
        }
        self.duties(person, day, &desk, dice, events);
    }

    /// A few bookings around today, over the month.
    fn today(&self, day: i64) -> usize {
        self.bookings.len() * (day as usize + 15) / 61
    }

    /// Looks at a list, then at some of what stands there; sometimes changes one.
    fn visit(
        &self,
        person: &Person,
        place: &mut usize,
        desk: &Desk,
        dice: &mut Dice,
        events: &mut Vec<Event>,
    ) {
        if !person.reads_all() {
            let own = self.own(person);
            events.push(desk.event(person, "booking.view", own));
            return;
        }
        if dice.happens(0.3) {
            let step = dice.between(-12, 14) as isize;
            *place = place
                .saturating_add_signed(step)
                .min(self.bookings.len().saturating_sub(1));
        }
        let listed: Vec<Uuid> = self
            .bookings
            .iter()
            .skip(*place)
            .take(25)
            .copied()
            .collect();
        let mut at_s = desk.at_s;
        events.push(desk.event(person, "booking.view", listed.clone()));
        for _ in 0..dice.times(1.5) {
            at_s += dice.between(5, 120);
            let Some(id) = listed.get(dice.between(0, 24) as usize) else {
                continue;
            };
            let action = if dice.happens(0.2) {
                "booking.change"
            } else {
                "booking.view"
            };
            events.push(Event {
                at_s,
                ..desk.event(person, action, vec![*id])
            });
        }
        if dice.happens(0.05) {
            let artist = self
                .artists
                .get(dice.between(0, self.artists.len() as i64 - 1) as usize);
            let opened: &[&str] = if dice.happens(0.6) {
                &["email", "phone"]
            } else {
                &[]
            };
            let event = desk.event(person, "artist.view", artist.copied().into_iter().collect());
            events.push(Event { opened, ..event });
        }
        if dice.happens(0.1) {
            let page: Vec<Uuid> = self.artists.iter().take(50).copied().collect();
            events.push(desk.event(person, "artist.view", page));
        }
    }

    /// What a freelancer may see: a few bookings of the own.
    fn own(&self, person: &Person) -> Vec<Uuid> {
        let begin = person.subject.len() * 7 + person.begins_h as usize * 13;
        self.bookings
            .iter()
            .skip(begin % self.bookings.len().max(1))
            .step_by(9)
            .take(8)
            .copied()
            .collect()
    }

    /// Reports, tables, month's end, mistakes.
    fn duties(
        &self,
        person: &Person,
        day: i64,
        desk: &Desk,
        dice: &mut Dice,
        events: &mut Vec<Event>,
    ) {
        let at_s = self.at(day, person.begins_h) + dice.between(0, person.hours * HOUR_S - 1);
        for _ in 0..dice.times(0.3) {
            let at_s = at_s + dice.between(-HOUR_S, HOUR_S);
            events.push(Event {
                at_s,
                ..desk.refused(person, dice.uuid(), 404)
            });
        }
        if !person.reads_all() {
            for _ in 0..dice.times(0.2) {
                events.push(Event {
                    at_s,
                    ..desk.refused(person, dice.uuid(), 403)
                });
            }
            return;
        }
        // A tab that was left open asks for a booking that is gone.
        if dice.happens(0.01) {
            let gone = dice.uuid();
            for turn in 0..dice.between(20, 200) {
                events.push(Event {
                    at_s: at_s + turn * 30,
                    ..desk.refused(person, gone, 404)
                });
            }
        }
        if person.report_day == Some(day % 7) {
            self.page_through(person, at_s, dice.between(4, 9), desk, dice, events);
        }
        let is_months_end = day % 30 >= 28;
        if is_months_end && (person.role == "owner" || dice.happens(0.3)) {
            self.page_through(person, at_s, dice.between(6, 14), desk, dice, events);
        }
        if is_months_end && person.role == "owner" && dice.happens(0.6) {
            for (number, artist) in self.artists.iter().take(40).enumerate() {
                let at_s = at_s + number as i64 * dice.between(20, 90);
                let event = desk.event(person, "artist.view", vec![*artist]);
                events.push(Event {
                    at_s,
                    opened: &["bank", "tax_id"],
                    ..event
                });
            }
        }
        if person.exports && dice.happens(0.15) || dice.happens(0.004) {
            let rows = self
                .bookings
                .iter()
                .skip(self.today(day) / 2)
                .take(1_000)
                .copied();
            events.push(Event {
                at_s,
                ..desk.event(person, "booking.view", rows.collect())
            });
        }
    }

    /// Some pages of a list, one after the other, with a look at what stands there.
    fn page_through(
        &self,
        person: &Person,
        at_s: i64,
        pages: i64,
        desk: &Desk,
        dice: &mut Dice,
        events: &mut Vec<Event>,
    ) {
        let first = dice.between(0, (self.bookings.len() / 2) as i64) as usize;
        for page in 0..pages {
            let ids: Vec<Uuid> = self
                .bookings
                .iter()
                .skip(first + page as usize * 50)
                .take(50)
                .copied()
                .collect();
            let at_s = at_s + page * dice.between(20, 200);
            events.push(Event {
                at_s,
                ..desk.event(person, "booking.view", ids)
            });
        }
    }

    /// A look at the telephone, at any hour.
    fn glance(&self, person: &Person, day: i64, dice: &mut Dice, events: &mut Vec<Event>) {
        let at_s = self.at(day, dice.between(0, 23)) + dice.between(0, HOUR_S - 1);
        let mut desk = self.desk(person, day, dice);
        (desk.address, desk.client) = (person.mobile(day, dice), person.phone());
        let list: Vec<Uuid> = match person.reads_all() {
            true => self
                .bookings
                .iter()
                .skip(self.today(day))
                .take(25)
                .copied()
                .collect(),
            false => self.own(person),
        };
        for turn in 0..dice.between(1, 5) {
            let at_s = at_s + turn * dice.between(5, 100);
            events.push(Event {
                at_s,
                ..desk.event(person, "booking.view", list.clone())
            });
        }
    }

    /// Where somebody sits on a day.
    pub(super) fn desk(&self, person: &Person, day: i64, dice: &mut Dice) -> Desk {
        let network = match () {
            () if person.trip.contains(&day) => person.trip_network.clone(),
            () if dice.happens(0.1) => person.mobile(day, dice),
            () if dice.happens(person.office_share) => self.office.clone(),
            () => person.home.clone(),
        };
        let client = person
            .clients
            .get(dice.between(0, person.clients.len() as i64 - 1) as usize);
        Desk {
            at_s: self.at(day, person.begins_h),
            address: format!("{network}.{}", dice.between(1, 254)),
            client: format!(
                "{}{}",
                client.cloned().unwrap_or_default(),
                if day < person.changes { "" } else { " anew" }
            ),
        }
    }
}

/// Where somebody sits.
pub(super) struct Desk {
    pub(super) at_s: i64,
    pub(super) address: String,
    pub(super) client: String,
}

impl Desk {
    pub(super) fn event(&self, person: &Person, action: &'static str, ids: Vec<Uuid>) -> Event {
        Event {
            at_s: self.at_s,
            actor: person.subject.clone(),
            role: person.role,
            action,
            outcome: "allowed",
            status: 200,
            ids,
            opened: &[],
            address: self.address.clone(),
            client: self.client.clone(),
        }
    }

    pub(super) fn refused(&self, person: &Person, id: Uuid, status: u16) -> Event {
        Event {
            outcome: "refused",
            status,
            ..self.event(person, "booking.view", vec![id])
        }
    }
}

impl Person {
    fn make(role: &'static str, dice: &mut Dice) -> Self {
        let questions = match role {
            "freelancer" => dice.about(1.0, 6.0),
            _ => dice.about(8.0, 45.0),
        };
        let leave = dice.between(1, 20);
        let leave_days = if dice.happens(0.3) {
            dice.between(3, 14)
        } else {
            0
        };
        let trip = dice.between(5, 28);
        let trip_days = if dice.happens(0.2) {
            dice.between(1, 5)
        } else {
            0
        };
        let clients = (0..dice.between(1, 2))
            .map(|_| format!("browser {:x}", dice.next()))
            .collect();
        Self {
            subject: format!("user_{:016x}", dice.next()),
            role,
            questions,
            begins_h: dice.between(7, 11),
            hours: dice.between(6, 10),
            clients,
            home: dice.network(),
            exports: role != "freelancer" && dice.happens(0.3),
            away: leave..leave + leave_days,
            joins: if dice.happens(0.08) {
                dice.between(4, 20)
            } else {
                0
            },
            weekends: if dice.happens(0.2) { 0.5 } else { 0.05 },
            office_share: dice.share(),
            report_day: (role != "freelancer" && dice.happens(0.25)).then(|| dice.between(0, 4)),
            trip: trip..trip + trip_days,
            trip_network: dice.network(),
            carrier: dice.between(1, 223),
            changes: if dice.happens(0.15) {
                dice.between(1, 30)
            } else {
                DAYS
            },
        }
    }

    fn phone(&self) -> String {
        format!("phone of {}", self.subject)
    }

    /// A carrier gives another address every few days.
    fn mobile(&self, day: i64, dice: &mut Dice) -> String {
        format!(
            "{}.{}.{}.{}",
            self.carrier,
            self.carrier / 2,
            day / 3 % 17,
            dice.between(1, 254)
        )
    }
}
