//! What the demonstration tells attackers of its database is what is there: a table or a function that came
//! since would be a finding of theirs that is none, and what they are not told of is not attacked.

use studio::demo::target::{DEFINER_FUNCTIONS, GLOBAL_TABLES, SCHEMAS};

use crate::world::World;

#[tokio::test]
async fn attackers_are_told_of_the_tables_and_functions_that_are_there() {
    let world = World::new().await;
    let raw = world.as_admin().await;
    let found = async |sql: &str| {
        let sql = format!(
            "SELECT coalesce(array_agg(DISTINCT name COLLATE \"C\"), '{{}}') FROM ({sql}) found (name)"
        );
        raw.value::<Vec<String>>(&sql, &[]).await.unwrap()
    };
    let schemas = "SELECT n.nspname::text FROM pg_namespace n WHERE n.nspname !~ '^(pg_|information_schema$|public$)'";
    assert_eq!(sorted(SCHEMAS), found(schemas).await);
    let without_wall = format!(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm')
           AND c.relnamespace::regnamespace::text IN ({schemas})
           AND (NOT c.relrowsecurity OR NOT EXISTS (SELECT FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))"
    );
    assert_eq!(sorted(GLOBAL_TABLES), found(&without_wall).await);
    let callable = format!(
        "SELECT p.proname::text FROM pg_proc p WHERE p.prosecdef
           AND p.pronamespace::regnamespace::text IN ({schemas}) AND has_function_privilege('studio_app', p.oid, 'EXECUTE')"
    );
    assert_eq!(sorted(DEFINER_FUNCTIONS), found(&callable).await);
}

fn sorted(names: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().copied().map(ToOwned::to_owned).collect();
    names.sort();
    names
}
