use garde::Validate;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::Answer,
    argument::{Field, IfMatch, Path, Query, Valid, line, prose},
};
use watertight_tenancy::{Read, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits};
use watertight_vault::Place;

use super::{
    ARCHIVE, Artist, CHOICES, CREATE, EDIT, LIST_BY_CREATION, LIST_BY_CREATION_DOWN, LIST_BY_NAME,
    LIST_BY_NAME_DOWN, PERSONAL, Personal,
    actions::{Archive, Create, Edit, View},
    view::ArtistView,
};
use crate::{
    app::Desk,
    resources::page::{Page, limit},
};

/// Which artists, in which order.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(length(bytes, max = Limits::CURSOR_BYTES))]
    cursor: Option<String>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort,
    #[garde(inner(custom(line(100))))]
    q: Option<String>,
    #[garde(skip)]
    kind: Option<Kind>,
    #[serde(default)]
    #[garde(skip)]
    archived: bool,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
enum Sort {
    #[default]
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDown,
    #[serde(rename = "created_at")]
    Creation,
    #[serde(rename = "-created_at")]
    CreationDown,
}

impl Sort {
    fn statement(self) -> Read {
        match self {
            Self::Name => LIST_BY_NAME,
            Self::NameDown => LIST_BY_NAME_DOWN,
            Self::Creation => LIST_BY_CREATION,
            Self::CreationDown => LIST_BY_CREATION_DOWN,
        }
    }

    fn value(self, view: &ArtistView) -> String {
        match self {
            Self::Name | Self::NameDown => view.name().to_owned(),
            Self::Creation | Self::CreationDown => view.created_at().to_string(),
        }
    }
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Staff,
    #[default]
    Freelancer,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Staff => "staff",
            Self::Freelancer => "freelancer",
        }
    }
}

pub(super) async fn list(
    mut tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer, Fault> {
    let page = Page::new(
        format!(
            "artists {:?} {:?} {:?} {}",
            asked.sort,
            asked.q,
            asked.kind.map(Kind::as_str),
            asked.archived
        ),
        asked.limit,
        asked.cursor.as_deref(),
        &desk.cursors,
        tx.tenant(),
    )?;
    let kind = asked.kind.map(Kind::as_str);
    let parameters: [&(dyn ToSql + Sync); 6] = [
        &asked.q,
        &kind,
        &asked.archived,
        &page.after_value(),
        &page.after_id(),
        &limit(&page),
    ];
    let artists = tx
        .page::<View, Artist>(asked.sort.statement(), &parameters)
        .await?;
    let zone = tx.studio().1.to_owned();
    let listed = artists
        .into_iter()
        .map(|artist| ArtistView::listed(artist, &zone));
    let (list, ids) = page.cut(
        listed.collect(),
        |view: &ArtistView| (asked.sort.value(view), view.id()),
        &desk.cursors,
        tx.tenant(),
    )?;
    let receipt = tx
        .finish(Entry::new("artist.view", "artist").ids(ids))
        .await?;
    Answer::ok(list, receipt)
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
) -> Result<Answer, Fault> {
    let granted = tx.grant::<View, Artist>(id).await?;
    let artist = tx.seen(granted)?;
    let version = artist.version;
    let (view, opened) = ArtistView::opened(artist, &tx, &desk.vault)?;
    let entry = Entry::new("artist.view", "artist").ids([id]).opened(opened);
    let receipt = tx.finish(entry).await?;
    Ok(Answer::ok(view, receipt)?.etag(version))
}

/// A new artist.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(custom(line(Limits::NAME_CHARS)))]
    name: String,
    #[serde(default)]
    #[garde(skip)]
    kind: Kind,
    #[serde(default)]
    #[garde(length(max = 32), inner(custom(slug)))]
    skills: Vec<String>,
    #[garde(inner(custom(time_zone)))]
    zone: Option<String>,
    #[serde(default)]
    #[garde(custom(prose(Limits::NOTES_CHARS)))]
    notes: String,
    #[garde(inner(custom(line(320))))]
    email: Option<String>,
    #[garde(inner(custom(line(64))))]
    phone: Option<String>,
    #[garde(inner(custom(line(200))))]
    legal_name: Option<String>,
    #[garde(inner(custom(line(64))))]
    tax_id: Option<String>,
    #[garde(inner(custom(prose(1_000))))]
    address: Option<String>,
    #[garde(inner(custom(line(200))))]
    bank: Option<String>,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer, Fault> {
    let granted = tx.grant_new::<Create, Artist>()?;
    let id = desk.random.uuid();
    let now = desk.clock.now();
    let given = [
        &new.email,
        &new.phone,
        &new.legal_name,
        &new.tax_id,
        &new.address,
        &new.bank,
    ];
    let mut sealed = Sealing::default();
    for ((field, value), place) in PERSONAL.iter().zip(given).zip(&mut sealed) {
        *place = seal(&desk, &tx, field.column, id, value.as_deref())?;
    }
    let [email, phone, legal_name, tax_id, address, bank] = sealed;
    let kind = new.kind.as_str();
    let parameters: [&(dyn ToSql + Sync); 13] = [
        &id,
        &now,
        &kind,
        &new.name,
        &new.skills,
        &new.zone,
        &new.notes,
        &email,
        &phone,
        &legal_name,
        &tax_id,
        &address,
        &bank,
    ];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let (view, opened) = reload(&mut tx, &desk, id).await?;
    let receipt = tx
        .commit(
            entry
                .opened(opened)
                .ended(watertight_terms::Outcome::Allowed, 201),
        )
        .await?;
    Ok(Answer::created(view, &format!("/v1/artists/{id}"), receipt)?.etag(1))
}

/// A change: what is absent stays, null clears what may be empty.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(inner(custom(line(Limits::NAME_CHARS))))]
    name: Field<String>,
    #[serde(default)]
    #[garde(skip)]
    kind: Field<Kind>,
    #[serde(default)]
    #[garde(inner(custom(slugs)))]
    skills: Field<Vec<String>>,
    #[serde(default)]
    #[garde(inner(custom(time_zone)))]
    zone: Field<String>,
    #[serde(default)]
    #[garde(inner(custom(prose(Limits::NOTES_CHARS))))]
    notes: Field<String>,
    #[serde(default)]
    #[garde(inner(custom(line(320))))]
    email: Field<String>,
    #[serde(default)]
    #[garde(inner(custom(line(64))))]
    phone: Field<String>,
    #[serde(default)]
    #[garde(inner(custom(line(200))))]
    legal_name: Field<String>,
    #[serde(default)]
    #[garde(inner(custom(line(64))))]
    tax_id: Field<String>,
    #[serde(default)]
    #[garde(inner(custom(prose(1_000))))]
    address: Field<String>,
    #[serde(default)]
    #[garde(inner(custom(line(200))))]
    bank: Field<String>,
}

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer, Fault> {
    let granted = tx.grant::<Edit, Artist>(id).await?;
    crate::resources::page::expect_version(version, granted.version())?;
    let before = granted.row();
    let kind = edited
        .kind
        .given("kind")?
        .map_or(before.kind.clone(), |kind| kind.as_str().to_owned());
    let name = edited
        .name
        .given("name")?
        .unwrap_or_else(|| before.name.clone());
    let skills = edited
        .skills
        .given("skills")?
        .unwrap_or_else(|| before.skills.clone());
    let notes = edited
        .notes
        .given("notes")?
        .unwrap_or_else(|| before.notes.clone());
    let zone = edited.zone.or(before.zone.clone());
    let given = [
        edited.email,
        edited.phone,
        edited.legal_name,
        edited.tax_id,
        edited.address,
        edited.bank,
    ];
    let sealed = merge(&desk, &tx, id, &before.personal, given)?;
    let [email, phone, legal_name, tax_id, address, bank] = sealed;
    let now = desk.clock.now();
    let parameters: [&(dyn ToSql + Sync); 12] = [
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
    ];
    let (spent, _row) = tx.change(granted, EDIT, &parameters).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let (view, opened) = reload(&mut tx, &desk, id).await?;
    let receipt = tx.commit(entry.opened(opened)).await?;
    Ok(Answer::ok(view, receipt)?.etag(spent.version() + 1))
}

pub(super) async fn archive(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer, Fault> {
    let granted = tx.grant::<Archive, Artist>(id).await?;
    crate::resources::page::expect_version(version, granted.version())?;
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, ARCHIVE, &[&now]).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let receipt = tx
        .commit(entry.ended(watertight_terms::Outcome::Allowed, 204))
        .await?;
    Ok(Answer::no_content(receipt))
}

/// The sealed values as parameters, by the order of [`PERSONAL`].
type Sealing = [Option<Vec<u8>>; 6];

fn seal(
    desk: &Desk,
    tx: &TenantTx,
    column: &'static str,
    row: Uuid,
    value: Option<&str>,
) -> Result<Option<Vec<u8>>, Fault> {
    let place = Place {
        tenant: tx.tenant(),
        column,
        row,
    };
    let Some(value) = value else { return Ok(None) };
    Ok(Some(desk.vault.seal(place, value)?.as_stored().to_vec()))
}

fn merge(
    desk: &Desk,
    tx: &TenantTx,
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
            Field::Value(value) => seal(desk, tx, field.column, id, Some(&value))?,
        };
    }
    Ok(sealed)
}

async fn reload(
    tx: &mut TenantTx,
    desk: &Desk,
    id: Uuid,
) -> Result<(ArtistView, Vec<&'static str>), Fault> {
    let rows = tx.read(Artist::LOAD, &[&id]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Fault::bug("a written artist is not there"))?;
    ArtistView::opened(Artist::from_row(row)?, tx, &desk.vault)
}

/// A skill: lower-case words joined by `-`, as `compositing` or `rigging-lead`.
fn slug(text: &str, _: &()) -> garde::Result {
    let shape = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(shape) {
        return Ok(());
    }
    Err(garde::Error::new(
        "a skill has 1 to 64 characters of `a-z 0-9 -`",
    ))
}

fn slugs(skills: &[String], context: &()) -> garde::Result {
    if skills.len() > 32 {
        return Err(garde::Error::new("has more than 32 skills"));
    }
    skills.iter().try_for_each(|skill| slug(skill, context))
}

fn time_zone(name: &str, _: &()) -> garde::Result {
    if name.len() <= 64 && jiff::tz::TimeZone::get(name).is_ok() {
        return Ok(());
    }
    Err(garde::Error::new("is no IANA time zone"))
}
