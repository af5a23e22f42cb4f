use std::collections::BTreeMap;

use super::{
    Finding,
    tree::{Dependency, File, Tree, dependencies},
};

/// The shared nouns: the one room that a room of its own number may import.
const TERMS: &str = "watertight-terms";

/// What only the rooms before the caller is known, and the façade, may know.
const WEB: [&str; 6] = ["axum", "hyper", "hyper-util", "tower", "tower-http", "http"];

/// A crate that is a capability, and the only folders that hold it.
struct Capability {
    crates: &'static [&'static str],
    holders: &'static [&'static str],
    /// Hold it only behind a feature or in tests, so that a release does not.
    set_apart: &'static [&'static str],
    reason: &'static str,
}

const CAPABILITIES: [Capability; 4] = [
    Capability {
        crates: &["tokio-postgres", "deadpool-postgres"],
        holders: &["library/4-tenancy"],
        // The demonstration shows what a raw connection of the server's role can and cannot do.
        set_apart: &["studio"],
        reason: "no SQL without a TenantTx: the driver is private to 4-tenancy, begin a \
                 transaction there; studio has it only with `optional = true` behind `demo`",
    },
    Capability {
        crates: &["jsonwebtoken"],
        holders: &["library/2-identity"],
        set_apart: &["studio"],
        reason: "a Caller comes from 2-identity alone; studio signs tokens only in the \
                 demonstration, with `optional = true` behind its feature",
    },
    Capability {
        crates: &["reqwest"],
        // What measures asks a server of its own, and is none.
        holders: &["library/0-outbound", "bench"],
        // Tests are clients.
        set_apart: &["studio"],
        reason: "connections outward are opened by 0-outbound alone, which refuses private \
                 addresses",
    },
    Capability {
        crates: &["cedar-policy"],
        holders: &["library/3-authority", "studio/proofs"],
        set_apart: &[],
        reason: "decisions are made in 3-authority, which mints Granted; ask it",
    },
];

/// The room's number, for a manifest in `library/`; the façade comes after every room.
fn number(file: &File) -> Option<u32> {
    let room = file.folder().strip_prefix("library/")?;
    match room.split_once('-') {
        Some((number, _)) => number.parse().ok(),
        None => Some(u32::MAX),
    }
}

fn finding(file: &File, message: String) -> Finding {
    Finding {
        path: file.path.clone(),
        line: 0,
        message,
    }
}

/// Rooms import smaller numbers only, and among equals only the shared nouns.
pub(super) fn import_downwards(tree: &Tree) -> Vec<Finding> {
    let name = |manifest: &toml::Table| {
        let package = manifest.get("package")?;
        Some(package.get("name")?.as_str()?.to_owned())
    };
    let numbers: BTreeMap<String, Option<u32>> = tree
        .members()
        .filter_map(|(file, manifest)| Some((name(&manifest)?, number(file))))
        .collect();
    let mut findings = Vec::new();
    for (file, manifest) in tree.members() {
        let (Some(own), Some(own_name)) = (number(file), name(&manifest)) else {
            continue;
        };
        for Dependency { name: other, .. } in dependencies(&manifest) {
            let message = match numbers.get(&other) {
                None => continue,
                Some(None) => format!("imports `{other}`: the library knows nothing outside it"),
                Some(Some(number)) if *number < own => continue,
                Some(Some(number)) if *number == own && other == TERMS && own_name != TERMS => {
                    continue;
                }
                Some(Some(_)) => format!(
                    "imports `{other}`: a room imports smaller numbers only, in the order in \
                     which a request meets them; move what is shared down, or define a trait here \
                     that `{other}` implements"
                ),
            };
            findings.push(finding(file, message));
        }
    }
    findings
}

/// The prover shares nothing with what it proves: what both had wrong in the same way, nobody would
/// find.
pub(super) fn prove_alone(tree: &Tree) -> Vec<Finding> {
    let is_prover = |file: &File| file.folder().starts_with("prover/");
    let name = |manifest: &toml::Table| {
        let package = manifest.get("package")?;
        Some(package.get("name")?.as_str()?.to_owned())
    };
    let others: Vec<String> = tree
        .members()
        .filter(|(file, _)| !is_prover(file))
        .filter_map(|(_, manifest)| name(&manifest))
        .collect();
    let mut findings = Vec::new();
    for (file, manifest) in tree.members().filter(|(file, _)| is_prover(file)) {
        for Dependency { name, .. } in dependencies(&manifest) {
            if others.contains(&name) {
                findings.push(finding(
                    file,
                    format!(
                        "imports `{name}`: writer and verifier share `docs/formats/` and its \
                         vectors, nothing else; make a twin and list it there"
                    ),
                ));
            }
        }
    }
    findings
}

/// Rooms 3 to 8 do not know that there is a web.
pub(super) fn know_no_web(tree: &Tree) -> Vec<Finding> {
    let inner = tree
        .members()
        .filter(|(file, _)| number(file).is_some_and(|number| (3..=8).contains(&number)));
    let mut findings = Vec::new();
    for (file, manifest) in inner {
        for Dependency { name, .. } in dependencies(&manifest) {
            if WEB.contains(&&*name) {
                findings.push(finding(
                    file,
                    format!(
                        "depends on `{name}`: rooms 3 to 8 know no HTTP, so that a job passes the \
                         same walls as a request; return a Fault and let the façade translate"
                    ),
                ));
            }
        }
    }
    findings
}

/// A crate that opens a door is a dependency of the room that guards it, and of no other.
pub(super) fn keep_their_capability(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, manifest) in tree.members() {
        for dependency in dependencies(&manifest) {
            for capability in &CAPABILITIES {
                let folder = file.folder();
                let held = capability.holders.contains(&folder)
                    || (dependency.set_apart && capability.set_apart.contains(&folder));
                if capability.crates.contains(&&*dependency.name) && !held {
                    let (name, reason) = (&dependency.name, capability.reason);
                    findings.push(finding(file, format!("depends on `{name}`: {reason}")));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{
        super::trial::{flaw_and_fix, tree},
        *,
    };

    const TERMS_MANIFEST: (&str, &str) = (
        "library/0-terms/Cargo.toml",
        "[package]\nname = \"watertight-terms\"\n",
    );

    fn package(name: &str, dependencies: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{dependencies}")
    }

    #[test]
    fn an_edge_that_points_up_is_found() {
        let low = package(
            "watertight-authority",
            "[dependencies]\nwatertight-tenancy.workspace = true\n",
        );
        let high = package("watertight-tenancy", "");
        let turned_low = package("watertight-authority", "");
        let turned_high = package(
            "watertight-tenancy",
            "[dev-dependencies]\nwatertight-authority.workspace = true\n",
        );
        let (low_path, high_path) = (
            "library/3-authority/Cargo.toml",
            "library/4-tenancy/Cargo.toml",
        );
        flaw_and_fix(
            import_downwards,
            &[(low_path, &low), (high_path, &high)],
            "smaller numbers only",
            &[(low_path, &turned_low), (high_path, &turned_high)],
        );
    }

    #[test]
    fn an_upward_edge_is_found_in_every_kind_of_dependency() {
        let high = package("watertight-tenancy", "");
        for kind in [
            "[dev-dependencies]\nwatertight-tenancy.workspace = true\n",
            "[build-dependencies]\nwatertight-tenancy.workspace = true\n",
            "[target.'cfg(unix)'.dependencies]\nwatertight-tenancy.workspace = true\n",
            "[dependencies]\ndisguised = { package = \"watertight-tenancy\", workspace = true }\n",
        ] {
            let low = package("watertight-edge", kind);
            let fixed = package("watertight-edge", "");
            flaw_and_fix(
                import_downwards,
                &[
                    ("library/1-edge/Cargo.toml", &low),
                    ("library/4-tenancy/Cargo.toml", &high),
                ],
                "smaller numbers only",
                &[
                    ("library/1-edge/Cargo.toml", &fixed),
                    ("library/4-tenancy/Cargo.toml", &high),
                ],
            );
        }
    }

    #[test]
    fn equals_share_the_nouns_and_nothing_else() {
        let path = "library/0-outbound/Cargo.toml";
        let cluster = package("watertight-cluster", "");
        let cluster = ("library/0-cluster/Cargo.toml", &*cluster);
        let flaw = package(
            "watertight-outbound",
            "[dependencies]\nwatertight-cluster.workspace = true\n",
        );
        let fix = package(
            "watertight-outbound",
            "[dependencies]\nwatertight-terms.workspace = true\n",
        );
        flaw_and_fix(
            import_downwards,
            &[TERMS_MANIFEST, cluster, (path, &flaw)],
            "smaller numbers only",
            &[TERMS_MANIFEST, cluster, (path, &fix)],
        );
    }

    #[test]
    fn the_facade_imports_every_room_and_no_room_imports_it() {
        let facade = package(
            "watertight",
            "[dependencies]\nwatertight-tenancy.workspace = true\n",
        );
        let facade = ("library/watertight/Cargo.toml", &*facade);
        let path = "library/4-tenancy/Cargo.toml";
        let flaw = package(
            "watertight-tenancy",
            "[dependencies]\nwatertight.workspace = true\n",
        );
        let fix = package("watertight-tenancy", "");
        flaw_and_fix(
            import_downwards,
            &[facade, (path, &flaw)],
            "smaller numbers only",
            &[facade, (path, &fix)],
        );
    }

    #[test]
    fn the_library_does_not_know_the_product() {
        let studio = package("studio", "");
        let studio = ("studio/Cargo.toml", &*studio);
        let path = "library/8-watch/Cargo.toml";
        let flaw = package(
            "watertight-watch",
            "[dependencies]\nstudio.workspace = true\n",
        );
        let fix = package("watertight-watch", "");
        flaw_and_fix(
            import_downwards,
            &[studio, (path, &flaw)],
            "nothing outside it",
            &[studio, (path, &fix)],
        );
    }

    #[test]
    fn a_prover_that_imports_what_it_proves_is_found() {
        let ledger = package("watertight-ledger", "");
        let core = package("watertight-prover-core", "");
        let flaw = package(
            "watertight-prover",
            "[dev-dependencies]\nwatertight-ledger.workspace = true\n",
        );
        let fix = package(
            "watertight-prover",
            "[dependencies]\nwatertight-prover-core.workspace = true\n",
        );
        let path = "prover/cli/Cargo.toml";
        let others = [
            ("library/6-ledger/Cargo.toml", &*ledger),
            ("prover/core/Cargo.toml", &*core),
        ];
        flaw_and_fix(
            prove_alone,
            &[others[0], others[1], (path, &flaw)],
            "nothing else",
            &[others[0], others[1], (path, &fix)],
        );
    }

    #[test]
    fn an_inner_room_that_knows_the_web_is_found() {
        let flaw = package(
            "watertight-vault",
            "[dependencies]\naxum.workspace = true\n",
        );
        let fix = package("watertight-vault", "");
        let near_miss = package("watertight-edge", "[dependencies]\naxum.workspace = true\n");
        flaw_and_fix(
            know_no_web,
            &[("library/5-vault/Cargo.toml", &flaw)],
            "know no HTTP",
            &[
                ("library/5-vault/Cargo.toml", &fix),
                ("library/1-edge/Cargo.toml", &near_miss),
            ],
        );
    }

    #[test]
    fn a_door_in_the_wrong_room_is_found() {
        for (name, wrong, right) in [
            ("tokio-postgres", "library/6-ledger", "library/4-tenancy"),
            ("deadpool-postgres", "studio", "library/4-tenancy"),
            ("tokio-postgres", "library/watertight", "library/4-tenancy"),
            ("jsonwebtoken", "library/watertight", "library/2-identity"),
            ("reqwest", "library/2-identity", "library/0-outbound"),
            ("cedar-policy", "studio", "library/3-authority"),
        ] {
            let manifest = package("x", &format!("[dependencies]\n{name}.workspace = true\n"));
            flaw_and_fix(
                keep_their_capability,
                &[(&format!("{wrong}/Cargo.toml"), &manifest)],
                name,
                &[(&format!("{right}/Cargo.toml"), &manifest)],
            );
        }
    }

    #[test]
    fn the_product_holds_a_door_only_where_a_release_does_not() {
        let flaw = package("studio", "[dependencies]\njsonwebtoken.workspace = true\n");
        for fix in [
            "[dependencies]\njsonwebtoken = { workspace = true, optional = true }\n",
            "[dev-dependencies]\njsonwebtoken.workspace = true\n",
        ] {
            flaw_and_fix(
                keep_their_capability,
                &[("studio/Cargo.toml", &flaw)],
                "optional = true",
                &[("studio/Cargo.toml", &package("studio", fix))],
            );
        }
        // A room has no such exception.
        let room = package(
            "watertight-ledger",
            "[dependencies]\ntokio-postgres = { workspace = true, optional = true }\n",
        );
        let found = keep_their_capability(&tree(&[("library/6-ledger/Cargo.toml", &room)]));
        assert_eq!(found.len(), 1);
    }
}
