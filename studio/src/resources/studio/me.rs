//! Who is calling: `/v1/me`.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    door::Guest,
};
use watertight_authority::Principal;
use watertight_tenancy::TenantTx;
use watertight_terms::{Entry, Fault};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Me")]
pub(super) struct MeView {
    subject: String,
    member_id: Option<Uuid>,
    role: String,
    artist_id: Option<Uuid>,
    studio: StudioView,
    can: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StudioOfMe")]
struct StudioView {
    id: Uuid,
    name: String,
    zone: String,
}

pub(super) async fn me(tx: TenantTx) -> Result<Answer<MeView>, Fault> {
    let (member_id, artist_id) = match &tx.standing().principal {
        Principal::Member { id, artist, .. } => (Some(*id), *artist),
        Principal::Service { .. } => (None, None),
    };
    let (name, zone) = tx.studio();
    let view = MeView {
        subject: tx.account().actor().to_owned(),
        member_id,
        role: tx.account().role().to_owned(),
        artist_id,
        studio: StudioView {
            id: tx.tenant().0,
            name: name.to_owned(),
            zone: zone.to_owned(),
        },
        can: tx.can(),
    };
    Draft::ok(view)?
        .finish(tx, Entry::new("studio.view", "studio"))
        .await
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Guest")]
pub(super) struct GuestView {
    subject: String,
    role: &'static str,
    studio: GuestStudioView,
    #[schemars(length(max = 0))]
    can: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StudioOfGuest")]
struct GuestStudioView {
    name: String,
}

/// A guest learns the studio's name and nothing else.
pub(super) fn guest(
    guest: Guest,
) -> std::pin::Pin<Box<dyn Future<Output = Result<Answer<GuestView>, Fault>> + Send>> {
    Box::pin(async move {
        let view = GuestView {
            subject: guest.subject().to_owned(),
            role: "guest",
            studio: GuestStudioView {
                name: guest.studio().to_owned(),
            },
            can: Vec::new(),
        };
        Draft::ok(view)?
            .finish_for(guest, Entry::new("studio.view", "studio"))
            .await
    })
}
