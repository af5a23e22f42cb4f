//! The nouns of the product, a folder each: type with column classes, statements, policy, handlers.
//!
//! A resource is one folder here, one migration, and one line in each list below.

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

pub mod artists;
pub mod bookings;
pub mod page;
pub mod studio;

use watertight::door::Routes;
use watertight_tenancy::{Constraint, Migration};

/// The policies' schema.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// The policies of every resource, with the names of their files.
pub const POLICIES: &[(&str, &str)] = &[
    ("studio/policy.cedar", include_str!("studio/policy.cedar")),
    ("artists/policy.cedar", include_str!("artists/policy.cedar")),
    (
        "bookings/policy.cedar",
        include_str!("bookings/policy.cedar"),
    ),
];

/// The product's migrations.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "studio/0001_artists_and_bookings",
        sql: include_str!("../../migrations/0001_artists_and_bookings.sql"),
    },
    Migration {
        name: "studio/0002_operators",
        sql: include_str!("../../migrations/0002_operators.sql"),
    },
];

/// The columns of every table: what they hold and how long.
pub const COLUMNS: &[Columns] = &[
    artists::COLUMNS,
    bookings::COLUMNS,
    bookings::OCCUPANCY_COLUMNS,
];

/// What broken constraints mean to the caller.
pub const CONSTRAINTS: &[Constraint] = bookings::CONSTRAINTS;

/// Every route of the product.
pub fn routes() -> Routes {
    let routes = studio::routes(Routes::new());
    let routes = artists::routes(routes);
    bookings::routes(routes)
}

/// The classes of a table's columns.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// `schema.table`.
    pub table: &'static str,
    /// Every column with its class.
    pub columns: &'static [(&'static str, Class)],
    /// How long a row is kept.
    pub retention: &'static str,
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
}

/// The columns that hold personal values, as the start-up check wants them.
pub fn personal_columns() -> Vec<(&'static str, &'static str)> {
    COLUMNS
        .iter()
        .flat_map(|table| {
            table
                .columns
                .iter()
                .map(|(column, class)| (table.table, *column, *class))
        })
        .filter(|(_, _, class)| *class == Class::Personal)
        .map(|(table, column, _)| (table, column))
        .collect()
}
