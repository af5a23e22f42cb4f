use std::ffi::OsStr;

use cedar_policy::{Entities, PolicySet, Request, RequestEnv, Schema};
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicySet, solver::LocalSolver};
use tokio::process::Command;

use crate::{Claim, Policies, ProofFault, claims::action};

/// One question may take the solver so long; most take it a few milliseconds.
const QUESTION_LIMIT: &str = "--tlimit-per=60000";

/// A solver, and the translation of policies into its language.
pub struct Prover(CedarSymCompiler<LocalSolver>);

impl Prover {
    /// Starts the solver that the environment variable `CVC5` names, or `cvc5` on the path.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self, ProofFault> {
        Self::start_at(std::env::var_os("CVC5").unwrap_or_else(|| "cvc5".into()))
    }

    /// Starts that solver.
    ///
    /// # Errors
    /// When there is none.
    pub fn start_at(program: impl AsRef<OsStr>) -> Result<Self, ProofFault> {
        let mut command = Command::new(program);
        command
            .args(["--lang", "smt", QUESTION_LIMIT])
            .kill_on_drop(true);
        let solver = LocalSolver::from_command(&mut command);
        let solver = solver.map_err(|e| ProofFault::NoSolver(causes(&e)))?;
        let compiler = CedarSymCompiler::new(solver);
        Ok(Self(
            compiler.map_err(|e| ProofFault::NoSolver(causes(&e)))?,
        ))
    }

    /// Puts a claim to the solver, for every kind of request.
    ///
    /// # Errors
    /// When the solver leaves a single question undecided.
    pub async fn put(&mut self, claim: &Claim, policies: &Policies) -> Result<Verdict, ProofFault> {
        let mut verdict = Verdict::default();
        for request in policies.requests() {
            for implication in (claim.implications)(policies, &request)? {
                verdict.questions += 1;
                let question = (&implication.these, &implication.those);
                let found = self
                    .counterexample(question, &request, policies.schema())
                    .await;
                let found = found.map_err(|why| undecided(claim.name, &request, why))?;
                verdict
                    .refutations
                    .extend(found.map(|(asked, entities)| Refutation {
                        action: action(&request).to_owned(),
                        request: asked,
                        entities,
                        these: implication.these,
                        those: implication.those,
                    }));
            }
        }
        Ok(verdict)
    }

    /// A case of that kind of request in which these policies allow it, if there is any.
    ///
    /// # Errors
    /// When the solver leaves it undecided.
    pub async fn allowed_case(
        &mut self,
        these: &PolicySet,
        request: &RequestEnv,
        schema: &Schema,
    ) -> Result<Option<(Request, Entities)>, ProofFault> {
        let nothing = PolicySet::new();
        let found = self
            .counterexample((these, &nothing), request, schema)
            .await;
        found.map_err(|why| undecided("there is a case that is allowed", request, why))
    }

    /// Whether every policy can be evaluated in every case of that kind of request.
    ///
    /// # Errors
    /// When the solver leaves it undecided.
    pub async fn never_fails(
        &mut self,
        policies: &Policies,
        request: &RequestEnv,
    ) -> Result<bool, ProofFault> {
        for policy in policies.set().policies() {
            let undecided = |e| undecided("no policy fails", request, causes(&e));
            let compiled =
                cedar_policy_symcc::CompiledPolicy::compile(policy, request, policies.schema());
            let compiled = compiled.map_err(undecided)?;
            if !self
                .0
                .check_never_errors_opt(&compiled)
                .await
                .map_err(undecided)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn counterexample(
        &mut self,
        (these, those): (&PolicySet, &PolicySet),
        request: &RequestEnv,
        schema: &Schema,
    ) -> Result<Option<(Request, Entities)>, String> {
        let compile =
            |set| CompiledPolicySet::compile(set, request, schema).map_err(|e| causes(&e));
        let (these, those) = (compile(these)?, compile(those)?);
        // Unsatisfiable and nothing else is a proof: `unknown`, a timeout and a solver that died
        // come back as errors.
        let found = self
            .0
            .check_implies_with_counterexample_opt(&these, &those)
            .await;
        let found = found.map_err(|e| causes(&e))?;
        Ok(found.map(|case| (case.request, case.entities)))
    }
}

/// What came of a claim.
#[derive(Default)]
pub struct Verdict {
    /// How many implications were put to the solver.
    pub questions: usize,
    /// The cases in which the claim does not hold: none, if it is proved.
    pub refutations: Vec<Refutation>,
}

/// A case in which a claim does not hold.
pub struct Refutation {
    /// The action that was asked for.
    pub action: String,
    /// The request.
    pub request: Request,
    /// The principal, the row and whatever they refer to.
    pub entities: Entities,
    /// These allow it …
    pub these: PolicySet,
    /// … and those do not.
    pub those: PolicySet,
}

fn undecided(claim: &'static str, request: &RequestEnv, why: String) -> ProofFault {
    let (principal, resource) = (request.principal(), request.resource());
    ProofFault::Undecided {
        claim,
        request: format!(
            "a {principal} asking for `{}` on a {resource}",
            action(request)
        ),
        why,
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
