//! A server that has more to do than it can: who is told to come back, and who is not.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use watertight_tenancy::support::RawConnection;

use crate::{rates, world::World};

/// Changes that wait for a lock which somebody holds, until that is dropped.
struct Stuck {
    holder: RawConnection,
    changes: JoinSet<u16>,
}

impl Stuck {
    async fn of(world: &Arc<World>, parts: &[&str], each: usize) -> Self {
        let holder = world.as_admin().await;
        let artist = world.studios[0].artists[0];
        let sql = format!("BEGIN; SELECT 1 FROM studio.artists WHERE id = '{artist}' FOR UPDATE");
        holder.script(&sql).await.unwrap();
        let mut changes = JoinSet::new();
        for part in parts {
            for _ in 0..each {
                let (world, token) = (Arc::clone(world), world.token(0, part));
                changes.spawn(async move { change(&world, &token).await.0 });
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        Self { holder, changes }
    }

    /// Whether none of them has come to an end.
    fn holds(&mut self) -> bool {
        self.changes.try_join_next().is_none()
    }

    async fn end(self) -> Vec<u16> {
        self.holder.script("COMMIT").await.unwrap();
        self.changes.join_all().await
    }
}

async fn change(world: &World, token: &str) -> (u16, Value) {
    let body = json!({
        "artist_id": world.studios[0].artists[0], "project_id": world.studios[0].projects[0],
        "starts_at": "2031-01-01T08:00:00Z", "ends_at": "2031-01-01T09:00:00Z",
    });
    world.send("POST", "/v1/bookings", token, Some(body)).await
}

// asvs: V15.2.2
#[tokio::test]
async fn a_full_server_sheds_at_once_and_still_answers_small_reads_and_its_health() {
    let world = Arc::new(rates::world("requests_at_once = 5").await);
    let before = world.entries(1).await;
    let mut stuck = Stuck::of(&world, &["owner", "manager"], 2).await;
    for _ in 0..3 {
        let body = json!({ "name": "one too many" });
        let token = world.token(1, "owner");
        let shed = world
            .ask("POST", "/v1/artists", &token, &[], Some(body))
            .await;
        assert_eq!(
            (shed.status, &shed.body["type"]),
            (503, &json!("/problems/overloaded"))
        );
        assert_eq!(shed.header("retry-after"), Some("1"));
    }
    assert!(stuck.holds(), "it waited for who has a place");
    for (studio, part) in [(0, "owner"), (1, "manager")] {
        let (status, _) = world
            .send("GET", "/v1/me", &world.token(studio, part), None)
            .await;
        assert_eq!(status, 200);
    }
    let health = world
        .http
        .get(format!("{}/healthz", world.base))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            health.status().as_u16(),
            health.text().await.unwrap().as_str()
        ),
        (200, "ok\n")
    );
    // What was shed is one entry of the member's in a minute, and it failed.
    assert_eq!(world.entries(1).await - before, 2);
    let raw = world.as_admin().await;
    let shed: i64 = raw
        .value(
            "SELECT count(*) FROM ledger.entries WHERE tenant_id = $1 AND body ->> 'rule' = 'overloaded'
             AND body ->> 'outcome' = 'failed' AND (body ->> 'status')::int = 503",
            &[&world.studios[1].tenant],
        )
        .await
        .unwrap();
    assert_eq!(shed, 1);
    assert_eq!(stuck.end().await, [201; 4]);
    let (status, _) = change(&world, &world.token(0, "owner")).await;
    assert_eq!(status, 201);
}

// asvs: V15.4.4
#[tokio::test]
async fn a_studio_cannot_have_all_places() {
    let world = Arc::new(rates::world("requests_at_once_per_studio = 3").await);
    let stuck = Stuck::of(&world, &["owner"], 3).await;
    let (status, problem) = world
        .send("GET", "/v1/me", &world.token(0, "manager"), None)
        .await;
    assert_eq!(
        (status, &problem["type"]),
        (503, &json!("/problems/overloaded"))
    );
    let (status, _) = world
        .send("GET", "/v1/me", &world.token(1, "owner"), None)
        .await;
    assert_eq!(status, 200);
    assert_eq!(stuck.end().await, [201; 3]);
}
