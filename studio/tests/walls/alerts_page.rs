//! The page of alerts: whose it is, who handles them there, and that a form changes what somebody looked at.

use serde_json::Value;

use crate::{
    alerts::{look, probe},
    pages::{OURS, Page},
    world::World,
};

async fn alert(world: &World, studio: usize) -> Value {
    let token = world.token(studio, "owner");
    let (status, alerts) = world.send("GET", "/v1/alerts", &token, None).await;
    assert_eq!(status, 200);
    alerts["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_shown_to_its_studio_and_handled_by_owners_alone() {
    let world = World::new().await;
    probe(&world, 0, "manager", 20).await;
    look(&world).await;
    let before = alert(&world, 0).await;
    let id = before["id"].as_str().unwrap();
    let path = format!("/ui/alerts/{id}");
    let subject = before["subject"].as_str().unwrap();
    let owner = Page::of(&world, 0, "owner").await;
    let page = owner.get("/ui/alerts").await;
    assert_eq!(page.status, 200, "{}", page.text);
    for shown in [
        subject,
        "probing",
        "data-severity=\"high\"",
        "find out who uses the account",
        &path,
        "/ui/audit/export?from=",
    ] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    // An entry that shows it can be looked at from there.
    let from = page.text.split("/ui/audit/export?from=").nth(1).unwrap();
    let entry = from.split('&').next().unwrap();
    let entry = owner
        .get(&format!("/ui/audit/export?from={entry}&limit=1"))
        .await;
    assert!(
        entry.status == 200 && entry.text.contains("not-found"),
        "{}",
        entry.text
    );
    let manager = Page::of(&world, 0, "manager").await;
    let page = manager.get("/ui/alerts").await;
    assert!(
        page.status == 200 && page.text.contains("probing"),
        "{}",
        page.text
    );
    assert!(
        !page.text.contains(&path) && !page.text.contains("/ui/audit"),
        "{}",
        page.text
    );
    let freelancer = Page::of(&world, 0, "freelancer").await;
    assert_eq!(freelancer.get("/ui/alerts").await.status, 403);
    assert!(
        !freelancer
            .get("/ui/bookings")
            .await
            .text
            .contains("/ui/alerts")
    );
    let stranger = Page::of(&world, 1, "owner").await;
    let page = stranger.get("/ui/alerts").await;
    assert!(
        page.status == 200 && page.text.contains("Nothing looks wrong"),
        "{}",
        page.text
    );
    assert!(!page.text.contains(subject));

    let version = before["version"].to_string();
    let save = async |page: &Page<'_>, version: &str, state: &str, note: &str| {
        let token = page.csrf_token().await;
        let form = [
            ("csrf_token", token.as_str()),
            ("version", version),
            ("state", state),
            ("note", note),
        ];
        page.post(&path, OURS, &form).await.status
    };
    assert_eq!(save(&stranger, &version, "closed", "").await, 404);
    assert_eq!(save(&manager, &version, "closed", "").await, 403);
    let unsigned = [("version", version.as_str()), ("state", "closed")];
    assert_eq!(owner.post(&path, OURS, &unsigned).await.status, 403);
    assert_eq!(
        alert(&world, 0).await,
        before,
        "none of them changed anything"
    );
    assert_eq!(save(&owner, &version, "ignored", "").await, 400);
    assert_eq!(
        save(&owner, &version, "acknowledged", "<b>asked her</b>").await,
        303
    );
    let handled = alert(&world, 0).await;
    assert_eq!(
        (&handled["state"], &handled["note"]),
        (&"acknowledged".into(), &"<b>asked her</b>".into())
    );
    let page = owner.get("/ui/alerts?state=acknowledged&severity=").await;
    assert!(
        page.text.contains("&lt;b&gt;asked her&lt;/b&gt;"),
        "{}",
        page.text
    );
    let none = owner.get("/ui/alerts?state=open").await;
    assert!(none.text.contains("Nothing looks wrong"), "{}", none.text);
    // Somebody else was quicker.
    assert_eq!(save(&owner, &version, "closed", "").await, 412);
    assert_eq!(alert(&world, 0).await, handled);
}
