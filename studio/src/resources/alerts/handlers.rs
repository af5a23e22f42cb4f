use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;
use watertight::{
    answer::Answer,
    argument::{CursorText, Firm, IfMatch, Line, Path, Prose, Query, Valid},
};
use watertight_tenancy::{Stored, TenantTx, ToSql};
use watertight_terms::{Fault, Limits};

use super::{
    Alert, Grade, HANDLE, State, View,
    actions::{self, Handle},
};
use crate::{
    app::Desk,
    resources::page::{self, List, Paging, Sort, expect_version},
};

/// Which ones, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<Alert>,
    #[garde(skip)]
    state: Option<State>,
    #[garde(skip)]
    severity: Option<Grade>,
    #[garde(dive)]
    kind: Option<Line<40>>,
}

impl Asked {
    /// What the list is narrowed to: the name of each field, and its value.
    pub(crate) fn filters(&self) -> [(&'static str, String); 3] {
        let state = self.state.map(State::as_str);
        let severity = self.severity.map(|grade| grade.severity().as_str());
        let kind = self.kind.as_deref();
        [("state", state), ("severity", severity), ("kind", kind)]
            .map(|(name, value)| (name, value.unwrap_or_default().to_owned()))
    }
}

pub(crate) async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<View>>, Fault> {
    let state = asked.state.map(State::as_str);
    let severity = asked.severity.map(|grade| grade.severity().as_str());
    let kind = asked.kind.map(Line::into_inner);
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 3] = [&state, &severity, &kind];
    page::list::<actions::View, Alert, _>(tx, &desk, paging, &filters, |row, _| View::from(row))
        .await
}

/// What somebody did about it: what is absent stays.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Handled {
    #[serde(default)]
    #[garde(dive)]
    state: Firm<State>,
    #[serde(default)]
    #[garde(dive)]
    note: Firm<Prose<{ Limits::NOTES_CHARS }>>,
}

pub(crate) async fn handle(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Valid(handled): Valid<Handled>,
) -> Result<Answer<View>, Fault> {
    let granted = tx.grant::<Handle, Alert>(id).await?;
    expect_version(version, granted.version())?;
    let before = granted.row();
    let state = handled.state.given().unwrap_or(before.state).as_str();
    let note = handled.note.given().map(Prose::into_inner);
    let note = note.unwrap_or_else(|| before.note.clone());
    let now = desk.clock.now();
    let (spent, _row) = tx.change(granted, HANDLE, &[&now, &state, &note]).await?;
    let view = View::from(tx.written::<Alert>(Alert::LOAD, id).await?);
    page::changed(tx, &spent, view).await
}
