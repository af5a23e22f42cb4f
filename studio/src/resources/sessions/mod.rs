//! Sessions of the pages: a Clerk token is exchanged for a cookie of ours, and ended by whoever has it.
//!
//! ```text
//! POST   /ui/session             token in, cookie out; made by a page of ours only
//! POST   /ui/logout              ends the session that asks
//! POST   /ui/sessions/{id}/end   ends another of the own
//! GET    /v1/me/sessions         the own, live ones
//! DELETE /v1/me/sessions/{id}    ends one
//! ```
//!
//! A session is bound to member, studio and Clerk session, and is new at each sign-in. It ends by
//! logout, by not being used for half an hour, after twelve hours, with the Clerk session, with the
//! membership, with any change of role; `tenancy.enter` looks at all of it in the data's transaction.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft, Html, Nothing},
    argument::{Form, PageCaller, Path},
    door::{Routes, delete, get, post},
};
use watertight_identity::page::PageSecret;
use watertight_tenancy::{PageLife, PageSession, TenantTx};
use watertight_terms::{Entry, Fault, TenantId};

use super::{Registered, page::List};
use crate::app::Desk;

/// How long a session of the pages counts.
const LIFE: PageLife = PageLife {
    idle_s: 30 * 60,
    whole_s: 12 * 3_600,
};

/// Sessions of the pages, for policies and the ledger. Their rows are the gate's: nobody is granted one.
#[derive(Debug)]
pub struct Session(TenantId);

super::of_studio!(Session, "session");

/// What may be done with a session.
pub mod actions {
    crate::resources::actions! { super::Session:
        Open "session.open", View "session.view", End "session.end"
    }
}

/// Sessions, for the register.
pub const RESOURCE: Registered = Registered {
    schema: include_str!("schema.cedarschema"),
    policy: include_str!("policy.cedar"),
    migrations: &[],
    tables: &[],
    rows: &[],
    constraints: &[],
    routes,
};

fn routes(routes: Routes) -> Routes {
    use actions::{End, Open, View};
    routes
        .route("/ui/session", post(open).sign_in().needs::<Open, Session>())
        .route("/ui/logout", post(log_out).page().needs::<End, Session>())
        .route(
            "/ui/sessions/{id}/end",
            post(end_from_page).page().needs::<End, Session>(),
        )
        .route(
            "/v1/me/sessions",
            get(list)
                .says("your own sessions of the pages")
                .needs::<View, Session>(),
        )
        .route(
            "/v1/me/sessions/{id}",
            delete(end)
                .says("ends one of your sessions")
                .needs::<End, Session>(),
        )
}

async fn open(mut tx: TenantTx, desk: Desk) -> Result<Answer<Nothing>, Fault> {
    let granted = tx.grant_new::<actions::Open, Session>()?;
    let (id, secret) = (desk.random.uuid(), PageSecret::new(&desk.random));
    let client = tx.account().request().client.clone().unwrap_or_default();
    tx.open_page_session(granted, id, &secret, &client, LIFE)
        .await?;
    let entry = Entry::new("session.open", "session").ids([id]);
    Draft::no_content()
        .set_cookie(&secret.cookie())?
        .commit(tx, entry)
        .await
}

/// Nothing to say with a form but its token.
#[derive(Debug, serde::Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
struct Empty {}

async fn log_out(
    mut tx: TenantTx,
    PageCaller(secret): PageCaller,
    _form: Form<Empty>,
) -> Result<Answer<Html>, Fault> {
    let granted = tx.grant_new::<actions::End, Session>()?;
    tx.end_this_page_session(granted, &secret).await?;
    let entry = Entry::new("session.end", "session");
    Draft::see_other("/ui/sign-in")?
        .set_cookie(&PageSecret::no_cookie())?
        .commit(tx, entry)
        .await
}

async fn end_from_page(
    tx: TenantTx,
    Path(id): Path<Uuid>,
    _form: Form<Empty>,
) -> Result<Answer<Html>, Fault> {
    end_one(tx, id, Draft::see_other("/ui/sessions")?).await
}

async fn end(tx: TenantTx, Path(id): Path<Uuid>) -> Result<Answer<Nothing>, Fault> {
    end_one(tx, id, Draft::no_content()).await
}

async fn end_one<T>(mut tx: TenantTx, id: Uuid, draft: Draft<T>) -> Result<Answer<T>, Fault> {
    let granted = tx.grant_new::<actions::End, Session>()?;
    tx.end_page_session(granted, id).await?;
    draft
        .commit(tx, Entry::new("session.end", "session").ids([id]))
        .await
}

/// A session of the pages, as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(crate) struct SessionView {
    id: Uuid,
    opened_at: Timestamp,
    seen_at: Timestamp,
    expires_at: Timestamp,
    client: String,
    here: bool,
}

impl From<PageSession> for SessionView {
    fn from(session: PageSession) -> Self {
        Self {
            id: session.id,
            opened_at: session.opened_at,
            seen_at: session.seen_at,
            expires_at: session.expires_at,
            client: session.client,
            here: session.here,
        }
    }
}

async fn list(tx: TenantTx) -> Result<Answer<List<SessionView>>, Fault> {
    listed(tx, None).await
}

/// The own sessions, at most twenty: one page is all of them. `here` is the one that asks, on a page.
pub(crate) async fn listed(
    mut tx: TenantTx,
    here: Option<&PageSecret>,
) -> Result<Answer<List<SessionView>>, Fault> {
    let _granted = tx.grant_new::<actions::View, Session>()?;
    let sessions = tx.page_sessions(here).await?;
    let ids: Vec<Uuid> = sessions.iter().map(|session| session.id).collect();
    let items = sessions.into_iter().map(SessionView::from).collect();
    Draft::ok(List::whole(items))?
        .finish(tx, Entry::new("session.view", "session").ids(ids))
        .await
}
