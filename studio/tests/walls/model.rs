//! A model of an artist's time, and random stories told to it and to the product.
//!
//! A story is a sequence of rounds; the steps of a round are taken at once, by any roles of two studios.
//! After every story the product must be in a state that the model knows: no overlap of what blocks, no
//! rank lost or twice, nothing foreign in any answer. Where a round has one step, the model also says
//! what the answer must be. `WATERTIGHT_STORIES` says how many are told; `WATERTIGHT_SEED`, 64 hexadecimal
//! digits, tells the same again.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use studio::{
    demo::seed::marker,
    resources::bookings::{State, Transition, next},
};
use uuid::Uuid;
use watertight_tenancy::support::RawConnection;
use watertight_terms::Random;

use crate::world::World;

/// An option as the reckoning of ranks sees it: its age and its slices.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) since: i64,
    pub(crate) slices: Vec<(i64, i64)>,
}

fn overlaps(one: &[(i64, i64)], other: &[(i64, i64)]) -> bool {
    one.iter()
        .any(|a| other.iter().any(|b| a.0 < b.1 && a.1 > b.0))
}

/// The ranks, by joining whatever overlaps until nothing more joins: slow, and nothing like the query.
pub(crate) fn ranks(lines: &BTreeMap<Uuid, Line>) -> BTreeMap<Uuid, i32> {
    let mut group: BTreeMap<Uuid, Uuid> = lines.keys().map(|id| (*id, *id)).collect();
    for (one, line) in lines {
        for (other, there) in lines {
            if group[one] != group[other] && overlaps(&line.slices, &there.slices) {
                let (keep, lose) = (group[one], group[other]);
                group
                    .values_mut()
                    .filter(|g| **g == lose)
                    .for_each(|g| *g = keep);
            }
        }
    }
    let rank = |id: &Uuid| {
        let own = (lines[id].since, *id);
        let before = lines
            .iter()
            .filter(|(other, line)| group[*other] == group[id] && (line.since, **other) <= own);
        i32::try_from(before.count()).unwrap()
    };
    lines.keys().map(|id| (*id, rank(id))).collect()
}

/// Who takes a step: the studio and the part.
const PEOPLE: [(usize, &str); 6] = [
    (0, "owner"),
    (0, "manager"),
    (0, "freelancer"),
    (0, "guest"),
    (1, "owner"),
    (1, "manager"),
];

/// What a step does; numbers choose among what there is by then.
#[derive(Debug, Clone)]
enum Step {
    Book {
        who: usize,
        state: usize,
        from: i64,
        hours: i64,
    },
    Act {
        who: usize,
        which: usize,
        transition: usize,
    },
    Move {
        who: usize,
        which: usize,
        from: i64,
        hours: i64,
    },
    Split {
        who: usize,
        which: usize,
        at: i64,
    },
    Series {
        who: usize,
        state: usize,
        from: i64,
        hours: i64,
    },
    Archive {
        who: usize,
        which: usize,
    },
    Undo {
        who: usize,
        which: usize,
    },
    Away {
        who: usize,
        from: i64,
        hours: i64,
    },
}

const BEGINNINGS: [&str; 3] = ["hold", "pencil", "confirmed"];
const ACTS: [Transition; 8] = [
    Transition::Pencil,
    Transition::Confirm,
    Transition::Start,
    Transition::Complete,
    Transition::Release,
    Transition::Cancel,
    Transition::Challenge,
    Transition::Extend,
];

fn step() -> impl Strategy<Value = Step> {
    // Mostly those who may.
    let who = prop_oneof![4 => 0..2_usize, 1 => 2..PEOPLE.len()];
    let (from, hours) = (0..12_i64, 1..6_i64);
    prop_oneof![
        4 => (who.clone(), 0..3_usize, from.clone(), hours.clone()).prop_map(|(who, state, from, hours)| Step::Book { who, state, from, hours }),
        6 => (who.clone(), any::<usize>(), 0..ACTS.len()).prop_map(|(who, which, transition)| Step::Act { who, which, transition }),
        2 => (who.clone(), any::<usize>(), from.clone(), hours.clone()).prop_map(|(who, which, from, hours)| Step::Move { who, which, from, hours }),
        2 => (who.clone(), any::<usize>(), 0..17_i64).prop_map(|(who, which, at)| Step::Split { who, which, at }),
        1 => (who.clone(), 0..3_usize, from.clone(), hours.clone()).prop_map(|(who, state, from, hours)| Step::Series { who, state, from, hours }),
        1 => (who.clone(), any::<usize>()).prop_map(|(who, which)| Step::Archive { who, which }),
        2 => (who.clone(), any::<usize>()).prop_map(|(who, which)| Step::Undo { who, which }),
        1 => (who, from, hours).prop_map(|(who, from, hours)| Step::Away { who, from, hours }),
    ]
}

/// Rounds of one to three steps.
fn story() -> impl Strategy<Value = Vec<Vec<Step>>> {
    vec(vec(step(), 1..=3), 3..7)
}

/// What a story is told to: an artist of each studio that nobody else books.
struct Stage {
    world: Arc<World>,
    admin: Arc<RawConnection>,
    /// Of [`PEOPLE`], in their order.
    tokens: Vec<String>,
    artists: [Uuid; 2],
}

/// A booking as the model knows it.
#[derive(Debug, Clone)]
struct Known {
    id: Uuid,
    studio: usize,
    state: State,
    archived: bool,
    slices: Vec<(i64, i64)>,
    since: jiff::Timestamp,
}

/// A full hour.
const EPOCH_S: i64 = 537_500 * 3_600;

fn instant(hour: i64) -> String {
    jiff::Timestamp::from_second(EPOCH_S + hour * 3_600)
        .unwrap()
        .to_string()
}

fn hour(text: &Value) -> i64 {
    let at: jiff::Timestamp = text.as_str().unwrap().parse().unwrap();
    (at.as_second() - EPOCH_S) / 3_600
}

impl Stage {
    async fn new(world: &Arc<World>, admin: &Arc<RawConnection>) -> Self {
        let mut artists = [Uuid::nil(); 2];
        for (studio, artist) in world.studios.iter().zip(&mut artists) {
            *artist = Random::system().uuid();
            admin
                .run(
                    "INSERT INTO studio.artists (tenant_id, id, name) VALUES ($1, $2, $3)",
                    &[
                        &studio.tenant,
                        artist,
                        &format!("somebody of {}", marker(&studio.letter)),
                    ],
                )
                .await
                .unwrap();
        }
        let tokens = PEOPLE
            .iter()
            .map(|(studio, part)| world.token(*studio, part));
        Self {
            world: Arc::clone(world),
            admin: Arc::clone(admin),
            tokens: tokens.collect(),
            artists,
        }
    }

    fn owner(&self, studio: usize) -> &str {
        let owner = PEOPLE
            .iter()
            .position(|person| *person == (studio, "owner"));
        &self.tokens[owner.unwrap()]
    }

    /// The request that a step is, and who sends it. `known` are the bookings there are.
    fn request(
        &self,
        step: &Step,
        known: &[Known],
    ) -> Option<(usize, &'static str, String, Option<Value>)> {
        let window = |from: i64, hours: i64| json!({ "starts_at": instant(from), "ends_at": instant(from + hours) });
        let one = |which: usize| known.get(which.checked_rem(known.len())?);
        Some(match step {
            Step::Book {
                who,
                state,
                from,
                hours,
            } => {
                let studio = PEOPLE[*who].0;
                let mut body = window(*from, *hours);
                body["artist_id"] = json!(self.artists[studio]);
                body["project_id"] = json!(self.world.studios[studio].projects[0]);
                body["state"] = json!(BEGINNINGS[*state]);
                body["title"] = json!(marker(&self.world.studios[studio].letter));
                (*who, "POST", "/v1/bookings".to_owned(), Some(body))
            }
            Step::Act {
                who,
                which,
                transition,
            } => {
                let path = format!(
                    "/v1/bookings/{}/{}",
                    one(*which)?.id,
                    ACTS[*transition].as_str()
                );
                (*who, "POST", path, None)
            }
            Step::Move {
                who,
                which,
                from,
                hours,
            } => {
                let path = format!("/v1/bookings/{}", one(*which)?.id);
                (*who, "PATCH", path, Some(window(*from, *hours)))
            }
            Step::Split { who, which, at } => {
                let path = format!("/v1/bookings/{}/split", one(*which)?.id);
                (*who, "POST", path, Some(json!({ "at": instant(*at) })))
            }
            Step::Series {
                who,
                state,
                from,
                hours,
            } => {
                let studio = PEOPLE[*who].0;
                let body = json!({
                    "artist_id": self.artists[studio], "project_id": self.world.studios[studio].projects[0],
                    "state": BEGINNINGS[*state], "title": marker(&self.world.studios[studio].letter),
                    "weekdays": ["sun", "mon"], "from": "2031-04-27", "until": "2031-05-05",
                    "hours": { "from": format!("{from:02}:00"), "to": format!("{:02}:00", from + hours) },
                });
                (*who, "POST", "/v1/bookings/series".to_owned(), Some(body))
            }
            Step::Archive { who, which } => (
                *who,
                "DELETE",
                format!("/v1/bookings/{}", one(*which)?.id),
                None,
            ),
            Step::Undo { who, which } => (
                *who,
                "POST",
                format!("/v1/bookings/{}/undo", one(*which)?.id),
                None,
            ),
            Step::Away { who, from, hours } => {
                let mut body = window(*from, *hours);
                body["artist_id"] = json!(self.artists[PEOPLE[*who].0]);
                (*who, "POST", "/v1/time-off".to_owned(), Some(body))
            }
        })
    }

    /// What the model says of a step that is taken alone; nothing where it does not know.
    fn foretold(&self, step: &Step, known: &[Known]) -> Option<u16> {
        let (who, which) = match step {
            Step::Act { who, which, .. } | Step::Archive { who, which } => (*who, *which),
            Step::Book { who, .. } | Step::Away { who, .. } => {
                return matches!(PEOPLE[*who].1, "freelancer" | "guest").then_some(403);
            }
            _ => return None,
        };
        let booking = known.get(which.checked_rem(known.len())?)?;
        let (studio, part) = PEOPLE[who];
        // The artist is not the freelancer's own, so it is unseen.
        match part {
            "guest" => return Some(403),
            "freelancer" => return Some(404),
            _ if studio != booking.studio => return Some(404),
            _ => {}
        }
        let Step::Act { transition, .. } = step else {
            return Some(204);
        };
        let transition = ACTS[*transition];
        let Some(to) = next(booking.state, transition).filter(|_| !booking.archived) else {
            return Some(409);
        };
        let lives = |other: &&Known| {
            !other.archived
                && other.id != booking.id
                && other.studio == booking.studio
                && overlaps(&other.slices, &booking.slices)
        };
        let earlier = |other: &Known| {
            other.state == State::Pencil && (other.since, other.id) < (booking.since, booking.id)
        };
        if to.blocks() && !booking.state.blocks() {
            // Time off is not the model's: it may refuse what the bookings would allow.
            let refused = known
                .iter()
                .filter(lives)
                .any(|other| other.state.blocks() || earlier(other));
            return refused.then_some(409);
        }
        if transition == Transition::Challenge {
            let refused = !known.iter().filter(lives).any(earlier);
            return refused.then_some(409);
        }
        Some(200)
    }

    /// The bookings of both studios' artists.
    async fn known(&self) -> Vec<Known> {
        let rows: Option<String> = self
            .admin
            .value(
                "SELECT jsonb_agg(jsonb_build_object('id', id, 'state', state, 'archived', archived_at IS NOT NULL, 'artist', artist_id,
                   'starts', to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                   'ends', to_char(ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                   'since', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')) ORDER BY created_at, id)::text
                 FROM studio.bookings WHERE artist_id = ANY ($1)",
                &[&self.artists.as_slice()],
            )
            .await
            .unwrap();
        let rows: Value = serde_json::from_str(rows.as_deref().unwrap_or("[]")).unwrap();
        let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
        let known = rows.as_array().unwrap().iter().map(|row| Known {
            id: text(row, "id").parse().unwrap(),
            studio: usize::from(text(row, "artist") != self.artists[0].to_string()),
            state: State::parse(&text(row, "state")).unwrap(),
            archived: row["archived"].as_bool().unwrap(),
            slices: vec![(hour(&row["starts"]), hour(&row["ends"]))],
            since: text(row, "since").parse().unwrap(),
        });
        known.collect()
    }

    async fn tell(&self, story: &[Vec<Step>]) -> Result<(), TestCaseError> {
        for round in story {
            let known = self.known().await;
            let requests: Vec<_> = round
                .iter()
                .filter_map(|step| self.request(step, &known))
                .collect();
            let foretold = match round.as_slice() {
                [step] => self.foretold(step, &known),
                _ => None,
            };
            let mut tasks = tokio::task::JoinSet::new();
            for (who, method, path, body) in requests {
                let (world, token) = (Arc::clone(&self.world), self.tokens[who].clone());
                tasks.spawn(async move {
                    let (studio, part) = PEOPLE[who];
                    let (status, answer) = world.send(method, &path, &token, body).await;
                    (
                        studio,
                        format!("{part} of {studio}: {method} {path}"),
                        status,
                        answer,
                    )
                });
            }
            for (studio, what, status, answer) in tasks.join_all().await {
                prop_assert!(status < 500, "{what}: {status} {answer}");
                let foreign = marker(&self.world.studios[1 - studio].letter);
                prop_assert!(
                    !answer.to_string().contains(foreign),
                    "{what} shows {answer}"
                );
                if let Some(foretold) = foretold {
                    prop_assert_eq!(status, foretold, "{}: {}", what, answer);
                }
            }
        }
        self.check().await
    }

    /// What must hold, whatever was told.
    async fn check(&self) -> Result<(), TestCaseError> {
        let known = self.known().await;
        let live = |studio: usize| {
            known
                .iter()
                .filter(move |b| b.studio == studio && !b.archived)
        };
        for (studio, artist) in self.artists.iter().enumerate() {
            let blocking: Vec<_> = live(studio).filter(|b| b.state.blocks()).collect();
            for (at, one) in blocking.iter().enumerate() {
                let twice = blocking
                    .iter()
                    .skip(at + 1)
                    .find(|other| overlaps(&one.slices, &other.slices));
                prop_assert!(twice.is_none(), "{one:?} and {twice:?}");
            }
            let mut ages: Vec<jiff::Timestamp> = live(studio).map(|b| b.since).collect();
            ages.sort();
            let age = |since: &jiff::Timestamp| {
                i64::try_from(ages.partition_point(|at| at < since)).unwrap()
            };
            let pencils = live(studio).filter(|b| b.state == State::Pencil);
            let lines = pencils.map(|b| {
                (
                    b.id,
                    Line {
                        since: age(&b.since),
                        slices: b.slices.clone(),
                    },
                )
            });
            let expected = ranks(&lines.collect());
            let path = format!("/v1/bookings?artist_id={artist}&limit=100");
            let (status, list) = self
                .world
                .send("GET", &path, self.owner(studio), None)
                .await;
            prop_assert_eq!(status, 200);
            let items = list["items"].as_array().unwrap();
            prop_assert_eq!(items.len(), live(studio).count());
            for item in items {
                let id: Uuid = item["id"].as_str().unwrap().parse().unwrap();
                let rank = item["rank"]
                    .as_i64()
                    .and_then(|rank| i32::try_from(rank).ok());
                prop_assert_eq!(rank, expected.get(&id).copied(), "{}", item);
            }
            // The other studio, asking for this artist by name, sees nothing.
            let (_, foreign) = self
                .world
                .send("GET", &path, self.owner(1 - studio), None)
                .await;
            prop_assert_eq!(&foreign["items"], &json!([]));
        }
        self.check_database().await
    }

    /// Time off and bookings together block nothing twice, every version is there once, and what an
    /// artist has is what its sources say.
    async fn check_database(&self) -> Result<(), TestCaseError> {
        let wrong: String = self
            .admin
            .value(
                "SELECT concat_ws(', ',
                   CASE WHEN EXISTS (SELECT FROM studio.occupancy a JOIN studio.occupancy b ON a.artist_id = b.artist_id AND a.id < b.id
                     AND a.slice && b.slice WHERE a.blocks AND b.blocks AND a.artist_id = ANY ($1)) THEN 'time taken twice' END,
                   CASE WHEN EXISTS (SELECT FROM studio.bookings b WHERE artist_id = ANY ($1) AND version <>
                     (SELECT count(*) FROM studio.booking_versions v WHERE v.source_id = b.id)) THEN 'a version lost' END,
                   CASE WHEN EXISTS (SELECT FROM studio.bookings b WHERE artist_id = ANY ($1)
                     AND (SELECT count(*) FROM studio.occupancy o WHERE o.source_id = b.id AND o.artist_id = b.artist_id AND o.state = b.state) <> CASE
                       WHEN b.archived_at IS NULL AND b.state NOT IN ('released', 'cancelled') THEN cardinality(b.slice_starts) ELSE 0 END
                     ) THEN 'time that is not its booking''s' END)",
                &[&self.artists.as_slice()],
            )
            .await
            .unwrap();
        prop_assert_eq!(wrong, "");
        Ok(())
    }
}

#[test]
fn no_story_of_any_roles_in_two_studios_reaches_a_double_booking_a_lost_rank_or_a_foreign_row() {
    let stories = std::env::var("WATERTIGHT_STORIES").map_or(500, |n| n.parse().unwrap());
    let seed: [u8; 32] = match std::env::var("WATERTIGHT_SEED") {
        Ok(seed) => hex::decode(seed).unwrap().try_into().unwrap(),
        Err(_) => Random::system().bytes(),
    };
    println!("WATERTIGHT_SEED={}", hex::encode(seed));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let world = Arc::new(runtime.block_on(World::new()));
    let admin = Arc::new(runtime.block_on(world.as_admin()));
    let config = Config {
        cases: stories,
        failure_persistence: None,
        max_shrink_iters: 64,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let started = std::time::Instant::now();
    let told = runner.run(&story(), |story| {
        runtime.block_on(async { Stage::new(&world, &admin).await.tell(&story).await })
    });
    if let Err(failure) = told {
        panic!("{failure}");
    }
    println!("{stories} stories, {:?}", started.elapsed());
}
