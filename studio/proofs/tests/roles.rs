//! Who may do what, as a table that is committed: `golden/roles.txt`.
//!
//! It is asked of the authority itself, the way the server asks it. A change of a policy is a
//! change of the table, which somebody reads: `cargo x accept` writes it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]

use std::{collections::BTreeSet, path::Path};

use studio_proofs::Policies;
use uuid::Uuid;
use watertight_authority::{Authority, Fact, ListFilter, NamedRow, Principal, Standing};
use watertight_terms::{Role, TenantId};

#[test]
fn the_table_of_roles_is_the_golden_one() {
    let table = table(&Policies::read().unwrap());
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
    let policies = Policies::read().unwrap();
    let asked: BTreeSet<String> = deeds(&policies).into_iter().map(|d| d.action).collect();
    let declared: BTreeSet<String> = authority(&policies).actions().into_iter().collect();
    assert_eq!(
        declared, asked,
        "the schema's actions on the left, the table's on the right"
    );
}

/// What a list shows and what may be viewed one by one is the same.
#[test]
fn lists_show_what_may_be_viewed() {
    let policies = Policies::read().unwrap();
    let authority = authority(&policies);
    let mut lists = 0;
    for deed in deeds(&policies) {
        if !deed.action.ends_with(".view") || deed.kind.name == "Studio" {
            continue;
        }
        lists += 1;
        for (who, standing) in columns() {
            // Services are asked for by name; what is not meant for services has no list for them.
            let is_member = matches!(standing.principal, Principal::Member { .. });
            if !is_member && !deed.services {
                continue;
            }
            for (relation, _) in deed.kind.relations() {
                let shows = |filter| match filter {
                    ListFilter::All => true,
                    ListFilter::OwnArtist(artist) => artist == relation.artist(),
                    ListFilter::Nothing => false,
                };
                let same_studio = relation.tenant() == Relation::Own.tenant();
                let listed = authority
                    .list_filter(&standing, &deed.action, deed.kind.name)
                    .unwrap();
                let is_viewed = deed.is_allowed(&authority, &standing, relation);
                assert_eq!(
                    same_studio && shows(listed),
                    is_viewed,
                    "{who}, {relation:?}: {listed:?}"
                );
            }
        }
    }
    assert!(lists >= 2);
}

// ---- the table

fn table(policies: &Policies) -> String {
    let authority = authority(policies);
    let columns = columns();
    let names = columns.iter().map(|(who, _)| (*who).to_owned());
    let mut lines = vec![HEAD.to_owned(), line("action", "to", names)];
    let mut noun = String::new();
    for deed in deeds(policies) {
        if noun != deed.noun() {
            deed.noun().clone_into(&mut noun);
            lines.push(String::new());
        }
        for (relation, words) in deed.kind.relations() {
            let marks = columns.iter().map(|(_, standing)| {
                let is_allowed = deed.is_allowed(&authority, standing, relation);
                let mark = if is_allowed { '✔' } else { '✘' };
                mark.to_string()
            });
            lines.push(line(&deed.action, words, marks));
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

/// What is done to what: from the schema, so that a new resource is in the table from its first policy on.
struct Deed {
    action: String,
    kind: Kind,
    /// Whether services may ask for it.
    services: bool,
}

/// A kind of row, with the attributes that policies may read.
#[derive(Clone)]
struct Kind {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
}

impl Kind {
    /// How a row of that kind can stand to whoever asks. One that names no artist is nobody's own.
    fn relations(&self) -> Vec<(Relation, &'static str)> {
        let own =
            self.name == "Artist" || self.attributes.iter().any(|(name, _)| *name == "artist");
        match (self.name, own) {
            ("Studio", _) => vec![
                (Relation::Own, "the studio"),
                (Relation::OtherStudio, "other studio"),
            ],
            (_, true) => vec![
                (Relation::Own, "own"),
                (Relation::SameStudio, "same studio"),
                (Relation::OtherStudio, "other studio"),
            ],
            (_, false) => vec![
                (Relation::SameStudio, "same studio"),
                (Relation::OtherStudio, "other studio"),
            ],
        }
    }

    fn row(&self, action: &str, relation: Relation) -> NamedRow {
        let fact = |(name, kind): &(&'static str, String)| {
            let fact = match kind.as_str() {
                "Studio" => return None,
                "Artist" => Fact::Is("Artist", relation.artist()),
                "Long" => Fact::Long(1),
                "Bool" => Fact::Flag(true),
                "String" => Fact::Text(state_for(action).into()),
                other => panic!("a fact of kind `{other}`: say here what it is in the table"),
            };
            Some((*name, fact))
        };
        NamedRow {
            entity: self.name,
            id: match self.name {
                "Studio" => relation.tenant().0,
                "Artist" => relation.artist(),
                _ => Uuid::from_u128(0xb0),
            },
            tenant: relation.tenant(),
            facts: self.attributes.iter().filter_map(fact).collect(),
        }
    }
}

/// The state of the row on which an action is looked at. A rate is the freelancer's to see from the
/// confirmation on; the table shows that moment.
fn state_for(action: &str) -> &'static str {
    match action {
        "booking.view_rate" => "confirmed",
        _ => "hold",
    }
}

impl Deed {
    fn noun(&self) -> &str {
        self.action.split('.').next().unwrap()
    }

    fn is_allowed(&self, authority: &Authority, standing: &Standing, relation: Relation) -> bool {
        match authority.permits(
            standing,
            &self.action,
            self.kind.row(&self.action, relation),
        ) {
            Ok(_) => true,
            Err(rule) => {
                // Who an action is not meant for may not even ask, be it a service or, for what the clock
                // does, a member; a refusal for yet another reason than a policy hides a mistake.
                let rule = rule.unwrap_or_default();
                let is_for_others = rule.contains("principal type");
                let is_decided = !rule.contains("no decision");
                assert!(is_for_others || is_decided, "{}: {rule}", self.action);
                false
            }
        }
    }
}

fn deeds(policies: &Policies) -> Vec<Deed> {
    let mut deeds: Vec<Deed> = Vec::new();
    for request in policies.requests() {
        let action = studio_proofs::claims::action(&request).to_owned();
        let services = request.principal().basename() == "Service";
        let kind = request.resource().basename();
        let known = deeds
            .iter_mut()
            .find(|deed| deed.action == action && deed.kind.name == kind);
        if let Some(deed) = known {
            deed.services |= services;
            continue;
        }
        let kind = kind_of(policies, kind);
        deeds.push(Deed {
            action,
            kind,
            services,
        });
    }
    deeds.sort_by_key(|deed| {
        (
            deed.noun().to_owned(),
            deed.kind.name != "Studio",
            deed.action.clone(),
        )
    });
    deeds
}

fn kind_of(policies: &Policies, name: &str) -> Kind {
    // Names that live as long as the test, since policies are asked by such.
    let leaked = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let attributes = policies.attributes(name).unwrap();
    Kind {
        name: leaked(name),
        attributes: attributes
            .into_iter()
            .map(|(name, kind)| (leaked(&name), kind))
            .collect(),
    }
}

// ---- helpers

/// The product's policies, through the authority's own checks.
fn authority(policies: &Policies) -> Authority {
    Authority::new(policies.schema_text(), &policies.files()).unwrap()
}

fn difference(golden: &str, table: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (old, new) = (lines(golden), lines(table));
    let gone = old.difference(&new).map(|line| format!("- {line}"));
    let come = new.difference(&old).map(|line| format!("+ {line}"));
    gone.chain(come).collect::<Vec<_>>().join("\n")
}
