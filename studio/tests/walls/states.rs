//! The table of transitions: through the API by everybody, in the document, and in the database.

use serde_json::{Value, json};
use studio::{
    app::authority,
    resources::bookings::{Booking, STATES, State, TRANSITIONS, Transition, actions, next},
};
use uuid::Uuid;
use watertight_authority::{Action, Authority, Fact, Principal, Resource, Standing};
use watertight_terms::{Role, TenantId};

use crate::world::World;

/// A booking in a state of its own hour, so that none is in another's way.
struct Hours<'w> {
    world: &'w World,
    hour: i64,
}

impl Hours<'_> {
    fn window(&mut self) -> Value {
        self.hour += 2;
        let at = |hour: i64| {
            jiff::Timestamp::from_second((536_111 + hour) * 3_600)
                .unwrap()
                .to_string()
        };
        json!({ "starts_at": at(self.hour), "ends_at": at(self.hour + 1) })
    }

    async fn book(&mut self, window: &Value, state: &str) -> String {
        let mut body = window.clone();
        body["artist_id"] = json!(self.world.studios[0].artists[0]);
        body["project_id"] = json!(self.world.studios[0].projects[0]);
        body["state"] = json!(state);
        let owner = self.world.token(0, "owner");
        let (status, booking) = self
            .world
            .send("POST", "/v1/bookings", &owner, Some(body))
            .await;
        assert_eq!(status, 201, "{booking}");
        booking["id"].as_str().unwrap().to_owned()
    }

    /// A booking in that state, on which the transition meets nothing but the table.
    async fn booking(&mut self, state: State, transition: Transition) -> String {
        let window = self.window();
        if transition == Transition::Challenge {
            self.book(&window, "pencil").await;
        }
        let (begun, then): (&str, &[&str]) = match state {
            State::Hold => ("hold", &[]),
            State::Pencil => ("pencil", &[]),
            State::Confirmed => ("confirmed", &[]),
            State::InProgress => ("confirmed", &["start"]),
            State::Completed => ("confirmed", &["start", "complete"]),
            State::Released => ("pencil", &["release"]),
            State::Cancelled => ("pencil", &["cancel"]),
        };
        // Where there is an option already, nothing can be made confirmed: what is challenged for is
        // only ever asked of other states, without one.
        if transition == Transition::Challenge && begun == "confirmed" {
            let window = self.window();
            return self.through(&window, begun, then).await;
        }
        self.through(&window, begun, then).await
    }

    async fn through(&mut self, window: &Value, begun: &str, then: &[&str]) -> String {
        let id = self.book(window, begun).await;
        for action in then {
            let path = format!("/v1/bookings/{id}/{action}");
            let owner = self.world.token(0, "owner");
            assert_eq!(
                self.world.send("POST", &path, &owner, None).await.0,
                200,
                "{path}"
            );
        }
        id
    }
}

async fn try_it(world: &World, id: &str, transition: Transition, token: &str) -> (u16, Value) {
    if transition == Transition::Change {
        let body = Some(json!({ "notes": "looked at" }));
        return world
            .send("PATCH", &format!("/v1/bookings/{id}"), token, body)
            .await;
    }
    let path = format!("/v1/bookings/{id}/{}", transition.as_str());
    world.send("POST", &path, token, None).await
}

async fn state_of(world: &World, id: &str) -> String {
    let owner = world.token(0, "owner");
    let (_, booking) = world
        .send("GET", &format!("/v1/bookings/{id}"), &owner, None)
        .await;
    booking["state"].as_str().unwrap().to_owned()
}

/// Whether members take it; the others are the clock's, and have no path.
fn is_members(transition: Transition) -> bool {
    !matches!(transition, Transition::Expire | Transition::Lapse)
}

// asvs: V2.3.1
#[tokio::test]
async fn every_transition_is_taken_or_refused_as_the_table_says_by_every_role() {
    let world = World::new().await;
    let mut hours = Hours {
        world: &world,
        hour: 0,
    };
    let mut asked = 0;
    for state in STATES {
        for transition in TRANSITIONS.into_iter().filter(|t| is_members(*t)) {
            for part in ["owner", "manager"] {
                let what = format!("{part}: {} {}", state.as_str(), transition.as_str());
                let id = hours.booking(state, transition).await;
                if part == "owner" {
                    // Seen and not allowed, unseen, and nobody: nothing of it changes.
                    for (studio, part, status) in [
                        (0, "freelancer", 403),
                        (0, "guest", 403),
                        (1, "owner", 404),
                        (1, "freelancer", 404),
                    ] {
                        let token = world.token(studio, part);
                        let (refused, _) = try_it(&world, &id, transition, &token).await;
                        assert_eq!(refused, status, "{part} of {studio}: {what}");
                    }
                    assert_eq!(state_of(&world, &id).await, state.as_str(), "{what}");
                }
                let (status, answer) = try_it(&world, &id, transition, &world.token(0, part)).await;
                match next(state, transition) {
                    Some(to) => {
                        assert_eq!(
                            (status, &answer["state"]),
                            (200, &json!(to)),
                            "{what}: {answer}"
                        );
                    }
                    None => {
                        assert_eq!(
                            (status, &answer["state"]),
                            (409, &json!(state)),
                            "{what}: {answer}"
                        );
                        assert_eq!(state_of(&world, &id).await, state.as_str(), "{what}");
                    }
                }
                asked += 1;
            }
        }
    }
    println!("{asked} cells of the table by owners and managers");
}

/// What the clock does nobody else does, whatever the role.
#[tokio::test]
async fn no_member_ends_a_booking_as_the_clock_does() {
    let world = World::new().await;
    let id: Uuid = world
        .pencil(0, 0, "2031-01-01T08:00:00Z", "2031-01-01T09:00:00Z")
        .await
        .parse()
        .unwrap();
    for part in ["owner", "manager", "freelancer"] {
        let caller = world.caller(0, part).await;
        let mut tx = world
            .app
            .tenancy
            .begin(&caller, world.facts())
            .await
            .unwrap();
        for refused in [
            tx.grant::<actions::Expire, Booking>(id).await.map(drop),
            tx.grant::<actions::Lapse, Booking>(id).await.map(drop),
        ] {
            assert_eq!(refused.unwrap_err().slug(), "not-allowed", "{part}");
        }
    }
}

#[tokio::test]
async fn the_trigger_blocks_in_the_states_that_block_and_in_no_other() {
    let world = World::new().await;
    let mut hours = Hours {
        world: &world,
        hour: 0,
    };
    for state in STATES {
        let id = hours.booking(state, Transition::Change).await;
        let blocks: Option<bool> = world
            .as_admin()
            .await
            .value(
                "SELECT bool_or(blocks) FROM studio.occupancy WHERE source_id = $1",
                &[&id.parse::<Uuid>().unwrap()],
            )
            .await
            .unwrap();
        let lives = !state.is_ended();
        assert_eq!(
            blocks,
            lives.then_some(state.blocks()),
            "{}",
            state.as_str()
        );
    }
}

#[test]
fn whatever_is_not_ended_leads_somewhere_and_what_is_ended_nowhere() {
    for state in STATES {
        let leads = TRANSITIONS
            .into_iter()
            .any(|transition| next(state, transition).is_some());
        assert_eq!(
            leads,
            !state.is_ended() && state != State::Completed,
            "{}",
            state.as_str()
        );
    }
}

// ---- the document

/// A booking of the freelancer who asks, in a state.
struct Row(State);

impl Resource for Row {
    const NOUN: &'static str = "booking";
    const ENTITY: &'static str = "Booking";

    fn id(&self) -> Uuid {
        Uuid::from_u128(0xb0)
    }

    fn tenant(&self) -> TenantId {
        TenantId(Uuid::from_u128(1))
    }

    fn version(&self) -> i32 {
        1
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        vec![
            ("artist", Fact::Is("Artist", Uuid::from_u128(0xa1))),
            ("state", Fact::Text(self.0.as_str().to_owned())),
        ]
    }
}

/// Asks the policies about a transition, whose action has its name.
macro_rules! may {
    ($authority:expr, $standing:expr, $row:expr, $transition:expr, $($name:ident $text:literal),*) => {{
        $(struct $name;
        impl Action<Row> for $name {
            const NAME: &'static str = concat!("booking.", $text);
        })*
        match $transition {
            $(Transition::$name => $authority.allows::<$name, Row>($standing, $row),)*
        }
    }};
}

fn may(authority: &Authority, standing: &Standing, row: &Row, transition: Transition) -> bool {
    may!(
        authority, standing, row, transition,
        Pencil "pencil", Confirm "confirm", Start "start", Complete "complete", Release "release",
        Cancel "cancel", Challenge "challenge", Extend "extend", Change "change", Expire "expire", Lapse "lapse"
    )
}

fn columns() -> [(&'static str, Principal); 5] {
    let member = |role| Principal::Member {
        id: Uuid::from_u128(0xc0),
        role,
        artist: Some(Uuid::from_u128(0xa1)),
    };
    [
        ("owner", member(Role::Owner)),
        ("manager", member(Role::Manager)),
        ("freelancer", member(Role::Freelancer)),
        ("guest", member(Role::Guest)),
        (
            "the clock",
            Principal::Service {
                name: "expiry".to_owned(),
            },
        ),
    ]
}

fn table() -> String {
    let authority = authority().unwrap();
    let mut lines = vec![
        "| state | action | owner | manager | freelancer (own) | guest | the clock |".to_owned(),
        "| --- | --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    for state in STATES {
        for transition in TRANSITIONS {
            let cells = columns().map(|(_, principal)| {
                let standing = Standing {
                    tenant: TenantId(Uuid::from_u128(1)),
                    principal,
                };
                match (
                    may(&authority, &standing, &Row(state), transition),
                    next(state, transition),
                ) {
                    (false, _) => "–".to_owned(),
                    (true, Some(to)) => to.as_str().replace('_', " "),
                    (true, None) => "409".to_owned(),
                }
            });
            let name = state.as_str().replace('_', " ");
            lines.push(format!(
                "| {name} | {} | {} |",
                transition.as_str(),
                cells.join(" | ")
            ));
        }
    }
    lines.join("\n")
}

#[test]
fn the_table_in_the_document_is_the_golden_one() {
    const BEGIN: &str = "<!-- states:begin -->\n";
    const END: &str = "\n<!-- states:end -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/bookings.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(
        written == table,
        "docs/bookings.md has another table of states; `cargo x accept` writes it"
    );
}
