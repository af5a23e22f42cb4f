//! What is done to studios outside the API stands in their ledgers.

use watertight_tenancy::{Installation, Migration};

use crate::{
    freeze::{freeze, thaw},
    world::World,
};

/// The entries of an action in each studio of the world: who, why, how many rows.
async fn entries(world: &World, action: &str) -> Vec<[Vec<String>; 2]> {
    let admin = world.as_admin().await;
    let mut found = Vec::new();
    for studio in &world.studios {
        let sql = "SELECT coalesce(array_agg(concat_ws('|', body ->> 'actor', body ->> 'role', jsonb_array_length(leaf::jsonb -> 'changes')) ORDER BY at), '{}')
            FROM ledger.entries WHERE tenant_id = $1 AND body ->> 'action' = $2";
        let who = admin.value(sql, &[&studio.tenant, &action]).await.unwrap();
        let sql = "SELECT coalesce(array_agg(body ->> 'client_request_id' ORDER BY at), '{}')
            FROM ledger.entries WHERE tenant_id = $1 AND body ->> 'action' = $2";
        let why = admin.value(sql, &[&studio.tenant, &action]).await.unwrap();
        found.push([who, why]);
    }
    found
}

#[tokio::test]
async fn freezing_and_thawing_are_entries_of_the_studio_and_of_no_other() {
    let world = World::new().await;
    let (incident, _) = freeze(&world, 0).await;
    thaw(&world, 0, incident).await;
    for (action, why) in [
        ("studio.freeze", "active to freezing"),
        ("studio.drain", "freezing to frozen"),
        ("incident.isolate", "a test"),
        ("studio.thaw", "frozen to active"),
        ("incident.thaw", "a test"),
    ] {
        let who = "operator:studio_operator|operator|0".to_owned();
        let expected = [vec![who], vec![why.to_owned()]];
        assert_eq!(
            entries(&world, action).await,
            [expected, Default::default()]
        );
    }
}

#[tokio::test]
async fn a_migration_is_an_entry_of_every_studio_with_what_it_changed() {
    let world = World::new().await;
    let owner = world.config.database.owner_url.clone().unwrap();
    let migrations = vec![
        Migration {
            name: "test/0001_column",
            sql: "ALTER TABLE studio.artists ADD COLUMN nothing integer",
        },
        Migration {
            name: "test/0002_backfill",
            sql: "SELECT tenancy.open_backfill('studio.artists', ARRAY['nothing']::name[]);
                  SET LOCAL ROLE {app}_backfill; SET LOCAL row_security = on; UPDATE studio.artists SET nothing = 1;
                  SET LOCAL ROLE {app}_owner; SET LOCAL row_security = off; SELECT tenancy.close_backfill('studio.artists')",
        },
    ];
    let installation = Installation::new("studio", migrations).unwrap();
    installation.migrate(&owner, &[]).await.unwrap();
    let artists = world.studios[0].artists.len();
    for [who, why] in entries(&world, "database.migrate").await {
        assert_eq!(why, ["test/0001_column", "test/0002_backfill"]);
        assert_eq!(who[0], "operator:studio_migrate|operator|0");
        assert_eq!(
            who[1],
            format!("operator:studio_migrate|operator|{artists}")
        );
    }
}
