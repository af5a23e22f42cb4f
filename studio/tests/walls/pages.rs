//! Sessions of the pages: whose they are, what ends them, and what a foreign page cannot do with them.

use serde_json::{Value, json};
use studio::demo::{ORIGIN, seed::marker};

use crate::world::World;

/// What a request of a page says of itself, and how it ended.
pub(crate) struct Page<'w> {
    world: &'w World,
    cookie: String,
}

pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) text: String,
}

pub(crate) const OURS: &[(&str, &str)] = &[("origin", ORIGIN), ("sec-fetch-site", "same-origin")];

impl<'w> Page<'w> {
    pub(crate) async fn of(world: &'w World, studio: usize, part: &str) -> Self {
        let (status, cookie) = sign_in(world, &world.token(studio, part), OURS).await;
        assert_eq!(status, 204);
        Self {
            world,
            cookie: cookie.unwrap().split(';').next().unwrap().to_owned(),
        }
    }

    /// What its cookie says.
    pub(crate) fn secret(&self) -> &str {
        self.cookie.split_once('=').unwrap().1
    }

    pub(crate) async fn get(&self, path: &str) -> Shown {
        self.send("GET", path, &[], None).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Shown {
        let encoded: Vec<String> = form
            .iter()
            .map(|(name, value)| {
                format!("{name}={}", value.replace(':', "%3A").replace('+', "%2B"))
            })
            .collect();
        self.send("POST", path, headers, Some(encoded.join("&")))
            .await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        form: Option<String>,
    ) -> Shown {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let mut request = client
            .request(
                method.parse().unwrap(),
                format!("{}{path}", self.world.base),
            )
            .header("cookie", &self.cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(form) = form {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form);
        }
        let response = request.send().await.unwrap();
        let location = response.headers().get("location");
        let location = location.map(|value| value.to_str().unwrap().to_owned());
        let policy = response.headers().get("content-security-policy");
        let policy = policy.map(|value| value.to_str().unwrap().to_owned());
        Shown {
            status: response.status().as_u16(),
            location,
            policy,
            text: String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned(),
        }
    }

    pub(crate) async fn csrf_token(&self) -> String {
        let page = self.get("/ui/bookings").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let after = page
            .text
            .split("name=\"csrf_token\" value=\"")
            .nth(1)
            .unwrap();
        after.split('"').next().unwrap().to_owned()
    }

    /// Whether the session still counts.
    async fn counts(&self) -> bool {
        let page = self.get("/ui/bookings").await;
        match page.status {
            200 => true,
            303 => {
                assert_eq!(page.location.as_deref(), Some("/ui/sign-in"));
                false
            }
            403 | 503 => false,
            other => panic!("{other} {}", page.text),
        }
    }
}

async fn sign_in(world: &World, token: &str, headers: &[(&str, &str)]) -> (u16, Option<String>) {
    let mut request = world
        .http
        .post(format!("{}/ui/session", world.base))
        .bearer_auth(token);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let cookie = response.headers().get("set-cookie");
    let cookie = cookie.map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), cookie)
}

// asvs: V3.3.1 V3.3.2 V3.3.3 V3.3.4 V7.2.4
#[tokio::test]
async fn a_token_is_exchanged_for_a_cookie_that_is_new_each_time_and_stored_nowhere() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    let before = world.entries(0).await;
    let (status, first) = sign_in(&world, &token, OURS).await;
    let (_, second) = sign_in(&world, &token, OURS).await;
    assert_eq!(status, 204);
    assert_eq!(world.entries(0).await, before + 2, "one entry a sign-in");
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first, second);
    for part in [
        "__Host-session=",
        "; Path=/",
        "; Secure",
        "; HttpOnly",
        "; SameSite=Lax",
    ] {
        assert!(first.contains(part), "{first}");
    }
    assert!(!first.contains("Domain"));
    let value = first.split(['=', ';']).nth(1).unwrap();
    assert_eq!(value.len(), 43, "256 bits");
    let stored: String = world
        .as_admin()
        .await
        .value(
            "SELECT string_agg(p::text, ' ') FROM tenancy.page_sessions p",
            &[],
        )
        .await
        .unwrap();
    assert!(
        stored.contains("user_a_owner") || stored.contains("sess"),
        "{stored}"
    );
    assert!(!stored.contains(value));

    // Whoever has no role here gets none.
    let (status, cookie) = sign_in(&world, &world.token(0, "guest"), OURS).await;
    assert_eq!((status, cookie), (403, None));
    let (status, cookie) = sign_in(&world, "garbage", OURS).await;
    assert_eq!((status, cookie), (401, None));
}

/// A browser sends `Origin: null` with a form of a page whose policy is `no-referrer`.
#[tokio::test]
async fn a_page_lets_its_own_forms_say_where_they_come_from() {
    let world = World::new().await;
    let page = Page::of(&world, 0, "owner").await;
    let response = world
        .http
        .get(format!("{}/ui/bookings", world.base))
        .header("cookie", &page.cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["referrer-policy"], "same-origin");
    let response = world
        .http
        .get(format!("{}/health", world.base))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
}

/// Login CSRF: nobody's page but ours can put somebody into a session.
// asvs: V3.5.1 V7.6.2
#[tokio::test]
async fn a_foreign_page_cannot_sign_anybody_in() {
    let world = World::new().await;
    let token = world.token(0, "owner");
    let foreign: [&[(&str, &str)]; 6] = [
        &[],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", ORIGIN), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
    ];
    assert_eq!(sign_in(&world, &token, OURS).await.0, 204);
    for headers in foreign {
        assert_eq!(
            sign_in(&world, &token, headers).await,
            (403, None),
            "{headers:?}"
        );
    }
}

// asvs: V3.5.2
#[tokio::test]
async fn pages_show_the_own_studio_and_the_api_takes_no_cookie() {
    let world = World::new().await;
    for studio in [0, 1] {
        world
            .pencil(studio, 1, "2031-04-01T08:00:00Z", "2031-04-01T09:00:00Z")
            .await;
    }
    let foreign = world
        .pencil(1, 1, "2031-04-02T08:00:00Z", "2031-04-02T09:00:00Z")
        .await;
    for (studio, part) in [(0, "owner"), (1, "manager"), (0, "dual"), (1, "dual")] {
        let page = Page::of(&world, studio, part).await;
        let before = world.entries(studio).await;
        let shown = page.get("/ui/bookings").await;
        assert_eq!(shown.status, 200);
        assert_eq!(world.entries(studio).await, before + 1, "one entry a page");
        let (own, other) = if studio == 0 { ("A", "B") } else { ("B", "A") };
        assert!(shown.text.contains(marker(own)), "{studio} {part}");
        assert!(!shown.text.contains(marker(other)), "{studio} {part}");
        // No parameter and no header changes the studio.
        let shown = page
            .send(
                "GET",
                &format!(
                    "/ui/bookings?tenant_id={}",
                    world.studios[1 - studio].tenant
                ),
                &[],
                None,
            )
            .await;
        assert!(!shown.text.contains(marker(other)));
        for path in ["/v1/bookings", "/v1/me", "/v1/me/sessions"] {
            assert_eq!(page.get(path).await.status, 401, "{path}");
        }
    }
    let page = Page::of(&world, 0, "owner").await;
    let missing = page
        .get("/ui/bookings/7b1f4a52-0000-4000-8000-000000000000")
        .await;
    let of_another = page.get(&format!("/ui/bookings/{foreign}")).await;
    assert_eq!((missing.status, of_another.status), (404, 404));
    let plain = |text: &str| text.split("Request ").next().unwrap().to_owned();
    assert_eq!(plain(&missing.text), plain(&of_another.text));
    // Without a session there is nothing but the way to one.
    let stranger = Page {
        world: &world,
        cookie: String::new(),
    };
    let shown = stranger.get("/ui/bookings").await;
    assert_eq!(
        (shown.status, shown.location.as_deref()),
        (303, Some("/ui/sign-in"))
    );
}

// asvs: V1.1.2 V1.2.1
#[tokio::test]
async fn what_people_wrote_is_shown_as_text() {
    let world = World::new().await;
    let title = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
    let body = json!({ "artist_id": world.studios[0].artists[1], "project_id": world.studios[0].projects[0], "title": title,
        "starts_at": "2031-04-01T08:00:00Z", "ends_at": "2031-04-01T09:00:00Z" });
    let (status, booking) = world
        .send("POST", "/v1/bookings", &world.token(0, "owner"), Some(body))
        .await;
    assert_eq!((status, booking["title"].as_str()), (201, Some(title)));
    let page = Page::of(&world, 0, "owner").await;
    let id = booking["id"].as_str().unwrap();
    for path in ["/ui/bookings".to_owned(), format!("/ui/bookings/{id}")] {
        let shown = page.get(&path).await;
        assert!(shown.text.contains("&lt;script&gt;alert(1)"), "{path}");
        assert!(
            !shown.text.contains("<script") && !shown.text.contains("<img"),
            "{path}"
        );
    }
}

// asvs: V3.5.1
#[tokio::test]
async fn a_form_changes_something_only_when_it_is_the_sessions_own() {
    let world = World::new().await;
    let page = Page::of(&world, 0, "owner").await;
    let token = page.csrf_token().await;
    let others = Page::of(&world, 0, "manager").await.csrf_token().await;
    let of_another_studio = Page::of(&world, 1, "owner").await.csrf_token().await;
    let artist = world.studios[0].artists[1].to_string();
    let form = |reference: &'static str, token: Option<&str>| {
        let mut form = vec![
            ("artist_id", artist.clone()),
            ("project_id", world.studios[0].projects[0].to_string()),
            ("reference", reference.to_owned()),
            ("starts_at", "2031-05-01T10:00".to_owned()),
            ("ends_at", "2031-05-01T11:00".to_owned()),
            ("title", String::new()),
        ];
        form.extend(token.map(|token| ("csrf_token", token.to_owned())));
        form
    };
    let submit = async |form: Vec<(&'static str, String)>, headers: &[(&str, &str)]| {
        let fields: Vec<(&str, &str)> = form.iter().map(|(n, v)| (*n, v.as_str())).collect();
        page.post("/ui/bookings/new", headers, &fields).await.status
    };
    assert_eq!(submit(form("GENUINE", Some(&token)), OURS).await, 303);
    let unknown = "x".repeat(43);
    let cross: &[(&str, &str)] = &[("origin", ORIGIN), ("sec-fetch-site", "cross-site")];
    for (what, token, headers) in [
        ("no token", None, OURS),
        ("an empty one", Some(""), OURS),
        ("a wrong one", Some(unknown.as_str()), OURS),
        ("another session's", Some(others.as_str()), OURS),
        ("another studio's", Some(of_another_studio.as_str()), OURS),
        (
            "a foreign page",
            Some(token.as_str()),
            &[("origin", "https://evil.example")],
        ),
        (
            "a sandboxed page",
            Some(token.as_str()),
            &[("origin", "null")],
        ),
        ("a page that lies", Some(token.as_str()), cross),
        ("nothing said", Some(token.as_str()), &[]),
        (
            "only a referer",
            Some(token.as_str()),
            &[("referer", "https://evil.example/")],
        ),
    ] {
        let before = world.entries(0).await;
        assert_eq!(submit(form("FORGED", token), headers).await, 403, "{what}");
        assert_eq!(
            world.entries(0).await,
            before + 1,
            "{what}: the studio is told"
        );
    }
    let list = page.get("/ui/bookings?q=GENUINE").await.text;
    assert!(
        list.contains("GENUINE") && list.contains("1 May 2031, 10:00"),
        "read in the studio's zone"
    );
    assert!(
        !page
            .get("/ui/bookings?q=FORGED")
            .await
            .text
            .contains(">FORGED<")
    );
    assert_eq!(page.get("/ui/bookings/new").await.status, 405);

    // What the form got wrong is said, and nothing is written.
    let mut night = form("NIGHT", Some(&token));
    night[3].1 = "2031-03-30T02:30".to_owned();
    let fields: Vec<(&str, &str)> = night.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let shown = page.post("/ui/bookings/new", OURS, &fields).await;
    assert_eq!(shown.status, 422);
    assert!(shown.text.contains("twice or never"), "{}", shown.text);
}

/// Who is not let in reads what happened and whom to ask, and nothing of the studio; the other studio's pages are as ever.
#[tokio::test]
async fn a_frozen_studio_shows_its_members_whom_to_ask() {
    let world = World::new().await;
    let (own, other) = (
        Page::of(&world, 0, "manager").await,
        Page::of(&world, 1, "manager").await,
    );
    let freeze =
        "UPDATE tenancy.studios SET status = 'frozen' WHERE organization = 'org_alderwood'";
    world.as_admin().await.script(freeze).await.unwrap();
    let shown = own.get("/ui/bookings").await;
    assert_eq!(shown.status, 403);
    assert!(shown.text.contains("Ask an owner"), "{}", shown.text);
    assert!(!shown.text.contains("ALDERWOOD"), "{}", shown.text);
    let shown = other.get("/ui/bookings").await;
    assert_eq!(shown.status, 200);
    assert!(!shown.text.contains("Ask an owner"));
}

// asvs: V7.6.1 V7.3.2
#[tokio::test]
async fn a_session_ends_with_whatever_gave_it() {
    let endings: [(&str, &str); 7] = [
        (
            "removed",
            "UPDATE tenancy.members SET state = 'removed' WHERE subject = 'user_a_manager'",
        ),
        (
            "another role",
            "UPDATE tenancy.members SET valid_after = now() + interval '1 second' WHERE subject = 'user_a_manager'",
        ),
        (
            "its Clerk session",
            "UPDATE tenancy.sessions SET ended_at = now() WHERE subject = 'user_a_manager'",
        ),
        (
            "frozen",
            "UPDATE tenancy.studios SET status = 'frozen' WHERE organization = 'org_alderwood'",
        ),
        (
            "unused",
            "UPDATE tenancy.page_sessions SET seen_at = now() - interval '31 minutes'",
        ),
        (
            "too old",
            "UPDATE tenancy.page_sessions SET expires_at = now() - interval '1 second'",
        ),
        ("ended", "UPDATE tenancy.page_sessions SET ended_at = now()"),
    ];
    for (what, sql) in endings {
        let world = World::new().await;
        let page = Page::of(&world, 0, "manager").await;
        assert!(page.counts().await, "{what}");
        world.as_admin().await.script(sql).await.unwrap();
        assert!(!page.counts().await, "{what}");
    }
    // Lowered, it is lower: what a freelancer may not see is gone.
    let world = World::new().await;
    let page = Page::of(&world, 0, "manager").await;
    let sql =
        "UPDATE tenancy.members SET provider_role = 'freelancer' WHERE subject = 'user_a_manager'";
    world
        .pencil(0, 1, "2031-04-01T08:00:00Z", "2031-04-01T09:00:00Z")
        .await;
    assert!(
        page.get("/ui/bookings")
            .await
            .text
            .contains("ALDERWOOD pencil")
    );
    world.as_admin().await.script(sql).await.unwrap();
    assert!(
        !page
            .get("/ui/bookings")
            .await
            .text
            .contains("ALDERWOOD pencil")
    );
}

// asvs: V7.5.2
#[tokio::test]
async fn everybody_sees_and_ends_the_own_sessions_only() {
    let world = World::new().await;
    let (first, second) = (
        Page::of(&world, 0, "owner").await,
        Page::of(&world, 0, "owner").await,
    );
    let of_another = Page::of(&world, 0, "manager").await;
    let sessions = async |part: &str| -> Vec<Value> {
        let (status, list) = world
            .send("GET", "/v1/me/sessions", &world.token(0, part), None)
            .await;
        assert_eq!(status, 200);
        list["items"].as_array().unwrap().clone()
    };
    assert_eq!(sessions("owner").await.len(), 2);
    assert_eq!(sessions("freelancer").await.len(), 0);
    let others = sessions("manager").await;
    assert_eq!(others.len(), 1);
    let end = async |part: &str, session: &Value| {
        let path = format!("/v1/me/sessions/{}", session["id"].as_str().unwrap());
        world
            .send("DELETE", &path, &world.token(0, part), None)
            .await
            .0
    };
    assert_eq!(end("owner", &others[0]).await, 404, "another member's");
    assert!(of_another.counts().await);
    let newest = sessions("owner").await.remove(0);
    assert_eq!(end("owner", &newest).await, 204);
    assert_eq!(end("owner", &newest).await, 404, "once");
    assert!(!second.counts().await && first.counts().await);

    // From the page: the others by their buttons, this one by signing out.
    let shown = first.get("/ui/sessions").await;
    assert!(shown.text.contains("this one"), "{}", shown.text);
    let token = first.csrf_token().await;
    assert_eq!(first.post("/ui/logout", OURS, &[]).await.status, 403);
    assert!(first.counts().await);
    let out = first
        .post("/ui/logout", OURS, &[("csrf_token", &token)])
        .await;
    assert_eq!(
        (out.status, out.location.as_deref()),
        (303, Some("/ui/sign-in"))
    );
    assert!(!first.counts().await);

    // Twenty at once; the oldest goes.
    let oldest = Page::of(&world, 0, "freelancer").await;
    for _ in 0..20 {
        Page::of(&world, 0, "freelancer").await;
    }
    assert_eq!(sessions("freelancer").await.len(), 20);
    assert!(!oldest.counts().await);
}

/// With SQL as the app role: a session can be opened for nobody but whom the transaction is bound to.
#[tokio::test]
async fn sql_as_the_app_role_opens_no_session_for_another() {
    let world = World::new().await;
    let raw = world.as_app().await;
    let open = "SELECT tenancy.open_page_session(gen_random_uuid(), sha256('x'), '', 60, 60)";
    assert!(raw.script(open).await.is_err(), "without a context");
    for sql in [
        "SELECT * FROM tenancy.page_sessions",
        "INSERT INTO tenancy.page_sessions (digest) VALUES (sha256('x'))",
        "UPDATE tenancy.page_sessions SET ended_at = NULL",
    ] {
        assert!(raw.script(sql).await.is_err(), "{sql}");
    }
    raw.script("BEGIN").await.unwrap();
    raw.run(
        "SELECT tenancy.enter($1)",
        &[&world.context(0, "freelancer")],
    )
    .await
    .unwrap();
    raw.script(open).await.unwrap();
    raw.script("COMMIT").await.unwrap();
    let of: String = world
        .as_admin()
        .await
        .value(
            "SELECT string_agg(m.subject, ',') FROM tenancy.page_sessions p JOIN tenancy.members m ON m.id = p.member_id",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(of, "user_a_freelancer");
}

#[tokio::test]
async fn a_page_session_has_a_members_quota() {
    let world = crate::rates::world("per_member_s = 1\nburst_s = 6").await;
    let page = Page::of(&world, 0, "owner").await;
    let (mut shown, started) = (0, std::time::Instant::now());
    for _ in 0..20 {
        let answered = page.get("/ui/bookings").await;
        match answered.status {
            200 => shown += 1,
            429 => assert!(answered.text.contains("<html"), "{}", answered.text),
            other => panic!("{other}"),
        }
    }
    let most = 7 + started.elapsed().as_secs();
    assert!((6..=most).contains(&shown), "{shown} is not 6 to {most}");
}
