//! Two studios with a person a role, one of them in both. Tests and the demonstration share it.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight_tenancy::{Call, Operator, support::RawConnection};
use watertight_terms::Random;

/// A studio that was seeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SeededStudio {
    /// `A` or `B`.
    pub letter: String,
    /// Its id.
    pub tenant: Uuid,
    /// Its name.
    pub name: String,
    /// Its Clerk organization.
    pub organization: String,
    /// Its people: owner, manager, freelancer, guest, who leaves, and who is in both.
    pub people: Vec<SeededPerson>,
    /// Its artists; the first is the freelancer.
    pub artists: Vec<Uuid>,
}

/// A person that was seeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SeededPerson {
    /// `owner`, `manager`, `freelancer`, `guest`, `leaver`: a manager to be lowered and removed, or
    /// `dual`: an owner here and there.
    pub part: String,
    /// The role.
    pub role: String,
    /// The Clerk user.
    pub subject: String,
    /// The Clerk session.
    pub session: String,
    /// The membership.
    pub member: Uuid,
    /// The artist that this person is.
    pub artist: Option<Uuid>,
}

impl SeededStudio {
    /// The person of that part.
    ///
    /// # Panics
    /// Never for the parts that are seeded.
    pub fn person(&self, part: &str) -> &SeededPerson {
        self.people
            .iter()
            .find(|person| person.part == part)
            .unwrap_or_else(|| unreachable!("every part is seeded"))
    }
}

/// The word that every row of a studio's demonstration carries, so that a foreign one is seen at once.
pub fn marker(letter: &str) -> &'static str {
    if letter == "A" {
        "ALDERWOOD"
    } else {
        "BRACKEN"
    }
}

const STUDIOS: [(&str, &str, &str, &str); 2] = [
    ("A", "Alderwood Animation", "Europe/Berlin", "org_alderwood"),
    ("B", "Bracken Pictures", "America/New_York", "org_bracken"),
];

const CREATE: Call = Call::new("SELECT studio.create_studio($1, $2, $3, $4) AS tenant");

/// Makes the two studios: each by an operator, as any studio is, then its people and artists by an
/// administrator, as no product code can.
///
/// # Errors
/// When the database refuses, as it does when they are there already.
pub async fn seed(
    admin: &SecretString,
    ops: &SecretString,
    random: &Random,
) -> Result<Vec<SeededStudio>, String> {
    let operator = Operator::connect(ops)
        .await
        .map_err(|error| error.to_string())?;
    let raw = RawConnection::connect(admin)
        .await
        .map_err(|error| error.to_string())?;
    let mut seeded = Vec::new();
    for (letter, name, zone, organization) in STUDIOS {
        let lower = letter.to_lowercase();
        let owner = format!("user_{lower}_owner");
        let row = operator
            .call(CREATE, &[&name, &zone, &organization, &owner], |_| None)
            .await
            .map_err(|fault| fault.to_string())?;
        let tenant: Uuid = row.field("tenant").map_err(|fault| fault.to_string())?;
        let artists = add_artists(&raw, tenant, letter, random)
            .await
            .map_err(|error| error.to_string())?;
        let people = add_people(&raw, tenant, &lower, artists.first().copied(), random)
            .await
            .map_err(|error| error.to_string())?;
        seeded.push(SeededStudio {
            letter: letter.to_owned(),
            tenant,
            name: name.to_owned(),
            organization: organization.to_owned(),
            people,
            artists,
        });
    }
    Ok(seeded)
}

/// A week of bookings for each artist, so that a demonstration has something to show: pencils, and
/// one that is confirmed with its time taken.
///
/// # Errors
/// When the database refuses.
pub async fn add_bookings(
    admin: &SecretString,
    studios: &[SeededStudio],
    random: &Random,
) -> Result<(), String> {
    let raw = RawConnection::connect(admin)
        .await
        .map_err(|error| error.to_string())?;
    for studio in studios {
        for (artist, day) in studio.artists.iter().zip(1_i32..) {
            for (title, state, from) in [
                ("Layout", "confirmed", day),
                ("Animation", "pencil", day + 7),
            ] {
                let id = random.uuid();
                let title = format!("{title} for {}", marker(&studio.letter));
                let reference = format!("{}-{from}{day}", studio.letter);
                raw.run(
                    "WITH booked AS (INSERT INTO studio.bookings (tenant_id, id, reference, artist_id, title, state, starts_at, ends_at)
                       SELECT $1, $2, $3, $4, $5, $6, day + interval '9 hours', day + interval '17 hours'
                       FROM (SELECT date_trunc('day', now()) + make_interval(days => $7) AS day) d RETURNING *)
                     INSERT INTO studio.occupancy (tenant_id, id, artist_id, slice, kind, source_id, blocks)
                       SELECT tenant_id, gen_random_uuid(), artist_id, tstzrange(starts_at, ends_at), 'booking', booked.id, true
                       FROM booked WHERE state = 'confirmed'",
                    &[&studio.tenant, &id, &reference, artist, &title, &state, &from],
                )
                .await
                .map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

type RawResult<T> = Result<T, watertight_tenancy::support::Error>;

async fn add_artists(
    raw: &RawConnection,
    tenant: Uuid,
    letter: &str,
    random: &Random,
) -> RawResult<Vec<Uuid>> {
    let mut artists = Vec::new();
    for (name, kind) in [
        ("Imogen", "freelancer"),
        ("Teodor", "freelancer"),
        ("Saskia", "staff"),
    ] {
        let id = random.uuid();
        let name = format!("{name} of {}", marker(letter));
        raw.run(
            "INSERT INTO studio.artists (tenant_id, id, name, kind) VALUES ($1, $2, $3, $4)",
            &[&tenant, &id, &name, &kind],
        )
        .await?;
        artists.push(id);
    }
    Ok(artists)
}

async fn add_people(
    raw: &RawConnection,
    tenant: Uuid,
    letter: &str,
    artist: Option<Uuid>,
    random: &Random,
) -> RawResult<Vec<SeededPerson>> {
    let parts = [
        ("owner", "owner"),
        ("manager", "manager"),
        ("freelancer", "freelancer"),
        ("guest", "guest"),
        ("leaver", "manager"),
        ("dual", "owner"),
    ];
    let mut people = Vec::new();
    for (part, role) in parts {
        let subject = if part == "dual" {
            "user_dual".to_owned()
        } else {
            format!("user_{letter}_{part}")
        };
        let artist = artist.filter(|_| part == "freelancer");
        let member: Uuid = raw
            .value(
                "INSERT INTO tenancy.members (tenant_id, id, subject, provider_role, ceiling, state, artist_id, lock_key)
                 VALUES ($1, $2, $3, $4, $4, 'active', $5, $6)
                 ON CONFLICT (tenant_id, subject) DO UPDATE SET artist_id = $5 RETURNING id",
                &[&tenant, &random.uuid(), &subject, &role, &artist, &i64::from_be_bytes(random.bytes())],
            )
            .await?;
        people.push(SeededPerson {
            part: part.to_owned(),
            role: role.to_owned(),
            session: format!("sess_{letter}_{part}"),
            subject,
            member,
            artist,
        });
    }
    Ok(people)
}
