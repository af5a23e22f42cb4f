//! Installing and migrating: idempotent, in one transaction a step, and right about rows that a
//! forced owner cannot see.

use secrecy::SecretString;
use watertight_tenancy::{InstallFault, Installation, Migration, support::RawConnection};

use crate::world::World;

async fn migrate(
    world: &World,
    migrations: &[Migration],
) -> Result<Vec<&'static str>, InstallFault> {
    let all = [&studio::commands::migrations(), migrations];
    let installation = Installation::new("studio", all.concat()).unwrap();
    installation.migrate(owner(world), &[]).await
}

fn owner(world: &World) -> &SecretString {
    world.config.database.owner_url.as_ref().unwrap()
}

const NOTES: Migration = Migration {
    name: "studio/9001_notes",
    sql: "CREATE TABLE studio.notes (tenant_id uuid NOT NULL, id uuid NOT NULL, artist_id uuid, PRIMARY KEY (tenant_id, id));
          SELECT tenancy.protect('studio.notes')",
};

const REFERENCE: Migration = Migration {
    name: "studio/9002_reference",
    sql: "SELECT tenancy.add_reference('studio.notes', 'notes_artist',
            'FOREIGN KEY (tenant_id, artist_id) REFERENCES studio.artists (tenant_id, id)')",
};

#[tokio::test]
async fn migrating_again_changes_nothing_and_a_changed_migration_is_refused() {
    let world = World::new().await;
    assert!(migrate(&world, &[]).await.unwrap().is_empty());
    assert_eq!(migrate(&world, &[NOTES]).await.unwrap(), vec![NOTES.name]);
    assert!(migrate(&world, &[NOTES]).await.unwrap().is_empty());
    let changed = Migration {
        sql: "SELECT 1",
        ..NOTES
    };
    assert!(matches!(
        migrate(&world, &[changed]).await,
        Err(InstallFault::Changed(_))
    ));
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing() {
    let world = World::new().await;
    let broken = Migration {
        name: "studio/9003_broken",
        sql: "CREATE TABLE studio.half (i integer); SELECT 1 / 0",
    };
    let error = migrate(&world, &[broken]).await.unwrap_err().to_string();
    assert!(
        error.contains("9003_broken") && error.contains("22012"),
        "{error}"
    );
    let there: bool = world
        .as_admin()
        .await
        .value("SELECT to_regclass('studio.half') IS NOT NULL", &[])
        .await
        .unwrap();
    assert!(!there);
}

#[tokio::test]
async fn a_foreign_key_finds_the_orphan_that_a_forced_owner_cannot_see() {
    let world = World::new().await;
    migrate(&world, &[NOTES]).await.unwrap();
    let admin = world.as_admin().await;
    let orphan = "INSERT INTO studio.notes SELECT tenant_id, gen_random_uuid(), gen_random_uuid() FROM tenancy.studios";
    admin.script(orphan).await.unwrap();
    // The trap: added plainly by the owner it is called valid over the orphan …
    let plain = Migration {
        name: "studio/9002_plain",
        sql: "ALTER TABLE studio.notes ADD CONSTRAINT notes_artist
                FOREIGN KEY (tenant_id, artist_id) REFERENCES studio.artists (tenant_id, id)",
    };
    let said = migrate(&world, &[NOTES, plain])
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("42501") || said.contains("orphans"), "{said}");
    admin
        .script("ALTER TABLE studio.notes DROP CONSTRAINT IF EXISTS notes_artist")
        .await
        .unwrap();
    // … while the idiom finds it,
    let said = migrate(&world, &[NOTES, REFERENCE])
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("23503"), "{said}");
    // accepts good rows,
    admin.script("DELETE FROM studio.notes; INSERT INTO studio.notes SELECT tenant_id, gen_random_uuid(), id FROM studio.artists").await.unwrap();
    assert_eq!(
        migrate(&world, &[NOTES, REFERENCE]).await.unwrap(),
        vec![REFERENCE.name]
    );
    // and leaves the owner its SELECT and the table its force.
    let sound: bool = admin
        .value(
            "SELECT has_table_privilege('studio_owner', 'studio.notes', 'SELECT') AND relforcerowsecurity
             FROM pg_class WHERE oid = 'studio.notes'::regclass",
            &[],
        )
        .await
        .unwrap();
    assert!(sound);
}

#[tokio::test]
async fn an_update_as_owner_is_an_error_and_the_backfill_role_reaches_every_row() {
    let world = World::new().await;
    let silent = Migration {
        name: "studio/9004_silent",
        sql: "UPDATE studio.artists SET notes = 'filled'",
    };
    let said = migrate(&world, &[silent]).await.unwrap_err().to_string();
    assert!(
        said.contains("42501"),
        "a forced owner's update must be loud: {said}"
    );
    let backfill = Migration {
        name: "studio/9005_backfill",
        sql: "SELECT tenancy.open_backfill('studio.artists', ARRAY['notes']::name[]);
              SET LOCAL ROLE {app}_backfill; SET LOCAL row_security = on;
              UPDATE studio.artists SET notes = 'filled';
              SET LOCAL ROLE {app}_owner; SET LOCAL row_security = off;
              SELECT tenancy.close_backfill('studio.artists')",
    };
    assert_eq!(migrate(&world, &[backfill]).await.unwrap().len(), 1);
    let admin = world.as_admin().await;
    let filled: i64 = admin
        .value(
            "SELECT count(*) FROM studio.artists WHERE notes = 'filled'",
            &[],
        )
        .await
        .unwrap();
    let left: i64 = admin
        .value(
            "SELECT count(*) FROM pg_policies WHERE policyname LIKE 'backfill%'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((filled, left), (6, 0));
}

#[tokio::test]
async fn protect_refuses_a_table_whose_keys_are_bridges_or_oracles() {
    let world = World::new().await;
    let raw = RawConnection::connect(owner(&world)).await.unwrap();
    raw.script("SET ROLE studio_owner").await.unwrap();
    for (columns, why) in [
        (
            "tenant_id uuid, id uuid, UNIQUE (tenant_id, id)",
            "tenant_id uuid NOT NULL",
        ),
        (
            "tenant_id text NOT NULL, id uuid, PRIMARY KEY (tenant_id, id)",
            "tenant_id uuid NOT NULL",
        ),
        (
            "id uuid PRIMARY KEY, tenant_id uuid NOT NULL",
            "do not lead",
        ),
        (
            "tenant_id uuid NOT NULL, id uuid, name text UNIQUE, PRIMARY KEY (tenant_id, id)",
            "do not lead",
        ),
        (
            "tenant_id uuid NOT NULL, id uuid, other uuid REFERENCES studio.other, PRIMARY KEY (tenant_id, id)",
            "do not lead",
        ),
    ] {
        raw.script("DROP TABLE IF EXISTS studio.candidate, studio.other; CREATE TABLE studio.other (id uuid PRIMARY KEY)").await.unwrap();
        raw.script(&format!("CREATE TABLE studio.candidate ({columns})"))
            .await
            .unwrap();
        let refused = raw
            .script("SELECT tenancy.protect('studio.candidate')")
            .await
            .unwrap_err();
        let said = refused.as_db_error().unwrap().message().to_owned();
        assert!(said.contains(why), "{columns}: {said}");
    }
    raw.script("DROP TABLE studio.candidate; CREATE TABLE studio.candidate (tenant_id uuid NOT NULL, id uuid, PRIMARY KEY (tenant_id, id))")
        .await
        .unwrap();
    raw.script("SELECT tenancy.protect('studio.candidate')")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_prefix_that_would_become_sql_is_refused() {
    for prefix in ["", "1a", "a-b", "a;drop", "A", &"a".repeat(32)] {
        assert!(Installation::new(prefix, Vec::new()).is_err(), "{prefix}");
    }
    assert!(Installation::new("studio_2", Vec::new()).is_ok());
}

/// Managed services give CREATEROLE and a database, and no superuser.
#[tokio::test]
async fn an_administrator_who_is_no_superuser_can_install_and_the_gap_is_named() {
    use watertight_tenancy::{Expectation, KeyTable, Passwords, Severity, examine, login_url};
    use watertight_terms::{Clock, Key, KeyRing, Random};
    let random = Random::system();
    let unique = random.uuid().simple().to_string();
    let prefix = format!("p{}", &unique[..8]);
    let server = crate::world::server();
    let superuser = RawConnection::connect(&server).await.unwrap();
    superuser
        .script(&format!(
            "CREATE ROLE {prefix}_admin LOGIN CREATEROLE PASSWORD 'admin-{unique}'"
        ))
        .await
        .unwrap();
    superuser
        .script(&format!("CREATE DATABASE {prefix} OWNER {prefix}_admin"))
        .await
        .unwrap();
    let database = crate::world::database_url(&server, &prefix);
    let admin = login_url(
        &database,
        &format!("{prefix}_admin"),
        &format!("admin-{unique}").into(),
    )
    .unwrap();
    let password = |role: &str| SecretString::from(format!("{role}-{unique}"));
    let passwords = Passwords {
        app: password("app"),
        migrate: password("migrate"),
        operator: password("operator"),
    };
    let installation = Installation::new(&prefix, studio::commands::migrations()).unwrap();
    installation.roles(&admin, &passwords).await.unwrap();
    installation.roles(&admin, &passwords).await.unwrap();
    let context = KeyRing::single(1, Key::new(random.bytes()));
    let migrate = login_url(&database, &format!("{prefix}_migrate"), &passwords.migrate).unwrap();
    let applied = installation
        .migrate(&migrate, &[KeyTable::context(context.clone())])
        .await
        .unwrap();
    assert_eq!(applied.len(), studio::commands::migrations().len());
    let expected = Expectation {
        prefix: prefix.clone(),
        personal: studio::resources::personal_columns(),
        context,
        clock: Clock::system(),
        random,
    };
    let app = login_url(&database, &format!("{prefix}_app"), &passwords.app).unwrap();
    let findings = examine(&app, &expected).await.unwrap();
    assert!(!findings.is_empty());
    for finding in &findings {
        assert_eq!(
            (finding.check, finding.severity),
            ("public-functions", Severity::Gap),
            "{}",
            finding.what
        );
    }
    superuser
        .script(&format!("DROP DATABASE {prefix} WITH (FORCE)"))
        .await
        .unwrap();
}

/// A database from before slices, versions and projects: its bookings get all three.
#[tokio::test]
async fn bookings_from_before_get_their_slices_a_first_version_and_a_project() {
    use watertight_tenancy::{Passwords, login_url};
    use watertight_terms::Random;
    let unique = Random::system().uuid().simple().to_string();
    let prefix = format!("p{}", &unique[..8]);
    let server = crate::world::server();
    let superuser = RawConnection::connect(&server).await.unwrap();
    superuser
        .script(&format!("CREATE DATABASE {prefix}"))
        .await
        .unwrap();
    let database = crate::world::database_url(&server, &prefix);
    let password = |role: &str| SecretString::from(format!("{role}-{unique}"));
    let passwords = Passwords {
        app: password("app"),
        migrate: password("migrate"),
        operator: password("operator"),
    };
    let all = studio::commands::migrations();
    let before: Vec<_> = all
        .iter()
        .filter(|m| !m.name.starts_with("studio/") || m.name < "studio/0003")
        .copied()
        .collect();
    let later = all.len() - before.len();
    let before = Installation::new(&prefix, before).unwrap();
    before.roles(&database, &passwords).await.unwrap();
    let migrate = login_url(&database, &format!("{prefix}_migrate"), &passwords.migrate).unwrap();
    before.migrate(&migrate, &[]).await.unwrap();
    let raw = RawConnection::connect(&database).await.unwrap();
    raw.script(
        "INSERT INTO tenancy.studios (tenant_id, name, zone, organization, lock_key)
           SELECT gen_random_uuid(), 'studio ' || n, 'UTC', 'org_' || n, n FROM generate_series(1, 3) n;
         INSERT INTO studio.artists (tenant_id, id, name) SELECT tenant_id, gen_random_uuid(), 'x' FROM tenancy.studios WHERE lock_key < 3;
         INSERT INTO studio.bookings (tenant_id, id, reference, artist_id, state, starts_at, ends_at)
           SELECT tenant_id, gen_random_uuid(), state, id, state, '2031-01-01', '2031-01-02'
           FROM studio.artists, unnest(ARRAY['pencil', 'confirmed', 'cancelled']) state;
         INSERT INTO studio.occupancy (tenant_id, id, artist_id, slice, kind, source_id, blocks)
           SELECT tenant_id, gen_random_uuid(), artist_id, tstzrange(starts_at, ends_at), 'booking', id, true FROM studio.bookings WHERE state = 'confirmed'",
    )
    .await
    .unwrap();
    let now = Installation::new(&prefix, all).unwrap();
    assert_eq!(now.migrate(&migrate, &[]).await.unwrap().len(), later);
    for (what, expected, sql) in [
        (
            "slices",
            6,
            "SELECT count(*) FROM studio.bookings WHERE slice_starts = ARRAY[starts_at] AND slice_ends = ARRAY[ends_at]",
        ),
        (
            "own projects",
            6,
            "SELECT count(*) FROM studio.bookings b JOIN studio.projects p ON p.tenant_id = b.tenant_id AND p.id = b.project_id",
        ),
        (
            "projects where there were bookings",
            2,
            "SELECT count(*) FROM studio.projects",
        ),
        (
            "versions as they are now",
            6,
            "SELECT count(*) FROM studio.bookings b JOIN studio.booking_versions v ON v.source_id = b.id AND v.version = b.version",
        ),
        (
            "time that is taken",
            2,
            "SELECT count(*) FROM studio.occupancy WHERE blocks AND state = 'confirmed'",
        ),
        (
            "options",
            2,
            "SELECT count(*) FROM studio.occupancy WHERE NOT blocks AND state = 'pencil'",
        ),
        (
            "all that has time",
            4,
            "SELECT count(*) FROM studio.occupancy",
        ),
        (
            "what the backfill may still do",
            0,
            "SELECT count(*) FROM information_schema.role_table_grants WHERE grantee LIKE '%_backfill'",
        ),
    ] {
        assert_eq!(
            raw.value::<i64>(sql, &[]).await.unwrap(),
            expected,
            "{what}"
        );
    }
    drop(raw);
    superuser
        .script(&format!("DROP DATABASE {prefix} WITH (FORCE)"))
        .await
        .unwrap();
}
