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
    /// Its projects.
    pub projects: Vec<Uuid>,
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
        let projects = add_projects(&raw, tenant, letter, random)
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
            projects,
        });
    }
    Ok(seeded)
}

/// What happens in a studio's week: for which artist and project, in which state, from which day and
/// hour to which, counted from this week's Monday in the studio's zone. The order is the order in which
/// they were made, hence that of the ranks.
const WEEK: &[(usize, usize, &str, &str, [i32; 4])] = &[
    (0, 0, "Layout", "completed", [0, 9, 0, 18]),
    (0, 0, "Animation", "in_progress", [1, 9, 3, 18]),
    (0, 1, "Pitch film", "pencil", [7, 9, 11, 18]),
    (0, 0, "Retakes", "pencil", [9, 9, 10, 18]),
    (0, 1, "Title sequence", "pencil", [10, 9, 14, 18]),
    (1, 0, "Compositing", "confirmed", [1, 9, 4, 18]),
    (1, 1, "Test shots", "pencil", [7, 9, 8, 18]),
    (1, 0, "Clean-up", "hold", [8, 9, 8, 13]),
    (1, 1, "Colour", "cancelled", [2, 9, 2, 18]),
    (2, 1, "Storyboard", "confirmed", [0, 10, 2, 16]),
    (2, 0, "Editing", "pencil", [2, 14, 4, 18]),
    (2, 1, "Sound", "released", [3, 9, 3, 18]),
];

/// A week of bookings for the artists of each studio, and a holiday, so that a demonstration has
/// something to show: options in line behind one another, time that is taken, a hold that runs out.
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
        add_week(&raw, studio, random)
            .await
            .map_err(|error| error.to_string())?;
        raw.run(
            &format!(
                "INSERT INTO studio.time_off (tenant_id, id, artist_id, starts_at, ends_at, from_day, to_day, notes)
                 SELECT $1, $2, $3, day AT TIME ZONE zone, (day + interval '3 days') AT TIME ZONE zone, day::date, day::date + 2,
                   'holiday' FROM (SELECT zone, {MONDAY} + interval '7 days' AS day FROM tenancy.studios WHERE tenant_id = $1) d"
            ),
            &[&studio.tenant, &random.uuid(), &studio.artists.last()],
        )
        .await
        .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// This week's Monday, a local time of the studio `zone`.
const MONDAY: &str = "date_trunc('week', now() AT TIME ZONE zone)";

async fn add_week(raw: &RawConnection, studio: &SeededStudio, random: &Random) -> RawResult<()> {
    for (place, (artist, project, title, state, [from, opens, to, closes])) in (1_i32..).zip(WEEK) {
        let title = format!("{title} for {}", marker(&studio.letter));
        let reference = format!("{}-{place:03}", studio.letter);
        raw.run(
            &format!(
                "INSERT INTO studio.bookings (tenant_id, id, created_at, reference, artist_id, project_id, title, state, starts_at,
                   ends_at, slice_starts, slice_ends, expires_at, rate_unit, rate_minor, rate_currency, deed)
                 SELECT $1, $2, now() - make_interval(mins => 100 - $3::integer), $4, $5, $6, $7, $8::text, s, e, ARRAY[s], ARRAY[e],
                   CASE WHEN $8 = 'hold' THEN now() + interval '30 minutes' END, 'day', 45000, 'EUR', 'create'
                 FROM (SELECT (day + make_interval(days => $9, hours => $10)) AT TIME ZONE zone AS s,
                     (day + make_interval(days => $11, hours => $12)) AT TIME ZONE zone AS e
                   FROM (SELECT zone, {MONDAY} AS day FROM tenancy.studios WHERE tenant_id = $1) d) w"
            ),
            &[
                &studio.tenant,
                &random.uuid(),
                &place,
                &reference,
                &studio.artists.get(*artist),
                &studio.projects.get(*project),
                &title,
                state,
                from,
                opens,
                to,
                closes,
            ],
        )
        .await?;
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

async fn add_projects(
    raw: &RawConnection,
    tenant: Uuid,
    letter: &str,
    random: &Random,
) -> RawResult<Vec<Uuid>> {
    let mut projects = Vec::new();
    for (code, name, status) in [
        ("FEATURE", "The Long Way Down", "active"),
        ("SPOT", "Thirty Seconds", "planned"),
    ] {
        let id = random.uuid();
        let name = format!("{name} of {}", marker(letter));
        raw.run(
            "INSERT INTO studio.projects (tenant_id, id, code, name, client, status, budget_minor, budget_currency)
             VALUES ($1, $2, $3, $4, 'a client', $5, 12000000, 'EUR')",
            &[&tenant, &id, &code, &name, &status],
        )
        .await?;
        projects.push(id);
    }
    Ok(projects)
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
