//! What is kept, how long, and what may not go: retention and legal holds.
//!
//! ```
//! use watertight_custody::{Days, Retention, Rule, Then};
//!
//! // Beside the table, in the product's register:
//! const BOOKINGS: Retention = Retention::By(Rule {
//!     name: "bookings",
//!     step: 40,
//!     since: "its end",
//!     days: Days::new(5 * 365, 365, 10 * 365),
//!     then: Then::Remove,
//! });
//! let text = serde_json::to_value(BOOKINGS).unwrap();
//! assert_eq!(text["days"]["usual"], 1825);
//! ```
//!
//! **Legal holds** stand in `custody.legal_holds`: on a studio, a person, a project or a window of time. A
//! migration says of a table by which of its columns its rows can be held:
//!
//! ```sql
//! SELECT custody.keeps('studio.bookings', people => '{artist_id}', project => 'project_id',
//!   starts => 'starts_at', ends => 'ends_at');
//! ```
//!
//! From then on triggers refuse, with SQLSTATE `ZT050` and the constraint [`LEGAL_HOLD`], whatever would change
//! or remove a held row: for every role, and whatever `session_replication_role` says. The keys of held
//! people are not destroyed either.
//!
//! **Erasure** ([`erasure`]): a migration says where people are, `custody.erases('studio.artists', 'id', …)`. The
//! keys of whom is erased are destroyed, what rows say of them goes, and does not come back with an older
//! copy of those rows.
//!
//! **Closing** ([`closing`]): a migration says in which order the rows of its tables go,
//! `custody.shreds(40, 'studio.bookings')`. The keys go first.
//!
//! **Exports** ([`export`]): the rows of a studio, or those about one person, read by its service for whoever may have them.
//! They come from the tables that `archives` and `erases` name, so that a new table is in them by itself.
//!
//! What is absent: HTTP, and a way to remove a legal hold that is not released.

pub mod archive;
pub mod closing;
pub mod erasure;
pub mod export;
pub mod keeper;
mod retention;

pub use keeper::{Gone, Over};
pub use retention::{Days, Retention, Rule, Then};

use watertight_tenancy::Migration;

/// The name of the constraint that a statement breaks which would touch what is held.
pub const LEGAL_HOLD: &str = "legal_hold";

/// The name of the constraint that the erasure of somebody breaks who is still at work in the studio.
pub const ERASURE_READY: &str = "erasure_ready";

/// This room's migrations. They come after those of tenancy, vault and ledger.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "custody/0001_legal_holds",
        sql: include_str!("../sql/0001_legal_holds.sql"),
    },
    Migration {
        name: "custody/0002_retention",
        sql: include_str!("../sql/0002_retention.sql"),
    },
    Migration {
        name: "custody/0003_log",
        sql: include_str!("../sql/0003_log.sql"),
    },
    Migration {
        name: "custody/0004_erasure",
        sql: include_str!("../sql/0004_erasure.sql"),
    },
    Migration {
        name: "custody/0005_closing",
        sql: include_str!("../sql/0005_closing.sql"),
    },
    Migration {
        name: "custody/0010_archive",
        sql: include_str!("../sql/0010_archive.sql"),
    },
    Migration {
        name: "custody/0011_export",
        sql: include_str!("../sql/0011_export.sql"),
    },
];
