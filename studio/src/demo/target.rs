//! `.studio/demo/target.json`: the demonstration in the form of the black-box attack kit.

use std::path::Path;

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use watertight_identity::double::Double;

use super::{
    ISSUER, ORIGIN, World, clerk_role,
    seed::{SeededStudio, marker},
};
use crate::commands::{Failure, write_private};

/// Where the database has what is ours.
pub const SCHEMAS: &[&str] = &[
    "custody", "incident", "install", "jobs", "ledger", "studio", "tenancy", "vault", "watch",
];

/// The tables without a studio's wall: keys, what is read before a studio is entered, and rules for all of them.
pub const GLOBAL_TABLES: &[&str] = &[
    "custody.archived",
    "custody.erasures",
    "custody.follows",
    "custody.kept",
    "custody.logs",
    "custody.rules",
    "custody.shredded",
    "install.migrations",
    "ledger.keys",
    "tenancy.deliveries",
    "tenancy.keys",
    "tenancy.processes",
    "tenancy.sessions",
    "vault.sealed_columns",
    "vault.wrapping_keys",
    "watch.alerts",
    "watch.learned",
    "watch.tellings",
];

/// The functions of the database that the app role may call with their owners' rights.
pub const DEFINER_FUNCTIONS: &[&str] = &[
    "enter",
    "tenant_id",
    "actor",
    "role",
    "artist_id",
    "sees_all",
    "writes",
    "choices",
    "choose",
    "session",
    "claimed",
    "issued_s",
    "open_page_session",
    "page_sessions_of_mine",
    "end_page_session",
    "open_feed",
    "feeds_of_mine",
    "end_feed",
    "versions_after",
    "last_version",
    "stream_stands",
    "choose_mails",
    "note_session",
    "apply_event",
    "drain_member",
    "complete_member",
    "wrapping_keys_known",
    "note_wrapping_key",
    "keep_studio_key",
    "keep_person_key",
    "outdated_studios",
    "retire_wrapping_key",
    "outdated_people",
    "values_of",
    "renew_value",
    "destroy_old_keys",
    "people_known",
    "open_studio",
    "claim_key",
    "keep_answer",
    "append",
    "gather",
    "seal",
    "heads_known",
    "hashes",
    "claim",
    "done",
    "held",
    "retain",
    "plan",
    "studios",
    "again",
    "note_alert",
    "take_tellings",
    "settle_telling",
    "figures",
    "keep",
    "kept",
    "gone",
    "archived",
    "archive",
    "archive_page",
    "restore_begin",
    "restore_alone",
    "restore_rows",
    "restore_settle",
    "restore_end",
    "restore_keys",
    "keys_missing",
    "export",
    "export_page",
    "keep_export_part",
    "clear_export_parts",
    "log_until",
    "erase",
    "close",
    "rows_of",
    "begin_shred",
    "drain",
    "shred",
    "keep_receipt",
    "heed",
    "confirm_isolation",
    "leave",
    "lift_unconfirmed",
    "begin_bundles",
    "end_bundle",
    "facts",
    "whom",
    "report_mine",
    "note_step_mine",
    "send_mine",
    "told",
    "of_mine",
    "removable",
    "remove",
    "tell_entries",
];

pub(super) fn write(world: &World, folder: &Path, double: &Double) -> Result<(), Failure> {
    write_private(&folder.join("idp.pem"), &double.private_key_pem())?;
    let mut tenants = Map::new();
    for studio in &world.studios {
        tenants.insert(studio.letter.clone(), tenant(studio));
    }
    let dual = |letter: usize| {
        world
            .studios
            .get(letter)
            .map(|studio| studio.person("dual").session.clone())
    };
    let target = json!({
        "base_url": format!("http://127.0.0.1:{}", world.port),
        "probe": "/v1/me",
        "idp": {
            "issuer": ISSUER, "azp": ORIGIN, "versions": [2, 1], "cat": "cl_B7d4PD111AAA",
            "keys": [{ "kid": double.kid(), "pem_file": "idp.pem" }],
            "jwks_hits_url": format!("http://127.0.0.1:{}/jwks-hits", world.port + 2),
        },
        "jwt": { "leeway_s": 5, "reject_status": [401], "max_lifetime_s": 60, "azp_required": true, "sid_must_be_known": false },
        "tenants": tenants,
        "dual_user": { "sub": "user_dual", "role_like": "owner", "sid": { "A": dual(0), "B": dual(1) } },
        "tenant_fields": ["tenant_id", "studio_id"],
        "list_keys": ["items"],
        "cursor_field": "next_cursor",
        "resources": [artists(), projects(), bookings()],
        "max_body": world.config.limits.body_bytes,
        "http": { "slow_bound_s": 30 },
        "cors": { "allowed": [ORIGIN, format!("http://127.0.0.1:{}", world.port)] },
        "ui": ui(),
        "webhook": webhook(&std::fs::read_to_string(folder.join("webhook")).unwrap_or_default()),
        "revocation": {
            "role": "leaver", "max_delay_s": 0.2,
            "event": session("session.revoked", "revoked"), "undo": session("session.created", "active"),
        },
        "membership_change": {
            "role": "leaver", "method": "POST", "path": "/v1/artists", "resource": "artists", "max_delay_s": 0.2,
            "events": {
                "lowered": membership("updated", "{sub}", "org:guest", "{now}"),
                "removed": membership("deleted", "{sub}", "org:guest", "{now}"),
            },
            "undo": membership("created", "{sub}", "org:studio_manager", "{now}"),
        },
        // As `with_small_limits` has them.
        "rate_limit": {
            "base_url": format!("http://127.0.0.1:{}", world.port + 1), "path": "/v1/projects",
            "burst": 40, "anon_burst": 160, "window_s": 5, "expensive": { "path": "/v1/members", "burst": 4 },
            "victim_p95_ms": 200, "flood_threads": 3,
        },
        "audit": {
            "path": "/v1/audit", "role": "owner", "readers": ["owner"], "allow_values": ["allowed"], "delay_s": 1.2,
            "fields": { "request_id": "request_id", "outcome": "outcome" }, "max_page": 100,
            "page_size_param": "limit", "cursor_param": "cursor", "cursor_field": "next_cursor",
            "verify_path": "/v1/audit/verify", "verify_field": "ok",
        },
        "members": { "item": "/v1/members/{id}", "method": "PATCH", "field": "role", "admin_role": "owner" },
        "db": database(world)?,
    });
    let text =
        serde_json::to_string_pretty(&target).map_err(|error| Failure::setup(error.to_string()))?;
    write_private(&folder.join("target.json"), &text)
}

fn tenant(studio: &SeededStudio) -> Value {
    let mut users = Map::new();
    for person in studio.people.iter().filter(|person| person.part != "dual") {
        users.insert(
            person.part.clone(),
            json!({
                "sub": person.subject, "sid": person.session, "org_role": clerk_role(&person.role),
                "member_id": person.member,
                // Of whom a manager's or owner's bookings are not: any other artist of the studio.
                "artist_id": person.artist.or(studio.artists.get(1).copied()),
            }),
        );
    }
    json!({
        "id": studio.tenant, "db_id": studio.tenant, "org": studio.organization,
        "slug": studio.organization.trim_start_matches("org_"), "marker": marker(&studio.letter), "users": users,
    })
}

fn artists() -> Value {
    json!({
        "name": "artists", "collection": "/v1/artists", "item": "/v1/artists/{id}",
        "methods": { "list": "GET", "get": "GET", "create": "POST", "update": "PATCH", "delete": "DELETE" },
        "create_body": { "name": "{marker} artist {rand}", "email": "a-{rand}@example.org" },
        "update_body": { "name": "HIJACKED" },
        "string_fields": ["name", "notes"],
        "pii_fields": ["email", "phone", "legal_name", "tax_id", "address", "bank"],
        "pii_columns": { "email": { "table": "studio.artists", "column": "email" } },
        "search_param": "q", "sort_param": "sort", "cursor_param": "cursor", "page_size_param": "limit", "max_page": 100,
        "readonly_fields": { "created_at": "2001-01-01T00:00:00Z", "version": 9 },
        "hidden_fields": { "manager": ["legal_name", "tax_id", "address", "bank"],
            "leaver": ["legal_name", "tax_id", "address", "bank"],
            "freelancer": ["email", "phone", "legal_name", "tax_id", "address", "bank", "tenant_id"] },
        "policy": {
            "owner": ["list", "get", "create", "update", "delete"], "manager": ["list", "get", "create", "update", "delete"],
            "leaver": ["list", "get", "create", "update", "delete"], "freelancer": ["list"], "guest": [],
        },
    })
}

fn projects() -> Value {
    json!({
        "name": "projects", "collection": "/v1/projects", "item": "/v1/projects/{id}",
        "methods": { "list": "GET", "get": "GET", "create": "POST", "update": "PATCH", "delete": "DELETE" },
        "create_body": { "name": "{marker} project {rand}", "code": "C{rand}" },
        "update_body": { "name": "HIJACKED" },
        "string_fields": ["name", "client", "notes"], "unique_fields": ["code"],
        "search_param": "q", "sort_param": "sort", "cursor_param": "cursor", "page_size_param": "limit", "max_page": 100,
        "readonly_fields": { "created_at": "2001-01-01T00:00:00Z", "version": 9 },
        "hidden_fields": { "freelancer": ["client", "budget", "notes", "tenant_id"] },
        "policy": {
            "owner": ["list", "get", "create", "update", "delete"], "manager": ["list", "get", "create", "update", "delete"],
            "leaver": ["list", "get", "create", "update", "delete"], "freelancer": ["list"], "guest": [],
        },
    })
}

fn bookings() -> Value {
    json!({
        "name": "bookings", "collection": "/v1/bookings", "item": "/v1/bookings/{id}",
        "methods": { "list": "GET", "get": "GET", "create": "POST", "update": "PATCH", "delete": "DELETE" },
        "create_body": { "title": "{marker} booking {rand}", "notes": "n", "reference": "R{rand}", "artist_id": "{ref:artists}",
            "project_id": "{ref:projects}", "starts_at": "2031-01-01T10:00:00Z", "ends_at": "2031-01-01T11:00:00Z" },
        "update_body": { "title": "HIJACKED" },
        "string_fields": ["title", "notes"], "date_fields": ["starts_at"], "range": ["starts_at", "ends_at"],
        "refs": { "artist_id": "artists", "project_id": "projects" }, "unique_fields": ["reference"],
        "filters": { "artist_id": "artists", "project_id": "projects" },
        "search_param": "q", "sort_param": "sort", "cursor_param": "cursor", "page_size_param": "limit", "max_page": 100,
        "readonly_fields": { "created_at": "2001-01-01T00:00:00Z", "version": 9, "rank": 1, "expires_at": "2040-01-01T00:00:00Z" },
        "hidden_fields": { "freelancer": ["tenant_id", "ended_by"] },
        "own_field": "artist_id", "own_user_key": "artist_id", "own_other": "manager",
        "exclusive": { "refs": { "artist_id": "artists" },
            "body": { "state": "confirmed", "starts_at": "2032-01-01T10:00:00Z", "ends_at": "2032-01-01T11:00:00Z" } },
        "policy": {
            "owner": ["list", "get", "create", "update", "delete"], "manager": ["list", "get", "create", "update", "delete"],
            "leaver": ["list", "get", "create", "update", "delete"], "freelancer": ["list"], "freelancer:own": ["list", "get"], "guest": [],
        },
    })
}

fn webhook(secret: &str) -> Value {
    json!({
        "path": "/webhooks/clerk", "secret": secret,
        "valid_event": { "object": "event", "type": "user.updated", "timestamp": 1_767_225_600_000_i64,
            "data": { "object": "user", "id": "user_{rand}", "updated_at": 1_767_225_600_000_i64 } },
        // Whom Clerk brings and nobody invited is pending, and shown.
        "effect": {
            "event": membership("created", "user_{rand}", "org:freelancer", "{now}"),
            "count_path": "/v1/members", "count_field": "total", "role": "owner",
        },
        "out_of_order": {
            "role": "leaver", "method": "GET", "path": "/v1/artists", "expect": [401, 403],
            "events": [
                membership("deleted", "{sub}", "org:studio_manager", "{now}"),
                membership("created", "{sub}", "org:studio_manager", "{earlier}"),
            ],
            "undo": [membership("created", "{sub}", "org:studio_manager", "{later}")],
        },
    })
}

fn membership(what: &str, subject: &str, role: &str, at: &str) -> Value {
    json!({
        "object": "event", "type": format!("organizationMembership.{what}"), "timestamp": at,
        "data": { "object": "organization_membership", "id": "orgmem_kit", "organization": { "id": "{org}" },
            "public_user_data": { "user_id": subject }, "role": role, "updated_at": at },
    })
}

fn session(kind: &str, status: &str) -> Value {
    json!({
        "object": "event", "type": kind, "timestamp": "{now}",
        "data": { "object": "session", "id": "{sid}", "user_id": "{sub}", "status": status, "updated_at": "{now}" },
    })
}

fn ui() -> Value {
    json!({
        "url": "/ui/bookings", "origin": ORIGIN, "cookie": "__Host-session",
        "login": { "path": "/ui/session", "method": "POST", "with": "bearer" },
        "logout": { "path": "/ui/logout", "method": "POST" },
        "params": ["q"],
        "form": {
            "path": "/ui/bookings/new", "page": "/ui/bookings", "csrf_field": "csrf_token", "creates": "bookings",
            "fields": { "artist_id": "{ref:artists}", "project_id": "{ref:projects}", "title": "{rand}", "reference": "{rand}",
                "starts_at": "2031-01-01T10:00", "ends_at": "2031-01-01T11:00" },
        },
        "render": [
            { "path": "/ui/bookings", "resource": "bookings", "fields": ["title", "notes"], "must_show": false },
            { "path": "/ui/bookings/{id}", "resource": "bookings", "fields": ["title", "notes"] },
        ],
    })
}

fn database(world: &World) -> Result<Value, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::setup(error.to_string()))?;
    Ok(json!({
        "url": world.config.database.url.expose_secret(),
        "admin_url": world.admin.expose_secret(),
        "schemas": SCHEMAS,
        "tenant_columns": ["tenant_id"],
        "tenant_settings": ["app.current_tenant"],
        // The command runs in this file's folder.
        "context_command": format!("'{}' demo --folder .. context --tenant {{tenant}} --role {{role}}", program.display()),
        "global_tables": GLOBAL_TABLES,
        "tenants_table": "tenancy.studios",
        "audit_table": "ledger.entries",
        "global_unique": ["tenancy.studios_organization_key"],
        "definer_functions": DEFINER_FUNCTIONS,
        "insert_probe": [{ "name": "artists",
            "sql": "insert into studio.artists(tenant_id,id,name) values('{B}',gen_random_uuid(),'x')" }],
    }))
}
