//! Comparing with Clerk: what never came is found, and what an owner did is told there.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use studio::{
    app::App,
    commands::write_private,
    config::Config,
    demo::clerk_role,
    people::{Comparison, People},
};
use tokio::net::TcpListener;
use watertight_identity::{backend::Backend, double::Person};
use watertight_terms::{Clock, Random, Subject};

use crate::world::{World, serve, verifier};

/// A world whose Clerk can be asked: the double serves, and knows everybody of both studios.
struct Reconciled {
    world: World,
    app: App,
    base: String,
    clerk: Backend,
}

impl Reconciled {
    async fn new() -> Self {
        let world = World::new().await;
        let people = world.studios.iter().flat_map(|studio| {
            studio.people.iter().map(|person| Person {
                name: person.part.clone(),
                studio: studio.name.clone(),
                role: clerk_role(&person.role).to_owned(),
                subject: person.subject.clone(),
                session: person.session.clone(),
                organization: studio.organization.clone(),
                slug: "x".to_owned(),
            })
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = world
            .double
            .router_with_example(people.collect(), "http://127.0.0.1");
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = with_key(&world, &address.to_string());
        let app = App::new(
            config,
            verifier(&world.double),
            Clock::system(),
            Random::system(),
        );
        let app = app.unwrap();
        let base = serve(&app).await;
        let clerk = app.desk.people.backend.clone().unwrap();
        Self {
            world,
            app,
            base,
            clerk,
        }
    }

    fn people(&self) -> &People {
        &self.app.desk.people
    }

    async fn reconcile(&self) -> Comparison {
        let mut comparison = self.people().compare(None).await.unwrap();
        self.people().mend(&mut comparison).await.unwrap();
        assert!(comparison.failures.is_empty(), "{:?}", comparison.failures);
        comparison
    }

    async fn status(&self, studio: usize, part: &str) -> u16 {
        let token = self.world.token(studio, part);
        self.world.send("GET", "/v1/artists", &token, None).await.0
    }

    fn id(&self, studio: usize, part: &str) -> (Subject, Subject) {
        let studio = &self.world.studios[studio];
        let organization = studio.organization.parse().unwrap();
        (organization, studio.person(part).subject.parse().unwrap())
    }

    /// Asks the server that tells Clerk, as the owner.
    async fn owner(&self, method: &str, path: &str, body: Option<serde_json::Value>) -> u16 {
        let request = self
            .world
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.base))
            .bearer_auth(self.world.token(0, "owner"));
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => request,
        };
        request.send().await.unwrap().status().as_u16()
    }

    /// The role that Clerk has for somebody, once it is that.
    async fn there(&self, part: &str, expected: Option<&str>) {
        let (organization, subject) = self.id(0, part);
        for _ in 0..100 {
            let list = self.clerk.memberships(&organization).await.unwrap();
            let role = list.into_iter().find(|one| one.subject == subject);
            if role.map(|one| one.role).as_deref() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("clerk was not told of {part}");
    }
}

fn with_key(world: &World, address: &str) -> Config {
    let file = world.config.keys.location.with_file_name("secret-key");
    write_private(&file, world.double.secret_key().expose_secret()).unwrap();
    let mut config = world.config.clone();
    config.clerk.secret_key_file = Some(file);
    config.clerk.backend_url = Some(format!("http://{address}"));
    config.outbound.allow = vec![address.to_owned()];
    config
}

#[tokio::test]
async fn what_no_webhook_told_is_found_and_mended_once() {
    let it = Reconciled::new().await;
    assert!(it.reconcile().await.steps.is_empty(), "nothing differs");
    let (organization, leaver) = it.id(0, "leaver");
    let (_, manager) = it.id(0, "manager");
    it.clerk.remove(&organization, &leaver).await.unwrap();
    it.clerk
        .set_role(&organization, &manager, "org:freelancer")
        .await
        .unwrap();
    it.world.double.know(&[Person {
        name: "New".into(),
        studio: "A".into(),
        role: "org:studio_owner".into(),
        subject: "user_new".into(),
        session: "sess_new".into(),
        organization: organization.to_string(),
        slug: "x".into(),
    }]);
    // A plan changes nothing.
    let plan = it.people().compare(None).await.unwrap();
    assert_eq!((plan.studios, plan.steps.len()), (2, 3), "{:?}", plan.steps);
    assert_eq!(it.status(0, "leaver").await, 200);

    assert_eq!(it.reconcile().await.steps.len(), 3);
    assert_eq!(it.status(0, "leaver").await, 403);
    let token = it.world.token(0, "manager");
    let (_, me) = it.world.send("GET", "/v1/me", &token, None).await;
    assert_eq!(me["role"], "freelancer");
    let owner = it.world.token(0, "owner");
    let (_, list) = it
        .world
        .send("GET", "/v1/members?state=pending", &owner, None)
        .await;
    assert_eq!(list["items"][0]["subject"], "user_new");
    for part in ["owner", "manager", "leaver", "dual"] {
        assert_eq!(it.status(1, part).await, 200, "the other studio's {part}");
    }
    assert!(it.reconcile().await.steps.is_empty(), "once");
}

#[tokio::test]
async fn what_an_owner_does_counts_here_first_and_is_told_to_clerk() {
    let it = Reconciled::new().await;
    let path = |part: &str| format!("/v1/members/{}", it.world.studios[0].person(part).member);
    assert_eq!(it.owner("DELETE", &path("leaver"), None).await, 204);
    it.there("leaver", None).await;
    // And is known here before any webhook or comparison tells it.
    let raw = it.world.as_admin().await;
    let gone = "SELECT bool_or(provider_removed) FROM tenancy.members WHERE tenant_id = $1 AND subject = $2";
    let leaver = (
        it.world.studios[0].tenant,
        it.world.studios[0].person("leaver").subject.clone(),
    );
    let known = async {
        while !raw
            .value::<bool>(gone, &[&leaver.0, &leaver.1])
            .await
            .unwrap()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), known)
        .await
        .expect("it is not known that clerk let go");
    let role = |role: &str| Some(json!({ "role": role }));
    assert_eq!(
        it.owner("PATCH", &path("manager"), role("freelancer"))
            .await,
        200
    );
    it.there("manager", Some("org:freelancer")).await;
    assert_eq!(
        it.owner("PATCH", &path("manager"), role("owner")).await,
        200
    );
    it.there("manager", Some("org:studio_owner")).await;
    let invited = json!({ "email": "ines@example.org", "role": "manager" });
    assert_eq!(it.owner("POST", "/v1/members", Some(invited)).await, 202);
    for attempt in 0.. {
        let known: i64 = raw
            .value(
                "SELECT count(invitation) FROM tenancy.members WHERE subject IS NULL",
                &[],
            )
            .await
            .unwrap();
        if known == 1 {
            break;
        }
        assert!(attempt < 100, "clerk was not told of the invitation");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = it.world.double.take_events();
    let kinds: Vec<&str> = told
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert!(
        kinds.contains(&"organizationInvitation.created"),
        "{kinds:?}"
    );
}

/// What is found to be owed to Clerk is told by the next comparison, too.
#[tokio::test]
async fn what_clerk_was_not_told_is_told_later() {
    let it = Reconciled::new().await;
    // By the server that has no key.
    let owner = it.world.token(0, "owner");
    let path = |part: &str| format!("/v1/members/{}", it.world.studios[0].person(part).member);
    let send =
        async |method: &str, path: &str, body| it.world.send(method, path, &owner, body).await.0;
    assert_eq!(send("DELETE", &path("leaver"), None).await, 204);
    let lower = Some(json!({ "role": "freelancer" }));
    assert_eq!(send("PATCH", &path("manager"), lower).await, 200);
    let body = Some(json!({ "email": "ines@example.org", "role": "manager" }));
    assert_eq!(send("POST", "/v1/members", body).await, 202);
    it.there("leaver", Some("org:studio_manager")).await;
    assert_eq!(it.reconcile().await.steps.len(), 3);
    it.there("leaver", None).await;
    it.there("manager", Some("org:freelancer")).await;
    // The removal there is still to be heard of here.
    let again = it.reconcile().await;
    assert!(again.steps.len() <= 1, "{:?}", again.steps);
    assert!(it.reconcile().await.steps.is_empty());
}

/// The key of another instance knows none of the organizations: nobody is suspended or removed.
#[tokio::test]
async fn a_clerk_that_knows_nobody_removes_nobody() {
    let it = Reconciled::new().await;
    let raw = it.world.as_admin().await;
    raw.script("UPDATE tenancy.studios SET organization = organization || '_x'")
        .await
        .unwrap();
    let mut comparison = it.people().compare(None).await.unwrap();
    it.people().mend(&mut comparison).await.unwrap();
    assert_eq!((comparison.steps.len(), comparison.failures.len()), (0, 2));
    // One of several that is gone is.
    raw.script("UPDATE tenancy.studios SET organization = replace(organization, '_x', '') WHERE name = (SELECT max(name) FROM tenancy.studios)")
        .await
        .unwrap();
    let steps = it.reconcile().await.steps;
    assert_eq!(steps.len(), 1, "{steps:?}");
    let suspended: i64 = raw
        .value(
            "SELECT count(*) FROM tenancy.studios WHERE status = 'suspended'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(suspended, 1);
}

/// Whoever joined while the list was read is not taken for absent.
#[tokio::test]
async fn who_is_heard_of_after_the_list_was_begun_stays() {
    use watertight_tenancy::{News, ProviderEvent};
    let it = Reconciled::new().await;
    let (organization, subject) = it.id(0, "leaver");
    let begun_ms = it.people().tenancy.people_known(None).await.unwrap()[0].now_ms;
    let tell = async |delivery: &str, at_ms: i64, news| {
        let event = ProviderEvent {
            delivery,
            at_ms,
            news,
        };
        it.people().tenancy.apply(&event).await.unwrap()
    };
    let member = News::Member {
        organization: &organization,
        subject: &subject,
        role: watertight_terms::Role::Manager,
        name: None,
    };
    let absent = News::MemberAbsent {
        organization: &organization,
        subject: &subject,
    };
    tell("joined", 1, member).await;
    assert!(tell("absent_1", begun_ms, absent).await.is_empty());
    assert_eq!(it.status(0, "leaver").await, 200);
    let begun_ms = it.people().tenancy.people_known(None).await.unwrap()[0].now_ms;
    assert_eq!(tell("absent_2", begun_ms + 1, absent).await.len(), 1);
    assert_eq!(it.status(0, "leaver").await, 403);
    // A newer word brings them back.
    tell("joined_again", 2, member).await;
    assert_eq!(it.status(0, "leaver").await, 200);
}
