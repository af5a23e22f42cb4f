//! The nouns of the product, a folder each: type with column classes, statements, policy, handlers.
//!
//! A resource is one folder here, one migration, and its `pub mod` line below: `register.rs` is written
//! from those lines.

/// Types for what may be done with a resource: `actions! { Booking: View "booking.view", … }`.
macro_rules! actions {
    ($resource:ty: $($name:ident $text:literal),*) => {
        $(
            #[doc = concat!("`", $text, "`")]
            #[derive(Debug)]
            pub struct $name;
            impl watertight_authority::Action<$resource> for $name {
                const NAME: &'static str = $text;
            }
        )*
    };
}
pub(crate) use actions;

/// What is done with all of a studio, under a noun of its own: `of_studio!(Audit, "audit")`, for a type that holds
/// the studio's id.
macro_rules! of_studio {
    ($resource:ty, $noun:literal) => {
        impl watertight_authority::Resource for $resource {
            const NOUN: &'static str = $noun;
            const ENTITY: &'static str = "Studio";

            fn id(&self) -> uuid::Uuid {
                self.0.0
            }

            fn tenant(&self) -> watertight_terms::TenantId {
                self.0
            }

            fn version(&self) -> i32 {
                1
            }

            fn facts(&self) -> Vec<(&'static str, watertight_authority::Fact)> {
                Vec::new()
            }
        }
    };
}
pub(crate) use of_studio;

pub mod alerts;
pub mod artists;
pub mod audit;
pub mod bookings;
pub mod events;
pub mod exports;
pub mod feeds;
pub mod holidays;
pub mod incidents;
pub mod legal_holds;
pub mod library;
pub mod mails;
pub mod members;
pub mod money;
pub mod page;
pub mod phases;
pub mod projects;
mod register;
pub mod sessions;
pub mod studio;
mod table;
pub mod time_off;
pub mod webhooks;

use register::REGISTER;
use watertight::{
    door::Routes,
    openapi::{self, About},
};
use watertight_custody::Retention;
use watertight_tenancy::{Constraint, Migration, Rows};

/// A resource, as its folder gives it to the product: its `RESOURCE`.
pub struct Registered {
    /// What it is and what can be done to it, for the policies.
    pub schema: &'static str,
    /// Who may do that.
    pub policy: &'static str,
    /// Its tables.
    pub migrations: &'static [Migration],
    /// What their columns hold and how long.
    pub tables: &'static [Columns],
    /// The rows of them that can be granted.
    pub rows: &'static [Rows],
    /// What broken constraints mean to the caller.
    pub constraints: &'static [Constraint],
    /// Adds its routes.
    pub routes: fn(Routes) -> Routes,
}

/// A migration of the product by the name of its file.
macro_rules! migration {
    ($name:literal) => {
        watertight_tenancy::Migration {
            name: concat!("studio/", $name),
            sql: include_str!(concat!("../../../migrations/", $name, ".sql")),
        }
    };
}
pub(crate) use migration;

/// The policies' schema: who asks, and what each resource adds.
pub fn schema() -> String {
    let people = include_str!("schema.cedarschema");
    let parts = REGISTER.iter().map(|(_, resource)| resource.schema);
    std::iter::once(people)
        .chain(parts)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The policies of every resource, with the names of their folders.
pub fn policies() -> Vec<(&'static str, &'static str)> {
    REGISTER
        .iter()
        .map(|(folder, resource)| (*folder, resource.policy))
        .collect()
}

/// The product's migrations, in the order of their numbers.
pub fn migrations() -> Vec<Migration> {
    let mut migrations: Vec<Migration> = REGISTER
        .iter()
        .flat_map(|(_, resource)| resource.migrations)
        .copied()
        .collect();
    migrations.sort_by_key(|migration| migration.name);
    migrations
}

/// The columns of every table: what they hold and how long.
pub fn tables() -> impl Iterator<Item = &'static Columns> {
    resource_tables().chain(library::TABLES)
}

/// A column of a table by its name in the register, and its class.
pub(crate) fn classified(table: &str, column: &str) -> Option<(&'static str, Class)> {
    let columns = tables().find(|one| one.table == table)?.columns;
    columns.iter().copied().find(|(name, _)| *name == column)
}

fn resource_tables() -> impl Iterator<Item = &'static Columns> {
    REGISTER.iter().flat_map(|(_, resource)| resource.tables)
}

/// Every kind of row that can be granted.
pub fn rows() -> Vec<Rows> {
    let all = REGISTER.iter().flat_map(|(_, resource)| resource.rows);
    all.copied().collect()
}

/// What a broken constraint means to the caller.
pub fn constraint(name: &str) -> Option<&'static Constraint> {
    let mut all = REGISTER
        .iter()
        .flat_map(|(_, resource)| resource.constraints);
    all.find(|constraint| constraint.name == name)
}

/// Every route of the product.
pub fn routes() -> Routes {
    REGISTER
        .iter()
        .fold(Routes::new(), |routes, (_, resource)| {
            (resource.routes)(routes)
        })
}

/// The API's document, OpenAPI 3.1. `docs/openapi.json` is the same, committed.
pub fn document() -> serde_json::Value {
    let about = About {
        title: "Production Tool",
        version: "1",
        description: "Bookings of creative studios. Every request is one studio's: the token says whose, and nothing \
                      of another studio is ever answered. Texts are in Unicode normalization form C (format `nfc`).",
    };
    openapi::document(&routes(), &about)
}

/// The document as it is committed and served.
pub fn document_text() -> String {
    format!("{:#}\n", document())
}

/// The classes of a table's columns.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// `schema.table`.
    pub table: &'static str,
    /// Every column with its class.
    pub columns: &'static [(&'static str, Class)],
    /// How long a row is kept.
    pub retention: Retention,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Anybody may know it.
    Public,
    /// The studio's own business.
    Internal,
    /// About a person; sealed.
    Personal,
    /// What opens something; sealed.
    Secret,
}

impl Class {
    /// The class by its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Personal => "personal",
            Self::Secret => "secret",
        }
    }

    /// Whether the column holds what the vault sealed.
    pub fn is_sealed(self) -> bool {
        matches!(self, Self::Personal | Self::Secret)
    }
}

/// The columns that hold sealed values, as the start-up check wants them.
pub fn personal_columns() -> Vec<(&'static str, &'static str)> {
    resource_tables()
        .flat_map(|table| {
            table
                .columns
                .iter()
                .map(|(column, class)| (table.table, *column, *class))
        })
        .filter(|(_, _, class)| class.is_sealed())
        .map(|(table, column, _)| (table, column))
        .collect()
}
