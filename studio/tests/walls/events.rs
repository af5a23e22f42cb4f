//! Streams of what happens: everything that the caller may view, once and in order, whoever commits when;
//! and nothing any more as soon as the caller may not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use studio::{app::App, commands::serve_until};
use tokio::{net::TcpListener, sync::oneshot, time::timeout};
use uuid::Uuid;
use watertight_terms::{Clock, Random};

use crate::world::{World, verifier};

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    id: String,
    kind: String,
    data: Value,
}

impl Event {
    /// Booking and version.
    fn told(&self) -> (String, i64) {
        let booking = self.data["booking_id"].as_str().unwrap().to_owned();
        (booking, self.data["version"].as_i64().unwrap())
    }
}

/// A stream that is open.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(world: &World, base: &str, of: (usize, &str), last: Option<&str>) -> Self {
        let asked = ask(world, base, of, last).await;
        assert_eq!(asked.status(), 200);
        assert_eq!(asked.headers()["content-type"], "text/event-stream");
        Self {
            response: asked,
            text: String::new(),
        }
    }

    /// The next event; none when the stream has ended. Whatever runs on the server of the database, be it
    /// another test's, holds back what is told.
    async fn next(&mut self) -> Option<Event> {
        self.next_within(Duration::from_secs(30)).await.unwrap()
    }

    /// The same; an error when nothing came in time.
    async fn next_within(&mut self, patience: Duration) -> Result<Option<Event>, ()> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                // A comment has no data.
                if let Some(data) = field("data: ") {
                    let data = serde_json::from_str(&data).unwrap();
                    let (id, kind) = (field("id: ").unwrap(), field("event: ").unwrap());
                    return Ok(Some(Event { id, kind, data }));
                }
                continue;
            }
            match timeout(patience, self.response.chunk())
                .await
                .map_err(|_| ())?
            {
                Ok(Some(bytes)) => self.text += std::str::from_utf8(&bytes).unwrap(),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }

    /// So many events, and that no more come.
    async fn exactly(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.unwrap());
        }
        let more = self.next_within(Duration::from_secs(2)).await;
        assert_eq!(more, Err(()), "one too many");
        events
    }

    /// How long it takes until it ends; what is told until then is of no matter.
    async fn ends_within(&mut self) -> Duration {
        let started = Instant::now();
        while self
            .next_within(Duration::from_secs(20))
            .await
            .unwrap()
            .is_some()
        {}
        started.elapsed()
    }
}

async fn ask(
    world: &World,
    base: &str,
    of: (usize, &str),
    last: Option<&str>,
) -> reqwest::Response {
    let mut request = world
        .http
        .get(format!("{base}/v1/events"))
        .bearer_auth(world.token(of.0, of.1));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.send().await.unwrap()
}

async fn admin(world: &World, sql: &str) {
    world.as_admin().await.script(sql).await.unwrap();
}

async fn pencil(world: &World, studio: usize, artist: usize, day: usize) -> String {
    let time = |hour: usize| {
        format!(
            "2031-{:02}-{:02}T{hour:02}:00:00Z",
            1 + day / 28,
            1 + day % 28
        )
    };
    world.pencil(studio, artist, &time(8), &time(16)).await
}

/// Every version of a studio as the database has it.
async fn versions(world: &World, studio: usize, since: &str) -> Vec<(String, i64)> {
    let all: Value = world
        .as_admin()
        .await
        .value(
            "SELECT coalesce(jsonb_agg(jsonb_build_array(source_id, version)), '[]') FROM studio.booking_versions
             WHERE tenant_id = $1 AND xact > (SELECT xact FROM studio.booking_versions WHERE id = $2::text::uuid)",
            &[&world.studios[studio].tenant, &since],
        )
        .await
        .unwrap();
    let mut all: Vec<(String, i64)> = serde_json::from_value(all).unwrap();
    all.sort();
    all
}

#[tokio::test]
async fn each_version_is_told_to_those_who_may_view_it() {
    let world = World::new().await;
    let mut streams = Vec::new();
    for of in [(0, "owner"), (0, "freelancer"), (1, "owner")] {
        let mut stream = Stream::open(&world, &world.base, of, None).await;
        let first = stream.next().await.unwrap();
        assert_eq!((first.kind.as_str(), &first.data), ("open", &json!({})));
        streams.push(stream);
    }
    let (own, others) = (pencil(&world, 0, 0, 1).await, pencil(&world, 0, 1, 1).await);
    let owner = world.token(0, "owner");
    for id in [&own, &others] {
        let path = format!("/v1/bookings/{id}/confirm");
        assert_eq!(world.send("POST", &path, &owner, None).await.0, 200);
    }
    let foreign = pencil(&world, 1, 0, 1).await;
    let mut told = Vec::new();
    for (stream, count) in streams.iter_mut().zip([4, 2, 1]) {
        let events = stream.exactly(count).await;
        assert!(events.iter().all(|event| event.kind == "booking"));
        let members = ["type", "booking_id", "version"];
        for event in &events {
            let names: Vec<&str> = event
                .data
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(names, members, "ids, and nothing of what they say");
        }
        told.push(events.iter().map(Event::told).collect::<Vec<_>>());
    }
    let of = |id: &String, version: i64| (id.clone(), version);
    assert_eq!(
        told[0],
        [of(&own, 1), of(&others, 1), of(&own, 2), of(&others, 2)]
    );
    assert_eq!(told[1], [of(&own, 1), of(&own, 2)]);
    assert_eq!(told[2], [of(&foreign, 1)]);
    // The opening is an entry, and so is each telling, with what it told.
    let entries: Value = world
        .as_admin()
        .await
        .value(
            "SELECT jsonb_agg(jsonb_build_array(body ->> 'action', body -> 'ids') ORDER BY at) FROM ledger.entries
             WHERE tenant_id = $1 AND body ->> 'action' LIKE 'event.%' AND body ->> 'role' = 'freelancer'",
            &[&world.studios[0].tenant],
        )
        .await
        .unwrap();
    let entries = entries.as_array().unwrap();
    assert_eq!(entries[0], json!(["event.open", []]));
    let ids: Vec<&Value> = entries[1..]
        .iter()
        .flat_map(|entry| entry[1].as_array().unwrap())
        .collect();
    assert!(
        ids.iter().all(|id| **id == json!(own)) && !ids.is_empty(),
        "{entries:?}"
    );
}

/// What went to another artist is told to the one it was of, once.
#[tokio::test]
async fn an_artist_is_told_that_a_booking_went_to_another() {
    let world = World::new().await;
    let mut streams = Vec::new();
    for part in ["owner", "freelancer"] {
        let mut stream = Stream::open(&world, &world.base, (0, part), None).await;
        assert_eq!(stream.next().await.unwrap().kind, "open");
        streams.push(stream);
    }
    let (id, owner) = (pencil(&world, 0, 0, 1).await, world.token(0, "owner"));
    let path = format!("/v1/bookings/{id}");
    let to = |artist: usize| json!({ "artist_id": world.studios[0].artists[artist] });
    for change in [to(1), json!({ "title": "not told to the former" }), to(0)] {
        let (status, body) = world.send("PATCH", &path, &owner, Some(change)).await;
        assert_eq!(status, 200, "{body}");
    }
    let mut told = Vec::new();
    for (stream, count) in streams.iter_mut().zip([4, 3]) {
        let events = stream.exactly(count).await;
        let events = events.iter().map(|event| {
            assert_eq!(event.told().0, id);
            (
                event.data["type"].as_str().unwrap().to_owned(),
                event.told().1,
            )
        });
        told.push(events.collect::<Vec<_>>());
    }
    let of = |what: &str, version: i64| (format!("booking.{what}"), version);
    let all = [
        of("create", 1),
        of("change", 2),
        of("change", 3),
        of("change", 4),
    ];
    assert_eq!(told[0], all);
    assert_eq!(
        told[1],
        [of("create", 1), of("withdraw", 2), of("change", 4)]
    );
}

/// While an import writes, whoever imports is told how far it is, and nobody else.
#[tokio::test]
async fn whoever_imports_is_told_how_far_it_is() {
    let world = World::new().await;
    let mut streams = Vec::new();
    for of in [(0, "manager"), (0, "owner"), (1, "manager")] {
        let mut stream = Stream::open(&world, &world.base, of, None).await;
        assert_eq!(stream.next().await.unwrap().kind, "open");
        streams.push(stream);
    }
    let lines: String = (0..6_000).map(|n| format!("I-{n},artist {n}\n")).collect();
    let request = world.http.post(format!("{}/v1/artists/import", world.base));
    let request = request
        .bearer_auth(world.token(0, "manager"))
        .header("content-type", "text/csv")
        .body(format!("reference,name\n{lines}"));
    let import = tokio::spawn(async move { request.send().await.unwrap().status() });
    let told = streams[0].next().await.unwrap();
    assert_eq!(told.kind, "import");
    assert_eq!(told.data["type"], "artist.import");
    let (done, total) = (told.data["done"].as_i64(), told.data["total"].as_i64());
    assert!(done.unwrap() <= 6_000 && total == Some(6_000), "{told:?}");
    assert_eq!(import.await.unwrap(), 200);
    for stream in &mut streams[1..] {
        let heard = stream.next_within(Duration::from_secs(2)).await;
        assert_eq!(heard, Err(()), "what is another's");
    }
}

/// A transaction that began first and commits last is told too, and the order is one for all.
#[tokio::test]
async fn whoever_goes_on_from_an_id_misses_nothing_and_hears_nothing_twice() {
    let world = World::new().await;
    pencil(&world, 0, 1, 20).await;
    let start = newest(&world, 0).await;
    let mut whole = Stream::open(&world, &world.base, (0, "owner"), Some(&start)).await;
    assert_eq!(whole.next().await.unwrap().kind, "open");
    // One that has written its version and does not commit.
    let slow = world.as_app().await;
    slow.script("BEGIN").await.unwrap();
    slow.run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await
        .unwrap();
    slow.script("SET LOCAL idle_in_transaction_session_timeout = 0")
        .await
        .unwrap();
    let existing = world.studios[0].artists[1];
    slow.run(
        "UPDATE studio.bookings SET version = version + 1, title = 'slow', updated_at = now()
         WHERE tenant_id = tenancy.tenant_id() AND artist_id = $1 AND state = 'pencil' AND archived_at IS NULL",
        &[&existing],
    )
    .await
    .unwrap();
    let after = [pencil(&world, 0, 0, 1).await, pencil(&world, 0, 0, 2).await];
    assert_eq!(
        whole.next_within(Duration::from_secs(3)).await,
        Err(()),
        "what is later waits for it"
    );
    // Nor is it given to whoever asks while that one is under way.
    let early = world.as_app().await;
    early.script("BEGIN").await.unwrap();
    early
        .run("SELECT tenancy.enter($1)", &[&world.context(0, "owner")])
        .await
        .unwrap();
    let after_start: Value = early
        .value(
            "SELECT coalesce(jsonb_agg(booking_id), '[]') FROM studio.versions_after($1::text::uuid, 100)",
            &[&start],
        )
        .await
        .unwrap();
    early.script("ROLLBACK").await.unwrap();
    assert_eq!(after_start, json!([]));
    slow.script("COMMIT").await.unwrap();
    let told = whole.exactly(3).await;
    assert_ne!(told[0].told().0, after[0], "the earlier one comes first");

    // Clients that lose their connection again and again, while many write.
    let writers = async {
        for day in 3..18 {
            let both = tokio::join!(pencil(&world, 0, 0, day), pencil(&world, 0, 1, day));
            assert_ne!(both.0, both.1);
        }
    };
    let reader = async {
        let (mut last, mut heard) = (start.clone(), Vec::new());
        while heard.len() < 3 + 30 {
            let mut stream = Stream::open(&world, &world.base, (0, "owner"), Some(&last)).await;
            assert_eq!(stream.next().await.unwrap().kind, "open");
            for _ in 0..5.min(3 + 30 - heard.len()) {
                let event = stream.next().await.unwrap();
                last.clone_from(&event.id);
                heard.push(event);
            }
        }
        heard
    };
    let ((), heard) = tokio::join!(writers, reader);
    let mut once: Vec<(String, i64)> = heard.iter().map(Event::told).collect();
    once.sort();
    assert_eq!(once, versions(&world, 0, &start).await);
    // Whoever hears it all at once hears it in the same order.
    let mut again = Stream::open(&world, &world.base, (0, "owner"), Some(&start)).await;
    again.next().await;
    assert_eq!(again.exactly(heard.len()).await, heard);
}

/// The id of a studio's newest event. It is there once whatever was written before it is settled, which another
/// test's transaction may put off.
async fn newest(world: &World, studio: usize) -> String {
    for _ in 0..100 {
        let mut stream = Stream::open(world, &world.base, (studio, "owner"), None).await;
        let first = stream.next().await.unwrap();
        if first.id != Uuid::nil().to_string() {
            return first.id;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the studio has no event");
}

/// What is sent back that the studio does not have is answered so that nothing is missed.
#[tokio::test]
async fn an_id_that_is_unknown_or_anothers_starts_anew() {
    let world = World::new().await;
    pencil(&world, 0, 0, 1).await;
    pencil(&world, 1, 0, 1).await;
    let foreign = newest(&world, 1).await;
    let made_up = Random::system().uuid().to_string();
    let mut answers = Vec::new();
    for last in [foreign.as_str(), &made_up, "nonsense", ""] {
        let mut stream = Stream::open(&world, &world.base, (0, "owner"), Some(last)).await;
        let first = stream.next().await.unwrap();
        assert_eq!(first.kind, "reset", "{last}");
        answers.push(first);
    }
    assert!(
        answers.windows(2).all(|pair| pair[0] == pair[1]),
        "foreign and absent are one answer"
    );
}

/// Ends within a few seconds, whatever it is that ends.
#[tokio::test]
async fn a_stream_ends_with_whatever_gave_it() {
    let world = World::new().await;
    let member = |part: &str| world.studios[0].person(part).member;
    let (subject, session) = {
        let person = world.studios[0].person("freelancer");
        (person.subject.clone(), person.session.clone())
    };
    let tenant = world.studios[0].tenant;
    for (part, what) in [
        ("leaver", format!("UPDATE tenancy.members SET state = 'removed' WHERE id = '{}'", member("leaver"))),
        ("manager", format!("UPDATE tenancy.members SET ceiling = 'freelancer', valid_after = now() + interval '2 seconds' WHERE id = '{}'", member("manager"))),
        ("freelancer", format!("INSERT INTO tenancy.sessions (session, subject, ended_at) VALUES ('{session}', '{subject}', now())
            ON CONFLICT (session) DO UPDATE SET ended_at = now()")),
        ("owner", format!("UPDATE tenancy.studios SET status = 'freezing' WHERE tenant_id = '{tenant}'")),
    ] {
        let mut stream = Stream::open(&world, &world.base, (0, part), None).await;
        let mut other = Stream::open(&world, &world.base, (1, "owner"), None).await;
        assert_eq!(stream.next().await.unwrap().kind, "open");
        other.next().await;
        assert_eq!(stream.next_within(Duration::from_secs(2)).await, Err(()), "{part}: it stays open");
        admin(&world, &what).await;
        let took = stream.ends_within().await;
        assert!(took < Duration::from_secs(4), "{part}: {took:?}");
        assert_eq!(other.next_within(Duration::from_secs(1)).await, Err(()), "the other studio's goes on");
        let again = ask(&world, &world.base, (0, part), None).await.status().as_u16();
        assert!([401, 403, 503].contains(&again), "{part}: {again}");
    }
}

#[tokio::test]
async fn a_member_has_four_streams_and_they_come_back() {
    let world = World::new().await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(Stream::open(&world, &world.base, (0, "owner"), None).await);
    }
    let refused = ask(&world, &world.base, (0, "owner"), None).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(problem["type"], "/problems/too-many-requests");
    // Another member's are another's, and requests go on: a stream holds no place among them.
    Stream::open(&world, &world.base, (0, "manager"), None).await;
    assert_eq!(
        world
            .send("GET", "/v1/bookings", &world.token(0, "owner"), None)
            .await
            .0,
        200
    );
    assert_eq!(
        ask(&world, &world.base, (0, "guest"), None).await.status(),
        403
    );
    drop(streams);
    let started = Instant::now();
    while ask(&world, &world.base, (0, "owner"), None).await.status() != 200 {
        assert!(started.elapsed().as_secs() < 10, "places do not come back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Two processes over one database: what one of them writes is told by the other. One that stops ends its
/// streams at once, and the client goes on at the other without a gap.
#[tokio::test]
async fn streams_go_on_at_another_process() {
    let world = World::new().await;
    let app = App::new(
        world.config.clone(),
        verifier(&world.double),
        Clock::system(),
        Random::system(),
    )
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        serve_until(listener, &app, async move { drop(stopped.await) }).await;
    });
    let mut stream = Stream::open(&world, &base, (0, "owner"), None).await;
    let mut last = stream.next().await.unwrap().id;
    let first = pencil(&world, 0, 0, 1).await;
    let told = stream.next().await.unwrap();
    assert_eq!(told.told(), (first, 1));
    last.clone_from(&told.id);
    let started = Instant::now();
    stop.send(()).unwrap();
    let between = pencil(&world, 0, 0, 2).await;
    while stream
        .next_within(Duration::from_secs(10))
        .await
        .unwrap()
        .is_some()
    {}
    serving.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    let mut stream = Stream::open(&world, &world.base, (0, "owner"), Some(&last)).await;
    assert_eq!(stream.next().await.unwrap().kind, "open");
    assert_eq!(stream.next().await.unwrap().told(), (between, 1));
}

/// What the gate tells without a context is two words, and only to whom the server signed for.
#[tokio::test]
async fn the_look_without_a_context_is_the_servers_alone() {
    let world = World::new().await;
    let app = world.as_app().await;
    let organization = &world.studios[1].organization;
    for signed in [
        String::new(),
        format!(
            "e1|1|{organization}|user|sess|owner|0|00000000-0000-0000-0000-000000000000|99999999999|00|00"
        ),
        world.context(0, "owner"),
    ] {
        let asked = app
            .run("SELECT * FROM studio.stream_stands($1)", &[&signed])
            .await;
        assert!(asked.is_err(), "{signed}");
    }
    // Without a context nothing is told, and with a freelancer's nothing of others.
    let own = pencil(&world, 0, 0, 1).await;
    pencil(&world, 0, 1, 1).await;
    pencil(&world, 1, 0, 1).await;
    let told = async || -> Value {
        let all = "SELECT coalesce(jsonb_agg(booking_id), '[]') FROM studio.versions_after(
            '00000000-0000-0000-0000-000000000000', 1000)";
        app.value(all, &[]).await.unwrap()
    };
    assert_eq!(told().await, json!([]));
    let started = Instant::now();
    loop {
        app.script("BEGIN").await.unwrap();
        let context = world.context(0, "freelancer");
        app.run("SELECT tenancy.enter($1)", &[&context])
            .await
            .unwrap();
        let of_freelancer = told().await;
        app.script("ROLLBACK").await.unwrap();
        if of_freelancer != json!([]) {
            assert_eq!(of_freelancer, json!([own]));
            return;
        }
        assert!(started.elapsed().as_secs() < 30, "nothing is told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
