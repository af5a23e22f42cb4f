//! Twelve kinds of misuse, planted into a month. What they look like is taken from how such things are done,
//! not from what would be noticed.

use uuid::Uuid;
use watertight_watch::{Failure, Kind, Refusal};

use super::{
    dice::Dice,
    life::{DAY_S, DAYS, Event, HOUR_S, Person, START_S, Studio},
};

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misuse {
    MassReading,
    SlowReading,
    FirstExport,
    Night,
    StolenSession,
    Enumeration,
    ForeignIds,
    PersonalFields,
    Sleeper,
    TokenBurst,
    SlowSpray,
    ForgedKeys,
}

impl Misuse {
    /// Those that a member's account does.
    pub(super) const OF_MEMBERS: [Self; 9] = [
        Self::MassReading,
        Self::SlowReading,
        Self::FirstExport,
        Self::Night,
        Self::StolenSession,
        Self::Enumeration,
        Self::ForeignIds,
        Self::PersonalFields,
        Self::Sleeper,
    ];
    /// Those of strangers.
    pub(super) const OF_STRANGERS: [Self; 3] =
        [Self::TokenBurst, Self::SlowSpray, Self::ForgedKeys];

    /// The alerts by which it is found; others of the same subject meanwhile are not false, and find nothing.
    pub(super) fn found_by(self) -> &'static [Kind] {
        match self {
            Self::MassReading => &[Kind::MassReading, Kind::Enumeration],
            Self::SlowReading => &[Kind::SlowReading, Kind::MassReading],
            Self::FirstExport => &[Kind::FirstExport],
            Self::Night => &[Kind::UnusualHour],
            Self::StolenSession => &[Kind::UnusualNetwork],
            Self::Enumeration => &[Kind::Enumeration, Kind::MassReading],
            Self::ForeignIds => &[Kind::Probing],
            Self::PersonalFields => &[Kind::PersonalFields],
            Self::Sleeper => &[Kind::DormantAwake],
            Self::TokenBurst => &[Kind::TokenBurst],
            Self::SlowSpray => &[Kind::SlowSpray],
            Self::ForgedKeys => &[Kind::UnknownKeys],
        }
    }
}

/// What was planted, by whom and when.
pub(super) struct Plant {
    pub(super) misuse: Misuse,
    /// The member; strangers have none.
    pub(super) subject: Option<String>,
    pub(super) from_s: i64,
    pub(super) until_s: i64,
}

/// Plants a misuse of a member's account among the events. Gives nothing where nobody is fit for it.
pub(super) fn by_member(
    misuse: Misuse,
    studio: &Studio,
    taken: &[String],
    dice: &mut Dice,
    events: &mut Vec<Event>,
) -> Option<Plant> {
    // Whoever did it before does it for no first time.
    let has_exported = |person: &Person| {
        let mut own = events.iter().filter(|event| event.actor == person.subject);
        own.any(|event| event.ids.len() > 100)
    };
    let fit = studio
        .members
        .iter()
        .filter(|person| is_fit(misuse, person, taken));
    let fit: Vec<&Person> = fit
        .filter(|person| misuse != Misuse::FirstExport || !has_exported(person))
        .collect();
    let person = *fit.get(dice.between(0, fit.len() as i64 - 1).max(0) as usize)?;
    let mut day = dice.between(16, DAYS - 2);
    while day % 7 >= 5 || person.away.contains(&day) {
        day -= 1;
    }
    let at_s = studio.at(day, person.begins_h) + dice.between(0, person.hours * HOUR_S / 2);
    let hand = Hand {
        studio,
        person,
        day,
    };
    let added = match misuse {
        Misuse::MassReading => hand.mass_reading(at_s, dice),
        Misuse::SlowReading => hand.slow_reading(dice),
        Misuse::FirstExport => hand.export(at_s, dice),
        Misuse::Night => hand.night(dice),
        Misuse::StolenSession => hand.stolen_session(at_s, dice),
        Misuse::Enumeration => hand.enumeration(at_s, dice),
        Misuse::ForeignIds => hand.foreign_ids(at_s, dice),
        Misuse::PersonalFields => hand.personal_fields(at_s, dice),
        Misuse::Sleeper => {
            let slept_from = START_S + dice.between(3, 6) * DAY_S;
            let wakes = START_S + dice.between(28, DAYS - 2) * DAY_S;
            events.retain(|event| event.actor != person.subject || event.at_s < slept_from);
            hand.browse(wakes, dice.between(5, 40), dice)
        }
        Misuse::TokenBurst | Misuse::SlowSpray | Misuse::ForgedKeys => Vec::new(),
    };
    let from_s = added.iter().map(|event| event.at_s).min()?;
    let until_s = added.iter().map(|event| event.at_s).max()?;
    events.extend(added);
    Some(Plant {
        misuse,
        subject: Some(person.subject.clone()),
        from_s,
        until_s,
    })
}

fn is_fit(misuse: Misuse, person: &Person, taken: &[String]) -> bool {
    let is_free = !taken.contains(&person.subject)
        && person.joins == 0
        && person.away.end - person.away.start < 8;
    let fits = match misuse {
        Misuse::FirstExport => person.reads_all() && !person.exports,
        Misuse::ForeignIds | Misuse::Sleeper | Misuse::StolenSession | Misuse::Night => true,
        _ => person.reads_all(),
    };
    is_free && fits
}

/// Whoever does it.
struct Hand<'a> {
    studio: &'a Studio,
    person: &'a Person,
    day: i64,
}

impl Hand<'_> {
    fn view(&self, at_s: i64, ids: Vec<Uuid>, dice: &mut Dice) -> Event {
        let desk = self.studio.desk(self.person, self.day, dice);
        Event {
            at_s,
            ..desk.event(self.person, "booking.view", ids)
        }
    }

    fn some_bookings(&self, many: usize, dice: &mut Dice) -> Vec<Uuid> {
        let all = &self.studio.bookings;
        let any = (0..many).map(|_| all.get(dice.between(0, all.len() as i64 - 1) as usize));
        any.flatten().copied().collect()
    }

    /// Everything that searches find, in an hour or three.
    fn mass_reading(&self, at_s: i64, dice: &mut Dice) -> Vec<Event> {
        let most = self.studio.bookings.len().min(2_000) as f64;
        let records = dice.about(most.min(300.0), most) as usize * 2;
        let lasts_s = dice.between(HOUR_S / 2, 3 * HOUR_S);
        let answers = (records / 25).max(1) as i64;
        (0..answers)
            .map(|turn| {
                let ids = self.some_bookings(25, dice);
                self.view(at_s + turn * lasts_s / answers, ids, dice)
            })
            .collect()
    }

    /// A few times the ordinary day, for a week or two.
    fn slow_reading(&self, dice: &mut Dice) -> Vec<Event> {
        let days = dice.between(7, 11);
        let often = dice.about(3.0, 5.0);
        let last = self.day.min(DAYS - 2);
        let mut events = Vec::new();
        for day in (last - days - 2).max(12)..=last {
            if day % 7 >= 5 || self.person.away.contains(&day) {
                continue;
            }
            for _ in 0..(self.person.questions * often) as i64 {
                let begins_s = self.studio.at(day, self.person.begins_h);
                let at_s = begins_s + dice.between(0, self.person.hours * HOUR_S);
                let ids = self.some_bookings(12, dice);
                events.push(self.view(at_s, ids, dice));
            }
        }
        events
    }

    fn export(&self, at_s: i64, dice: &mut Dice) -> Vec<Event> {
        let all = self.studio.bookings.len();
        (0..dice.between(1, 3))
            .map(|turn| {
                let rows = dice.between(200, 5_000).min(all as i64) as usize;
                let ids = self.studio.bookings.iter().take(rows).copied().collect();
                self.view(at_s + turn * 60, ids, dice)
            })
            .collect()
    }

    /// In the middle of the night, from the own desk.
    fn night(&self, dice: &mut Dice) -> Vec<Event> {
        let at_s = self.studio.at(self.day, dice.between(1, 4));
        let many = dice.between(25, 120);
        self.browse(at_s, many, dice)
    }

    /// Lists and records as anybody looks at them.
    fn browse(&self, at_s: i64, many: i64, dice: &mut Dice) -> Vec<Event> {
        let place = dice.between(0, self.studio.bookings.len() as i64 - 20) as usize;
        let listed: Vec<Uuid> = self
            .studio
            .bookings
            .iter()
            .skip(place)
            .take(20)
            .copied()
            .collect();
        let mut at_s = at_s;
        (0..many)
            .map(|_| {
                at_s += dice.between(5, 70);
                self.view(at_s, listed.clone(), dice)
            })
            .collect()
    }

    /// By another machine elsewhere, while the member works on.
    fn stolen_session(&self, at_s: i64, dice: &mut Dice) -> Vec<Event> {
        let network = dice.network();
        let client = format!("browser {:x}", dice.next());
        let many = dice.between(20, 120);
        let mut events = self.browse(at_s, many, dice);
        for event in &mut events {
            event.address = format!("{network}.{}", dice.between(1, 9));
            event.client.clone_from(&client);
        }
        // Two of them find something out.
        for event in events.iter_mut().step_by(4) {
            event.ids = self.some_bookings(10, dice);
        }
        events
    }

    /// Record by record, or week by week, by a program.
    fn enumeration(&self, at_s: i64, dice: &mut Dice) -> Vec<Event> {
        let all = &self.studio.bookings;
        let step = if dice.happens(0.5) {
            1
        } else {
            dice.between(5, 20) as usize
        };
        let many = (dice.between(60, 400) as usize).min(all.len() / step);
        let first = dice.between(0, (all.len() - many * step) as i64) as usize;
        let pause_s = dice.between(1, 8);
        (0..many)
            .map(|turn| {
                let ids = all
                    .iter()
                    .skip(first + turn * step)
                    .take(step)
                    .copied()
                    .collect();
                self.view(at_s + turn as i64 * pause_s, ids, dice)
            })
            .collect()
    }

    fn foreign_ids(&self, at_s: i64, dice: &mut Dice) -> Vec<Event> {
        let many = dice.between(40, 400);
        let lasts_s = dice.between(HOUR_S / 6, 6 * HOUR_S);
        (0..many)
            .map(|turn| {
                let desk = self.studio.desk(self.person, self.day, dice);
                let at_s = at_s + turn * lasts_s / many;
                Event {
                    at_s,
                    ..desk.refused(self.person, dice.uuid(), 404)
                }
            })
            .collect()
    }

    fn personal_fields(&self, at_s: i64, dice: &mut Dice) -> Vec<Event> {
        let all = &self.studio.artists;
        let many = ((0.4 + 0.6 * dice.share()) * all.len() as f64).max(25.0) as usize;
        let lasts_s = dice.between(HOUR_S, 6 * HOUR_S);
        let people = all.iter().take(many).enumerate();
        people
            .map(|(turn, artist)| Event {
                action: "artist.view",
                opened: &["email", "phone", "address"],
                ..self.view(
                    at_s + turn as i64 * lasts_s / many as i64,
                    vec![*artist],
                    dice,
                )
            })
            .collect()
    }
}

/// What strangers do all month, and nobody minds.
pub(super) fn noise(dice: &mut Dice) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for hour in 0..DAYS * 24 {
        let from_s = START_S + hour * HOUR_S;
        // Whoever looks at every address of the world.
        for _ in 0..dice.times(1.5) {
            let network = dice.network();
            let failures = [Failure::Malformed, Failure::Claims];
            let failure = failures[dice.between(0, 1) as usize];
            refusals.push(refusal(
                from_s + dice.between(0, HOUR_S - 1),
                &network,
                failure,
            ));
        }
        for _ in 0..dice.times(8.0) {
            let network = dice.network();
            refusals.push(refusal(
                from_s + dice.between(0, HOUR_S - 1),
                &network,
                Failure::Expired,
            ));
        }
        // A client that does not notice that its token has ended.
        if dice.happens(0.02) {
            let network = dice.network();
            for turn in 0..dice.between(50, 600) {
                refusals.push(refusal(from_s + turn * 5, &network, Failure::Expired));
            }
        }
        if dice.happens(0.005) {
            for turn in 0..dice.between(1, 4) {
                refusals.push(refusal(from_s + turn, &dice.network(), Failure::UnknownKey));
            }
        }
        if dice.happens(0.02) {
            for turn in 0..dice.between(1, 12) {
                refusals.push(refusal(
                    from_s + turn * 7,
                    &dice.network(),
                    Failure::ForeignPage,
                ));
            }
        }
        if dice.happens(0.01) {
            refusals.push(refusal(from_s, &dice.network(), Failure::ReplayedWebhook));
        }
    }
    refusals
}

/// Plants what strangers do.
pub(super) fn by_strangers(misuse: Misuse, dice: &mut Dice, refusals: &mut Vec<Refusal>) -> Plant {
    let from_s = START_S + dice.between(3 * DAY_S, (DAYS - 2) * DAY_S);
    let (many, networks, lasts_s, failure) = match misuse {
        Misuse::TokenBurst => {
            let lasts_s = dice.between(120, 1_800);
            (
                dice.about(150.0, 5_000.0) as i64,
                1,
                lasts_s,
                Failure::Signature,
            )
        }
        Misuse::SlowSpray => {
            let networks = dice.between(60, 300);
            (
                networks * 2,
                networks,
                dice.between(2, 10) * HOUR_S,
                Failure::Signature,
            )
        }
        _ => {
            let lasts_s = dice.between(300, 3 * HOUR_S);
            (
                dice.between(40, 300),
                dice.between(1, 10),
                lasts_s,
                Failure::UnknownKey,
            )
        }
    };
    let networks: Vec<String> = (0..networks).map(|_| dice.network()).collect();
    for turn in 0..many {
        let network = &networks[turn as usize % networks.len()];
        refusals.push(refusal(from_s + turn * lasts_s / many, network, failure));
    }
    Plant {
        misuse,
        subject: None,
        from_s,
        until_s: from_s + lasts_s,
    }
}

fn refusal(at_s: i64, network: &str, failure: Failure) -> Refusal {
    Refusal {
        at: jiff::Timestamp::from_second(at_s).unwrap_or_default(),
        address: format!("{network}.7"),
        failure,
        subject: None,
        studio: None,
    }
}
