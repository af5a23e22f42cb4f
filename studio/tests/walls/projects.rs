//! Projects: who sees which, and what of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    bookings::{FROM, TO, book, path_of, send},
    world::World,
};

#[tokio::test]
async fn a_freelancer_sees_code_name_and_dates_of_the_projects_of_the_own_bookings() {
    let world = World::new().await;
    let project = |at: usize| format!("/v1/projects/{}", world.studios[0].projects[at]);
    let ids = async |part: &str| {
        let (_, list) = send(&world, part, "GET", "/v1/projects", None).await;
        let items = list["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(ids("owner").await.len(), 2);
    assert_eq!(ids("freelancer").await.len(), 0);
    book(
        &world,
        1,
        json!({ "project_id": world.studios[0].projects[1] }),
    )
    .await;
    assert_eq!(ids("freelancer").await.len(), 0, "somebody else's booking");
    let own = book(&world, 0, json!({})).await;
    assert_eq!(
        ids("freelancer").await,
        BTreeSet::from([world.studios[0].projects[0].to_string()])
    );
    let (status, seen) = send(&world, "freelancer", "GET", &project(0), None).await;
    let fields: BTreeSet<&str> = seen
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(status, 200);
    assert_eq!(
        fields,
        BTreeSet::from([
            "id",
            "version",
            "created_at",
            "updated_at",
            "code",
            "name",
            "starts_on",
            "ends_on"
        ])
    );
    assert_eq!(
        send(&world, "freelancer", "GET", &project(1), None).await.0,
        404
    );
    assert_eq!(
        send(
            &world,
            "freelancer",
            "PATCH",
            &project(0),
            Some(json!({ "name": "x" }))
        )
        .await
        .0,
        403
    );
    assert_eq!(
        send(&world, "freelancer", "DELETE", &project(1), None)
            .await
            .0,
        404
    );
    assert_eq!(
        world
            .send("GET", &project(0), &world.token(1, "owner"), None)
            .await
            .0,
        404
    );
    // Row security says the same to SQL of any kind.
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    raw.run(
        "SELECT tenancy.enter($1)",
        &[&world.context(0, "freelancer")],
    )
    .await
    .unwrap();
    assert_eq!(
        raw.value::<i64>("SELECT count(*) FROM studio.projects", &[])
            .await
            .unwrap(),
        1
    );
    // A booking that is archived shows its project no more.
    assert_eq!(
        send(&world, "owner", "DELETE", &path_of(&own), None)
            .await
            .0,
        204
    );
    assert_eq!(ids("freelancer").await.len(), 0);
}

#[tokio::test]
async fn projects_are_made_changed_archived_and_their_codes_are_one_a_studio() {
    let world = World::new().await;
    let budget = json!({ "minor": 100, "currency": "EUR" });
    let body = json!({ "code": "FILM", "name": "A film", "client": "somebody", "starts_on": "2031-01-01", "ends_on": "2031-12-31", "budget": budget });
    let (status, made) = send(
        &world,
        "manager",
        "POST",
        "/v1/projects",
        Some(body.clone()),
    )
    .await;
    assert_eq!(
        (status, &made["budget"], &made["status"]),
        (201, &budget, &json!("planned"))
    );
    let path = format!("/v1/projects/{}", made["id"].as_str().unwrap());
    assert_eq!(
        send(
            &world,
            "manager",
            "POST",
            "/v1/projects",
            Some(body.clone())
        )
        .await
        .0,
        409
    );
    assert_eq!(
        world
            .send("POST", "/v1/projects", &world.token(1, "owner"), Some(body))
            .await
            .0,
        201
    );
    let patch = json!({ "budget": null, "ends_on": null, "status": "active" });
    let (status, changed) = send(&world, "owner", "PATCH", &path, Some(patch)).await;
    assert_eq!(
        (
            status,
            &changed["budget"],
            &changed["ends_on"],
            &changed["starts_on"]
        ),
        (200, &Value::Null, &Value::Null, &json!("2031-01-01"))
    );
    assert_eq!(
        send(
            &world,
            "owner",
            "PATCH",
            &path,
            Some(json!({ "ends_on": "2030-01-01" }))
        )
        .await
        .0,
        422
    );
    let bookings = |project: &str| format!("/v1/bookings?project_id={project}");
    book(&world, 1, json!({ "project_id": made["id"] })).await;
    let (_, list) = send(
        &world,
        "owner",
        "GET",
        &bookings(made["id"].as_str().unwrap()),
        None,
    )
    .await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(send(&world, "owner", "DELETE", &path, None).await.0, 204);
    // An archived, a foreign and an absent project are booked for alike: not at all.
    for project in [
        made["id"].clone(),
        json!(world.studios[1].projects[0]),
        json!("3f0e8a44-0000-4000-8000-000000000000"),
    ] {
        let body = json!({ "artist_id": world.studios[0].artists[0], "project_id": project, "starts_at": FROM, "ends_at": TO });
        let (status, problem) = send(&world, "owner", "POST", "/v1/bookings", Some(body)).await;
        assert_eq!(
            (
                status,
                &problem["errors"][0]["pointer"],
                &problem["errors"][0]["code"]
            ),
            (422, &json!("/project_id"), &json!("unknown-reference"))
        );
    }
    let (_, list) = send(&world, "owner", "GET", "/v1/projects?q=film", None).await;
    assert_eq!(list["items"], json!([]));
}
