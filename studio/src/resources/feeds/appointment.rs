//! Bookings, as far as a calendar shows them: neither rates nor notes are even read.

use jiff::Timestamp;
use uuid::Uuid;
use watertight_authority::{Action, Fact, Resource};
use watertight_tenancy::{Read, Row, Stored};
use watertight_terms::{Fault, TenantId};

use super::calendar::{Event, Status, When};
use crate::resources::bookings::when::{DayPart, Spell};

/// A booking, as a calendar shows it. To policies it is what every booking is.
#[derive(Debug)]
pub(super) struct Appointment {
    tenant: TenantId,
    pub(super) id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    reference: String,
    artist: Uuid,
    title: String,
    state: String,
    is_archived: bool,
    spell: Spell,
    /// Code and name of its project, where the member may see that.
    project: Option<(String, String)>,
}

impl Resource for Appointment {
    const NOUN: &'static str = "booking";
    const ENTITY: &'static str = "Booking";

    fn id(&self) -> Uuid {
        self.id
    }

    fn tenant(&self) -> TenantId {
        self.tenant
    }

    fn version(&self) -> i32 {
        self.version
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        vec![
            ("artist", Fact::Is("Artist", self.artist)),
            ("state", Fact::Text(self.state.clone())),
        ]
    }
}

/// `booking.view`, of what a calendar shows.
#[derive(Debug)]
pub(super) struct ViewAppointment;

impl Action<Appointment> for ViewAppointment {
    const NAME: &'static str = "booking.view";
}

macro_rules! columns {
    () => {
        "SELECT b.tenant_id, b.id, b.version, b.created_at, b.updated_at, b.reference, b.artist_id, b.title, b.state,
           b.archived_at IS NOT NULL AS is_archived, b.starts_at, b.ends_at, b.slice_starts, b.slice_ends,
           b.from_day, b.from_part, b.to_day, b.to_part, p.code AS project_code, p.name AS project_name
         FROM studio.bookings b
         LEFT JOIN studio.projects p ON p.tenant_id = b.tenant_id AND p.id = b.project_id
         WHERE b.tenant_id = $1 AND "
    };
}

/// `$2` the artist whose bookings alone the caller may see, `$3` an artist, `$4` a project, `$5` and `$6`
/// a window, `$7` since when what was called off is shown, `$8` how many. No booking is longer than two
/// years: with that both ends of the window are conditions of the index.
pub(super) const LIST: Read = Read::new(concat!(
    columns!(),
    "($2::uuid IS NULL OR b.artist_id = $2) AND ($3::uuid IS NULL OR b.artist_id = $3)
       AND ($4::uuid IS NULL OR b.project_id = $4)
       AND b.starts_at < $6 AND b.starts_at > $5::timestamptz - interval '732 days' AND b.ends_at > $5
       AND (b.archived_at IS NULL AND b.state NOT IN ('released', 'cancelled') OR b.updated_at > $7)
     ORDER BY b.starts_at, b.id LIMIT $8"
));

impl Stored for Appointment {
    const LOAD: Read = Read::new(concat!(columns!(), "b.id = $2"));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        let code: Option<String> = row.field("project_code")?;
        let name: Option<String> = row.field("project_name")?;
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            reference: row.field("reference")?,
            artist: row.field("artist_id")?,
            title: row.field("title")?,
            state: row.field("state")?,
            is_archived: row.field("is_archived")?,
            spell: Spell::from_row(row)?,
            project: code.zip(name),
        })
    }
}

impl Appointment {
    /// An event for each of its slices; the first has the booking's id, which so is the same for as long
    /// as there is a booking.
    pub(super) fn events(&self) -> Vec<Event> {
        let of = |at: usize, when: When| Event {
            uid: match at {
                0 => self.id.to_string(),
                _ => format!("{}-{}", self.id, at + 1),
            },
            sequence: self.version,
            created_at: self.created_at,
            changed_at: self.updated_at,
            summary: self.summary(),
            description: self.description(),
            category: self.project.as_ref().map(|(code, _)| code.clone()),
            status: self.status(),
            blocks: self.blocks(),
            when,
        };
        if let Some((
            DayPart {
                date: from,
                part: None,
            },
            DayPart {
                date: to,
                part: None,
            },
        )) = self.spell.days
        {
            return vec![of(
                0,
                When::Days {
                    from: from.date(),
                    to: to.date(),
                },
            )];
        }
        let slices = self.spell.starts.iter().zip(&self.spell.ends).enumerate();
        slices
            .map(|(at, (from, to))| {
                of(
                    at,
                    When::Instants {
                        from: *from,
                        to: *to,
                    },
                )
            })
            .collect()
    }

    fn summary(&self) -> String {
        let project = self.project.as_ref().map(|(_, name)| name.as_str());
        match (self.title.as_str(), project) {
            ("", project) => project.unwrap_or(&self.reference).to_owned(),
            (title, _) => title.to_owned(),
        }
    }

    fn description(&self) -> String {
        let state = self.state.replace('_', " ");
        let project = self.project.iter();
        let project = project.map(|(code, name)| format!("project: {code} {name}"));
        [
            format!("reference: {}", self.reference),
            format!("state: {state}"),
        ]
        .into_iter()
        .chain(project)
        .collect::<Vec<_>>()
        .join("\n")
    }

    fn is_off(&self) -> bool {
        self.is_archived || matches!(self.state.as_str(), "released" | "cancelled")
    }

    fn status(&self) -> Status {
        match self.state.as_str() {
            _ if self.is_off() => Status::Cancelled,
            "hold" | "pencil" => Status::Tentative,
            _ => Status::Confirmed,
        }
    }

    /// Whether it takes the time: nothing else may be confirmed over it.
    fn blocks(&self) -> bool {
        !self.is_off() && self.status() == Status::Confirmed
    }
}
