use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Created, Draft},
    argument::{CursorText, Id, IfMatch, Instant, Line, Path, Query, Valid},
};
use watertight_tenancy::{Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Limits};

use super::{
    LegalHold, LegalHoldView, PLACE, RELEASE, Scope,
    actions::{Place, Release, View},
};
use crate::{
    app::Desk,
    resources::page::{self, List, Paging, Sort, expect_version, wrong_field},
};

/// Which legal holds, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<LegalHold>,
    /// Those that stand, or those that were released.
    #[garde(skip)]
    open: Option<bool>,
}

pub(super) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<LegalHoldView>>, Fault> {
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 1] = [&asked.open];
    page::list::<View, LegalHold, _>(tx, &desk, paging, &filters, |row, _| row.into()).await
}

/// A new legal hold.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    #[garde(skip)]
    scope: Scope,
    /// Of a person (an artist or a member) or a project.
    #[serde(rename = "ref")]
    #[garde(skip)]
    about: Option<Id>,
    /// Of a window.
    #[garde(skip)]
    starts_at: Option<Instant>,
    #[garde(skip)]
    ends_at: Option<Instant>,
    #[garde(dive)]
    reason: Line<1000>,
}

pub(super) async fn place(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<LegalHoldView>>, Fault> {
    let granted = tx.grant_new::<Place, LegalHold>()?;
    new.expect_whole()?;
    let id = desk.random.uuid();
    let (scope, about) = (new.scope.as_str(), new.about.map(|Id(id)| id));
    let starts_at = new.starts_at.map(Instant::timestamp);
    let ends_at = new.ends_at.map(Instant::timestamp);
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&id, &scope, &about, &starts_at, &ends_at, &&*new.reason];
    let spent = tx.create(granted, PLACE, &parameters).await?;
    let view = LegalHoldView::from(tx.written::<LegalHold>(LegalHold::LOAD, id).await?);
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    let draft = Draft::created(view, &format!("/v1/legal-holds/{id}"))?;
    draft.etag(1).commit(tx, entry).await
}

impl New {
    /// Refuses what is missing for its scope, and what belongs to another.
    fn expect_whole(&self) -> Result<(), Fault> {
        let is_of_one = matches!(self.scope, Scope::Person | Scope::Project);
        let is_window = self.scope == Scope::Window;
        let given = [
            ("/ref", self.about.is_some(), is_of_one),
            ("/starts_at", self.starts_at.is_some(), is_window),
            ("/ends_at", self.ends_at.is_some(), is_window),
        ];
        for (pointer, is_given, is_wanted) in given {
            match (is_given, is_wanted) {
                (false, true) => {
                    return Err(wrong_field(pointer, "required", "its scope asks for it"));
                }
                (true, false) => {
                    return Err(wrong_field(pointer, "unknown-field", "its scope has none"));
                }
                _ => {}
            }
        }
        if is_window && self.starts_at >= self.ends_at {
            return Err(wrong_field(
                "/ends_at",
                "window",
                "is not after `starts_at`",
            ));
        }
        Ok(())
    }
}

pub(super) async fn release(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<LegalHoldView>, Fault> {
    let granted = tx.grant::<Release, LegalHold>(id).await?;
    expect_version(version, granted.version())?;
    if granted.row().released_at.is_some() {
        return Err(Fault::new(
            watertight_terms::problems::CONFLICT,
            "it is released; what must stay again gets a new legal hold",
        ));
    }
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, RELEASE, &[&now]).await?;
    let view = LegalHoldView::from(tx.written::<LegalHold>(LegalHold::LOAD, id).await?);
    page::changed(tx, &spent, view).await
}
