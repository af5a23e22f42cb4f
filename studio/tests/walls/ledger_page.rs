//! The ledger's page and the verifier that runs in an owner's browser.

use std::process::Command;

use crate::{ledger::settle, pages::Page, world::World};

/// The file that the page loads, under Node, on the vectors that all verifiers are held to.
#[test]
fn the_browsers_verifier_finds_what_every_verifier_finds() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let ran = Command::new("node")
        .arg(format!("{root}tests/walls/ledger.mjs"))
        .arg(format!("{root}src/pages/ledger.js"))
        .arg(format!("{root}../docs/formats/vectors/ledger.json"))
        .output();
    let help = "the verifier cannot be run; `cargo x test` brings what it needs: Node 22.18";
    let ran = ran.unwrap_or_else(|error| panic!("{help}: {error}"));
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{help}: {told}");
    assert_eq!(ran.stdout, b"verified\n");
}

#[tokio::test]
async fn owners_look_at_the_own_ledger_and_nobody_else_at_any() {
    let world = World::new().await;
    for studio in [0, 1] {
        for _ in 0..60 {
            world
                .send("GET", "/v1/artists", &world.token(studio, "manager"), None)
                .await;
        }
    }
    let owner = Page::of(&world, 0, "owner").await;
    settle(&world.app).await;
    let shown = owner.get("/ui/audit").await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let manager = &world.studios[0].person("manager").subject;
    assert!(shown.text.contains("artist.view") && shown.text.contains(manager.as_str()));
    assert!(
        !shown
            .text
            .contains(&world.studios[1].person("manager").subject)
    );
    // Filters hold on the next page; what nobody filled in is no filter.
    let path = format!("/ui/audit?actor={manager}&action=artist.view&resource=&outcome=");
    let shown = owner.get(&path).await;
    let next = format!("/ui/audit?actor={manager}&amp;action=artist.view&amp;cursor=");
    assert!(shown.text.contains(&next), "{}", shown.text);
    let href = shown
        .text
        .split("href=\"")
        .find(|href| href.starts_with(&next));
    let href = href
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let older = owner.get(&href).await;
    assert_eq!(older.status, 200);
    assert!(older.text.contains("artist.view") && !older.text.contains("cursor="));
    assert_eq!(owner.get("/ui/audit?outcome=maybe").await.status, 400);
    assert_eq!(
        owner.get("/ui/audit?action=a%26b%3D%3Cc%3E").await.status,
        200
    );
    for part in ["manager", "freelancer"] {
        let page = Page::of(&world, 0, part).await;
        for path in ["", "/checkpoints", "/export", "/tile/0/000.p/1"] {
            let refused = page.get(&format!("/ui/audit{path}")).await;
            assert_eq!(refused.status, 403, "{part} {path}");
        }
        let bookings = page.get("/ui/bookings").await;
        assert!(!bookings.text.contains("/ui/audit"), "{part}");
    }
    assert!(owner.get("/ui/bookings").await.text.contains("/ui/audit"));
}

/// What the verifier loads is the studio's own, and what it runs is what this answer's nonce is on.
#[tokio::test]
async fn the_page_runs_what_its_nonce_is_on_and_nothing_that_stands_in_it() {
    let world = World::new().await;
    let owner = Page::of(&world, 0, "owner").await;
    settle(&world.app).await;
    let page = owner.get("/ui/audit").await;
    let policy = page.policy.unwrap();
    for part in ["default-src 'none'", "trusted-types 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let nonce = |policy: &str| {
        let (_, rest) = policy.split_once("script-src 'nonce-").unwrap();
        rest.split_once("'; ").unwrap().0.to_owned()
    };
    let own = nonce(&policy);
    assert_eq!(page.text.matches("<script").count(), 1);
    let script = format!("<script type=\"module\" nonce=\"{own}\" src=\"/ui/audit.js\"></script>");
    assert!(own.len() >= 32 && page.text.contains(&script), "{own}");
    let again = owner.get("/ui/audit").await.policy.unwrap();
    assert_ne!(nonce(&again), own);
    let elsewhere = owner.get("/ui/bookings").await.policy.unwrap();
    assert!(!elsewhere.contains("script-src"), "{elsewhere}");
    let sinks = [
        "innerHTML",
        "eval(",
        "document.write",
        "insertAdjacentHTML",
        "Function(",
    ];
    for script in ["/ui/audit.js", "/ui/ledger.js"] {
        let text = owner.get(script).await.text;
        assert!(text.contains("export") || text.contains("import"), "{text}");
        assert!(sinks.iter().all(|sink| !text.contains(sink)));
    }
    let given = owner.get("/ui/audit/checkpoints").await;
    let tenant = world.studios[0].tenant.to_string();
    assert!(given.status == 200 && given.text.contains(&tenant));
    assert_eq!(owner.get("/ui/audit/tile/0/000.p/1").await.status, 200);
    let leaf = owner.get("/ui/audit/tile/entries/000.p/1").await;
    assert!(
        leaf.text.contains(&tenant) && !leaf.text.contains(&world.studios[1].tenant.to_string())
    );
    let csv = owner.get("/ui/audit/export?format=csv").await;
    assert!(csv.text.starts_with("seq,time,actor"));
}
