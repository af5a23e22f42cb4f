use cedar_policy::{
    Decision, PartialEntities, PartialEntityUid, PartialRequest, Policy, TpeResponse,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Authority, PolicyFault, Principal, Standing,
    authority::{ARTIST, STUDIO},
    policies::said,
};

/// Which rows of a kind the caller may view, as far as a query can ask for it.
///
/// Of the caller's tenant in any case: the query says so, and the database's own wall does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFilter {
    /// All of the tenant.
    All,
    /// Those of this artist, who is the caller.
    OwnArtist(Uuid),
    /// None: answer an empty list without asking.
    Nothing,
}

impl Authority {
    /// Asks the policies with everything known but the row, and reads what is left of them.
    /// The filter of a list, its action and entity type by their names in the schema.
    ///
    /// # Errors
    /// As [`Authority::filter`].
    pub fn list_filter(
        &self,
        standing: &Standing,
        action: &str,
        entity: &str,
    ) -> Result<ListFilter, PolicyFault> {
        let unfit = |kind: &str| {
            let kind = kind.to_owned();
            move |why| PolicyFault::Facts { kind, why }
        };
        let deciding = self.deciding(action)?;
        let principal = self.principal(standing)?;
        let request = PartialRequest::new(
            PartialEntityUid::from_concrete(principal.uid()),
            deciding.action(),
            PartialEntityUid::new(self.kind(entity)?, None),
            Some(cedar_policy::Context::empty()),
            &self.schema,
        )
        .map_err(|e| unfit(action)(said(&e)))?;
        let entities = self
            .entities([principal])
            .and_then(|known| {
                PartialEntities::from_concrete(known, &self.schema).map_err(|e| said(&e))
            })
            .map_err(unfit("principal"))?;
        let response = deciding
            .policies
            .tpe(&request, &entities, &self.schema)
            .map_err(|e| unfit(action)(said(&e)))?;
        Reading {
            action,
            entity,
            standing,
        }
        .filter(&response)
    }
}

/// What the residuals are read against.
struct Reading<'a> {
    action: &'a str,
    entity: &'a str,
    standing: &'a Standing,
}

impl Reading<'_> {
    fn filter(&self, response: &TpeResponse<'_>) -> Result<ListFilter, PolicyFault> {
        self.refuse_errors(response)?;
        if response.decision() == Some(Decision::Deny) {
            return Ok(ListFilter::Nothing);
        }
        let own = self.own_artist();
        let mut asks_own = false;
        for policy in response.residual_policies() {
            let condition = condition(&policy);
            let is_permit = policy.effect() == cedar_policy::Effect::Permit;
            match condition {
                // The wall, which the query and the database keep.
                Some(condition) if !is_permit && self.is_wall(&condition) => {}
                Some(condition)
                    if is_permit && own.is_some_and(|id| self.is_own(&condition, id)) =>
                {
                    asks_own = true;
                }
                _ => return Err(self.unlistable(policy.id(), &policy)),
            }
        }
        Ok(match own {
            _ if response.true_permits().next().is_some() => ListFilter::All,
            Some(artist) if asks_own => ListFilter::OwnArtist(artist),
            _ => ListFilter::Nothing,
        })
    }

    // A policy that fails whatever the row is decides nothing, so nothing may be concluded from it.
    fn refuse_errors(&self, response: &TpeResponse<'_>) -> Result<(), PolicyFault> {
        let failing = response
            .error_permits()
            .chain(response.error_forbids())
            .next();
        failing.map_or(Ok(()), |id| Err(self.unlistable(id, &"an error")))
    }

    fn own_artist(&self) -> Option<Uuid> {
        match self.standing.principal {
            Principal::Member { artist, .. } => artist,
            Principal::Service { .. } => None,
        }
    }

    // `resource.artist == Artist::"…"`, or for the artists themselves `resource == Artist::"…"`.
    fn is_own(&self, condition: &Value, artist: Uuid) -> bool {
        let subject = if self.entity == ARTIST {
            json!({"Var": "resource"})
        } else {
            attribute("artist")
        };
        is_equation(condition, &subject, &entity(ARTIST, artist))
    }

    // `!(resource.studio == Studio::"…")`: everything of another tenant, with or without
    // `resource has studio &&` before it.
    fn is_wall(&self, condition: &Value) -> bool {
        let own = entity(STUDIO, self.standing.tenant.0);
        let has = json!({"has": {"left": {"Var": "resource"}, "attr": "studio"}});
        let inside = condition
            .pointer("/!/arg")
            .map(|inside| match inside.pointer("/&&/left") {
                Some(guard) if *guard == has => inside.pointer("/&&/right").unwrap_or(inside),
                _ => inside,
            });
        inside.is_some_and(|inside| is_equation(inside, &attribute("studio"), &own))
    }

    fn unlistable(&self, policy: &cedar_policy::PolicyId, residual: &dyn ToString) -> PolicyFault {
        PolicyFault::Unlistable {
            action: self.action.to_owned(),
            policy: policy.to_string(),
            residual: residual.to_string(),
        }
    }
}

/// The one condition that a residual consists of, in the JSON form of policies.
fn condition(policy: &Policy) -> Option<Value> {
    let policy = policy.to_json().ok()?;
    match policy.get("conditions")?.as_array()?.as_slice() {
        [only] if only.get("kind") == Some(&json!("when")) => only.get("body").cloned(),
        _ => None,
    }
}

fn is_equation(condition: &Value, one: &Value, other: &Value) -> bool {
    let left = condition.pointer("/==/left");
    let right = condition.pointer("/==/right");
    (left == Some(one) && right == Some(other)) || (left == Some(other) && right == Some(one))
}

fn attribute(name: &str) -> Value {
    json!({".": {"left": {"Var": "resource"}, "attr": name}})
}

fn entity(kind: &str, id: Uuid) -> Value {
    json!({"Value": {"__entity": {"type": kind, "id": id.to_string()}}})
}
