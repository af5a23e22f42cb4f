//! Every column of the product's tables is classified, and every classification is of a column.

use std::collections::BTreeSet;

use studio::resources::{Columns, library, tables};

use crate::world::World;

// asvs: V14.1.1
#[tokio::test]
async fn the_classes_are_the_live_schema_both_ways() {
    let world = World::new().await;
    let live: Vec<String> = world
        .as_admin()
        .await
        .value(
            "SELECT array_agg(a.attrelid::regclass || '.' || a.attname || ' ' || t.typname ORDER BY 1)
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public') AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped",
            &[],
        )
        .await
        .unwrap();
    let named = |line: &String| line.split(' ').next().unwrap().to_owned();
    let live_names: BTreeSet<String> = live.iter().map(named).collect();
    let classified: BTreeSet<String> = tables()
        .flat_map(|table| {
            table
                .columns
                .iter()
                .map(|(column, _)| format!("{}.{column}", table.table))
        })
        .collect();
    assert_eq!(live_names, classified);
    // A personal column holds bytes that the vault made, never text.
    let of_library = |table: &&Columns| !library::TABLES.iter().any(|one| one.table == table.table);
    for table in tables().filter(of_library) {
        for (column, class) in table.columns {
            let line = format!("{}.{column} bytea", table.table);
            assert_eq!(class.is_sealed(), live.contains(&line), "{line}");
        }
    }
}

/// A column that the vault does not know of would lose its values with the keys that a rotation destroys.
#[tokio::test]
async fn every_personal_column_is_known_to_the_vault() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let known: Vec<String> = raw
        .value(
            "SELECT array_agg(c) FROM (SELECT place FROM vault.sealed_columns
               UNION ALL SELECT rel::text || '.' || index_col FROM vault.sealed_columns WHERE index_col IS NOT NULL) k (c)",
            &[],
        )
        .await
        .unwrap();
    let mut known: BTreeSet<String> = known.into_iter().collect();
    assert!(known.remove("tenancy.answers.sealed"), "the studio's own");
    let personal: BTreeSet<String> = studio::resources::personal_columns()
        .iter()
        .map(|(table, column)| format!("{table}.{column}"))
        .collect();
    assert_eq!(known, personal);
}
