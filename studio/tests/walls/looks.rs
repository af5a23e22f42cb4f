//! Looks at one row: one round trip, which shows nothing that a transaction would not, and owes its entry all the same.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use studio::resources::projects::{Project, actions::View};
use tokio::net::TcpListener;
use watertight::{
    door::{AtOnce, Bounds, Door, Routes, get_one},
    problem,
};
use watertight_edge::{Edge, RequestLimits};
use watertight_identity::{Caller, ServiceName};
use watertight_terms::TenantId;

use crate::{
    accounts::{NAP, nap_before_entries_of, naps, wrong},
    on_duty::Operators,
    process::Process,
    world::World,
};

fn project(world: &World, studio: usize) -> String {
    format!("/v1/projects/{}", world.studios[studio].projects[0])
}

/// How many contexts the look at a project accounts for that was answered last.
async fn numbers(world: &World) -> i32 {
    let last = "SELECT cardinality(tickets) FROM ledger.entries WHERE body ->> 'action' = 'project.view' ORDER BY at DESC LIMIT 1";
    world.as_admin().await.value(last, &[]).await.unwrap()
}

#[tokio::test]
async fn a_look_shows_what_is_the_callers_and_enters_once() {
    let world = World::new().await;
    // The first finds out which studio it is, step by step; the second knows.
    for _ in 0..2 {
        for studio in [0, 1] {
            let (status, seen) = world
                .send(
                    "GET",
                    &project(&world, studio),
                    &world.token(studio, "owner"),
                    None,
                )
                .await;
            assert_eq!(status, 200, "{seen}");
            assert!(project(&world, studio).ends_with(seen["id"].as_str().unwrap()));
            assert_eq!(numbers(&world).await, 1);
        }
    }
    let foreign = world
        .send("GET", &project(&world, 1), &world.token(0, "owner"), None)
        .await;
    assert_eq!(foreign.0, 404, "{}", foreign.1);
    // Fields that not everybody sees, who sees the project.
    let (artists, person) = (
        &world.studios[0].artists,
        world.studios[0].person("freelancer"),
    );
    let artist = artists.iter().position(|id| Some(*id) == person.artist);
    world
        .pencil(
            0,
            artist.unwrap(),
            "2031-05-01T08:00:00Z",
            "2031-05-01T16:00:00Z",
        )
        .await;
    for (part, sees) in [("manager", true), ("freelancer", false)] {
        let (status, seen) = world
            .send("GET", &project(&world, 0), &world.token(0, part), None)
            .await;
        assert_eq!(
            (status, seen.get("budget").is_some()),
            (200, sees),
            "{part}"
        );
    }
    assert_eq!(wrong(&world).await, []);
}

/// `ROLLBACK` in the same breath would forget what `enter` has noted.
#[tokio::test]
async fn a_session_that_is_first_seen_by_a_look_is_kept() {
    let world = World::new().await;
    world
        .send("GET", &project(&world, 0), &world.token(0, "owner"), None)
        .await;
    let token = world.bent_token(0, "owner", &json!({ "sid": "sess_new" }));
    let answered = world.send("GET", &project(&world, 0), &token, None).await;
    assert_eq!(answered.0, 200, "{}", answered.1);
    assert_eq!(numbers(&world).await, 2, "both attempts are accounted for");
    let kept = "SELECT count(*) FROM tenancy.sessions WHERE session = 'sess_new'";
    let admin = world.as_admin().await;
    assert_eq!(admin.value::<i64>(kept, &[]).await.unwrap(), 1);
    world.send("GET", &project(&world, 0), &token, None).await;
    assert_eq!(numbers(&world).await, 1);
    assert_eq!(wrong(&world).await, []);
}

/// Which studio an organization was is good for an index and for nothing else.
#[tokio::test]
async fn an_organization_that_is_another_studio_by_now_is_shown_that_ones_rows() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    let (mine, others) = (project(&world, 0), project(&world, 1));
    assert_eq!(world.send("GET", &mine, &token, None).await.0, 200);
    let admin = world.as_admin().await;
    let [first, second] = [0, 1].map(|studio| world.studios[studio].organization.clone());
    let rename = "UPDATE tenancy.studios SET organization = $2 WHERE organization = $1";
    for (from, to) in [(&first, &"org_between".to_owned()), (&second, &first)] {
        admin.run(rename, &[from, to]).await.unwrap();
    }
    let owner = world.studios[1].person("owner");
    admin
        .run(
            "UPDATE tenancy.members SET subject = $2 WHERE id = $1",
            &[&owner.member, &world.studios[0].person("owner").subject],
        )
        .await
        .unwrap();
    let (status, seen) = world.send("GET", &others, &token, None).await;
    assert_eq!(status, 200, "{seen}");
    assert_eq!(numbers(&world).await, 2);
    assert_eq!(world.send("GET", &mine, &token, None).await.0, 404);
    assert_eq!(world.send("GET", &others, &token, None).await.0, 200);
    assert_eq!(numbers(&world).await, 1);
}

#[tokio::test]
async fn a_freeze_waits_for_a_look_whose_entry_is_not_durable() {
    let world = World::new().await;
    let operators = Operators::of(&world).await;
    let process = Process::serve(&world).await;
    let url = format!("{}{}", process.base, project(&world, 0));
    let look = async || {
        let asked = world.http.get(&url).bearer_auth(world.token(0, "owner"));
        asked.send().await.unwrap().status().as_u16()
    };
    assert_eq!(look().await, 200);
    let (admin, holder) = (world.as_admin().await, world.as_admin().await);
    let nap = nap_before_entries_of("project.view");
    admin.script(&nap).await.unwrap();
    let lock = format!("SELECT pg_advisory_lock({NAP})");
    holder.script(&lock).await.unwrap();
    let id = operators.open(&["--emergency"]).await;
    let is_answered = AtomicBool::new(false);
    let looking = async {
        let status = look().await;
        is_answered.store(true, Ordering::Release);
        status
    };
    let freezing = async {
        naps(&admin).await;
        let freeze = ["freeze", "--incident", &id];
        let mut frozen = pin!(operators.run(0, &freeze));
        let early = tokio::time::timeout(Duration::from_millis(900), &mut frozen).await;
        assert!(early.is_err(), "a look waits for its entry: {early:?}");
        assert!(!is_answered.load(Ordering::Acquire), "without its entry");
        let unlock = format!("SELECT pg_advisory_unlock({NAP})");
        holder.script(&unlock).await.unwrap();
        assert_eq!(frozen.await.code, 0);
    };
    let (status, ()) = tokio::join!(looking, freezing);
    assert_eq!(status, 200);
    assert_eq!(look().await, 403);
}

/// It holds the studio's lock until its entry is durable, and a look does not.
#[tokio::test]
async fn a_service_looks_at_nothing() {
    let world = World::new().await;
    let tenant = TenantId(world.studios[0].tenant);
    let service = Caller::service(ServiceName::new("custody"), tenant);
    let row = world.studios[0].projects[0];
    let looked = world
        .app
        .tenancy
        .look::<Project>(&service, world.facts(), row)
        .await;
    assert!(looked.is_err_and(|refused| refused.account.is_none()));
}

/// Outcome and numbers of what was last written of a look at a project.
async fn last(world: &World) -> Value {
    let last =
        "SELECT jsonb_build_array(body ->> 'outcome', cardinality(tickets)) FROM ledger.entries
        WHERE body ->> 'action' = 'project.view' ORDER BY at DESC LIMIT 1";
    world.as_admin().await.value(last, &[]).await.unwrap()
}

/// Who was let in is known, although nothing else has arrived.
#[tokio::test]
async fn a_look_that_is_ended_in_the_middle_has_its_entry() {
    let world = World::new().await;
    let (path, token) = (project(&world, 0), world.token(0, "owner"));
    for _ in 0..2 {
        assert_eq!(world.send("GET", &path, &token, None).await.0, 200);
    }
    let (holder, admin) = (world.as_admin().await, world.as_admin().await);
    holder
        .script("BEGIN; LOCK TABLE studio.projects IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let ending = async {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'studio_app'
            AND wait_event_type = 'Lock' AND datname = current_database()";
        while admin.value::<i64>(end, &[]).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        holder.script("ROLLBACK").await.unwrap();
    };
    let (answered, ()) = tokio::join!(world.send("GET", &path, &token, None), ending);
    assert_eq!(answered.0, 503, "{}", answered.1);
    assert_eq!(last(&world).await, json!(["failed", 1]));
    assert_eq!(wrong(&world).await, []);
}

#[tokio::test]
async fn a_look_whose_view_panics_has_its_entry() {
    let world = World::new().await;
    let app = &world.app;
    let bounds = Bounds {
        body_bytes: 1_000,
        body_timeout_ms: 1_000,
        at_once: AtOnce {
            all: 10,
            of_studio: 10,
            of_member: 10,
        },
    };
    let door = Door::new(
        app.verifier.clone(),
        app.tenancy.clone(),
        app.desk.vault.clone(),
        bounds,
        http::Extensions::new(),
    );
    let route = get_one::<View, Project, String>(|_, _| panic!("a defect")).says("a project");
    let edge = Edge::new(
        app.clock.clone(),
        app.random.clone(),
        RequestLimits::default(),
        problem::refuse,
    );
    let router = Routes::new()
        .route("/v1/projects/{id}", route)
        .into_router(door)
        .layer(axum::middleware::from_fn_with_state(
            edge,
            watertight_edge::name_request,
        ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let asked = world.http.get(format!("{base}{}", project(&world, 0)));
    let answered = asked.bearer_auth(world.token(0, "owner")).send().await;
    assert_eq!(answered.unwrap().status(), 500);
    assert_eq!(last(&world).await, json!(["failed", 1]));
    assert_eq!(wrong(&world).await, []);
}
