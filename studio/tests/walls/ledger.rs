//! The log of the ledger: numbered, signed, and telling of whoever tampers with it. Tampering is done as
//! superuser, who can do anything to the database and nothing to what lies outside.

use std::collections::BTreeMap;

use clap::Parser;
use studio::{
    app::App,
    commands::{Cli, Verdict, Verification},
};
use uuid::Uuid;
use watertight_ledger::{Edge, Hash, leaf_hash, notes};
use watertight_prover_core::chain_hash;
use watertight_tenancy::support::{FromSqlOwned, RawConnection};
use watertight_terms::{Clock, Random, TenantId};

use crate::world::{World, verifier};

/// A world in which both studios have a log.
pub(crate) async fn logged() -> World {
    let world = World::new().await;
    traffic(&world).await;
    settle(&world.app).await;
    world
}

/// A few requests in both studios, some of them refused.
async fn traffic(world: &World) {
    for studio in [0, 1] {
        for (part, path) in [
            ("owner", "/v1/artists"),
            ("manager", "/v1/bookings"),
            ("guest", "/v1/artists"),
            ("owner", "/v1/projects"),
        ] {
            world
                .send("GET", path, &world.token(studio, part), None)
                .await;
        }
    }
}

/// Checkpoints until nothing waits.
pub(crate) async fn settle(app: &App) {
    for _ in 0..100 {
        let round = app.checkpointer.round().await.unwrap();
        if round.numbered == 0 && round.behind.is_empty() {
            return;
        }
    }
    panic!("there is always more to number");
}

/// Another process's app over the same database and folder.
pub(crate) fn another(world: &World) -> App {
    App::new(
        world.config.clone(),
        verifier(&world.double),
        Clock::system(),
        Random::system(),
    )
    .unwrap()
}

pub(crate) fn tenant(world: &World, studio: usize) -> TenantId {
    TenantId(world.studios[studio].tenant)
}

pub(crate) async fn verdict(world: &World, studio: usize) -> Verdict {
    let verification = Verification::new(&world.config).await.unwrap();
    let verdict = verification
        .verify(tenant(world, studio), None, |_, _| {})
        .await;
    verdict.unwrap()
}

async fn found(world: &World, studio: usize) -> String {
    match verdict(world, studio).await {
        Verdict::Found(what) => what,
        Verdict::Sound(summary) => panic!("nothing was found: {summary:?}"),
    }
}

/// The log is sound, and every entry of it is covered by a checkpoint.
async fn sound(world: &World, studio: usize) -> u64 {
    match verdict(world, studio).await {
        Verdict::Sound(summary) => {
            assert_eq!(summary.covered, summary.entries);
            summary.entries
        }
        Verdict::Found(what) => panic!("{what}"),
    }
}

async fn id_of(raw: &RawConnection, tenant: TenantId, seq: i64) -> Uuid {
    raw.value(
        "SELECT entry_id FROM ledger.leaves WHERE tenant_id = $1 AND seq = $2",
        &[&tenant.0, &seq],
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn every_entry_is_numbered_once_and_covered_by_a_checkpoint_outside() {
    let world = logged().await;
    let (a, b) = (sound(&world, 0).await, sound(&world, 1).await);
    assert!(a >= 4 && b >= 4, "{a} {b}");
    assert_eq!(world.app.checkpointer.round().await.unwrap().numbered, 0);
    // Another process goes on where this one stopped, and this one after it.
    traffic(&world).await;
    let other = another(&world);
    settle(&other).await;
    assert_eq!(sound(&world, 0).await, a + 4);
    traffic(&world).await;
    settle(&world.app).await;
    assert_eq!(sound(&world, 1).await, b + 8);
    let admin = world.as_admin().await;
    let gaps: i64 = admin
        .value(
            "SELECT count(*) FROM (SELECT seq - row_number() OVER (PARTITION BY tenant_id ORDER BY seq) AS d
               FROM ledger.leaves) n WHERE d <> -1",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(gaps, 0);
}

/// The database writes some entries by itself: what it takes for canonical must be what everybody does.
#[tokio::test]
async fn every_leaf_is_canonical_json() {
    let world = logged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    let odd = "a\"b\\c/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}\u{2028}€𝄞é";
    admin
        .run(
            "SELECT ledger.note_service($1, $2, $2, $2, $2, ARRAY[gen_random_uuid(), gen_random_uuid()])",
            &[&studio.0, &odd],
        )
        .await
        .unwrap();
    let leaves: Vec<String> = admin
        .value("SELECT array_agg(leaf) FROM ledger.entries", &[])
        .await
        .unwrap();
    assert!(leaves.iter().any(|leaf| leaf.contains('𝄞')));
    for leaf in leaves {
        let value: serde_json::Value = serde_json::from_str(&leaf).unwrap();
        assert_eq!(serde_json_canonicalizer::to_string(&value).unwrap(), leaf);
    }
}

#[tokio::test]
async fn two_processes_number_the_same_entries_once() {
    let world = logged().await;
    let (first, second) = (another(&world), another(&world));
    let before = sound(&world, 0).await;
    for _ in 0..10 {
        traffic(&world).await;
        let (a, b) = tokio::join!(first.checkpointer.round(), second.checkpointer.round());
        a.unwrap();
        b.unwrap();
    }
    settle(&first).await;
    assert_eq!(sound(&world, 0).await, before + 40);
}

#[tokio::test]
async fn a_log_of_many_tiles_is_sound_and_its_tiles_are_those_of_its_leaves() {
    let world = logged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    admin
        .run(
            "SELECT ledger.note($1, 'a.b', 'a', ARRAY[gen_random_uuid()]) FROM generate_series(1, 600)",
            &[&studio.0],
        )
        .await
        .unwrap();
    settle(&world.app).await;
    assert!(sound(&world, 0).await > 600);
    let hashes: Vec<Vec<u8>> = column(&admin, studio, "hash").await;
    let mut edge = Edge::default();
    let whole = hashes.iter().flat_map(|hash| edge.push(array(hash)));
    let whole: Vec<Vec<u8>> = whole.map(|tile| tile.hash.to_vec()).collect();
    let kept: Vec<Vec<u8>> = admin
        .value(
            "SELECT array_agg(hash ORDER BY position) FROM ledger.nodes WHERE tenant_id = $1 AND level = 1",
            &[&studio.0],
        )
        .await
        .unwrap();
    assert_eq!((kept.len(), kept), (2, whole));
}

#[tokio::test]
async fn what_a_killed_process_did_not_write_outside_is_written_at_the_next_start() {
    let world = logged().await;
    let folder = world.config.ledger.checkpoint_dir.clone().unwrap();
    let of = folder.join(tenant(&world, 0).to_string());
    let older = notes(&of).unwrap();
    traffic(&world).await;
    settle(&world.app).await;
    let newer = notes(&of).unwrap();
    assert_ne!(older, newer);
    // As if it had been killed after the commit: outside there is what was before.
    let (path, text) = older.last().unwrap();
    std::fs::write(path, text).unwrap();
    another(&world).checkpointer.catch_up().await.unwrap();
    assert_eq!(notes(&of).unwrap(), newer);
    std::fs::remove_dir_all(&of).unwrap();
    another(&world).checkpointer.catch_up().await.unwrap();
    assert_eq!(notes(&of).unwrap(), newer);
}

#[tokio::test]
async fn an_entry_that_was_changed_is_named() {
    let world = logged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    let id = id_of(&admin, studio, 2).await;
    admin
        .run(
            "UPDATE ledger.entries SET leaf = replace(leaf, '\"status\":', '\"status\":1') WHERE tenant_id = $1 AND entry_id = $2",
            &[&studio.0, &id],
        )
        .await
        .unwrap();
    assert_eq!(
        found(&world, 0).await,
        format!("entry 2 ({id}) was changed")
    );
    sound(&world, 1).await;
}

#[tokio::test]
async fn an_entry_that_is_missing_is_named() {
    for table in ["entries", "leaves"] {
        let world = logged().await;
        let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
        let id = id_of(&admin, studio, 2).await;
        let delete = format!("DELETE FROM ledger.{table} WHERE tenant_id = $1 AND entry_id = $2");
        admin.run(&delete, &[&studio.0, &id]).await.unwrap();
        assert_eq!(found(&world, 0).await, "entry 2 is missing");
        sound(&world, 1).await;
    }
}

#[tokio::test]
async fn entries_that_were_reordered_are_named() {
    // The places of two entries are swapped: once with their hashes, once without.
    for columns in ["entry_id", "entry_id, hash"] {
        let world = logged().await;
        let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
        let (one, other) = (
            id_of(&admin, studio, 1).await,
            id_of(&admin, studio, 3).await,
        );
        let sources = columns
            .replace("entry_id", "b.entry_id")
            .replace("hash", "b.hash");
        admin
            .script(&format!(
                "ALTER TABLE ledger.leaves DROP CONSTRAINT leaves_tenant_id_entry_id_key;
                 UPDATE ledger.leaves a SET ({columns}) = (SELECT {sources} FROM ledger.leaves b
                   WHERE b.tenant_id = a.tenant_id AND b.seq = 4 - a.seq)
                 WHERE a.tenant_id = '{studio}' AND a.seq IN (1, 3)"
            ))
            .await
            .unwrap();
        let what = found(&world, 0).await;
        let named = if columns == "entry_id" {
            "changed"
        } else {
            "reordered"
        };
        assert!(
            what.contains(&format!("entry 1 ({other})")) && what.contains(named),
            "{what} {one}"
        );
        sound(&world, 1).await;
    }
    // The texts of two entries are swapped.
    let world = logged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    let (one, other) = (
        id_of(&admin, studio, 1).await,
        id_of(&admin, studio, 3).await,
    );
    admin
        .script(&format!(
            "UPDATE ledger.entries a SET leaf = b.leaf FROM ledger.entries b
             WHERE a.tenant_id = '{studio}' AND b.tenant_id = '{studio}'
               AND (a.entry_id, b.entry_id) IN (('{one}', '{other}'), ('{other}', '{one}'))"
        ))
        .await
        .unwrap();
    let what = found(&world, 0).await;
    assert!(
        what.starts_with(&format!("entry 1 ({one}) was reordered")),
        "{what}"
    );
}

#[tokio::test]
async fn a_tail_that_was_cut_is_named() {
    let world = logged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    let size = sound(&world, 0).await;
    admin
        .script(&format!(
            "DELETE FROM ledger.entries WHERE tenant_id = '{studio}' AND entry_id IN (
               SELECT entry_id FROM ledger.leaves WHERE tenant_id = '{studio}' AND seq >= 2);
             DELETE FROM ledger.leaves WHERE tenant_id = '{studio}' AND seq >= 2;
             DELETE FROM ledger.checkpoints WHERE tenant_id = '{studio}'"
        ))
        .await
        .unwrap();
    let what = found(&world, 0).await;
    let said = format!("the tail is cut: 2 entries are there, {size} were when `");
    assert!(what.starts_with(&said), "{what}");
    // All of it: then the folder alone knows that there was a log.
    admin
        .script(&format!(
            "DELETE FROM ledger.entries WHERE tenant_id = '{studio}';
             DELETE FROM ledger.leaves WHERE tenant_id = '{studio}'; DELETE FROM ledger.heads WHERE tenant_id = '{studio}'"
        ))
        .await
        .unwrap();
    assert!(
        found(&world, 0)
            .await
            .starts_with("the tail is cut: 0 entries")
    );
    assert_eq!(audit(&world, &["verify"]).await, 1);
    assert_eq!(
        audit(
            &world,
            &["verify", "--studio", &tenant(&world, 1).to_string()]
        )
        .await,
        0
    );
}

#[tokio::test]
async fn a_foreign_entry_is_named() {
    let world = logged().await;
    let (admin, a, b) = (world.as_admin().await, tenant(&world, 0), tenant(&world, 1));
    let (own, foreign) = (id_of(&admin, a, 1).await, id_of(&admin, b, 1).await);
    admin
        .script(&format!(
            "UPDATE ledger.entries SET entry_id = '{foreign}', leaf = (SELECT leaf FROM ledger.entries WHERE tenant_id = '{b}' AND entry_id = '{foreign}')
               WHERE tenant_id = '{a}' AND entry_id = '{own}';
             UPDATE ledger.leaves SET entry_id = '{foreign}', hash = (SELECT hash FROM ledger.leaves WHERE tenant_id = '{b}' AND seq = 1)
               WHERE tenant_id = '{a}' AND seq = 1"
        ))
        .await
        .unwrap();
    let what = found(&world, 0).await;
    assert_eq!(
        what,
        format!("entry 1 ({foreign}) is foreign: it is of studio `{b}`")
    );
    sound(&world, 1).await;
}

/// How long entries waited is measured, for an alert and for metrics.
#[tokio::test]
async fn a_checkpoint_that_is_late_is_measured() {
    let world = logged().await;
    assert!(world.app.checkpointer.round().await.unwrap().lag_ms == 0);
    traffic(&world).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let round = world.app.checkpointer.round().await.unwrap();
    assert!(
        round.numbered > 0 && (1_100..60_000).contains(&round.lag_ms),
        "{round:?}"
    );
}

#[tokio::test]
async fn an_entry_that_nobody_listed_is_named() {
    let world = logged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    admin
        .script(&format!(
            "INSERT INTO ledger.entries (tenant_id, entry_id, at, tickets, leaf)
             SELECT tenant_id, gen_random_uuid(), at, '{{}}', leaf FROM ledger.entries WHERE tenant_id = '{studio}' LIMIT 1"
        ))
        .await
        .unwrap();
    assert!(
        found(&world, 0)
            .await
            .ends_with("is in no list: it was added by hand, or its number was removed")
    );
}

/// Whoever knows the code rewrites an entry, every hash after it, the tree's edge and the checkpoints in
/// the database: nothing there contradicts anything. What lies outside does.
#[tokio::test]
async fn of_who_rewrites_everything_only_the_checkpoint_outside_tells() {
    let world = logged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    rewrite(&admin, studio, 2).await;
    let mut without = world.config.clone();
    without.ledger.checkpoint_dir = None;
    let inside = Verification::new(&without).await.unwrap();
    let inside = inside.verify(studio, None, |_, _| {}).await.unwrap();
    assert!(
        matches!(inside, Verdict::Sound(ref s) if s.covered == 0),
        "{inside:?}"
    );
    let what = found(&world, 0).await;
    assert!(
        what.starts_with("the log was rewritten: entries 0 to "),
        "{what}"
    );
    assert!(what.contains(&studio.to_string()), "{what}");
    // It is signed no more, by the process that knew it and by one that just started; the other
    // studio's is.
    for app in [world.app.clone(), another(&world)] {
        let before = sound(&world, 1).await;
        traffic(&world).await;
        settle(&app).await;
        assert!(found(&world, 0).await.starts_with("the log was rewritten"));
        assert_eq!(sound(&world, 1).await, before + 4);
    }
    another(&world).checkpointer.catch_up().await.unwrap();
    assert!(found(&world, 0).await.starts_with("the log was rewritten"));
    assert_eq!(audit(&world, &["verify"]).await, 1);
}

/// Changes the entry of a number and everything in the database that follows from it.
async fn rewrite(admin: &RawConnection, studio: TenantId, seq: usize) {
    let ids: Vec<Uuid> = column(admin, studio, "entry_id").await;
    admin
        .run(
            "UPDATE ledger.entries SET leaf = replace(leaf, '\"role\":', '\"rule_\":') WHERE tenant_id = $1 AND entry_id = $2",
            &[&studio.0, &ids[seq]],
        )
        .await
        .unwrap();
    let (mut edge, mut chain) = (Edge::default(), [0; 32]);
    for (n, id) in ids.iter().enumerate() {
        let leaf: String = admin
            .value(
                "SELECT leaf FROM ledger.entries WHERE tenant_id = $1 AND entry_id = $2",
                &[&studio.0, id],
            )
            .await
            .unwrap();
        let hash = leaf_hash(leaf.as_bytes());
        chain = chain_hash(&chain, &hash);
        edge.push(hash);
        admin
            .run(
                "UPDATE ledger.leaves SET hash = $3, chain = $4 WHERE tenant_id = $1 AND seq = $2",
                &[&studio.0, &(n as i64), &hash.to_vec(), &chain.to_vec()],
            )
            .await
            .unwrap();
    }
    admin
        .run(
            "UPDATE ledger.heads SET edge = $2, chain = $3 WHERE tenant_id = $1",
            &[&studio.0, &edge.to_bytes(), &chain.to_vec()],
        )
        .await
        .unwrap();
    admin
        .run(
            "DELETE FROM ledger.checkpoints WHERE tenant_id = $1",
            &[&studio.0],
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_checkpoint_is_believed_by_its_signature_alone() {
    let world = logged().await;
    let folder = world.config.ledger.checkpoint_dir.clone().unwrap();
    let (path, note) = notes(&folder.join(tenant(&world, 0).to_string()))
        .unwrap()
        .remove(0);
    // What a rotated key signs is as good as what the old one did.
    assert_eq!(command(&world, &["keys", "rotate", "checkpoint"]).await, 0);
    traffic(&world).await;
    settle(&another(&world)).await;
    sound(&world, 0).await;
    let rotated = std::fs::read_to_string(&path).unwrap();
    let key_id = |note: &str| note.rsplit(' ').next().unwrap()[..5].to_owned();
    assert_ne!(key_id(&rotated), key_id(&note));
    let other = std::fs::read_to_string(
        folder
            .join(tenant(&world, 1).to_string())
            .join(path.file_name().unwrap()),
    );
    let mut lines: Vec<&str> = rotated.lines().collect();
    let size = format!("{}", lines[1].parse::<u64>().unwrap() - 1);
    lines[1] = &size;
    let bent = BTreeMap::from([
        (
            "a smaller size under the same signature",
            format!("{}\n", lines.join("\n")),
        ),
        ("another studio's", other.unwrap()),
        (
            "no signature",
            rotated.split("\n\n").next().unwrap().to_owned() + "\n\n",
        ),
        ("nothing", String::new()),
    ]);
    for (what, text) in bent {
        std::fs::write(&path, text).unwrap();
        let found = found(&world, 0).await;
        assert!(found.contains("is not to be believed"), "{what}: {found}");
    }
    std::fs::write(&path, rotated).unwrap();
    sound(&world, 0).await;
    let (studio, path) = (tenant(&world, 0).to_string(), path.display().to_string());
    assert_eq!(
        audit(&world, &["verify", "--studio", &studio, "--from", &path]).await,
        0
    );
    assert_eq!(audit(&world, &["verify", "--from", &path]).await, 2);
}

/// What a believed checkpoint covers is verified by its hashes alone, what comes after it in full.
#[tokio::test]
async fn from_a_checkpoint_on_everything_is_read() {
    let world = logged().await;
    let (admin, studio) = (world.as_admin().await, tenant(&world, 0));
    let folder = world.config.ledger.checkpoint_dir.clone().unwrap();
    let (_, note) = notes(&folder.join(studio.to_string())).unwrap().remove(0);
    let size = sound(&world, 0).await as i64;
    traffic(&world).await;
    settle(&world.app).await;
    for (seq, expected) in [(0, None), (size, Some("was changed"))] {
        let id = id_of(&admin, studio, seq).await;
        admin
            .run(
                "UPDATE ledger.entries SET leaf = replace(leaf, '\"status\":', '\"status\":1') WHERE tenant_id = $1 AND entry_id = $2",
                &[&studio.0, &id],
            )
            .await
            .unwrap();
        let verification = Verification::new(&world.config).await.unwrap();
        let verdict = verification
            .verify(studio, Some(&note), |_, _| {})
            .await
            .unwrap();
        match (verdict, expected) {
            (Verdict::Sound(_), None) => {}
            (Verdict::Found(what), Some(end)) => assert!(what.ends_with(end), "{what}"),
            (verdict, _) => panic!("{seq}: {verdict:?}"),
        }
    }
}

async fn audit(world: &World, arguments: &[&str]) -> u8 {
    command(world, &[&["audit"], arguments].concat()).await
}

async fn command(world: &World, arguments: &[&str]) -> u8 {
    let config = world.config.keys.location.with_file_name("studio.toml");
    let config = config.display().to_string();
    let all = [&["studio", "--quiet", "--config", &config], arguments].concat();
    match Cli::try_parse_from(all) {
        Ok(cli) => cli.run().await,
        Err(_) => 2,
    }
}

async fn column<T>(admin: &RawConnection, studio: TenantId, column: &str) -> Vec<T>
where
    Vec<T>: FromSqlOwned,
{
    let sql =
        format!("SELECT array_agg({column} ORDER BY seq) FROM ledger.leaves WHERE tenant_id = $1");
    admin.value(&sql, &[&studio.0]).await.unwrap()
}

fn array(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap()
}
