//! The tables that the library made and no resource is about: what they hold and how long.
//!
//! None of them holds what the vault sealed but `tenancy.answers`; digests, signatures and wrapped keys are
//! bytes, too.

use watertight_custody::Retention;

use super::{Class, Columns};

macro_rules! table {
    ($table:literal, $retention:expr; $($class:ident: $($column:literal),+;)+) => {
        Columns {
            table: $table,
            columns: &[$($(($column, Class::$class)),+),+],
            retention: $retention,
        }
    };
}

const MEMBER: Retention = Retention::With {
    table: "tenancy.members",
};
const ENTRY: Retention = Retention::With {
    table: "ledger.entries",
};
const DAY: Retention = Retention::Days { days: 1 };

/// Those tables, by their schemas.
#[rustfmt::skip]
pub const TABLES: &[Columns] = &[
    table!("install.migrations", Retention::Installation; Internal: "name", "digest", "applied_at";),
    table!("tenancy.studios", Retention::Studio; Internal: "tenant_id", "name", "zone", "organization", "status", "epoch",
        "suspended_at", "closes_at", "impersonation", "admission", "lock_key", "created_at";),
    table!("tenancy.services", Retention::Studio; Internal: "tenant_id", "name", "enabled";),
    table!("tenancy.page_sessions", Retention::Days { days: 30 }; Internal: "tenant_id", "id", "digest", "member_id", "session", "claimed",
        "issued_s", "client", "opened_at", "seen_at", "idle", "expires_at", "ended_at";),
    table!("tenancy.keys", Retention::Installation; Internal: "purpose", "id", "created_at", "retired_at"; Secret: "ipad", "opad";),
    // By the identity provider's ids; an ended one stays ended.
    table!("tenancy.sessions", Retention::Installation; Internal: "session", "subject", "first_seen_at", "ended_at", "provider_at_ms";),
    table!("tenancy.answers", DAY; Internal: "tenant_id", "actor", "standing", "key", "request", "id", "kept_at"; Personal: "sealed";),
    table!("tenancy.deliveries", Retention::Days { days: 7 }; Internal: "id", "at";),
    table!("tenancy.feeds", Retention::Days { days: 30 }; Internal: "tenant_id", "id", "digest", "member_id", "about", "created_at",
        "ended_at";),
    table!("tenancy.isolations", Retention::Studio; Internal: "tenant_id", "id", "cause", "member_id", "session", "address", "subject",
        "subject_digest", "begun_at", "ended_at";),
    table!("tenancy.confirmations", Retention::Studio; Internal: "tenant_id", "isolation", "process", "at";),
    table!("tenancy.processes", DAY; Internal: "id", "seen_at", "name";),
    table!("incident.incidents", Retention::Studio; Internal: "tenant_id", "id", "kind", "reason", "is_emergency", "opened_at", "opened_by",
        "confirmed_at", "confirmed_by", "closed_at", "closed_by", "override";),
    table!("incident.steps", Retention::Studio; Internal: "tenant_id", "incident_id", "name", "at", "by", "note";),
    table!("incident.bundles", Retention::Studio; Internal: "tenant_id", "id", "incident_id", "starts_at", "ends_at", "asked_at", "asked_by",
        "begun_at", "tries", "made_at", "name", "bytes", "sha256", "trouble", "again_at", "failed";),
    table!("incident.hand_overs", Retention::Studio; Internal: "tenant_id", "id", "bundle_id", "at", "by", "receiver";),
    table!("incident.notices", Retention::Studio; Internal: "tenant_id", "id", "incident_id", "addressee", "starts_at", "ends_at", "subject", "body",
        "proposed_at", "proposed_by", "sent_at", "sent_by", "mails", "unlisted";),
    table!("jobs.due", Retention::Studio; Internal: "tenant_id", "kind", "due_at", "claimed_until";),
    table!("vault.studio_keys", Retention::Studio; Internal: "tenant_id", "number", "wrapping_key", "made_at"; Secret: "wrapped";),
    table!("vault.person_keys", MEMBER; Internal: "tenant_id", "person", "number", "studio_key", "made_at"; Secret: "wrapped";),
    table!("vault.wrapping_keys", Retention::Installation; Internal: "number", "checked", "noted_at", "retired_at";),
    table!("vault.sealed_columns", Retention::Installation; Internal: "place", "rel", "col", "of_person", "index_col";),
    table!("ledger.waiting", ENTRY; Internal: "tenant_id", "entry_id", "at", "hash", "written_at";),
    table!("ledger.changes", DAY; Internal: "tenant_id", "xact", "n", "changed", "id", "columns";),
    table!("ledger.keys", Retention::Installation; Internal: "id"; Secret: "ipad", "opad";),
    table!("ledger.leaves", ENTRY; Internal: "tenant_id", "seq", "entry_id", "hash", "chain";),
    table!("ledger.nodes", Retention::Studio; Internal: "tenant_id", "level", "position", "hash";),
    table!("ledger.heads", Retention::Studio; Internal: "tenant_id", "size", "edge", "chain";),
    table!("ledger.checkpoints", Retention::Studio; Internal: "tenant_id", "day", "size", "note";),
    table!("ledger.removals", Retention::Studio; Internal: "tenant_id", "size", "note", "tickets";),
    table!("custody.kept", Retention::Installation; Internal: "rel", "people", "project", "starts", "ends", "lets";),
    table!("custody.rules", Retention::Installation; Internal: "name", "step", "rel", "since", "is_over", "least_days", "with_rels",
        "with_columns", "blanks", "is_person";),
    table!("custody.erasures", Retention::Installation; Internal: "step", "rel", "col", "says", "blanks", "ready";),
    table!("custody.archived", Retention::Installation; Internal: "rel", "step", "is_restored", "is_key", "people", "is_given";),
    table!("custody.follows", Retention::Installation; Internal: "reference", "rel", "refers", "columns", "keys", "is_removed";),
    table!("custody.forgotten", Retention::Studio; Internal: "tenant_id", "person", "is_erased", "at",
        "subject_digest", "subject_at_ms";),
    table!("custody.shredded", Retention::Installation; Internal: "step", "rel", "is_free", "most";),
    // Of what is no more.
    table!("custody.receipts", Retention::Installation; Internal: "tenant_id", "note", "made_at";),
    table!("watch.learned", Retention::Days { days: 30 }; Internal: "process", "learned", "kept_at";),
    table!("watch.alerts", Retention::Installation; Internal: "id", "kind", "severity", "subject", "opened_at", "last_seen_at", "times";),
    table!("watch.tellings", Retention::Days { days: 90 }; Internal: "id", "way", "kind", "severity", "studio", "noticed_at", "state",
        "attempts", "next_at", "status", "created_at", "hour";),
    table!("custody.logs", Retention::Installation; Internal: "name", "least_days";),
];
