//! Lists, versions and names: what every resource does alike.
//!
//! ```text
//! GET /v1/artists?sort=-name&limit=20    {"items": […], "next_cursor": "…"}
//! GET /v1/artists?…&cursor=…             the same question, from there on
//! ```

use std::{borrow::Cow, fmt, marker::PhantomData};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft, Nothing},
    argument::{CursorText, spoken},
};
use watertight_authority::{Action, Spent};
use watertight_tenancy::{Change, Read, Stored, TenantTx, ToSql};
use watertight_terms::{Entry, Fault, FieldFault, Limits, problems};

use crate::app::Desk;

/// Rows of which there is a list.
pub trait Listed: Stored {
    /// How it can be ordered, the usual way first.
    const ORDERS: &'static [Order<Self>];
}

/// One order of a list. The statements' `$2` is the artist whose rows alone the caller may see, then
/// come the list's own filters, then value and id after which the page begins, and its length.
pub struct Order<R: 'static> {
    /// The sorted column, as callers name it.
    pub name: &'static str,
    /// From the smallest value on.
    pub up: Read,
    /// From the greatest.
    pub down: Read,
    /// A row's value in that column.
    pub value: fn(&R) -> String,
}

/// The order that was asked for: `name` or `-name`, of a closed list.
pub struct Sort<R> {
    order: usize,
    down: bool,
    rows: PhantomData<fn() -> R>,
}

impl<R> Default for Sort<R> {
    fn default() -> Self {
        Self {
            order: 0,
            down: false,
            rows: PhantomData,
        }
    }
}

impl<R> fmt::Debug for Sort<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.down { "-" } else { "" };
        write!(f, "{sign}{}", self.order)
    }
}

impl<R: Listed> Sort<R> {
    fn words() -> Vec<String> {
        let names = R::ORDERS.iter().map(|order| order.name);
        names
            .flat_map(|name| [name.to_owned(), format!("-{name}")])
            .collect()
    }
}

impl<'de, R: Listed> Deserialize<'de> for Sort<R> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let (name, down) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text.as_str(), false),
        };
        let order = R::ORDERS.iter().position(|order| order.name == name);
        order
            .map(|order| Self {
                order,
                down,
                rows: PhantomData,
            })
            .ok_or_else(|| {
                let known = Self::words().join("`, `");
                spoken("wrong-type", &format!("the value is none of `{known}`"))
            })
    }
}

impl<R: Listed> JsonSchema for Sort<R> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Sort".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = Self::words();
        json_schema!({ "type": "string", "enum": words, "default": words.first() })
    }
}

/// Which page of a list is asked for.
#[derive(Debug)]
pub struct Paging<R> {
    /// How many rows.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<CursorText>,
    /// In which order.
    pub sort: Sort<R>,
}

/// A page as answered.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A list that one page is all of.
    pub fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }

    /// The same, each shown by `view`.
    ///
    /// # Errors
    /// The first that cannot be shown.
    pub fn try_map<U>(self, view: impl FnMut(T) -> Result<U, Fault>) -> Result<List<U>, Fault> {
        Ok(List {
            items: self.items.into_iter().map(view).collect::<Result<_, _>>()?,
            next_cursor: self.next_cursor,
        })
    }

    fn map<U>(self, view: impl FnMut(T) -> U) -> List<U> {
        List {
            items: self.items.into_iter().map(view).collect(),
            next_cursor: self.next_cursor,
        }
    }
}

/// Answers a page of the rows that the caller may `A`. `filters` are the list's own parameters; a
/// cursor is good for the same filters, order and studio.
///
/// # Errors
/// When the cursor is not one of ours for this list, or the caller may see none.
pub async fn list<A: Action<R>, R: Listed, V: Serialize + JsonSchema>(
    mut tx: TenantTx,
    desk: &Desk,
    paging: Paging<R>,
    filters: &[&(dyn ToSql + Sync)],
    view: impl Fn(R, &TenantTx) -> V,
) -> Result<Answer<List<V>>, Fault> {
    let (list, entry) = read::<A, R, V>(&mut tx, desk, paging, filters, view).await?;
    Draft::ok(list)?.finish(tx, entry).await
}

/// Reads such a page, for lists that say more; gives the entry of having shown it too.
///
/// # Errors
/// As [`list`].
pub async fn read<A: Action<R>, R: Listed, V>(
    tx: &mut TenantTx,
    desk: &Desk,
    paging: Paging<R>,
    filters: &[&(dyn ToSql + Sync)],
    view: impl Fn(R, &TenantTx) -> V,
) -> Result<(List<V>, Entry), Fault> {
    let Paging {
        limit,
        cursor,
        sort,
    } = paging;
    let order = R::ORDERS
        .get(sort.order)
        .ok_or_else(|| Fault::bug("a list without an order"))?;
    let scope = format!("{} {sort:?} {filters:?}", R::NOUN);
    let page = Page::new(tx, desk, scope, limit, cursor)?;
    let statement = if sort.down { order.down } else { order.up };
    let rows = tx
        .page::<A, R>(statement, &[filters, page.parameters().as_slice()].concat())
        .await?;
    let list = page.cut(tx, desk, rows, |row| ((order.value)(row), row.id()))?;
    let entry = Entry::new(A::NAME, R::NOUN).ids(list.items.iter().map(R::id));
    Ok((list.map(|row| view(row, tx)), entry))
}

/// Where a page begins and how long it is. Lists of rows use it through [`list`]; for others it cuts
/// what they read.
#[derive(Debug)]
pub struct Page {
    scope: String,
    after_value: Option<String>,
    after_id: Option<Uuid>,
    /// One row more than is shown, to know whether another page follows.
    read: i64,
}

impl Page {
    /// The page that is asked for. A cursor is good for the same `scope` and studio.
    ///
    /// # Errors
    /// When the cursor is not one of ours for this list.
    pub fn new(
        tx: &TenantTx,
        desk: &Desk,
        scope: String,
        limit: Option<u32>,
        cursor: Option<CursorText>,
    ) -> Result<Self, Fault> {
        let after = match cursor {
            None => None,
            Some(text) => Some(position(&desk.cursors.read(tx.tenant(), &scope, &text)?)?),
        };
        let (after_value, after_id) = after.unzip();
        Ok(Self {
            scope,
            after_value,
            after_id,
            read: i64::from(limit.unwrap_or(Limits::PAGE_ROWS_DEFAULT)) + 1,
        })
    }

    /// Value and id after which it begins, and how many rows to read.
    pub fn parameters(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.after_value, &self.after_id, &self.read]
    }

    /// The page of what was read, with the cursor of the next one.
    ///
    /// # Errors
    /// When the cursor cannot be made: a defect of ours.
    pub fn cut<T>(
        self,
        tx: &TenantTx,
        desk: &Desk,
        mut rows: Vec<T>,
        place: impl Fn(&T) -> (String, Uuid),
    ) -> Result<List<T>, Fault> {
        let more = rows.len() as i64 >= self.read;
        rows.truncate(usize::try_from(self.read - 1).unwrap_or_default());
        let next_cursor = match rows.last() {
            Some(row) if more => {
                let (value, id) = place(row);
                let place = [value.as_str(), &id.to_string()];
                Some(desk.cursors.make(tx.tenant(), &self.scope, &place)?)
            }
            _ => None,
        };
        Ok(List {
            items: rows,
            next_cursor,
        })
    }
}

/// The value of the sorted column and the id after which a page begins. The value itself, not the
/// row's present one: that may have changed since.
fn position(cursor: &[String]) -> Result<(String, Uuid), Fault> {
    let [value, id] = cursor else {
        return Err(Fault::bug("a cursor of ours without value and id"));
    };
    let id = id
        .parse()
        .map_err(|_| Fault::bug("a cursor of ours without an id"))?;
    Ok((value.clone(), id))
}

/// Refuses a change of another version than the one that the caller looked at.
///
/// # Errors
/// Stale, when `If-Match` names another version.
pub fn expect_version(named: Option<i32>, current: i32) -> Result<(), Fault> {
    match named {
        Some(version) if version != current => Err(Fault::new(
            problems::STALE,
            "it was changed meanwhile; load it again",
        )),
        _ => Ok(()),
    }
}

/// Answers a change with the row as it is now, and keeps both.
///
/// # Errors
/// When it cannot be kept.
pub async fn changed<A: Action<R>, R: Stored, V: Serialize + JsonSchema>(
    tx: TenantTx,
    spent: &Spent<A, R>,
    view: V,
) -> Result<Answer<V>, Fault> {
    let entry = Entry::new(spent.action(), spent.noun()).ids([spent.id()]);
    let draft = Draft::ok(view)?.etag(spent.version() + 1);
    draft.commit(tx, entry).await
}

/// Archives a row, where nothing else has to be looked at. The statement's own parameter is the time.
///
/// # Errors
/// Whatever [`TenantTx::grant`] and [`TenantTx::change`] say, or stale by [`expect_version`].
pub async fn archive<A: Action<R>, R: Stored>(
    mut tx: TenantTx,
    desk: &Desk,
    id: Uuid,
    version: Option<i32>,
    statement: Change,
) -> Result<Answer<Nothing>, Fault> {
    let granted = tx.grant::<A, R>(id).await?;
    expect_version(version, granted.version())?;
    let (spent, _row) = tx.change(granted, statement, &[&desk.clock.now()]).await?;
    let entry = Entry::new(spent.action(), spent.noun()).ids([id]);
    Draft::no_content().commit(tx, entry).await
}

/// Refuses a change of what is archived; `what` names it, as in `the booking`.
///
/// # Errors
/// Conflict.
pub fn expect_unarchived(what: &str, archived_at: Option<Timestamp>) -> Result<(), Fault> {
    match archived_at {
        None => Ok(()),
        Some(_) => Err(Fault::new(
            problems::CONFLICT,
            format!("{what} is archived"),
        )),
    }
}

/// Refuses a field for what no schema can say of it.
pub fn wrong_field(pointer: &str, code: &'static str, detail: &str) -> Fault {
    let spoken = "a field is not as it must be; see `errors`";
    Fault::new(problems::INVALID, spoken).fields(vec![FieldFault {
        pointer: pointer.to_owned(),
        code,
        detail: detail.to_owned(),
    }])
}

/// A name for people where they gave none: a letter and eight characters of the random id.
pub fn made_name(letter: &str, id: Uuid) -> String {
    let digits: String = id.simple().to_string().chars().take(8).collect();
    format!("{letter}-{}", digits.to_uppercase())
}
