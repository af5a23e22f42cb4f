use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression, Schema,
};
use serde_json::Value;
use uuid::Uuid;
use watertight_terms::{Role, TenantId};

use crate::{
    Action, Allowed, Fact, Gathers, Granted, GrantedNew, ListFilter, Nonce, Opens, PolicyFault,
    Principal, Refused, Resource, Standing, policies,
};

/// The entity types that this crate itself makes, and the ones that its filters name.
pub(crate) const STUDIO: &str = "Studio";
pub(crate) const ARTIST: &str = "Artist";
const MEMBER: &str = "Member";
const SERVICE: &str = "Service";

/// The policies of the product, and the only mint of grants.
pub struct Authority {
    pub(crate) schema: Schema,
    policies: PolicySet,
    authorizer: Authorizer,
    kinds: BTreeMap<String, EntityTypeName>,
    actions: BTreeMap<String, Deciding>,
}

/// What one action is decided by.
pub(crate) struct Deciding {
    action: Entity,
    /// Those that are about this action: most are about others and would be evaluated for nothing.
    pub(crate) policies: PolicySet,
}

impl Deciding {
    pub(crate) fn action(&self) -> EntityUid {
        self.action.uid()
    }
}

impl Authority {
    /// Reads a schema and the policy files, each with its name for messages.
    ///
    /// # Errors
    /// When one of them is malformed, when a policy has no name (`@id`) or one that is taken, when
    /// strict validation finds anything at all, or when what some role may list cannot be turned
    /// into a [`ListFilter`]: whoever starts with policies starts with all of them understood.
    pub fn new(schema: &str, files: &[(&str, &str)]) -> Result<Self, PolicyFault> {
        let schema = policies::parse_schema(schema)?;
        let policies = policies::parse_policies(files)?;
        policies::validate(&schema, &policies)?;
        let kinds = schema
            .entity_types()
            .map(|kind| (kind.to_string(), kind.clone()))
            .collect();
        let actions = policies::by_action(&schema, &policies)?
            .into_iter()
            .map(|(action, policies)| {
                let name = action.uid().id().unescaped().to_owned();
                (name, Deciding { action, policies })
            })
            .collect();
        let authority = Self {
            schema,
            policies,
            authorizer: Authorizer::new(),
            kinds,
            actions,
        };
        authority.check_lists()?;
        Ok(authority)
    }

    /// Decides whether `A` may be done to this row, and grants it.
    ///
    /// # Errors
    /// When no policy permits it, when one forbids it, or when one cannot be evaluated.
    pub fn decide<A: Action<R>, R: Resource>(
        &self,
        standing: &Standing,
        row: R,
        nonce: &Nonce,
    ) -> Result<Granted<A, R>, Refused> {
        self.permits_row(standing, A::NAME, &row)
            .map(|rule| Granted::mint(row, rule, nonce))
    }

    /// Whether an action, by its name, may be done to this row: for what was granted before and is asked
    /// again. It grants nothing.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    pub fn permits_row<R: Resource>(
        &self,
        standing: &Standing,
        action: &str,
        row: &R,
    ) -> Result<String, Refused> {
        self.judge_row(standing, action, row).map_err(|rule| {
            let view = format!("{}.view", R::NOUN);
            // Who is refused the view itself sees nothing, and need not be asked again.
            let seen = view != action && self.judge_row(standing, &view, row).is_ok();
            Refused { seen, rule }
        })
    }

    /// Decides whether a row may be created in the own tenant, and grants it.
    ///
    /// # Errors
    /// As [`decide`](Self::decide); there is no row to hide, so the refusal may always be told.
    pub fn decide_new<A: Action<R>, R: Resource>(
        &self,
        standing: &Standing,
        nonce: &Nonce,
    ) -> Result<GrantedNew<A, R>, Refused> {
        self.permits_new(standing, A::NAME)
            .map(|rule| GrantedNew::mint(rule, nonce))
    }

    /// Whether an action, by its name, may be done in the own tenant, as [`permits_row`](Self::permits_row).
    ///
    /// # Errors
    /// As [`decide_new`](Self::decide_new).
    pub fn permits_new(&self, standing: &Standing, action: &str) -> Result<String, Refused> {
        self.judge_studio(standing, action)
            .map_err(|rule| Refused { seen: true, rule })
    }

    /// Whether `A` would be allowed: for the fields of an answer, which are left out otherwise.
    pub fn allows<A: Action<R>, R: Resource>(&self, standing: &Standing, row: &R) -> bool {
        self.judge_row(standing, A::NAME, row).is_ok()
    }

    /// The right to open what `A` opens of a row, if it is allowed.
    pub fn allow<A: Opens<R>, R: Resource>(
        &self,
        standing: &Standing,
        row: &R,
        nonce: &Nonce,
    ) -> Option<Allowed<A, R>> {
        self.allows::<A, R>(standing, row)
            .then(|| Allowed::mint(row, nonce))
    }

    /// The right to open what `A` opens of the rows that a row gathers, if it is allowed.
    pub fn allow_gathering<A: Gathers<R>, R: Resource>(
        &self,
        standing: &Standing,
        row: &R,
        nonce: &Nonce,
    ) -> Option<Allowed<A, R>> {
        self.allows::<A, R>(standing, row)
            .then(|| Allowed::mint(row, nonce))
    }

    /// Which rows may be listed, from the policies themselves: they are evaluated with everything
    /// known but the row.
    ///
    /// # Errors
    /// When what is left of a policy is none of the shapes of [`ListFilter`]. It is never read as
    /// more than it says.
    pub fn filter<A: Action<R>, R: Resource>(
        &self,
        standing: &Standing,
    ) -> Result<ListFilter, PolicyFault> {
        self.list_filter(standing, A::NAME, R::ENTITY)
    }

    /// The names of what the caller may do to the tenant itself, such as `booking.create`, sorted.
    pub fn can(&self, standing: &Standing) -> Vec<String> {
        let on_studio = |action: &&String| {
            let action = self.actions.get(*action).map(Deciding::action);
            let resources = action.and_then(|uid| self.schema.resources_for_action(&uid));
            resources.is_some_and(|mut kinds| kinds.any(|kind| kind.to_string() == STUDIO))
        };
        let names = self.actions.keys().filter(on_studio);
        names
            .filter(|name| self.judge_studio(standing, name).is_ok())
            .cloned()
            .collect()
    }

    /// The names of all actions of the schema, sorted: for tests that nothing is left out.
    pub fn actions(&self) -> Vec<String> {
        self.actions.keys().cloned().collect()
    }

    /// Whether policies allow an action on a row, both by their names in the schema: for tables of who
    /// may do what. It grants nothing.
    ///
    /// # Errors
    /// Why it is not allowed: the rule, or that there was no decision.
    pub fn permits(
        &self,
        standing: &Standing,
        action: &str,
        row: NamedRow,
    ) -> Result<String, Option<String>> {
        let mut facts = row.facts;
        // A studio does not lie in a studio; every other row says in which it does.
        if row.entity != STUDIO {
            facts.push(("studio", Fact::Is(STUDIO, row.tenant.0)));
        }
        let resource = self.entity(row.entity, row.id, facts).map_err(undecided)?;
        self.judge(standing, action, resource)
    }

    fn judge_row<R: Resource>(
        &self,
        standing: &Standing,
        action: &str,
        row: &R,
    ) -> Result<String, Option<String>> {
        let named = NamedRow {
            entity: R::ENTITY,
            id: row.id(),
            tenant: row.tenant(),
            facts: row.facts(),
        };
        self.permits(standing, action, named)
    }

    fn judge_studio(&self, standing: &Standing, action: &str) -> Result<String, Option<String>> {
        let TenantId(id) = standing.tenant;
        let studio = self.entity(STUDIO, id, Vec::new()).map_err(undecided)?;
        self.judge(standing, action, studio)
    }

    /// The policies that permit it, or what stands against it.
    fn judge(
        &self,
        standing: &Standing,
        action: &str,
        resource: Entity,
    ) -> Result<String, Option<String>> {
        let principal = self.principal(standing).map_err(undecided)?;
        let deciding = self.deciding(action).map_err(undecided)?;
        let request = Request::new(
            principal.uid(),
            deciding.action(),
            resource.uid(),
            Context::empty(),
            Some(&self.schema),
        )
        .map_err(|e| undecided(policies::said(&e)))?;
        let known = [deciding.action.clone(), principal, resource];
        let entities = self.entities(known).map_err(undecided)?;
        let response = self
            .authorizer
            .is_authorized(&request, &deciding.policies, &entities);

        // A policy that failed might have forbidden; a decision without it is no decision.
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(undecided(policies::said(error)));
        }
        let rules: BTreeSet<String> = response
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect();
        let rules = rules.into_iter().collect::<Vec<_>>().join(", ");
        match response.decision() {
            Decision::Allow => Ok(rules),
            Decision::Deny => Err(Some(rules).filter(|rules| !rules.is_empty())),
        }
    }

    pub(crate) fn deciding(&self, action: &str) -> Result<&Deciding, PolicyFault> {
        let unknown = || PolicyFault::Unknown(action.to_owned());
        self.actions.get(action).ok_or_else(unknown)
    }

    pub(crate) fn kind(&self, name: &str) -> Result<EntityTypeName, PolicyFault> {
        let unknown = || PolicyFault::Unknown(name.to_owned());
        self.kinds.get(name).cloned().ok_or_else(unknown)
    }

    pub(crate) fn principal(&self, standing: &Standing) -> Result<Entity, PolicyFault> {
        let studio = ("studio", Fact::Is(STUDIO, standing.tenant.0));
        match &standing.principal {
            Principal::Member { id, role, artist } => {
                let role = ("role", Fact::Text(role.as_str().to_owned()));
                let artist = ("artist", Fact::MaybeIs(ARTIST, *artist));
                self.entity(MEMBER, *id, vec![studio, role, artist])
            }
            // A service has no id of its own; its name and its studio tell it apart.
            Principal::Service { name } => {
                let named = ("name", Fact::Text(name.clone()));
                self.entity(SERVICE, standing.tenant.0, vec![studio, named])
            }
        }
    }

    /// The entities, checked against the schema: a missing or a surplus fact is an error.
    pub(crate) fn entities(
        &self,
        known: impl IntoIterator<Item = Entity>,
    ) -> Result<Entities, String> {
        // `from_entities` would add every action of the schema, in every request.
        Entities::empty()
            .add_entities(known, Some(&self.schema))
            .map_err(|e| policies::said(&e))
    }

    fn entity(
        &self,
        kind: &str,
        id: Uuid,
        facts: Vec<(&'static str, Fact)>,
    ) -> Result<Entity, PolicyFault> {
        let mut attributes = HashMap::new();
        for (name, fact) in facts {
            if let Some(value) = self.value(fact)? {
                attributes.insert(name.to_owned(), value);
            }
        }
        Entity::new(self.uid(kind, id)?, attributes, HashSet::new()).map_err(|e| {
            PolicyFault::Facts {
                kind: kind.to_owned(),
                why: policies::said(&e),
            }
        })
    }

    fn value(&self, fact: Fact) -> Result<Option<RestrictedExpression>, PolicyFault> {
        Ok(Some(match fact {
            Fact::Text(text) => RestrictedExpression::new_string(text),
            Fact::Long(number) => RestrictedExpression::new_long(number),
            Fact::Flag(flag) => RestrictedExpression::new_bool(flag),
            Fact::Is(kind, id) | Fact::MaybeIs(kind, Some(id)) => {
                RestrictedExpression::new_entity_uid(self.uid(kind, id)?)
            }
            Fact::MaybeIs(_, None) => return Ok(None),
        }))
    }

    fn uid(&self, kind: &str, id: Uuid) -> Result<EntityUid, PolicyFault> {
        let id = EntityId::new(id.to_string());
        Ok(EntityUid::from_type_name_and_id(self.kind(kind)?, id))
    }

    /// Asks for the filter of every list for everybody who could ask for it.
    fn check_lists(&self) -> Result<(), PolicyFault> {
        let askers = self.sample_askers();
        for (name, deciding) in &self.actions {
            let action = &deciding.action();
            let resources = self.schema.resources_for_action(action);
            let kinds = resources.into_iter().flatten().map(ToString::to_string);
            for kind in kinds.filter(|kind| name.ends_with(".view") && kind != STUDIO) {
                for (asker, standing) in &askers {
                    let mut principals = self
                        .schema
                        .principals_for_action(action)
                        .into_iter()
                        .flatten();
                    if principals.any(|principal| principal.to_string() == *asker) {
                        self.list_filter(standing, name, &kind)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Every role with and without an artist, and a service under every name that policies spell.
    fn sample_askers(&self) -> Vec<(&'static str, Standing)> {
        let tenant = TenantId(Uuid::from_u128(1));
        let artists = [None, Some(Uuid::from_u128(2))];
        let members = Role::ALL.into_iter().flat_map(|role| {
            artists.map(|artist| Principal::Member {
                id: Uuid::from_u128(3),
                role,
                artist,
            })
        });
        let members = members.map(|principal| (MEMBER, Standing { tenant, principal }));
        let services = self.spelled_texts().into_iter().map(|name| {
            let principal = Principal::Service { name };
            (SERVICE, Standing { tenant, principal })
        });
        members.chain(services).collect()
    }

    fn spelled_texts(&self) -> BTreeSet<String> {
        // One name that no policy spells stands for all those.
        let mut found = BTreeSet::from([String::new()]);
        let policies = self
            .policies
            .policies()
            .filter_map(|policy| policy.to_json().ok());
        policies.for_each(|policy| collect_texts(&policy, &mut found));
        found
    }
}

/// A row as policies know it: what [`Resource`](crate::Resource) says of one, as a value.
#[derive(Debug, Clone)]
pub struct NamedRow {
    /// The entity type in the schema.
    pub entity: &'static str,
    /// Which row.
    pub id: Uuid,
    /// Whose row.
    pub tenant: TenantId,
    /// The attributes that policies may read, but for `studio`, which is added.
    pub facts: Vec<(&'static str, Fact)>,
}

fn collect_texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            found.insert(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| collect_texts(value, found)),
        Value::Object(members) => members
            .values()
            .for_each(|value| collect_texts(value, found)),
        _ => {}
    }
}

/// What went wrong while deciding, for the ledger; it counts as a refusal.
fn undecided(why: impl ToString) -> Option<String> {
    Some(format!("no decision: {}", why.to_string()))
}
