//! What is worth knowing of a booking that was made all the same: that it lies outside of its project's dates, or of those
//! of the project's phases.

use jiff::{ToSpan, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight_tenancy::{Read, TenantTx};
use watertight_terms::Fault;

use super::when::Spell;

/// A project's dates, and those of its phases. `$2` the project.
const FRAME: Read = Read::new(
    "SELECT p.starts_on, p.ends_on, f.id IS NOT NULL AS is_phase, f.starts_on AS phase_starts, f.ends_on AS phase_ends
     FROM studio.projects p LEFT JOIN studio.phases f
       ON f.tenant_id = p.tenant_id AND f.project_id = p.id AND f.archived_at IS NULL
     WHERE p.tenant_id = $1 AND p.id = $2",
);

/// A booking is as it was asked for, and yet.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Warning {
    code: &'static str,
    detail: String,
}

/// From a day to another, open where none is named.
#[derive(Clone, Copy)]
struct Dates(Option<Date>, Option<Date>);

impl Dates {
    fn hold(self, first: Date, last: Date) -> bool {
        self.0.is_none_or(|starts| starts <= first) && self.1.is_none_or(|ends| last <= ends)
    }
}

/// In which dates a project's bookings are expected.
pub(super) struct Frame {
    zone: TimeZone,
    project: Dates,
    phases: Vec<Dates>,
}

impl Frame {
    /// The dates of a project.
    ///
    /// # Errors
    /// When the database refuses.
    pub(super) async fn of(tx: &mut TenantTx, project: Uuid) -> Result<Self, Fault> {
        let rows = tx.read(FRAME, &[&project]).await?;
        let mut frame = Self {
            zone: TimeZone::get(tx.studio().1)
                .map_err(|error| Fault::bug(format!("the studio's zone: {error}")))?,
            project: Dates(None, None),
            phases: Vec::new(),
        };
        for row in rows {
            frame.project = Dates(row.field("starts_on")?, row.field("ends_on")?);
            if row.field("is_phase")? {
                let dates = Dates(row.field("phase_starts")?, row.field("phase_ends")?);
                frame.phases.push(dates);
            }
        }
        Ok(frame)
    }

    /// What is worth knowing of a booking of that time.
    pub(super) fn warnings(&self, spell: &Spell) -> Vec<Warning> {
        let day = |at: jiff::Timestamp| at.to_zoned(self.zone.clone()).date();
        let (first, last) = (day(spell.starts_at), day(spell.ends_at - 1.microsecond()));
        let mut warnings = Vec::new();
        let mut warn = |code, whose: &str| {
            let detail = format!("{first} to {last} does not lie within the dates of {whose}");
            warnings.push(Warning { code, detail });
        };
        if !self.project.hold(first, last) {
            warn("outside-project", "its project");
        }
        let mut phases = self.phases.iter();
        if !self.phases.is_empty() && !phases.any(|dates| dates.hold(first, last)) {
            warn("outside-phases", "any phase of its project");
        }
        warnings
    }
}
