//! The server refuses to start on a database that is not as it must be: each wall is taken away, the
//! examination names it, the wall is put back, and the examination is silent again.

use secrecy::ExposeSecret;
use studio::app::{AppFault, findings};
use watertight_tenancy::Severity;
use watertight_terms::{Clock, Random};

use crate::world::World;

async fn found(world: &World) -> Vec<String> {
    let findings = findings(&world.config, &Clock::system(), &Random::system())
        .await
        .unwrap();
    findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Refuses)
        .map(|finding| format!("{}: {}", finding.check, finding.what))
        .collect()
}

#[tokio::test]
async fn a_sound_database_is_accepted_and_each_missing_wall_is_named() {
    let world = World::new().await;
    assert_eq!(found(&world).await, Vec::<String>::new());
    let admin = world.as_admin().await;
    for (away, back, check) in [
        (
            "ALTER TABLE studio.bookings NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE studio.bookings FORCE ROW LEVEL SECURITY",
            "row-security",
        ),
        (
            "ALTER TABLE studio.artists DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE studio.artists ENABLE ROW LEVEL SECURITY",
            "row-security",
        ),
        (
            "ALTER POLICY wall ON studio.bookings WITH CHECK (true)",
            "ALTER POLICY wall ON studio.bookings WITH CHECK (tenant_id = (SELECT tenancy.tenant_id()))",
            "wall",
        ),
        (
            "ALTER POLICY wall ON studio.artists USING (true)",
            "ALTER POLICY wall ON studio.artists USING (tenant_id = (SELECT tenancy.tenant_id()))",
            "wall",
        ),
        (
            "ALTER TABLE studio.artists ENABLE TRIGGER ledger_capture",
            "ALTER TABLE studio.artists ENABLE ALWAYS TRIGGER ledger_capture",
            "ledger-capture",
        ),
        (
            "ALTER TABLE studio.projects DISABLE TRIGGER ledger_capture",
            "ALTER TABLE studio.projects ENABLE ALWAYS TRIGGER ledger_capture",
            "ledger-capture",
        ),
        (
            "DROP TRIGGER ledger_capture ON studio.bookings",
            "CREATE TRIGGER ledger_capture AFTER INSERT OR UPDATE OR DELETE ON studio.bookings FOR EACH ROW EXECUTE FUNCTION ledger.capture('id');
             ALTER TABLE studio.bookings ENABLE ALWAYS TRIGGER ledger_capture",
            "ledger-capture",
        ),
        (
            "GRANT DELETE ON studio.bookings TO studio_app",
            "REVOKE DELETE ON studio.bookings FROM studio_app",
            "table-rights",
        ),
        (
            "GRANT UPDATE ON studio.bookings TO studio_app",
            "REVOKE UPDATE ON studio.bookings FROM studio_app; GRANT UPDATE (version, updated_at, artist_id, title, state, starts_at, ends_at, notes, reason, payable, archived_at) ON studio.bookings TO studio_app",
            "table-rights",
        ),
        (
            "GRANT SELECT ON tenancy.keys TO studio_app",
            "REVOKE SELECT ON tenancy.keys FROM studio_app",
            "no-tenant",
        ),
        (
            "GRANT SELECT ON install.migrations TO studio_app",
            "REVOKE SELECT ON install.migrations FROM studio_app",
            "no-tenant",
        ),
        (
            "CREATE POLICY careless ON studio.bookings USING (true)",
            "DROP POLICY careless ON studio.bookings",
            "other-policies",
        ),
        (
            "CREATE UNIQUE INDEX careless ON studio.artists (name)",
            "DROP INDEX studio.careless",
            "keys-lead-with-tenant",
        ),
        (
            "CREATE TABLE studio.careless (tenant_id uuid NOT NULL, id uuid PRIMARY KEY, artist uuid)",
            "DROP TABLE studio.careless",
            "row-security",
        ),
        (
            "ALTER FUNCTION tenancy.enter(text) RESET search_path",
            "ALTER FUNCTION tenancy.enter(text) SET search_path = pg_catalog, pg_temp",
            "definer-search-path",
        ),
        (
            "ALTER TABLE studio.artists ALTER email SET STATISTICS 100",
            "ALTER TABLE studio.artists ALTER email SET STATISTICS 0",
            "personal-statistics",
        ),
        (
            "UPDATE tenancy.keys SET retired_at = now() WHERE purpose = 'context'",
            "UPDATE tenancy.keys SET retired_at = NULL",
            "context-key",
        ),
        (
            "GRANT CREATE ON SCHEMA studio TO studio_app",
            "REVOKE CREATE ON SCHEMA studio FROM studio_app",
            "create-and-temp",
        ),
        (
            "CREATE VIEW studio.careless AS SELECT * FROM studio.bookings; GRANT SELECT ON studio.careless TO studio_app",
            "DROP VIEW studio.careless",
            "views",
        ),
        (
            "CREATE MATERIALIZED VIEW studio.careless AS SELECT * FROM studio.bookings; GRANT SELECT ON studio.careless TO studio_app",
            "DROP MATERIALIZED VIEW studio.careless",
            "views",
        ),
        (
            "CREATE SEQUENCE studio.careless; GRANT USAGE ON SEQUENCE studio.careless TO studio_app",
            "DROP SEQUENCE studio.careless",
            "views",
        ),
        (
            "CREATE FUNCTION studio.careless() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = on AS 'SELECT count(*) FROM studio.bookings'",
            "DROP FUNCTION studio.careless()",
            "definer-owner",
        ),
    ] {
        admin.script(away).await.unwrap();
        let named = found(&world).await;
        assert!(
            named.iter().any(|finding| finding.starts_with(check)),
            "{away}: {named:?}"
        );
        admin.script(back).await.unwrap();
        assert_eq!(found(&world).await, Vec::<String>::new(), "{back}");
    }
}

#[tokio::test]
async fn the_server_refuses_to_start_as_another_role_or_with_a_missing_wall() {
    let world = World::new().await;
    world.app.examine().await.unwrap();
    world
        .as_admin()
        .await
        .script("ALTER TABLE studio.bookings NO FORCE ROW LEVEL SECURITY")
        .await
        .unwrap();
    let refused = world.app.examine().await.unwrap_err();
    assert!(matches!(refused, AppFault::Unsafe(_)));
    assert!(refused.to_string().contains("studio.bookings"), "{refused}");
    let mut config = world.config.clone();
    config.database.url = world.admin.expose_secret().to_owned().into();
    let findings = findings(&config, &Clock::system(), &Random::system())
        .await
        .unwrap();
    for check in ["role-name", "role-attributes"] {
        assert!(
            findings.iter().any(|finding| finding.check == check),
            "{check}"
        );
    }
}

#[tokio::test]
async fn rights_that_public_has_again_are_a_named_gap() {
    let world = World::new().await;
    world
        .as_admin()
        .await
        .script("GRANT EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint) TO PUBLIC")
        .await
        .unwrap();
    let findings = findings(&world.config, &Clock::system(), &Random::system())
        .await
        .unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(
        (findings[0].check, findings[0].severity),
        ("public-functions", Severity::Gap)
    );
}

/// What is old of one studio is named whatever is new of another, and who could read both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_studio_without_an_archive_and_a_recipient_of_two_studios_are_named() {
    use std::{fs, os::unix::fs::PermissionsExt};

    let world = World::new().await;
    let raw = world.as_admin().await;
    raw.script("UPDATE tenancy.studios SET created_at = now() - interval '100 days'")
        .await
        .unwrap();
    let beside = |name: &str| world.config.keys.location.with_file_name(name);
    let (folder, named) = (beside("archives"), beside("{studio}.recipients"));
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let file = beside("studio.toml");
    let text = fs::read_to_string(&file).unwrap();
    let backup = format!(
        "[backup]\nfolder = {folder:?}\nrecipients_file = {:?}\n",
        named.display().to_string()
    );
    fs::write(&file, text + &backup).unwrap();
    let recipients = |studio: usize, text: &str| {
        let file = format!("{}.recipients", world.studios[studio].tenant);
        fs::write(beside(&file), text).unwrap();
    };
    let archive = |studio: usize| {
        let file = crate::metrics::archive(&folder, &world, studio, "data");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let gaps = async || -> Vec<String> {
        let mut command = world.command(&["doctor"]);
        let said = tokio::task::spawn_blocking(move || command.output().unwrap());
        let said: serde_json::Value = serde_json::from_slice(&said.await.unwrap().stdout).unwrap();
        let findings = said["findings"].as_array().unwrap().iter();
        let ours =
            findings.filter(|found| found["check"] == "backup" || found["check"] == "recipients");
        ours.map(|found| found["what"].as_str().unwrap().to_owned())
            .collect()
    };
    let [own, others] =
        [(); 2].map(|()| watertight_custody::archive::Identities::generate().recipients());
    recipients(0, &own);
    recipients(1, &others);
    archive(0);
    let [old] = gaps().await.try_into().unwrap();
    assert!(old.contains("1 studios have no archive"), "{old}");
    archive(1);
    assert_eq!(gaps().await, Vec::<String>::new());
    recipients(1, &format!("{others}{own}"));
    let [shared] = gaps().await.try_into().unwrap();
    assert!(
        shared.contains(own.trim()) && shared.contains("2 studios"),
        "{shared}"
    );
}
