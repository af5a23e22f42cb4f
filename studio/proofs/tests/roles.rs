//! Who may do what, as a table that is committed: `golden/roles.txt`.
//!
//! It is asked of the authority itself, the way the server asks it. A change of a policy is a
//! change of the table, which somebody reads: `cargo x accept` writes it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{collections::BTreeSet, path::Path};

use studio_proofs::Policies;
use uuid::Uuid;
use watertight_authority::{
    Action, Authority, Fact, ListFilter, Nonce, Principal, Resource, Standing,
};
use watertight_terms::{Role, TenantId};

#[test]
fn the_table_of_roles_is_the_golden_one() {
    let table = table(&authority());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/roles.txt");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(&path, &table).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        table == golden,
        "who may do what is not what `golden/roles.txt` says; read the difference, and \
         accept it with `cargo x accept`\n\n{}",
        difference(&golden, &table)
    );
}

#[test]
fn every_action_of_the_schema_is_in_the_table() {
    let asked: BTreeSet<String> = deeds().iter().map(|deed| deed.action.to_owned()).collect();
    let declared: BTreeSet<String> = authority().actions().into_iter().collect();
    assert_eq!(
        declared, asked,
        "the schema's actions on the left, the table's on the right"
    );
}

/// What a list shows and what may be viewed one by one is the same.
#[test]
fn lists_show_what_may_be_viewed() {
    let authority = authority();
    for (who, standing) in columns() {
        for relation in [Relation::Own, Relation::SameStudio] {
            let shows = |filter| match filter {
                ListFilter::All => true,
                ListFilter::OwnArtist(artist) => artist == relation.artist(),
                ListFilter::Nothing => false,
            };
            let booking = Booking::related(relation);
            let listed = authority.filter::<ViewBooking, Booking>(&standing).unwrap();
            let is_viewed = authority.allows::<ViewBooking, _>(&standing, &booking);
            assert_eq!(shows(listed), is_viewed, "{who}, {relation:?}: {listed:?}");

            // Artists are asked for by members only.
            if matches!(standing.principal, Principal::Member { .. }) {
                let artist = Artist::related(relation);
                let listed = authority.filter::<ViewArtist, Artist>(&standing).unwrap();
                let is_viewed = authority.allows::<ViewArtist, _>(&standing, &artist);
                assert_eq!(shows(listed), is_viewed, "{who}, {relation:?}: {listed:?}");
            }
        }
    }
}

// ---- the table

fn table(authority: &Authority) -> String {
    let columns = columns();
    let names = columns.iter().map(|(who, _)| (*who).to_owned());
    let mut lines = vec![HEAD.to_owned(), line("action", "to", names)];
    let mut noun = "";
    for deed in deeds() {
        if noun != deed.noun() {
            noun = deed.noun();
            lines.push(String::new());
        }
        for (relation, words) in deed.relations {
            let marks = columns.iter().map(|(_, standing)| {
                let mark = if (deed.ask)(authority, standing, *relation) {
                    '✔'
                } else {
                    '✘'
                };
                mark.to_string()
            });
            lines.push(line(deed.action, words, marks));
        }
    }
    lines.join("\n") + "\n"
}

fn line(action: &str, to: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!("{cell:<15}")).collect();
    let line = format!("{action:<22}{to:<14}{cells}");
    line.trim_end().to_owned()
}

const HEAD: &str = "\
Who may do what, to what. A row is `own` (the artist is the caller, or the booking is of the caller),
of the `same studio` (and somebody else's), or of the `other studio` (and names the caller's artist).
";

fn columns() -> Vec<(&'static str, Standing)> {
    let artist = Some(Relation::Own.artist());
    let member = |role, artist| Principal::Member {
        id: Uuid::from_u128(0xc0),
        role,
        artist,
    };
    let service = |name: &str| Principal::Service { name: name.into() };
    let columns = [
        ("owner", member(Role::Owner, artist)),
        ("manager", member(Role::Manager, artist)),
        ("freelancer", member(Role::Freelancer, artist)),
        ("no artist yet", member(Role::Freelancer, None)),
        ("guest", member(Role::Guest, artist)),
        ("job expiry", service("expiry")),
        ("other jobs", service("mail")),
    ];
    let tenant = Relation::Own.tenant();
    columns
        .map(|(who, principal)| (who, Standing { tenant, principal }))
        .into()
}

// ---- the rows

#[derive(Debug, Clone, Copy, PartialEq)]
enum Relation {
    Own,
    SameStudio,
    OtherStudio,
}

impl Relation {
    fn tenant(self) -> TenantId {
        match self {
            Self::Own | Self::SameStudio => TenantId(Uuid::from_u128(1)),
            Self::OtherStudio => TenantId(Uuid::from_u128(2)),
        }
    }

    fn artist(self) -> Uuid {
        match self {
            Self::Own | Self::OtherStudio => Uuid::from_u128(0xa1),
            Self::SameStudio => Uuid::from_u128(0xa2),
        }
    }
}

type Relations = &'static [(Relation, &'static str)];

const OF_ROWS: Relations = &[
    (Relation::Own, "own"),
    (Relation::SameStudio, "same studio"),
    (Relation::OtherStudio, "other studio"),
];

const OF_OTHERS: Relations = &[
    (Relation::SameStudio, "same studio"),
    (Relation::OtherStudio, "other studio"),
];

const OF_STUDIOS: Relations = &[
    (Relation::Own, "the studio"),
    (Relation::OtherStudio, "other studio"),
];

struct Deed {
    action: &'static str,
    relations: Relations,
    ask: fn(&Authority, &Standing, Relation) -> bool,
}

impl Deed {
    fn noun(&self) -> &'static str {
        self.action.split('.').next().unwrap()
    }
}

/// A type for each action, as the product has one, and the question that the table asks of it.
macro_rules! deeds {
    ($($resource:ident, $relations:expr, [$($action:literal),*];)*) => {
        vec![$($({
            struct It;
            impl Action<$resource> for It {
                const NAME: &'static str = $action;
            }
            Deed {
                action: $action,
                relations: $relations,
                ask: |authority, standing, relation| {
                    is_allowed::<It, _>(authority, standing, $resource::related(relation))
                },
            }
        },)*)*]
    };
}

fn deeds() -> Vec<Deed> {
    let mut deeds = deeds! {
        Studio, OF_STUDIOS, [
            "studio.view", "studio.change", "artist.create", "booking.create", "project.create", "time_off.create", "session.open",
            "session.view", "session.end", "member.invite"
        ];
        Artist, OF_ROWS, [
            "artist.view", "artist.view_contact", "artist.view_private", "artist.change",
            "artist.archive"
        ];
        Booking, OF_ROWS, [
            "booking.view", "booking.review", "booking.change", "booking.pencil",
            "booking.confirm", "booking.start", "booking.complete", "booking.release", "booking.cancel",
            "booking.challenge", "booking.extend", "booking.undo", "booking.archive", "booking.expire",
            "booking.lapse"
        ];
        Membership, OF_OTHERS, [
            "member.view", "member.view_contact", "member.admit", "member.change", "member.remove"
        ];
        Confirmed, OF_ROWS, ["booking.view_rate"];
        Project, OF_ROWS, [
            "project.view", "project.inspect", "project.change", "project.archive"
        ];
        TimeOff, OF_ROWS, ["time_off.view", "time_off.change", "time_off.archive"];
    };
    deeds.sort_by_key(Deed::noun);
    deeds
}

fn is_allowed<A: Action<R>, R: Resource>(
    authority: &Authority,
    standing: &Standing,
    row: R,
) -> bool {
    match authority.decide::<A, R>(standing, row, &Nonce::new([0; 16])) {
        Ok(_) => true,
        Err(refused) => {
            // Who an action is not meant for may not even ask, be it a service or, for what the clock
            // does, a member; a refusal for yet another reason than a policy hides a mistake.
            let rule = refused.rule.unwrap_or_default();
            let is_for_others = rule.contains("principal type");
            assert!(
                is_for_others || !rule.contains("no decision"),
                "{}: {rule}",
                A::NAME
            );
            false
        }
    }
}

macro_rules! resource {
    ($name:ident, $noun:literal, $id:expr, $facts:expr) => {
        resource!($name is stringify!($name), $noun, $id, $facts);
    };
    ($name:ident is $entity:expr, $noun:literal, $id:expr, $facts:expr) => {
        struct $name(Relation);
        impl $name {
            fn related(relation: Relation) -> Self {
                Self(relation)
            }
        }
        impl Resource for $name {
            const NOUN: &'static str = $noun;
            const ENTITY: &'static str = $entity;
            fn id(&self) -> Uuid {
                let id: fn(Relation) -> Uuid = $id;
                id(self.0)
            }
            fn tenant(&self) -> TenantId {
                self.0.tenant()
            }
            fn version(&self) -> i32 {
                1
            }
            fn facts(&self) -> Vec<(&'static str, Fact)> {
                let facts: fn(Relation) -> Vec<(&'static str, Fact)> = $facts;
                facts(self.0)
            }
        }
    };
}

resource!(Studio, "studio", |relation| relation.tenant().0, |_| vec![]);
resource!(Artist, "artist", Relation::artist, |_| vec![]);
resource!(
    Booking,
    "booking",
    |_| Uuid::from_u128(0xb0),
    |relation| vec![
        ("artist", Fact::Is("Artist", relation.artist())),
        ("state", Fact::Text("hold".into())),
    ]
);

resource!(Membership, "member", |_| Uuid::from_u128(0xd0), |_| vec![]);
// A rate is the freelancer's to see from the confirmation on; the table shows that moment.
resource!(
    Confirmed is "Booking",
    "booking",
    |_| Uuid::from_u128(0xb1),
    |relation| vec![
        ("artist", Fact::Is("Artist", relation.artist())),
        ("state", Fact::Text("confirmed".into())),
    ]
);
resource!(
    Project,
    "project",
    |_| Uuid::from_u128(0xd0),
    |relation| vec![("artist", Fact::Is("Artist", relation.artist()))]
);
resource!(
    TimeOff,
    "time_off",
    |_| Uuid::from_u128(0xe0),
    |relation| vec![("artist", Fact::Is("Artist", relation.artist()))]
);

struct ViewBooking;
impl Action<Booking> for ViewBooking {
    const NAME: &'static str = "booking.view";
}

struct ViewArtist;
impl Action<Artist> for ViewArtist {
    const NAME: &'static str = "artist.view";
}

// ---- helpers

/// The product's policies, through the authority's own checks.
fn authority() -> Authority {
    let policies = Policies::read().unwrap();
    Authority::new(policies.schema_text(), &policies.files()).unwrap()
}

fn difference(golden: &str, table: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (old, new) = (lines(golden), lines(table));
    let gone = old.difference(&new).map(|line| format!("- {line}"));
    let come = new.difference(&old).map(|line| format!("+ {line}"));
    gone.chain(come).collect::<Vec<_>>().join("\n")
}
