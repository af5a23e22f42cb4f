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
    /// The value of the sorted column and the id after which the page begins. The value itself, not
    /// the row's present one: that may have changed since.
    after: Option<(String, Uuid)>,
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
                let [value, id] = position.as_slice() else {
                    return Err(Fault::bug("a cursor of ours without value and id"));
                };
                let id = id
                    .parse()
                    .map_err(|_| Fault::bug("a cursor of ours without an id"))?;
                Some((value.clone(), id))
            }
        };
        let rows = rows.unwrap_or(Limits::PAGE_ROWS_DEFAULT);
        Ok(Self { scope, rows, after })
    }

    /// The value after which the page begins, as a parameter.
    pub fn after_value(&self) -> Option<&str> {
        self.after.as_ref().map(|(value, _)| value.as_str())
    }

    /// The id after which the page begins, as a parameter.
    pub fn after_id(&self) -> Option<Uuid> {
        self.after.as_ref().map(|(_, id)| *id)
    }

    /// Cuts what was read to the page, and gives the ids of what is shown. `position` is a row's
    /// value in the sorted column and its id.
    ///
    /// # Errors
    /// When the next cursor cannot be made: a defect of ours.
    pub fn cut<T>(
        &self,
        mut items: Vec<T>,
        position: impl Fn(&T) -> (String, Uuid),
        cursors: &Cursors,
        tenant: TenantId,
    ) -> Result<(List<T>, Vec<Uuid>), Fault> {
        let more = items.len() > self.rows as usize;
        items.truncate(self.rows as usize);
        let positions: Vec<(String, Uuid)> = items.iter().map(position).collect();
        let next_cursor = match positions.last() {
            Some((value, id)) if more => {
                Some(cursors.make(tenant, &self.scope, &[value, &id.to_string()])?)
            }
            _ => None,
        };
        let ids = positions.into_iter().map(|(_, id)| id).collect();
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
