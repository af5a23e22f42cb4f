//! The client's Zod schemas and the server agree on which bodies they take.
//!
//! Bodies are made for every endpoint that takes one, good ones and bent ones. Each is sent to the server, and told to the
//! schema that `clients/typescript` generates from the API's document; `tests/verdicts.ts` there answers for it.
//!
//! The server *refuses* a body when it answers 400, or 422 with errors whose codes are about the body alone ([`OF_THE_BODY`]).
//! Whatever else it answers, it took the body: rules look at more than a schema can know, as rows, windows, states and rights.
//!
//! `WATERTIGHT_BODIES` says how many an endpoint; `WATERTIGHT_SEED`, 64 hexadecimal digits, makes the same again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    fs::File,
    path::Path,
    process::{Command, Stdio},
};

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use studio::resources::document;
use watertight::door::Declared;
use watertight_terms::Random;

use crate::{
    bodies::{BENDS, Bend, Body, Maker},
    rates,
    refusals::{api, request},
    world::World,
};

/// Codes of the errors of a 422 that a schema can foresee: a value past a bound of its own.
const OF_THE_BODY: [&str; 2] = ["invalid", "out-of-range"];

/// Where a schema takes what the server refuses, because a schema is asked when the text is already a value.
const UNSAYABLE: [(Bend, &str); 2] = [
    (
        Bend::Spelling,
        "`1.0`, `1e0` and `-0` are whole numbers once they are read; the server knows one spelling of a number",
    ),
    (
        Bend::Twice,
        "JSON's readers keep the last of two members with one name; the server refuses what others could read otherwise",
    ),
];

/// One body and what became of it.
struct Case {
    operation: String,
    body: Body,
    status: u16,
    is_taken: bool,
}

#[tokio::test]
async fn the_clients_schemas_and_the_server_take_the_same_bodies() {
    let count = std::env::var("WATERTIGHT_BODIES").map_or(50, |n| n.parse().unwrap());
    let seed: [u8; 32] = match std::env::var("WATERTIGHT_SEED") {
        Ok(seed) => hex::decode(seed).unwrap().try_into().unwrap(),
        // The same every time: a test that fails sometimes tells nothing.
        Err(_) => [0; 32],
    };
    // One member sends what many would: their limit is not what is compared.
    let world =
        rates::world("per_member_s = 100000\nper_studio_s = 100000\nper_address_s = 100000").await;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let document = document();
    let mut cases = Vec::new();
    for route in api() {
        let method = route.method.as_str().to_lowercase();
        let operation = &document["paths"][route.path][method];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if !schema.is_null() {
            let operation = operation["operationId"].as_str().unwrap();
            cases.extend(ask(&world, &route, operation, schema, count, &mut runner).await);
        }
    }
    let said = verdicts(&cases);
    assert_eq!(said.len(), cases.len());
    let comparison = Comparison::of(&cases, &said);
    println!("{comparison}");
    comparison.prove(count);
}

/// Makes bodies for a route and sends them, each to a row that is there.
async fn ask(
    world: &World,
    route: &Declared,
    operation: &str,
    schema: &Value,
    count: usize,
    runner: &mut TestRunner,
) -> Vec<Case> {
    let request = request(world, route).await;
    let sample = request.body.unwrap_or_else(|| json!({}));
    let mut maker = Maker {
        runner,
        schema,
        sample,
    };
    let mut cases = Vec::with_capacity(count);
    for _ in 0..count {
        let body = maker.next();
        let token = world.token(0, "owner");
        let answered = world
            .ask_text(
                request.method,
                &request.path,
                &token,
                &[],
                Some(body.text.clone()),
            )
            .await;
        let status = answered.status;
        let place = format!("{operation} {:?} {}: {answered:?}", body.bend, body.text);
        assert!(
            matches!(status, 200..=202 | 400 | 403 | 404 | 409 | 422),
            "{place}"
        );
        let is_taken = !(status == 400 || (status == 422 && is_of_the_body(&answered.body)));
        cases.push(Case {
            operation: operation.to_owned(),
            body,
            status,
            is_taken,
        });
    }
    cases
}

fn is_of_the_body(problem: &Value) -> bool {
    let errors = problem["errors"].as_array().unwrap();
    let is_of = |error: &Value| OF_THE_BODY.iter().any(|code| error["code"] == *code);
    !errors.is_empty() && errors.iter().all(is_of)
}

/// What the client's schemas say of each body.
fn verdicts(cases: &[Case]) -> Vec<bool> {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/typescript");
    let folder = std::env::temp_dir().join(format!("bodies-{}", Random::system().uuid().simple()));
    let mut lines = String::new();
    for case in cases {
        let line = json!({ "operation": case.operation, "body": case.body.text });
        writeln!(lines, "{line}").unwrap();
    }
    std::fs::write(&folder, lines).unwrap();
    let node = Command::new("node")
        .arg("tests/verdicts.ts")
        .current_dir(&client)
        .stdin(Stdio::from(File::open(&folder).unwrap()))
        .stderr(Stdio::inherit())
        .output();
    std::fs::remove_file(&folder).unwrap();
    let help = "the client's schemas cannot be asked; `cargo x test` brings what they need: Node 22.18 and `npm ci`";
    let node = node.unwrap_or_else(|error| panic!("{help}: {error}"));
    assert!(node.status.success(), "{help}");
    let text = String::from_utf8(node.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// How often something was refused and taken.
type Sides = [usize; 2];

/// What the server did beside what the schemas say.
#[derive(Default)]
struct Comparison {
    bends: BTreeMap<Bend, Sides>,
    operations: BTreeMap<String, Sides>,
    unsayable: BTreeMap<Bend, usize>,
    wrong: Vec<String>,
}

impl Comparison {
    fn of(cases: &[Case], said: &[bool]) -> Self {
        let mut comparison = Self::default();
        for (case, is_good) in cases.iter().zip(said) {
            comparison.add(case, *is_good);
        }
        comparison
    }

    fn add(&mut self, case: &Case, is_good: bool) {
        let (bend, side) = (case.body.bend, usize::from(case.is_taken));
        self.bends.entry(bend).or_default()[side] += 1;
        let operation = self.operations.entry(case.operation.clone());
        operation.or_default()[side] += 1;
        if case.is_taken == is_good {
            return;
        }
        if is_good && UNSAYABLE.iter().any(|(known, _)| *known == bend) {
            *self.unsayable.entry(bend).or_default() += 1;
            return;
        }
        let does = |takes: bool| if takes { "takes" } else { "refuses" };
        self.wrong.push(format!(
            "{} {bend:?}: the server {} ({}), the schema {}: {}",
            case.operation,
            does(case.is_taken),
            case.status,
            does(is_good),
            case.body.text.chars().take(300).collect::<String>()
        ));
    }

    fn prove(&self, count: usize) {
        let Self {
            bends,
            operations,
            unsayable,
            wrong,
        } = self;
        let found = wrong.len();
        assert!(wrong.is_empty(), "{found} disagree:\n{}", wrong.join("\n"));
        // Where one side never refuses or never takes, nothing was compared.
        for (operation, [refused, taken]) in operations {
            let is_both = refused * 10 > count && taken * 10 > count;
            assert!(is_both, "{operation}: {refused} refused, {taken} taken");
        }
        assert_eq!(bends.len(), BTreeSet::from(BENDS).len(), "{bends:?}");
        for (bend, why) in UNSAYABLE {
            assert!(unsayable.contains_key(&bend), "needless: {bend:?}: {why}");
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bodies: usize = self.bends.values().flatten().sum();
        writeln!(f, "refused and taken, by operation: {:?}", self.operations)?;
        writeln!(f, "refused and taken, by bend: {:?}", self.bends)?;
        write!(
            f,
            "{bodies} bodies, of which no schema can tell: {:?}",
            self.unsayable
        )
    }
}
