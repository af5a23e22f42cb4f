//! Pages of lists, and versions: what every resource does alike.

use serde::Serialize;
use uuid::Uuid;
use watertight::cursor::Cursors;
use watertight_terms::{Fault, Kind, Limits, TenantId};

/// A page that was asked for: one row more is read than shown, to know whether another follows.
#[derive(Debug)]
pub struct Page {
    scope: String,
    rows: u32,
    /// The row after which the page begins.
    pub after: Option<Uuid>,
}

impl Page {
    /// A page of the list that `scope` names in full: a cursor of another list, order, filter or
    /// studio is refused.
    ///
    /// # Errors
    /// When the cursor is not one of ours for this list.
    pub fn new(
        scope: String,
        rows: Option<u32>,
        cursor: Option<&str>,
        cursors: &Cursors,
        tenant: TenantId,
    ) -> Result<Self, Fault> {
        let after = match cursor {
            None => None,
            Some(text) => {
                let position = cursors.read(tenant, &scope, text)?;
                let id = position.first().and_then(|id| id.parse().ok());
                Some(id.ok_or_else(|| Fault::bug("a cursor of ours without an id"))?)
            }
        };
        let rows = rows.unwrap_or(Limits::PAGE_ROWS_DEFAULT);
        Ok(Self { scope, rows, after })
    }

    /// Cuts what was read to the page, and gives the ids of what is shown.
    ///
    /// # Errors
    /// When the next cursor cannot be made: a defect of ours.
    pub fn cut<T>(
        &self,
        mut items: Vec<T>,
        id: impl Fn(&T) -> Uuid,
        cursors: &Cursors,
        tenant: TenantId,
    ) -> Result<(List<T>, Vec<Uuid>), Fault> {
        let more = items.len() > self.rows as usize;
        items.truncate(self.rows as usize);
        let ids: Vec<Uuid> = items.iter().map(id).collect();
        let next_cursor = match ids.last() {
            Some(last) if more => Some(cursors.make(tenant, &self.scope, &[&last.to_string()])?),
            _ => None,
        };
        Ok((List { items, next_cursor }, ids))
    }
}

/// How many rows are read for a page.
pub fn limit(page: &Page) -> i64 {
    i64::from(page.rows) + 1
}

/// A page as answered.
#[derive(Debug, Serialize)]
pub struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

/// Refuses a change of another version than the one that the caller looked at.
///
/// # Errors
/// Stale, when `If-Match` names another version.
pub fn expect_version(named: Option<i32>, current: i32) -> Result<(), Fault> {
    match named {
        Some(version) if version != current => Err(Fault::new(
            Kind::Stale,
            "stale",
            "it was changed meanwhile; load it again",
        )),
        _ => Ok(()),
    }
}
