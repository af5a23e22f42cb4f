use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    alert::Alert,
    member::{Around, Member, Role},
    raised::Raised,
    seen::Seen,
    thresholds::Thresholds,
};

/// At most so many members are known at once; those longest unheard of are forgotten.
const MEMBERS_MOST: usize = 2_000;

/// What is learned from one studio's ledger. It holds hashes of ids and no record.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StudioWatch {
    members: BTreeMap<String, Member>,
    roles: BTreeMap<String, Role>,
    around: Around,
    raised: Raised,
}

impl StudioWatch {
    /// Takes an entry, and says what looks wrong now. What was said within the hour is not said again.
    ///
    /// Entries come in the order of their numbers. What services and operators do is not looked at.
    pub fn observe(&mut self, seen: &Seen, thresholds: &Thresholds) -> Vec<Alert> {
        if !seen.is_of_a_member() {
            return Vec::new();
        }
        let role = self.roles.entry(seen.role.clone()).or_default();
        let member = self.members.entry(seen.actor.clone()).or_default();
        let found = member.observe(seen, role, &mut self.around, thresholds);
        self.forget();
        let said = found.into_iter();
        said.filter_map(|alert| self.raised.unless_said(alert))
            .collect()
    }

    /// Forgets an eighth of the members, those longest unheard of. Says whether there were any.
    pub fn forget_some(&mut self) -> bool {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.last());
        let some = members.len().div_ceil(8);
        let gone: Vec<String> = members
            .iter()
            .take(some)
            .map(|(actor, _)| (*actor).clone())
            .collect();
        for actor in &gone {
            self.members.remove(actor);
        }
        !gone.is_empty()
    }

    fn forget(&mut self) {
        while self.members.len() > MEMBERS_MOST {
            let longest = self.members.iter().min_by_key(|(_, member)| member.last());
            let Some(longest) = longest.map(|(actor, _)| actor.clone()) else {
                return;
            };
            self.members.remove(&longest);
        }
    }
}
