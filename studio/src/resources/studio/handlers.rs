use std::collections::BTreeMap;

use garde::Validate;
use jiff::{Timestamp, civil::Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::{Field, Firm, IfMatch, Line, Valid},
};
use watertight_authority::{Action, Granted};
use watertight_identity::{Impersonation, Reverification};
use watertight_tenancy::{Admission, Choices, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits};

use super::{
    CHANGE, Studio,
    actions::{Change, Close, Inspect},
    kept::{self, Said},
    settings::{HalfDays, Week},
};
use crate::{
    app::Desk,
    config::AdmissionBy,
    custody::closing::{self, ClosingView},
    resources::page::{self, expect_version},
};

/// The studio as its owners and managers see it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Studio")]
pub(super) struct StudioView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    name: String,
    zone: String,
    status: String,
    /// When it closes, where an owner asked for that.
    closes_at: Option<Timestamp>,
    hold_minutes: i32,
    challenge_hours: i32,
    half_days: HalfDays,
    /// None: around the clock.
    working_hours: Option<Week>,
    impersonation: Acting,
    admission: AdmissionBy,
    /// For how many days what is over is kept.
    #[schemars(schema_with = "kept::answered")]
    retention: BTreeMap<&'static str, u32>,
}

impl From<Studio> for StudioView {
    fn from(studio: Studio) -> Self {
        let settings = &studio.settings;
        Self {
            id: studio.tenant.0,
            version: studio.version,
            created_at: studio.created_at,
            updated_at: studio.updated_at,
            hold_minutes: settings.hold_minutes(),
            challenge_hours: settings.challenge_hours(),
            half_days: settings.half_days(),
            working_hours: settings.working_hours().cloned(),
            impersonation: match studio.impersonation.as_str() {
                "read_only" => Acting::ReadOnly,
                _ => Acting::Refused,
            },
            admission: match studio.admission.as_str() {
                "clerk" => AdmissionBy::Clerk,
                _ => AdmissionBy::Owner,
            },
            retention: kept::kept(&studio.retention),
            name: studio.name,
            zone: studio.zone,
            status: studio.status,
            closes_at: studio.closes_at,
        }
    }
}

/// Whether somebody at Clerk may act as a member of the studio.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Acting {
    Refused,
    ReadOnly,
}

impl From<Acting> for Impersonation {
    fn from(acting: Acting) -> Self {
        match acting {
            Acting::Refused => Self::Refused,
            Acting::ReadOnly => Self::ReadOnly,
        }
    }
}

pub(super) async fn show(mut tx: TenantTx) -> Result<Answer<StudioView>, Fault> {
    let id = tx.tenant().0;
    let granted = own::<Inspect>(&mut tx).await?;
    let view = StudioView::from(tx.seen(granted)?);
    let version = view.version;
    let entry = Entry::new("studio.inspect", "studio").ids([id]);
    Draft::ok(view)?.etag(version).finish(tx, entry).await
}

/// A change: what is absent stays, null means the product's default.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(dive)]
    name: Firm<Line<{ Limits::NAME_CHARS }>>,
    #[serde(default)]
    #[garde(dive)]
    hold_minutes: Field<Minutes>,
    #[serde(default)]
    #[garde(dive)]
    challenge_hours: Field<Hours>,
    #[serde(default)]
    #[garde(dive)]
    half_days: Field<HalfDays>,
    #[serde(default)]
    #[garde(dive)]
    working_hours: Field<Week>,
    #[serde(default)]
    #[garde(dive)]
    impersonation: Firm<Acting>,
    #[serde(default)]
    #[garde(dive)]
    admission: Firm<AdmissionBy>,
    #[serde(default)]
    #[garde(dive)]
    retention: Field<Said>,
}

/// Up to a week.
#[derive(Debug, Clone, Copy, Deserialize, Validate, JsonSchema)]
#[serde(transparent)]
#[garde(transparent)]
#[schemars(inline)]
struct Minutes(#[garde(range(min = 1, max = 10_080))] i32);

/// Up to a month.
#[derive(Debug, Clone, Copy, Deserialize, Validate, JsonSchema)]
#[serde(transparent)]
#[garde(transparent)]
#[schemars(inline)]
struct Hours(#[garde(range(min = 1, max = 720))] i32);

pub(super) async fn change(
    mut tx: TenantTx,
    desk: Desk,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer<StudioView>, Fault> {
    let id = tx.tenant().0;
    let granted = own::<Change>(&mut tx).await?;
    expect_version(version, granted.version())?;
    let name = edited.name.given().map(Line::into_inner);
    let choices = Choices {
        name: name.as_deref(),
        impersonation: edited.impersonation.given().map(Impersonation::from),
        admission: edited.admission.given().map(Admission::from),
    };
    if choices.impersonation.is_some() || choices.admission.is_some() {
        // It opens the studio's rows to somebody who is not in it.
        tx.verified_within(Reverification::Strict, &desk.clock)?;
    }
    let settings = granted.row().settings.clone().changed(
        edited.hold_minutes.map(|it| it.0),
        edited.challenge_hours.map(|it| it.0),
        edited.half_days,
        edited.working_hours,
    );
    let retention = retained(edited.retention, &granted.row().retention);
    let now = desk.clock.now();
    let half_days = settings.decided_half_days();
    let half = |pick: fn(&HalfDays) -> Time| half_days.map(pick);
    let (am_from, am_to) = (half(|it| it.am.from.time()), half(|it| it.am.to.time()));
    let (pm_from, pm_to) = (half(|it| it.pm.from.time()), half(|it| it.pm.to.time()));
    let week = Week::as_column(settings.working_hours())?;
    let (hold_minutes, challenge_hours) = settings.decided_patience();
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &now,
        &hold_minutes,
        &challenge_hours,
        &am_from,
        &am_to,
        &pm_from,
        &pm_to,
        &week,
        &retention,
    ];
    let (spent, _row) = tx.change(granted, CHANGE, &parameters).await?;
    tx.choose(&spent, choices).await?;
    let view = StudioView::from(tx.written::<Studio>(Studio::LOAD, id).await?);
    page::changed(tx, &spent, view).await
}

pub(super) async fn close(
    mut tx: TenantTx,
    desk: Desk,
    Valid(asked): Valid<closing::Asked>,
) -> Result<Answer<ClosingView>, Fault> {
    let granted = own::<Close>(&mut tx).await?;
    drop(tx.seen(granted)?);
    tx.may_write()?;
    let id = tx.tenant().0;
    if asked.plan {
        let view = closing::stands(&mut tx).await?;
        let entry = Entry::new("closing.plan", "studio").ids([id]);
        return Draft::ok(view)?.finish(tx, entry).await;
    }
    tx.verified_within(Reverification::Strict, &desk.clock)?;
    closing::ask(&mut tx, desk.clock.now(), asked.without_export).await?;
    let view = closing::stands(&mut tx).await?;
    let entry = Entry::new("studio.close", "studio").ids([id]);
    Draft::ok(view)?.commit(tx, entry).await
}

pub(super) async fn cancel_closing(mut tx: TenantTx) -> Result<Answer<ClosingView>, Fault> {
    let granted = own::<Close>(&mut tx).await?;
    drop(tx.seen(granted)?);
    tx.may_write()?;
    watertight_custody::closing::take_back(&mut tx).await?;
    let view = closing::stands(&mut tx).await?;
    let entry = Entry::new("closing.cancel", "studio").ids([tx.tenant().0]);
    Draft::ok(view)?.commit(tx, entry).await
}

/// What is decided of the days, as its row has it; none: nothing is.
fn retained(said: Field<Said>, before: &Map<String, Value>) -> Option<Value> {
    let decided = match said {
        Field::Absent => before.clone(),
        Field::Null => Map::new(),
        Field::Value(said) => said.after(before.clone()),
    };
    (!decided.is_empty()).then_some(Value::Object(decided))
}

/// The own studio. Its row is hidden from freelancers, who know that there is one: so they are
/// refused before it is looked for.
async fn own<A: Action<Studio>>(tx: &mut TenantTx) -> Result<Granted<A, Studio>, Fault> {
    drop(tx.grant_new::<A, Studio>()?);
    tx.grant::<A, Studio>(tx.tenant().0).await
}
