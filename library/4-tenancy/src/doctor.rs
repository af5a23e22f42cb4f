//! Start-up refusal: what the server checks about its own role, tables, policies and keys before it
//! listens, and what `doctor` says about them.

use secrecy::SecretString;
use tokio_postgres::Client;
use watertight_identity::{Caller, ServiceName};
use watertight_terms::{Clock, KeyRing, Random, TenantId};

use crate::{
    InstallFault, context,
    install::{WALLED_SCHEMAS, connect},
};

/// What is expected beside what every installation must be.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The prefix of the roles.
    pub prefix: String,
    /// Columns that hold personal or secret values: `("studio.artists", "email")`.
    pub personal: Vec<(&'static str, &'static str)>,
    /// The ring `context`.
    pub context: KeyRing,
    /// The time, for signing a context.
    pub clock: Clock,
    /// Randomness, for signing a context.
    pub random: Random,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The server does not start.
    Refuses,
    /// Named, and accepted: a gap that only a superuser can close.
    Gap,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable name of the check.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub fix: &'static str,
}

struct Check {
    name: &'static str,
    severity: Severity,
    fix: &'static str,
    /// Gives a row for each fault, its text in the first column. `$1`: the walled schemas.
    sql: &'static str,
}

/// Examines the database as the app role sees it.
///
/// # Errors
/// When it cannot be reached, or a check cannot be run.
pub async fn examine(
    app: &SecretString,
    expected: &Expectation,
) -> Result<Vec<Finding>, InstallFault> {
    let client = connect(app).await?;
    let mut findings = version(&client).await?;
    for check in CHECKS {
        let rows = client
            .query(check.sql, &[&WALLED_SCHEMAS])
            .await
            .map_err(|error| InstallFault::Step {
                step: check.name.to_owned(),
                error: error.to_string(),
            })?;
        findings.extend(rows.iter().map(|row| Finding {
            check: check.name,
            severity: check.severity,
            what: row.get(0),
            fix: check.fix,
        }));
    }
    findings.extend(role_name(&client, expected).await?);
    findings.extend(statistics(&client, expected).await?);
    findings.extend(context_key(&client, expected).await?);
    Ok(findings)
}

/// The first minor of each major that has the fixes of CVE-2023-39418, CVE-2024-10976 and
/// CVE-2025-8713, all of which let rows through row security.
const SAFE_MINORS: &[(i32, i32)] = &[(15, 14), (16, 10), (17, 6)];

async fn version(client: &Client) -> Result<Vec<Finding>, InstallFault> {
    let number: i32 = one(
        client,
        "SELECT current_setting('server_version_num')::integer",
    )
    .await?;
    let (major, minor) = (number / 10_000, number % 10_000);
    let safe = major > 17
        || SAFE_MINORS
            .iter()
            .any(|(m, first)| *m == major && minor >= *first);
    Ok(finding(
        !safe,
        "postgresql-version",
        format!("PostgreSQL {major}.{minor}"),
        "use 15.14, 16.10, 17.6 or later: earlier minors have known leaks through row security",
    ))
}

async fn role_name(client: &Client, expected: &Expectation) -> Result<Vec<Finding>, InstallFault> {
    let user: String = one(client, "SELECT session_user::text").await?;
    let app = format!("{}_app", expected.prefix);
    Ok(finding(
        user != app,
        "role-name",
        format!("connected as `{user}`"),
        "set [database] url to the app role's url: the walls are made for that role",
    ))
}

async fn statistics(client: &Client, expected: &Expectation) -> Result<Vec<Finding>, InstallFault> {
    let mut findings = Vec::new();
    for (table, column) in &expected.personal {
        let target: Option<i32> = client
            .query_opt(
                "SELECT attstattarget::integer FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = $2",
                &[table, column],
            )
            .await
            .map_err(|error| InstallFault::Step { step: "personal-statistics".to_owned(), error: error.to_string() })?
            .and_then(|row| row.get(0));
        findings.extend(finding(
            target != Some(0),
            "personal-statistics",
            format!("`{table}.{column}` has planner statistics"),
            "alter the column: SET STATISTICS 0, and delete its old row in pg_statistic",
        ));
    }
    Ok(findings)
}

/// A context signed with the current key must be known to the database: a service of no studio is
/// "not a member"; under a key that the database lacks it would be "forged".
async fn context_key(
    client: &Client,
    expected: &Expectation,
) -> Result<Vec<Finding>, InstallFault> {
    const DOCTOR: ServiceName = ServiceName::new("doctor");
    let nobody = Caller::service(DOCTOR, TenantId(uuid::Uuid::nil()));
    let token = context::sign(
        &nobody,
        &expected.context,
        &expected.clock,
        &expected.random,
    )
    .map_err(|error| InstallFault::Step {
        step: "context-key".to_owned(),
        error: error.to_string(),
    })?;
    let answer = client.execute("SELECT tenancy.enter($1)", &[&token]).await;
    let state = match &answer {
        Err(error) => error.code().map_or("-", |code| code.code()),
        Ok(_) => "entered",
    };
    Ok(finding(
        state != "ZT011",
        "context-key",
        format!("a context of the current key is answered with {state}"),
        "run `studio install` with this key file, or `studio keys rotate context`",
    ))
}

fn finding(bad: bool, check: &'static str, what: String, fix: &'static str) -> Vec<Finding> {
    if !bad {
        return Vec::new();
    }
    vec![Finding {
        check,
        severity: Severity::Refuses,
        what,
        fix,
    }]
}

async fn one<T: postgres_types::FromSqlOwned>(
    client: &Client,
    sql: &'static str,
) -> Result<T, InstallFault> {
    client
        .query_one(sql, &[])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| InstallFault::Step {
            step: "doctor".to_owned(),
            error: error.to_string(),
        })
}

const CHECKS: &[Check] = &[
    Check {
        name: "role-attributes",
        severity: Severity::Refuses,
        fix: "ALTER ROLE … NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION",
        sql: "SELECT 'the app role is ' || concat_ws(', ',
                CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolbypassrls THEN 'bypassrls' END,
                CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolcreatedb THEN 'createdb' END,
                CASE WHEN rolreplication THEN 'replication' END)
              FROM pg_roles WHERE rolname = session_user AND $1::text[] IS NOT NULL
                AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)",
    },
    Check {
        name: "role-memberships",
        severity: Severity::Refuses,
        fix: "REVOKE the membership: a member can become what it is a member of",
        sql: "SELECT 'the app role is a member of `' || r.rolname || '`' FROM pg_auth_members m
              JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles a ON a.oid = m.member
              WHERE a.rolname = session_user AND $1::text[] IS NOT NULL",
    },
    Check {
        name: "role-owns",
        severity: Severity::Refuses,
        fix: "give the object to the owner role: an owner can take its walls away",
        sql: "SELECT 'the app role owns `' || c.oid::regclass || '`' FROM pg_class c
              JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = session_user AND $1::text[] IS NOT NULL
              UNION ALL SELECT 'the app role owns function `' || p.oid::regprocedure || '`' FROM pg_proc p
              JOIN pg_roles r ON r.oid = p.proowner WHERE r.rolname = session_user
              UNION ALL SELECT 'the app role owns schema `' || n.nspname || '`' FROM pg_namespace n
              JOIN pg_roles r ON r.oid = n.nspowner WHERE r.rolname = session_user AND n.nspname !~ '^pg_'",
    },
    Check {
        name: "row-security",
        severity: Severity::Refuses,
        fix: "SELECT tenancy.protect(…) in a migration: enabled and forced, or the owner's views are open",
        sql: "SELECT '`' || c.oid::regclass || '` has a tenant_id but row security is not ' ||
                CASE WHEN c.relrowsecurity THEN 'forced' ELSE 'enabled' END
              FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
              WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1)) AND c.relkind IN ('r', 'p')
                AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    },
    Check {
        name: "wall",
        severity: Severity::Refuses,
        fix: "SELECT tenancy.protect(…): a restrictive policy on the tenant for the app role, reading and writing",
        sql: "SELECT '`' || c.oid::regclass || '` may be reached by the app role without a restrictive wall on its tenant'
              FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
              WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1)) AND c.relkind IN ('r', 'p')
                AND has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE')
                AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive AND p.polcmd = '*'
                  AND (SELECT oid FROM pg_roles WHERE rolname = session_user) = ANY (p.polroles)
                  AND regexp_replace(pg_get_expr(p.polqual, c.oid), '\\s+', ' ', 'g') = '(tenant_id = ( SELECT tenancy.tenant_id() AS tenant_id))'
                  AND (p.polwithcheck IS NULL OR regexp_replace(pg_get_expr(p.polwithcheck, c.oid), '\\s+', ' ', 'g')
                    = '(tenant_id = ( SELECT tenancy.tenant_id() AS tenant_id))'))",
    },
    Check {
        name: "ledger-capture",
        severity: Severity::Refuses,
        fix: "SELECT tenancy.protect(…), or ENABLE ALWAYS TRIGGER ledger_capture: what changes a row stands in the ledger",
        sql: "SELECT '`' || c.oid::regclass || '` may be changed by the app role without a trace in the ledger'
              FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
              WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1)) AND c.relkind IN ('r', 'p')
                AND has_any_column_privilege(c.oid, 'INSERT, UPDATE')
                -- Row by row, after INSERT, UPDATE and DELETE, whatever session_replication_role says.
                AND NOT EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
                  WHERE t.tgrelid = c.oid AND t.tgname = 'ledger_capture' AND t.tgenabled = 'A' AND t.tgtype = 29
                    AND n.nspname = 'ledger' AND p.proname = 'capture'
                    -- What the gate does, the gate notes.
                    AND (t.tgqual IS NULL OR pg_get_triggerdef(t.oid) LIKE '% WHEN ((CURRENT_USER <> '
                      || quote_literal(regexp_replace(session_user, '_app$', '_gate')) || '::name)) EXECUTE %'))",
    },
    Check {
        name: "no-tenant",
        severity: Severity::Refuses,
        fix: "REVOKE it: a table without a tenant_id is not for the app role",
        sql: "SELECT 'the app role may reach `' || c.oid::regclass || '`, which has no tenant_id'
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname !~ '^(pg_|information_schema)' AND $1::text[] IS NOT NULL AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                AND has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE')
                AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')",
    },
    Check {
        name: "outside-the-walls",
        severity: Severity::Refuses,
        fix: "REVOKE it, or move the table into one of the walled schemas",
        sql: "SELECT 'the app role may reach `' || c.oid::regclass || '`, outside the walled schemas'
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname !~ '^(pg_|information_schema)' AND n.nspname <> ALL ($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
                AND (c.relkind = 'S' AND has_sequence_privilege(c.oid, 'USAGE, SELECT, UPDATE')
                  OR c.relkind <> 'S' AND has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))",
    },
    Check {
        name: "table-rights",
        severity: Severity::Refuses,
        fix: "REVOKE it: grant UPDATE on columns; table-level UPDATE, DELETE or TRUNCATE allows LOCK TABLE ACCESS EXCLUSIVE",
        sql: "SELECT 'the app role has ' || right_ || ' on `' || c.oid::regclass || '`'
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
                unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) right_
              WHERE n.nspname !~ '^(pg_|information_schema)' AND $1::text[] IS NOT NULL AND c.relkind IN ('r', 'p', 'v')
                AND has_table_privilege(c.oid, right_)",
    },
    Check {
        name: "keys-lead-with-tenant",
        severity: Severity::Refuses,
        fix: "put tenant_id first: a key over all studios tells one what another has",
        sql: "SELECT 'unique index `' || i.indexrelid::regclass || '` does not lead with tenant_id'
              FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
              WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1))
                AND (i.indisunique OR i.indisexclusion) AND i.indkey[0] <> a.attnum
                AND has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE')",
    },
    Check {
        name: "references-carry-tenant",
        severity: Severity::Refuses,
        fix: "make the foreign key (tenant_id, …): row security does not apply to it",
        sql: "SELECT 'foreign key `' || k.conname || '` of `' || k.conrelid::regclass || '` does not carry tenant_id'
              FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attname = 'tenant_id' AND NOT a.attisdropped
              WHERE k.contype = 'f' AND k.connamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1))
                AND NOT (a.attnum = ANY (k.conkey) AND k.confkey[array_position(k.conkey, a.attnum)] =
                  (SELECT attnum FROM pg_attribute WHERE attrelid = k.confrelid AND attname = 'tenant_id'))",
    },
    Check {
        name: "definer-search-path",
        severity: Severity::Refuses,
        fix: "ALTER FUNCTION … SET search_path = pg_catalog, pg_temp SET row_security = on",
        sql: "SELECT 'definer function `' || p.oid::regprocedure || '` does not pin search_path and row_security'
              FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE p.prosecdef AND n.nspname !~ '^(pg_|information_schema)' AND $1::text[] IS NOT NULL
                AND has_function_privilege(p.oid, 'EXECUTE')
                AND NOT ('search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}'))
                  AND 'row_security=on' = ANY (coalesce(p.proconfig, '{}')))",
    },
    Check {
        name: "definer-owner",
        severity: Severity::Refuses,
        fix: "REVOKE EXECUTE on it, or give it to the gate or the ledger role: it runs with its owner's rights",
        sql: "SELECT 'the app role may call `' || p.oid::regprocedure || '` with the rights of `' || r.rolname || '`'
              FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
              WHERE p.prosecdef AND n.nspname !~ '^(pg_|information_schema)' AND $1::text[] IS NOT NULL
                AND has_function_privilege(p.oid, 'EXECUTE')
                AND r.rolname <> ALL (ARRAY[regexp_replace(session_user, '_app$', '_gate'), regexp_replace(session_user, '_app$', '_ledger')])",
    },
    Check {
        name: "views",
        severity: Severity::Refuses,
        fix: "REVOKE it: a view shows its owner's rows, a materialized view everybody's, a sequence everybody's pace; security_invoker views are good",
        sql: "SELECT 'the app role may reach `' || c.oid::regclass || '`, which is no table behind a wall'
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname !~ '^(pg_|information_schema)' AND $1::text[] IS NOT NULL
                AND (c.relkind IN ('v', 'm', 'f') AND has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE')
                    AND NOT (c.relkind = 'v' AND coalesce('security_invoker=true' = ANY (c.reloptions), false))
                  OR c.relkind = 'S' AND has_sequence_privilege(c.oid, 'USAGE, SELECT, UPDATE'))",
    },
    Check {
        name: "other-roles",
        severity: Severity::Refuses,
        fix: "ALTER ROLE … NOSUPERUSER NOBYPASSRLS: no role of the product stands above the walls",
        sql: "SELECT 'role `' || rolname || '` is ' || CASE WHEN rolsuper THEN 'superuser' ELSE 'bypassrls' END
              FROM pg_roles WHERE (rolsuper OR rolbypassrls) AND $1::text[] IS NOT NULL
                AND rolname IN (SELECT regexp_replace(session_user, '_app$', '') || '_' || part
                  FROM unnest(ARRAY['owner', 'gate', 'ledger', 'digest', 'backfill', 'ops', 'migrate', 'operator']) part)",
    },
    Check {
        name: "create-and-temp",
        severity: Severity::Refuses,
        fix: "REVOKE it, or run install again: rights on the database are in no dump",
        sql: "SELECT 'the app role may ' || right_ || ' in this database' FROM unnest(ARRAY['CREATE', 'TEMPORARY']) right_
              WHERE has_database_privilege(current_database(), right_) AND $1::text[] IS NOT NULL
              UNION ALL SELECT 'the app role may create in schema `' || nspname || '`' FROM pg_namespace
              WHERE has_schema_privilege(oid, 'CREATE') AND nspname !~ '^pg_'",
    },
    Check {
        name: "public-functions",
        severity: Severity::Gap,
        fix: "run install as a superuser once: all studios are one role, so this is a channel between them",
        sql: "SELECT 'the app role may call `' || p.oid::regprocedure || '`' FROM pg_proc p
              WHERE p.pronamespace = 'pg_catalog'::regnamespace AND $1::text[] IS NOT NULL
                AND (p.proname ~ '^pg_(try_)?advisory_' OR p.proname IN ('pg_terminate_backend', 'pg_cancel_backend',
                  'pg_lock_status', 'pg_stat_get_activity', 'pg_notify', 'lo_create', 'lo_from_bytea', 'pg_sleep', 'query_to_xml'))
                AND has_function_privilege(p.oid, 'EXECUTE')",
    },
    Check {
        name: "other-policies",
        severity: Severity::Refuses,
        fix: "DROP the policy: it opens rows to a role that is not the app's, the gate's, the ledger's or the digest's",
        sql: "SELECT 'policy `' || p.polname || '` on `' || p.polrelid::regclass || '` is for PUBLIC'
              FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
              WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1)) AND 0 = ANY (p.polroles)",
    },
];
