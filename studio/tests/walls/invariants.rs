//! What must hold over generated rows and for whoever holds Clerk's keys.

use std::collections::BTreeSet;

use serde_json::json;
use studio::{
    app::authority,
    resources::bookings::{Booking, actions},
};
use uuid::Uuid;
use watertight_identity::double::TokenRequest;
use watertight_tenancy::{Read, Stored};
use watertight_terms::Entry;

use crate::{
    webhooks::{deliver, membership},
    world::World,
};

const EVERY: Read =
    Read::new("SELECT b.*, NULL::integer AS rank FROM studio.bookings b WHERE tenant_id = $1");
const FILTERED: Read = Read::new(
    "SELECT b.*, NULL::integer AS rank FROM studio.bookings b
     WHERE tenant_id = $1 AND ($2::uuid IS NULL OR artist_id = $2)",
);

/// 1,000 bookings over both studios, all artists and states.
pub(crate) async fn generate(world: &World) {
    world
        .as_admin()
        .await
        .script(
            "INSERT INTO studio.bookings (tenant_id, id, reference, artist_id, project_id, state, starts_at, ends_at,
               slice_starts, slice_ends, expires_at, deed)
             SELECT a.tenant_id, gen_random_uuid(), 'G-' || n, a.id,
               (SELECT p.id FROM studio.projects p WHERE p.tenant_id = a.tenant_id LIMIT 1),
               (ARRAY['hold', 'pencil', 'confirmed', 'in_progress', 'completed', 'released', 'cancelled'])[1 + n % 7],
               s, s + interval '1 hour', ARRAY[s], ARRAY[s + interval '1 hour'], now() + interval '1 day', 'create'
             FROM generate_series(1, 1000) n CROSS JOIN LATERAL (SELECT timestamptz '2031-01-01' + n * interval '1 hour' AS s) t
             JOIN LATERAL (SELECT tenant_id, id FROM studio.artists ORDER BY md5(id::text || n) LIMIT 1) a ON true",
        )
        .await
        .unwrap();
}

pub(crate) async fn ids_by_raw_sql(world: &World, studio: usize, part: &str) -> BTreeSet<Uuid> {
    let raw = world.as_app().await;
    raw.script("BEGIN").await.unwrap();
    raw.run("SELECT tenancy.enter($1)", &[&world.context(studio, part)])
        .await
        .unwrap();
    let ids: Vec<Uuid> = raw
        .value(
            "SELECT coalesce(array_agg(id), '{}') FROM studio.bookings",
            &[],
        )
        .await
        .unwrap();
    ids.into_iter().collect()
}

#[tokio::test]
async fn the_ids_that_the_policies_show_that_cedar_allows_and_that_the_filter_gives_are_the_same() {
    let world = World::new().await;
    generate(&world).await;
    let admin = world.as_admin().await;
    let all: Vec<(Uuid, Uuid, Uuid)> = all_bookings(&admin).await;
    assert_eq!(all.len(), 1_000);
    for studio in 0..2 {
        for part in ["owner", "manager", "freelancer"] {
            let shown = ids_by_raw_sql(&world, studio, part).await;
            assert!(!shown.is_empty());
            let caller = world.caller(studio, part).await;
            let mut tx = world
                .app
                .tenancy
                .begin(&caller, world.facts())
                .await
                .unwrap();
            let filtered = tx
                .page::<actions::View, Booking>(FILTERED, &[])
                .await
                .unwrap();
            let filtered: BTreeSet<Uuid> = filtered
                .iter()
                .map(watertight_authority::Resource::id)
                .collect();
            let mut allowed = BTreeSet::new();
            for row in tx.read(EVERY, &[]).await.unwrap() {
                let booking = Booking::from_row(&row).unwrap();
                if tx.allows::<actions::View, Booking>(&booking) {
                    allowed.insert(watertight_authority::Resource::id(&booking));
                }
            }
            assert_eq!(shown, filtered, "{part}: policies and filter");
            assert_eq!(shown, allowed, "{part}: policies and cedar");
            tx.finish(Entry::new("booking.view", "booking"))
                .await
                .map(drop)
                .unwrap();
        }
    }
}

async fn all_bookings(
    admin: &watertight_tenancy::support::RawConnection,
) -> Vec<(Uuid, Uuid, Uuid)> {
    let ids: Vec<Uuid> = admin
        .value("SELECT array_agg(id) FROM studio.bookings", &[])
        .await
        .unwrap();
    ids.into_iter().map(|id| (id, id, id)).collect()
}

#[tokio::test]
async fn a_broken_twin_of_the_policy_is_noticed() {
    let world = World::new().await;
    generate(&world).await;
    let own = ids_by_raw_sql(&world, 0, "freelancer").await;
    world
        .as_admin()
        .await
        .script("ALTER POLICY see ON studio.bookings USING (true)")
        .await
        .unwrap();
    let broken = ids_by_raw_sql(&world, 0, "freelancer").await;
    assert!(
        broken.len() > own.len(),
        "the twin shows more, and the comparison above would see it"
    );
    // Even so the wall between studios stands: it is restrictive.
    let caller = world.caller(0, "owner").await;
    let mut tx = world
        .app
        .tenancy
        .begin(&caller, world.facts())
        .await
        .unwrap();
    let rows = tx.read(EVERY, &[]).await.unwrap();
    assert_eq!(rows.len(), broken.len());
}

/// Invariant 16, as far as identity goes: who holds Clerk's keys can sign any token; no row of an
/// existing studio becomes readable by that.
#[tokio::test]
async fn with_clerks_keys_in_hand_no_row_of_an_existing_studio_becomes_readable() {
    let world = World::new().await;
    world
        .pencil(0, 1, "2031-01-01T08:00:00Z", "2031-01-01T09:00:00Z")
        .await;
    let sign = |subject: &str, organization: &str| {
        world.double.token(&TokenRequest {
            subject: subject.to_owned(),
            session: format!("sess_of_{subject}"),
            organization: organization.to_owned(),
            slug: "x".to_owned(),
            role: "org:studio_owner".to_owned(),
            version: 2,
            life_s: 60,
        })
    };
    let a = world.studios[0].organization.clone();
    // Positive: the key does sign tokens that are accepted for whom the studio admitted.
    let owner = sign("user_a_owner", &a);
    assert_eq!(world.send("GET", "/v1/bookings", &owner, None).await.0, 200);
    // A made-up user, and a member of the other studio, as owner of this one.
    for subject in ["user_made_up", "user_b_owner"] {
        let (status, problem) = world
            .send("GET", "/v1/bookings", &sign(subject, &a), None)
            .await;
        assert_eq!(
            (status, problem["type"].as_str()),
            (403, Some("/problems/not-a-member")),
            "{subject}"
        );
    }
    // With the webhook's secret too: a membership that nobody here invited is pending, no data; the
    // guest and the freelancer stay what the studio admitted, also when Clerk's own record says
    // owner; and an invitation that nobody here made lets nobody in.
    let at_ms = watertight_terms::Clock::system().now().as_millisecond();
    for (at, subject) in [
        "user_planted",
        "user_b_owner",
        "user_a_guest",
        "user_a_freelancer",
    ]
    .into_iter()
    .enumerate()
    {
        let event = membership("created", &a, subject, "org:studio_owner", at_ms);
        let id = format!("msg_{at}");
        assert_eq!(
            deliver(&world, "svix", &id, &event, &world.webhook_secret).await,
            204
        );
        let event = json!({ "object": "event", "type": "organizationInvitation.accepted", "timestamp": at_ms,
            "data": { "id": format!("orginv_{at}"), "organization_id": a, "user_id": subject,
                "role": "org:studio_owner", "updated_at": at_ms } });
        let id = format!("msg_accepted_{at}");
        let event = event.to_string();
        assert_eq!(
            deliver(&world, "svix", &id, &event, &world.webhook_secret).await,
            204
        );
    }
    let admin = world.as_admin().await;
    let owners: i64 = admin
        .value(
            "SELECT count(*) FROM tenancy.members WHERE tenant_id = $1 AND provider_role = 'owner'",
            &[&world.studios[0].tenant],
        )
        .await
        .unwrap();
    assert_eq!(owners, 6, "that Clerk says so did arrive");
    for subject in ["user_planted", "user_b_owner", "user_a_guest"] {
        let told = world
            .send("GET", "/v1/bookings", &sign(subject, &a), None)
            .await
            .0;
        assert_eq!(told, 403, "{subject}");
    }
    let freelancer = sign("user_a_freelancer", &a);
    let (_, list) = world.send("GET", "/v1/bookings", &freelancer, None).await;
    assert_eq!(list["items"], json!([]));
    assert_eq!(
        world
            .send(
                "POST",
                "/v1/artists",
                &freelancer,
                Some(json!({ "name": "x" }))
            )
            .await
            .0,
        403
    );
}

#[test]
fn the_policies_fit_their_schema() {
    authority().unwrap();
}
