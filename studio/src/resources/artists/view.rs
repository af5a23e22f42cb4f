use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight_authority::{Allowed, Opens};
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;
use watertight_vault::Keys;

use super::{
    Artist, PERSONAL,
    actions::{ViewContact, ViewPrivate},
    handlers::Kind,
};
use crate::resources::studio::settings::Week;

/// An artist as answered. A personal field is absent where the caller may not see it; lists have none.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Artist")]
pub(super) struct ArtistView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    reference: String,
    kind: Kind,
    name: String,
    skills: Vec<String>,
    zone: String,
    notes: String,
    /// None: the studio's.
    working_hours: Option<Week>,
    archived_at: Option<Timestamp>,
    #[serde(flatten)]
    personal: PersonalView,
}

/// A personal field as answered: absent, or empty, or a text.
type Shown = Option<Option<String>>;

/// By the order of [`PERSONAL`].
#[derive(Default, Serialize, JsonSchema)]
struct PersonalView {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    legal_name: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    tax_id: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    bank: Shown,
}

impl From<[Shown; 6]> for PersonalView {
    fn from([email, phone, legal_name, tax_id, address, bank]: [Shown; 6]) -> Self {
        Self {
            email,
            phone,
            legal_name,
            tax_id,
            address,
            bank,
        }
    }
}

impl ArtistView {
    /// As lists carry it. `zone` is the studio's, for artists without their own.
    pub(super) fn listed(artist: Artist, zone: &str) -> Self {
        Self::with(artist, zone, PersonalView::default())
    }

    /// As its own page carries it, with the personal fields that the caller may see.
    pub(super) fn opened(artist: Artist, tx: &TenantTx, keys: &Keys) -> Result<Self, Fault> {
        let mut personal: [Shown; 6] = Default::default();
        if let Some(allowed) = tx.allowed::<ViewContact, Artist>(&artist) {
            open(&mut personal, &artist, tx, keys, &allowed)?;
        }
        if let Some(allowed) = tx.allowed::<ViewPrivate, Artist>(&artist) {
            open(&mut personal, &artist, tx, keys, &allowed)?;
        }
        Ok(Self::with(artist, tx.studio().1, personal.into()))
    }

    fn with(artist: Artist, zone: &str, personal: PersonalView) -> Self {
        Self {
            id: artist.id,
            version: artist.version,
            created_at: artist.created_at,
            updated_at: artist.updated_at,
            reference: artist.reference,
            kind: Kind::parse(&artist.kind),
            name: artist.name,
            skills: artist.skills,
            zone: artist.zone.unwrap_or_else(|| zone.to_owned()),
            notes: artist.notes,
            working_hours: artist.working_hours,
            archived_at: artist.archived_at,
            personal,
        }
    }
}

/// Opens the fields that an action opens.
fn open<A: Opens<Artist>>(
    personal: &mut [Shown; 6],
    artist: &Artist,
    tx: &TenantTx,
    keys: &Keys,
    allowed: &Allowed<A, Artist>,
) -> Result<(), Fault> {
    for (shown, (field, sealed)) in personal
        .iter_mut()
        .zip(PERSONAL.iter().zip(&artist.personal))
    {
        if !A::COLUMNS.contains(&field.column) {
            continue;
        }
        *shown = Some(match sealed {
            Some(sealed) => {
                let opened = keys.open(tx, allowed, field.column, sealed)?;
                Some(opened.expose().to_owned())
            }
            None => None,
        });
    }
    Ok(())
}
