use std::{collections::BTreeSet, str::FromStr};

use cedar_policy::{
    ActionConstraint, Entity, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode,
    Validator,
};

/// What is wrong with the policies. Nothing starts with policies that are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// The schema cannot be read.
    #[error("the schema of the policies is malformed: {0}")]
    Schema(String),
    /// A file cannot be read.
    #[error("`{file}` is malformed: {why}")]
    Malformed {
        /// The file.
        file: String,
        /// What its reader says.
        why: String,
    },
    /// A policy has no name.
    #[error("`{file}` has a policy without a name; put `@id(\"noun.why\")` above `{begin}`")]
    Unnamed {
        /// The file.
        file: String,
        /// How the policy begins.
        begin: String,
    },
    /// Two policies have one name.
    #[error("`{file}` names a second policy `{id}`; give it a name of its own")]
    Twice {
        /// The file of the second one.
        file: String,
        /// The name.
        id: String,
    },
    /// A policy has slots, which nobody would fill.
    #[error("`{0}` has a policy with slots; name the principal and the resource by their kind")]
    Slots(String),
    /// The policies do not fit the schema.
    #[error("the policies do not fit their schema: {0}")]
    Unfit(String),
    /// A noun or an action that the schema does not know.
    #[error("the schema of the policies knows no `{0}`; declare it there")]
    Unknown(String),
    /// What is known of a principal or a row does not fit the schema.
    #[error("what is known of `{kind}` does not fit the schema: {why}")]
    Facts {
        /// The entity type.
        kind: String,
        /// What does not fit.
        why: String,
    },
    /// The rows that a policy permits cannot be listed.
    #[error(
        "what policy `{policy}` says of `{action}` cannot be turned into a list: a list is of \
         everything, of one's own or of nothing, and this asks for `{residual}`"
    )]
    Unlistable {
        /// The action.
        action: String,
        /// The policy.
        policy: String,
        /// What is left of it when everything but the row is known.
        residual: String,
    },
}

pub(crate) fn parse_schema(text: &str) -> Result<Schema, PolicyFault> {
    let (schema, warnings) =
        Schema::from_cedarschema_str(text).map_err(|e| PolicyFault::Schema(said(&e)))?;
    match warnings.map(|warning| warning.to_string()).next() {
        Some(warning) => Err(PolicyFault::Schema(warning)),
        None => Ok(schema),
    }
}

/// Reads all files into one set, each policy under the name that it gives itself.
pub(crate) fn parse_policies(files: &[(&str, &str)]) -> Result<PolicySet, PolicyFault> {
    let mut names = BTreeSet::new();
    let mut all = PolicySet::new();
    for (file, text) in files {
        let malformed = |why| PolicyFault::Malformed {
            file: (*file).to_owned(),
            why,
        };
        let parsed = PolicySet::from_str(text).map_err(|e| malformed(said(&e)))?;
        if parsed.num_of_templates() > 0 {
            return Err(PolicyFault::Slots((*file).to_owned()));
        }
        for policy in parsed.policies() {
            let policy = named(file, policy)?;
            if !names.insert(policy.id().to_string()) {
                return Err(PolicyFault::Twice {
                    file: (*file).to_owned(),
                    id: policy.id().to_string(),
                });
            }
            all.add(policy).map_err(|e| malformed(said(&e)))?;
        }
    }
    Ok(all)
}

fn named(file: &str, policy: &Policy) -> Result<Policy, PolicyFault> {
    match policy.annotation("id").filter(|id| !id.is_empty()) {
        Some(id) => Ok(policy.new_id(PolicyId::new(id))),
        None => Err(PolicyFault::Unnamed {
            file: file.to_owned(),
            begin: policy
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        }),
    }
}

/// Each action with the policies whose scope it is in. A policy about other actions is not satisfied and
/// cannot fail, whatever is asked: Cedar looks at the scope first (<https://docs.cedarpolicy.com/policies/syntax-policy.html>).
pub(crate) fn by_action(
    schema: &Schema,
    policies: &PolicySet,
) -> Result<Vec<(Entity, PolicySet)>, PolicyFault> {
    let unfit = |error: &dyn std::error::Error| PolicyFault::Unfit(said(error));
    let actions = schema.action_entities().map_err(|e| unfit(&e))?;
    let about = |action: &EntityUid| {
        let of_it = policies
            .policies()
            .filter(|policy| match policy.action_constraint() {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(named) => named == *action,
                ActionConstraint::In(named) => named
                    .iter()
                    .any(|named| named == action || actions.is_ancestor_of(named, action)),
            });
        PolicySet::from_policies(of_it.cloned()).map_err(|e| unfit(&e))
    };
    let found = actions
        .iter()
        .map(|action| Ok((action.clone(), about(&action.uid())?)));
    found.collect()
}

/// Strict validation; a warning counts, because a policy that can never apply is a mistake too.
pub(crate) fn validate(schema: &Schema, policies: &PolicySet) -> Result<(), PolicyFault> {
    let result = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
    let errors = result.validation_errors().map(ToString::to_string);
    let warnings = result.validation_warnings().map(ToString::to_string);
    let found: Vec<String> = errors.chain(warnings).collect();
    if found.is_empty() {
        Ok(())
    } else {
        Err(PolicyFault::Unfit(found.join("; ")))
    }
}

/// An error with its causes, on one line.
pub(crate) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
