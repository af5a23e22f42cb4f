//! What a request was granted, by its names: so that it can be asked for again when the request is
//! repeated, on every row as it is then.

use std::{fmt, pin::Pin};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight_authority::{ListFilter, Refused};
use watertight_terms::Fault;

use crate::{Stored, TenantTx};

/// A right that was granted once. It grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Right {
    pub(crate) action: String,
    pub(crate) on: On,
}

/// What it was on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum On {
    /// One row.
    Row { entity: String, id: Uuid },
    /// A list of rows of that kind.
    List { entity: String },
    /// The studio: something was made in it.
    Studio,
}

/// A kind of row, so that it can be loaded by its name.
#[derive(Clone, Copy)]
pub struct Rows {
    entity: &'static str,
    ask: for<'a> fn(&'a mut TenantTx, &'a str, Uuid) -> Asking<'a>,
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

impl Rows {
    /// The rows of `R`.
    pub const fn of<R: Stored + Send + Sync>() -> Self {
        Self {
            entity: R::ENTITY,
            ask: |tx, action, id| Box::pin(tx.ask_for_row::<R>(action, id)),
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rows({})", self.entity)
    }
}

impl TenantTx {
    /// Asks once more for what an earlier request was granted.
    ///
    /// # Errors
    /// As when it was granted: unseen or not allowed, by the row and the caller's standing now.
    pub async fn ask_again(&mut self, right: &Right) -> Result<(), Fault> {
        let Right { action, on } = right;
        let (authority, standing) = (&self.parts.authority, &self.bound.standing);
        match on {
            On::Row { entity, id } => (self.rows(entity)?.ask)(self, action, *id).await,
            On::Studio => authority
                .permits_new(standing, action)
                .map(drop)
                .map_err(|refused| told(action, refused)),
            On::List { entity } => match authority.list_filter(standing, action, entity) {
                Ok(ListFilter::Nothing) => Err(Fault::not_allowed().log(action.clone())),
                Ok(ListFilter::All | ListFilter::OwnArtist(_)) => Ok(()),
                Err(error) => Err(Fault::bug(error.to_string())),
            },
        }
    }

    async fn ask_for_row<R: Stored>(&mut self, action: &str, id: Uuid) -> Result<(), Fault> {
        let row = self.load::<R>(id).await?;
        let (authority, standing) = (&self.parts.authority, &self.bound.standing);
        authority
            .permits_row(standing, action, &row)
            .map(drop)
            .map_err(|refused| told(action, refused))
    }

    /// Rows of that kind, which the product must have named.
    pub(crate) fn rows(&self, entity: &str) -> Result<Rows, Fault> {
        let mut all = self.parts.rows.iter();
        let known = all.find(|rows| rows.entity == entity).copied();
        known.ok_or_else(|| {
            Fault::bug(format!(
                "rows of `{entity}` cannot be asked for again: name them in the settings"
            ))
        })
    }
}

/// What whoever is refused is told.
pub(crate) fn told(action: &str, refused: Refused) -> Fault {
    let fault = if refused.seen {
        Fault::not_allowed()
    } else {
        Fault::unseen()
    };
    fault.log(format!("{action}: {}", refused.rule.unwrap_or_default()))
}
