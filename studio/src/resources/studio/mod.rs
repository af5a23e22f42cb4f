//! The studio as its members meet it: `/v1/me`, and what an owner decides in it: `PATCH /v1/studio`.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::Valid,
    door::{Guest, Routes, get, open, patch},
};
use watertight_authority::{Action, Fact, Principal, Resource};
use watertight_identity::{Impersonation, Reverification};
use watertight_tenancy::TenantTx;
use watertight_terms::{Entry, Fault, TenantId};

use crate::app::Desk;

/// The studio itself, as policies and the ledger name it.
#[derive(Debug)]
pub struct Studio(TenantId);

impl Resource for Studio {
    const NOUN: &'static str = "studio";
    const ENTITY: &'static str = "Studio";

    fn id(&self) -> Uuid {
        self.0.0
    }

    fn tenant(&self) -> TenantId {
        self.0
    }

    fn version(&self) -> i32 {
        1
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        Vec::new()
    }
}

/// What may be done with the studio.
#[derive(Debug)]
pub struct View;

impl Action<Studio> for View {
    const NAME: &'static str = "studio.view";
}

/// Deciding what holds in the studio.
#[derive(Debug)]
pub struct Change;

impl Action<Studio> for Change {
    const NAME: &'static str = "studio.change";
}

/// The studio, for the register.
pub const RESOURCE: super::Registered = super::Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[super::migration!("0002_operators")],
    tables: &[],
    rows: &[],
    constraints: &[],
    routes,
};

fn routes(routes: Routes) -> Routes {
    routes
        .route(
            "/v1/me",
            get(me)
                .says("who you are here, and what you may do")
                .guests_too(guest)
                .needs::<View, Studio>(),
        )
        .route(
            "/v1/studio",
            patch(change)
                .says("decides what holds in the studio; asks for a fresh proof of who you are")
                .sample(r#"{"impersonation": "refused"}"#)
                .needs::<Change, Studio>(),
        )
        .route(
            "/health",
            open(http::Method::GET, || async {
                axum::response::IntoResponse::into_response("ok\n")
            })
            .public("load balancers ask whether the process lives; it says nothing else"),
        )
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Me")]
struct MeView {
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

async fn me(tx: TenantTx) -> Result<Answer<MeView>, Fault> {
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

/// What an owner decides.
#[derive(Debug, Deserialize, Serialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Decided {
    /// Whether somebody at Clerk may act as a member of the studio.
    #[garde(skip)]
    impersonation: Acting,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Acting {
    Refused,
    ReadOnly,
}

async fn change(
    mut tx: TenantTx,
    desk: Desk,
    Valid(decided): Valid<Decided>,
) -> Result<Answer<Decided>, Fault> {
    let granted = tx.grant_new::<Change, Studio>()?;
    // It opens the studio's rows to somebody who is not in it.
    tx.verified_within(Reverification::Strict, &desk.clock)?;
    let choice = match decided.impersonation {
        Acting::Refused => Impersonation::Refused,
        Acting::ReadOnly => Impersonation::ReadOnly,
    };
    tx.choose_impersonation(granted, choice).await?;
    let entry = Entry::new("studio.change", "studio").ids([tx.tenant().0]);
    Draft::ok(decided)?.commit(tx, entry).await
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Guest")]
struct GuestView {
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
fn guest(
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
