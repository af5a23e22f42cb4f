//! Requests, from the outside: what a client may send, what it gets, and what is never said.

use serde_json::{Value, json};

use crate::world::World;

// asvs: V8.2.3 V14.2.6
#[tokio::test]
async fn an_artists_personal_fields_are_opened_by_role_and_the_ledger_names_them() {
    let world = World::new().await;
    let owner = world.token(0, "owner");
    let body = json!({ "name": "Ada", "email": "ada@example.org", "tax_id": "DE 12", "skills": ["rigging"] });
    let (status, made) = world.send("POST", "/v1/artists", &owner, Some(body)).await;
    assert_eq!(
        (status, &made["email"], &made["tax_id"]),
        (201, &json!("ada@example.org"), &json!("DE 12"))
    );
    let path = format!("/v1/artists/{}", made["id"].as_str().unwrap());
    let (_, seen) = world
        .send("GET", &path, &world.token(0, "manager"), None)
        .await;
    assert_eq!(
        (&seen["email"], seen.get("tax_id"), seen.get("tenant_id")),
        (&json!("ada@example.org"), None, None)
    );
    let opened: String = world
        .as_admin()
        .await
        .value(
            "SELECT (body -> 'opened')::text FROM ledger.entries WHERE body ->> 'role' = 'manager'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(opened, r#"["email"]"#);
    // Lists never carry them, and the database never sees them in clear.
    let (_, list) = world.send("GET", "/v1/artists?q=Ada", &owner, None).await;
    assert_eq!(list["items"][0]["name"], "Ada");
    assert_eq!(list["items"][0].get("email"), None);
    let stored: Vec<u8> = world
        .as_admin()
        .await
        .value("SELECT email FROM studio.artists WHERE name = 'Ada'", &[])
        .await
        .unwrap();
    assert!(!stored.windows(3).any(|part| part == b"ada"));
}

#[tokio::test]
async fn a_freelancer_sees_the_own_bookings_and_the_own_artist_only_in_api_and_database() {
    let world = World::new().await;
    let (own, others) = (
        world
            .pencil(0, 0, "2031-01-01T08:00:00Z", "2031-01-01T09:00:00Z")
            .await,
        world
            .pencil(0, 1, "2031-01-01T08:00:00Z", "2031-01-01T09:00:00Z")
            .await,
    );
    let token = world.token(0, "freelancer");
    let (_, list) = world.send("GET", "/v1/bookings", &token, None).await;
    let ids: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [own.as_str()]);
    assert_eq!(
        world
            .send("GET", &format!("/v1/bookings/{own}"), &token, None)
            .await
            .0,
        200
    );
    assert_eq!(
        world
            .send("GET", &format!("/v1/bookings/{others}"), &token, None)
            .await
            .0,
        404
    );
    assert_eq!(
        world
            .send("POST", &format!("/v1/bookings/{own}/cancel"), &token, None)
            .await
            .0,
        403
    );
    assert_eq!(
        world
            .send(
                "POST",
                &format!("/v1/bookings/{others}/cancel"),
                &token,
                None
            )
            .await
            .0,
        404
    );
    let (_, artists) = world.send("GET", "/v1/artists", &token, None).await;
    assert_eq!(artists["items"].as_array().unwrap().len(), 1);
    // The database is a second wall: no query of ours is asked.
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    raw.run(
        "SELECT tenancy.enter($1)",
        &[&world.context(0, "freelancer")],
    )
    .await
    .unwrap();
    let seen: i64 = raw
        .value("SELECT count(*) FROM studio.bookings", &[])
        .await
        .unwrap();
    assert_eq!(seen, 1);
    let changed = raw
        .run("UPDATE studio.bookings SET title = 'x'", &[])
        .await
        .unwrap();
    assert_eq!(changed, 0);
}

// asvs: V8.2.2 V8.4.1
#[tokio::test]
async fn foreign_and_absent_are_one_answer_to_the_letter() {
    let world = World::new().await;
    let foreign = world
        .pencil(1, 0, "2031-01-01T08:00:00Z", "2031-01-01T09:00:00Z")
        .await;
    let token = world.token(0, "owner");
    let absent = "3f0e8a44-0000-4000-8000-000000000000";
    let blank = |mut problem: Value| {
        problem["request_id"] = json!("");
        problem
    };
    for method in ["GET", "PATCH", "DELETE"] {
        let body = (method == "PATCH").then(|| json!({ "title": "x" }));
        let one = world
            .send(
                method,
                &format!("/v1/bookings/{foreign}"),
                &token,
                body.clone(),
            )
            .await;
        let other = world
            .send(
                method,
                &format!("/v1/bookings/{absent}"),
                &token,
                body.clone(),
            )
            .await;
        assert_eq!((one.0, blank(one.1)), (other.0, blank(other.1)));
        let malformed = world
            .send(method, "/v1/bookings/1%20or%201=1", &token, body)
            .await;
        assert_eq!(malformed.0, 404);
    }
    let book = |artist: &str| json!({ "artist_id": artist, "project_id": world.studios[0].projects[0], "starts_at": "2031-01-01T08:00:00Z", "ends_at": "2031-01-01T09:00:00Z" });
    let foreign_artist = world.studios[1].artists[0].to_string();
    let one = world
        .send("POST", "/v1/bookings", &token, Some(book(&foreign_artist)))
        .await;
    let other = world
        .send("POST", "/v1/bookings", &token, Some(book(absent)))
        .await;
    assert_eq!((one.0, blank(one.1)), (422, blank(other.1)));
}

// asvs: V16.5.1 V1.3.3 V1.5.2
#[tokio::test]
async fn bad_input_is_a_problem_that_says_why_and_nothing_is_lost() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    let path = format!("/v1/artists/{}", world.studios[0].artists[0]);
    let (_, before) = world.send("GET", &path, &token, None).await;
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(201));
    let huge = format!("{{\"notes\":\"{}\"}}", "x".repeat(300_000));
    for (body, status) in [
        ("{\"name\":", 400),
        ("{\"name\":\"x\"}}", 400),
        ("", 400),
        ("[]", 400),
        ("null", 400),
        ("{\"name\":\"x\",\"nme\":1}", 400),
        ("{\"name\":\"x\",\"name\":\"y\"}", 400),
        (
            "{\"tenant_id\":\"3f0e8a44-0000-4000-8000-000000000000\"}",
            400,
        ),
        ("{\"name\":1e400}", 400),
        ("{\"name\":99999999999999999999999999}", 400),
        ("{\"name\":{}}", 400),
        ("{\"kind\":\"robot\"}", 400),
        ("{\"name\":\"\\ud800\"}", 400),
        ("{\"name\":\"a\\u0000b\"}", 400),
        ("{\"name\":\"a\\nb\"}", 422),
        ("{\"name\":\"\"}", 422),
        ("{\"name\":null}", 422),
        ("{\"skills\":[\"UPPER\"]}", 422),
        ("{\"zone\":\"Mars/Base\"}", 422),
        (deep.as_str(), 400),
        (long.as_str(), 422),
        (huge.as_str(), 413),
    ] {
        let response = world
            .http
            .patch(format!("{}{path}", world.base))
            .bearer_auth(&token)
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        let shown = &body[..body.len().min(60)];
        assert_eq!(response.status().as_u16(), status, "{shown}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "{shown}"
        );
        let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(
            problem.get("errors").is_some(),
            matches!(status, 400 | 422),
            "{shown}"
        );
        let said = problem.to_string();
        for secret in ["serde", "expected struct", ".rs", "SELECT", "studio."] {
            assert!(!said.contains(secret), "{shown}: {said}");
        }
    }
    for query in [
        "?limit=0",
        "?limit=101",
        "?limit=x",
        "?nope=1",
        "?sort=secret",
        "?cursor=garbage",
        "?limit=1&limit=2",
        "?q=",
        "?q=%00",
        "?q=%ff",
    ] {
        let (status, problem) = world
            .send("GET", &format!("/v1/artists{query}"), &token, None)
            .await;
        assert_eq!(
            (status, problem["status"].as_u64()),
            (400, Some(400)),
            "{query}: {problem}"
        );
    }
    let (_, after) = world.send("GET", &path, &token, None).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_change_of_another_version_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    let path = format!("{}/v1/artists/{}", world.base, world.studios[0].artists[0]);
    let patch = async |version: &str, name: &str| {
        let request = world
            .http
            .patch(&path)
            .bearer_auth(&token)
            .header("content-type", "application/json");
        let response = request
            .header("if-match", version)
            .body(json!({ "name": name }).to_string())
            .send()
            .await
            .unwrap();
        response.status().as_u16()
    };
    assert_eq!(patch("\"v1\"", "first").await, 200);
    assert_eq!(patch("\"v1\"", "second").await, 412);
    assert_eq!(patch("garbage", "third").await, 400);
    assert_eq!(patch("\"v2\"", "fourth").await, 200);
}

#[tokio::test]
async fn a_grant_of_a_version_that_is_gone_changes_nothing() {
    use studio::resources::artists::{Artist, actions::Edit};
    use watertight_tenancy::Change;
    const RENAME: Change = Change::new(
        "UPDATE studio.artists SET version = version + 1, name = $4
         WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
    );
    let world = World::new().await;
    let id = world.studios[0].artists[0];
    let caller = world.caller(0, "owner").await;
    let mut first = world
        .app
        .tenancy
        .begin(&caller, world.facts())
        .await
        .unwrap();
    let granted = first.grant::<Edit, Artist>(id).await.unwrap();
    let mut second = world
        .app
        .tenancy
        .begin(&caller, world.facts())
        .await
        .unwrap();
    let other = second.grant::<Edit, Artist>(id).await.unwrap();
    let (spent, _) = second.change(other, RENAME, &[&"second"]).await.unwrap();
    second
        .commit(watertight_terms::Entry::new(spent.action(), "artist").ids([id]))
        .await
        .map(drop)
        .unwrap();
    let stale = first
        .change(granted, RENAME, &[&"first"])
        .await
        .unwrap_err();
    assert_eq!(stale.slug(), "stale");
    // What was refused cannot be committed either.
    first
        .commit(watertight_terms::Entry::new("artist.change", "artist"))
        .await
        .unwrap_err();
    let name: String = world
        .as_admin()
        .await
        .value("SELECT name FROM studio.artists WHERE id = $1", &[&id])
        .await
        .unwrap();
    assert_eq!(name, "second");
}

#[tokio::test]
async fn a_grant_of_one_transaction_is_worth_nothing_in_another() {
    use studio::resources::artists::{Artist, actions::Edit};
    use watertight_tenancy::Change;
    const RENAME: Change = Change::new(
        "UPDATE studio.artists SET version = version + 1, name = 'x'
         WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
    );
    let world = World::new().await;
    let id = world.studios[0].artists[0];
    let (a, b) = (
        world.caller(0, "owner").await,
        world.caller(1, "owner").await,
    );
    let mut of_a = world.app.tenancy.begin(&a, world.facts()).await.unwrap();
    let granted = of_a.grant::<Edit, Artist>(id).await.unwrap();
    let mut of_b = world.app.tenancy.begin(&b, world.facts()).await.unwrap();
    let refused = of_b.change(granted, RENAME, &[]).await.unwrap_err();
    assert!(
        refused.to_string().contains("another transaction"),
        "{refused}"
    );
}

#[tokio::test]
async fn pages_follow_each_other_and_a_foreign_cursor_is_none() {
    let world = World::new().await;
    let (a, b) = (world.token(0, "owner"), world.token(1, "owner"));
    let mut names = Vec::new();
    let mut path = "/v1/artists?limit=1".to_owned();
    for _ in 0..3 {
        let (_, page) = world.send("GET", &path, &a, None).await;
        names.push(page["items"][0]["name"].as_str().unwrap().to_owned());
        path = format!(
            "/v1/artists?limit=1&cursor={}",
            page["next_cursor"].as_str().unwrap_or_default()
        );
    }
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(names, sorted, "in order, none twice");
    // The row that a page ended with is renamed: the next page begins where that one ended.
    let (_, page) = world.send("GET", "/v1/artists?limit=1", &a, None).await;
    let renamed = format!("/v1/artists/{}", page["items"][0]["id"].as_str().unwrap());
    let body = json!({ "name": "Zuletzt" });
    assert_eq!(world.send("PATCH", &renamed, &a, Some(body)).await.0, 200);
    let rest = format!(
        "/v1/artists?cursor={}",
        page["next_cursor"].as_str().unwrap()
    );
    let (_, rest) = world.send("GET", &rest, &a, None).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 3);
    let (_, page) = world.send("GET", "/v1/artists?limit=1", &b, None).await;
    let foreign = page["next_cursor"].as_str().unwrap();
    for (path, status) in [
        (format!("/v1/artists?limit=1&cursor={foreign}"), 400),
        (
            format!("/v1/artists?limit=1&sort=-name&cursor={foreign}"),
            400,
        ),
    ] {
        assert_eq!(world.send("GET", &path, &a, None).await.0, status);
    }
}

// asvs: V4.1.4
#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/artists", 405),
        ("POST", "/v1/me", 405),
        ("GET", "/v1/bookings/%ff", 404),
    ] {
        let (answered, problem) = world.send(method, path, &token, None).await;
        assert_eq!(
            (answered, problem["status"].as_u64()),
            (status, Some(u64::from(status))),
            "{method} {path}"
        );
    }
}

// asvs: V16.5.3
#[tokio::test]
async fn with_the_ledger_away_no_data_leaves() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    assert_eq!(world.send("GET", "/v1/artists", &token, None).await.0, 200);
    let admin = world.as_admin().await;
    admin
        .script("REVOKE EXECUTE ON FUNCTION ledger.append(text[], bytea[], text[]) FROM studio_app")
        .await
        .unwrap();
    let artists = world.as_admin().await;
    for (method, path, body) in [
        ("GET", "/v1/artists", None),
        ("GET", "/v1/me", None),
        ("POST", "/v1/artists", Some(json!({ "name": "lost" }))),
        ("GET", "/v1/artists/nothing", None),
    ] {
        let (status, problem) = world.send(method, path, &token, body).await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (503, Some("/problems/unavailable")),
            "{method} {path}"
        );
    }
    let kept: i64 = artists
        .value(
            "SELECT count(*) FROM studio.artists WHERE name = 'lost'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(kept, 0);
}
