//! Every route, as the router itself declares it: without the right and with it, from the own studio and
//! from the other. What a route needs is made from the samples of the routes, so that a new resource is
//! walked as soon as it is declared.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use studio::resources::{document, policies, routes};
use watertight::{
    door::{Declared, Way, What},
    openapi::sample,
};
use watertight_terms::Random;

use crate::world::World;

/// A request that would be allowed to the owner of the first studio.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    /// The row that it is about.
    row: Option<String>,
}

/// What a route needs, made anew: its row, what that needs before, and what its body refers to.
pub(crate) async fn request(world: &World, route: &Declared) -> Request {
    let mut row = None;
    if let Some((collection, _)) = route.path.split_once("/{id}") {
        let made = new_row(world, 0, collection).await;
        for action in route.told.after {
            let path = format!("{collection}/{{id}}/{action}");
            let before = find("POST", &path);
            let body = body(world, 0, &before).await;
            let path = before.path.replace("{id}", &made);
            let token = world.token(0, "owner");
            let (status, answer) = world.send("POST", &path, &token, body).await;
            assert_eq!(status, 200, "{path}: {answer}");
        }
        let is_challenge = route.path.ends_with("/challenge");
        row = Some(if is_challenge {
            rival(world, &made).await
        } else {
            made
        });
    }
    if route.path.starts_with("/v1/audit/") {
        entry(world, 0).await;
    }
    Request {
        method: method(route),
        path: route
            .path
            .replace("{id}", row.as_deref().unwrap_or_default())
            .replace("{*tile}", "0/000.p/1"),
        body: body(world, 0, route).await,
        row,
    }
}

/// A route's sample, with rows of that studio where it refers to any.
async fn body(world: &World, studio: usize, route: &Declared) -> Option<Value> {
    let mut rows = BTreeMap::new();
    for collection in referred(route) {
        let row = Box::pin(new_row(world, studio, &collection)).await;
        rows.insert(collection, row);
    }
    sample(route, |collection| rows[collection].clone())
}

/// The collections that a route's sample refers to.
fn referred(route: &Declared) -> Vec<String> {
    let mut collections = Vec::new();
    let _ = sample(route, |collection| {
        collections.push(collection.to_owned());
        String::new()
    });
    collections
}

/// A new row of a collection, by its own route.
async fn new_row(world: &World, studio: usize, collection: &str) -> String {
    if collection == "/v1/me/sessions" {
        return page_session(world, studio).await;
    }
    if collection == "/v1/members" {
        return brought(world, studio).await;
    }
    if collection == "/v1/deliveries" {
        return Box::pin(delivery(world, studio)).await;
    }
    // No list, and yet it shows no other.
    if collection == "/v1/studio" {
        return world.studios[studio].tenant.to_string();
    }
    if collection == "/v1/audit" {
        return entry(world, studio).await;
    }
    if collection == "/v1/alerts" {
        return alert(world, studio).await;
    }
    if collection == "/v1/exports" {
        return crate::exports::made(world, studio, json!({ "kind": "ledger" })).await;
    }
    if collection == "/v1/incidents" {
        // There is somebody to be told of it.
        crate::notices::give_address(world, studio, "owner").await;
        return crate::freeze::report(world, studio).await.to_string();
    }
    let route = find("POST", collection);
    let body = body(world, studio, &route).await;
    let token = world.token(studio, "owner");
    let (status, made) = world.send("POST", collection, &token, body).await;
    assert_eq!(status, 201, "{collection}: {made}");
    made["id"].as_str().unwrap().to_owned()
}

/// A new delivery: of a booking that is made where there is a webhook.
async fn delivery(world: &World, studio: usize) -> String {
    new_row(world, studio, "/v1/webhooks").await;
    let booking = new_row(world, studio, "/v1/bookings").await;
    let token = world.token(studio, "owner");
    let path = "/v1/deliveries?sort=-created_at";
    let (_, told) = world.send("GET", path, &token, None).await;
    let newest = &told["items"][0];
    assert_eq!(newest["booking_id"], json!(booking));
    newest["id"].as_str().unwrap().to_owned()
}

/// An alert, as the studio's service raises it: about somebody whom no other is about.
async fn alert(world: &World, studio: usize) -> String {
    let (id, app) = (Random::system().uuid(), world.as_app().await);
    app.script("BEGIN").await.unwrap();
    let context = world.service_context(studio, "watch");
    app.run("SELECT tenancy.enter($1)", &[&context])
        .await
        .unwrap();
    let raised = app
        .run(
            "INSERT INTO studio.alerts (tenant_id, id, kind, severity, subject, opened_at, last_seen_at, evidence)
             VALUES (tenancy.tenant_id(), $1, 'probing', 'low', 'user_' || ($1::uuid)::text, now(), now(), '{1}')",
            &[&id],
        )
        .await;
    assert_eq!(raised.unwrap(), 1);
    app.script("COMMIT").await.unwrap();
    id.to_string()
}

/// An entry of the ledger: any request makes one.
async fn entry(world: &World, studio: usize) -> String {
    let token = world.token(studio, "owner");
    let asked = world.ask("GET", "/v1/me", &token, &[], None).await;
    world.app.checkpointer.round().await.unwrap();
    asked.header("x-request-id").unwrap().to_owned()
}

/// Rows are made by a `POST` of their collection, and `.after` names actions of the resource.
fn find(method: &str, path: &str) -> Declared {
    let found = api()
        .into_iter()
        .find(|route| route.method == method && route.path == path);
    found.unwrap_or_else(|| panic!("there is no `{method} {path}`"))
}

fn method(route: &Declared) -> &'static str {
    let methods = ["GET", "POST", "PATCH", "DELETE"];
    methods
        .into_iter()
        .find(|method| route.method == *method)
        .unwrap()
}

/// The routes that programs call.
pub(crate) fn api() -> Vec<Declared> {
    let routes = routes();
    let declared = routes.declared().iter();
    let is_api =
        |route: &&Declared| route.way == Way::Api && matches!(route.what, What::Needs { .. });
    declared.filter(is_api).cloned().collect()
}

// asvs: V8.2.1 V8.3.1 V16.3.2
#[tokio::test]
async fn every_route_refuses_who_lacks_its_right_and_says_so_in_the_ledger() {
    let world = World::new().await;
    assert!(api().len() >= 40);
    for route in api() {
        let What::Needs { action, resource } = route.what else {
            continue;
        };
        let Request {
            method, path, body, ..
        } = request(&world, &route).await;
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
        if route.told.guests.is_some() {
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

        // And with the right it is done.
        let (status, answer) = world
            .send(method, &path, &world.token(0, "owner"), body)
            .await;
        assert!((200..300).contains(&status), "{what}: {status} {answer}");
    }
}

// asvs: V8.2.2 V8.4.1
#[tokio::test]
async fn every_row_of_another_studio_is_as_if_it_were_not_there() {
    let world = World::new().await;
    for route in api() {
        let request = request(&world, &route).await;
        let Some(row) = &request.row else { continue };
        let what = format!("{} {}", request.method, route.path);
        let nobodys = request
            .path
            .replace(row, &Random::system().uuid().to_string());
        for part in ["owner", "manager", "freelancer"] {
            let token = world.token(1, part);
            let ask = |path| world.send(request.method, path, &token, request.body.clone());
            let (foreign, absent) = (ask(&request.path).await, ask(&nobodys).await);
            assert_eq!(
                without_id(foreign.clone()),
                without_id(absent),
                "{what} {part}"
            );
            // A freelancer may be told that this is not for freelancers, of whatever row.
            assert!(
                foreign.0 == 404 || (part == "freelancer" && foreign.0 == 403),
                "{what} {part} {foreign:?}"
            );
        }
        // It is there: its own studio does it.
        let owner = world.token(0, "owner");
        let done = world
            .send(request.method, &request.path, &owner, request.body)
            .await;
        assert!((200..300).contains(&done.0), "{what}: {done:?}");
    }
}

#[tokio::test]
async fn a_reference_into_another_studio_is_one_to_nothing() {
    let world = World::new().await;
    let mut referring = 0;
    for route in api() {
        let referred = referred(&route);
        if referred.is_empty() {
            continue;
        }
        referring += 1;
        let Request { method, path, .. } = request(&world, &route).await;
        let token = world.token(0, "owner");
        let foreign = body(&world, 1, &route).await;
        let absent = sample(&route, |_| Random::system().uuid().to_string());
        let foreign = world.send(method, &path, &token, foreign).await;
        let absent = world.send(method, &path, &token, absent).await;
        assert_eq!(foreign.0, 422, "{method} {path} {foreign:?}");
        assert_eq!(without_id(foreign), without_id(absent), "{method} {path}");
    }
    assert!(referring > 0);
}

#[tokio::test]
async fn no_list_shows_a_row_of_another_studio() {
    let world = World::new().await;
    for route in api() {
        // What is below `/v1/audit` is no list, and a table is none in JSON; `audit::an_owner_reads_…` and
        // `tables::who_may_not_…` look at them.
        let is_list = !route.path.contains('{')
            && !route.path.starts_with("/v1/audit/")
            && !route.path.ends_with("/export");
        // Nor are these; `events` looks at the stream.
        let is_list = is_list && !["/v1/me", "/v1/me/mails", "/v1/events"].contains(&route.path);
        if method(&route) != "GET" || !is_list {
            continue;
        }
        let row = new_row(&world, 0, route.path).await;
        let mut shown = [false, false];
        for (studio, shown) in shown.iter_mut().enumerate() {
            let mut cursor = String::new();
            loop {
                let path = format!("{}{cursor}", route.path);
                let token = world.token(studio, "owner");
                let (status, page) = world.send("GET", &path, &token, None).await;
                assert_eq!(status, 200, "{path} {page}");
                *shown |= page.to_string().contains(&row);
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("?cursor={next}"),
                    None => break,
                }
            }
        }
        assert_eq!(shown, [true, false], "{}", route.path);
    }
}

/// An answer without the one thing in which two equal ones differ.
fn without_id((status, mut body): (u16, Value)) -> (u16, Value) {
    if let Some(members) = body.as_object_mut() {
        members.remove("request_id");
    }
    (status, body)
}

/// Every route that posts takes a key, and answers the second time what it answered the first.
#[tokio::test]
async fn every_route_that_posts_can_be_repeated() {
    let world = World::new().await;
    let mut posting = 0;
    for route in api() {
        if method(&route) != "POST" {
            continue;
        }
        posting += 1;
        let Request { path, body, .. } = request(&world, &route).await;
        let (token, key) = (world.token(0, "owner"), Random::system().uuid().to_string());
        let headers = [("idempotency-key", key.as_str())];
        let ask = || world.ask("POST", &path, &token, &headers, body.clone());
        let (first, again) = (ask().await, ask().await);
        assert!((200..300).contains(&first.status), "{path} {first:?}");
        assert_eq!(
            (again.status, &again.body),
            (first.status, &first.body),
            "{path}"
        );
        assert_eq!(again.header("etag"), first.header("etag"), "{path}");
        assert_eq!(again.header("location"), first.header("location"), "{path}");
        let mut entries = Vec::new();
        for answered in [&first, &again] {
            entries.push(rule(&world, answered.header("x-request-id").unwrap()).await);
        }
        assert_eq!(
            entries,
            [None, Some("idempotency-key".to_owned())],
            "{path}"
        );
    }
    assert!(posting >= 16);
}

/// Every route that says that it takes `If-Match` refuses another version than the row's, and does what was
/// asked once nobody names a wrong one: so the refusal changed nothing.
#[tokio::test]
async fn every_route_that_takes_a_version_refuses_another() {
    let world = World::new().await;
    let document = document();
    let mut taking = 0;
    for route in api() {
        let method = method(&route);
        let said = &document["paths"][route.path][method.to_lowercase()]["parameters"];
        let mut said = said.as_array().into_iter().flatten();
        if !said.any(|parameter| parameter["name"] == "If-Match") {
            continue;
        }
        taking += 1;
        let Request { path, body, .. } = request(&world, &route).await;
        let token = world.token(0, "owner");
        let wrong = [("if-match", "\"v999\"")];
        let refused = world.ask(method, &path, &token, &wrong, body.clone()).await;
        assert_eq!(refused.status, 412, "{method} {path} {refused:?}");
        let done = world.send(method, &path, &token, body).await;
        assert!((200..300).contains(&done.0), "{method} {path} {done:?}");
    }
    assert!(taking >= 20);
}

/// The rule in the entry of a request of the first studio.
async fn rule(world: &World, request_id: &str) -> Option<String> {
    world
        .as_admin()
        .await
        .value(
            "SELECT body ->> 'rule' FROM ledger.entries WHERE tenant_id = $1 AND entry_id = $2::text::uuid",
            &[&world.studios[0].tenant, &request_id],
        )
        .await
        .unwrap()
}

/// A session of the pages, of the owner of that studio.
async fn page_session(world: &World, studio: usize) -> String {
    let token = world.token(studio, "owner");
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

/// A younger option for the same time, which can challenge that one.
async fn rival(world: &World, booking: &str) -> String {
    let token = world.token(0, "owner");
    let path = format!("/v1/bookings/{booking}");
    let (_, older) = world.send("GET", &path, &token, None).await;
    let mut body = json!({ "state": "pencil" });
    for field in ["artist_id", "project_id", "starts_at", "ends_at"] {
        body[field] = older[field].clone();
    }
    let (status, made) = world.send("POST", "/v1/bookings", &token, Some(body)).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// Somebody whom Clerk brought, and nobody has let in yet.
async fn brought(world: &World, studio: usize) -> String {
    let id = Random::system().uuid();
    let subject = format!("user_{}", id.simple());
    let raw = world.as_admin().await;
    let made = raw
        .run(
            "INSERT INTO tenancy.members (tenant_id, id, subject, provider_role, ceiling)
             VALUES ($1, $2, $3, 'owner', 'guest')",
            &[&world.studios[studio].tenant, &id, &subject],
        )
        .await;
    assert_eq!(made.unwrap(), 1);
    id.to_string()
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
