//! The studio as its members meet it: `/v1/me`.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    door::{Guest, Routes, get, open},
};
use watertight_authority::{Action, Fact, Principal, Resource};
use watertight_tenancy::TenantTx;
use watertight_terms::{Entry, Fault, TenantId};

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
