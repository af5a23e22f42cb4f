use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;
use watertight_vault::{Place, Vault};

use super::{
    Artist, PERSONAL, Seen,
    actions::{ViewContact, ViewPrivate},
};

/// An artist as answered. Personal fields are members of `personal` and absent where the caller may
/// not see them; lists have none.
#[derive(Serialize)]
pub(super) struct ArtistView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    kind: String,
    name: String,
    skills: Vec<String>,
    zone: String,
    notes: String,
    archived_at: Option<Timestamp>,
    #[serde(flatten)]
    personal: Map<String, Value>,
}

impl ArtistView {
    /// As lists carry it. `zone` is the studio's, for artists without their own.
    pub(super) fn listed(artist: Artist, zone: &str) -> Self {
        Self::with(artist, zone, Map::new())
    }

    /// As its own page carries it, with the personal fields that the caller may see; gives their
    /// names too, for the ledger.
    pub(super) fn opened(
        artist: Artist,
        tx: &TenantTx,
        vault: &Vault,
    ) -> Result<(Self, Vec<&'static str>), Fault> {
        let by_contact = tx.allows::<ViewContact, Artist>(&artist);
        let privately = tx.allows::<ViewPrivate, Artist>(&artist);
        let mut personal = Map::new();
        let mut opened = Vec::new();
        for (field, sealed) in PERSONAL.iter().zip(&artist.personal) {
            let may = match field.seen {
                Seen::ByContact => by_contact,
                Seen::Privately => privately,
            };
            if !may {
                continue;
            }
            let place = Place {
                tenant: artist.tenant,
                column: field.column,
                row: artist.id,
            };
            let value = match sealed {
                Some(sealed) => {
                    opened.push(field.name);
                    json!(vault.open(place, sealed)?.expose())
                }
                None => Value::Null,
            };
            personal.insert(field.name.to_owned(), value);
        }
        Ok((Self::with(artist, tx.studio().1, personal), opened))
    }

    fn with(artist: Artist, zone: &str, personal: Map<String, Value>) -> Self {
        Self {
            id: artist.id,
            version: artist.version,
            created_at: artist.created_at,
            updated_at: artist.updated_at,
            kind: artist.kind,
            name: artist.name,
            skills: artist.skills,
            zone: artist.zone.unwrap_or_else(|| zone.to_owned()),
            notes: artist.notes,
            archived_at: artist.archived_at,
            personal,
        }
    }

    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn created_at(&self) -> Timestamp {
        self.created_at
    }
}
