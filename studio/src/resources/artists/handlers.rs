use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft, Nothing},
    argument::{CursorText, Field, Firm, IfMatch, Line, Path, Prose, Query, Slug, Valid, Zone},
};
use watertight_tenancy::{Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits};
use watertight_vault::{Holder, Keys, Place};

use super::{
    ARCHIVE, Artist, CHOICES, CREATE, EDIT, PERSONAL, Personal,
    actions::{Archive, Create, Edit, Erase, View},
    view::ArtistView,
};
use crate::{
    app::Desk,
    custody::erasure::{self, ErasureView},
    resources::{
        page::{self, List, Paging, Sort, made_name},
        studio::settings::Week,
    },
};

/// Which artists, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<Artist>,
    /// Words in the name.
    #[garde(dive)]
    q: Option<Line<100>>,
    #[garde(skip)]
    kind: Option<Kind>,
    /// Archived ones too.
    #[serde(default)]
    #[garde(skip)]
    archived: bool,
}

/// How somebody works for the studio.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, Validate, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Kind {
    Staff,
    #[default]
    Freelancer,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Staff => "staff",
            Self::Freelancer => "freelancer",
        }
    }

    /// The kind of that name, as the table has it.
    pub(super) fn parse(name: &str) -> Self {
        match name {
            "staff" => Self::Staff,
            _ => Self::Freelancer,
        }
    }
}

pub(super) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<ArtistView>>, Fault> {
    let (q, kind) = (asked.q.as_deref(), asked.kind.map(Kind::as_str));
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 3] = [&q, &kind, &asked.archived];
    page::list::<View, Artist, _>(tx, &desk, paging, &filters, |artist, tx| {
        ArtistView::listed(artist, tx.studio().1)
    })
    .await
}

/// The artists among whom somebody may choose, by id and name.
pub(crate) async fn choices(tx: &mut TenantTx) -> Result<Vec<(Uuid, String)>, Fault> {
    let artists = tx.page::<View, Artist>(CHOICES, &[]).await?;
    Ok(artists
        .into_iter()
        .map(|artist| (artist.id, artist.name))
        .collect())
}

pub(super) async fn show(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
) -> Result<Answer<ArtistView>, Fault> {
    let granted = tx.grant::<View, Artist>(id).await?;
    let artist = tx.seen(granted)?;
    let version = artist.version;
    let keys = desk.vault.to_open(&mut tx, Holder::Person(id)).await?;
    let view = ArtistView::opened(artist, &tx, &keys)?;
    let entry = Entry::new("artist.view", "artist").ids([id]);
    Draft::ok(view)?.etag(version).finish(tx, entry).await
}

/// A new artist.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// Made when none is given.
    #[garde(dive)]
    pub(super) reference: Option<Line<32>>,
    #[garde(dive)]
    pub(super) name: Line<{ Limits::NAME_CHARS }>,
    #[serde(default)]
    #[garde(skip)]
    pub(super) kind: Kind,
    #[serde(default)]
    #[garde(dive)]
    pub(super) skills: Skills,
    /// The studio's where none is given.
    #[garde(dive)]
    pub(super) zone: Option<Zone>,
    /// The studio's where none are given; by the artist's own clocks.
    #[garde(dive)]
    pub(super) working_hours: Option<Week>,
    #[serde(default)]
    #[garde(dive)]
    pub(super) notes: Prose<{ Limits::NOTES_CHARS }>,
    #[garde(dive)]
    email: Option<Line<320>>,
    #[garde(dive)]
    phone: Option<Line<64>>,
    #[garde(dive)]
    legal_name: Option<Line<200>>,
    #[garde(dive)]
    tax_id: Option<Line<64>>,
    #[garde(dive)]
    address: Option<Prose<1_000>>,
    #[garde(dive)]
    bank: Option<Line<200>>,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<ArtistView>>, Fault> {
    let granted = tx.grant_new::<Create, Artist>()?;
    let id = desk.random.uuid();
    let now = desk.clock.now();
    let given = [
        new.email.as_deref(),
        new.phone.as_deref(),
        new.legal_name.as_deref(),
        new.tax_id.as_deref(),
        new.address.as_deref(),
        new.bank.as_deref(),
    ];
    let keys = desk.vault.to_seal(&mut tx, Holder::Person(id)).await?;
    let mut sealed = Sealing::default();
    for ((field, value), place) in PERSONAL.iter().zip(given).zip(&mut sealed) {
        *place = seal(&keys, field.column, id, value)?;
    }
    let [email, phone, legal_name, tax_id, address, bank] = sealed;
    let kind = new.kind.as_str();
    let (skills, zone) = (new.skills.texts(), new.zone.as_deref());
    let reference = new.reference.map(Line::into_inner);
    let reference = reference.unwrap_or_else(|| made_name("A", id));
    let working_hours = Week::as_column(new.working_hours.as_ref())?;
    let parameters: [&(dyn ToSql + Sync); 15] = [
        &id,
        &now,
        &kind,
        &&*new.name,
        &skills,
        &zone,
        &&*new.notes,
        &email,
        &phone,
        &legal_name,
        &tax_id,
        &address,
        &bank,
        &reference,
        &working_hours,
    ];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let artist = tx.written(Artist::LOAD, id).await?;
    let view = ArtistView::opened(artist, &tx, &keys)?;
    Draft::created(view, &format!("/v1/artists/{id}"))?
        .etag(1)
        .commit(tx, entry)
        .await
}

/// A change: what is absent stays, null clears what may be empty.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(dive)]
    name: Firm<Line<{ Limits::NAME_CHARS }>>,
    #[serde(default)]
    #[garde(dive)]
    kind: Firm<Kind>,
    #[serde(default)]
    #[garde(dive)]
    skills: Firm<Skills>,
    #[serde(default)]
    #[garde(dive)]
    zone: Field<Zone>,
    #[serde(default)]
    #[garde(dive)]
    working_hours: Field<Week>,
    #[serde(default)]
    #[garde(dive)]
    notes: Firm<Prose<{ Limits::NOTES_CHARS }>>,
    #[serde(default)]
    #[garde(dive)]
    email: Field<Line<320>>,
    #[serde(default)]
    #[garde(dive)]
    phone: Field<Line<64>>,
    #[serde(default)]
    #[garde(dive)]
    legal_name: Field<Line<200>>,
    #[serde(default)]
    #[garde(dive)]
    tax_id: Field<Line<64>>,
    #[serde(default)]
    #[garde(dive)]
    address: Field<Prose<1_000>>,
    #[serde(default)]
    #[garde(dive)]
    bank: Field<Line<200>>,
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer<ArtistView>, Fault> {
    let granted = tx.grant::<Edit, Artist>(id).await?;
    page::expect_version(version, granted.version())?;
    let before = granted.row();
    let kind = edited.kind.given().map(Kind::as_str);
    let kind = kind.unwrap_or(&before.kind).to_owned();
    let name = edited.name.given().map(Line::into_inner);
    let name = name.unwrap_or_else(|| before.name.clone());
    let skills = edited.skills.given().map(|skills| skills.texts());
    let skills = skills.unwrap_or_else(|| before.skills.clone());
    let notes = edited.notes.given().map(Prose::into_inner);
    let notes = notes.unwrap_or_else(|| before.notes.clone());
    let zone = edited.zone.map(Zone::into_inner).or(before.zone.clone());
    let working_hours = edited.working_hours.or(before.working_hours.clone());
    let working_hours = Week::as_column(working_hours.as_ref())?;
    let given = [
        edited.email.map(Line::into_inner),
        edited.phone.map(Line::into_inner),
        edited.legal_name.map(Line::into_inner),
        edited.tax_id.map(Line::into_inner),
        edited.address.map(Prose::into_inner),
        edited.bank.map(Line::into_inner),
    ];
    let keys = desk.vault.to_seal(&mut tx, Holder::Person(id)).await?;
    let sealed = merge(&keys, id, &before.personal, given)?;
    let [email, phone, legal_name, tax_id, address, bank] = sealed;
    let now = desk.clock.now();
    let parameters: [&(dyn ToSql + Sync); 13] = [
        &now,
        &kind,
        &name,
        &skills,
        &zone,
        &notes,
        &email,
        &phone,
        &legal_name,
        &tax_id,
        &address,
        &bank,
        &working_hours,
    ];
    let (spent, _row) = tx.change(granted, EDIT, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let artist = tx.written(Artist::LOAD, id).await?;
    let view = ArtistView::opened(artist, &tx, &keys)?;
    Draft::ok(view)?
        .etag(spent.version() + 1)
        .commit(tx, entry)
        .await
}

pub(super) async fn archive(
    tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<Nothing>, Fault> {
    page::archive::<Archive, Artist>(tx, &desk, id, version, ARCHIVE).await
}

pub(super) async fn erase(
    tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    Valid(asked): Valid<erasure::Asked>,
) -> Result<Answer<ErasureView>, Fault> {
    erasure::asked::<Erase, Artist>(tx, &desk, id, asked).await
}

/// The sealed values as parameters, by the order of [`PERSONAL`].
type Sealing = [Option<Vec<u8>>; 6];

fn seal(
    keys: &Keys,
    column: &'static str,
    row: Uuid,
    value: Option<&str>,
) -> Result<Option<Vec<u8>>, Fault> {
    let Some(value) = value else { return Ok(None) };
    let sealed = keys.seal(Place { column, row }, value)?;
    Ok(Some(sealed.as_stored().to_vec()))
}

fn merge(
    keys: &Keys,
    id: Uuid,
    before: &Personal,
    given: [Field<String>; 6],
) -> Result<Sealing, Fault> {
    let mut sealed = Sealing::default();
    let fields = PERSONAL.iter().zip(before).zip(given);
    for (((field, before), given), place) in fields.zip(&mut sealed) {
        *place = match given {
            Field::Absent => before.as_ref().map(|kept| kept.as_stored().to_vec()),
            Field::Null => None,
            Field::Value(value) => seal(keys, field.column, id, Some(&value))?,
        };
    }
    Ok(sealed)
}

/// Skills: words as `compositing` or `rigging-lead`.
#[derive(Debug, Default, Deserialize, Validate, JsonSchema)]
#[serde(transparent)]
#[garde(transparent)]
#[schemars(inline)]
pub(super) struct Skills(#[garde(length(max = 32), dive)] Vec<Slug<64>>);

impl Skills {
    pub(super) fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}
