use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft, Octets},
    argument::{CursorText, Id, Path, Query, Valid},
};
use watertight_identity::Reverification;
use watertight_tenancy::{Read, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits, problems};
use watertight_vault::{Holder, Place, Sealed};

use super::{
    ASK, Export, ExportView, Kind, PART_COLUMN, State,
    actions::{Ask, Fetch, View},
};
use crate::{
    app::Desk,
    resources::page::{self, List, Paging, Sort, wrong_field},
};

/// So many parts, each of at most a mebibyte, are given at once.
const PARTS_MOST: i32 = 16;

/// Parts of a file from one to before another.
const PARTS: Read = Read::new(
    "SELECT id, sealed FROM studio.export_parts WHERE tenant_id = $1 AND export_id = $2 AND file = $3 AND n >= $4 AND n < $5
     ORDER BY n",
);

/// Which exports, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<Export>,
}

pub(super) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<ExportView>>, Fault> {
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    page::list::<View, Export, _>(tx, &desk, paging, &[], |row, _| row.into()).await
}

/// A new export.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(skip)]
    kind: Kind,
    /// Of a person: an artist or a member, and who is both is both.
    #[serde(rename = "ref")]
    #[garde(skip)]
    about: Option<Id>,
}

pub(super) async fn ask(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<ExportView>>, Fault> {
    let granted = tx.grant_new::<Ask, Export>()?;
    tx.verified_within(Reverification::Strict, &desk.clock)?;
    match (new.kind == Kind::Person, new.about.is_some()) {
        (true, false) => {
            return Err(wrong_field("/ref", "required", "its kind asks for it"));
        }
        (false, true) => {
            return Err(wrong_field("/ref", "unknown-field", "its kind has none"));
        }
        _ => {}
    }
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let (kind, about) = (new.kind.as_str(), new.about.map(|Id(id)| id));
    let parameters: [&(dyn ToSql + Sync); 4] = [&id, &now, &kind, &about];
    let spent = tx.create(granted, ASK, &parameters).await?;
    let view = ExportView::from(tx.written::<Export>(Export::LOAD, id).await?);
    let entry = Entry::new(spent.action(), spent.noun()).ids(std::iter::once(id).chain(about));
    let draft = Draft::created(view, &format!("/v1/exports/{id}"))?;
    draft.etag(1).commit(tx, entry).await
}

/// Which file, and what of it.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    #[garde(skip)]
    format: Format,
    /// One part of it, from 0 on; otherwise the whole, if it has at most 16.
    #[garde(range(min = 0, max = 8_191))]
    part: Option<i32>,
}

/// In which form.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Format {
    /// By `docs/formats/export.schema.json`.
    #[default]
    Json,
    /// For people, of a person.
    Html,
}

impl Format {
    fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
        }
    }
}

pub(super) async fn fetch(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    Query(wanted): Query<Wanted>,
) -> Result<Answer<Octets>, Fault> {
    let granted = tx.grant::<Fetch, Export>(id).await?;
    let export = tx.seen(granted)?;
    // Whoever acts as a member takes nothing along.
    tx.may_write()?;
    tx.verified_within(Reverification::Strict, &desk.clock)?;
    let is_over = export.expires_at.is_none_or(|at| at <= desk.clock.now());
    if export.state != State::Ready || is_over {
        return Err(Fault::unseen().log("a file that is not ready, or over"));
    }
    let (from, until) = match wanted.part {
        Some(part) => (part, part + 1),
        None => (0, PARTS_MOST + 1),
    };
    let file = wanted.format.as_str();
    let parts = tx.read(PARTS, &[&id, &file, &from, &until]).await?;
    if parts.is_empty() {
        return Err(Fault::unseen());
    }
    if parts.len() > usize::try_from(PARTS_MOST).unwrap_or_default() {
        let spoken = "it is too large for one answer; ask for its parts, from `?part=0` on";
        return Err(Fault::new(problems::MALFORMED, spoken));
    }
    let keys = desk.vault.to_open(&mut tx, Holder::Studio).await?;
    let mut bytes = Vec::new();
    for part in &parts {
        let place = Place {
            column: PART_COLUMN,
            row: part.field("id")?,
        };
        let opened = keys.open_document(place, &Sealed::from_stored(part.field("sealed")?))?;
        bytes.extend_from_slice(opened.expose().as_bytes());
    }
    let entry = Entry::new("export.fetch", "export")
        .ids([id])
        .opened(export.opened);
    Draft::octets(bytes).finish(tx, entry).await
}
