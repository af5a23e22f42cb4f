use postgres_types::FromSqlOwned;
use watertight_authority::Resource;
use watertight_terms::{Fault, TenantId};

use crate::Read;

/// One row of an answer.
#[derive(Debug)]
pub struct Row(pub(crate) tokio_postgres::Row);

impl Row {
    /// The value of the column of that name.
    ///
    /// # Errors
    /// When there is no such column, or it holds another type: a defect of ours.
    pub fn field<T: FromSqlOwned>(&self, name: &str) -> Result<T, Fault> {
        self.0
            .try_get(name)
            .map_err(|error| Fault::bug(format!("column `{name}`: {error}")))
    }
}

/// A resource that has a table: how one row of it is loaded.
pub trait Stored: Resource + Sized {
    /// Loads one row: `$1` is the tenant, `$2` the id.
    const LOAD: Read;

    /// Makes the resource from a row.
    ///
    /// # Errors
    /// When a column is missing or holds another type: a defect of ours.
    fn from_row(row: &Row) -> Result<Self, Fault>;
}

/// A row of another studio cannot get here; that it does not is checked all the same.
pub(crate) fn own<R: Resource>(row: R, tenant: TenantId) -> Result<R, Fault> {
    match row.tenant() == tenant {
        true => Ok(row),
        false => Err(Fault::bug(format!(
            "a {} of another studio was read",
            R::NOUN
        ))),
    }
}
