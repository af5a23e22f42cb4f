//! Every route, as the router itself declares them, without the right and with it.

use serde_json::{Value, json};
use studio::resources::{policies, routes};
use watertight::door::{Way, What};

use crate::world::World;

/// What a route's `{id}` names: a row on which the route's action is possible.
pub(crate) async fn row_for(world: &World, path: &str, method: &str) -> String {
    let window = json!({ "starts_at": "2031-04-01T08:00:00Z", "ends_at": "2031-04-01T09:00:00Z" });
    let made = async |path: &str, more: Value| {
        let mut body = window.clone();
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, made) = world
            .send("POST", path, &world.token(0, "owner"), Some(body))
            .await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let act = async |id: &str, action: &str| {
        let path = format!("/v1/bookings/{id}/{action}");
        let (status, answer) = world
            .send("POST", &path, &world.token(0, "owner"), None)
            .await;
        assert_eq!(status, 200, "{path}: {answer}");
    };
    let artist = world.studios[0].artists[1];
    let booking = json!({ "artist_id": artist, "project_id": world.studios[0].projects[0], "state": "pencil" });
    let noun = path.split('/').nth(2).unwrap_or_default();
    match (noun, path.rsplit('/').next().unwrap()) {
        // What is archived is another artist than the one who is booked.
        ("artists", _) => world.studios[0].artists[usize::from(method == "DELETE") * 2].to_string(),
        ("me", _) => page_session(world).await,
        ("members", _) => world.studios[0].person("leaver").member.to_string(),
        ("projects", _) => world.studios[0].projects[1].to_string(),
        ("time-off", _) => {
            let away = json!({ "artist_id": artist, "starts_at": "2031-04-02T08:00:00Z", "ends_at": "2031-04-02T09:00:00Z" });
            made("/v1/time-off", away).await
        }
        (_, "pencil" | "extend") => {
            made(
                "/v1/bookings",
                json!({ "artist_id": artist, "project_id": world.studios[0].projects[0] }),
            )
            .await
        }
        (_, action @ ("start" | "complete" | "undo")) => {
            let id = made("/v1/bookings", booking).await;
            act(
                &id,
                if action == "undo" {
                    "release"
                } else {
                    "confirm"
                },
            )
            .await;
            if action == "complete" {
                act(&id, "start").await;
            }
            id
        }
        (_, "challenge") => {
            made("/v1/bookings", booking.clone()).await;
            made("/v1/bookings", booking).await
        }
        _ => made("/v1/bookings", booking).await,
    }
}

/// Leaves nobody's time taken by what earlier routes made.
pub(crate) async fn archive_all(world: &World) {
    world
        .as_admin()
        .await
        .script(
            "UPDATE studio.bookings SET version = version + 1, archived_at = now();
             UPDATE studio.time_off SET archived_at = now()",
        )
        .await
        .unwrap();
}

/// The body of a request to a route that would be allowed.
pub(crate) fn good(world: &World, path: &str, method: &str) -> Option<Value> {
    let artist = world.studios[0].artists[0];
    let window = json!({ "starts_at": "2031-05-01T08:00:00Z", "ends_at": "2031-05-01T09:00:00Z" });
    let (starts_at, ends_at) = (&window["starts_at"], &window["ends_at"]);
    match (method, path) {
        ("POST", "/v1/artists" | "/v1/projects") => Some(json!({ "name": "new" })),
        ("POST", "/v1/bookings") => Some(
            json!({ "artist_id": artist, "project_id": world.studios[0].projects[0], "starts_at": starts_at, "ends_at": ends_at }),
        ),
        ("POST", "/v1/members") => {
            Some(json!({ "email": "new@example.org", "role": "freelancer" }))
        }
        ("PATCH", "/v1/members/{id}") | ("POST", "/v1/members/{id}/admit") => {
            Some(json!({ "role": "freelancer" }))
        }
        ("PATCH", "/v1/studio") => Some(json!({ "impersonation": "refused" })),
        ("POST", "/v1/time-off") => {
            Some(json!({ "artist_id": artist, "starts_at": starts_at, "ends_at": ends_at }))
        }
        ("POST", "/v1/bookings/check-availability") => {
            Some(json!({ "artist_ids": [artist], "window": window }))
        }
        ("PATCH", _) => Some(json!({ "notes": "changed" })),
        _ => None,
    }
}

#[tokio::test]
async fn every_route_refuses_who_lacks_its_right_and_says_so_in_the_ledger() {
    let world = World::new().await;
    let declared = routes();
    assert!(declared.declared().len() >= 12);
    for route in declared.declared() {
        let (What::Needs { action, resource }, Way::Api) = (route.what, route.way) else {
            continue;
        };
        archive_all(&world).await;
        let row = if route.path.contains("{id}") {
            row_for(&world, route.path, route.method.as_str()).await
        } else {
            String::new()
        };
        let path = route.path.replace("{id}", &row);
        let body = good(&world, route.path, route.method.as_str());
        let method = route.method.as_str();
        let what = format!("{method} {path}");

        // Without a token, with one of nobody, and with a guest's: nothing, and no difference in form.
        let (status, problem) = world.send(method, &path, "garbage", body.clone()).await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (401, Some("/problems/unauthenticated")),
            "{what}"
        );
        let before = world.entries(0).await;
        let (status, problem) = world
            .send(method, &path, &world.token(0, "guest"), body.clone())
            .await;
        if route.path == "/v1/me" {
            assert_eq!((status, &problem["can"]), (200, &json!([])), "{what}");
        } else {
            assert_eq!(
                (status, problem["type"].as_str()),
                (403, Some("/problems/not-allowed")),
                "{what}"
            );
        }
        assert_eq!(
            world.entries(0).await,
            before + 1,
            "{what}: one entry a request"
        );
        let (actor, entry_action, entry_resource) = last_entry(&world).await;
        assert_eq!(
            (
                actor.as_str(),
                entry_action.as_str(),
                entry_resource.as_str()
            ),
            ("user_a_guest", action, resource),
            "{what}"
        );

        // A member of the other studio: as if it were not there.
        if !row.is_empty() {
            let (status, problem) = world
                .send(method, &path, &world.token(1, "owner"), body.clone())
                .await;
            assert_eq!(
                (status, problem["type"].as_str()),
                (404, Some("/problems/not-found")),
                "{what}"
            );
        }

        // And with the right it is done.
        let (status, answer) = world
            .send(method, &path, &world.token(0, "owner"), body)
            .await;
        assert!((200..300).contains(&status), "{what}: {status} {answer}");
    }
}

/// A session of the pages, of the owner of the first studio.
async fn page_session(world: &World) -> String {
    let token = world.token(0, "owner");
    let opened = world
        .http
        .post(format!("{}/ui/session", world.base))
        .bearer_auth(&token)
        .header("origin", studio::demo::ORIGIN)
        .send()
        .await
        .unwrap();
    assert_eq!(opened.status(), 204);
    let (_, list) = world.send("GET", "/v1/me/sessions", &token, None).await;
    list["items"][0]["id"].as_str().unwrap().to_owned()
}

async fn last_entry(world: &World) -> (String, String, String) {
    let raw = world.as_admin().await;
    let line: String = raw
        .value(
            "SELECT body ->> 'actor' || ' ' || (body ->> 'action') || ' ' || (body ->> 'resource')
             FROM ledger.entries WHERE tenant_id = $1 ORDER BY at DESC LIMIT 1",
            &[&world.studios[0].tenant],
        )
        .await
        .unwrap();
    let mut words = line.split(' ').map(str::to_owned);
    (
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap(),
    )
}

#[test]
fn every_route_says_what_it_is_for_and_every_action_is_one_that_policies_know() {
    let text: String = policies().iter().map(|(_, text)| *text).collect();
    for route in routes().declared() {
        match route.what {
            What::Needs { action, .. } => assert!(
                text.contains(&format!("\"{action}\"")),
                "{} {}",
                route.method,
                route.path
            ),
            What::Public { why } => {
                assert!(why.len() > 20, "{} {}: say why", route.method, route.path)
            }
        }
    }
}
