//! The pages of incidents: whose they are, and that they say what the API says, and what cannot be said.

use serde_json::json;

use crate::{
    ledger::settle,
    on_duty::{Operators, member_id},
    pages::Page,
    world::World,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_incident_touched_is_shown_to_owners_of_that_studio_alone() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let (owner, manager) = (world.token(0, "owner"), world.token(0, "manager"));
    let says = json!({ "name": "Ada", "email": "ada@example.org" });
    let (_, artist) = world.send("POST", "/v1/artists", &owner, Some(says)).await;
    let artist = artist["id"].as_str().unwrap();
    let path = format!("/v1/artists/{artist}");
    assert_eq!(world.send("GET", &path, &manager, None).await.0, 200);
    settle(&world.app).await;
    let report = json!({ "kind": "stolen-session", "reason": "<b>somebody</b> signed in as her" });
    let (status, made) = world
        .send("POST", "/v1/incidents", &owner, Some(report))
        .await;
    assert_eq!(status, 201, "{made}");
    let id = operators.open(&["--emergency"]).await;
    let member = member_id(&world, "manager").await;
    operators
        .done(0, &["freeze", "--incident", &id, "--member", &member])
        .await;

    let owner = Page::of(&world, 0, "owner").await;
    let list = owner.get("/ui/incidents").await;
    let path = format!("/ui/incidents/{id}");
    assert_eq!(list.status, 200, "{}", list.text);
    for shown in [
        path.as_str(),
        "&lt;b&gt;somebody&lt;/b&gt;",
        "stolen-session",
    ] {
        assert!(list.text.contains(shown), "{shown}: {}", list.text);
    }
    let page = owner.get(&path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let subject = &world.studios[0].person("manager").subject;
    for shown in [
        artist,
        "opened email",
        subject,
        "127.0.0.1",
        "artist.view",
        "it is in no ledger",
        "of the incident",
    ] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert!(page.policy.unwrap().contains("default-src 'none'"));
    assert!(
        owner
            .get("/ui/bookings")
            .await
            .text
            .contains("/ui/incidents")
    );
    // A window in which nothing was, and two that are none.
    let window = format!("{path}?from=2031-01-01T00:00:00Z&to=2031-01-02T00:00:00Z");
    let none = owner.get(&window).await;
    assert!(
        none.status == 200 && !none.text.contains(artist),
        "{}",
        none.text
    );
    assert_eq!(owner.get(&format!("{path}?from=")).await.status, 200);
    for wrong in [
        "?from=x",
        "?from=2031-01-02T00:00:00Z&to=2031-01-01T00:00:00Z",
    ] {
        assert_eq!(
            owner.get(&format!("{path}{wrong}")).await.status,
            400,
            "{wrong}"
        );
    }

    let stranger = Page::of(&world, 1, "owner").await;
    let others = stranger.get("/ui/incidents").await;
    assert!(
        others.status == 200 && !others.text.contains(&path),
        "{}",
        others.text
    );
    let absent = format!("/ui/incidents/{}", uuid::Uuid::nil());
    for asked in [&path, &absent] {
        assert_eq!(stranger.get(asked).await.status, 404);
    }
    let freelancer = Page::of(&world, 0, "freelancer").await;
    assert_eq!(freelancer.get("/ui/incidents").await.status, 403);
    assert_eq!(freelancer.get(&path).await.status, 404);
    let bookings = freelancer.get("/ui/bookings").await.text;
    assert!(!bookings.contains("/ui/incidents"), "{bookings}");
}
