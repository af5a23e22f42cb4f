//! Which phase comes after which: no phase after itself, directly or through others.

use std::collections::HashMap;

use uuid::Uuid;
use watertight_tenancy::{Read, TenantTx};
use watertight_terms::Fault;

use crate::resources::page::wrong_field;

/// The project, locked: two changes of its order, each fine alone, could make a ring together.
const LOCK_PROJECT: Read = Read::new(
    "SELECT id FROM studio.projects WHERE tenant_id = $1 AND id = $2 AND archived_at IS NULL FOR NO KEY UPDATE",
);

/// The phases of a project. `$2` the project.
const OF_PROJECT: Read = Read::new(
    "SELECT id, name, after FROM studio.phases WHERE tenant_id = $1 AND project_id = $2 AND archived_at IS NULL",
);

/// A phase's name, and after which ones it comes.
type Known = HashMap<Uuid, (String, Vec<Uuid>)>;

/// Refuses when the project is none, when `after` names phases that are none of its, and when the phase `own` would come
/// after itself: says through which.
///
/// # Errors
/// Invalid; absent and foreign ones are one answer.
pub(super) async fn expect_order(
    tx: &mut TenantTx,
    project: Uuid,
    own: Uuid,
    name: &str,
    after: &[Uuid],
) -> Result<(), Fault> {
    if tx.read(LOCK_PROJECT, &[&project]).await?.is_empty() {
        let detail = "names no project that you may plan";
        return Err(wrong_field("/project_id", "unknown-reference", detail));
    }
    let mut known = Known::new();
    for row in tx.read(OF_PROJECT, &[&project]).await? {
        known.insert(row.field("id")?, (row.field("name")?, row.field("after")?));
    }
    if after.iter().any(|id| *id != own && !known.contains_key(id)) {
        let detail = "names what is no phase of this project";
        return Err(wrong_field("/after", "unknown-reference", detail));
    }
    known.insert(own, (name.to_owned(), after.to_vec()));
    match ring(&known, own) {
        None => Ok(()),
        Some(names) => {
            let detail = format!("it would come after itself: {}", names.join(" after "));
            Err(wrong_field("/after", "cycle", &detail))
        }
    }
}

/// The names on a way from a phase back to itself, if there is one.
fn ring(known: &Known, own: Uuid) -> Option<Vec<String>> {
    let named = |id: &Uuid| known.get(id).map(|(name, _)| name.clone());
    let mut came_from: HashMap<Uuid, Uuid> = HashMap::new();
    let mut open = vec![own];
    while let Some(id) = open.pop() {
        for next in known.get(&id).into_iter().flat_map(|(_, after)| after) {
            if *next == own {
                let mut way = vec![named(&own)?];
                let mut at = id;
                while at != own {
                    way.push(named(&at)?);
                    at = *came_from.get(&at)?;
                }
                way.push(named(&own)?);
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, id);
                open.push(*next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_found_and_told_by_the_names_on_it() {
        let ids: Vec<Uuid> = (1..=4).map(Uuid::from_u128).collect();
        let known = |edges: &[(usize, &[usize])]| -> Known {
            let phase = |(at, after): &(usize, &[usize])| {
                let after = after.iter().map(|other| ids[*other]).collect();
                (ids[*at], (format!("P{at}"), after))
            };
            edges.iter().map(phase).collect()
        };
        let diamond = known(&[(0, &[1, 2]), (1, &[3]), (2, &[3]), (3, &[])]);
        assert_eq!(ring(&diamond, ids[0]), None);
        let itself = known(&[(0, &[0])]);
        assert_eq!(ring(&itself, ids[0]).unwrap(), ["P0", "P0"]);
        let through = known(&[(0, &[1]), (1, &[2]), (2, &[0]), (3, &[])]);
        assert_eq!(ring(&through, ids[0]).unwrap(), ["P0", "P1", "P2", "P0"]);
        // A ring elsewhere is not this one's, and ends all the same.
        let elsewhere = known(&[(0, &[1]), (1, &[2]), (2, &[1])]);
        assert_eq!(ring(&elsewhere, ids[0]), None);
    }
}
