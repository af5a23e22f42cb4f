use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft, Nothing},
    argument::{CursorText, Firm, IfMatch, Line, Path, Query, Valid},
};
use watertight_tenancy::{Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits, problems};
use watertight_vault::{Holder, Place};

use super::{
    ARCHIVE, COUNT, CREATE, EDIT, Kind, SECRET, Webhook, WebhookView,
    actions::{Archive, Create, Edit, View},
    hook::Secret,
};
use crate::{
    app::Desk,
    resources::page::{self, List, Paging, Sort, expect_unarchived, expect_version, wrong_field},
};

/// A studio has at most so many.
const WEBHOOKS_MOST: i64 = 10;

/// Which webhooks, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<Webhook>,
}

pub(super) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<WebhookView>>, Fault> {
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    page::list::<View, Webhook, _>(tx, &desk, paging, &[], |row, _| row.into()).await
}

/// A new webhook.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(dive)]
    url: Line<2000>,
    #[serde(default)]
    #[garde(skip)]
    kind: Kind,
}

/// A new webhook as answered, with its secret: this once.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewWebhook")]
pub(super) struct NewWebhookView {
    #[serde(flatten)]
    webhook: WebhookView,
    secret: String,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<NewWebhookView>>, Fault> {
    let granted = tx.grant_new::<Create, Webhook>()?;
    expect_reachable(&desk, &new.url)?;
    expect_few(&mut tx).await?;
    let (id, now) = (desk.random.uuid(), desk.clock.now());
    let secret = Secret::new(&desk.random);
    let text = secret.to_text();
    let keys = desk.vault.to_seal(&mut tx, Holder::Studio).await?;
    let place = Place {
        column: SECRET,
        row: id,
    };
    let sealed = keys.seal(place, &text)?;
    let kind = new.kind.as_str();
    let parameters: [&(dyn ToSql + Sync); 5] = [&id, &now, &&*new.url, &sealed.as_stored(), &kind];
    let spent = tx.create(granted, CREATE, &parameters).await?;
    let webhook = tx.written::<Webhook>(Webhook::LOAD, id).await?;
    let view = NewWebhookView {
        webhook: webhook.into(),
        secret: text,
    };
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let draft = Draft::created(view, &format!("/v1/webhooks/{id}"))?;
    draft.etag(1).commit(tx, entry).await
}

/// A change: what is absent stays.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    #[serde(default)]
    #[garde(dive)]
    url: Firm<Line<2000>>,
    #[serde(default)]
    #[garde(dive)]
    is_paused: Firm<Paused>,
}

/// Whether nothing new is told there.
#[derive(Debug, Clone, Copy, Deserialize, Validate, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
struct Paused(#[garde(skip)] bool);

pub(super) async fn edit(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(edited): Valid<Edited>,
) -> Result<Answer<WebhookView>, Fault> {
    let granted = tx.grant::<Edit, Webhook>(id).await?;
    expect_version(version, granted.version())?;
    expect_unarchived("the webhook", granted.row().archived_at)?;
    let url = edited.url.given().map(Line::into_inner);
    if let Some(url) = &url {
        expect_reachable(&desk, url)?;
    }
    let url = url.unwrap_or_else(|| granted.row().url.clone());
    let is_paused = edited.is_paused.given().map(|Paused(paused)| paused);
    let is_paused = is_paused.unwrap_or(granted.row().is_paused);
    let now = desk.clock.now();
    let parameters: [&(dyn ToSql + Sync); 3] = [&now, &url, &is_paused];
    let (spent, _row) = tx.change(granted, EDIT, &parameters).await?;
    let view = WebhookView::from(tx.written::<Webhook>(Webhook::LOAD, id).await?);
    page::changed(tx, &spent, view).await
}

pub(super) async fn archive(
    tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<Nothing>, Fault> {
    page::archive::<Archive, Webhook>(tx, &desk, id, version, ARCHIVE).await
}

async fn expect_few(tx: &mut TenantTx) -> Result<(), Fault> {
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = tx.read(COUNT, &none).await?;
    let webhooks: i64 = match rows.first() {
        Some(row) => row.field("webhooks")?,
        None => 0,
    };
    if webhooks < WEBHOOKS_MOST {
        return Ok(());
    }
    let spoken = format!("a studio has at most {WEBHOOKS_MOST} webhooks; archive one first");
    Err(Fault::new(problems::CONFLICT, spoken))
}

/// Refuses an address that would never be reached. What a name points to is looked at each time.
fn expect_reachable(desk: &Desk, url: &str) -> Result<(), Fault> {
    desk.outbound.permits(url).map_err(|_| {
        let detail = "is no `https://` url of a public host";
        wrong_field("/url", "unreachable", detail)
    })
}
